package textsearch

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search/query"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/indextest"
)

var (
	millionDir       = flag.String("million", "", "folder for indexes of many logs: compares with bleve, prints a table; a second run finds them there")
	millionDocuments = flag.Int("million.documents", 1_000_000, "logs to index")
	millionOnly      = flag.String("million.only", "", "questions to ask: a regular expression")
	millionAlone     = flag.Bool("million.alone", false, "ask ours only")
	millionFor       = flag.Duration("million.for", time.Second, "how long each question is asked again and again, by each of both")
)

// TestAMillionLogsAgainstBleve measures how long the same questions take. Both
// index the same logs, on disk, in one piece; bleve gets a mapping by hand that
// leaves out what nobody asks for, while ours indexes every string in both forms.
func TestAMillionLogsAgainstBleve(t *testing.T) {
	if *millionDir == "" {
		t.Skip("it takes minutes: -million names a folder for the indexes")
	}
	theirs := millionInBleve(t)
	path := millionSplit(t)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := textindex.Open(t.Context(), textindex.Bytes(data), 0)
	require.NoError(t, err)
	a := analyzer(t, "standard")
	ours := &Searcher{Now: testNow, Parallel: 1, Parts: []Part{{Topic: "logs", Split: file, Analyzer: a}}}
	fmt.Println("| | hits | bleve, ms | ours, ms | ours, with an exact total, ms | bleve / ours | cold: GETs | cold: KiB |\n|---|---|---|---|---|---|---|---|")
	for _, q := range millionQuestions() {
		if !regexp.MustCompile(*millionOnly).MatchString(q.name) {
			continue
		}
		request := bleve.NewSearchRequestOptions(q.theirs, q.size(), 0, false)
		if q.sort != "" {
			request.SortBy([]string{q.sort})
		}
		for name, f := range q.facets {
			request.AddFacet(name, f)
		}
		var total uint64
		bleveTook, oursTook, exactTook := millionTimes(
			func() {
				if *millionAlone {
					return
				}
				r, err := theirs.Search(request)
				require.NoError(t, err)
				total = r.Total
			},
			func() { search(t, ours, q.body("")) },
			func() {
				if all := search(t, ours, q.body(`"track_total_hits":true,`)).Total; !*millionAlone {
					require.EqualValues(t, total, all, q.name)
				}
			})
		blob := &countedFile{data: data}
		cold, err := textindex.Open(t.Context(), blob, 0)
		require.NoError(t, err)
		blob.reads, blob.bytes = 0, 0 // footers are kept
		search(t, &Searcher{Now: testNow, Parallel: 1, Parts: []Part{{Topic: "logs", Split: cold, Analyzer: a}}}, q.body(""))
		ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64) }
		fmt.Printf("| %s | %d | %s | %s | %s | %.1f | %d | %d |\n", q.name, total, ms(bleveTook), ms(oursTook), ms(exactTook),
			float64(bleveTook)/float64(oursTook), blob.reads, blob.bytes>>10)
	}
}

// millionTimes returns the median of the processor time that each takes, in
// turns: a figure that a busy machine changes little.
func millionTimes(bleve, ours, exact func()) (a, b, c time.Duration) {
	var took [3][]time.Duration
	for begun := time.Now(); len(took[0]) < 3 || time.Since(begun) < *millionFor; {
		for i, ask := range []func(){bleve, ours, exact} {
			before := processorTime()
			ask()
			took[i] = append(took[i], processorTime()-before)
		}
	}
	median := func(all []time.Duration) time.Duration {
		slices.Sort(all)
		return all[len(all)/2]
	}
	return median(took[0]), median(took[1]), median(took[2])
}

// processorTime is what the process has used, collector included.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no other reason than an address that is none
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// countedFile counts what a bucket would be asked for.
type countedFile struct {
	data  []byte
	mu    sync.Mutex
	reads int
	bytes int64
}

func (c *countedFile) Size() int64 { return int64(len(c.data)) }

func (c *countedFile) Read(_ context.Context, offset, length int64) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	c.bytes += length
	return bytes.Clone(c.data[offset : offset+length]), nil
}

type millionQuestion struct {
	name, ours, rest string // rest: what stands beside the query
	theirs           query.Query
	sort             string
	facets           map[string]*bleve.FacetRequest
}

func (q *millionQuestion) size() int {
	if q.facets != nil {
		return 0
	}
	return 10
}

func (q *millionQuestion) body(rest string) string {
	return fmt.Sprintf(`{%s%s"size":%d,"_source":false,"query":%s}`, rest, q.rest, q.size(), q.ours)
}

func millionQuestions() []millionQuestion {
	on := func(field string, q query.FieldableQuery) query.Query {
		q.SetField(field)
		return q
	}
	match := func(text string) query.Query { return on("message", bleve.NewMatchQuery(text)) }
	phrase := func(text string) query.Query { return on("message", bleve.NewMatchPhraseQuery(text)) }
	low, high := 1000.0, 2000.0
	fuzzy := bleve.NewFuzzyQuery("databse")
	fuzzy.SetFuzziness(1)
	both := bleve.NewMatchQuery("database timed")
	both.SetOperator(query.MatchQueryOperatorAnd)
	boolean := bleve.NewBooleanQuery()
	boolean.AddMust(match("retrying"), on("level", bleve.NewTermQuery("error")))
	boolean.AddShould(match("7"))
	boolean.AddMustNot(on("service", bleve.NewTermQuery("gateway-3")))
	all := bleve.NewMatchAllQuery()
	services, errors := bleve.NewFacetRequest("service", 10), bleve.NewFacetRequest("client", 10)
	hours := bleve.NewFacetRequest("ts", 10)
	from, to := time.UnixMilli(1_760_000_000_000).Truncate(10*time.Minute), time.UnixMilli(1_760_000_000_000+7*int64(*millionDocuments))
	for i := 0; from.Before(to); i++ {
		hours.AddDateTimeRange(fmt.Sprint(i), from, from.Add(10*time.Minute))
		from = from.Add(10 * time.Minute)
	}
	return []millionQuestion{
		{name: "rare term", ours: `{"match":{"message":"12345"}}`, theirs: match("12345")},
		{name: "frequent term", ours: `{"match":{"message":"payment"}}`, theirs: match("payment")},
		{name: "keyword", ours: `{"term":{"level.keyword":"error"}}`, theirs: on("level", bleve.NewTermQuery("error"))},
		{name: "two words, either", ours: `{"match":{"message":"database 12345"}}`, theirs: match("database 12345")},
		{name: "two frequent words, either", ours: `{"match":{"message":"request retrying"}}`, theirs: match("request retrying")},
		{name: "two frequent words, both", ours: `{"match":{"message":{"query":"database timed","operator":"and"}}}`, theirs: on("message", both)},
		{name: "phrase", ours: `{"match_phrase":{"message":"timed out"}}`, theirs: phrase("timed out")},
		{name: "rare phrase", ours: `{"match_phrase":{"message":"shard 17"}}`, theirs: phrase("shard 17")},
		{name: "bool", ours: `{"bool":{"must":[{"match":{"message":"retrying"}},{"term":{"level.keyword":"error"}}],"should":[{"match":{"message":"7"}}],"must_not":[{"term":{"service.keyword":"gateway-3"}}]}}`, theirs: boolean},
		{name: "number in a range", ours: `{"range":{"bytes":{"gte":1000,"lt":2000}}}`, theirs: on("bytes", bleve.NewNumericRangeQuery(&low, &high))},
		{name: "prefix", ours: `{"prefix":{"message":"retr"}}`, theirs: on("message", bleve.NewPrefixQuery("retr"))},
		{name: "wildcard", ours: `{"wildcard":{"message":"data*e"}}`, theirs: on("message", bleve.NewWildcardQuery("data*e"))},
		{name: "wildcard in front", ours: `{"wildcard":{"message":"*abase"}}`, theirs: on("message", bleve.NewWildcardQuery("*abase"))},
		{name: "fuzzy", ours: `{"fuzzy":{"message":{"value":"databse","fuzziness":1}}}`, theirs: on("message", fuzzy)},
		{name: "sorted by a number", ours: `{"match":{"message":"payment"}}`, rest: `"sort":[{"bytes":"desc"}],`, theirs: match("payment"), sort: "-bytes"},
		{name: "all, sorted by time", ours: `{"match_all":{}}`, rest: `"sort":[{"ts":"desc"}],`, theirs: all, sort: "-ts"},
		{name: "sorted by a keyword", ours: `{"match":{"message":"payment"}}`, rest: `"sort":["client.keyword"],`, theirs: match("payment"), sort: "client"},
		{name: "terms of 8 over all", ours: `{"match_all":{}}`, rest: `"aggs":{"a":{"terms":{"field":"service.keyword"}}},`, theirs: all, facets: map[string]*bleve.FacetRequest{"a": services}},
		{name: "terms of many over a fifth", ours: `{"match":{"message":"payment"}}`, rest: `"aggs":{"a":{"terms":{"field":"client.keyword"}}},`, theirs: match("payment"), facets: map[string]*bleve.FacetRequest{"a": errors}},
		{name: "date histogram over all", ours: `{"match_all":{}}`, rest: `"aggs":{"a":{"date_histogram":{"field":"ts","fixed_interval":"10m"}}},`, theirs: all, facets: map[string]*bleve.FacetRequest{"a": hours}},
		{name: "date histogram over a fifth", ours: `{"match":{"message":"payment"}}`, rest: `"aggs":{"a":{"date_histogram":{"field":"ts","fixed_interval":"10m"}}},`, theirs: match("payment"), facets: map[string]*bleve.FacetRequest{"a": hours}},
	}
}

// millionSplit writes the split, when it is not there.
func millionSplit(t *testing.T) string {
	path := filepath.Join(*millionDir, fmt.Sprintf("%d.split", *millionDocuments))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	began := time.Now()
	b := textindex.NewBuilder(textindex.Options{Analyzer: analyzer(t, "standard")}, textindex.BuilderBounds{MemoryBytesMax: 256 << 20, Workers: 2})
	for _, r := range indextest.Logs(*millionDocuments) {
		require.NoError(t, b.Append(r))
	}
	out, err := os.Create(path)
	require.NoError(t, err)
	_, err = b.Write(t.Context(), out)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	t.Logf("ours was built in %v", time.Since(began))
	return path
}

// millionInBleve builds bleve's index, when it is not there.
func millionInBleve(t *testing.T) bleve.Index {
	path := filepath.Join(*millionDir, fmt.Sprintf("%d.bleve", *millionDocuments))
	index, err := bleve.Open(path)
	if err != nil {
		began := time.Now()
		index, err = bleve.New(path, millionMapping(t))
		require.NoError(t, err)
		batch := index.NewBatch()
		for i, r := range indextest.Logs(*millionDocuments) {
			var doc map[string]any
			require.NoError(t, json.Unmarshal(r.Value, &doc))
			require.NoError(t, batch.Index(strconv.Itoa(i), doc))
			if batch.Size() == 20_000 || i == *millionDocuments-1 {
				require.NoError(t, index.Batch(batch))
				batch = index.NewBatch()
			}
		}
		t.Logf("bleve's was built in %v", time.Since(began))
	}
	t.Cleanup(func() { require.NoError(t, index.Close()) })
	return index
}

func millionMapping(t *testing.T) mapping.IndexMapping {
	m := bleve.NewIndexMapping()
	require.NoError(t, m.AddCustomAnalyzer("plain", map[string]any{
		"type": custom.Name, "tokenizer": unicode.Name, "token_filters": []string{lowercase.Name},
	}))
	logs := bleve.NewDocumentStaticMapping()
	field := func(name string, f *mapping.FieldMapping) {
		f.Store, f.IncludeInAll, f.IncludeTermVectors = false, false, name == "message"
		logs.AddFieldMappingsAt(name, f)
	}
	message := bleve.NewTextFieldMapping()
	message.Analyzer, message.DocValues = "plain", false
	field("message", message)
	for _, name := range []string{"level", "service", "method", "path", "client"} {
		f := bleve.NewTextFieldMapping()
		f.Analyzer = keyword.Name
		field(name, f)
	}
	for _, name := range []string{"status", "bytes", "took_ms"} {
		field(name, bleve.NewNumericFieldMapping())
	}
	field("ts", bleve.NewDateTimeFieldMapping())
	field("cached", bleve.NewBooleanFieldMapping())
	m.DefaultMapping = logs
	return m
}
