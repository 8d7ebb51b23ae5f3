package metastore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

// flaky is a store over inner that fails by the plan, from Use on.
func flaky(t *testing.T, inner kv.Store) (*metastore.Store, func(plan string)) {
	t.Helper()
	f := faults.New(inner, faults.Plan{})
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return open(t, f), func(text string) {
		plan, err := faults.ParsePlan(text)
		require.NoError(t, err)
		f.Use(plan)
	}
}

func newMemory(t *testing.T) *memory.Store {
	k := memory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

// TestEveryWriteSurvivesALostAnswer runs each write while the answer to its
// first transactions, applied or not, is lost.
func TestEveryWriteSurvivesALostAnswer(t *testing.T) {
	for _, effect := range []string{
		"txn /test/ fail-after nth=1", "txn /test/ lose nth=1", "txn /test/ fail-before nth=1", "txn /test/ late=1h nth=1",
		"txn /test/ fail-after nth=2", "txn /test/ lose nth=2", "txn /test/ late=1h nth=2",
	} {
		t.Run(effect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lostAnswers(t, effect) })
		})
	}
}

func lostAnswers(t *testing.T, effect string) {
	s, use := flaky(t, newMemory(t))
	ctx := t.Context()

	use(effect)
	tp := createTopic(t, s, "orders", 4)
	p := topic.Partition{Topic: tp.ID}
	use(effect)
	updated, err := s.UpdateTopic(ctx, "orders", func(t *metastore.Topic) error { t.Config["a"] = "b"; return nil })
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "b"}, updated.Config)
	use(effect)
	set, err := s.UpdateConfig(ctx, metastore.ConfigResource{Kind: metastore.ConfigBrokers}, func(map[string]string) (map[string]string, error) {
		return map[string]string{"a": "b"}, nil
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "b"}, set)
	use(effect)
	bs := register(t, s, 1)
	use(effect)
	owner := take(t, s, bs, p)
	require.Zero(t, owner.Epoch)
	use(effect)
	seg := segment(bs, 1, span(p, 0, 10))
	require.NoError(t, s.Commit(ctx, bs, seg))
	require.EqualValues(t, 10, s.Catalog().Partition(p).Next())
	use(effect)
	require.NoError(t, s.SwapManifests(ctx, []metastore.ManifestSwap{swapTo(s, p, "m/1", 10)}, []metastore.Deletion{{Object: "old"}}))
	require.Equal(t, "m/1", s.Catalog().Partition(p).Manifest.Object)
	more := segment(bs, 2, span(p, 10, 20))
	require.NoError(t, s.Commit(ctx, bs, more))
	use(effect)
	done, err := s.MergeSegments(ctx, []string{seg.ID, more.ID}, []metastore.Segment{mergedOf("M1", span(p, 0, 20))}, time.Now())
	require.NoError(t, err)
	require.True(t, done)
	require.Len(t, s.Catalog().Segments(), 1)
	seg.ID, seg.Object = "M1", mergedOf("M1").Object
	use(effect)
	ref, err := s.SetLogStart(ctx, p, 5)
	require.NoError(t, err)
	require.EqualValues(t, 5, ref.LogStart)
	use(effect)
	require.NoError(t, s.DropSegment(ctx, seg.ID, metastore.Deletion{Object: seg.Object}))
	require.Empty(t, s.Catalog().Segments())
	use(effect)
	held := hold(t, s, bs, "g")
	use(effect)
	require.NoError(t, s.CommitOffsets(ctx, held, "g", map[topic.Partition]metastore.OffsetCommit{p: {Offset: 7}}))
	use(effect)
	first, count, err := s.AllocateProducerIDs(ctx)
	require.NoError(t, err)
	require.Contains(t, []int64{0, count}, first, "a block may be lost, none is given twice")
	use(effect)
	require.NoError(t, s.Release(ctx, bs, []topic.Partition{p}))
	require.Zero(t, s.Catalog().Partition(p).Owner.Session)
	use(effect)
	require.NoError(t, s.ReleaseSlots(ctx, bs, []int{held.Slot()}))
	slot, alive := s.Catalog().Slot(held.Slot())
	require.False(t, alive)
	require.Equal(t, metastore.NoBroker, slot.Broker)
	use(effect)
	lock, err := s.Lock(ctx, "janitor", longTTL)
	require.NoError(t, err)
	require.NoError(t, lock.Unlock(ctx))
	use(effect)
	require.NoError(t, s.DeleteTopic(ctx, "orders"))
	_, known := s.Catalog().Topic("orders")
	require.False(t, known)

	use("")
	time.Sleep(2 * time.Hour) // virtual: whatever was late has come
	require.Nil(t, s.Catalog().Partition(p).Topic)
	require.NoError(t, bs.Close(ctx))
	require.Empty(t, s.Catalog().Segments())
	got, err := s.FetchOffsets(ctx, "g")
	require.NoError(t, err)
	require.EqualValues(t, 7, got[p].Offset)
	deletions, err := s.Deletions(ctx)
	require.NoError(t, err)
	require.Len(t, deletions, 5, "one by the swap, two by the merge, one by the drop, one by the topic's deletion")
}

func TestLateDuplicateOfACommitChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		bs := register(t, s, 1)
		p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
		take(t, s, bs, p)
		seg := segment(bs, 1, span(p, 0, 10))

		use("txn /commits/ late=30s nth=1") // stuck; the repetition is applied
		require.NoError(t, s.Commit(t.Context(), bs, seg))
		require.NoError(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{swapTo(s, p, "m/1", 10)}, nil))
		require.NoError(t, s.DropSegment(t.Context(), seg.ID, metastore.Deletion{Object: seg.Object}))
		before := s.Catalog().Revision()
		time.Sleep(31 * time.Second) // virtual
		synctest.Wait()
		require.Equal(t, before, s.Catalog().Revision(), "compacted away, it does not come back")
		require.EqualValues(t, 10, s.Catalog().Partition(p).Next())
	})
}

func TestCommitInDoubtIsSettledBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		bs := register(t, s, 1)
		p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
		first, second := segment(bs, 1, span(p, 0, 10)), segment(bs, 2, span(p, 10, 20))

		use("txn /commits/ fail-after p=1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Commit(ctx, bs, first)
		require.ErrorIs(t, err, kv.ErrUnknownOutcome)
		require.EqualValues(t, 10, s.Catalog().Partition(p).Next(), "it was applied, but nobody could say so")
		use("")
		require.NoError(t, s.Commit(t.Context(), bs, first))

		use("txn /commits/ late=10s p=1")
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = s.Commit(ctx, bs, second)
		require.ErrorIs(t, err, kv.ErrUnknownOutcome)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		use("")
		third := make(chan error)
		go func() { third <- s.Commit(t.Context(), bs, segment(bs, 3, span(p, 20, 30))) }()
		synctest.Wait()
		require.EqualValues(t, 10, s.Catalog().Partition(p).Next(), "the third waits for the second to be known")
		time.Sleep(20 * time.Second) // virtual: the second lands
		require.NoError(t, s.Commit(t.Context(), bs, second))
		require.NoError(t, <-third)
		require.EqualValues(t, 30, s.Catalog().Partition(p).Next())
		require.NoError(t, bs.Close(t.Context()))
	})
}

func TestLateReleaseDoesNotUndoATake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		bs := register(t, s, 1)
		p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
		take(t, s, bs, p)

		use("txn /owners/ late=30s p=1")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.ErrorIs(t, s.Release(ctx, bs, []topic.Partition{p}), kv.ErrUnknownOutcome)
		use("")
		again := take(t, s, bs, p)
		require.Equal(t, metastore.Epoch(1), again.Epoch, "who goes on goes on in a new epoch")
		time.Sleep(time.Minute) // virtual
		synctest.Wait()
		require.Equal(t, again, s.Catalog().Partition(p).Owner)
		require.NoError(t, bs.Close(t.Context()))
	})
}
