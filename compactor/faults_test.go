package compactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore/kv"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
)

var errKilled = errors.New("killed")

// executioner kills a process at a step of its own: the step is the how manieth
// call to a seam. From then on nothing that the process asks for happens.
type executioner struct {
	mu    sync.Mutex
	steps int
	at    int  // the step that kills
	after bool // the call at that step still has its effect
	kill  context.CancelFunc
	dead  bool
}

// step reports whether a call may have its effect, and whether its answer comes.
func (x *executioner) step() (effect, answer bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.dead {
		return false, false
	}
	x.steps++
	if x.steps != x.at {
		return true, true
	}
	x.dead = true
	x.kill()
	return x.after, false
}

func under[T any](x *executioner, call func() (T, error)) (T, error) {
	var none T
	effect, answer := x.step()
	if !effect {
		return none, errKilled
	}
	v, err := call()
	if !answer {
		return none, errKilled
	}
	return v, err
}

// mortalBucket and mortalKV are the seams of a process that can be killed.
type mortalBucket struct {
	objstore.Bucket
	x *executioner
}

func (b mortalBucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	return under(b.x, func() (objstore.Attributes, error) { return b.Bucket.Put(ctx, name, body, cond) })
}

func (b mortalBucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	return under(b.x, func() ([]byte, error) { return b.Bucket.Get(ctx, name, offset, length) })
}

func (b mortalBucket) Delete(ctx context.Context, name string) error {
	_, err := under(b.x, func() (struct{}, error) { return struct{}{}, b.Bucket.Delete(ctx, name) })
	return err
}

func (b mortalBucket) Open(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.New("not part of this test")
}

func (b mortalBucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return b.Bucket.List(ctx, prefix)
}

type mortalKV struct {
	kv.Store
	x *executioner
}

func (k mortalKV) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	return under(k.x, func() (kv.TxnResult, error) { return k.Store.Txn(ctx, txn) })
}

// work is a history with everything in it: many partitions, time partitions, a
// table turned on late, merges, retention by a raised log start, deleted topics.
func (w *world) work(turn int) {
	w.t.Helper()
	catalog := w.store.Catalog()
	if turn == 0 {
		w.topic("table", 2, asTableForEver)
		w.topic("late", 1, map[string]string{"retention.ms": "-1"})
		w.topic("gone", 1, asTableForEver)
		w.topic("quiet", 2, map[string]string{"retention.ms": "-1"})
	}
	var all []rows
	for _, t := range catalog.Topics() {
		for i := range t.Partitions {
			all = append(all, rows{p: part(t.ID, i), n: 7 + turn, ms: 1_795_435_200_000, step: 20_000_000})
		}
	}
	for range 2 {
		w.commit(all...)
	}
	switch turn {
	case 1:
		require.NoError(w.t, w.update("late", "columnar.enabled", "true"))
	case 2:
		late, _ := catalog.Topic("late")
		_, err := w.store.SetLogStart(w.t.Context(), part(late.ID, 0), 9)
		require.NoError(w.t, err)
	case 3:
		require.NoError(w.t, w.store.DeleteTopic(w.t.Context(), "gone"))
	}
}

const turns = 5

// TestKilledAtAnyStepNothingIsLostOrDoubled kills the compactor at each call to
// the bucket and the metadata, before and after its effect, and looks at what
// readers see then. A second compactor finishes the work, and what the first
// left behind is swept.
func TestKilledAtAnyStepNothingIsLostOrDoubled(t *testing.T) {
	for _, after := range []bool{false, true} {
		for _, merging := range []bool{false, true} {
			survived := false
			first := 1
			if after {
				first = 2 // and so other steps than those before
			}
			for at := first; !survived; at += stride(at) {
				t.Run(fmt.Sprintf("step %d after %v merging segments %v", at, after, merging), func(t *testing.T) {
					survived = killedAt(t, at, after, merging)
				})
				if t.Failed() {
					return
				}
				require.Less(t, at, 2000)
			}
		}
	}
}

// stride thins the steps out towards the end, where the turns repeat
// themselves, so that the test takes seconds. Without it all 205 steps pass too.
func stride(at int) int { return 1 + at/8 }

func killedAt(t *testing.T, at int, after, merging bool) (survived bool) {
	w := newWorld(t)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	x := &executioner{kill: kill, after: after}
	config := w.quick()
	if merging {
		config = w.quiet()
	}
	first := w.start(config, w.open(mortalKV{w.kv, x}), mortalBucket{w.bucket, x})
	x.mu.Lock()
	x.steps, x.at = 0, at
	x.mu.Unlock()

	for turn := range turns {
		w.work(turn)
		for worked := ctx.Err() == nil; worked; {
			if err := first.catalogCaughtUp(w); err != nil {
				break
			}
			worked, _ = first.round(ctx)
			worked = worked && ctx.Err() == nil
		}
		if ctx.Err() == nil {
			_ = first.deleteMarked(ctx) // killed, perhaps
		}
		w.check()
		if ctx.Err() != nil {
			break
		}
	}
	survived = ctx.Err() == nil
	if survived && !merging {
		for _, kind := range []string{"log", "columnar", "text"} {
			require.NotZero(t, testutil.ToFloat64(first.metrics.merges.WithLabelValues(kind)), "merges of %s files", kind)
		}
	}
	x.mu.Lock()
	x.at = 0
	x.dead = true
	x.mu.Unlock()

	second := w.start(w.quick(), w.store, w.bucket)
	w.settle(second)
	w.check()
	w.finished()
	w.sweep(second)
	w.check()
	x.mu.Lock()
	x.dead = false // its membership is closed by the test
	x.mu.Unlock()
	return survived
}

// finished wants all that is committed to be in files.
func (w *world) finished() {
	w.t.Helper()
	for p := range w.wrote {
		section, view := w.section(p)
		if view.Topic == nil {
			continue
		}
		require.Equal(w.t, w.next[p], section.Marks.Log, "log of %v", p)
		if view.Topic.Config["columnar.enabled"] == "true" {
			require.Equal(w.t, w.next[p], section.Marks.Columnar, "table of %v", p)
		}
	}
	require.Empty(w.t, w.store.Catalog().Segments())
}

// TestTwoCompactorsOnOneManifestVersionDoNoHarm lets two compactors of one name
// work on the same partitions at once: both think that all are theirs.
func TestTwoCompactorsOnOneManifestVersionDoNoHarm(t *testing.T) {
	w := newWorld(t)
	one, two := w.start(w.quick(), w.open(w.kv), w.bucket), w.start(w.quick(), w.open(w.kv), w.bucket)
	for turn := range 3 * turns {
		w.work(turn)
		var racing sync.WaitGroup
		for _, c := range []*Compactor{one, two} {
			require.NoError(t, c.catalogCaughtUp(w))
			racing.Go(func() {
				for worked := true; worked && t.Context().Err() == nil; {
					worked, _ = c.round(t.Context())
				}
			})
		}
		racing.Wait()
		w.check()
	}
	w.settle(one)
	w.check()
	w.finished()
	w.sweep(one)
	w.check()
}

// TestTwoCompactorsMayMergeTheSameSegments lets two merge what a third writes
// into log files.
func TestTwoCompactorsMayMergeTheSameSegments(t *testing.T) {
	w := newWorld(t)
	created := w.topic("quiet", 5, map[string]string{"retention.ms": "-1"})
	one, two := w.start(w.quiet(), w.open(w.kv), w.bucket), w.start(w.quiet(), w.open(w.kv), w.bucket)
	third := w.start(w.quick(), w.open(w.kv), w.bucket)
	for turn := range 30 {
		for range 4 {
			var all []rows
			for i := range int32(5) {
				all = append(all, rows{p: part(created.ID, i), n: 1 + turn%3})
			}
			w.commit(all...)
		}
		racing := []*Compactor{one, two}
		if turn%4 == 3 {
			racing = append(racing, third)
		}
		var running sync.WaitGroup
		for _, c := range racing {
			require.NoError(t, c.catalogCaughtUp(w))
			running.Go(func() {
				for worked := true; worked && t.Context().Err() == nil; {
					worked, _ = c.round(t.Context())
				}
			})
		}
		running.Wait()
		w.check()
	}
	w.settle(third)
	w.finished()
	w.sweep(third)
	w.check()
}

// TestOneOfTwoPreparedSwapsWins is the same without chance: both have written
// their files before either swaps.
func TestOneOfTwoPreparedSwapsWins(t *testing.T) {
	w := newWorld(t)
	created := w.topic("t", 2, asTable)
	w.commit(rows{p: part(created.ID, 0), n: 10}, rows{p: part(created.ID, 1), n: 10})
	one, two := w.start(w.quick(), w.store, w.bucket), w.start(w.quick(), w.open(w.kv), w.bucket)
	require.NoError(t, two.catalogCaughtUp(w))
	prepare := func(c *Compactor, partitions ...int32) []*pass {
		var passes []*pass
		for _, s := range c.snapshots(t.Context()) {
			if slices.Contains(partitions, s.view.Partition.Index) {
				plan, _ := c.policy.decide(s, c.now())
				p, err := c.pass(t.Context(), task{snap: s, plan: plan})
				require.NoError(t, err)
				passes = append(passes, p)
			}
		}
		return passes
	}
	first, second := prepare(one, 1), prepare(two, 0, 1)
	require.NoError(t, one.commit(t.Context(), first))
	require.NoError(t, two.commit(t.Context(), second), "the partition without a conflict is swapped")
	w.check()
	won, _ := w.section(part(created.ID, 1))
	require.Equal(t, first[0].section.Log[0].Object, won.Log[0].Object)
	other, _ := w.section(part(created.ID, 0))
	require.Equal(t, int64(10), other.Marks.Log)
	w.settle(one)
	w.sweep(one)
	w.check()
}

// TestLostAnswersAndFailuresLeaveOrphansOnly works while a fifth of all calls
// fail, half of those after their effect.
func TestLostAnswersAndFailuresLeaveOrphansOnly(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t)
			plan, err := faults.ParsePlan(fmt.Sprintf("seed %d; * * fail-before p=0.1; * * fail-after p=0.1", seed))
			require.NoError(t, err)
			kvPlan, err := kvfaults.ParsePlan(fmt.Sprintf("seed %d; txn * fail-after p=0.1; txn * lose p=0.05; txn * late=2ms p=0.05; txn * fail-before p=0.05", seed))
			require.NoError(t, err)
			bucket := faults.New(w.bucket, faults.Plan{})
			flaky := kvfaults.New(w.kv, kvfaults.Plan{})
			c := w.start(w.quick(), w.open(flaky), bucket)
			bucket.Use(plan)
			flaky.Use(kvPlan)
			for turn := range turns {
				w.work(turn)
				require.NoError(t, c.catalogCaughtUp(w))
				for range 20 {
					c.round(t.Context())
				}
				_ = c.deleteMarked(t.Context()) // some deletions fail: they stay marked
				w.check()
			}
			bucket.Use(faults.Plan{})
			flaky.Use(kvfaults.Plan{})
			flaky.Settle()
			w.settle(c)
			w.check()
			w.finished()
			w.sweep(c)
			w.check()
		})
	}
}

// TestFlippedBitsAreNeverRewritten wants damage on the way from the bucket to be
// an error and not a new file.
func TestFlippedBitsAreNeverRewritten(t *testing.T) {
	w := newWorld(t)
	plan, err := faults.ParsePlan("seed 3; get * flip p=0.3")
	require.NoError(t, err)
	bucket := faults.New(w.bucket, plan)
	c := w.start(w.quick(), w.store, bucket)
	for turn := range turns {
		w.work(turn)
		for range 30 {
			c.round(t.Context())
		}
		w.check()
	}
	require.NotZero(t, bucket.Struck()[0])
	bucket.Use(faults.Plan{})
	w.settle(c)
	w.finished()
	w.check()
}
