package vector

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	objmemory "github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/masks"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/shardcache"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dimensions = 32

// node is a searcher with what it needs of the others: a metadata store, a bucket,
// a broker that says where logs end, and a provider of embeddings.
type node struct {
	*Searcher
	t          testing.TB
	partitions int
	store      *metastore.Store
	bucket     objstore.Bucket
	broker     *tailtest.Broker
	provider   *embeddertest.Server
	files      *filecache.Cache
	topic      metastore.Topic
	settings   vectorindex.Settings // of the shards that are made
}

func newNode(t testing.TB, partitions int, edit ...func(*Config)) *node {
	k := memory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	n := &node{t: t, partitions: partitions, store: store, bucket: objmemory.New(), broker: tailtest.New(t, "logs", partitions), provider: embeddertest.New(embeddertest.Options{Dimensions: dimensions})}
	service, err := embedder.New(embedder.Config{OpenAIBaseURL: "http://provider.test/v1", Transport: n.provider.Transport(), RequestTimeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, service.Close()) })
	n.create(map[string]string{})
	_, err = store.CreateTopic(t.Context(), metastore.Topic{Name: "plain", Partitions: 1})
	require.NoError(t, err)
	require.NoError(t, store.CatchUp(t.Context()))
	tails, err := tail.Open(tail.Options{
		Dir: filepath.Join(t.TempDir(), "tail"), Seeds: func() []string { return []string{n.broker.Address()} },
		Exists: func(name string, id topic.ID) bool {
			got, ok := store.Catalog().Topic(name)
			return ok && got.ID == id
		},
	})
	require.NoError(t, err)
	t.Cleanup(tails.Close)
	files, err := filecache.Open(n.bucket, filecache.Options{Dir: filepath.Join(t.TempDir(), "objects")})
	require.NoError(t, err)
	shards := shardcache.New(files, shardcache.Options{WholeBytes: 10 << 10}) // so that there are of both kinds
	t.Cleanup(files.Close)
	t.Cleanup(shards.Close)
	c := Config{
		Shards: shards, Masks: masks.New(files), Embedder: service,
		Sources: &snapshot.Sources{
			Catalog: store.Catalog(), Manifests: committed.NewReader(store.Catalog(), n.bucket, committed.Options{MissingWait: 20 * time.Millisecond}), Tails: tails,
			CatchUp: store.CatchUp, ReportDamage: store.ReportDamage, Log: slog.New(slog.DiscardHandler),
		},
		Places: places.New(places.Options{RunningMax: 4, WaitingMax: 100, WaitMax: 10 * time.Second}),
	}
	for _, f := range edit {
		f(&c)
	}
	n.Searcher, n.files = New(c), files
	return n
}

// create makes the topic, with settings beside those of all topics here.
func (n *node) create(settings map[string]string) {
	n.t.Helper()
	all := map[string]string{
		"vector.enabled": "true", "vector.embedding.provider": "openai", "vector.embedding.model": "bag-of-words", "vector.embedding.dimensions": fmt.Sprint(dimensions),
		"vector.embedding.endpoint": "http://provider.test/v1",
	}
	for k, v := range settings {
		all[k] = v
	}
	var err error
	n.topic, err = n.store.CreateTopic(n.t.Context(), metastore.Topic{Name: "logs", Partitions: int32(n.partitions), Config: all})
	require.NoError(n.t, err)
	require.NoError(n.t, n.store.CatchUp(n.t.Context()))
	n.settings = vectorindex.Settings{Provider: "openai", Model: "bag-of-words", Dimensions: dimensions, Field: "value", Metric: "cosine", Quantization: "f32", Index: "hnsw", M: 8, EFConstruction: 50}
}

// set changes settings of the topic.
func (n *node) set(settings map[string]string) {
	n.t.Helper()
	var err error
	n.topic, err = n.store.UpdateTopic(n.t.Context(), "logs", func(t *metastore.Topic) error {
		t.Config = maps.Clone(t.Config)
		maps.Copy(t.Config, settings)
		return nil
	})
	require.NoError(n.t, err)
	require.NoError(n.t, n.store.CatchUp(n.t.Context()))
}

func (n *node) partition(index int) topic.Partition {
	return topic.Partition{Topic: n.topic.ID, Index: int32(index)}
}

// section is a partition's manifest, to be changed.
func (n *node) section(index int) (manifest.Section, metastore.ManifestRef) {
	p := n.partition(index)
	seen := n.store.Catalog().Partition(p).Manifest
	if seen.Object == "" {
		return manifest.Section{Partition: p, Topic: "logs"}, seen
	}
	s, err := n.config.Sources.Manifests.FetchManifest(context.Background(), seen, p)
	require.NoError(n.t, err)
	s.Log, s.Vector, s.Masks = slices.Clone(s.Log), slices.Clone(s.Vector), slices.Clone(s.Masks)
	return s, seen
}

// swap puts a changed manifest in the place of another.
func (n *node) swap(section manifest.Section, seen metastore.ManifestRef) {
	ctx := context.Background()
	section.Version++
	object, places, err := manifest.Encode([]manifest.Section{section})
	require.NoError(n.t, err)
	name := objstore.ManifestName(ulid.Make())
	n.put(name, object)
	ref := metastore.ManifestRef{
		Object: name, Position: places[0].Position, Length: places[0].Length, Version: section.Version,
		LogStart: section.LogStart, Marks: metastore.Marks(section.Marks),
	}
	require.NoError(n.t, n.store.SwapManifests(ctx, []metastore.ManifestSwap{{Partition: section.Partition, Seen: seen, New: ref}}, nil))
	require.NoError(n.t, n.store.CatchUp(ctx))
}

func (n *node) put(name string, content []byte) {
	_, err := n.bucket.Put(context.Background(), name, objstore.Bytes(content), objstore.Condition{})
	require.NoError(n.t, err)
}

// produce appends texts to a partition, as one batch.
func (n *node) produce(index int, texts ...string) {
	n.broker.Produce(n.t, index, 0, texts...)
}

// say appends so many texts of a few words each.
func (n *node) say(index, count int, seed int) {
	texts := make([]string, count)
	for i := range texts {
		texts[i] = sentence(seed*10_000 + index*1000 + i)
	}
	n.produce(index, texts...)
}

// sentence is a text of its own for each number.
func sentence(n int) string {
	words := []string{fmt.Sprintf("w%d", n)}
	for i := range 6 {
		words = append(words, fmt.Sprintf("t%d", n*7919/(i+1)%40))
	}
	return strings.Join(words, " ")
}

// record is what is in a partition's log.
type logged struct {
	partition         int32
	offset, timestamp int64
	text              string
	vector            []float32
}

func (n *node) logged(index int, first, next int64) (all []logged) {
	_, err := columnar.Walk(context.Background(), columnar.Of(n.broker.Batches(index, 0, next)), batch.NewDecoder(1<<20), first, next, func(r *batch.Record) error {
		all = append(all, logged{int32(index), r.Offset, r.Timestamp, string(r.Value), embeddertest.Vector(string(r.Value), dimensions)})
		return nil
	})
	require.NoError(n.t, err)
	return all
}

// store puts the log from the log mark to next, where a batch ends, into the bucket.
func (n *node) storeLog(index int, section *manifest.Section, next int64) {
	if next <= section.Marks.Log {
		return
	}
	w := segment.NewWriter(segment.Meta{Kind: segment.KindLog})
	w.Begin(n.partition(index), 0)
	require.NoError(n.t, batch.Each(n.broker.Batches(index, section.Marks.Log, next), func(h batch.Header, raw []byte) error { return w.Append(h, raw) }))
	w.End(nil)
	parts, footer, err := w.Finish()
	require.NoError(n.t, err)
	body := objstore.Buffers(parts)
	name := objstore.LogFileName(n.partition(index), ulid.Make())
	_, err = n.bucket.Put(context.Background(), name, body, objstore.Condition{})
	require.NoError(n.t, err)
	r := footer.Ranges[0]
	section.Log = append(section.Log, manifest.File{Object: name, Size: body.Size, First: r.First, Next: r.Next, Records: r.Records, MaxTimestamp: r.MaxTimestamp})
	section.Marks.Log = r.Next
}

// shard stores a shard of records.
func (n *node) shard(index int, first, next int64, records []logged) manifest.File {
	o, err := n.settings.Options()
	require.NoError(n.t, err)
	o.FlatMax, o.ListRows, o.Workers = 150, 32, 1
	b, err := vectorindex.NewBuilder(o, 1<<30)
	require.NoError(n.t, err)
	for _, r := range records {
		require.NoError(n.t, b.Append(r.offset, r.timestamp, embeddertest.Vector(r.text, n.settings.Dimensions)))
	}
	var out bytes.Buffer
	r, err := b.Write(&out)
	require.NoError(n.t, err)
	return n.putShard(index, first, next, out.Bytes(), r)
}

func (n *node) putShard(index int, first, next int64, content []byte, r vectorindex.Result) manifest.File {
	f := manifest.File{
		Object: objstore.ShardName(n.partition(index), ulid.Make()), Size: r.Size, CRC: crc32.Checksum(content, format.Castagnoli), First: first, Next: next,
		Records: r.Documents, MinTimestamp: r.TimestampMin, MaxTimestamp: r.TimestampMax, Format: "shard", CreatedAt: 1,
		Footer: r.Footer, Settings: n.settings.String(),
	}
	n.put(f.Object, content)
	return f
}

// index makes a shard of the records from the vector mark to next, where a batch
// ends.
func (n *node) index(index int, next int64) manifest.File {
	section, seen := n.section(index)
	n.storeLog(index, &section, next)
	first := max(section.Marks.Vector, section.LogStart)
	f := n.shard(index, first, next, n.logged(index, first, next))
	section.Vector = append(section.Vector, f)
	section.Marks.Vector = next
	n.swap(section, seen)
	return f
}

// merge makes one shard of all shards of a partition.
func (n *node) merge(index int) {
	section, seen := n.section(index)
	var files []*vectorindex.File
	for _, f := range section.Vector {
		content, err := n.bucket.Get(context.Background(), f.Object, 0, -1)
		require.NoError(n.t, err)
		file, err := vectorindex.Open(context.Background(), vectorindex.Bytes(content), f.Footer)
		require.NoError(n.t, err)
		files = append(files, file)
	}
	var out bytes.Buffer
	r, err := vectorindex.Merge(context.Background(), &out, files, vectorindex.MergeOptions{
		First: section.LogStart, Kind: vectorindex.HNSW, M: 8, EfConstruction: 50, FlatMax: 150, ListRows: 32, Workers: 1,
	})
	require.NoError(n.t, err)
	old := section.Vector
	merged := n.putShard(index, old[0].First, old[len(old)-1].Next, out.Bytes(), r)
	section.Vector = []manifest.File{merged}
	n.swap(section, seen)
	for _, f := range old {
		require.NoError(n.t, n.bucket.Delete(context.Background(), f.Object), "sooner than a compactor does")
	}
}

// try asks for what is near to a text.
func (n *node) try(r Request) (*Answer, error) {
	r.Topic = "logs"
	if r.K == 0 {
		r.K = 10
	}
	if r.Recall == 0 {
		r.Recall = 1
	}
	return n.Search(n.t.Context(), r)
}

// ask is a search that succeeds.
func (n *node) ask(r Request) *Answer {
	n.t.Helper()
	a, err := n.try(r)
	require.NoError(n.t, err)
	return a
}

// offsets are those of hits, by partition.
func offsets(hits []Hit) map[int32][]int64 {
	all := map[int32][]int64{}
	for _, h := range hits {
		all[h.Partition] = append(all[h.Partition], h.Offset)
	}
	for _, of := range all {
		slices.Sort(of)
	}
	return all
}

func sequence(first, next int64) (all []int64) {
	for o := first; o < next; o++ {
		all = append(all, o)
	}
	return all
}

func pointer[T any](v T) *T { return &v }
