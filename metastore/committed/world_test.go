package committed_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
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

// world is a partition with its metadata, its bucket and all that was ever
// committed to it.
type world struct {
	t       testing.TB
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

func newWorld(t testing.TB) *world {
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

func appendAll(t testing.TB, writer *segment.Writer, batches []written) {
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
