package metastore_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
)

func TestMembersAreKnownWhileTheyLive(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	b, err := s.RegisterCompactor(t.Context(), metastore.Member{ID: "b"}, longTTL)
	require.NoError(t, err)
	a, err := s.RegisterCompactor(t.Context(), metastore.Member{ID: "a", Address: "x"}, longTTL)
	require.NoError(t, err)
	q, err := s.RegisterQuery(t.Context(), metastore.Member{ID: "q"}, longTTL)
	require.NoError(t, err)
	require.Equal(t, []metastore.Member{{ID: "a", Address: "x"}, {ID: "b"}}, s.Catalog().Compactors())
	require.Equal(t, []metastore.Member{{ID: "q"}}, s.Catalog().Queries())
	require.NoError(t, a.Close(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	eventually(t, other, "only b is left", func(c *metastore.Catalog) bool {
		return len(c.Compactors()) == 1 && len(c.Queries()) == 0
	})
	require.NoError(t, b.Close(t.Context()))
	_, err = s.RegisterQuery(t.Context(), metastore.Member{}, longTTL)
	require.ErrorIs(t, err, metastore.ErrInvalid)
}

func TestLapsedMemberComesBackByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newMemory(t)
		s, use := flaky(t, k)
		other := open(t, k)
		m, err := s.RegisterCompactor(t.Context(), metastore.Member{ID: "a"}, ttl)
		require.NoError(t, err)
		use("* * fail-before p=1")
		time.Sleep(2 * ttl)
		synctest.Wait()
		require.Empty(t, other.Catalog().Compactors())
		use("")
		time.Sleep(ttl)
		synctest.Wait()
		require.Len(t, other.Catalog().Compactors(), 1)
		time.Sleep(time.Hour)
		require.Len(t, other.Catalog().Compactors(), 1)
		require.NoError(t, m.Close(t.Context()))
		synctest.Wait()
		require.Empty(t, other.Catalog().Compactors())
	})
}

func TestLockHasOneHolderAtATime(t *testing.T) {
	k := newMemory(t)
	stores := []*metastore.Store{open(t, k), open(t, k), open(t, k)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	held, most := 0, 0
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		held += n
		most = max(most, held)
	}
	for _, s := range stores {
		wg.Go(func() {
			for range 20 {
				lock, err := s.Lock(t.Context(), "janitor", longTTL)
				if err != nil {
					t.Error(err)
					return
				}
				count(1)
				count(-1)
				if err := lock.Unlock(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, most)
}

func TestLockOfADeadHolderIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newMemory(t)
		s, use := flaky(t, k)
		other := open(t, k)
		lock, err := s.Lock(t.Context(), "janitor", ttl)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = other.Lock(ctx, "janitor", ttl)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		use("* * fail-before p=1")
		next, err := other.Lock(t.Context(), "janitor", ttl)
		require.NoError(t, err)
		require.False(t, lock.Valid())
		<-lock.Done()
		require.NoError(t, next.Unlock(t.Context()))
		use("")
	})
}

func TestLockNameIsNoDirectory(t *testing.T) {
	s, _ := openMemory(t)
	for _, name := range []string{"", "brokers/1", "producer-ids"} {
		_, err := s.Lock(t.Context(), name, ttl)
		require.ErrorIs(t, err, metastore.ErrInvalid, name)
	}
}

func TestProducerIDsAreGivenOnce(t *testing.T) {
	k := newMemory(t)
	stores := []*metastore.Store{open(t, k), open(t, k)}
	var mu sync.Mutex
	given := make(map[int64]bool)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			first, count, err := stores[i%2].AllocateProducerIDs(t.Context())
			if err != nil || count != metastore.ProducerIDBlock {
				t.Error(first, count, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if given[first] || first%count != 0 {
				t.Errorf("block %d was given twice", first)
			}
			given[first] = true
		})
	}
	wg.Wait()
	require.Len(t, given, 20)
}
