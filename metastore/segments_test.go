package metastore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// mergedOf is a segment as a compactor makes it.
func mergedOf(id string, ranges ...metastore.SegmentRange) metastore.Segment {
	seg := metastore.Segment{ID: id, Object: "segments/" + id, Broker: 1}
	for _, r := range ranges {
		r.Position, r.Length = seg.Size, 50
		seg.Size += r.Length
		seg.Ranges = append(seg.Ranges, r)
	}
	return seg
}

func TestMergedSegmentsTakeThePlaceOfOldOnesInOneRevision(t *testing.T) {
	s, k := openMemory(t)
	watcher := open(t, k)
	bs := register(t, s, 1)
	tp := createTopic(t, s, "orders", 2)
	p, q := topic.Partition{Topic: tp.ID}, topic.Partition{Topic: tp.ID, Index: 1}
	var ids []string
	for i := range int64(20) {
		seg := segment(bs, i+1, span(p, 10*i, 10*i+10), span(q, i, i+1))
		require.NoError(t, s.Commit(t.Context(), bs, seg))
		ids = append(ids, seg.ID)
	}
	before := s.Catalog().Revision()
	due := time.Unix(100, 0).UTC()
	done, err := s.MergeSegments(t.Context(), ids, []metastore.Segment{mergedOf("M1", span(p, 0, 200)), mergedOf("M2", span(q, 0, 20))}, due)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, before+1, s.Catalog().Revision())
	require.Len(t, s.Catalog().Segments(), 2)
	require.NoError(t, watcher.Catalog().WaitRevision(within(t, patience), before+1))
	for _, c := range []*metastore.Catalog{s.Catalog(), watcher.Catalog(), open(t, k).Catalog()} {
		view := c.Partition(p)
		require.EqualValues(t, 200, view.Next())
		require.Len(t, view.Ranges, 1)
		require.Equal(t, "M1", view.Ranges[0].Segment.ID)
		require.EqualValues(t, 20, c.Partition(q).Next())
	}
	marked, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, marked, 20)
	require.Equal(t, due, marked[0].NotBefore)

	// The same again, or with one that is gone: nothing happens.
	done, err = s.MergeSegments(t.Context(), ids, []metastore.Segment{mergedOf("M3", span(p, 0, 200), span(q, 0, 20))}, due)
	require.NoError(t, err)
	require.False(t, done)
	require.Equal(t, before+1, s.Catalog().Revision())
}

func TestOneOfTwoMergesOfASegmentWins(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	var ids []string
	for i := range int64(3) {
		seg := segment(bs, i+1, span(p, 10*i, 10*i+10))
		require.NoError(t, s.Commit(t.Context(), bs, seg))
		ids = append(ids, seg.ID)
	}
	require.NoError(t, other.Catalog().WaitRevision(within(t, patience), s.Catalog().Revision()))
	won := make(chan bool, 2)
	for i, store := range []*metastore.Store{s, other} {
		go func() {
			done, err := store.MergeSegments(t.Context(), ids[i:i+2], []metastore.Segment{mergedOf(fmt.Sprintf("M%d", i), span(p, int64(10*i), int64(10*i+20)))}, time.Now())
			won <- done && err == nil
		}()
	}
	first, second := <-won, <-won
	require.NotEqual(t, first, second)
	view := s.Catalog().Partition(p)
	require.EqualValues(t, 30, view.Next())
	require.Len(t, view.Ranges, 2)
	require.Equal(t, view.Ranges[0].Next, view.Ranges[1].First)
}

func TestAMergeThatWouldLoseARangeIsRefused(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	tp := createTopic(t, s, "orders", 1)
	gone := createTopic(t, s, "gone", 1)
	p, q := topic.Partition{Topic: tp.ID}, topic.Partition{Topic: gone.ID}
	one, two := segment(bs, 1, span(p, 0, 10), span(q, 0, 5)), segment(bs, 2, span(p, 10, 20))
	require.NoError(t, s.Commit(t.Context(), bs, one))
	require.NoError(t, s.Commit(t.Context(), bs, two))
	require.NoError(t, s.DeleteTopic(t.Context(), "gone"))
	epoch := span(p, 0, 20)
	epoch.Epoch = 1
	for name, ranges := range map[string][]metastore.SegmentRange{
		"nothing": nil, "the end": {span(p, 0, 15)}, "the beginning": {span(p, 5, 20)}, "the epoch": {epoch},
	} {
		_, err := s.MergeSegments(t.Context(), []string{one.ID, two.ID}, []metastore.Segment{mergedOf("M", ranges...)}, time.Now())
		require.ErrorIs(t, err, metastore.ErrInvalid, name)
	}
	require.NoError(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{swapTo(s, p, "m/1", 10)}, nil))
	done, err := s.MergeSegments(t.Context(), []string{one.ID, two.ID}, []metastore.Segment{mergedOf("M", span(p, 10, 20))}, time.Now())
	require.NoError(t, err)
	require.True(t, done, "what is rewritten, and what a deleted topic had, need not be there")
	require.EqualValues(t, 20, s.Catalog().Partition(p).Next())
}

func TestAMergeThatIsTooLargeIsRefusedWhole(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	var ids []string
	for i := range int64(51) {
		seg := segment(bs, i+1, span(p, 10*i, 10*i+10))
		require.NoError(t, s.Commit(t.Context(), bs, seg))
		ids = append(ids, seg.ID)
	}
	merged := []metastore.Segment{mergedOf("M", span(p, 0, 510))}
	_, err := s.MergeSegments(t.Context(), ids, merged, time.Now())
	require.ErrorIs(t, err, kv.ErrTooLarge)
	require.Len(t, s.Catalog().Segments(), 51)
	merged = []metastore.Segment{mergedOf("M", span(p, 0, 400))}
	done, err := s.MergeSegments(t.Context(), ids[:40], merged, time.Now())
	require.NoError(t, err)
	require.True(t, done)
}

func TestMarksThatWerePutAgainAreNotForgotten(t *testing.T) {
	s, _ := openMemory(t)
	var deletions []metastore.Deletion
	for i := range 120 {
		deletions = append(deletions, metastore.Deletion{Object: fmt.Sprintf("old/%03d", i)})
	}
	require.NoError(t, s.SwapManifests(t.Context(), nil, deletions))
	read, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.SwapManifests(t.Context(), nil, deletions[110:111]))
	before := s.Catalog().Revision()
	require.NoError(t, s.ForgetDeletions(t.Context(), read...))
	left, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, "old/110", left[0].Object)
	require.NoError(t, s.CatchUp(t.Context()))
	require.Less(t, s.Catalog().Revision()-before, int64(60), "many at a time")
}
