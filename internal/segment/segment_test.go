package segment_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

// partition n of topic t, with ids that sort as t does.
func partition(t byte, n int32) topic.Partition {
	return topic.Partition{Topic: topic.ID{0: t, 6: 0x40, 8: 0x80, 15: 1}, Index: n}
}

// record is a batch of records that begins at an offset.
func records(t testing.TB, first int64, count, valueBytes int) []byte {
	t.Helper()
	var b batch.Builder
	b.Reset(batch.Options{})
	for i := range count {
		b.Append(1_760_000_000_000+first+int64(i), []byte("key"), bytes.Repeat([]byte{'v'}, valueBytes))
	}
	raw, err := b.Build(nil)
	require.NoError(t, err)
	batch.PatchOffset(raw, first, 3)
	return raw
}

func appendBatch(t testing.TB, w *segment.Writer, raw []byte) error {
	t.Helper()
	h, err := batch.Verify(raw)
	require.NoError(t, err)
	return w.Append(h, raw)
}

var meta = segment.Meta{Kind: segment.KindSegment, ID: "01K7AB3V9ZZZZZZZZZZZZZZZZZ", Broker: 2, Session: 77, Sequence: 5, CreatedAt: 1_760_000_000_000}

var states = []producer.State{
	{ID: 4000, Epoch: 1, LastUsed: 1_760_000_000_123, Batches: []producer.Batch{{FirstSequence: 3, LastSequence: 4, First: 12, Timestamp: -1}},
		Run: 5, Past: []producer.Run{{Epoch: 0, Last: 41, N: 42}}},
	{ID: 4001, Epoch: 0, LastUsed: 1_760_000_000_456},
}

// small is the object of the golden file: three ranges, two of one partition.
func small(t testing.TB) ([]byte, *segment.Footer) {
	t.Helper()
	w := segment.NewWriter(meta)
	w.Begin(partition(1, 0), 3)
	require.NoError(t, appendBatch(t, w, records(t, 10, 2, 10)))
	require.NoError(t, appendBatch(t, w, records(t, 12, 1, 0)))
	w.End(states)
	w.Begin(partition(1, 0), 4)
	require.NoError(t, appendBatch(t, w, records(t, 20, 1, 5)))
	w.End(nil)
	w.Begin(partition(1, 7), 0) // without a batch: leaves no trace
	w.End(nil)
	w.Begin(partition(2, 1), 0)
	require.NoError(t, appendBatch(t, w, records(t, 0, 3, 7)))
	w.End(nil)
	return finish(t, w)
}

func finish(t testing.TB, w *segment.Writer) ([]byte, *segment.Footer) {
	t.Helper()
	parts, footer, err := w.Finish()
	require.NoError(t, err)
	return bytes.Join(parts, nil), footer
}

func load(object []byte) (*segment.Footer, error) {
	return segment.Load(bytes.NewReader(object), int64(len(object)))
}

func TestReadFooterGivesWhatWasWritten(t *testing.T) {
	object, written := small(t)
	read, err := load(object)
	require.NoError(t, err)
	require.Equal(t, written, read)
	require.Len(t, read.Ranges, 3)
	require.Empty(t, segment.Verify(read, bytes.NewReader(object)))
	r := read.Ranges[0]
	require.Equal(t, []int64{10, 13, 3}, []int64{r.First, r.Next, r.Records})
	require.Equal(t, states, r.Producers)
	require.Equal(t, records(t, 20, 1, 5), object[read.Ranges[1].Position:][:read.Ranges[1].Length])
}

func TestGoldenObjects(t *testing.T) {
	segmentObject, _ := small(t)
	w := segment.NewWriter(segment.Meta{Kind: segment.KindLog, ID: meta.ID, Broker: -1, CreatedAt: meta.CreatedAt})
	ranges(t, w, [2]byte{3, 9}, 1000, 1002)
	logObject, _ := finish(t, w)
	for name, object := range map[string][]byte{"v2.segment": segmentObject, "v2.log": logObject} {
		require.Equal(t, golden(t, name, object), object, "a version that stands is never changed: make a new one")
		var text bytes.Buffer
		require.NoError(t, segment.Dump(&text, name, bytes.NewReader(object), int64(len(object)), true))
		require.Equal(t, string(golden(t, name+".txt", text.Bytes())), text.String())
	}
}

func TestTheFirstVersionIsStillRead(t *testing.T) {
	for _, name := range []string{"v1.segment", "v1.log"} {
		object := golden(t, name, nil)
		var text bytes.Buffer
		require.NoError(t, segment.Dump(&text, name, bytes.NewReader(object), int64(len(object)), true))
		require.Equal(t, string(golden(t, name+".txt", nil)), text.String())
	}
	f, err := load(golden(t, "v1.segment", nil))
	require.NoError(t, err)
	require.Equal(t, states[0].Batches, f.Ranges[0].Producers[0].Batches)
	require.Zero(t, f.Ranges[0].Producers[0].Run)
}

// golden reads a golden file. With -update one that does not exist is made; one
// that does is left alone.
func golden(t *testing.T, name string, made []byte) []byte {
	t.Helper()
	name = filepath.Join("testdata", name)
	if _, err := os.Stat(name); *update && os.IsNotExist(err) {
		require.NoError(t, os.WriteFile(name, made, 0o644))
	}
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

func TestReadFooterAsksForWhatItNeeds(t *testing.T) {
	object, written := small(t)
	size := int64(len(object))
	for n := range len(object) + 1 {
		f, need, err := segment.ReadFooter(object[len(object)-n:], size)
		require.NoError(t, err)
		if f == nil {
			require.Greater(t, need, int64(n))
			require.LessOrEqual(t, need, size)
			continue
		}
		require.Equal(t, written, f)
	}
}

func TestFetchFooterEndsWhateverItGets(t *testing.T) {
	object, written := small(t)
	size := int64(len(object))
	f, err := segment.FetchFooter(size, func(n int64) ([]byte, error) { return object[size-n:], nil })
	require.NoError(t, err)
	require.Equal(t, written, f)

	_, err = segment.FetchFooter(size, func(n int64) ([]byte, error) { return object[size-n+1:], nil })
	require.ErrorIs(t, err, format.ErrCorrupt)
	_, err = segment.FetchFooter(size, func(int64) ([]byte, error) { return nil, io.ErrClosedPipe })
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestFindAndBlockAt(t *testing.T) {
	w := segment.NewWriter(meta)
	w.Begin(partition(1, 0), 0)
	for first := int64(100); first < 200; first += 10 {
		require.NoError(t, appendBatch(t, w, records(t, first, 10, 5<<10))) // 50 KiB: two to a block
	}
	w.End(nil)
	w.Begin(partition(1, 0), 1)
	require.NoError(t, appendBatch(t, w, records(t, 300, 2, 300<<10))) // larger than a block
	require.NoError(t, appendBatch(t, w, records(t, 302, 1, 1)))
	w.End(nil)
	w.Begin(partition(1, 2), 1)
	require.NoError(t, appendBatch(t, w, records(t, 0, 1, 1)))
	w.End(nil)
	_, f := finish(t, w)

	for _, c := range []struct {
		p      topic.Partition
		offset int64
		first  int64 // of the range; −1: none
		block  int64 // its first offset
	}{
		{partition(1, 0), 99, -1, 0}, {partition(1, 0), 100, 100, 100}, {partition(1, 0), 119, 100, 100},
		{partition(1, 0), 120, 100, 120}, {partition(1, 0), 199, 100, 180}, {partition(1, 0), 200, -1, 0},
		{partition(1, 0), 301, 300, 300}, {partition(1, 0), 302, 300, 302}, {partition(1, 0), 303, -1, 0},
		{partition(1, 1), 0, -1, 0}, {partition(1, 2), 0, 0, 0}, {partition(0, 0), 100, -1, 0}, {partition(2, 0), 100, -1, 0},
	} {
		r, ok := f.Find(c.p, c.offset)
		require.Equal(t, c.first >= 0, ok, "%v %d", c.p, c.offset)
		if ok {
			require.Equal(t, c.first, r.First)
			require.Equal(t, c.block, r.Blocks[r.BlockAt(c.offset)].First)
		}
	}
	require.Len(t, f.Ranges[0].Blocks, 5)
	require.Len(t, f.Ranges[1].Blocks, 2)
}

func TestWriterRefusesDisorder(t *testing.T) {
	for name, write := range map[string]func(w *segment.Writer){
		"is empty":                 func(w *segment.Writer) {},
		"batch outside a range":    func(w *segment.Writer) { _ = appendBatch(t, w, records(t, 0, 1, 1)) },
		"has no end":               func(w *segment.Writer) { w.Begin(partition(1, 0), 0) },
		"did not begin":            func(w *segment.Writer) { w.End(nil) },
		"after one that ends at 2": func(w *segment.Writer) { ranges(t, w, [2]byte{1, 0}, 0, 1) },
		"range at offset 1 after":  func(w *segment.Writer) { ranges(t, w, [2]byte{1, 0}, 0); ranges(t, w, [2]byte{1, 0}, 1) },
		"follows that of":          func(w *segment.Writer) { ranges(t, w, [2]byte{1, 1}, 0); ranges(t, w, [2]byte{1, 0}, 0) },
		"begins within":            func(w *segment.Writer) { w.Begin(partition(1, 0), 0); w.Begin(partition(1, 1), 0) },
		"bytes for a batch of":     func(w *segment.Writer) { w.Begin(partition(1, 0), 0); _ = w.Append(batch.Header{Length: 100}, nil) },
	} {
		w := segment.NewWriter(meta)
		write(w)
		_, _, err := w.Finish()
		require.ErrorContains(t, err, strings.Replace(name, "is empty", "would be empty", 1))
	}
	w := segment.NewWriter(segment.Meta{Kind: segment.KindLog})
	ranges(t, w, [2]byte{1, 0}, 0)
	w.Begin(partition(1, 0), 4)
	require.NoError(t, appendBatch(t, w, records(t, 2, 1, 1)), "a log file may hold several epochs of its partition")
	w.End(nil)
	w.Begin(partition(1, 1), 0)
	w.End(nil)
	_, _, err := w.Finish()
	require.ErrorContains(t, err, "in a log")
}

// ranges writes one range with batches of two records at the offsets.
func ranges(t testing.TB, w *segment.Writer, p [2]byte, offsets ...int64) {
	t.Helper()
	w.Begin(partition(p[0], int32(p[1])), 0)
	for _, first := range offsets {
		_ = appendBatch(t, w, records(t, first, 2, 1)) // kept for Finish
	}
	w.End(nil)
}

func TestOneFlippedBitIsAlwaysDetected(t *testing.T) {
	object, _ := small(t)
	for bit := range len(object) * 8 {
		object[bit/8] ^= 1 << (bit % 8)
		f, err := load(object)
		if err == nil {
			damage := segment.Verify(f, bytes.NewReader(object))
			require.Len(t, damage, 1, "bit %d: only the block that has it suffers", bit)
			err = damage[0]
		}
		require.ErrorIs(t, err, format.ErrCorrupt, "bit %d", bit)
		object[bit/8] ^= 1 << (bit % 8)
	}
}

func TestTruncatedAndForeignObjectsAreRefused(t *testing.T) {
	object, _ := small(t)
	for n := range len(object) {
		_, err := load(object[:n])
		require.ErrorIs(t, err, format.ErrCorrupt, "%d bytes", n)
	}
	foreign := []byte("PAR1" + strings.Repeat("not ours ", 100) + "PAR1")
	err := segment.Dump(io.Discard, "t/0.parquet", bytes.NewReader(foreign), int64(len(foreign)), true)
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, "t/0.parquet: corrupt at byte 0")
}

func TestANewerVersionIsNotCalledCorrupt(t *testing.T) {
	object, _ := small(t)
	at := len(object) - segment.TrailerSize
	length := int(binary.LittleEndian.Uint32(object[at:]))
	object[at+4] = segment.Version + 1
	binary.LittleEndian.PutUint32(object[at+8:], crc32.Checksum(object[at-length:at+8], format.Castagnoli))
	_, _, err := segment.ReadFooter(object, int64(len(object)))
	require.ErrorIs(t, err, format.ErrVersion)
	require.NotErrorIs(t, err, format.ErrCorrupt)
}

// The last sequence of a run is that of the last batch, and of an epoch there is one.
func TestRunsThatNoProducerHasAreRefused(t *testing.T) {
	for want, s := range map[string]producer.State{
		"a run of 5 with 0 batches": {ID: 7, Run: 5},
		"beside the current epoch":  {ID: 7, Epoch: 2, Past: []producer.Run{{Epoch: 2, Last: 3, N: 1}}},
	} {
		w := segment.NewWriter(meta)
		w.Begin(partition(1, 0), 3)
		require.NoError(t, appendBatch(t, w, records(t, 10, 2, 10)))
		w.End([]producer.State{s})
		object, _ := finish(t, w)
		_, err := load(object)
		require.ErrorIs(t, err, format.ErrCorrupt)
		require.ErrorContains(t, err, want)
	}
}

func TestDumpNamesDamageAndGoesOn(t *testing.T) {
	object, f := small(t)
	object[f.Ranges[0].Position+70] ^= 1
	object[f.Ranges[2].Position+70] ^= 1
	var out strings.Builder
	err := segment.Dump(&out, "seg", bytes.NewReader(object), int64(len(object)), true)
	for _, r := range []int{0, 2} {
		want := fmt.Sprintf("seg: corrupt at byte %d: block CRC", f.Ranges[r].Position)
		require.ErrorContains(t, err, want)
		require.Contains(t, out.String(), "damage: "+want)
	}
	require.NoError(t, segment.Dump(io.Discard, "seg", bytes.NewReader(object), int64(len(object)), false), "unless asked, blocks are not read")
}

func TestAnyLayoutRoundTrips(t *testing.T) {
	for seed := range uint64(50) {
		object, written := random(t, seed)
		read, err := load(object)
		require.NoError(t, err, "seed %d", seed)
		require.Equal(t, written, read, "seed %d", seed)
		require.Empty(t, segment.Verify(read, bytes.NewReader(object)), "seed %d", seed)
	}
}

func random(t testing.TB, seed uint64) ([]byte, *segment.Footer) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	w := segment.NewWriter(meta)
	for tp := range byte(1 + r.IntN(3)) {
		for p := range int32(1 + r.IntN(4)) {
			offset := r.Int64N(1 << 40)
			for epoch := range int32(1 + r.IntN(2)) {
				w.Begin(partition(tp, p), epoch)
				for range 1 + r.IntN(5) {
					n := 1 + r.IntN(4)
					require.NoError(t, appendBatch(t, w, records(t, offset, n, r.IntN(60_000))))
					offset += int64(n + r.IntN(2)*r.IntN(100))
				}
				var producers []producer.State
				for range r.IntN(3) {
					s := producer.State{ID: r.Int64(), Epoch: int16(r.Int32()), LastUsed: r.Int64()}
					for range r.IntN(producer.BatchesMax + 1) {
						s.Batches = append(s.Batches, producer.Batch{FirstSequence: r.Int32(), LastSequence: r.Int32(), First: r.Int64(), Timestamp: -1})
					}
					producers = append(producers, s)
				}
				w.End(producers)
			}
		}
	}
	return finish(t, w)
}

// A footer that is accepted tiles the object, is sorted, and can be dumped; no
// bytes make the reader panic or allocate beyond a multiple of their number.
func FuzzReadFooter(f *testing.F) {
	object, _ := small(f)
	f.Add(object)
	f.Fuzz(func(t *testing.T, object []byte) {
		size := int64(len(object))
		_, _ = load(object)
		if len(object) > segment.TrailerSize { // make the CRC right, else it ends every run
			object = bytes.Clone(object)
			trailer := object[len(object)-segment.TrailerSize:]
			if length := int(binary.LittleEndian.Uint32(trailer)); length < len(object)-segment.TrailerSize {
				binary.LittleEndian.PutUint32(trailer[8:], crc32.Checksum(object[len(object)-segment.TrailerSize-length:len(object)-12], format.Castagnoli))
			}
		}
		footer, _, err := segment.ReadFooter(object, size)
		if err != nil || footer == nil {
			return
		}
		at := int64(segment.HeaderSize)
		for i := range footer.Ranges {
			r := &footer.Ranges[i]
			require.Equal(t, at, r.Position)
			require.Less(t, r.First, r.Next)
			found, ok := footer.Find(r.Partition, r.First)
			require.True(t, ok && found == r)
			for j, b := range r.Blocks {
				require.Equal(t, at, b.Position)
				require.Equal(t, j, r.BlockAt(b.First))
				at += b.Length
			}
		}
		require.Less(t, at, size)
		_ = segment.Verify(footer, bytes.NewReader(object))
	})
}

// many is a flush of 4,000 partitions with a batch of 16 KiB each, 64 MiB.
func many(b *testing.B) (headers []batch.Header, raws [][]byte) {
	for range 4000 {
		raw := records(b, 1_000_000, 16, 1000)
		h, err := batch.Verify(raw)
		require.NoError(b, err)
		headers, raws = append(headers, h), append(raws, raw)
	}
	return headers, raws
}

func write(b *testing.B, headers []batch.Header, raws [][]byte) ([][]byte, *segment.Footer) {
	w := segment.NewWriter(meta)
	for i := range raws {
		w.Begin(partition(1, int32(i)), 3)
		if err := w.Append(headers[i], raws[i]); err != nil {
			b.Fatal(err)
		}
		w.End(nil)
	}
	parts, footer, err := w.Finish()
	if err != nil {
		b.Fatal(err)
	}
	return parts, footer
}

func BenchmarkWrite64MiBOf4000Partitions(b *testing.B) {
	headers, raws := many(b)
	b.SetBytes(int64(len(raws) * len(raws[0])))
	b.ReportAllocs()
	for b.Loop() {
		write(b, headers, raws)
	}
}

func BenchmarkReadFooterOf4000Partitions(b *testing.B) {
	headers, raws := many(b)
	parts, _ := write(b, headers, raws)
	object := bytes.Join(parts, nil)
	footer := parts[len(parts)-1]
	b.SetBytes(int64(len(footer)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := segment.ReadFooter(footer, int64(len(object))); err != nil {
			b.Fatal(err)
		}
	}
}

// What compaction by key leaves: batches without records have no time, and the
// base timestamp of one with a delete horizon is no time of a record.
func TestTimesAreThoseOfRecords(t *testing.T) {
	const base = 1_760_000_000_000
	real, err := batch.Verify(records(t, 20, 3, 5))
	require.NoError(t, err)
	_, raw := batch.Empty(real)
	withHorizon := func(first int64) []byte {
		var b batch.Builder
		b.Reset(batch.Options{})
		b.Append(base+first, []byte("key"), nil)
		raw, err := b.Build(nil)
		require.NoError(t, err)
		batch.PatchOffset(raw, first, 3)
		h, err := batch.Verify(raw)
		require.NoError(t, err)
		out, err := batch.NewFilter(batch.NewDecoder(1<<20)).Apply(h, raw, 2*base, 0, func(*batch.Record) bool { return true })
		require.NoError(t, err)
		return out.Raw
	}
	for _, c := range []struct {
		name            string
		batches         [][]byte
		least, greatest int64
	}{
		{"nothing but an empty one", [][]byte{raw}, -1, -1},
		{"empty first", [][]byte{raw, records(t, 30, 2, 1)}, base + 30, base + 31},
		{"empty last", [][]byte{records(t, 10, 2, 1), raw}, base + 10, base + 11},
		{"a horizon", [][]byte{withHorizon(5), records(t, 30, 2, 1)}, base + 5, base + 31},
	} {
		w := segment.NewWriter(segment.Meta{Kind: segment.KindLog, Broker: -1})
		w.Begin(partition(1, 0), 3)
		for _, b := range c.batches {
			require.NoError(t, appendBatch(t, w, b))
		}
		w.End(nil)
		object, _ := finish(t, w)
		f, err := load(object)
		require.NoError(t, err, c.name)
		require.Equal(t, []int64{c.least, c.greatest}, []int64{f.Ranges[0].MinTimestamp, f.Ranges[0].MaxTimestamp}, c.name)
		require.Equal(t, c.greatest, f.Ranges[0].Blocks[0].MaxTimestamp, c.name)
	}
}
