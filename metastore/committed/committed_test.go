package committed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
	kvmemory "github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a partition with its metadata, its bucket and all that was ever
// committed to it.
type world struct {
	t       *testing.T
	store   *metastore.Store
	bucket  *hooked
	session *metastore.BrokerSession
	p       topic.Partition
	seq     int64
	objects int
	section manifest.Section
	batches []written
	next    int64
}

// written is a batch as it was committed.
type written struct {
	first, next int64
	raw         []byte
	times       []int64 // of its records
	producers   []producer.State
}

// hooked is a memory bucket that tells a test of each Get.
type hooked struct {
	objstore.Bucket
	gets  atomic.Int64
	onGet func(name string, offset, length int64) // may be nil
}

func (h *hooked) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	h.gets.Add(1)
	if h.onGet != nil {
		h.onGet(name, offset, length)
	}
	return h.Bucket.Get(ctx, name, offset, length)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	k := kvmemory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test", Seed: 1})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	session, err := store.Register(t.Context(), metastore.Broker{ID: 1}, time.Minute)
	require.NoError(t, err)
	created, err := store.CreateTopic(t.Context(), metastore.Topic{Name: "events", Partitions: 2})
	require.NoError(t, err)
	w := &world{t: t, store: store, session: session, bucket: &hooked{Bucket: memory.New()}, p: topic.Partition{Topic: created.ID}}
	w.section.Partition = w.p
	return w
}

func (w *world) reader() *committed.Reader {
	return committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{MissingWait: 20 * time.Millisecond})
}

// make builds a batch at the end of the log, with records at the times.
func (w *world) make(codec batch.Codec, valueBytes int, times ...int64) written {
	w.t.Helper()
	var b batch.Builder
	b.Reset(batch.Options{Codec: codec})
	for _, ms := range times {
		b.Append(ms, nil, bytes.Repeat([]byte{byte(ms)}, valueBytes))
	}
	raw, err := b.Build(nil)
	require.NoError(w.t, err)
	batch.PatchOffset(raw, w.next, 0)
	n := written{first: w.next, next: w.next + int64(len(times)), raw: raw, times: times}
	w.next = n.next
	return n
}

// put stores the object that a writer laid out.
func (w *world) put(writer *segment.Writer) (name string, size int64, f *segment.Footer) {
	w.t.Helper()
	parts, footer, err := writer.Finish()
	require.NoError(w.t, err)
	w.objects++
	name = fmt.Sprintf("objects/%d.%v", w.objects, footer.Kind)
	body := objstore.Buffers(parts)
	_, err = w.bucket.Put(w.t.Context(), name, body, objstore.Condition{IfAbsent: true})
	require.NoError(w.t, err)
	return name, body.Size, footer
}

func appendAll(t *testing.T, writer *segment.Writer, batches []written) {
	t.Helper()
	for _, b := range batches {
		h, err := batch.Verify(b.raw)
		require.NoError(t, err)
		require.NoError(t, writer.Append(h, b.raw))
	}
}

// flush commits batches as one segment, between ranges of other partitions.
func (w *world) flush(batches ...written) metastore.Segment {
	w.t.Helper()
	writer := segment.NewWriter(segment.Meta{Kind: segment.KindSegment})
	var producers []producer.State
	for _, b := range batches {
		producers = append(producers, b.producers...)
	}
	writer.Begin(w.p, 0)
	appendAll(w.t, writer, batches)
	writer.End(producers)
	other := w.p
	other.Index = 1
	writer.Begin(other, 0)
	appendAll(w.t, writer, batches[:1])
	writer.End(nil)
	name, size, f := w.put(writer)
	w.seq++
	seg := metastore.Segment{ID: fmt.Sprintf("S%04d", w.seq), Object: name, Size: size, Broker: 1, Session: w.session.ID(), Sequence: w.seq}
	for _, r := range f.Ranges[:1] {
		seg.Ranges = append(seg.Ranges, metastore.SegmentRange{Partition: r.Partition, First: r.First, Next: r.Next,
			Position: r.Position, Length: r.Length, MaxTimestamp: r.MaxTimestamp})
	}
	require.NoError(w.t, w.store.Commit(w.t.Context(), w.session, seg))
	w.batches = append(w.batches, batches...)
	return seg
}

// compact rewrites what lies between the log mark and mark into one log file.
func (w *world) compact(mark int64, producers ...producer.State) {
	w.t.Helper()
	var batches []written
	for _, b := range w.batches {
		if b.first >= w.section.Marks.Log && b.next <= mark {
			batches = append(batches, b)
		}
	}
	writer := segment.NewWriter(segment.Meta{Kind: segment.KindLog})
	writer.Begin(w.p, 0)
	appendAll(w.t, writer, batches)
	writer.End(nil)
	name, size, f := w.put(writer)
	r := f.Ranges[0]
	w.section.Log = append(w.section.Log, manifest.File{Object: name, Size: size, First: r.First, Next: r.Next, Records: r.Records, MaxTimestamp: r.MaxTimestamp})
	w.section.Marks.Log = mark
	w.section.Producers = producers
	w.swap()
}

func (w *world) swap() {
	w.t.Helper()
	w.section.Version++
	object, places, err := manifest.Encode([]manifest.Section{w.section})
	require.NoError(w.t, err)
	w.objects++
	name := fmt.Sprintf("manifests/%d", w.objects)
	_, err = w.bucket.Put(w.t.Context(), name, objstore.Bytes(object), objstore.Condition{IfAbsent: true})
	require.NoError(w.t, err)
	require.NoError(w.t, w.store.SwapManifests(w.t.Context(), []metastore.ManifestSwap{{
		Partition: w.p, Seen: w.store.Catalog().Partition(w.p).Manifest,
		New: metastore.ManifestRef{Object: name, Position: places[0].Position, Length: places[0].Length,
			Version: w.section.Version, LogStart: w.section.LogStart, Marks: metastore.Marks(w.section.Marks)},
	}}, nil))
	w.settle()
}

// settle waits until the catalog shows what was written.
func (w *world) settle() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	for {
		changed := w.store.Catalog().Changed()
		if w.store.Catalog().Partition(w.p).Manifest.Version == w.section.Version {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.Fail(w.t, "the catalog never shows the manifest")
		}
	}
}

// drop removes a segment from metadata and bucket.
func (w *world) drop(seg metastore.Segment) {
	w.t.Helper()
	require.NoError(w.t, w.store.DropSegment(w.t.Context(), seg.ID, metastore.Deletion{Object: seg.Object, NotBefore: time.Unix(1, 0)}))
	require.NoError(w.t, w.bucket.Delete(w.t.Context(), seg.Object))
}

// flip damages a byte of an object.
func (w *world) flip(object string, at int64) {
	w.t.Helper()
	data, err := w.bucket.Bucket.Get(w.t.Context(), object, 0, -1)
	require.NoError(w.t, err)
	data[at] ^= 0x40
	_, err = w.bucket.Put(w.t.Context(), object, objstore.Bytes(data), objstore.Condition{})
	require.NoError(w.t, err)
}

// want is what Read has to give for an offset.
func (w *world) want(offset int64, bytesMax int) (batches []byte, first, next int64) {
	first = -1
	for _, b := range w.batches {
		if b.next <= offset {
			continue
		}
		if first >= 0 && (len(batches)+len(b.raw) > bytesMax || b.first != next) {
			break
		}
		if first < 0 {
			first = b.first
		}
		batches = append(batches, b.raw...)
		next = b.next
	}
	return batches, first, next
}

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
