package metastore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/embed"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
)

func startEtcd(t testing.TB, dir string) (kv.Store, func()) {
	t.Helper()
	server, err := embed.Start(t.Context(), embed.Config{Dir: dir})
	require.NoError(t, err)
	k, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	return k, func() {
		require.NoError(t, k.Close())
		server.Close()
	}
}

func TestMetadataInEtcdSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	k, stop := startEtcd(t, dir)
	s, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	const n = 500
	tp := createTopic(t, s, "orders", n)
	bs, err := s.Register(t.Context(), metastore.Broker{ID: 1}, 2*time.Second)
	require.NoError(t, err)
	var takes []metastore.Take
	seg := segment(bs, 1)
	for i := range int32(n) {
		p := topic.Partition{Topic: tp.ID, Index: i}
		takes = append(takes, metastore.Take{View: s.Catalog().Partition(p)})
		r := span(p, 0, 10)
		r.Position, r.Length = seg.Size, 100
		seg.Size += 100
		seg.Ranges = append(seg.Ranges, r)
	}
	taken, err := s.Take(t.Context(), bs, takes)
	require.NoError(t, err)
	require.Len(t, taken, n)
	require.NoError(t, s.Commit(t.Context(), bs, seg))
	p := takes[7].View.Partition
	require.NoError(t, s.CommitOffsets(t.Context(), hold(t, s, bs, "g"), "g", map[topic.Partition]metastore.OffsetCommit{p: {Offset: 3}}))
	require.NoError(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{swapTo(s, p, "m/1", 10)}, nil))
	want := s.Catalog().Partition(p)
	s.Close()
	stop()

	k, stop = startEtcd(t, dir)
	defer stop()
	s, err = metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	defer s.Close()
	got := s.Catalog().Partition(p)
	require.Equal(t, want.Owner, got.Owner)
	require.Equal(t, want.Manifest, got.Manifest)
	require.Equal(t, want.Ranges, got.Ranges)
	young, err := s.Register(t.Context(), metastore.Broker{ID: 1}, 2*time.Second)
	require.NoError(t, err)
	require.Equal(t, metastore.Epoch(1), take(t, s, young, p).Epoch)
	require.NoError(t, s.Commit(t.Context(), young, segment(young, 1, span(p, 10, 20))))
	offsets, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.EqualValues(t, 3, offsets[p].Offset)

	require.NoError(t, young.Close(t.Context()))
	eventually(t, s, "the broker is gone", func(c *metastore.Catalog) bool { return len(c.Brokers()) == 0 })
}

func TestSilentBrokerLapsesInEtcd(t *testing.T) {
	k, stop := startEtcd(t, t.TempDir())
	defer stop()
	s, use := flaky(t, k)
	other := open(t, k)
	bs, err := s.Register(t.Context(), metastore.Broker{ID: 1}, time.Second)
	require.NoError(t, err)
	require.NoError(t, other.Catalog().WaitRevision(t.Context(), int64(bs.ID())))
	<-time.After(1500 * time.Millisecond) // a renewal or more must have come through
	require.True(t, bs.Valid())
	use("keepalive * lose p=1")
	<-bs.Done()
	_, alive := other.Catalog().Broker(1)
	require.True(t, alive, "it is over here before it is there")
	eventually(t, other, "the broker lapses", func(c *metastore.Catalog) bool { return len(c.Brokers()) == 0 })
	use("")
}

func BenchmarkCommitInEtcd(b *testing.B) {
	for _, partitions := range []int32{1, 2000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			k, stop := startEtcd(b, b.TempDir())
			defer stop()
			s, err := metastore.Open(b.Context(), k, metastore.Options{Cluster: "bench"})
			require.NoError(b, err)
			defer s.Close()
			bs, err := s.Register(b.Context(), metastore.Broker{ID: 1}, longTTL)
			require.NoError(b, err)
			id := topic.NewID()
			sequence := int64(0)
			for b.Loop() {
				sequence++
				var ranges []metastore.SegmentRange
				for i := range partitions {
					ranges = append(ranges, span(topic.Partition{Topic: id, Index: i}, sequence, sequence+1))
				}
				require.NoError(b, s.Commit(b.Context(), bs, segment(bs, sequence, ranges...)))
			}
		})
	}
}
