package etcd_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/chronik-stream/chronik/metastore/embed"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
	"github.com/chronik-stream/chronik/metastore/kv/kvtest"
)

func start(t *testing.T) *embed.Server {
	t.Helper()
	server, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir(), Progress: 100 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

func open(t *testing.T, server *embed.Server) *etcd.Store {
	t.Helper()
	s, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	server := start(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	kvtest.Run(t, func(t *testing.T) kvtest.Backend {
		return kvtest.Backend{
			Store: open(t, server),
			Compact: func(ctx context.Context, revision int64) error {
				_, err := client.Compact(ctx, revision)
				return err
			},
			TTL: time.Second,
		}
	})
}

func TestHistoryIsKeptUntilItIsCompacted(t *testing.T) {
	server := start(t)
	s := open(t, server)
	var revision int64
	for range 10 {
		result, err := s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("a", nil)}})
		require.NoError(t, err)
		revision = result.Revision
	}
	compacted, err := s.Compacted(t.Context(), "a", revision-5)
	require.NoError(t, err)
	require.False(t, compacted)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Compact(t.Context(), revision-3)
	require.NoError(t, err)
	for back, want := range map[int64]bool{5: true, 4: true, 3: false, 0: false} {
		compacted, err = s.Compacted(t.Context(), "a", revision-back)
		require.NoError(t, err)
		require.Equal(t, want, compacted, "%d revisions ago", back)
	}
}

func TestWriteToAServerThatIsGoneHasNoKnownOutcome(t *testing.T) {
	server := start(t)
	s := open(t, server)
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := s.Txn(ctx, kv.Txn{Then: []kv.Op{kv.Put("a", nil)}})
	require.ErrorIs(t, err, kv.ErrUnknownOutcome)
	_, _, err = s.Get(ctx, "a")
	require.ErrorIs(t, err, kv.ErrUnavailable)
	require.NotErrorIs(t, err, kv.ErrUnknownOutcome)
}

func TestOpenOfNothingFailsInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := etcd.Open(ctx, etcd.Options{Endpoints: []string{"127.0.0.1:1"}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "connection refused", "why, too")
}
