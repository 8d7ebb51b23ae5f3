package committed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadsTheSameWhereverItLies(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 4))
			w := newWorld(t)
			var segments []metastore.Segment
			reader := w.reader() // one for all, so that what it keeps is tested too
			for range 8 {
				var batches []written
				for range 1 + random.IntN(6) {
					times := make([]int64, 1+random.IntN(5))
					batches = append(batches, w.make(batch.Codec(random.IntN(5)), random.IntN(40_000), times...))
				}
				segments = append(segments, w.flush(batches...))
				if mark := segments[random.IntN(len(segments))].Ranges[0].Next; mark > w.section.Marks.Log && random.IntN(2) == 0 {
					w.compact(mark)
				}
				for len(segments) > 1 && segments[0].Ranges[0].Next <= w.section.Marks.Log && random.IntN(2) == 0 {
					w.drop(segments[0])
					segments = segments[1:]
				}
				checkReads(t, w, reader, random)
			}
		})
	}
}

// checkReads reads from every offset, with a random limit.
func checkReads(t *testing.T, w *world, reader *committed.Reader, random *rand.Rand) {
	t.Helper()
	for offset := range w.next {
		bytesMax := random.IntN(300_000)
		batches, first, next := w.want(offset, bytesMax)
		chunk, err := reader.Read(t.Context(), w.p, offset, bytesMax)
		require.NoError(t, err)
		require.Equal(t, first, chunk.First, "offset %d", offset)
		require.LessOrEqual(t, chunk.Next, next)
		require.True(t, bytes.HasPrefix(batches, chunk.Batches), "offset %d: other bytes", offset)
		require.Greater(t, chunk.Next, offset)
		// Less than what fits is allowed only by less than a block.
		require.Greater(t, len(chunk.Batches), len(batches)-segment.BlockBytes, "offset %d", offset)
	}
	_, err := reader.Read(t.Context(), w.p, w.next, 1)
	require.ErrorIs(t, err, committed.ErrNotCommitted)
}

func TestReadSaysWhyThereIsNothing(t *testing.T) {
	w := newWorld(t)
	reader := w.reader()
	_, err := reader.Read(t.Context(), w.p, 0, 1)
	require.ErrorIs(t, err, committed.ErrNotCommitted)
	_, err = reader.Read(t.Context(), topic.Partition{Topic: topic.NewID()}, 0, 1)
	require.ErrorIs(t, err, metastore.ErrTopicUnknown)

	w.flush(w.make(batch.None, 10, 1, 2, 3))
	_, err = w.store.SetLogStart(t.Context(), w.p, 2)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.store.Catalog().Partition(w.p).Manifest.LogStart == 2 }, 10*time.Second, time.Millisecond)
	_, err = reader.Read(t.Context(), w.p, 1, 1)
	require.ErrorIs(t, err, committed.ErrBelowStart)
	chunk, err := reader.Read(t.Context(), w.p, 2, 1)
	require.NoError(t, err)
	require.Equal(t, int64(0), chunk.First, "a batch is never cut")
	section, ref, err := reader.Manifest(t.Context(), w.p)
	require.NoError(t, err)
	require.Equal(t, manifest.Section{Partition: w.p, LogStart: 2}, section)
	require.Empty(t, ref.Object)
}

func TestHolesAreNamed(t *testing.T) {
	w := newWorld(t)
	w.flush(w.make(batch.None, 10, 1, 2))
	w.next = 10
	w.flush(w.make(batch.None, 10, 1))
	w.next = 20
	w.flush(w.make(batch.None, 10, 1))
	reader := w.reader()
	check := func() {
		t.Helper()
		chunk, err := reader.Read(t.Context(), w.p, 0, 1<<20)
		require.NoError(t, err)
		require.Equal(t, int64(2), chunk.Next, "a chunk ends before a hole")
		for _, offset := range []int64{2, 9} {
			_, err = reader.Read(t.Context(), w.p, offset, 1)
			var hole *committed.HoleError
			require.ErrorAs(t, err, &hole)
			require.Equal(t, committed.HoleError{Partition: w.p, First: offset, Next: 10}, *hole)
		}
		_, err = reader.Read(t.Context(), w.p, 11, 1)
		var hole *committed.HoleError
		require.ErrorAs(t, err, &hole)
		require.Equal(t, int64(20), hole.Next)
	}
	check()
	w.compact(2)
	check()
	w.compact(11)
	check()
}

func TestCompactedGapsAreNotHoles(t *testing.T) {
	w := newWorld(t)
	// One log file that covers [0, 30) and holds [0, 2) and [10, 12).
	a := w.make(batch.None, 10, 1, 2)
	w.next = 10
	b := w.make(batch.None, 10, 3, 4)
	w.next = 30
	c := w.make(batch.None, 10, 5)
	w.flush(a, b, c)
	writer := segment.NewWriter(segment.Meta{Kind: segment.KindLog})
	writer.Begin(w.p, 0)
	appendAll(t, writer, []written{a, b})
	writer.End(nil)
	name, size, _ := w.put(writer)
	w.section.Log = []manifest.File{{Object: name, Size: size, First: 0, Next: 31, Records: 4}}
	w.section.Marks.Log = 31
	w.swap()
	reader := w.reader()
	chunk, err := reader.Read(t.Context(), w.p, 5, 1<<20)
	require.NoError(t, err)
	require.Equal(t, committed.Chunk{Batches: b.raw, First: 10, Next: 31}, chunk)
	chunk, err = reader.Read(t.Context(), w.p, 15, 1<<20)
	require.NoError(t, err)
	require.Equal(t, committed.Chunk{First: 31, Next: 31}, chunk, "nothing is left up to the end")
}

func TestDamageCostsItsBlockAlone(t *testing.T) {
	w := newWorld(t)
	var batches []written
	for range 4 {
		batches = append(batches, w.make(batch.None, 100_000, 1)) // a block each
	}
	seg := w.flush(batches...)
	at := seg.Ranges[0].Position + 2*int64(len(batches[0].raw)) + 1000 // in the third
	w.flip(seg.Object, at)
	metrics, err := committed.NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	reader := committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{Metrics: metrics})

	chunk, err := reader.Read(t.Context(), w.p, 0, 1<<20)
	require.NoError(t, err)
	require.Equal(t, int64(2), chunk.Next, "what comes before it is served")
	_, err = reader.Read(t.Context(), w.p, 2, 1<<20)
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, fmt.Sprintf("%s: corrupt at byte %d: block CRC", seg.Object, at-1000))
	chunk, err = reader.Read(t.Context(), w.p, 3, 1<<20)
	require.NoError(t, err)
	require.Equal(t, batches[3].raw, chunk.Batches)
}

func TestDamagedFootersAndManifestsAreNamed(t *testing.T) {
	w := newWorld(t)
	seg := w.flush(w.make(batch.None, 10, 1))
	w.flip(seg.Object, seg.Size-30)
	_, err := w.reader().Read(t.Context(), w.p, 0, 1)
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, seg.Object+": corrupt at byte ")

	_, err = w.bucket.Put(t.Context(), seg.Object, objstore.Bytes([]byte("cut off")), objstore.Condition{})
	require.NoError(t, err)
	_, err = w.reader().Read(t.Context(), w.p, 0, 1)
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, seg.Object)

	w.compact(1)
	ref := w.store.Catalog().Partition(w.p).Manifest
	w.flip(ref.Object, ref.Position+50)
	_, _, err = w.reader().Manifest(t.Context(), w.p)
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, ref.Object+": corrupt at byte ")
}

func TestAMissingObjectIsPlannedAgain(t *testing.T) {
	w := newWorld(t)
	seg := w.flush(w.make(batch.None, 10, 1, 2))
	var once sync.Once
	w.bucket.onGet = func(name string, _, _ int64) {
		if name == seg.Object {
			once.Do(func() { // the reader has its plan; now the compactor is quicker
				w.compact(2)
				w.drop(seg)
			})
		}
	}
	chunk, err := w.reader().Read(t.Context(), w.p, 0, 1)
	require.NoError(t, err)
	require.Equal(t, w.batches[0].raw, chunk.Batches)
}

func TestAMissingObjectIsNotTheEndOfData(t *testing.T) {
	w := newWorld(t)
	seg := w.flush(w.make(batch.None, 10, 1, 2))
	require.NoError(t, w.bucket.Delete(t.Context(), seg.Object))
	_, err := w.reader().Read(t.Context(), w.p, 0, 1)
	require.ErrorIs(t, err, objstore.ErrNotFound)
	require.ErrorContains(t, err, seg.Object)
	_, err = w.reader().Producers(t.Context(), w.p)
	require.ErrorIs(t, err, objstore.ErrNotFound)

	ctx, cancel := context.WithCancel(t.Context())
	w.bucket.onGet = func(string, int64, int64) { cancel() }
	patient := committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{MissingWait: time.Hour})
	_, err = patient.Read(ctx, w.p, 0, 1)
	require.ErrorIs(t, err, context.Canceled)
}

func TestProducersAreTheSnapshotUnderNewerRanges(t *testing.T) {
	w := newWorld(t)
	state := func(id int64, sequence int32) producer.State {
		return producer.State{ID: id, Batches: []producer.Batch{{FirstSequence: sequence, LastSequence: sequence, Timestamp: -1}}}
	}
	flush := func(states ...producer.State) {
		b := w.make(batch.None, 10, 1)
		b.producers = states
		w.flush(b)
	}
	flush(state(7, 0), state(8, 0))
	flush(state(7, 1))
	flush(state(9, 5))
	want := []producer.State{state(7, 1), state(8, 0), state(9, 5)}
	states, err := w.reader().Producers(t.Context(), w.p)
	require.NoError(t, err)
	require.Equal(t, want, states)

	w.compact(2, state(7, 1), state(8, 0)) // the segments are still there
	flush(state(8, 1))
	want[1] = state(8, 1)
	states, err = w.reader().Producers(t.Context(), w.p)
	require.NoError(t, err)
	require.Equal(t, want, states)
}

func TestOffsetForTimeAgreesWithASearchThroughAllRecords(t *testing.T) {
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t)
		reader := w.reader()
		for i := range int64(6) {
			var batches []written
			for range 1 + random.IntN(8) {
				times := make([]int64, 1+random.IntN(6))
				for j := range times {
					times[j] = 100*i + random.Int64N(150) // a little out of order
				}
				batches = append(batches, w.make(batch.Codec(random.IntN(5)), random.IntN(40_000), times...))
			}
			seg := w.flush(batches...)
			if random.IntN(2) == 0 {
				w.compact(seg.Ranges[0].Next)
			}
			if random.IntN(4) == 0 {
				w.next += 5 // a hole
			}
		}
		for ms := int64(-1); ms < 800; ms += 3 {
			offset, timestamp, ok, err := reader.OffsetForTime(t.Context(), w.p, ms)
			require.NoError(t, err)
			wantOffset, wantTime, wantOK := w.byTime(ms)
			require.Equal(t, wantOK, ok, "seed %d time %d", seed, ms)
			require.Equal(t, []int64{wantOffset, wantTime}, []int64{offset, timestamp}, "seed %d time %d", seed, ms)
		}
	}
}

func (w *world) byTime(ms int64) (offset, timestamp int64, ok bool) {
	for _, b := range w.batches {
		for i, at := range b.times {
			if at >= ms {
				return b.first + int64(i), at, true
			}
		}
	}
	return 0, 0, false
}

func TestManyReadersLoadAFooterOnce(t *testing.T) {
	w := newWorld(t)
	w.flush(w.make(batch.None, 10, 1, 2))
	reader := w.reader()
	release := make(chan struct{})
	w.bucket.onGet = func(string, int64, int64) { <-release }
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() {
			_, err := reader.Producers(t.Context(), w.p)
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	done.Wait()
	require.Equal(t, int64(1), w.bucket.gets.Load())
}

func TestOneReaderGivingUpDoesNotFailTheOthers(t *testing.T) {
	w := newWorld(t)
	w.flush(w.make(batch.None, 10, 1, 2))
	reader := w.reader()
	hurried, giveUp := context.WithCancel(t.Context())
	started := make(chan struct{})
	var once sync.Once
	w.bucket.onGet = func(string, int64, int64) {
		once.Do(func() {
			close(started)
			<-hurried.Done()
		})
	}
	first := make(chan error)
	go func() {
		_, err := reader.Producers(hurried, w.p)
		first <- err
	}()
	<-started
	second := make(chan error)
	go func() {
		_, err := reader.Producers(t.Context(), w.p)
		second <- err
	}()
	giveUp()
	require.True(t, errors.Is(<-first, context.Canceled))
	require.NoError(t, <-second)
}

func TestNothingIsKeptBeyondTheBudget(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.flush(w.make(batch.None, 10, 1))
	}
	read := func(footerBytesMax int64) int64 {
		reader := committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{FooterBytesMax: footerBytesMax})
		for range 3 {
			_, err := reader.Producers(t.Context(), w.p)
			require.NoError(t, err)
		}
		return w.bucket.gets.Swap(0)
	}
	require.Equal(t, int64(5), read(1<<20), "all five footers are kept")
	require.Equal(t, int64(15), read(1000), "two at most: a walk through five finds none again")
	require.Equal(t, int64(15), read(1), "what is larger than the budget is not kept")
}

// What a consumer costs that reads a log file of 64 MiB from its start, besides
// the bucket.
func BenchmarkReadOneMiB(b *testing.B) {
	w := newWorld(b)
	var batches []written
	for range 64 << 20 / 16_000 {
		batches = append(batches, w.make(batch.None, 1000, make([]int64, 15)...))
	}
	w.flush(batches...)
	reader := w.reader()
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	offset := int64(0)
	for b.Loop() {
		chunk, err := reader.Read(b.Context(), w.p, offset, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if offset = chunk.Next; offset == w.next {
			offset = 0
		}
	}
}

// The log start may cut objects, blocks and batches in two, and what is below
// it does not count, whatever their indexes say.
func TestMaxTimestampLooksOnlyAboveTheLogStart(t *testing.T) {
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 6))
		w := newWorld(t)
		reader := w.reader()
		for i := range int64(4) {
			var batches []written
			for range 1 + random.IntN(8) {
				times := make([]int64, 1+random.IntN(6))
				for j := range times {
					times[j] = 1000 - 100*i + random.Int64N(150) // falling: the largest are the first to go
				}
				batches = append(batches, w.make(batch.Codec(random.IntN(5)), random.IntN(40_000), times...))
			}
			if seg := w.flush(batches...); random.IntN(2) == 0 {
				w.compact(seg.Ranges[0].Next)
			}
		}
		for start := int64(0); start <= w.next; start += 1 + random.Int64N(3) {
			_, err := w.store.SetLogStart(t.Context(), w.p, start)
			require.NoError(t, err)
			want := int64(-1)
			for _, b := range w.batches {
				for i, ms := range b.times {
					if b.first+int64(i) >= start {
						want = max(want, ms)
					}
				}
			}
			got, err := reader.MaxTimestamp(t.Context(), w.p)
			require.NoError(t, err)
			require.Equal(t, want, got, "seed %d log start %d", seed, start)
		}
	}
}
