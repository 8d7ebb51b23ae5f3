package ingest_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/retry"
)

// kilobyte is a value whose batch takes some more than 1,000 bytes of a budget.
var kilobyte = make([]byte, 1000)

func TestAFullBudgetMakesProduceWaitAndThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{WALBytesMax: 10_000, SegmentAge: 10 * time.Millisecond}, false)
		defer w.close()
		w.plan("put * fail-before p=1")
		for range 9 {
			w.must(0, string(kilobyte), 1, false)
		}
		start := time.Now()
		_, err := w.produce(0, kilobyte, 1, false)
		require.ErrorIs(t, err, core.ErrOverBudget)
		require.Equal(t, 2*time.Second, time.Since(start))
		require.Equal(t, 1.0, w.metric("chronik_broker_budget_refusals_total"))

		// All batches of a request wait together.
		start = time.Now()
		for i := range int32(3) {
			_, err := w.produceOf(i, kilobyte, 1, false, start)
			require.ErrorIs(t, err, core.ErrOverBudget)
		}
		require.Equal(t, 2*time.Second, time.Since(start))

		// Room comes with the next commit, and who waits gets it.
		w.plan("")
		time.Sleep(5 * time.Second) // the longest pause of a flush that failed
		w.must(0, string(kilobyte), 1, false)
		require.EqualValues(t, 10, w.bounds(0).HighWatermark)
	})
}

// Small batches do not pass a large one that waits.
func TestRoomIsGivenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{WALBytesMax: 10_000, SegmentAge: 10 * time.Millisecond, BudgetWait: time.Minute}, false)
		defer w.close()
		w.plan("put * delay=1s p=1")
		for range 9 {
			w.must(0, string(kilobyte), 1, false)
		}
		order := make(chan string, 3)
		for _, c := range []struct {
			name string
			size int
		}{{"large", 9_900}, {"small", 100}, {"small", 100}} {
			go func() {
				if _, err := w.produce(1, make([]byte, c.size), 1, false); err != nil {
					t.Error(err)
				}
				order <- c.name
			}()
			synctest.Wait()
		}
		require.Equal(t, "large", <-order)
		require.Equal(t, "small", <-order)
		require.Equal(t, "small", <-order)
	})
}

// What waits is in memory, and bounded. Beyond that nothing is kept, and who is
// refused hears of it when he would have given up waiting: he would come again.
func TestTheMemoryOfThoseWhoWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{WALBytesMax: 10_000, WaitingBytesMax: 5_000, SegmentAge: 10 * time.Millisecond}, false)
		defer w.close()
		w.plan("put * fail-before p=1")
		for range 9 {
			w.must(0, string(kilobyte), 1, false)
		}
		start := time.Now()
		const producers = 100
		refused := make(chan time.Duration, producers)
		for range producers {
			go func() {
				p, err := w.produce(1, kilobyte, 1, false)
				if err == nil {
					_, err = p.Wait(t.Context())
				}
				if !errors.Is(err, core.ErrOverBudget) {
					t.Error(err)
				}
				refused <- time.Since(start)
			}()
		}
		synctest.Wait()
		require.LessOrEqual(t, w.metric("chronik_broker_budget_waiting_bytes"), 5_000.0)
		require.Greater(t, w.metric("chronik_broker_budget_waiting_bytes"), 4_000.0)
		for range producers {
			require.Equal(t, 2*time.Second, <-refused)
		}
		require.Zero(t, w.metric("chronik_broker_budget_waiting_bytes"))
		w.plan("")
	})
}

// A disk without space is a storage error, which clients take up again; nothing
// that was acknowledged is concerned, the session goes on, and space heals it.
func TestAFullDiskIsAStorageErrorThatHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAge: time.Hour}, false)
		defer w.close()
		synctest.Wait() // the first file is there
		w.must(0, "before", 1, false)
		w.fails(func(site disk.Site, name string, _ int) *disk.Fault {
			// The file that is written has its space; another one does not.
			if (site == disk.SiteCreate || site == disk.SiteWrite) && name > "wal/00000002.wal" {
				return &disk.Fault{Err: disk.ErrFull}
			}
			return nil
		})
		large := make([]byte, 100_000)
		acked := int64(1)
		for ; ; acked++ {
			synctest.Wait() // this disk does not tell how full it is: the next file is ready, or known not to be
			p, err := w.produce(0, large, 1, false)
			if errors.Is(err, core.ErrStorage) {
				require.ErrorIs(t, err, disk.ErrFull)
				break
			}
			require.NoError(t, err)
			_, err = p.Wait(t.Context())
			require.NoError(t, err, "what was taken is kept")
		}
		require.GreaterOrEqual(t, acked, int64(9))
		require.NoError(t, w.log.Failed(), "the session goes on")
		require.Equal(t, 1.0, w.metric("chronik_broker_budget_refusals_total"))
		require.Equal(t, acked, w.must(1, "small ones have room", 1, false).First+acked)
		w.fails(nil)
		time.Sleep(1100 * time.Millisecond)
		require.Equal(t, acked, w.must(0, string(large), 1, false).First)
	})
}

// The object store is away for a minute under load, then everything that was
// acknowledged goes up: after one probe, in few uploads, none twice.
func TestAMinuteWithoutTheObjectStoreIsRecoveredWithoutAHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, ingest.Config{SegmentBytes: 1 << 20, WALBytesMax: 64 << 20}, false, retry.Options{})
		defer w.close()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan int64)
		go func() { // 1 MB/s
			acked := int64(0)
			for ; ctx.Err() == nil; acked++ {
				w.must(0, string(make([]byte, 100_000)), 1, false)
				time.Sleep(100 * time.Millisecond)
			}
			done <- acked
		}()
		time.Sleep(10 * time.Second)
		w.plan("* * fail-before p=1")
		time.Sleep(time.Minute)
		struck := w.bucket.Struck()[0]
		require.LessOrEqual(t, struck, int64(100), "attempts in a minute, probes and uploads")
		w.plan("")
		back := time.Now()
		flushes, uncommitted := w.metric("chronik_broker_flushes_total"), w.metric("chronik_broker_uncommitted_bytes")
		require.Greater(t, uncommitted, 55e6)
		for w.metric("chronik_broker_uncommitted_bytes") > 2e6 {
			require.Less(t, time.Since(back), 5*time.Second)
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("%d attempts in a minute without the store; %.0f MB in %.0f segments committed %v after its return",
			struck, uncommitted/1e6, w.metric("chronik_broker_flushes_total")-flushes, time.Since(back))
		stop()
		acked := <-done
		require.NoError(t, w.log.Flush(t.Context()))
		next := int64(0)
		for _, r := range w.committed(0) {
			require.Equal(t, next, r.First)
			next = r.Next
		}
		require.Equal(t, acked, next)
		objects := 0
		for _, err := range w.bucket.List(t.Context(), "") {
			require.NoError(t, err)
			objects++
		}
		require.EqualValues(t, w.metric("chronik_broker_flushes_total"), objects, "each segment was put once")
	})
}

// forgetful stores nothing.
type forgetful struct{ objstore.Bucket }

func (forgetful) Put(_ context.Context, name string, body objstore.Body, _ objstore.Condition) (objstore.Attributes, error) {
	return objstore.Attributes{Name: name, Size: body.Size, ETag: "x"}, nil
}

// What has left the tail is free, also when a sync went into two segments, so that
// the batches of both know of one another.
func TestWhatHasLeftTheTailIsNotKeptByWhatFollows(t *testing.T) {
	w := openWorld(t, ingest.Config{SegmentBytes: 1 << 20, SegmentAge: time.Hour, TailBytesMax: 3 << 20}, false,
		func(b objstore.Bucket) objstore.Bucket { return forgetful{b} })
	defer w.close()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	w.fails(func(site disk.Site, _ string, _ int) *disk.Fault {
		if site == disk.SiteDatasync {
			return &disk.Fault{Delay: time.Millisecond} // so that syncs have several batches
		}
		return nil
	})
	// A segment has 35 of these, and the bursts of 36 go over the edges of segments.
	value := make([]byte, 30_000)
	const bursts, burst = 34, 36
	for range bursts {
		var pending []core.Pending
		for i := range burst {
			p, err := w.produce(int32(i%3), value, 1, false)
			require.NoError(t, err)
			pending = append(pending, p)
		}
		for _, p := range pending {
			_, err := p.Wait(t.Context())
			require.NoError(t, err)
		}
		for w.metric("chronik_broker_uncommitted_bytes") > 2<<20 { // what goes from the tail is committed
			runtime.Gosched()
		}
	}
	require.Less(t, int64(heap())-int64(before), int64(18<<20), "%d MB went through a tail of 3 MiB", bursts*burst*len(value)/1_000_000)
}
