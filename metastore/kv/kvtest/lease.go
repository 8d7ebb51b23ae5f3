package kvtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore/kv"
)

func (e *env) grant(t *testing.T) kv.LeaseID {
	t.Helper()
	id, err := e.Store.Grant(e.ctx, e.TTL)
	require.NoError(t, err)
	require.NotZero(t, id)
	return id
}

func testLeaseExpires(t *testing.T, e *env) {
	lease := e.grant(t)
	put := e.txn(t, kv.Txn{Then: []kv.Op{
		kv.PutLeased(e.key("a"), []byte("1"), lease), kv.PutLeased(e.key("b"), nil, lease), kv.Put(e.key("stays"), nil),
	}})
	got, _ := e.get(t, "a")
	require.Equal(t, lease, got.Lease)

	w := e.watch(t, e.root, put.Revision+1)
	events := w.until(t, count(2))
	require.Len(t, events, 2)
	require.True(t, events[0].Deleted && events[1].Deleted)
	require.Equal(t, events[0].ModRevision, events[1].ModRevision, "all its keys go in one revision")
	_, ok := e.get(t, "stays")
	require.True(t, ok)
	require.ErrorIs(t, e.Store.KeepAlive(e.ctx, lease), kv.ErrLeaseNotFound)
}

func testLeaseKept(t *testing.T, e *env) {
	const attempts = 20
	for range attempts {
		if e.keepTwiceAsLong(t) {
			return
		}
	}
	t.Fatalf("in none of %d attempts this machine sent keep-alives within a ttl of %s", attempts, e.TTL)
}

// keepTwiceAsLong holds a lease for two of its ttls. It reports false when the
// machine was too busy for a keep-alive in time: then nothing was promised.
func (e *env) keepTwiceAsLong(t *testing.T) bool {
	start := time.Now()
	last := start // when the lease was last promised its whole ttl
	late := func() bool { return time.Since(last) > e.TTL/2 }
	lease := e.grant(t)
	_, err := e.Store.Txn(e.ctx, kv.Txn{Then: []kv.Op{kv.PutLeased(e.key("a"), nil, lease)}})
	if late() {
		return false
	}
	require.NoError(t, err)
	beat := time.NewTicker(e.TTL / 4)
	defer beat.Stop()
	for time.Since(start) < 2*e.TTL {
		sent := time.Now()
		err := e.Store.KeepAlive(e.ctx, lease)
		if late() {
			return false
		}
		require.NoError(t, err)
		last = sent
		<-beat.C
	}
	got, ok := e.get(t, "a")
	if late() {
		return false
	}
	require.True(t, ok && got.Lease == lease, "it lives on, twice as long as its ttl")
	return true
}

func testLeaseRevoked(t *testing.T, e *env) {
	lease := e.grant(t)
	e.txn(t, kv.Txn{Then: []kv.Op{kv.PutLeased(e.key("a"), nil, lease)}})
	require.NoError(t, e.Store.Revoke(e.ctx, lease))
	_, ok := e.get(t, "a")
	require.False(t, ok)
	require.ErrorIs(t, e.Store.Revoke(e.ctx, lease), kv.ErrLeaseNotFound)
	require.ErrorIs(t, e.Store.KeepAlive(e.ctx, lease), kv.ErrLeaseNotFound)
}

func testLeaseUnknown(t *testing.T, e *env) {
	_, err := e.Store.Txn(e.ctx, kv.Txn{Then: []kv.Op{
		kv.Put(e.key("a"), nil), kv.PutLeased(e.key("b"), nil, 987654321),
	}})
	require.ErrorIs(t, err, kv.ErrLeaseNotFound)
	require.NotErrorIs(t, err, kv.ErrUnknownOutcome)
	_, ok := e.get(t, "a")
	require.False(t, ok, "nothing of the transaction was applied")
}

func testLeaseDetached(t *testing.T, e *env) {
	lease := e.grant(t)
	e.txn(t, kv.Txn{Then: []kv.Op{kv.PutLeased(e.key("a"), nil, lease)}})
	e.put(t, "a", "mine")
	require.NoError(t, e.Store.Revoke(e.ctx, lease))
	got, ok := e.get(t, "a")
	require.True(t, ok)
	require.Zero(t, got.Lease)
}
