package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/kvtest"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Backend {
		s := memory.New()
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return kvtest.Backend{
			Store:   s,
			Compact: func(_ context.Context, revision int64) error { s.Compact(revision); return nil },
			TTL:     500 * time.Millisecond, // a busy machine pauses for less
		}
	})
}

func TestLeaseExpiresAtItsVirtualInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		defer s.Close()
		lease, err := s.Grant(t.Context(), 10*time.Second)
		require.NoError(t, err)
		_, err = s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.PutLeased("a", nil, lease)}})
		require.NoError(t, err)

		time.Sleep(9 * time.Second) // virtual
		require.NoError(t, s.KeepAlive(t.Context(), lease))
		time.Sleep(10*time.Second - 1)
		_, ok, err := s.Get(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, ok)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		_, ok, err = s.Get(t.Context(), "a")
		require.NoError(t, err)
		require.False(t, ok)
	})
}

func TestCloseEndsWatchesAndRequests(t *testing.T) {
	s := memory.New()
	w := s.Watch(t.Context(), "", 2)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "idempotent")
	require.ErrorIs(t, (<-w).Err, kv.ErrUnavailable)
	_, open := <-w
	require.False(t, open)
	_, _, err := s.Get(t.Context(), "a")
	require.ErrorIs(t, err, kv.ErrUnavailable)
}

func TestOldHistoryIsCompactedAway(t *testing.T) {
	s := memory.New()
	defer s.Close()
	var ops []kv.Op
	for i := range kv.TxnOperationsMax {
		ops = append(ops, kv.Put(string(rune('a'+i)), nil))
	}
	for range 1<<17/len(ops) + 2 {
		_, err := s.Txn(t.Context(), kv.Txn{Then: ops})
		require.NoError(t, err)
	}
	require.ErrorIs(t, (<-s.Watch(t.Context(), "", 2)).Err, kv.ErrCompacted)
}
