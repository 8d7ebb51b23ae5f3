package compactor

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
)

// spoil changes an object at rest.
func (w *world) spoil(object string, change func([]byte) []byte) {
	w.t.Helper()
	data, err := w.bucket.Get(w.t.Context(), object, 0, -1)
	require.NoError(w.t, err)
	_, err = w.bucket.Put(w.t.Context(), object, objstore.Bytes(change(slices.Clone(data))), objstore.Condition{})
	require.NoError(w.t, err)
}

func flip(at int64) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

// kept are the objects with damaged bytes.
func (w *world) kept() (names []string) {
	for _, name := range w.objects() {
		if strings.Contains(name, "/damaged/") {
			names = append(names, name)
		}
	}
	return names
}

// lose tells the test that records are lost.
func (w *world) lose(p topic.Partition, first, next int64) {
	maps.DeleteFunc(w.wrote[p], func(offset int64, _ string) bool { return first <= offset && offset < next })
}

func TestADamagedBatchIsLeftOutAndThePartitionGoesOn(t *testing.T) {
	w := newWorld(t)
	created := w.topic("t", 2, asTableForEver)
	bad, good := part(created.ID, 0), part(created.ID, 1)
	var middle metastore.Segment
	for i := range 3 {
		if s := w.commit(rows{p: bad, n: 30}, rows{p: good, n: 10}); i == 1 {
			middle = s
		}
	}
	third := middle.Ranges[0].Length / 3
	w.spoil(middle.Object, flip(middle.Ranges[0].Position+third+third/2)) // within the second of three batches

	c := w.start(w.quick(), w.store, w.bucket)
	for range mendAfter {
		section, _ := w.section(bad)
		require.Zero(t, section.Marks.Log, "a failure may pass")
		c.round(t.Context())
	}
	w.settle(c)
	section, _ := w.section(bad)
	var spans []span
	for _, f := range section.Log {
		spans = append(spans, span{f.First, f.Next})
	}
	require.Equal(t, []span{{0, 40}, {50, 90}}, spans, "one file for each run")
	require.Equal(t, int64(90), section.Marks.Columnar)
	require.InDelta(t, 10, testutil.ToFloat64(c.metrics.lostOffsets), 0)
	require.Len(t, section.Producers, 4, "what segments know of producers is not lost")
	names := w.kept()
	require.Len(t, names, 1)
	require.Contains(t, names[0], "/damaged/40-50-")
	data, err := w.bucket.Get(t.Context(), names[0], 0, -1)
	require.NoError(t, err)
	require.Len(t, data, int(middle.Ranges[0].Length), "the whole block, as it was read")
	w.lose(bad, 40, 50)
	w.check()

	reader := committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{})
	var hole *committed.HoleError
	_, err = reader.Read(t.Context(), bad, 45, 1<<20)
	require.ErrorAs(t, err, &hole)
	require.Equal(t, int64(50), hole.Next)
	chunk, err := reader.Read(t.Context(), bad, 50, 1<<20)
	require.NoError(t, err)
	require.Equal(t, int64(50), chunk.First)

	// It goes on, and merges do not join what a hole parts.
	for range 12 {
		w.commit(rows{p: bad, n: 10})
		w.settle(c)
	}
	section, _ = w.section(bad)
	require.Equal(t, int64(40), section.Log[0].Next)
	require.Less(t, len(section.Log), 8)
	w.check()
	w.finished()
	w.sweep(c)
	require.Len(t, w.kept(), 1, "it is for people")
	w.check()
}

// One flipped bit anywhere in a segment costs one batch at most, of those that
// are in it, and nothing that is wrong is ever written.
func TestAFlippedBitInASegmentCostsABatchAtMost(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		w := newWorld(t)
		created := w.topic("t", 3, map[string]string{"retention.ms": "-1"})
		if seed%2 == 0 {
			require.NoError(t, w.update("t", "columnar.enabled", "true"))
		}
		var all []metastore.Segment
		for range 3 {
			var some []rows
			for i := range int32(3) {
				some = append(some, rows{p: part(created.ID, i), n: 10 * (1 + r.IntN(4))})
			}
			all = append(all, w.commit(some...))
		}
		hit := all[r.IntN(3)]
		at := r.Int64N(hit.Size)
		what := "sound"
		if seed%5 == 4 { // the footer, and with it every range
			at = hit.Size - 1 - r.Int64N(200)
		}
		w.spoil(hit.Object, flip(at))
		c := w.start(w.quick(), w.store, w.bucket)
		w.settle(c)
		w.finished()
		lost := 0
		for i := range int32(3) {
			p := part(created.ID, i)
			section, view := w.section(p)
			for _, g := range gapsOf(section.Log, view.Next()) {
				lost += int(g.next - g.first)
				what = fmt.Sprintf("lost %v of %v", g, p)
				w.lose(p, g.first, g.next)
			}
		}
		require.LessOrEqual(t, lost, 10, "seed %d: byte %d of %d, %s", seed, at, hit.Size, what)
		require.InDelta(t, lost, testutil.ToFloat64(c.metrics.lostOffsets), 0)
		w.producers = nil // those of a lost footer are read off the batches, which have none here
		w.check()
		w.producers = map[topic.Partition]map[int64]int64{}
	}
}

// gapsOf are the offsets that no log file has.
func gapsOf(files []manifest.File, next int64) (out []span) {
	at := int64(0)
	for _, f := range files {
		if f.First > at {
			out = append(out, span{at, f.First})
		}
		at = f.Next
	}
	if at < next {
		out = append(out, span{at, next})
	}
	return out
}

func TestASegmentThatIsCutOffKeepsItsWholeBatches(t *testing.T) {
	for name, cut := range map[string]func(b []byte, at int64) []byte{
		"zeros":   func(b []byte, at int64) []byte { clear(b[at:]); return b },
		"shorter": func(b []byte, at int64) []byte { return b[:at] },
		"empty":   func([]byte, int64) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := part(w.topic("t", 1, asTableForEver).ID, 0)
			w.commit(rows{p: p, n: 20})
			s := w.commit(rows{p: p, n: 30})
			w.commit(rows{p: p, n: 20})
			// Of the last of three batches 7 bytes are gone, and the footer with them.
			w.spoil(s.Object, func(b []byte) []byte { return cut(b, s.Ranges[0].Position+s.Ranges[0].Length-7) })
			c := w.start(w.quick(), w.store, w.bucket)
			w.settle(c)
			w.finished()
			gone := span{40, 50}
			if name == "empty" {
				gone.first = 20
			}
			section, _ := w.section(p)
			require.Equal(t, []span{gone}, gapsOf(section.Log, 70))
			w.lose(p, gone.first, gone.next)
			w.producers = nil
			w.check()
		})
	}
}

func TestDamageOnTheWayIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	for range 5 {
		w.commit(rows{p: p, n: 100})
	}
	plan, err := faults.ParsePlan("seed 5; get * flip p=0.7")
	require.NoError(t, err)
	bucket := faults.New(w.bucket, plan)
	c := w.start(w.quick(), w.store, bucket)
	for n := range 1000 {
		c.round(t.Context())
		if bucket.Struck()[0] > 50 {
			break
		}
		if n%10 == 9 { // or it has read all there is, for all the damage
			w.commit(rows{p: p, n: 100})
		}
	}
	require.Greater(t, int(bucket.Struck()[0]), 50)
	bucket.Use(faults.Plan{})
	w.settle(c)
	w.finished()
	w.check()
	require.Empty(t, w.kept())
	require.Zero(t, testutil.ToFloat64(c.metrics.lostOffsets))
}

// A missing object is not given up: somebody may put it back, or say that the
// records are not needed.
func TestAMissingSegmentIsWaitedForUntilItsRecordsAreDeleted(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	first := w.commit(rows{p: p, n: 20})
	w.commit(rows{p: p, n: 20})
	require.NoError(t, w.bucket.Delete(t.Context(), first.Object))
	c := w.start(w.quick(), w.store, w.bucket)
	for range 4 * mendAfter {
		c.round(t.Context())
	}
	section, view := w.section(p)
	require.Zero(t, section.Marks.Log)
	require.Len(t, view.Ranges, 2)
	require.Len(t, c.failures, 1)

	_, err := w.store.SetLogStart(t.Context(), p, 20)
	require.NoError(t, err)
	w.settle(c)
	w.finished()
	w.producers = nil
	w.check()
}

func TestADamagedLogFileIsLeftOutOfMerges(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	config := w.quick()
	config.Policy.MergeFiles = 6
	c := w.start(config, w.store, w.bucket)
	for range 4 {
		w.commit(rows{p: p, n: 10})
		w.settle(c)
	}
	section, _ := w.section(p)
	bad := section.Log[2]
	w.spoil(bad.Object, flip(100))
	for range 30 {
		w.commit(rows{p: p, n: 10})
		w.settle(c)
	}
	section, _ = w.section(p)
	require.Equal(t, w.next[p], section.Marks.Columnar)
	require.True(t, slices.ContainsFunc(section.Log, func(f manifest.File) bool { return f.Object == bad.Object }), "it stays as it is")
	require.Less(t, len(section.Log), 20, "the others are merged")
	require.Len(t, w.readTable(section), int(w.next[p]), "its table was there before")
	reader := committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{})
	_, err := reader.Read(t.Context(), p, bad.First, 1<<20)
	require.ErrorContains(t, err, bad.Object)
	chunk, err := reader.Read(t.Context(), p, bad.Next, 1)
	require.NoError(t, err)
	require.Equal(t, bad.Next, chunk.First)

	w.spoil(bad.Object, flip(100)) // somebody puts it right
	w.clock.Add((2 * damagedFor).Milliseconds())
	w.commit(rows{p: p, n: 10})
	w.settle(c)
	require.Empty(t, c.damaged, "it is merged again where it fits")
	w.check()
}

func TestATableIsMadeOfADamagedLogFileWithoutTheDamage(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, map[string]string{"retention.ms": "-1"}).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 50})
	w.settle(c)
	section, _ := w.section(p)
	w.spoil(section.Log[0].Object, flip(section.Log[0].Size/2))
	require.NoError(t, w.update("t", "columnar.enabled", "true"))
	w.commit(rows{p: p, n: 50})
	w.settle(c)
	section, _ = w.section(p)
	require.Equal(t, int64(100), section.Marks.Columnar)
	require.GreaterOrEqual(t, len(w.readTable(section)), 90, "one batch of ten is not in it")
	require.Len(t, w.kept(), 1)
}

// Around a damaged log file the others are cleaned. Tombstones behind it stay:
// some of what they delete may be readable in it.
func TestADamagedLogFileIsLeftOutOfCleanings(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 3, map[string]string{"min.cleanable.dirty.ratio": "0", "delete.retention.ms": "1000", "columnar.enabled": "true"})
	config := w.quickClean()
	config.Policy.MergeFiles = 100
	c := w.start(config, w.store, w.bucket)
	for range 4 {
		k.write(20, 60)
		w.settle(c)
	}
	section, _ := w.section(k.p)
	require.GreaterOrEqual(t, len(section.Log), 3)
	bad := section.Log[1]
	w.spoil(bad.Object, flip(bad.Size/2))
	c.source = newSource(w.bucket)
	deleted := int64(len(k.log)) // the tombstone of a key that is in the damaged file, maybe
	raw, state := k.build([]keyedRecord{{key: "key-1", tombstone: true, ms: k.now().UnixMilli()}})
	k.commitRaw(k.p, [][]byte{raw}, []producer.State{state})
	for range 4 {
		k.write(20, 1) // key-0 alone
		w.settle(c)
		w.clock.Add(2000)
	}
	require.Empty(t, c.failures)
	section, view := w.section(k.p)
	require.Equal(t, manifest.Clean{Next: view.Next(), Horizon: section.Clean.Horizon}, section.Clean)
	require.True(t, slices.ContainsFunc(section.Log, func(f manifest.File) bool { return f.Object == bad.Object }), "it stays as it is")

	latest := map[string]int64{} // of what is not in the damaged file
	for offset, r := range k.log {
		if at := int64(offset); at < bad.First || at >= bad.Next {
			latest[r.key] = at
		}
	}
	before, behind := k.consumer(0), k.consumer(bad.Next)
	for before.offset < bad.First && before.poll(1) {
	}
	for behind.poll(1 << 20) {
	}
	require.NotEmpty(t, behind.got)
	for _, offset := range append(before.got, behind.got...) {
		require.Equal(t, latest[k.log[offset].key], offset, "offset %d is superseded", offset)
	}
	require.Contains(t, behind.got, deleted)
}

// Wherever a bit is flipped, in what a checksum covers or not, one batch is lost.
func TestAFlippedBitCostsTheBatchThatItIsIn(t *testing.T) {
	const n, records, position = 4, 3, 1000
	var data []byte
	var ends []int
	var b batch.Builder
	for i := range int64(n) {
		b.Reset(batch.Options{})
		for range records {
			b.Append(i, nil, []byte("a value of some bytes"))
		}
		at := len(data)
		var err error
		data, err = b.Build(data)
		require.NoError(t, err)
		batch.PatchOffset(data[at:], 10+records*i, 7)
		ends = append(ends, len(data))
	}
	whole := span{10, 10 + n*records}
	for at := range data {
		for bit := range 8 {
			data[at] ^= 1 << bit
			lost := slices.IndexFunc(ends, func(end int) bool { return at < end })
			var firsts []int64
			for _, s := range rescue(data, position, whole, 7, true) {
				require.Equal(t, s.First+records, s.next)
				firsts = append(firsts, s.First)
			}
			var want []int64
			for i := range n {
				if i != lost {
					want = append(want, 10+records*int64(i))
				}
			}
			require.Equal(t, want, firsts, "bit %d of byte %d", bit, at)
			data[at] ^= 1 << bit
		}
	}
	require.Len(t, rescue(data, position, whole, 7, true), n)
	require.Empty(t, rescue(data, position, whole, 7, false), "where offsets may be missing")
}
