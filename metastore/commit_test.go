package metastore_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

func TestCommittedSegmentShowsInThePartition(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	tp := createTopic(t, s, "orders", 2)
	p, q := topic.Partition{Topic: tp.ID}, topic.Partition{Topic: tp.ID, Index: 1}
	owner := take(t, s, bs, p)
	require.Equal(t, metastore.Epoch(0), owner.Epoch)

	require.NoError(t, s.Commit(t.Context(), bs, segment(bs, 1, span(p, 0, 10), span(q, 0, 3))))
	require.NoError(t, s.Commit(t.Context(), bs, segment(bs, 2, span(p, 10, 12))))

	view := s.Catalog().Partition(p)
	require.Equal(t, "orders", view.Topic.Name)
	require.Equal(t, owner, view.Owner)
	require.True(t, view.OwnerAlive)
	require.EqualValues(t, 12, view.Next())
	require.Len(t, view.Ranges, 2)
	require.Equal(t, segment(bs, 1).Object, view.Ranges[0].Segment.Object)
	require.Equal(t, int64(1010), view.Ranges[0].MaxTimestamp)
	require.EqualValues(t, 3, s.Catalog().Partition(q).Next())
	require.Len(t, s.Catalog().Segments(), 2)
}

func TestCommitAgainIsNil(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	seg := segment(bs, 1, span(p, 0, 10))
	require.NoError(t, s.Commit(t.Context(), bs, seg))
	revision := s.Catalog().Revision()
	require.NoError(t, s.Commit(t.Context(), bs, seg))
	require.Equal(t, revision, s.Catalog().Revision())

	other := seg
	other.ID = "another"
	require.ErrorIs(t, s.Commit(t.Context(), bs, other), metastore.ErrOutOfOrder)
}

func TestCommitWaitsForTheOnesBefore(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	const n = 20
	var wg sync.WaitGroup
	for i := int64(n); i >= 1; i-- {
		wg.Go(func() {
			if err := s.Commit(t.Context(), bs, segment(bs, i, span(p, 10*(i-1), 10*i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ranges := s.Catalog().Partition(p).Ranges
	require.Len(t, ranges, n)
	for i, r := range ranges {
		require.EqualValues(t, i+1, r.Segment.Sequence)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Commit(ctx, bs, segment(bs, n+2, span(p, 300, 301)))
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, kv.ErrUnknownOutcome, "it was never sent")
}

func TestNewSessionFencesTheOldOne(t *testing.T) {
	s, k := openMemory(t)
	old := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	require.NoError(t, s.Commit(t.Context(), old, segment(old, 1, span(p, 0, 10))))

	restarted := open(t, k)
	young := register(t, restarted, 1)
	require.Greater(t, young.ID(), old.ID())

	err := s.Commit(t.Context(), old, segment(old, 2, span(p, 10, 20)))
	require.ErrorIs(t, err, metastore.ErrFenced)
	<-old.Done()
	require.ErrorIs(t, old.Err(), metastore.ErrFenced)
	require.False(t, old.Valid())
	require.NoError(t, old.Close(t.Context()))
	require.True(t, young.Valid(), "the old session's end takes nothing of the new one along")

	require.NoError(t, restarted.Commit(t.Context(), young, segment(young, 1, span(p, 10, 11))))
	require.EqualValues(t, 11, restarted.Catalog().Partition(p).Next())
}

func TestSegmentOfAnotherSessionIsNeverSent(t *testing.T) {
	s, k := openMemory(t)
	old := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	seg := segment(old, 1, span(p, 0, 10))
	young := register(t, open(t, k), 1)
	require.ErrorIs(t, s.Commit(t.Context(), young, seg), metastore.ErrFenced)
	require.Zero(t, s.Catalog().Partition(p).Next())
}

func TestSegmentThatMakesNoSenseIsRefused(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: topic.NewID()}
	for name, spoil := range map[string]func(*metastore.Segment){
		"no id":              func(seg *metastore.Segment) { seg.ID = "" },
		"id like a part":     func(seg *metastore.Segment) { seg.ID = "A.1" },
		"empty range":        func(seg *metastore.Segment) { seg.Ranges[0].Next = seg.Ranges[0].First },
		"negative offset":    func(seg *metastore.Segment) { seg.Ranges[0].First = -1 },
		"outside the object": func(seg *metastore.Segment) { seg.Size-- },
		"negative epoch":     func(seg *metastore.Segment) { seg.Ranges[0].Epoch = -1 },
	} {
		seg := segment(bs, 1, span(p, 0, 1))
		spoil(&seg)
		require.ErrorIs(t, s.Commit(t.Context(), bs, seg), metastore.ErrInvalid, name)
	}
	large := segment(bs, 1)
	for i := range int32(metastore.SegmentRangesMax + 1) {
		large.Ranges = append(large.Ranges, span(topic.Partition{Topic: p.Topic, Index: i}, 0, 1))
	}
	require.ErrorIs(t, s.Commit(t.Context(), bs, large), kv.ErrTooLarge)
}

func TestLargestSegmentFitsAndIsOneRevision(t *testing.T) {
	s, k := openMemory(t)
	bs := register(t, s, 1)
	const huge = 1 << 62
	large := segment(bs, 1)
	for i := range metastore.SegmentRangesMax {
		large.Ranges = append(large.Ranges, metastore.SegmentRange{
			Partition: topic.Partition{Topic: topic.NewID(), Index: 1<<31 - 1}, Epoch: 1<<31 - 1,
			First: huge - int64(i), Next: huge + huge/2, Position: huge/2 - int64(i%2)*huge/2, Length: huge / 2,
			MaxTimestamp: int64(i%2)*huge - huge/2,
		})
	}
	large.Size = huge
	before := s.Catalog().Revision()
	require.NoError(t, s.Commit(t.Context(), bs, large))
	require.Equal(t, before+1, s.Catalog().Revision())
	require.Equal(t, &large, s.Catalog().Segments()[0])

	again := open(t, k)
	require.Equal(t, &large, again.Catalog().Segments()[0], "read anew it is the same")
	last := large.Ranges[len(large.Ranges)-1]
	require.Equal(t, last, again.Catalog().Partition(last.Partition).Ranges[0].SegmentRange)

	require.NoError(t, again.DropSegment(t.Context(), large.ID, metastore.Deletion{Object: large.Object}))
	require.Empty(t, again.Catalog().Segments())
	require.Empty(t, again.Catalog().Partition(last.Partition).Ranges)
}
