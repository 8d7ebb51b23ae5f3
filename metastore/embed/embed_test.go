package embed_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore/embed"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
)

func TestDataSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	for life := range 3 {
		start := time.Now()
		server, err := embed.Start(t.Context(), embed.Config{Dir: dir})
		require.NoError(t, err)
		t.Logf("life %d: ready in %v", life, time.Since(start))
		s, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{server.Endpoint()}})
		require.NoError(t, err)

		for past := range life {
			got, ok, err := s.Get(t.Context(), fmt.Sprint(past))
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "x", string(got.Value))
		}
		_, err = s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put(fmt.Sprint(life), []byte("x"))}})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		server.Close()
		server.Close() // idempotent
	}
}

func TestDefragmentLeavesTheDataAlone(t *testing.T) {
	server, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	defer server.Close()
	s, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("a", []byte("x"))}})
	require.NoError(t, err)
	require.NoError(t, embed.Defragment(t.Context(), server.Endpoint(), 0))
	got, ok, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "x", string(got.Value))
}

func TestStartWithoutADirectoryIsAnError(t *testing.T) {
	_, err := embed.Start(t.Context(), embed.Config{})
	require.Error(t, err)
}
