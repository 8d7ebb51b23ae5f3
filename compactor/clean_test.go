package compactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	second "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/committed"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/objstore/faults"
)

// keyed is a partition of a compacted topic with everything that was written to
// it, against which what readers see is held.
type keyed struct {
	*world
	p      topic.Partition
	random *rand.Rand
	log    []keyedRecord // by offset
	states map[int64]producer.State
	epoch  int32
}

type keyedRecord struct {
	key, value string
	keyless    bool
	tombstone  bool
	ms         int64
}

func newKeyed(w *world, seed uint64, config map[string]string) *keyed {
	set := map[string]string{"cleanup.policy": "compact"}
	maps.Copy(set, config)
	return &keyed{
		world: w, p: part(w.topic(fmt.Sprint("keyed-", seed), 1, set).ID, 0),
		random: rand.New(rand.NewPCG(seed, 11)), states: map[int64]producer.State{},
	}
}

// write commits one segment with some batches of records over so many keys.
func (k *keyed) write(batches, keys int) {
	k.t.Helper()
	var raws [][]byte
	var states []producer.State
	for range batches {
		var all []keyedRecord
		for range 1 + k.random.IntN(12) {
			r := keyedRecord{key: fmt.Sprint("key-", k.random.IntN(keys)), ms: k.now().UnixMilli()}
			if r.tombstone = k.random.IntN(5) == 0; !r.tombstone {
				r.value = fmt.Sprintf(`{"n":%d,"pad":"%s"}`, len(k.log)+len(all), bytes.Repeat([]byte{'x'}, k.random.IntN(60)))
			}
			all = append(all, r)
		}
		raw, state := k.build(all)
		raws, states = append(raws, raw), producer.Merge(states, []producer.State{state})
	}
	k.commitRaw(k.p, raws, states)
}

// build makes a batch of records of one of four producers, behind the last one.
func (k *keyed) build(all []keyedRecord) ([]byte, producer.State) {
	k.t.Helper()
	id := 1 + k.random.Int64N(4)
	state := k.states[id]
	sequence := int32(0)
	if n := len(state.Batches); n > 0 {
		sequence = state.Batches[n-1].LastSequence + 1
	}
	var b batch.Builder
	b.Reset(batch.Options{Codec: batch.Codec(k.random.IntN(5)), Producer: &batch.Producer{ID: id, Sequence: sequence}})
	for _, r := range all {
		key, value := []byte(r.key), []byte(r.value)
		if r.keyless {
			key = nil
		}
		if r.tombstone {
			value = nil
		}
		b.Append(r.ms, key, value, batch.RecordHeader{Key: []byte("h"), Value: []byte(r.key)})
	}
	raw, err := b.Build(nil)
	require.NoError(k.t, err)
	first := int64(len(k.log))
	batch.PatchOffset(raw, first, k.epoch)
	k.log = append(k.log, all...)
	k.next[k.p] = int64(len(k.log))
	state = producer.State{ID: id, LastUsed: k.now().UnixMilli(), Batches: append(slices.Clone(state.Batches), producer.Batch{
		FirstSequence: sequence, LastSequence: sequence + int32(len(all)) - 1, First: first, Timestamp: -1,
	})}
	state.Batches = state.Batches[max(0, len(state.Batches)-producer.BatchesMax):]
	k.states[id] = state
	return raw, state
}

// latest is what a reader of the whole log ends up with.
func (k *keyed) latest() map[string]string {
	m := map[string]string{}
	for _, r := range k.log {
		r.apply(m)
	}
	return m
}

func (r keyedRecord) apply(m map[string]string) {
	switch {
	case r.keyless:
	case r.tombstone:
		delete(m, r.key)
	default:
		m[r.key] = r.value
	}
}

// consumer reads the log as a broker does, a little at a time, and keeps a map.
type consumer struct {
	k      *keyed
	reader *committed.Reader
	offset int64
	seen   map[string]string
	got    []int64 // offsets
	bytes  int     // of the batches
}

func (k *keyed) consumer(from int64) *consumer {
	return &consumer{k: k, offset: from, seen: map[string]string{}, reader: committed.NewReader(k.store.Catalog(), k.bucket, committed.Options{})}
}

// poll reads once. It reports whether there is more.
func (c *consumer) poll(bytesMax int) bool {
	t := c.k.t
	t.Helper()
	chunk, err := c.reader.Read(t.Context(), c.k.p, c.offset, bytesMax)
	if errors.Is(err, committed.ErrNotCommitted) {
		return false
	}
	require.NoError(t, err)
	require.Greater(t, chunk.Next, c.offset)
	c.bytes += len(chunk.Batches)
	decoder := batch.NewDecoder(1 << 20)
	require.NoError(t, batch.Each(chunk.Batches, func(_ batch.Header, raw []byte) error {
		h, err := batch.Verify(raw)
		require.NoError(t, err)
		it, err := decoder.Open(h, raw)
		require.NoError(t, err)
		for it.Next() {
			r := it.Record()
			if r.Offset < c.offset {
				continue
			}
			if n := len(c.got); n > 0 {
				require.Greater(t, r.Offset, c.got[n-1], "out of order")
			}
			want := c.k.log[r.Offset]
			require.Equal(t, want.key, string(r.Key), "offset %d", r.Offset)
			require.Equal(t, want.keyless, r.Key == nil)
			require.Equal(t, want.value, string(r.Value), "offset %d", r.Offset)
			require.Equal(t, want.tombstone, r.Value == nil)
			require.Equal(t, want.ms, r.Timestamp, "offset %d", r.Offset)
			require.Equal(t, 1, r.Headers.Len())
			want.apply(c.seen)
			c.got = append(c.got, r.Offset)
		}
		return it.Err()
	}))
	c.offset = chunk.Next
	return true
}

// finish reads to the end and wants the map to be that of the whole log.
func (c *consumer) finish() {
	c.k.t.Helper()
	c.k.sync()
	for c.poll(1 + c.k.random.IntN(20_000)) {
	}
	require.Equal(c.k.t, int64(len(c.k.log)), c.offset, "the log's end is where it was")
	require.Equal(c.k.t, c.k.latest(), c.seen)
}

// visible are the offsets of records that a consumer sees.
func (k *keyed) visible() []int64 {
	k.t.Helper()
	c := k.consumer(0)
	c.finish()
	return c.got
}

// table are the offsets of the rows that a query sees below the columnar mark.
func (k *keyed) table() (offsets []int64, mark int64) {
	k.t.Helper()
	section, view := k.section(k.p)
	type row struct {
		Offset int64 `parquet:"_offset"`
	}
	read := func(object string) (offsets []int64) {
		data, err := k.bucket.Get(k.t.Context(), object, 0, -1)
		require.NoError(k.t, err)
		rows, err := second.Read[row](bytes.NewReader(data), int64(len(data)))
		require.NoError(k.t, err)
		for _, r := range rows {
			offsets = append(offsets, r.Offset)
		}
		return offsets
	}
	masked := map[int64]bool{}
	for _, m := range section.Masks {
		all := read(m.Object)
		require.Len(k.t, all, int(m.Records))
		require.True(k.t, slices.IsSorted(all))
		for _, offset := range all {
			require.False(k.t, masked[offset], "offset %d is masked twice", offset)
			masked[offset] = true
		}
	}
	for _, f := range section.Columnar {
		count := int64(0)
		for _, offset := range read(f.Object) {
			if masked[offset] {
				count++
			} else {
				offsets = append(offsets, offset)
			}
		}
		require.Equal(k.t, f.Masked, count, "rows of %s that are masked", f.Object)
	}
	slices.Sort(offsets)
	return offsets, view.Manifest.Marks.Columnar
}

// same wants table and log to show the same records.
func (k *keyed) sameInTable() {
	k.t.Helper()
	rows, mark := k.table()
	if _, view := k.section(k.p); view.Topic.Config["columnar.enabled"] != "true" {
		k.visible()
		return
	}
	all := k.visible()
	visible := slices.DeleteFunc(slices.Clone(all), func(offset int64) bool { return offset >= mark })
	require.Equal(k.t, append([]int64{}, visible...), append([]int64{}, rows...), "below the mark of %d", mark)
	section, view := k.section(k.p)
	log := map[int64]string{}
	for _, offset := range all {
		log[offset] = k.log[offset].value
	}
	k.checkSplits(snapshot{view: view, section: section}, log)
}

// quickClean is a compactor that advances, cleans and merges at once, in small
// steps.
func (w *world) quickClean() Config {
	c := w.quick()
	c.Policy.PassBytesMax, c.Policy.FileBytesMax = 4000, 20_000
	return c
}

var dirty = map[string]string{"min.cleanable.dirty.ratio": "0.3", "delete.retention.ms": "3600000", "columnar.enabled": "true", "searchable": "true", "retention.ms": "-1"}

func TestCleaningKeepsTheLatestOfEachKeyWhereItWas(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 1, map[string]string{"min.cleanable.dirty.ratio": "0"})
	c := w.start(w.quick(), w.store, w.bucket)
	for range 4 {
		k.write(30, 7)
		w.settle(c)
	}
	visible := k.visible()
	last := map[string]int64{}
	for offset, r := range k.log {
		last[r.key] = int64(offset)
	}
	require.ElementsMatch(t, slices.Collect(maps.Values(last)), visible)
	section, view := w.section(k.p)
	require.Equal(t, int64(len(k.log)), section.Clean.Next)
	require.Equal(t, int64(len(k.log)), view.Next())
	require.Zero(t, view.Manifest.LogStart, "the log start stays")
	require.Len(t, section.Log, 1)
	require.Equal(t, []int64{0, int64(len(k.log)), int64(len(visible))}, []int64{section.Log[0].First, section.Log[0].Next, section.Log[0].Records})
	w.sweep(c)
	require.Equal(t, visible, k.visible())
}

func TestTombstonesGoAfterTheirRetentionAndNotBefore(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 1, map[string]string{"delete.retention.ms": "60000", "min.cleanable.dirty.ratio": "0"})
	c := w.start(w.quick(), w.store, w.bucket)
	add := func(all ...keyedRecord) {
		for i := range all {
			all[i].ms = w.now().UnixMilli()
		}
		raw, state := k.build(all)
		k.commitRaw(k.p, [][]byte{raw}, []producer.State{state})
		w.settle(c)
	}
	gone := keyedRecord{key: "gone", tombstone: true}
	add(keyedRecord{key: "gone", value: "1"}, keyedRecord{key: "stays", value: "2"})
	add(gone, keyedRecord{key: "other", value: "3"})
	require.Equal(t, []int64{1, 2, 3}, k.visible())
	w.clock.Add(59_000)
	add(keyedRecord{key: "other", value: "4"})
	require.Equal(t, []int64{1, 2, 4}, k.visible(), "the retention is not over")
	w.clock.Add(2_000)
	w.settle(c)
	require.Equal(t, []int64{1, 4}, k.visible(), "it goes without new records too")
	section, _ := w.section(k.p)
	require.Zero(t, section.Clean.Horizon)

	add(gone)
	w.clock.Add(120_000)
	w.settle(c)
	require.Equal(t, []int64{1, 4, 5}, k.visible(), "the last record stays, so that the log's end can be read")
	add(keyedRecord{key: "more", value: "5"})
	w.clock.Add(120_000)
	w.settle(c)
	require.Equal(t, []int64{1, 4, 6}, k.visible())
}

// Random writes, cleanings in small steps, tombstones that expire, kills and
// lost answers, with consumers that are open all the while. Whoever reads from
// the start rebuilds the map; whoever is open sees no error and no surprise;
// rows of the table are the records of the log.
func TestCleaningAgainstAModel(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { t.Parallel(); cleaningAgainstAModel(t, seed) })
	}
}

func cleaningAgainstAModel(t *testing.T, seed uint64) {
	w := newWorld(t)
	random := rand.New(rand.NewPCG(seed, 12))
	set := maps.Clone(dirty)
	set["delete.retention.ms"] = []string{"0", "600000", "3600000"}[random.IntN(3)]
	set["min.cleanable.dirty.ratio"] = strconv.FormatFloat(random.Float64(), 'f', 3, 64)
	set["columnar.enabled"] = strconv.FormatBool(random.IntN(3) > 0)
	set["columnar.partitioning"] = []string{"daily", "hourly", "none"}[random.IntN(3)]
	if random.IntN(3) == 0 {
		set["min.compaction.lag.ms"] = "1200000"
	}
	k := newKeyed(w, seed, set)
	config := w.quickClean()
	config.CleanBytesMax = []int64{1, 8000, 1 << 20}[random.IntN(3)]
	config.Policy.PassBytesMax = []int64{1000, 4000, 1 << 20}[random.IntN(3)]
	if config.CleanBytesMax == 1 { // sixteen slots: many cleanings
		config.Policy.PassBytesMax = 1 << 20
	}
	bucket := faults.New(w.bucket, faults.Plan{})
	flaky := kvfaults.New(w.kv, kvfaults.Plan{})
	c := w.start(config, w.open(flaky), bucket)
	if random.IntN(2) == 0 {
		plan, err := faults.ParsePlan(fmt.Sprintf("seed %d; * * fail-before p=0.05; * * fail-after p=0.05", seed))
		require.NoError(t, err)
		bucket.Use(plan)
		kvPlan, err := kvfaults.ParsePlan(fmt.Sprintf("seed %d; txn * fail-after p=0.1; txn * lose p=0.05; txn * fail-before p=0.05", seed))
		require.NoError(t, err)
		flaky.Use(kvPlan)
	}
	open := []*consumer{k.consumer(0)}
	keys := 5 + random.IntN(200)
	for range 12 {
		if random.IntN(4) == 0 {
			k.epoch++
		}
		k.write(1+random.IntN(20), keys)
		require.NoError(t, c.catalogCaughtUp(w))
		for range random.IntN(8) {
			c.round(t.Context())
			w.sync()
			for _, o := range open {
				o.poll(1 + random.IntN(5000))
			}
		}
		if random.IntN(5) == 0 {
			c.cleanings = map[topic.Partition]*cleaning{} // as after a restart
		}
		w.sync()
		k.sameInTable()
		w.clock.Add(random.Int64N(1_200_000))
		if random.IntN(3) == 0 {
			open = append(open, k.consumer(0))
		}
	}
	bucket.Use(faults.Plan{})
	flaky.Use(kvfaults.Plan{})
	flaky.Settle()
	w.clock.Add(1_200_001)
	w.settle(c)
	k.sameInTable()
	for _, o := range open {
		// One that is slower than delete.retention.ms may miss tombstones, as in Kafka.
		for o.poll(10_000) {
		}
	}
	checkKeyedProducers(k)
	section, _ := w.section(k.p)
	require.Zero(t, section.Clean.Through, "no cleaning is left under way")
	byTime(k)
	w.sweep(c)
	k.sameInTable()
}

// checkKeyedProducers wants idempotence to go on where it was.
func checkKeyedProducers(k *keyed) {
	k.t.Helper()
	reader := committed.NewReader(k.store.Catalog(), k.bucket, committed.Options{})
	states, err := reader.Producers(k.t.Context(), k.p)
	require.NoError(k.t, err)
	for _, s := range states {
		want := k.states[s.ID]
		require.Equal(k.t, want.Batches[len(want.Batches)-1], s.Batches[len(s.Batches)-1])
	}
	require.Len(k.t, states, len(k.states))
}

// byTime wants look-ups by time to find what is visible.
func byTime(k *keyed) {
	k.t.Helper()
	visible := k.visible()
	reader := committed.NewReader(k.store.Catalog(), k.bucket, committed.Options{})
	largest := int64(-1)
	for _, offset := range visible {
		largest = max(largest, k.log[offset].ms)
	}
	got, err := reader.MaxTimestamp(k.t.Context(), k.p)
	require.NoError(k.t, err)
	require.Equal(k.t, largest, got)
	for range 20 {
		ms := k.log[k.random.IntN(len(k.log))].ms + k.random.Int64N(3) - 1
		i := slices.IndexFunc(visible, func(offset int64) bool { return k.log[offset].ms >= ms })
		offset, _, ok, err := reader.OffsetForTime(k.t.Context(), k.p, ms)
		require.NoError(k.t, err)
		require.Equal(k.t, i >= 0, ok)
		if ok {
			require.Equal(k.t, visible[i], offset)
		}
	}
}

// What a cleaning under way is about may be deleted meanwhile, up to the midst of
// a file behind it: then it is over, and the next one begins.
func TestRecordsAreDeletedPastACleaning(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 1, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1", "min.cleanable.dirty.ratio": "0"})
	c := w.start(w.quickClean(), w.store, w.bucket)
	round := func() manifest.Section {
		require.NoError(t, c.catalogCaughtUp(w))
		c.round(t.Context())
		section, _ := w.section(k.p)
		return section
	}
	for range 10 {
		k.write(40, 300)
		round()
	}
	section := round()
	for range 100 {
		if section.Clean.Through > 0 {
			break
		}
		section = round()
	}
	require.Positive(t, section.Clean.Through, "no cleaning is under way")
	k.write(40, 300)
	section = round()
	last := section.Log[len(section.Log)-1]
	require.Less(t, section.Clean.Through, last.First+5, "nothing came behind it")
	_, err := w.store.SetLogStart(t.Context(), k.p, last.First+5)
	require.NoError(t, err)
	for range 10 {
		section = round()
		require.Empty(t, c.failures)
	}
	require.Equal(t, manifest.Clean{Next: last.Next, Horizon: section.Clean.Horizon}, section.Clean)
	live := map[string]int64{}
	for offset, r := range k.log {
		live[r.key] = int64(offset)
	}
	got := k.consumer(last.First + 5)
	for got.poll(1 << 20) {
	}
	for _, offset := range got.got {
		require.Equal(t, live[k.log[offset].key], offset, "offset %d is superseded", offset)
	}
	require.NotEmpty(t, got.got)
}

// TestKilledAtAnyStepOfACleaning kills the compactor at each call to the seams.
func TestKilledAtAnyStepOfACleaning(t *testing.T) {
	for _, after := range []bool{false, true} {
		survived := false
		for at := 1; !survived; at += 1 + at/6 {
			t.Run(fmt.Sprintf("step %d after %v", at, after), func(t *testing.T) {
				w := newWorld(t)
				k := newKeyed(w, 1, dirty)
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				x := &executioner{kill: kill, after: after}
				first := w.start(w.quickClean(), w.open(mortalKV{w.kv, x}), mortalBucket{w.bucket, x})
				x.mu.Lock()
				x.steps, x.at = 0, at
				x.mu.Unlock()
				for range 4 {
					k.write(15, 9)
					for worked := ctx.Err() == nil; worked; {
						if first.catalogCaughtUp(w) != nil {
							break
						}
						worked, _ = first.round(ctx)
						worked = worked && ctx.Err() == nil
					}
					k.sameInTable()
					w.clock.Add(3_600_000 / 3)
				}
				survived = ctx.Err() == nil
				x.mu.Lock()
				x.at, x.dead = 0, true
				x.mu.Unlock()
				secondOne := w.start(w.quickClean(), w.store, w.bucket)
				w.settle(secondOne)
				k.sameInTable()
				w.sweep(secondOne)
				k.sameInTable()
				x.mu.Lock()
				x.dead = false // its membership is closed by the test
				x.mu.Unlock()
			})
			if t.Failed() {
				return
			}
			require.Less(t, at, 2000)
		}
	}
}

func TestKeyMapForgetsNothingWithinItsBound(t *testing.T) {
	m := newKeyMap(1 << 20)
	want := map[string]int64{}
	random := rand.New(rand.NewPCG(1, 1))
	for offset := range int64(100_000) {
		key := strconv.Itoa(random.IntN(40_000))
		if !m.room(1) {
			break
		}
		m.put(digestOf([]byte(key)), offset)
		want[key] = offset
	}
	for key, offset := range want {
		require.Equal(t, offset, m.latest([]byte(key)))
	}
	require.Equal(t, int64(-1), m.latest([]byte("another")))
	require.LessOrEqual(t, len(m.slots)*slotBytes, 1<<20)
	require.Greater(t, len(want), 20_000)
	require.False(t, m.room(1<<20))
	m.force(1 << 16)
	require.True(t, m.room(1<<16))
}

func TestWhatIsCleanedWhen(t *testing.T) {
	const hour = time.Hour
	compact := func(more ...string) map[string]string {
		m := map[string]string{"cleanup.policy": "compact"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	at := func(files int, clean, through, done int64) manifest.Clean {
		return manifest.Clean{Next: clean, Through: through, At: done}
	}
	for _, c := range []struct {
		name   string
		config map[string]string
		files  int // of 100 bytes and 10 offsets, an hour each, the last one ending now
		clean  manifest.Clean
		change func(*snapshot)
		want   cleanPlan
		again  time.Duration // 0: none
	}{
		{name: "not compacted", config: nil, files: 4},
		{name: "nothing in log files", config: compact()},
		{name: "all of it is new", config: compact(), files: 2, want: cleanPlan{through: 20, bytes: 200}},
		{name: "half of it is new", config: compact(), files: 4, clean: at(4, 20, 0, 0)},
		{name: "more than half", config: compact(), files: 5, clean: at(5, 20, 0, 0), want: cleanPlan{from: 20, through: 50, bytes: 500}},
		{name: "less is enough", config: compact("min.cleanable.dirty.ratio", "0.1"), files: 5, clean: at(5, 40, 0, 0), want: cleanPlan{from: 40, through: 50, bytes: 500}},
		{name: "all is clean", config: compact("min.cleanable.dirty.ratio", "0"), files: 5, clean: at(5, 50, 0, 0)},
		{name: "one is under way", config: compact(), files: 5, clean: at(5, 20, 40, 30), want: cleanPlan{from: 20, through: 40, at: 30, bytes: 200}},
		{name: "too young", config: compact("min.compaction.lag.ms", "5400000"), files: 4, want: cleanPlan{through: 20, bytes: 200}},
		{name: "all too young", config: compact("min.compaction.lag.ms", "36000000"), files: 4, again: 7 * hour},
		{name: "old enough", config: compact("max.compaction.lag.ms", "3600000"), files: 5, clean: at(5, 40, 0, 0), want: cleanPlan{from: 40, through: 50, bytes: 500}},
		{name: "not old enough", config: compact("max.compaction.lag.ms", "5400000"), files: 5, clean: at(5, 40, 0, 0), again: hour / 2},
		{name: "old tombstones", config: compact(), files: 4, clean: manifest.Clean{Next: 40, Horizon: epoch.UnixMilli()}, want: cleanPlan{from: 40, through: 40, bytes: 400}},
		{name: "young tombstones", config: compact(), files: 4, clean: manifest.Clean{Next: 40, Horizon: epoch.Add(hour).UnixMilli()}, again: hour},
		{name: "below the log start", config: compact(), files: 4, change: func(s *snapshot) { s.view.Manifest.LogStart = 25 }, want: cleanPlan{from: 25, through: 40, at: 25, bytes: 200}},
		{name: "old tombstones that were deleted", config: compact("min.cleanable.dirty.ratio", "1"), files: 4, clean: manifest.Clean{Next: 20, Horizon: epoch.UnixMilli()}, change: func(s *snapshot) { s.view.Manifest.LogStart = 20 }},
		{name: "deleted past one that is under way", config: compact(), files: 4, clean: at(4, 10, 20, 10), change: func(s *snapshot) { s.view.Manifest.LogStart = 25 }, want: cleanPlan{from: 25, through: 40, at: 25, bytes: 200}},
		{name: "all clean that is left", config: compact("cleanup.policy", "compact,delete", "retention.bytes", "300"), files: 4, clean: at(4, 20, 0, 0)},
		{name: "not in the table yet", config: compact("columnar.enabled", "true"), files: 4, change: func(s *snapshot) { s.view.Manifest.Marks.Columnar = 25 }, want: cleanPlan{through: 20, bytes: 200}},
	} {
		s := partitionWith(c.config, c.files)
		for i := range s.section.Log {
			f := &s.section.Log[i]
			f.MaxTimestamp = epoch.Add(-time.Duration(c.files-1-i) * hour).UnixMilli()
			f.MinTimestamp = f.MaxTimestamp - hour.Milliseconds()
		}
		s.section.Clean = c.clean
		if c.change != nil {
			c.change(&s)
		}
		got, again := Policy{}.withDefaults().clean(s, epoch)
		require.Equal(t, c.want, got, c.name)
		require.Equal(t, c.again == 0, again.IsZero(), c.name)
		if c.again != 0 {
			require.Equal(t, c.again, again.Sub(epoch), c.name)
		}
	}
}

func TestRecordsWithoutAKeyGoAsInKafka(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 1, map[string]string{"min.cleanable.dirty.ratio": "0"})
	c := w.start(w.quick(), w.store, w.bucket)
	raw, state := k.build([]keyedRecord{{keyless: true, value: "1", ms: 5}, {key: "a", value: "2", ms: 6}, {keyless: true, value: "3", ms: 7}})
	k.commitRaw(k.p, [][]byte{raw}, []producer.State{state})
	w.settle(c)
	require.Equal(t, []int64{1, 2}, k.visible(), "but for the last record, which stays until there is another")
	raw, state = k.build([]keyedRecord{{key: "b", value: "4", ms: 8}})
	k.commitRaw(k.p, [][]byte{raw}, []producer.State{state})
	w.settle(c)
	require.Equal(t, []int64{1, 3}, k.visible())
}

func TestTransactionsEndACleaning(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 1, map[string]string{"min.cleanable.dirty.ratio": "0"})
	config := w.quick()
	config.FailurePauseMin, config.FailurePauseMax = time.Hour, time.Hour
	c := w.start(config, w.store, w.bucket)
	k.write(10, 3)
	from := int64(len(k.log))
	var b batch.Builder
	b.Reset(batch.Options{Flags: batch.Transactional, Producer: &batch.Producer{ID: 9}})
	b.Append(5, []byte("key-1"), nil, batch.RecordHeader{Key: []byte("h"), Value: []byte("key-1")})
	raw, err := b.Build(nil)
	require.NoError(t, err)
	batch.PatchOffset(raw, from, 0)
	k.log = append(k.log, keyedRecord{key: "key-1", tombstone: true, ms: 5})
	k.next[k.p]++
	k.commitRaw(k.p, [][]byte{raw}, nil)
	for worked := true; worked; {
		require.NoError(t, c.catalogCaughtUp(w))
		worked, _ = c.round(t.Context())
	}
	section, _ := w.section(k.p)
	require.Equal(t, from, section.Clean.Next)
	require.Contains(t, k.visible(), from)
	require.Len(t, c.failures, 1, "it says so, and is tried again later")
}

// A batch that nobody can decode supersedes nothing and stays.
func TestWhatCannotBeDecodedStays(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 1, map[string]string{"min.cleanable.dirty.ratio": "0"})
	c := w.start(w.quick(), w.store, w.bucket)
	k.write(10, 3)
	var b batch.Builder
	b.Reset(batch.Options{Codec: batch.Gzip})
	b.Append(5, []byte("key-1"), []byte("v"))
	raw, err := b.Build(nil)
	require.NoError(t, err)
	raw[batch.HeaderSize] ^= 1 // no gzip any more
	batch.PatchMaxTimestamp(raw, 5)
	bad := int64(len(k.log))
	batch.PatchOffset(raw, bad, 0)
	k.log = append(k.log, keyedRecord{key: "key-1", value: "v"})
	k.next[k.p]++
	k.commitRaw(k.p, [][]byte{raw}, nil)
	k.write(1, 3)
	w.settle(c)
	section, _ := w.section(k.p)
	require.Equal(t, int64(len(k.log)), section.Clean.Next)
	w.sync()
	chunk, err := committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{}).Read(t.Context(), k.p, bad, 1)
	require.NoError(t, err)
	require.Equal(t, raw, chunk.Batches)
}

// Two compactors of one name clean the same partition at once.
func TestTwoCompactorsCleanOnePartition(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t)
		k := newKeyed(w, seed, dirty)
		one, two := w.start(w.quickClean(), w.open(w.kv), w.bucket), w.start(w.quickClean(), w.open(w.kv), w.bucket)
		for range 8 {
			k.write(10, 12)
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
			k.sameInTable()
			w.clock.Add(1_800_000)
		}
		w.settle(one)
		k.sameInTable()
		w.sweep(two)
		k.sameInTable()
	}
}

// The files of a table are made anew once half of their rows are masked, and the
// masks go with them.
func TestMasksGoWithTheNextMerge(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 1, map[string]string{"min.cleanable.dirty.ratio": "0", "columnar.enabled": "true", "searchable": "true"})
	c := w.start(w.quick(), w.store, w.bucket)
	for range 3 {
		k.write(30, 5)
		w.settle(c)
		section, _ := w.section(k.p)
		for _, f := range section.Columnar {
			require.Less(t, 2*f.Masked, f.Records)
		}
		k.sameInTable()
	}
	section, _ := w.section(k.p)
	require.Empty(t, section.Masks)
	rows, _ := k.table()
	require.Len(t, rows, 5)
	require.EqualValues(t, 5, left(section.Text))
	for _, f := range section.Text {
		require.Less(t, 2*f.Masked, f.Records)
	}
}

// A quiet topic's records go from segments without having been in a log file.
func TestWhatIsTooOldGoesFromSegmentsToo(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, map[string]string{"retention.ms": "3600000"}).ID, 0)
	config := w.quick()
	config.Policy.FirstAge, config.Policy.PlainAge = time.Minute, 6*time.Hour
	c := w.start(config, w.store, w.bucket)
	w.commit(rows{p: p, n: 10})
	w.clock.Add((30 * time.Minute).Milliseconds())
	w.commit(rows{p: p, n: 10})
	w.settle(c)
	w.clock.Add((31 * time.Minute).Milliseconds())
	w.settle(c)
	section, view := w.section(p)
	require.Equal(t, []int64{10, 10, 20}, []int64{view.Manifest.LogStart, section.Marks.Log, view.Next()})
	require.Empty(t, section.Log)
	require.Len(t, section.Producers, 2)
	w.clock.Add((31 * time.Minute).Milliseconds())
	w.settle(c)
	section, view = w.section(p)
	require.Equal(t, []int64{20, 20, 20}, []int64{view.Manifest.LogStart, section.Marks.Log, view.Next()})
	require.Len(t, section.Producers, 3)
	require.Empty(t, w.store.Catalog().Segments())
	w.commit(rows{p: p, n: 5})
	w.settle(c)
	require.Equal(t, int64(25), w.store.Catalog().Partition(p).Next())
	w.check()
}
