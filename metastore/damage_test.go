package metastore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

func TestDamageIsReportedOnceAndGoesWithItsTopic(t *testing.T) {
	s, k := openMemory(t)
	tp := createTopic(t, s, "orders", 2)
	p := topic.Partition{Topic: tp.ID, Index: 1}
	object := objstore.ParquetName(p, ulid.Make())
	of := func(s *metastore.Store) []metastore.Damage { return s.Catalog().Partition(p).Damaged }

	require.NoError(t, s.ReportDamage(t.Context(), object, "flipped"))
	require.NoError(t, s.ReportDamage(t.Context(), object, "again"))
	seen := of(s)
	require.Len(t, seen, 1)
	require.Equal(t, "flipped", seen[0].Reason)
	require.Empty(t, s.Catalog().Partition(topic.Partition{Topic: tp.ID}).Damaged)

	at := time.Now()
	require.NoError(t, s.LoseDamage(t.Context(), seen[0], "the log is gone", at))
	require.NoError(t, s.LoseDamage(t.Context(), seen[0], "a late twin", at))
	require.Equal(t, "the log is gone", of(s)[0].Lost)
	require.Empty(t, seen[0].Lost, "what a view gave out does not change")
	require.Equal(t, of(s), of(open(t, k)), "it is in the store")

	require.NoError(t, s.ClearDamage(t.Context(), object, "not reported"))
	require.Empty(t, of(s))
	require.NoError(t, s.LoseDamage(t.Context(), seen[0], "late", at))
	require.Empty(t, of(s), "a report that was cleared does not come back")

	require.NoError(t, s.ReportDamage(t.Context(), object, "flipped"))
	require.NoError(t, s.DeleteTopic(t.Context(), "orders"))
	require.Empty(t, of(s))
	require.NoError(t, s.ReportDamage(t.Context(), object, "late"))
	require.Empty(t, of(s), "files of a topic that is gone are nobody's")
}

func TestReportsOfDamageAreBounded(t *testing.T) {
	s, _ := openMemory(t)
	tp := createTopic(t, s, "orders", 1)
	p := topic.Partition{Topic: tp.ID}
	for range metastore.DamagesMax {
		require.NoError(t, s.ReportDamage(t.Context(), objstore.ParquetName(p, ulid.Make()), "missing"))
	}
	require.ErrorIs(t, s.ReportDamage(t.Context(), objstore.ParquetName(p, ulid.Make()), "missing"), metastore.ErrInvalid)
	var all []metastore.Damage
	s.Catalog().View(func(v *metastore.View) { all = v.Damaged() })
	require.Len(t, all, metastore.DamagesMax)
	for _, object := range []string{"", "x", objstore.ManifestName(ulid.Make()), fmt.Sprintf("topics/%s/0/parquet/x.parquet", tp.ID)} {
		require.ErrorIs(t, s.ReportDamage(t.Context(), object, ""), metastore.ErrInvalid)
	}
}
