package metastore_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
)

func TestQuotasAreKeptByEntityAndSeenByEveryNode(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	named := metastore.QuotaNamed
	entities := []metastore.QuotaEntity{
		{User: named("")}, {User: named("*")}, {User: named("a/b")}, {User: named("ü %2F")},
		{ClientID: named("")}, {ClientID: named("user/x")},
		{User: named("a"), ClientID: named("")}, {User: named(""), ClientID: named("b")}, {User: named("a"), ClientID: named("b")},
		{IP: named("")}, {IP: named("127.0.0.1")}, {IP: named("::1")},
	}
	for i, e := range entities {
		require.NoError(t, s.UpdateQuota(t.Context(), e, func(set map[string]float64) (map[string]float64, error) {
			require.Empty(t, set, "%s", e)
			return map[string]float64{"producer_byte_rate": float64(i) + 0.5}, nil
		}))
		require.Equal(t, float64(i)+0.5, s.Catalog().Quotas().Of(e)["producer_byte_rate"], "seen at once where it was set")
	}
	last := entities[len(entities)-1]
	eventually(t, other, "the last quota", func(c *metastore.Catalog) bool { return c.Quotas().Of(last) != nil })
	for _, c := range []*metastore.Catalog{s.Catalog(), other.Catalog(), open(t, k).Catalog()} {
		for i, e := range entities {
			require.Equal(t, map[string]float64{"producer_byte_rate": float64(i) + 0.5}, c.Quotas().Of(e), "%s", e)
		}
		require.ElementsMatch(t, entities, c.Quotas().Entities())
		require.True(t, c.Quotas().Has("producer_byte_rate"))
		require.False(t, c.Quotas().Has("consumer_byte_rate"))
	}
}

func TestAnEmptyQuotaIsNone(t *testing.T) {
	s, k := openMemory(t)
	e := metastore.QuotaEntity{ClientID: metastore.QuotaNamed("c")}
	to := func(set map[string]float64) func(map[string]float64) (map[string]float64, error) {
		return func(map[string]float64) (map[string]float64, error) { return set, nil }
	}
	require.NoError(t, s.UpdateQuota(t.Context(), e, to(map[string]float64{"request_percentage": 50})))
	before := s.Catalog().Quotas()
	require.Same(t, before, s.Catalog().Quotas(), "as long as nothing changes")
	require.NoError(t, s.UpdateQuota(t.Context(), e, to(nil)))
	require.Empty(t, s.Catalog().Quotas().Entities())
	require.Equal(t, map[string]float64{"request_percentage": 50}, before.Of(e), "what was handed out stays as it was")
	require.Empty(t, open(t, k).Catalog().Quotas().Entities())
}

func TestARefusedQuotaLeavesWhatWasThere(t *testing.T) {
	s, _ := openMemory(t)
	refusal := errors.New("no")
	e := metastore.QuotaEntity{User: metastore.QuotaNamed("u")}
	require.ErrorIs(t, s.UpdateQuota(t.Context(), e, func(map[string]float64) (map[string]float64, error) { return nil, refusal }), refusal)
	require.Empty(t, s.Catalog().Quotas().Entities())
	for _, bad := range []metastore.QuotaEntity{{}, {User: metastore.QuotaNamed("u"), IP: metastore.QuotaNamed("::1")}} {
		require.ErrorIs(t, s.UpdateQuota(t.Context(), bad, func(map[string]float64) (map[string]float64, error) { return nil, nil }), metastore.ErrInvalid)
	}
}
