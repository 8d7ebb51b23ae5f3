package vector

import (
	"bytes"
	"context"
	"hash/crc32"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/milvus"
	"github.com/chronik-stream/chronik/milvus/milvustest"
	"github.com/chronik-stream/chronik/objstore"
)

// outside is a node with a Milvus.
type outside struct {
	*node
	server *milvustest.Server
	client *milvus.Client
}

func newOutside(t *testing.T, partitions int) *outside {
	server, err := milvustest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Close)
	client, err := milvus.Open(milvus.Config{Address: server.Address, RequestTimeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	n := newNode(t, partitions, func(c *Config) { c.Milvus = client })
	n.set(map[string]string{"vector.index.backend": "milvus"})
	n.settings.Index, n.settings.M, n.settings.EFConstruction = "flat", 0, 0
	return &outside{n, server, client}
}

// collect puts the vectors of some offsets into the collection, as a compactor does.
func (o *outside) collect(index int, first, next int64) string {
	o.t.Helper()
	settings := milvus.Settings(o.settings, o.Searcher.settings(&o.topic))
	name := milvus.Name("", o.topic.ID, settings)
	c, _, err := milvus.Of(name, "first", settings.String())
	require.NoError(o.t, err)
	incarnation, err := o.client.Ensure(o.t.Context(), c)
	require.NoError(o.t, err)
	rows := milvus.Rows{Partition: int32(index)}
	for _, r := range o.logged(index, first, next) {
		rows.Offsets, rows.Timestamps = append(rows.Offsets, r.offset), append(rows.Timestamps, r.timestamp)
		rows.Vectors = append(rows.Vectors, embeddertest.Vector(r.text, o.settings.Dimensions)...)
	}
	require.NoError(o.t, o.client.Upsert(o.t.Context(), c, rows))
	section, seen := o.section(index)
	all := []manifest.Collection{{Name: name, Settings: settings.String(), Incarnation: incarnation}}
	for _, had := range section.Collections {
		if had.Name == name {
			all[0] = had
		} else {
			all = append(all, had)
		}
	}
	all[0].Ranges = manifest.Add(all[0].Ranges, manifest.Range{First: first, Next: next})
	section.Collections = all
	o.swap(section, seen)
	return name
}

// withEveryFilter wants what is found to be what there is.
func (o *outside) finds(all []logged, ks ...int) {
	o.t.Helper()
	middle := all[len(all)/2].timestamp
	filters := map[string]struct {
		filter Filter
		pass   func(logged) bool
	}{
		"none":       {Filter{}, nil},
		"partitions": {Filter{Partitions: []int32{0, 9}}, func(r logged) bool { return r.partition == 0 }},
		"offsets":    {Filter{MinOffset: pointer(int64(50)), MaxOffset: pointer(int64(160))}, func(r logged) bool { return r.offset >= 50 && r.offset <= 160 }},
		"from":       {Filter{MinTimestamp: &middle}, func(r logged) bool { return r.timestamp >= middle }},
		"nothing":    {Filter{MinOffset: pointer(int64(1000))}, func(logged) bool { return false }},
	}
	for name, f := range filters {
		for _, k := range ks {
			text := sentence(90_000 + k)
			a := o.ask(Request{Text: text, K: k, Filter: f.filter})
			near(o.t.(*testing.T), truth(all, text, k, f.pass), a.Hits)
			require.EqualValues(o.t, len(all), a.TotalVectors, name)
			require.Zero(o.t, a.Coverage.LagRecords)
		}
	}
}

func TestWhatIsInAMilvusIsSearchedThereAndTheRestInShards(t *testing.T) {
	o := newOutside(t, 2)
	for p := range 2 {
		for i := range 3 {
			o.say(p, 100, i)
			o.index(p, int64(100*i+100))
		}
	}
	all := append(o.logged(0, 0, 300), o.logged(1, 0, 300)...)
	o.finds(all, 1, 10, 700)
	require.Zero(t, o.server.Calls("Search"), "nothing is in it yet")

	o.collect(0, 0, 150)
	o.collect(1, 0, 100)
	o.collect(1, 200, 300)
	searched := o.Counts().Shards
	o.finds(all, 1, 10, 700)
	require.Positive(t, o.server.Calls("Search"))
	require.Greater(t, o.Counts().Shards, searched, "the rest")

	o.collect(0, 150, 300)
	o.collect(1, 100, 200)
	before, searched := o.server.Calls("Search"), o.Counts().Shards
	o.finds(all, 10)
	require.Equal(t, searched, o.Counts().Shards)
	require.LessOrEqual(t, o.server.Calls("Search"), before+5, "one search a question")
	a := o.ask(Request{Text: all[377].text, K: 2, Values: true, Embeddings: true})
	require.Equal(t, all[377].text, string(a.Hits[0].Value))
	require.Equal(t, embeddertest.Vector(all[377].text, dimensions), a.Hits[0].Embedding)
	require.Zero(t, a.Recall)

	o.merge(0)
	o.finds(all, 10)
	// What lies in it below the log's start, or was not said to be in it, is not found.
	section, seen := o.section(0)
	section.LogStart = 120
	o.swap(section, seen)
	require.NoError(t, o.client.Upsert(t.Context(), milvus.Collection{Name: section.Collections[0].Name, Dimensions: dimensions, Encoding: vectorindex.F32}, milvus.Rows{
		Offsets: []int64{777}, Timestamps: []int64{1}, Vectors: embeddertest.Vector("beyond", dimensions),
	}))
	o.finds(append(o.logged(0, 120, 300), o.logged(1, 0, 300)...), 10, 700)
}

func TestWhatWasCompactedAwayAndIsStillInAMilvusIsNotFound(t *testing.T) {
	o := newOutside(t, 1)
	o.say(0, 100, 0)
	o.index(0, 100)
	o.collect(0, 0, 100)
	all := o.logged(0, 0, 100)
	hits := o.ask(Request{Text: all[5].text, K: 60}).Hits
	var gone []int64
	dead := map[int64]bool{}
	for _, h := range hits[:50] { // the nearest: so one look is not enough
		dead[h.Offset] = true
	}
	for offset := range int64(100) {
		if dead[offset] {
			gone = append(gone, offset)
		}
	}
	o.mask(gone)
	var left []logged
	for _, r := range all {
		if !dead[r.offset] {
			left = append(left, r)
		}
	}
	near(t, truth(left, all[5].text, 10, nil), o.ask(Request{Text: all[5].text, K: 10}).Hits)

	// Once it was told, the collection is taken as it is.
	section, seen := o.section(0)
	require.NoError(t, o.client.Delete(t.Context(), section.Collections[0].Name, 0, gone))
	section.Collections = []manifest.Collection{section.Collections[0]}
	section.Collections[0].Masks = []string{section.Masks[0].Object}
	o.swap(section, seen)
	before := o.server.Calls("Search")
	near(t, truth(left, all[5].text, 10, nil), o.ask(Request{Text: all[5].text, K: 10}).Hits)
	require.Equal(t, before+1, o.server.Calls("Search"))
}

// mask hides offsets of the one partition's shards.
func (o *outside) mask(gone []int64) {
	var out bytes.Buffer
	require.NoError(o.t, columnar.WriteOffsets(&out, gone))
	section, seen := o.section(0)
	m := manifest.File{
		Object: objstore.ParquetName(o.partition(0), ulid.Make()), Size: int64(out.Len()), CRC: crc32.Checksum(out.Bytes(), format.Castagnoli),
		First: gone[0], Next: gone[len(gone)-1] + 1, Records: int64(len(gone)), Format: "parquet", CreatedAt: 1,
	}
	o.put(m.Object, out.Bytes())
	section.Masks = append(section.Masks, m)
	section.Vector[0].Masked = int64(len(gone))
	o.swap(section, seen)
}

func TestACollectionThatIsMissingIsSearchedInShards(t *testing.T) {
	o := newOutside(t, 1)
	o.say(0, 200, 0)
	o.index(0, 200)
	name := o.collect(0, 0, 200)
	all := o.logged(0, 0, 200)
	o.finds(all, 10)
	o.server.Lose(name)
	a := o.ask(Request{Text: all[7].text, K: 10})
	near(t, truth(all, all[7].text, 10, nil), a.Hits)
	require.Contains(t, a.Warnings[len(a.Warnings)-1], "is not in Milvus any more")
}

func TestAMilvusThatDoesNotAnswerIsNamed(t *testing.T) {
	o := newOutside(t, 1)
	o.say(0, 20, 0)
	o.index(0, 20)
	o.collect(0, 0, 20)
	for _, fault := range []milvustest.Fault{milvustest.Away, milvustest.Broken, milvustest.Denied} {
		o.server.Plan(func(string) milvustest.Fault { return fault })
		_, err := o.try(Request{Text: "x", K: 3})
		var unavailable *UnavailableError
		require.ErrorAs(t, err, &unavailable)
		require.Equal(t, "logs", unavailable.Topic)
	}
	o.server.Plan(func(string) milvustest.Fault { return milvustest.Silence })
	_, err := o.try(Request{Text: "x", K: 3, Timeout: 200 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	o.server.Plan(nil)
	require.Len(t, o.ask(Request{Text: "x", K: 3}).Hits, 3)
}

func TestTheCollectionOfAFormerModelIsSearchedUntilItIsReplaced(t *testing.T) {
	o := newOutside(t, 1)
	o.say(0, 100, 0)
	o.index(0, 100)
	o.collect(0, 0, 100)
	all := o.logged(0, 0, 100)
	// Another index: the first collection is searched for what the second has not.
	o.set(map[string]string{"vector.index.type": "ivf"})
	o.finds(all, 10)
	o.collect(0, 0, 40)
	section, _ := o.section(0)
	require.Len(t, section.Collections, 2)
	before := o.server.Calls("Search")
	a := o.ask(Request{Text: all[3].text, K: 10})
	near(t, truth(all, all[3].text, 10, nil), a.Hits)
	require.Equal(t, before+2, o.server.Calls("Search"))
	// Another metric: none of them has its distances.
	o.set(map[string]string{"vector.index.metric": "euclidean"})
	before = o.server.Calls("Search")
	require.Len(t, o.ask(Request{Text: all[3].text, K: 10}).Hits, 10)
	require.Equal(t, before, o.server.Calls("Search"))
}
