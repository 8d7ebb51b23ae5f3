package compactor

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	second "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	kvmemory "github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/milvus/milvustest"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// world is a cluster without its brokers and queries: their part is played by
// the test, which commits segments and reads everything back.
type world struct {
	t        *testing.T
	kv       kv.Store
	provider *provider         // of embeddings; nil: none
	embedder *embedder.Service // of another provider
	milvus   *milvustest.Server
	bucket   *memory.Bucket
	store    *metastore.Store
	session  *metastore.BrokerSession
	sequence int64
	next     map[topic.Partition]int64
	wrote    map[topic.Partition]map[int64]string // values by offset
	clock    atomic.Int64                         // ms ahead of the real clock

	producers map[topic.Partition]map[int64]int64 // offset of the one batch of those that wrote once
	lean      bool                                // batches are not compressed, nobody writes once
	builder   batch.Builder
}

func newWorld(t *testing.T) *world {
	k := kvmemory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return newWorldOn(t, k)
}

func newWorldOn(t *testing.T, k kv.Store) *world {
	w := &world{
		t:      t,
		kv:     k,
		bucket: memory.New(),
		next:   make(map[topic.Partition]int64),
		wrote:  make(map[topic.Partition]map[int64]string),

		producers: make(map[topic.Partition]map[int64]int64),
	}
	w.store = w.open(w.kv)
	var err error
	w.session, err = w.store.Register(t.Context(), metastore.Broker{ID: 1}, time.Hour)
	require.NoError(t, err)
	return w
}

func (w *world) open(k kv.Store) *metastore.Store {
	s, err := metastore.Open(w.t.Context(), k, metastore.Options{Cluster: "test", Seed: 1})
	require.NoError(w.t, err)
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) now() time.Time {
	return time.Now().Add(time.Duration(w.clock.Load()) * time.Millisecond)
}

func (w *world) topic(name string, partitions int32, config map[string]string) metastore.Topic {
	created, err := w.store.CreateTopic(w.t.Context(), metastore.Topic{Name: name, Partitions: partitions, Config: config})
	require.NoError(w.t, err)
	return created
}

// Tables of the tests are searchable too.
var (
	asTable        = map[string]string{"columnar.enabled": "true", "searchable": "true"}
	asTableForEver = map[string]string{"columnar.enabled": "true", "searchable": "true", "retention.ms": "-1"}
)

// rows are records to commit to one partition.
type rows struct {
	p     topic.Partition
	n     int
	ms    int64 // timestamp of the first; now if 0
	step  int64 // between two
	skip  int64 // offsets left out before them
	epoch int32
}

// commit puts one segment with these records, as a broker does.
func (w *world) commit(all ...rows) metastore.Segment {
	w.t.Helper()
	slices.SortStableFunc(all, func(a, b rows) int { return a.p.Compare(b.p) })
	w.sequence++
	id := ulid.MustNew(ulid.Timestamp(w.now()), ulid.DefaultEntropy())
	writer := segment.NewWriter(segment.Meta{Kind: segment.KindSegment, ID: id.String(), Broker: 1, Session: int64(w.session.ID()), Sequence: w.sequence})
	for _, r := range all {
		writer.Begin(r.p, r.epoch)
		w.next[r.p] += r.skip
		first := w.next[r.p]
		for n := 0; n < r.n; n += 10 {
			raw := w.batch(r, n, min(10, r.n-n))
			h, err := batch.ParseHeader(raw)
			require.NoError(w.t, err)
			require.NoError(w.t, writer.Append(h, raw))
		}
		if w.producers[r.p] == nil {
			w.producers[r.p] = make(map[int64]int64)
		}
		w.producers[r.p][1000+w.sequence] = first
		// One producer writes in every segment, another in this one only.
		used := w.now().UnixMilli()
		states := []producer.State{{ID: int64(r.p.Index), LastUsed: used, Batches: []producer.Batch{{First: first}}}}
		if !w.lean {
			states = append(states, producer.State{ID: 1000 + w.sequence, LastUsed: used, Batches: []producer.Batch{{First: first}}})
		}
		writer.End(states)
	}
	return w.register(id, writer)
}

// commitRaw puts one segment with batches of one partition, as they are.
func (w *world) commitRaw(p topic.Partition, raws [][]byte, states []producer.State) {
	w.t.Helper()
	w.sequence++
	id := ulid.MustNew(ulid.Timestamp(w.now()), ulid.DefaultEntropy())
	writer := segment.NewWriter(segment.Meta{Kind: segment.KindSegment, ID: id.String(), Broker: 1, Session: int64(w.session.ID()), Sequence: w.sequence})
	for i, raw := range raws {
		h, err := batch.ParseHeader(raw)
		require.NoError(w.t, err)
		if i == 0 {
			writer.Begin(p, h.LeaderEpoch)
		}
		require.NoError(w.t, writer.Append(h, raw))
	}
	writer.End(states)
	w.register(id, writer)
}

// register stores and commits a segment.
func (w *world) register(id ulid.ULID, writer *segment.Writer) metastore.Segment {
	w.t.Helper()
	parts, footer, err := writer.Finish()
	require.NoError(w.t, err)
	body := objstore.Buffers(parts)
	committed := metastore.Segment{
		ID: id.String(), Object: objstore.SegmentName(1, int64(w.session.ID()), id), Size: body.Size,
		Broker: 1, Session: w.session.ID(), Sequence: w.sequence,
	}
	for _, r := range footer.Ranges {
		committed.Ranges = append(committed.Ranges, metastore.SegmentRange{
			Partition: r.Partition, Epoch: metastore.Epoch(r.Epoch), First: r.First, Next: r.Next, Position: r.Position, Length: r.Length, MaxTimestamp: r.MaxTimestamp,
		})
	}
	_, err = w.bucket.Put(w.t.Context(), committed.Object, body, objstore.Condition{IfAbsent: true})
	require.NoError(w.t, err)
	require.NoError(w.t, w.store.Commit(w.t.Context(), w.session, committed))
	return committed
}

// batch builds the batch of rows n to n+count, and remembers what is in it.
func (w *world) batch(r rows, n, count int) []byte {
	b := &w.builder
	codec := batch.Codec(w.next[r.p] % 5)
	if w.lean {
		codec = 0
	}
	b.Reset(batch.Options{Codec: codec})
	if w.wrote[r.p] == nil {
		w.wrote[r.p] = make(map[int64]string)
	}
	first := w.next[r.p]
	for i := range count {
		ms := r.ms
		if ms == 0 {
			ms = w.now().UnixMilli()
		}
		value := fmt.Sprintf(`{"partition":%d,"n":%d,"pad":"%0100d"}`, r.p.Index, w.next[r.p], n)
		b.Append(ms+int64(n+i)*r.step, fmt.Appendf(nil, "key-%d", w.next[r.p]), []byte(value))
		w.wrote[r.p][w.next[r.p]] = value
		w.next[r.p]++
	}
	raw, err := b.Build(nil)
	require.NoError(w.t, err)
	batch.PatchOffset(raw, first, r.epoch)
	return raw
}

// quick is a configuration under which everything is due at once.
func (w *world) quick() Config {
	return Config{
		ID:              "c",
		Policy:          Policy{FirstAge: time.Nanosecond, PlainAge: time.Nanosecond, EmbedAge: time.Nanosecond, MergeFiles: 4},
		LookEvery:       time.Millisecond,
		Workers:         2,
		FailurePauseMin: time.Nanosecond, FailurePauseMax: time.Nanosecond,
	}
}

// start makes a compactor that the test drives round by round.
func (w *world) start(config Config, store *metastore.Store, bucket objstore.Bucket) *Compactor {
	w.t.Helper()
	c, err := New(config, Deps{Store: store, Bucket: bucket, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Now: w.now, Embedder: cmp.Or(w.embedder, w.provider.service(w.t)), Milvus: w.milvusClient()})
	require.NoError(w.t, err)
	c.startWorkers()
	w.t.Cleanup(c.stopWorkers)
	member, err := store.RegisterCompactor(w.t.Context(), metastore.Member{ID: config.ID}, time.Hour)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, member.Close(context.Background())) })
	return c
}

// settle runs rounds until one has nothing to do.
func (w *world) settle(c *Compactor) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		worked, _ := c.round(ctx)
		require.NoError(w.t, ctx.Err(), "the compactor does not come to rest")
		if !worked && len(c.failures) == 0 && !c.jobs.busy() {
			return
		}
		if !worked && c.jobs.busy() {
			select {
			case <-c.jobs.wake:
			case <-ctx.Done():
			}
		}
	}
}

// busy tells whether a job is under way, or what one has made waits, or one has
// failed and is to be tried again.
func (j *jobs) busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ended) > 0 || len(j.running) == 0 && len(j.paused) > 0 {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	return len(j.running)+len(j.ended)+len(j.paused) > 0
}

// section is what is in force for a partition.
func (w *world) section(p topic.Partition) (manifest.Section, metastore.PartitionView) {
	w.t.Helper()
	w.sync()
	view := w.store.Catalog().Partition(p)
	if view.Manifest.Object == "" {
		return manifest.Section{}, view
	}
	section, err := readSection(w.t.Context(), w.bucket, p, view.Manifest)
	require.NoError(w.t, err)
	return section, view
}

// sync brings the world's catalog up to what is in the metadata store.
func (w *world) sync() {
	w.t.Helper()
	_, revision, err := w.kv.Range(w.t.Context(), "/none")
	require.NoError(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	require.NoError(w.t, w.store.Catalog().WaitRevision(ctx, revision))
}

// check reads everything back as brokers and queries do, and wants each record
// from the log start on exactly once: in the log, and in table plus tail.
func (w *world) check() {
	w.t.Helper()
	for p, wrote := range w.wrote {
		section, view := w.section(p)
		if view.Topic == nil {
			continue
		}
		want := maps.Clone(wrote)
		maps.DeleteFunc(want, func(offset int64, _ string) bool { return offset < view.Manifest.LogStart })
		snap := snapshot{view: view, section: section}
		w.checkProducers(p, section)
		w.same(p, "log", want, w.readLog(snap))

		table := w.readTable(section)
		mark := max(section.Marks.Columnar, view.Manifest.LogStart)
		below := maps.Clone(want)
		maps.DeleteFunc(below, func(offset int64, _ string) bool { return offset >= mark })
		if len(section.Columnar) > 0 {
			w.same(p, "table", below, table)
		}
		for _, s := range section.Columnar {
			require.LessOrEqual(w.t, s.Next, section.Marks.Columnar)
		}
		w.checkSplits(snap, want)
	}
}

// checkProducers wants the manifest to remember the producers of every segment
// below the log mark.
func (w *world) checkProducers(p topic.Partition, section manifest.Section) {
	w.t.Helper()
	known := make(map[int64]int64)
	for _, s := range section.Producers {
		known[s.ID] = s.Batches[0].First
	}
	for id, first := range w.producers[p] {
		if first < section.Marks.Log && w.clock.Load() == 0 {
			require.Equal(w.t, first, known[id], "producer %d of %v", id, p)
		}
	}
}

// same compares records by offset; the log start may lie within files.
func (w *world) same(p topic.Partition, what string, want, got map[int64]string) {
	w.t.Helper()
	for offset, value := range want {
		if got[offset] != value {
			require.Failf(w.t, "record lost", "%s of %v: offset %d holds %q, want %q", what, p, offset, got[offset], value)
		}
	}
	_, view := w.section(p)
	for offset := range got {
		if _, ok := want[offset]; !ok && offset >= view.Manifest.LogStart {
			require.Failf(w.t, "record out of nowhere", "%s of %v: offset %d", what, p, offset)
		}
	}
}

// readLog reads log files and segments.
func (w *world) readLog(snap snapshot) map[int64]string {
	w.t.Helper()
	sp := span{snap.view.Manifest.LogStart, snap.view.Next()}
	source := newSource(w.bucket)
	extents, err := source.extents(w.t.Context(), snap, sp)
	require.NoError(w.t, err)
	got := make(map[int64]string)
	decoder := batch.NewDecoder(1 << 20)
	for b, err := range source.reading(extents, sp, 0, newMetrics()).batches(w.t.Context()) {
		require.NoError(w.t, err)
		records, err := decoder.Open(b.Header, b.Raw)
		require.NoError(w.t, err)
		for records.Next() {
			r := records.Record()
			require.NotContains(w.t, got, r.Offset, "a record twice in the log")
			got[r.Offset] = string(r.Value)
		}
		require.NoError(w.t, records.Err())
	}
	return got
}

// readTable reads the Parquet files with a reader that is not the writer's.
func (w *world) readTable(section manifest.Section) map[int64]string {
	w.t.Helper()
	got := make(map[int64]string)
	for _, f := range section.Columnar {
		data := w.parquet(f)
		type line struct {
			Offset int64  `parquet:"_offset"`
			Value  []byte `parquet:"_value,optional"`
		}
		lines, err := second.Read[line](bytes.NewReader(data), int64(len(data)))
		require.NoError(w.t, err)
		require.Len(w.t, lines, int(f.Records))
		for _, l := range lines {
			require.NotContains(w.t, got, l.Offset, "a record twice in the table")
			require.True(w.t, f.First <= l.Offset && l.Offset < f.Next)
			got[l.Offset] = string(l.Value)
		}
	}
	return got
}

// readMask reads the offsets of a mask with a reader that is not the writer's.
func (w *world) readMask(m manifest.File) (offsets []int64) {
	w.t.Helper()
	data, err := w.bucket.Get(w.t.Context(), m.Object, 0, -1)
	require.NoError(w.t, err)
	type row struct {
		Offset int64 `parquet:"_offset"`
	}
	rows, err := second.Read[row](bytes.NewReader(data), int64(len(data)))
	require.NoError(w.t, err)
	for _, r := range rows {
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// parquet is a columnar file as a query node reads it.
func (w *world) parquet(f manifest.File) []byte {
	w.t.Helper()
	data, err := w.bucket.Get(w.t.Context(), f.Object, 0, -1)
	require.NoError(w.t, err)
	require.Len(w.t, data, int(f.Size))
	if f.Format != "arrow" {
		return data
	}
	var out bytes.Buffer
	require.NoError(w.t, columnar.FromArrow(w.t.Context(), bytes.NewReader(data), &out))
	return out.Bytes()
}

// objects lists the bucket.
func (w *world) objects() []string {
	w.t.Helper()
	var names []string
	for a, err := range w.bucket.List(w.t.Context(), "") {
		require.NoError(w.t, err)
		names = append(names, a.Name)
	}
	return names
}

// namedObjects returns everything that the metadata names, itself and through
// manifests.
func (c *Compactor) namedObjects(ctx context.Context) (map[string]bool, error) {
	marked, err := c.store.Deletions(ctx)
	if err != nil {
		return nil, err
	}
	used := c.namedByKeys()
	delete(used, "") // partitions without a manifest
	for _, d := range marked {
		used[d.Object] = true
	}
	for _, t := range c.catalog.Topics() {
		for i := range t.Partitions {
			p := part(t.ID, i)
			if ref := c.catalog.Partition(p).Manifest; ref.Object != "" {
				section, err := readSection(ctx, c.bucket, p, ref)
				if err != nil {
					return nil, err
				}
				section.Objects(func(object string) bool { used[object] = true; return true })
			}
		}
	}
	return used, nil
}

// sweep lets more than the orphan age go by and wants what is left in the bucket
// to be what the metadata names.
func (w *world) sweep(c *Compactor) {
	w.t.Helper()
	w.clock.Add((48 * time.Hour).Milliseconds())
	require.NoError(w.t, w.store.SweepTopics(w.t.Context()))
	require.NoError(w.t, c.catalogCaughtUp(w))
	require.NoError(w.t, c.deleteMarked(w.t.Context()))
	require.NoError(w.t, c.sweepOrphans(w.t.Context()))
	used, err := c.namedObjects(w.t.Context())
	require.NoError(w.t, err)
	for _, name := range w.objects() {
		if parsed, err := objstore.ParseName(name); err == nil && parsed.Kind == objstore.KindSegment && c.sessionLives(parsed) {
			continue
		}
		if strings.Contains(name, "/damaged/") {
			continue
		}
		require.True(w.t, used[name], "%s is left behind", name)
	}
	for name := range used {
		require.Contains(w.t, w.objects(), name)
	}
}

func (c *Compactor) catalogCaughtUp(w *world) error {
	_, revision, err := w.kv.Range(w.t.Context(), "/none")
	if err != nil {
		return err
	}
	return c.catalog.WaitRevision(w.t.Context(), revision)
}

// update sets a key of a topic's configuration.
func (w *world) update(name, key, value string) error {
	_, err := w.store.UpdateTopic(w.t.Context(), name, func(t *metastore.Topic) error {
		t.Config = maps.Clone(t.Config)
		if t.Config == nil {
			t.Config = map[string]string{}
		}
		t.Config[key] = value
		return nil
	})
	return err
}
