package metastore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func openStore(t *testing.T, k kv.Store) *Store {
	t.Helper()
	s, err := Open(t.Context(), k, Options{Cluster: "test"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// TestFollowedCatalogEqualsOneReadAnew runs the whole life of a topic past a
// catalog that follows, and compares it with one that was opened afterwards.
func TestFollowedCatalogEqualsOneReadAnew(t *testing.T) {
	k := memory.New()
	defer k.Close()
	s := openStore(t, k)
	ctx := t.Context()
	bs, err := s.Register(ctx, Broker{ID: 3, Rack: "a"}, time.Minute)
	require.NoError(t, err)
	for i := range 5 {
		tp, err := s.CreateTopic(ctx, Topic{Name: fmt.Sprint("t", i), Partitions: 4})
		require.NoError(t, err)
		seg := Segment{ID: fmt.Sprint("s", i), Object: fmt.Sprint("o", i), Size: 100, Broker: 3, Session: bs.ID(), Sequence: int64(i + 1)}
		for index := range int32(4) {
			p := topic.Partition{Topic: tp.ID, Index: index}
			_, err := s.Take(ctx, bs, []Take{{View: s.Catalog().Partition(p)}})
			require.NoError(t, err)
			seg.Ranges = append(seg.Ranges, SegmentRange{Partition: p, Next: 10, Length: 10})
		}
		require.NoError(t, s.Commit(ctx, bs, seg))
	}
	require.NoError(t, s.DropSegment(ctx, "s0", Deletion{Object: "o0"}))
	require.NoError(t, s.DeleteTopic(ctx, "t1"))
	again := openStore(t, k)
	requireSameView(t, s.Catalog().view, again.Catalog().view)
	require.Empty(t, again.Catalog().Partition(topic.Partition{}).Ranges, "an unknown partition has nothing")
}

func requireSameView(t *testing.T, a, b *View) {
	t.Helper()
	require.Equal(t, a.revision, b.revision)
	require.Equal(t, a.byName, b.byName)
	require.Equal(t, a.Brokers(), b.Brokers())
	require.Equal(t, a.Segments(), b.Segments())
	require.Len(t, b.partitions, len(a.partitions))
	for p := range a.partitions {
		require.Equal(t, a.Partition(p), b.Partition(p))
	}
}

func TestCatalogIsReadAgainAfterACompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := memory.New()
		defer k.Close()
		f := faults.New(k, faults.Plan{})
		defer f.Close()
		behind := openStore(t, f)
		writer := openStore(t, k)
		f.Use(faults.Plan{Rules: []faults.Rule{{Op: faults.Any, Effect: faults.FailBefore, Probability: 1}}})
		for i := range 10 {
			_, err := writer.CreateTopic(t.Context(), Topic{Name: fmt.Sprint("t", i), Partitions: 1})
			require.NoError(t, err)
		}
		time.Sleep(time.Minute) // virtual
		require.Empty(t, behind.Catalog().Topics())
		k.Compact(writer.Catalog().Revision())
		_, err := writer.CreateTopic(t.Context(), Topic{Name: "last", Partitions: 1})
		require.NoError(t, err)
		f.Use(faults.Plan{})
		require.NoError(t, behind.Catalog().WaitRevision(t.Context(), writer.Catalog().Revision()))
		requireSameView(t, writer.Catalog().view, behind.Catalog().view)
	})
}

// TestUnreadableMetadataStopsTheNode: a value that cannot be read is never just
// left out, for a missing segment would give offsets a second time.
func TestUnreadableMetadataStopsTheNode(t *testing.T) {
	part := someSegment(1, SegmentPartRangesMax+1)
	for name, put := range map[string]kv.Op{
		"corrupt segment":   kv.Put("/chronik/test/segments/A", []byte("nonsense")),
		"another's segment": kv.Put("/chronik/test/segments/A", encodeSegment(&part)[0]),
		"half a segment":    kv.Put("/chronik/test/segments/"+part.ID, encodeSegment(&part)[0]),
		"corrupt owner":     kv.Put("/chronik/test/owners/"+topic.NewID().String()+"/0", []byte("{")),
		"corrupt manifest":  kv.Put("/chronik/test/manifests/"+topic.NewID().String()+"/0", []byte("{")),
		"corrupt topic":     kv.Put("/chronik/test/topics/a", []byte("[]")),
		"corrupt broker":    kv.Put("/chronik/test/brokers/1", nil),
		"unknown partition": kv.Put("/chronik/test/owners/x/0", []byte("{}")),
	} {
		t.Run(name, func(t *testing.T) {
			k := memory.New()
			defer k.Close()
			s := openStore(t, k)
			_, err := k.Txn(t.Context(), kv.Txn{Then: []kv.Op{put}})
			require.NoError(t, err)
			select {
			case <-s.Done():
			case <-time.After(20 * time.Second):
				require.Fail(t, "the store goes on")
			}
			require.ErrorContains(t, s.Err(), put.Key)
			_, err = s.CreateTopic(t.Context(), Topic{Name: "t", Partitions: 1})
			require.ErrorIs(t, err, s.Err(), "it writes nothing any more")

			_, err = Open(t.Context(), k, Options{Cluster: "test"})
			require.ErrorContains(t, err, put.Key)
			if name == "corrupt segment" {
				require.ErrorIs(t, err, format.ErrCorrupt)
			}
		})
	}
}

func TestKeysOfLaterVersionsAreLeftAlone(t *testing.T) {
	k := memory.New()
	defer k.Close()
	s := openStore(t, k)
	result, err := k.Txn(t.Context(), kv.Txn{Then: []kv.Op{
		kv.Put("/chronik/test/moons/1", []byte("?")), kv.Put("/chronik/test/mode", nil), kv.Put("/chronik/other/topics/a", []byte("?")),
		kv.Put("/chronik/testing/topics/a", []byte("?")),
	}})
	require.NoError(t, err)
	require.NoError(t, s.Catalog().WaitRevision(t.Context(), result.Revision))
	require.NoError(t, s.Err())
	require.Empty(t, s.Catalog().Topics())
}

func TestOverlappingRangesAreAnAnomaly(t *testing.T) {
	var reasons []string
	v := newView("/", func(reason string, _ ...any) { reasons = append(reasons, reason) })
	p := topic.Partition{Topic: topic.NewID()}
	add := func(id string, first, next int64) {
		v.addSegment([]segmentPart{{Segment: Segment{ID: id, Ranges: []SegmentRange{{Partition: p, First: first, Next: next}}}, parts: 1}}, 1)
	}
	add("c", 20, 30)
	add("a", 0, 10)
	held := v.Partition(p)
	add("b", 10, 20)
	require.Empty(t, reasons)
	require.Len(t, held.Ranges, 2, "a view that was taken does not change")
	require.EqualValues(t, 20, held.Ranges[1].First)
	for i, r := range v.Partition(p).Ranges {
		require.EqualValues(t, 10*i, r.First)
	}
	add("d", 25, 40)
	require.Len(t, reasons, 1)
	for _, id := range []string{"b", "c", "a", "d", "d"} {
		v.dropSegment(id)
	}
	require.Empty(t, v.partitions, "nothing is left of it")
}

func TestViewsHoldWhileTheCatalogMovesOn(t *testing.T) {
	k := memory.New()
	defer k.Close()
	s := openStore(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	tp, err := s.CreateTopic(ctx, Topic{Name: "t", Partitions: 1})
	require.NoError(t, err)
	bs, err := s.Register(ctx, Broker{ID: 1}, time.Minute)
	require.NoError(t, err)
	p := topic.Partition{Topic: tp.ID}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for i := range int64(300) {
			seg := Segment{ID: fmt.Sprint(i), Object: fmt.Sprint(i), Size: 1, Broker: 1, Session: bs.ID(), Sequence: i + 1,
				Ranges: []SegmentRange{{Partition: p, First: i, Next: i + 1, Length: 1}}}
			if err := s.Commit(t.Context(), bs, seg); err != nil {
				t.Error(err)
			}
			if i >= 10 {
				if err := s.DropSegment(t.Context(), fmt.Sprint(i-10), Deletion{Object: fmt.Sprint(i - 10)}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for ctx.Err() == nil {
		view := s.Catalog().Partition(p)
		for i, r := range view.Ranges {
			if r.First != view.Next()-int64(len(view.Ranges)-i) || r.Segment.ID != fmt.Sprint(r.First) {
				t.Fatalf("range %d of %d is [%d, %d) of segment %s", i, len(view.Ranges), r.First, r.Next, r.Segment.ID)
			}
		}
	}
	wg.Wait()
}

func TestMetricsAreRegisteredAndGivenBack(t *testing.T) {
	k := memory.New()
	defer k.Close()
	r := prometheus.NewRegistry()
	for range 2 {
		s, err := Open(t.Context(), k, Options{Cluster: "test", Registerer: r})
		require.NoError(t, err)
		_, err = Open(t.Context(), k, Options{Cluster: "test", Registerer: r})
		require.Error(t, err, "two stores need two registerers")
		families, err := r.Gather()
		require.NoError(t, err)
		require.NotEmpty(t, families)
		s.Close()
	}
}

func TestClusterNamesAreOneWord(t *testing.T) {
	for _, name := range []string{"", "a/b"} {
		_, err := Open(t.Context(), memory.New(), Options{Cluster: name})
		require.Error(t, err)
	}
}

// BenchmarkApplySegment is one flush of 2,000 partitions out of 100,000, which
// replaces the flush before last.
func BenchmarkApplySegment(b *testing.B) {
	v := newView("/", func(string, ...any) { b.Error("anomaly") })
	id := topic.NewID()
	for i := range int32(100_000) {
		v.of(topic.Partition{Topic: id, Index: i}).owner = Owner{ModRevision: 1, Session: 1}
	}
	const partitions = 2000
	value := func(n int) []byte {
		seg := Segment{ID: fmt.Sprint(n), Object: fmt.Sprintf("segments/%d", n)}
		for i := range int32(partitions) {
			seg.Ranges = append(seg.Ranges, SegmentRange{
				Partition: topic.Partition{Topic: id, Index: i}, First: int64(n), Next: int64(n + 1),
				Position: int64(i) * 1000, Length: 1000, MaxTimestamp: 1_800_000_000_000,
			})
		}
		return encodeSegment(&seg)[0]
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		events := []kv.Event{{Entry: kv.Entry{Key: fmt.Sprintf("/segments/%d", n), Value: value(n), ModRevision: int64(n + 1)}}}
		if n > 1 {
			events = append(events, kv.Event{Entry: kv.Entry{Key: fmt.Sprintf("/segments/%d", n-2), ModRevision: int64(n + 1)}, Deleted: true})
		}
		b.StartTimer()
		if err := v.apply(kv.Changes{Revision: int64(n + 1), Events: events}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/partitions, "ns/range")
}

func BenchmarkPartitionView(b *testing.B) {
	c := &Catalog{view: newView("/", nil)}
	p := topic.Partition{Topic: topic.NewID()}
	c.view.of(p).owner = Owner{ModRevision: 1, Session: 1}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = c.Partition(p)
		}
	})
}
