//go:build !nosql

package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/gate"
)

// embedded makes topics whose records have vectors of three numbers.
func embedded(c *Config) {
	c.TopicDefaults = topicconfig.Defaults{
		"vector.enabled": "true", "vector.embedding.provider": "external", "vector.embedding.endpoint": "http://models",
		"vector.embedding.model": "m", "vector.embedding.dimensions": "3",
	}
}

// made is what shards and files of embedded topics say of their vectors.
func (c *cluster) made() vectorindex.Settings {
	return vectorindex.TopicSettings(topicconfig.Resolve(c.topic.Config, c.node.config.TopicDefaults).Vector, 1)
}

// vectorOf is the vector of a record.
func vectorOf(partition int32, offset int64) []float32 {
	x := float64(offset) + 100*float64(partition)
	return []float32{float32(math.Sin(x)), float32(math.Cos(x)), float32(0.1 * x)}
}

// shard adds one with the vectors of some offsets to a partition's manifest, and
// returns the object's name.
func (c *cluster) shard(s vectorindex.Settings, partition int32, first, next int64, offsets ...int64) string {
	c.t.Helper()
	o, err := s.Options()
	require.NoError(c.t, err)
	b, err := vectorindex.NewBuilder(o, 1<<30)
	require.NoError(c.t, err)
	for _, offset := range offsets {
		v := vectorOf(partition, offset)
		if s.Model != "m" {
			v = []float32{9, 9, 9}
		}
		require.NoError(c.t, b.Append(offset, 1_700_000_000_000, v))
	}
	var out bytes.Buffer
	result, err := b.Write(&out)
	require.NoError(c.t, err)
	p := topic.Partition{Topic: c.topic.ID, Index: partition}
	name := objstore.ShardName(p, ulid.Make())
	_, err = c.bucket.Put(c.t.Context(), name, objstore.Bytes(out.Bytes()), objstore.Condition{IfAbsent: true})
	require.NoError(c.t, err)
	c.edit(partition, func(s2 *manifest.Section) {
		s2.Marks.Vector = max(s2.Marks.Vector, next)
		s2.Vector = append(s2.Vector, manifest.File{
			Object: name, Size: result.Size, First: first, Next: next, Records: min(result.Documents, next-first), Format: "shard", Footer: result.Footer,
			MinTimestamp: result.TimestampMin, MaxTimestamp: result.TimestampMax, CreatedAt: 1, Settings: s.String(),
		})
	})
	return name
}

// get reads a page of the HTTP surface.
func (c *cluster) get(path string, into any) {
	c.t.Helper()
	status, body, _ := c.do("GET", path, "")
	require.Equal(c.t, 200, status, string(body))
	require.NoError(c.t, json.Unmarshal(body, into))
}

// logFile makes a log file of the records below an offset.
func (c *cluster) logFile(partition int32, next int64) {
	c.t.Helper()
	p := topic.Partition{Topic: c.topic.ID, Index: partition}
	w := segment.NewWriter(segment.Meta{Kind: segment.KindLog})
	w.Begin(p, 1)
	require.NoError(c.t, batch.Each(c.broker.Batches(int(partition), 0, next), w.Append))
	w.End(nil)
	parts, footer, err := w.Finish()
	require.NoError(c.t, err)
	name, body := objstore.LogFileName(p, ulid.Make()), objstore.Buffers(parts)
	_, err = c.bucket.Put(c.t.Context(), name, body, objstore.Condition{IfAbsent: true})
	require.NoError(c.t, err)
	r := footer.Ranges[0]
	c.edit(partition, func(s *manifest.Section) {
		s.Marks.Log = r.Next
		s.Log = []manifest.File{{Object: name, Size: body.Size, First: r.First, Next: r.Next, Records: r.Records, MinTimestamp: r.MinTimestamp, MaxTimestamp: r.MaxTimestamp, CreatedAt: 1}}
	})
}

// edit swaps a partition's manifest for another.
func (c *cluster) edit(partition int32, change func(*manifest.Section)) {
	c.t.Helper()
	p := topic.Partition{Topic: c.topic.ID, Index: partition}
	seen := c.store.Catalog().Partition(p).Manifest
	section := manifest.Section{Partition: p, Topic: "orders"}
	if seen.Object != "" {
		var err error
		section, err = c.node.manifests.FetchManifest(c.t.Context(), seen, p)
		require.NoError(c.t, err)
	}
	section.Version++
	change(&section)
	c.swap(seen, section)
}

// compactEmbedded is compact with the column of vectors, made as s says.
func (c *cluster) compactEmbedded(s vectorindex.Settings, partition int32, next int64, of func(offset int64) []float32) string {
	c.t.Helper()
	c.table = func(o *columnar.Options) {
		o.Embeddings = &columnar.Embeddings{Dimensions: 3, Of: func(offset int64) ([]float32, error) { return of(offset), nil }}
	}
	defer func() { c.table = nil }()
	name := c.compact(partition, next)
	c.edit(partition, func(section *manifest.Section) {
		f := &section.Columnar[len(section.Columnar)-1]
		f.Settings = s.Embedded().String()
		f.Columns = append([]manifest.Column{{Name: columnar.EmbeddingColumn, Type: columnar.EmbeddingType(3)}}, f.Columns...)
	})
	return name
}

// rows are the answer's, as text.
func (r reply) text(columns ...string) (all []string) {
	for _, row := range r.Rows {
		var values []string
		for _, c := range columns {
			values = append(values, fmt.Sprint(row[c]))
		}
		all = append(all, strings.Join(values, " "))
	}
	return all
}

func produceNumbers(c *cluster, partition int, from, to int) {
	c.t.Helper()
	for i := from; i < to; i++ {
		c.broker.Produce(c.t, partition, 0, fmt.Sprintf(`{"n":%d,"city":"c%d"}`, i, i%2))
	}
}

// distances asks for the distance of every record from a vector, and holds them
// against what has a vector.
func (c *cluster) distances(records int, has func(partition int32, offset int64) bool) {
	c.t.Helper()
	q := []float32{0.5, -1, 2}
	for _, metric := range []vectorindex.Metric{vectorindex.Cosine, vectorindex.Euclidean, vectorindex.Dot} {
		a := c.ask(fmt.Sprintf("SELECT partition, offset, vector_distance(_embedding, [0.5, -1, 2], '%s') AS d FROM orders ORDER BY ALL", metric))
		require.Len(c.t, a.Rows, records)
		for _, row := range a.Rows {
			partition, offset := int32(row["partition"].(float64)), int64(row["offset"].(float64))
			if !has(partition, offset) {
				require.Nil(c.t, row["d"], "%d/%d", partition, offset)
				continue
			}
			require.NotNil(c.t, row["d"], "%d/%d", partition, offset)
			require.InDelta(c.t, metric.Distance(q, vectorOf(partition, offset)), row["d"], 1e-5, "%d/%d", partition, offset)
		}
	}
}

func TestVectorsAreAColumnWhereverTheyLie(t *testing.T) {
	c := newCluster(t, 2, embedded)
	produceNumbers(c, 0, 0, 8)
	produceNumbers(c, 1, 0, 3)
	nobody := func(int32, int64) bool { return false }
	c.distances(11, nobody)

	c.shard(c.made(), 0, 0, 3, 0, 2) // 1 has no text
	c.distances(11, func(p int32, o int64) bool { return p == 0 && (o == 0 || o == 2) })

	c.compact(0, 2)
	c.compactEmbedded(c.made(), 0, 4, func(o int64) []float32 { return map[bool][]float32{true: vectorOf(0, o)}[o == 3] })
	c.shard(c.made(), 0, 3, 7, 3, 4, 5, 6) // above the columnar mark as well
	c.shard(c.made(), 1, 0, 3, 1, 2)
	has := func(p int32, o int64) bool {
		if p == 1 {
			return o > 0
		}
		return o == 0 || o >= 3 && o < 7 // 2 has none in its file
	}
	c.distances(11, has)
	require.Equal(t, []string{"0 3", "0 4", "1 1"}, c.ask(`SELECT partition, offset FROM orders WHERE _embedding IS NOT NULL AND offset IN (1, 3, 4) ORDER BY ALL`).text("partition", "offset"))
	require.Equal(t, []string{"2 1"}, c.ask(`SELECT count(_embedding) AS c, count(*) FILTER (WHERE n = 3) AS t FROM orders_cold`).text("c", "t"))
	require.Equal(t, []string{"5"}, c.ask(`SELECT count(o._embedding) AS c FROM orders_hot o`).text("c"))
	require.Equal(t, []string{"7 11"}, c.ask(`WITH v AS (SELECT partition, offset, _embedding AS e FROM orders) SELECT count(e) AS c, count(*) AS r FROM v`).text("c", "r"))

	// Shards know nothing of what is in values.
	require.Equal(t, []string{"2 4"}, c.ask(`SELECT count(_embedding) AS c, count(*) AS r FROM orders WHERE partition = 0 AND city = 'c1'`).text("c", "r"))
	require.Equal(t, []string{"1 1"}, c.ask(`SELECT count(_embedding) AS c, count(*) AS r FROM orders WHERE partition = 0 AND n = 6`).text("c", "r"))

	near := c.ask(`SELECT offset, vector_distance(_embedding, ?, 'euclidean') AS d FROM orders WHERE partition = 0 ORDER BY d LIMIT 1`, `,"parameters":["[-0.756802, -0.653644, 0.4]"]`)
	require.Equal(t, 4.0, near.Rows[0]["offset"])
	require.Equal(t, "INVALID_QUERY", c.refused(`SELECT vector_distance(_embedding, [1, 2], 'cosine') FROM orders`, 400).Code)
}

func TestAStarLeavesVectorsOut(t *testing.T) {
	c := newCluster(t, 1, embedded)
	produceNumbers(c, 0, 0, 4)
	c.shard(c.made(), 0, 0, 4, 0, 1, 2, 3)
	c.compact(0, 1)
	c.compactEmbedded(c.made(), 0, 2, func(o int64) []float32 { return vectorOf(0, o) })
	plain := c.ask("SELECT * FROM orders").Columns
	require.NotContains(t, plain, "_embedding")
	for query, more := range map[string][]string{
		`SELECT *, vector_distance(_embedding, [1, 2, 3], 'dot') AS d FROM orders`:              {"d"},
		`SELECT *, _embedding FROM orders`:                                                      {"_embedding"},
		`SELECT o.*, o._embedding AS e FROM orders AS o`:                                        {"e"},
		`SELECT * EXCLUDE (_embedding) FROM orders`:                                             nil,
		`SELECT * FROM orders WHERE _embedding IS NOT NULL`:                                     nil,
		`SELECT * FROM orders ORDER BY vector_distance(_embedding, [1, 2, 3], 'cosine')`:        nil,
		`SELECT * FROM (SELECT * FROM orders) s`:                                                nil,
		`SELECT * FROM (SELECT *, _embedding AS e FROM orders) s`:                               {"e"},
		`SELECT COLUMNS(*) FROM orders WHERE len(_embedding::FLOAT[]) = 3`:                      nil,
		`SELECT * FROM orders_cold WHERE _embedding IS NOT NULL UNION ALL SELECT * FROM orders`: nil,
	} {
		require.Equal(t, append(plain[:len(plain):len(plain)], more...), c.ask(query).Columns, query)
	}
	require.Contains(t, c.ask(`SELECT * RENAME (_embedding AS v) FROM orders`).Columns, "v")
	two := c.ask(`SELECT * FROM orders a JOIN orders_cold b ON a.offset = b.offset WHERE a._embedding = b._embedding`)
	require.Len(t, two.Rows, 2)
	require.Len(t, two.Columns, 2*len(plain))
	// A topic without vectors has no such column.
	without := newCluster(t, 1)
	produceNumbers(without, 0, 0, 1)
	require.Contains(t, without.refused(`SELECT _embedding FROM orders`, 400).Error, "_embedding")
	require.NotContains(t, without.ask(`SELECT * FROM orders`).Columns, "_embedding")
}

// While a topic changes its model, its table shows the new one's vectors.
func TestVectorsOfAnotherModelAreNotShown(t *testing.T) {
	c := newCluster(t, 1, embedded)
	produceNumbers(c, 0, 0, 6)
	other := c.made()
	other.Model = "old"
	field := c.made()
	field.Field = "key"
	c.compactEmbedded(other, 0, 2, func(int64) []float32 { return []float32{8, 8, 8} })
	c.shard(c.made(), 0, 0, 3, 0, 1, 2)
	c.shard(other, 0, 3, 5, 3, 4)
	c.shard(field, 0, 5, 6, 5)
	c.distances(6, func(_ int32, o int64) bool { return o < 3 })
	again := c.made()
	again.Generation, again.Metric, again.Quantization, again.Index = 7, "dot", "f16", "flat"
	c.edit(0, func(s *manifest.Section) { s.Vector = s.Vector[:2] })
	c.shard(again, 0, 5, 6, 5)
	a := c.ask("SELECT offset FROM orders WHERE _embedding IS NOT NULL ORDER BY offset")
	require.Equal(t, []string{"0", "1", "2", "5"}, a.text("offset"), "however they are indexed")
}

// What a shard holds beyond the offsets that it is listed with is another one's.
func TestAShardCountsForItsOffsetsAlone(t *testing.T) {
	c := newCluster(t, 1, embedded)
	produceNumbers(c, 0, 0, 4)
	c.shard(c.made(), 0, 0, 2, 0, 1, 2, 3)
	a := c.ask("SELECT offset FROM orders WHERE _embedding IS NOT NULL ORDER BY offset")
	require.Equal(t, []string{"0", "1"}, a.text("offset"))
}

func TestOnlyShardsThatMatterAreRead(t *testing.T) {
	c := newCluster(t, 2, embedded)
	produceNumbers(c, 0, 0, 6)
	produceNumbers(c, 1, 0, 2)
	first := c.shard(c.made(), 0, 0, 2, 0, 1)
	c.compact(0, 2)
	own := c.shard(c.made(), 0, 2, 4, 2, 3)
	c.compactEmbedded(c.made(), 0, 4, func(o int64) []float32 { return vectorOf(0, o) })
	last := c.shard(c.made(), 0, 4, 6, 4, 5)
	other := c.shard(c.made(), 1, 0, 2, 0, 1)
	read := func(query string) (objects []string) {
		e := c.explain(`{"query":"` + query + `","analyze":true}`)
		for _, f := range e.Files.Read {
			if strings.HasSuffix(f.Object, ".shard") {
				objects = append(objects, f.Object)
			}
		}
		return objects
	}
	require.Empty(t, read("SELECT * FROM orders"))
	require.ElementsMatch(t, []string{first, last, other}, read("SELECT count(_embedding) FROM orders"))
	require.ElementsMatch(t, []string{last}, read("SELECT count(_embedding) FROM orders WHERE partition = 0 AND offset >= 2"))
	require.ElementsMatch(t, []string{other}, read("SELECT count(_embedding) FROM orders_hot WHERE partition = 1"))
	require.ElementsMatch(t, []string{first}, read("SELECT count(_embedding) FROM orders_cold"))
	require.NotContains(t, read("SELECT count(_embedding) FROM orders"), own)
}

// Vectors of few offsets are read by ranges of a shard that is not at hand.
func TestVectorsOfFewOffsetsAreReadAlone(t *testing.T) {
	c := newCluster(t, 1, embedded)
	const n = 9 * someOffsets
	values := make([]string, n)
	offsets := make([]int64, n)
	for i := range values {
		values[i], offsets[i] = fmt.Sprintf(`{"n":%d}`, i), int64(i)
	}
	c.broker.Produce(t, 0, 0, values...)
	c.shard(c.made(), 0, 0, n, offsets...)
	near := func(where string) []string {
		return c.ask("SELECT count(*) AS n, count(_embedding) AS v, max(vector_distance(_embedding, [sin(offset), cos(offset), 0.1 * offset], 'euclidean')) < 1e-3 AS same FROM orders WHERE "+where).text("n", "v", "same")
	}
	shardHere := func() bool {
		section, err := c.node.manifests.FetchManifest(t.Context(), c.store.Catalog().Partition(topic.Partition{Topic: c.topic.ID}).Manifest, topic.Partition{Topic: c.topic.ID})
		require.NoError(t, err)
		return c.node.cache.Here(newVectors(section.Vector[0]).object)
	}
	require.Equal(t, []string{"1 1 true"}, near("offset = 5000"))
	require.Equal(t, []string{"3 3 true"}, near("offset BETWEEN 1022 AND 1024")) // in two runs: more than an eighth
	require.True(t, shardHere())

	c = newCluster(t, 1, embedded)
	c.broker.Produce(t, 0, 0, values...)
	c.shard(c.made(), 0, 0, n, offsets...)
	require.Equal(t, []string{"3 3 true"}, near("offset IN (5000, 5003, 5119)"))
	require.False(t, shardHere())
	files, err := os.ReadDir(vectorsDir(c.node.config.DataDir))
	require.NoError(t, err)
	require.Empty(t, files, "they go with the query")
	require.Equal(t, []string{fmt.Sprintf("%d %d true", n, n)}, near("true"))
	require.True(t, shardHere())
}

func TestADamagedShardIsReportedAndNotPassedOver(t *testing.T) {
	var c *cluster
	c = newCluster(t, 1, embedded, func(config *Config) { reporting(&c)(config) })
	produceNumbers(c, 0, 0, 2)
	name := c.shard(c.made(), 0, 0, 2, 0, 1)
	require.NoError(t, c.bucket.Delete(t.Context(), name))
	refused := c.refused("SELECT _embedding FROM orders", 503)
	require.Equal(t, "UNAVAILABLE", refused.Code)
	require.Equal(t, name, refused.Details["object"])
	require.Len(t, c.ask("SELECT * FROM orders").Rows, 2, "other columns are not touched")
	require.Len(t, c.reports(), 1)
	require.Equal(t, name, c.reports()[0].Object)
}

func TestVectorsGoOutInEveryForm(t *testing.T) {
	c := newCluster(t, 1, embedded)
	produceNumbers(c, 0, 0, 2)
	c.shard(c.made(), 0, 0, 1, 0)
	a := c.ask("SELECT offset, _embedding FROM orders ORDER BY offset")
	require.Equal(t, []string{"int64", "fixed_size_list<: float32, nullable>[3]"}, a.Types)
	require.Equal(t, []any{0.0, 1.0, 0.0}, a.Rows[0]["_embedding"])
	require.Nil(t, a.Rows[1]["_embedding"])
	_, csv := c.whole("text/csv", "SELECT _embedding FROM orders ORDER BY offset", "")
	require.Equal(t, "_embedding\r\n\"[0,1,0]\"\r\n\r\n", csv)
	_, lines := c.whole("application/x-ndjson", "SELECT _embedding FROM orders ORDER BY offset", "")
	require.Equal(t, "{\"_embedding\":[0,1,0]}\n{\"_embedding\":null}\n", lines)
	client := c.flight()
	info, err := client.Execute(t.Context(), "SELECT _embedding FROM orders ORDER BY offset")
	require.Equal(t, []string{"[0,1,0]", "(null)"}, c.rowsOf(client, info, err))

	var described struct {
		Columns []struct {
			Name     string `json:"name"`
			Type     string `json:"data_type"`
			Nullable bool   `json:"nullable"`
		} `json:"columns"`
	}
	c.get("/_sql/describe/orders", &described)
	require.Equal(t, "_embedding", described.Columns[8].Name)
	require.Equal(t, a.Types[1], described.Columns[8].Type)
	require.True(t, described.Columns[8].Nullable)
	var listed struct {
		Tables []tableInfo `json:"tables"`
	}
	c.get("/_sql/tables", &listed)
	require.Equal(t, 9, listed.Tables[0].Columns)
	schema, err := c.node.listedSchema(t.Context(), "orders", gate.Cold)
	require.NoError(t, err)
	require.Equal(t, a.Types[1], schema.Field(8).Type.String())
}

func TestATicketFindsWhatIsNearest(t *testing.T) {
	c := newCluster(t, 1, embedded)
	produceNumbers(c, 0, 0, 4)
	c.logFile(0, 4)
	c.shard(c.made(), 0, 0, 4, 0, 1, 2, 3)
	client := c.flight()
	get := func(ticket string) ([]arrow.RecordBatch, *arrow.Schema, error) {
		r, err := client.DoGet(t.Context(), &arrowflight.Ticket{Ticket: []byte(ticket)})
		if err != nil {
			return nil, nil, err
		}
		defer r.Release()
		var all []arrow.RecordBatch
		for r.Next() {
			r.RecordBatch().Retain()
			all = append(all, r.RecordBatch())
		}
		return all, r.Schema(), r.Err()
	}
	const ticket = `vector:orders:{"vector":[0.9092974,-0.41614684,0.2],"k":2,"include_embedding":true,"include_value":true,"freshness":"cold"}`
	batches, schema, err := get(ticket)
	require.NoError(t, err)
	require.Contains(t, schema.Metadata().Keys(), coverageKey)
	require.Len(t, batches, 1)
	batch := batches[0]
	require.EqualValues(t, 2, batch.NumRows())
	require.Equal(t, "orders", batch.Column(0).ValueStr(0))
	require.Equal(t, "2", batch.Column(2).ValueStr(0))
	require.Contains(t, batch.Column(6).ValueStr(0), `"n":2`)
	require.Equal(t, `{"n":2,"city":"c0"}`, string(batch.Column(8).(*array.Binary).Value(0)))
	require.InDelta(t, 0, batch.Column(5).(*array.Float32).Value(0), 1e-5)
	require.Equal(t, vectorOf(0, 2), batch.Column(9).(*array.List).ListValues().(*array.Float32).Float32Values()[:3])

	info, err := client.Client.GetFlightInfo(t.Context(), &arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD, Cmd: []byte(ticket)})
	require.NoError(t, err)
	announced, err := arrowflight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	require.True(t, announced.Equal(schema), "%s\n%s", announced, schema)
	batches, _, err = get(`vector:orders:{"vector":[0.9,-0.4,0.2],"min_offset":100}`)
	require.NoError(t, err)
	require.Empty(t, batches)

	for ticket, want := range map[string]codes.Code{
		`vector:orders:{"vector":[1,2]}`:                          codes.InvalidArgument,
		`vector:orders:{"vector":[1,2,3],"query":"a"}`:            codes.InvalidArgument,
		`vector:orders:{}`:                                        codes.InvalidArgument,
		`vector:orders:{"vector":[1,2,3],"filter":{}}`:            codes.InvalidArgument,
		`vector:orders:{"vector":[1,2,3],"freshness":"tomorrow"}`: codes.InvalidArgument,
		`vector:gone:{"vector":[1,2,3]}`:                          codes.NotFound,
	} {
		_, _, err := get(ticket)
		require.Equal(t, want, status.Code(err), "%s: %v", ticket, err)
	}
	without := newCluster(t, 1)
	_, err = without.flight().Client.GetFlightInfo(t.Context(), &arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD, Cmd: []byte(`vector:orders:{"vector":[1]}`)})
	require.Equal(t, codes.Unimplemented, status.Code(err))
}
