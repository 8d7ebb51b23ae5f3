package ingest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/metastore"
)

func TestAcksAllUnderObjectAnswersAfterBucketAndMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, true)
		defer w.close()
		w.plan("put segments/ delay=3s p=1")
		w.kvPlan("txn /commits/ delay=2s p=1")
		start := time.Now()
		a := w.must(0, "x", -1, true)
		require.Equal(t, 5*time.Second+100*time.Millisecond, time.Since(start), "flush wait, put, transaction")
		require.Len(t, w.committed(0), 1)
		require.EqualValues(t, 0, a.First)

		start = time.Now()
		w.must(0, "y", 1, true)
		require.Zero(t, time.Since(start), "acks=1 answers after the disk")
		require.EqualValues(t, 1, w.bounds(0).HighWatermark, "and readers wait for the commit")
	})
}

// A flush comes soon for those who wait, also when batches nobody waits for have
// filled the seal before theirs was synced.
func TestAFlushComesSoonForThoseWhoWaitAndLateForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sync = 7 * time.Millisecond
		w := newWorld(t, ingest.Config{}, true)
		defer w.close()
		w.fails(func(site disk.Site, _ string, _ int) *disk.Fault {
			if site == disk.SiteDatasync {
				return &disk.Fault{Delay: sync}
			}
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		busy := make(chan struct{})
		go func() { // nobody waits for what it writes
			defer close(busy)
			for ctx.Err() == nil {
				if _, err := w.produce(1, []byte("busy"), 1, true); err != nil {
					t.Error(err)
				}
				time.Sleep(3 * time.Millisecond)
			}
		}()
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 300 {
			time.Sleep(time.Duration(random.Int64N(int64(150 * time.Millisecond))))
			start := time.Now()
			w.must(0, "x", -1, true)
			require.LessOrEqual(t, time.Since(start), 100*time.Millisecond+3*sync, "batch %d", i)
		}
		stop()
		<-busy
		require.NoError(t, w.log.Flush(t.Context()))

		// Without anybody who waits it takes its time, and an idle log does nothing.
		flushes := w.metric("chronik_broker_flushes_total")
		start := time.Now()
		w.must(0, "x", 1, true)
		next := w.bounds(0).HighWatermark + 1
		for w.bounds(0).HighWatermark < next {
			time.Sleep(10 * time.Millisecond)
		}
		require.InDelta(t, 5*time.Second, time.Since(start), float64(50*time.Millisecond))
		time.Sleep(time.Minute)
		require.Equal(t, flushes+1, w.metric("chronik_broker_flushes_total"))
	})
}

// A consumer at the end, as the tail of a query is one, does not wait for the age
// of a segment either: it may have begun to wait before or after the batch came.
func TestAFlushComesSoonForReadersAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, true)
		defer w.close()
		for _, before := range []bool{true, false} {
			start := time.Now()
			waiter := ingest.NewWaiter()
			if before {
				waiter.Watch(w.partition(0))
			}
			w.must(0, "x", 1, true)
			if !before {
				time.Sleep(40 * time.Millisecond)
				waiter.Watch(w.partition(0))
			}
			<-waiter.C
			require.Equal(t, 100*time.Millisecond, time.Since(start))
			waiter.Close()
		}
		require.EqualValues(t, 2, w.bounds(0).HighWatermark)
	})
}

func TestReadersSeeOnlyWhatIsCommittedUnderObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, true)
		defer w.close()
		w.must(0, "x", 1, true)
		require.Zero(t, w.bounds(0).HighWatermark)
		require.Zero(t, w.bounds(0).LastStable)
		read, err := w.partition(0).Read(0, 1000, 1000)
		require.NoError(t, err)
		require.Empty(t, read.Batches)
		require.NoError(t, w.log.Flush(t.Context()))
		require.EqualValues(t, 1, w.bounds(0).HighWatermark)
		read, err = w.partition(0).Read(0, 1000, 1000)
		require.NoError(t, err)
		require.Len(t, read.Batches, 1)
	})
}

// What readers were told stays true when a topic's durability is altered, and
// what comes afterwards is held to the new one.
func TestDurabilityIsAlteredLiveBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, false)
		defer w.close()
		p := w.partition(0)
		w.must(0, "wal", 1, false)
		require.EqualValues(t, 1, w.bounds(0).HighWatermark)

		p.Configure(0, true)
		require.EqualValues(t, 1, w.bounds(0).HighWatermark, "never goes back")
		w.must(0, "object", 1, true)
		require.EqualValues(t, 1, w.bounds(0).HighWatermark, "not committed")
		start := time.Now()
		w.must(0, "object", -1, true)
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.EqualValues(t, 3, w.bounds(0).HighWatermark)

		w.must(0, "object", 1, true)
		require.EqualValues(t, 3, w.bounds(0).HighWatermark)
		p.Configure(0, false)
		require.EqualValues(t, 4, w.bounds(0).HighWatermark, "durable on the disk is enough now")
		start = time.Now()
		w.must(0, "wal", -1, false)
		require.Zero(t, time.Since(start))
	})
}

// Uploads go on side by side, and nothing is committed, told or shown before what
// came before it.
func TestASlowUploadHoldsBackTheCommitsBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{UploadsMax: 3}, true)
		defer w.close()
		w.plan("put segments/ delay=10s nth=1")
		start := time.Now()
		var all []<-chan error
		for i := range 6 {
			p, err := w.produce(int32(i%3), fmt.Appendf(nil, "%d", i), -1, true)
			require.NoError(t, err)
			all = append(all, waiting(t.Context(), p))
			time.Sleep(200 * time.Millisecond)
		}
		time.Sleep(8 * time.Second)
		require.Equal(t, 3.0, w.metric("chronik_broker_uploads"), "as many as may be at once")
		for i := range int32(3) {
			require.Zero(t, w.bounds(i).HighWatermark)
			require.Empty(t, w.committed(i))
		}
		for _, one := range all {
			require.NoError(t, <-one)
		}
		require.Equal(t, 10*time.Second+100*time.Millisecond, time.Since(start).Truncate(time.Millisecond))
		var sequences []int64
		for i := range 6 {
			r := w.committed(int32(i % 3))[i/3]
			sequences = append(sequences, r.Segment.Sequence)
		}
		require.Equal(t, []int64{1, 2, 3, 4, 5, 5}, sequences, "what comes while all uploads are taken shares a segment")
	})
}

// What is embedded once it is committed does not wait as long as the rest, and what
// comes with it comes along.
func TestRecordsToBeEmbeddedAreCommittedSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, false)
		defer w.close()
		begun := time.Now()
		w.must(0, "plain", -1, false)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		require.Empty(t, w.committed(0))
		w.partition(1).Hasten(true)
		w.must(1, "embedded", -1, false)
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		require.Len(t, w.committed(0), 1, "the seal was old enough")
		require.Len(t, w.committed(1), 1)
		require.Less(t, time.Since(begun), 3*time.Second)

		w.partition(1).Hasten(false)
		w.must(1, "plain", -1, false)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		require.Len(t, w.committed(1), 1)
	})
}

// The bucket and the metadata store say failed to half of all that they do, and
// have done half of that. Each batch is committed once, and is told so.
func TestAnUnknownOutcomeIsResolvedByRepeating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAgeUrgent: 10 * time.Millisecond}, true)
		defer w.close()
		w.plan("seed 3; put segments/ fail-after p=0.3; put segments/ fail-before p=0.2")
		w.kvPlan("seed 5; txn /commits/ fail-after p=0.3; txn /commits/ lose p=0.2; txn /commits/ late=30ms p=0.1")
		for i := range 100 {
			require.EqualValues(t, i, w.must(0, "x", -1, true).First)
		}
		next := int64(0)
		for _, r := range w.committed(0) {
			require.Equal(t, next, r.First)
			next = r.Next
		}
		require.EqualValues(t, 100, next)
		w.plan("")
		w.kvPlan("")
	})
}

// A neighbour's failure never acknowledges my batch: neither that of one in the
// same segment, nor that of one before it.
func TestANeighboursFailureNeverAcksMyBatch(t *testing.T) {
	t.Run("the session is lost while segments are on their way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, ingest.Config{}, true)
			w.plan("put segments/ delay=5s p=1")
			var all []<-chan error
			for i := range int32(9) {
				p, err := w.produce(i%3, []byte("x"), -1, true)
				require.NoError(t, err)
				all = append(all, waiting(t.Context(), p))
				time.Sleep(150 * time.Millisecond) // three segments on their way, and some that wait
			}
			_, err := w.store.Register(t.Context(), metastore.Broker{ID: 1}, lease)
			require.NoError(t, err)
			for i, one := range all {
				require.ErrorIs(t, <-one, core.ErrNotOwner, "batch %d", i)
			}
			for i := range int32(3) {
				require.Empty(t, w.committed(i))
			}
			w.close()
		})
	})
	t.Run("a batch in the same segment does not read back from the disk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, ingest.Config{TailBytesMax: 1}, true) // everything is read back
			defer w.close()
			var reads []*disk.Fault
			w.fails(func(site disk.Site, _ string, _ int) *disk.Fault {
				if site != disk.SiteRead || len(reads) == 0 {
					return nil
				}
				f := reads[0]
				reads = reads[1:]
				return f
			})
			reads = []*disk.Fault{nil, {Err: context.DeadlineExceeded}, nil}
			var all []<-chan error
			for i := range int32(3) { // read back in the order of the partitions
				p, err := w.produce(i, []byte("x"), -1, true)
				require.NoError(t, err)
				all = append(all, waiting(t.Context(), p))
			}
			require.NoError(t, <-all[0])
			require.ErrorIs(t, <-all[1], core.ErrStorage)
			require.NoError(t, <-all[2])
			require.Empty(t, w.committed(1))
			require.Equal(t, 1.0, w.metric("chronik_broker_unreadable_records_total"))
		})
	})
	t.Run("the disk fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, ingest.Config{}, false)
			defer w.close()
			w.must(0, "before", 1, false)
			w.fails(func(site disk.Site, _ string, _ int) *disk.Fault {
				if site == disk.SiteDatasync {
					return &disk.Fault{Delay: time.Second, Err: context.DeadlineExceeded}
				}
				return nil
			})
			var all []<-chan error
			for i := range int32(3) {
				p, err := w.produce(i, []byte("x"), 1, false)
				require.NoError(t, err)
				all = append(all, waiting(t.Context(), p))
				time.Sleep(100 * time.Millisecond) // the first alone, the others with the next sync
			}
			for _, one := range all {
				require.ErrorIs(t, <-one, core.ErrStorage)
			}
			_, err := w.produce(0, []byte("x"), 1, false)
			require.ErrorIs(t, err, core.ErrStorage, "a file whose sync has failed is never trusted again")
			require.EqualValues(t, 1, w.bounds2(0))
		})
	})
}

// bounds2 is the high watermark of a partition that refuses.
func (w *world) bounds2(i int32) int64 {
	b, _ := w.partition(i).Bounds() // the error is the refusal
	return b.HighWatermark
}

// A broker that slept past its lease may have a successor, which does not have
// what is on this disk only.
func TestNoAnswerIsGivenPastTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, false)
		w.kvPlan("keepalive * fail-before p=1; txn * fail-before p=1") // away, and so is the end of the session
		w.fails(func(site disk.Site, _ string, _ int) *disk.Fault {
			if site == disk.SiteDatasync {
				return &disk.Fault{Delay: lease}
			}
			return nil
		})
		slow, err := w.produce(0, []byte("x"), 1, false)
		require.NoError(t, err)
		_, err = slow.Wait(t.Context())
		require.ErrorIs(t, err, core.ErrNotOwner, "the disk took as long as the lease")
		w.kvPlan("")
		w.fails(nil)
		w.close()
	})
}

// What nobody will acknowledge is not written either: salvage could not tell it
// from what was acknowledged.
func TestNothingIsAppendedPastTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, false)
		first, err := w.produce(0, []byte("x"), 1, false)
		require.NoError(t, err)
		_, err = first.Wait(t.Context())
		require.NoError(t, err)
		w.kvPlan("keepalive * fail-before p=1; txn * fail-before p=1")
		time.Sleep(lease)
		_, err = w.produce(0, []byte("x"), 1, false)
		require.ErrorIs(t, err, core.ErrNotOwner)
		require.EqualValues(t, 1, w.bounds2(0))
		w.kvPlan("")
		w.close()
	})
}

func TestAnAnswerThatWaitedForOthersIsNotGivenPastTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, false)
		wal, err := w.produce(0, []byte("x"), 1, false)
		require.NoError(t, err)
		_, err = wal.Wait(t.Context())
		require.NoError(t, err)
		object, err := w.produce(1, []byte("x"), -1, true)
		require.NoError(t, err)
		_, err = object.Wait(t.Context())
		require.NoError(t, err)

		w.kvPlan("keepalive * fail-before p=1")
		time.Sleep(lease)
		require.ErrorIs(t, wal.Confirm(), core.ErrNotOwner)
		require.NoError(t, object.Confirm(), "committed is committed, whoever owns the partition by now")
		w.kvPlan("")
		w.close()
	})
}

// A request's partitions are waited for in turn. One that takes all the time does
// not take it from those that are durable.
func TestWhatIsDurableIsAcknowledgedAlsoWhenTheTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, true)
		defer w.close()
		committed, err := w.produce(0, []byte("x"), -1, true)
		require.NoError(t, err)
		_, err = committed.Wait(t.Context())
		require.NoError(t, err)
		synced, err := w.produce(1, []byte("y"), 1, true)
		require.NoError(t, err)
		synctest.Wait()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 { // both were true, and chance decided
			_, err := committed.Wait(over)
			require.NoError(t, err)
			_, err = synced.Wait(over)
			require.NoError(t, err)
		}
	})
}
