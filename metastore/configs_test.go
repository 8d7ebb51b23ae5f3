package metastore_test

import (
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
)

func TestConfigsAreKeptByResourceAndSeenByEveryNode(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	resources := []metastore.ConfigResource{
		{Kind: metastore.ConfigBrokers}, {Kind: metastore.ConfigBrokers, Name: "3"},
		{Kind: metastore.ConfigGroups, Name: "a/b"}, {Kind: metastore.ConfigGroups, Name: "default"}, {Kind: metastore.ConfigGroups, Name: "ü %2F"},
	}
	for i, r := range resources {
		set, err := s.UpdateConfig(t.Context(), r, func(set map[string]string) (map[string]string, error) {
			require.Empty(t, set)
			return map[string]string{"key": strconv.Itoa(i)}, nil
		})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"key": strconv.Itoa(i)}, set)
	}
	eventually(t, other, "the last config", func(c *metastore.Catalog) bool { return c.Configs().Of(resources[4]) != nil })
	for _, c := range []*metastore.Catalog{s.Catalog(), other.Catalog(), open(t, k).Catalog()} {
		for i, r := range resources {
			require.Equal(t, map[string]string{"key": strconv.Itoa(i)}, c.Configs().Of(r), "%+v", r)
		}
		require.Equal(t, []string{"", "3"}, c.Configs().Names(metastore.ConfigBrokers))
		require.Equal(t, []string{"a/b", "default", "ü %2F"}, c.Configs().Names(metastore.ConfigGroups))
	}
}

func TestAnEmptyConfigIsNone(t *testing.T) {
	s, k := openMemory(t)
	r := metastore.ConfigResource{Kind: metastore.ConfigGroups, Name: "g"}
	to := func(set map[string]string) func(map[string]string) (map[string]string, error) {
		return func(map[string]string) (map[string]string, error) { return set, nil }
	}
	_, err := s.UpdateConfig(t.Context(), r, to(map[string]string{"a": "1"}))
	require.NoError(t, err)
	held := s.Catalog().Configs()
	_, err = s.UpdateConfig(t.Context(), r, to(nil))
	require.NoError(t, err)
	for _, c := range []*metastore.Catalog{s.Catalog(), open(t, k).Catalog()} {
		require.Empty(t, c.Configs().Names(metastore.ConfigGroups))
		require.Empty(t, c.Configs().Of(r))
	}
	require.Equal(t, map[string]string{"a": "1"}, held.Of(r), "what was handed out never changes")
}

// A write that was repeated because its answer was lost may still arrive when
// what it wrote has been taken back.
func TestALateWriteDoesNotBringAConfigBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		r := metastore.ConfigResource{Kind: metastore.ConfigBrokers}
		to := func(set map[string]string) func(map[string]string) (map[string]string, error) {
			return func(map[string]string) (map[string]string, error) { return set, nil }
		}
		use("txn /config/ late=1h nth=2") // the first one looks
		_, err := s.UpdateConfig(t.Context(), r, to(map[string]string{"a": "1"}))
		require.NoError(t, err)
		use("")
		_, err = s.UpdateConfig(t.Context(), r, to(nil))
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Empty(t, s.Catalog().Configs().Of(r))
	})
}

func TestConfigsOnlyChangeWithTheirOwnKeys(t *testing.T) {
	s, _ := openMemory(t)
	held := s.Catalog().Configs()
	createTopic(t, s, "orders", 1)
	require.Same(t, held, s.Catalog().Configs(), "who derives something from it must be able to tell")
	_, err := s.UpdateConfig(t.Context(), metastore.ConfigResource{Kind: metastore.ConfigBrokers}, func(map[string]string) (map[string]string, error) {
		return map[string]string{"a": "1"}, nil
	})
	require.NoError(t, err)
	require.NotSame(t, held, s.Catalog().Configs())
}

func TestUpdateConfigLosesNoUpdate(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	r := metastore.ConfigResource{Kind: metastore.ConfigBrokers}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := []*metastore.Store{s, other}[i%2].UpdateConfig(t.Context(), r, func(set map[string]string) (map[string]string, error) {
				set = maps.Clone(set)
				if set == nil {
					set = make(map[string]string)
				}
				set[strconv.Itoa(i)] = "x"
				return set, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, open(t, k).Catalog().Configs().Of(r), 20)
}

func TestUpdateConfigKeepsWhatIsThereWhenRefused(t *testing.T) {
	s, _ := openMemory(t)
	refused := errors.New("refused")
	_, err := s.UpdateConfig(t.Context(), metastore.ConfigResource{Kind: metastore.ConfigBrokers}, func(map[string]string) (map[string]string, error) {
		return nil, refused
	})
	require.ErrorIs(t, err, refused)
	_, err = s.UpdateConfig(t.Context(), metastore.ConfigResource{Kind: metastore.ConfigGroups}, func(map[string]string) (map[string]string, error) {
		return map[string]string{"a": "b"}, nil
	})
	require.ErrorIs(t, err, metastore.ErrInvalid)
}
