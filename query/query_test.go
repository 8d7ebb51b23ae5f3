//go:build !nosql

package query

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	objmemory "github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is what a query node sees of the others: a metadata store, a bucket,
// and a broker that serves topic orders.
type cluster struct {
	t      *testing.T
	store  *metastore.Store
	bucket objstore.Bucket
	broker *tailtest.Broker
	topic  metastore.Topic
	node   *Node
	url    string
	dir    string

	metrics *prometheus.Registry
	table   func(*columnar.Options) // changes how compact writes
}

func newCluster(t *testing.T, partitions int, edit ...func(*Config)) *cluster {
	k := memory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	c := &cluster{t: t, store: store, bucket: objmemory.New(), broker: tailtest.New(t, "orders", partitions), dir: t.TempDir()}
	c.topic, err = store.CreateTopic(t.Context(), metastore.Topic{
		Name: "orders", Partitions: int32(partitions), Config: map[string]string{"columnar.enabled": "true"},
	})
	require.NoError(t, err)
	c.await(func() bool { _, ok := store.Catalog().Topic("orders"); return ok })
	registry := prometheus.NewRegistry()
	c.metrics = registry
	config := Config{
		Catalog: store.Catalog(), Bucket: c.bucket, DataDir: c.dir,
		Seeds:      func() []string { return []string{c.broker.Address()} },
		Registerer: registry,
		wholeBytes: 1, // the files of tests are small, and read like large ones
	}
	for _, f := range edit {
		f(&config)
	}
	c.node, err = Open(t.Context(), config)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.node.Run(ctx, listener) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	c.url = "http://" + listener.Addr().String()
	return c
}

func (c *cluster) await(f func() bool) {
	c.t.Helper()
	require.Eventually(c.t, f, time.Minute, 5*time.Millisecond)
}

// compact writes the records of [the mark, next) of a partition to Parquet and
// swaps the manifest; it returns the object's name.
func (c *cluster) compact(partition int32, next int64) string {
	c.t.Helper()
	ctx := c.t.Context()
	p := topic.Partition{Topic: c.topic.ID, Index: partition}
	seen := c.store.Catalog().Partition(p).Manifest
	first := seen.Marks.Columnar
	var out bytes.Buffer
	options := columnar.TableOptions("orders", p)
	if c.table != nil {
		c.table(&options)
	}
	result, err := columnar.Write(ctx, columnar.Of(c.broker.Batches(int(partition), first, next)), batch.NewDecoder(1<<20),
		options, func(string) (io.Writer, error) { return &out, nil })
	require.NoError(c.t, err)
	require.Len(c.t, result.Files, 1)
	file := result.Files[0]
	name, format := objstore.ParquetName(p, ulid.Make()), cmp.Or(options.Format, "parquet")
	if format == "arrow" {
		name = objstore.ArrowName(p, ulid.Make())
	}
	_, err = c.bucket.Put(ctx, name, objstore.Bytes(out.Bytes()), objstore.Condition{IfAbsent: true})
	require.NoError(c.t, err)

	section := manifest.Section{Partition: p, Topic: "orders"}
	if seen.Object != "" {
		section, err = c.node.manifests.FetchManifest(ctx, seen, p)
		require.NoError(c.t, err)
	}
	section.Version++
	section.Marks.Columnar = next
	added := manifest.File{
		Object: name, Size: file.Size, First: first, Next: next, Records: file.Records, Format: format, CRC: file.CRC,
		MinTimestamp: file.MinTimestamp, MaxTimestamp: file.MaxTimestamp, TimePartition: file.TimePartition, CreatedAt: 1,
	}
	for _, col := range file.Columns {
		added.Columns = append(added.Columns, manifest.Column{Name: col.Name, Type: col.Type.String()})
	}
	section.Columnar = append(section.Columnar, added)
	c.swap(seen, section)
	return name
}

func (c *cluster) swap(seen metastore.ManifestRef, section manifest.Section) {
	c.t.Helper()
	object, places, err := manifest.Encode([]manifest.Section{section})
	require.NoError(c.t, err)
	name := objstore.ManifestName(ulid.Make())
	_, err = c.bucket.Put(c.t.Context(), name, objstore.Bytes(object), objstore.Condition{IfAbsent: true})
	require.NoError(c.t, err)
	ref := metastore.ManifestRef{
		Object: name, Position: places[0].Position, Length: places[0].Length, Version: section.Version,
		LogStart: section.LogStart, Marks: metastore.Marks(section.Marks),
	}
	require.NoError(c.t, c.store.SwapManifests(c.t.Context(), []metastore.ManifestSwap{{Partition: section.Partition, Seen: seen, New: ref}}, nil))
	c.await(func() bool { return c.store.Catalog().Partition(section.Partition).Manifest.Version == section.Version })
}

// answer is a body of POST /_sql.
type reply struct {
	Columns   []string         `json:"columns"`
	Types     []string         `json:"column_types"`
	Rows      []map[string]any `json:"rows"`
	RowCount  int              `json:"row_count"`
	Truncated bool             `json:"truncated"`
	Coverage  map[string]struct {
		Partitions map[string]partitionCoverage `json:"partitions"`
		Lag        int64                        `json:"lag_records"`
	} `json:"coverage"`
	Stats stats `json:"stats"`
}

func covered(from, to, high int64) partitionCoverage {
	return partitionCoverage{From: from, To: to, HighWatermark: high}
}

type refusal struct {
	Error   string         `json:"error"`
	Code    string         `json:"error_code"`
	Type    string         `json:"error_type"`
	Details map[string]any `json:"details"`
}

// refused is a query that fails.
func (c *cluster) refused(query string, status int) (r refusal) {
	c.t.Helper()
	text, err := json.Marshal(query)
	require.NoError(c.t, err)
	got, body, _ := c.do("POST", "/_sql", `{"query":`+string(text)+`}`)
	require.Equal(c.t, status, got, string(body))
	require.NoError(c.t, json.Unmarshal(body, &r))
	return r
}

func (c *cluster) do(method, path, body string) (int, []byte, http.Header) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(c.t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, response.Body.Close()) }()
	got, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return response.StatusCode, got, response.Header
}

func (c *cluster) ask(query string, more ...string) reply {
	c.t.Helper()
	text, err := json.Marshal(query)
	require.NoError(c.t, err)
	status, body, _ := c.do("POST", "/_sql", `{"query":`+string(text)+strings.Join(more, "")+`}`)
	require.Equal(c.t, 200, status, string(body))
	var a reply
	require.NoError(c.t, json.Unmarshal(body, &a))
	return a
}

func TestEveryRecordIsSeenOnceWhileFilesTakeOverTheTail(t *testing.T) {
	c := newCluster(t, 2)
	count := func(table string) float64 { return c.ask("SELECT count(*) AS n FROM " + table).Rows[0]["n"].(float64) }
	require.EqualValues(t, 0, count("orders"))
	produced := 0
	for round := range 5 {
		for p := range 2 {
			c.broker.Produce(t, p, 0, fmt.Sprintf(`{"city":"c%d","n":%d}`, p, round), `not json`, `{"n":1}`)
			produced += 3
			require.EqualValues(t, produced, count("orders"), "right after the last acknowledgement")
		}
		c.compact(0, int64(round+1)*3)
		if round%2 == 0 {
			c.compact(1, int64(round+1)*3)
		}
		require.EqualValues(t, produced, count("orders"))
	}
	a := c.ask("SELECT city, count(*) AS n, sum(n) AS s FROM orders WHERE city IS NOT NULL GROUP BY ALL ORDER BY ALL")
	require.Equal(t, []map[string]any{{"city": "c0", "n": 5.0, "s": 10.0}, {"city": "c1", "n": 5.0, "s": 10.0}}, a.Rows)
	require.Equal(t, []string{"utf8", "int64", "decimal(38, 0)"}, a.Types)
	require.Equal(t, partitionCoverage{From: 0, To: 15, HighWatermark: 15}, a.Coverage["orders"].Partitions["1"])
	require.Zero(t, a.Coverage["orders"].Lag)

	require.EqualValues(t, 30, count("orders_cold"))
	require.EqualValues(t, 30, c.ask("SELECT count(DISTINCT (partition, offset)) AS n FROM orders").Rows[0]["n"])
	c.await(func() bool { return c.node.tails.Bytes() == 0 })
}

func TestColdSeesFilesOnlyAndSaysSo(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	c.broker.Produce(t, 0, 0, `{"a":2}`)
	c.compact(0, 1)
	for _, more := range []string{`,"freshness":"cold"`, ``} {
		table := map[bool]string{true: "orders", false: "orders_cold"}[more != ""]
		a := c.ask("SELECT a FROM "+table, more)
		require.Equal(t, []map[string]any{{"a": 1.0}}, a.Rows)
		require.EqualValues(t, 1, a.Coverage["orders"].Lag)
		require.Equal(t, covered(0, 1, 2), a.Coverage["orders"].Partitions["0"])
	}
	require.Equal(t, []map[string]any{{"n": 2.0, "m": 1.0}},
		c.ask("SELECT (SELECT count(*) FROM orders) AS n, (SELECT count(*) FROM orders_cold) AS m").Rows)
}

func TestHotAndColdAreTheTableTogetherAndEachSaysWhatItCovers(t *testing.T) {
	c := newCluster(t, 2)
	c.broker.Produce(t, 0, 0, `{"a":1}`, `{"a":2}`, `{"a":3}`)
	c.broker.Produce(t, 1, 0, `{"a":4}`)
	hot := func(more ...string) reply {
		return c.ask("SELECT partition, offset FROM orders_hot ORDER BY ALL", more...)
	}
	require.Len(t, hot().Rows, 4)
	c.compact(0, 3)
	a := hot()
	require.Equal(t, []map[string]any{{"partition": 1.0, "offset": 0.0}}, a.Rows)
	require.Equal(t, map[string]partitionCoverage{"0": covered(3, 3, 3), "1": covered(0, 1, 1)}, a.Coverage["orders"].Partitions)
	require.Zero(t, a.Coverage["orders"].Lag)
	require.Zero(t, c.node.cache.Counts().Misses, "the files are none of its business")

	c.broker.Produce(t, 0, 0, `{"a":"five","b":true}`)
	a = c.ask(`SELECT * EXCLUDE (timestamp) FROM orders_cold UNION ALL SELECT * EXCLUDE (timestamp) FROM orders_hot ORDER BY partition, offset`)
	require.Len(t, a.Rows, 5, "within a query the tables of a topic have the same columns")
	require.Equal(t, "five", a.Rows[3]["a"])
	require.Equal(t, map[string]partitionCoverage{"0": covered(0, 4, 4), "1": covered(0, 1, 1)}, a.Coverage["orders"].Partitions)
	both := c.ask(`SELECT (SELECT count(*) FROM orders) AS t, (SELECT count(*) FROM orders_hot) AS hot, (SELECT count(*) FROM orders_cold) AS cold,
		(SELECT count(*) FROM orders_hot JOIN orders_cold USING (partition, offset)) AS twice`)
	require.Equal(t, []map[string]any{{"t": 5.0, "hot": 2.0, "cold": 3.0, "twice": 0.0}}, both.Rows)

	c.compact(0, 4)
	c.compact(1, 1)
	a = c.ask("SELECT a, b FROM orders_hot")
	require.Empty(t, a.Rows, "its columns are there without a row")
	require.Equal(t, []string{"utf8", "bool"}, a.Types)
	c.broker.Produce(t, 0, 0, "x")
	a = hot(`,"freshness":"cold"`)
	require.Empty(t, a.Rows)
	require.Equal(t, map[string]partitionCoverage{"0": covered(4, 4, 5), "1": covered(1, 1, 1)}, a.Coverage["orders"].Partitions)
	require.EqualValues(t, 1, a.Coverage["orders"].Lag)
}

func TestTypesThatConflictBetweenFilesMeetInTheJSONsOwnText(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, `{"v":1.0,"w":1,"seen":"2026-11-23T01:02:03+01:00","key":7}`)
	c.compact(0, 1)
	c.broker.Produce(t, 0, 0, `{"v":"x","w":0.5,"seen":"never","City":"a"}`)
	c.compact(0, 2)
	c.broker.Produce(t, 0, 0, `{"v":{"a":1},"city":"b","key":8}`)
	a := c.ask("SELECT offset, v, w, seen, city, json_key FROM orders ORDER BY offset")
	require.Equal(t, []map[string]any{
		{"offset": 0.0, "v": "1.0", "w": 1.0, "seen": "2026-11-23T01:02:03+01:00", "City": nil, "json_key": 7.0},
		{"offset": 1.0, "v": "x", "w": 0.5, "seen": "never", "City": "a", "json_key": nil},
		{"offset": 2.0, "v": nil, "w": nil, "seen": nil, "City": "b", "json_key": 8.0},
	}, a.Rows)
	require.Equal(t, []string{"int64", "utf8", "float64", "utf8", "utf8", "int64"}, a.Types)
}

func TestRowsBelowTheLogStartAreGoneAtOnce(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, "a", "b", "c", "d")
	c.compact(0, 4)
	p := topic.Partition{Topic: c.topic.ID}
	seen := c.store.Catalog().Partition(p).Manifest
	section, err := c.node.manifests.FetchManifest(t.Context(), seen, p)
	require.NoError(t, err)
	section.Version++
	section.LogStart, section.Marks.Log, section.Marks.Text, section.Marks.Vector = 2, 2, 2, 2
	c.swap(seen, section)
	a := c.ask("SELECT offset FROM orders ORDER BY 1")
	require.Equal(t, []map[string]any{{"offset": 2.0}, {"offset": 3.0}}, a.Rows)
	require.Equal(t, covered(2, 4, 4), a.Coverage["orders"].Partitions["0"])
}

func TestLatestHidesWhatTheBrokersDeletedBeforeTheCatalogSaysSo(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, "a", "b", "c", "d")
	c.compact(0, 4)
	c.broker.StartAt(0, 3)
	a := c.ask("SELECT offset FROM orders ORDER BY 1")
	require.Equal(t, []map[string]any{{"offset": 3.0}}, a.Rows)
	require.Equal(t, covered(3, 4, 4), a.Coverage["orders"].Partitions["0"])
	a = c.ask("SELECT offset FROM orders ORDER BY 1", `,"freshness":"available"`)
	require.Len(t, a.Rows, 4, "without the brokers there is what the catalog says")
}

func TestWhenBrokersAreAwayLatestNamesThePartitionsAndOthersAnswer(t *testing.T) {
	c := newCluster(t, 2)
	c.broker.Produce(t, 0, 0, "a")
	c.compact(0, 1)
	c.broker.Mute(true)
	status, body, _ := c.do("POST", "/_sql", `{"query":"SELECT count(*) FROM orders","timeout_secs":0.3}`)
	require.Equal(t, 504, status, string(body))
	var r refusal
	require.NoError(t, json.Unmarshal(body, &r))
	require.Equal(t, "TIMEOUT", r.Code)
	require.Len(t, r.Details["lagging_partitions"], 2)
	a := c.ask("SELECT count(*) AS n FROM orders", `,"freshness":"cold"`)
	require.Equal(t, 1.0, a.Rows[0]["n"])
	a = c.ask("SELECT count(*) AS n FROM orders", `,"freshness":"available"`)
	require.Equal(t, 1.0, a.Rows[0]["n"])
}

func TestABrokerThatOwnsAPartitionNoLongerIsNeverTheLatest(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, "a") // it answers for leader epoch 0
	owner, err := c.store.Register(t.Context(), metastore.Broker{ID: 7}, time.Minute)
	require.NoError(t, err)
	p := topic.Partition{Topic: c.topic.ID}
	take := func() {
		_, err := c.store.Take(t.Context(), owner, []metastore.Take{{View: c.store.Catalog().Partition(p), First: 1}})
		require.NoError(t, err)
	}
	take()
	require.Equal(t, 1.0, c.ask("SELECT count(*) AS n FROM orders").Rows[0]["n"], "its owner in epoch 0")
	take()

	asked := make(chan refusal, 1)
	go func() {
		_, body, _ := c.do("POST", "/_sql", `{"query":"SELECT count(*) AS n FROM orders","timeout_secs":1}`)
		var r refusal
		assert.NoError(t, json.Unmarshal(body, &r))
		asked <- r
	}()
	// News without an end do not use up its patience, which is the timeout's.
	var r refusal
	for answered := false; !answered; {
		select {
		case r = <-asked:
			answered = true
		default:
			take()
		}
	}
	require.Equal(t, "TIMEOUT", r.Code, r.Error)
	require.Contains(t, r.Error, "topic orders changed")
	require.Contains(t, r.Error, "ownership of a partition has changed")
}

func TestOfRecordsThatAreDeletedWhileAQueryRunsItSeesAllOrNone(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, `{"a":1}`, `{"a":2}`)
	c.compact(0, 2)
	c.broker.Produce(t, 0, 0, `{"a":3}`)
	// The brokers delete what is in files and what is not, and the catalog has not
	// heard of it; latest would know, since it asks where the log begins.
	c.broker.StartAt(0, 10)
	c.broker.Produce(t, 0, 0, `{"a":4}`)
	c.await(func() bool {
		a := c.ask("SELECT a FROM orders", `,"freshness":"available"`)
		whole := len(a.Rows) == 2 && a.Rows[1]["a"] == 2.0 // before the tail was read
		rest := len(a.Rows) == 1 && a.Rows[0]["a"] == 4.0
		require.True(t, whole || rest, "%v", a.Rows)
		return rest
	})
	require.EqualValues(t, 10, c.ask("SELECT a FROM orders").Coverage["orders"].Partitions["0"].From)
}

func TestAQueryThatWaitsForItsTailHoldsUpNoOther(t *testing.T) {
	c := newCluster(t, 1, func(config *Config) { config.ConcurrentMax = 1 })
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	c.broker.Mute(true)
	waiting := make(chan reply, 1)
	go func() { waiting <- c.ask("SELECT a FROM orders") }()
	c.await(func() bool { return c.broker.Lists() > 0 })
	require.Empty(t, c.ask("SELECT * FROM orders", `,"freshness":"cold"`).Rows)
	require.Empty(t, waiting)
	c.broker.Mute(false)
	require.Equal(t, []map[string]any{{"a": 1.0}}, (<-waiting).Rows)

	before := c.broker.Lists()
	c.ask("SELECT a FROM orders")
	require.Equal(t, 2, c.broker.Lists()-before, "a query asks once where the log begins, and once where it ends")
}

func TestADamagedLocalCopyIsFetchedAgainAndADamagedObjectIsNamed(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, "a")
	object := c.compact(0, 1)
	require.Len(t, c.ask("SELECT * FROM orders").Rows, 1)
	copies, err := filepath.Glob(filepath.Join(c.dir, "objects", "*.parquet"))
	require.NoError(t, err)
	require.Len(t, copies, 1)
	require.NoError(t, os.Truncate(copies[0], 10))
	require.Len(t, c.ask("SELECT * FROM orders").Rows, 1)

	attributes, err := c.bucket.Head(t.Context(), object)
	require.NoError(t, err)
	_, err = c.bucket.Put(t.Context(), object, objstore.Bytes(make([]byte, attributes.Size)), objstore.Condition{})
	require.NoError(t, err)
	c.node.cache.Forget(object)
	status, body, _ := c.do("POST", "/_sql", `{"query":"SELECT * FROM orders"}`)
	require.Equal(t, 500, status)
	require.Contains(t, string(body), object)
	require.NotContains(t, string(body), c.dir)
}

func TestRequestsAreCheckedStrictly(t *testing.T) {
	c := newCluster(t, 1)
	_, err := c.store.CreateTopic(t.Context(), metastore.Topic{Name: "plain", Partitions: 1, Config: map[string]string{"columnar.enabled": "false"}})
	require.NoError(t, err)
	c.await(func() bool { _, ok := c.store.Catalog().Topic("plain"); return ok })
	for body, want := range map[string]struct {
		status int
		code   string
		reason string
	}{
		``:                                             {400, "INVALID_REQUEST", "JSON"},
		`[]`:                                           {400, "INVALID_REQUEST", "JSON"},
		`{}`:                                           {400, "INVALID_REQUEST", "query is required"},
		`{"query":1}`:                                  {400, "INVALID_REQUEST", "query has to be a text, not number"},
		`{"query":"SELECT 1","limits":1}`:              {400, "INVALID_REQUEST", "limits"},
		`{"query":"SELECT 1"} {}`:                      {400, "INVALID_REQUEST", "more than one"},
		`{"query":"SELECT 1","limit":-1}`:              {400, "INVALID_REQUEST", "limit"},
		`{"query":"SELECT 1","limit":1000001}`:         {400, "INVALID_REQUEST", "limit"},
		`{"query":"SELECT 1","timeout_secs":0}`:        {400, "INVALID_REQUEST", "timeout_secs"},
		`{"query":"SELECT 1","freshness":"new"}`:       {400, "INVALID_REQUEST", "freshness"},
		`{"query":"SELECT 1","parameters":[1]}`:        {400, "INVALID_QUERY", "0 parameters, 1 values"},
		`{"query":"SELECT $1","parameters":[]}`:        {400, "INVALID_QUERY", "1 parameters, 0 values"},
		`{"query":"SELECT ?, ?","parameters":[1]}`:     {400, "INVALID_QUERY", "2 parameters, 1 values"},
		`{"query":"SELECT $1","parameters":[[1]]}`:     {400, "INVALID_REQUEST", "parameter 1"},
		`{"query":"SELECT $1","parameters":[{"a":1}]}`: {400, "INVALID_REQUEST", "$binary"},
		`{"query":"SELECT $1","parameters":[{"$binary":"%"}]}`: {400, "INVALID_REQUEST", "base64"},
		`{"query":"SELECT $1","parameters":[1e999]}`:           {400, "INVALID_REQUEST", "range"},
		`{"query":"SELECT $1","parameters":{"a":1}}`:           {400, "INVALID_REQUEST", "parameters has to be an array, not object"},
		`{"query":"SELECT $a","parameters":[1]}`:               {400, "INVALID_QUERY", "parameters are ?"},
		`{"query":"SELECT 1","row_format":"rows"}`:             {400, "INVALID_REQUEST", "row_format"},
		`{"query":"SELECT 1","binary_format":"hex"}`:           {400, "INVALID_REQUEST", "binary_format"},
		`{"query":"SELECT * FROM plain"}`:                      {400, "FEATURE_DISABLED", "columnar.enabled"},
		`{"query":"SELECT * FROM nowhere"}`:                    {404, "TOPIC_NOT_FOUND", "nowhere"},
		`{"query":"SELECT nothing FROM orders"}`:               {400, "INVALID_QUERY", "nothing"},
		`{"query":"SELECT * FROM read_text('/etc/passwd')"}`:   {400, "INVALID_QUERY", "read_text"},
		`{"query":"SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range + b.range) = 7","timeout_secs":0.2}`: {504, "TIMEOUT", "200ms"},
		`{"query":"` + strings.Repeat(" ", bodyBytesMax) + `"}`:                                                                    {413, "TOO_LARGE", "larger"},
	} {
		status, got, header := c.do("POST", "/_sql", body)
		name := body[:min(len(body), 100)]
		require.Equal(t, want.status, status, "%s: %s", name, got)
		var r refusal
		require.NoError(t, json.Unmarshal(got, &r), name)
		require.Equal(t, want.code, r.Code, name)
		require.Contains(t, r.Error, want.reason, name)
		require.NotNil(t, r.Details, name)
		require.NotEmpty(t, header.Get("X-Request-Id"))
	}
	for path, status := range map[string]int{"GET /_sql": 405, "POST /_sql/explain": 400, "GET /_sql/describe/nowhere": 404} {
		method, path, _ := strings.Cut(path, " ")
		got, body, _ := c.do(method, path, `{}`)
		require.Equal(t, status, got, string(body))
		require.Contains(t, string(body), `"error_code"`)
	}
}

func TestAnswersKeepEveryColumnAndTellWhenTheyAreCut(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, "a", "b", "c")
	a := c.ask("SELECT offset, offset, decode_utf8(value) AS v, key FROM orders ORDER BY 1", `,"limit":2`)
	require.Equal(t, []string{"offset", "offset_1", "v", "key"}, a.Columns)
	require.Equal(t, map[string]any{"offset": 1.0, "offset_1": 1.0, "v": "b", "key": "k1"}, a.Rows[1])
	require.True(t, a.Truncated)
	require.Equal(t, 2, a.RowCount)
	require.Equal(t, 1, a.Stats.FilesTotal)
}

func TestTablesAndTheirColumnsAreListed(t *testing.T) {
	c := newCluster(t, 1)
	for _, name := range []string{"a.b", "a-b"} {
		_, err := c.store.CreateTopic(t.Context(), metastore.Topic{Name: name, Partitions: 1, Config: map[string]string{"columnar.enabled": "true"}})
		require.NoError(t, err)
	}
	c.await(func() bool { return len(c.store.Catalog().Topics()) == 3 })
	c.broker.Produce(t, 0, 0, `{"city":"x"}`)
	c.compact(0, 1)
	c.broker.Produce(t, 0, 0, `{"n":1}`)
	_, body, _ := c.do("GET", "/_sql/tables", "")
	var tables struct {
		Tables []tableInfo `json:"tables"`
	}
	require.NoError(t, json.Unmarshal(body, &tables))
	require.Len(t, tables.Tables, 3)
	require.Equal(t, "a-b", tables.Tables[0].Name)
	require.True(t, tables.Tables[0].Collides)
	orders := tables.Tables[2]
	require.Equal(t, "TOPIC", orders.Type)
	require.Equal(t, []int64{1, 1, 9}, []int64{orders.Rows, int64(orders.Files), int64(orders.Columns)})

	status, body, _ := c.do("GET", "/_sql/describe/orders", "")
	require.Equal(t, 200, status)
	require.Contains(t, string(body), `{"data_type":"utf8","name":"city","nullable":true}`)
	require.Contains(t, string(body), `{"name":"n","nullable":true,"type":"int64"}`)
	_, body, _ = c.do("GET", "/_sql/describe/orders_cold", "")
	require.NotContains(t, string(body), `"n"`)
}

func TestTheDataFolderMayBeRelativeButNoPattern(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := dataDir("data")
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(dir))
	_, err = dataDir("/data/[a]")
	require.ErrorContains(t, err, "* ? [")
}

func TestRequestsAreCounted(t *testing.T) {
	c := newCluster(t, 1)
	require.True(t, c.node.SQL())
	c.ask("SELECT 1")
	families, err := c.metrics.Gather()
	require.NoError(t, err)
	counted := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "chronik_query_requests_total" {
				counted[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	require.Equal(t, map[string]float64{"/_sql 200": 1}, counted)
	status, _, _ := c.do("GET", "/health", "")
	require.Equal(t, 404, status, "health is the process's")
}

func TestClosingTheConnectionEndsTheQuery(t *testing.T) {
	c := newCluster(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "POST", c.url+"/_sql",
		strings.NewReader(`{"query":"SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE hash(a.range + b.range) = 7"}`))
	require.NoError(t, err)
	failed := make(chan error, 1)
	go func() {
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		failed <- err
	}()
	c.await(func() bool { return c.node.places.Running() > 0 })
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	c.await(func() bool { return c.node.places.Running() == 0 })
}

// Rows that compaction by key took out of the log are in the files until these
// are merged. Nobody sees them, in whatever way the table is asked.
func TestRowsThatAMaskNamesAreGone(t *testing.T) {
	c := newCluster(t, 2)
	for p := range 2 {
		c.broker.Produce(t, p, 0, `{"n":0}`, `{"n":1}`, `{"n":2}`, `{"n":3}`)
		c.compact(int32(p), 4)
		c.broker.Produce(t, p, 0, `{"n":4,"city":"x"}`, `{"n":5}`)
		c.compact(int32(p), 6)
	}
	c.broker.Produce(t, 0, 0, `{"n":6}`)
	p := topic.Partition{Topic: c.topic.ID}
	seen := c.store.Catalog().Partition(p).Manifest
	section, err := c.node.manifests.FetchManifest(t.Context(), seen, p)
	require.NoError(t, err)
	section.Version++
	section.Columnar = slices.Clone(section.Columnar)
	mask := func(offsets ...int64) {
		var out bytes.Buffer
		require.NoError(t, columnar.WriteOffsets(&out, offsets))
		name := objstore.ParquetName(p, ulid.Make())
		_, err := c.bucket.Put(t.Context(), name, objstore.Bytes(out.Bytes()), objstore.Condition{IfAbsent: true})
		require.NoError(t, err)
		section.Masks = append(section.Masks, manifest.File{
			Object: name, Size: int64(out.Len()), CRC: crc32.Checksum(out.Bytes(), format.Castagnoli),
			First: offsets[0], Next: offsets[len(offsets)-1] + 1, Records: int64(len(offsets)),
		})
	}
	mask(0, 2, 5)
	mask(1)
	section.Columnar[0].Masked, section.Columnar[1].Masked = 3, 1
	section.Marks.Log = 6 // what is masked was in the log
	c.swap(seen, section)

	a := c.ask("SELECT partition, offset, n, city FROM orders ORDER BY ALL")
	require.Equal(t, []map[string]any{
		{"partition": 0.0, "offset": 3.0, "n": 3.0, "city": nil}, {"partition": 0.0, "offset": 4.0, "n": 4.0, "city": "x"}, {"partition": 0.0, "offset": 6.0, "n": 6.0, "city": nil},
		{"partition": 1.0, "offset": 0.0, "n": 0.0, "city": nil}, {"partition": 1.0, "offset": 1.0, "n": 1.0, "city": nil}, {"partition": 1.0, "offset": 2.0, "n": 2.0, "city": nil},
		{"partition": 1.0, "offset": 3.0, "n": 3.0, "city": nil}, {"partition": 1.0, "offset": 4.0, "n": 4.0, "city": "x"}, {"partition": 1.0, "offset": 5.0, "n": 5.0, "city": nil},
	}, a.Rows)
	require.Equal(t, covered(0, 7, 7), a.Coverage["orders"].Partitions["0"], "offsets that are gone are covered")
	require.EqualValues(t, 8, c.ask("SELECT count(*) AS n FROM orders_cold").Rows[0]["n"])
	require.Empty(t, c.ask("SELECT n FROM orders WHERE partition = 0 AND key = 'k2'").Rows)
	require.Empty(t, c.ask("SELECT n FROM orders WHERE partition = 0 AND offset = 5").Rows)
	require.EqualValues(t, 9, c.ask("SELECT count(*) AS n FROM orders a JOIN orders b USING (partition, offset)").Rows[0]["n"])
	_, body, _ := c.do("GET", "/_sql/tables", "")
	require.Contains(t, string(body), `"rows":8`)

	section.Version++
	seen = c.store.Catalog().Partition(p).Manifest
	section.LogStart, section.Marks.Log = 4, 6
	c.swap(seen, section)
	require.EqualValues(t, 8, c.ask("SELECT count(*) AS n FROM orders").Rows[0]["n"], "a cut and a mask")
}

func TestWithoutABrokerAQueryIsToComeAgain(t *testing.T) {
	c := newCluster(t, 1, func(config *Config) { config.Seeds = func() []string { return nil } })
	require.Equal(t, "UNAVAILABLE", c.refused("SELECT count(*) FROM orders", http.StatusServiceUnavailable).Code)
}
