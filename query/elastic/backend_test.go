package elastic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/query/elastic"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/snapshot"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a cluster in memory: logs that are indexed as they are written.
type world struct {
	mu     sync.Mutex
	topics map[string]*memoryTopic
	fail   func(what string) error // of any call; nil: none does
	calls  []string                // what was searched, and how
}

type memoryTopic struct {
	elastic.Topic
	config     map[string]string
	leaderless int
	logs       []*textindex.Memory
	next       []int64
}

func (w *world) failing(what string) error {
	if w.fail == nil {
		return nil
	}
	return w.fail(what)
}

func (w *world) Topic(name string) (elastic.Topic, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.topics[name]
	if t == nil {
		return elastic.Topic{}, false
	}
	return t.Topic, true
}

func (w *world) Names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.topics))
}

func (w *world) Leaderless(name string) int { return w.topics[name].leaderless }

func (w *world) CatchUp(context.Context) error { return w.failing("catch up") }

func (w *world) Cluster() elastic.Cluster {
	return elastic.Cluster{Name: "test", UUID: "u", Node: "n1", Nodes: 3, Brokers: 2, Version: "dev"}
}

func (w *world) CreateTopic(_ context.Context, name string, partitions int32, config map[string]string) error {
	if err := w.failing("create"); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.topics[name] != nil {
		return elastic.ErrTopicExists
	}
	t := &memoryTopic{config: config}
	t.Topic = elastic.Topic{Name: name, ID: "id-" + name, Partitions: max(1, int(partitions)), Searchable: config["searchable"] == "true", Analyzer: "standard"}
	if text := config["search.mapping"]; text != "" {
		if err := json.Unmarshal([]byte(text), &t.Mapping); err != nil {
			return err
		}
	}
	a, err := analysis.ByName("standard")
	if err != nil {
		return err
	}
	for range t.Partitions {
		t.logs = append(t.logs, textindex.NewMemory(textindex.Options{Analyzer: a, Source: true}))
	}
	t.next = make([]int64, t.Partitions)
	w.topics[name] = t
	return nil
}

func (w *world) DeleteTopic(_ context.Context, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.topics[name] == nil {
		return elastic.ErrUnknownTopic
	}
	delete(w.topics, name)
	return nil
}

func (w *world) Produce(_ context.Context, records []elastic.Record) []elastic.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]elastic.Outcome, len(records))
	for i, r := range records {
		if out[i].Err = w.failing("produce " + string(r.Value)); out[i].Err != nil {
			continue
		}
		t := w.topics[r.Topic]
		partition := 0
		if r.Key != nil {
			h := fnv.New32a()
			_, _ = h.Write(r.Key)
			partition = int(h.Sum32()) % t.Partitions
		}
		out[i].Partition, out[i].Offset = int32(partition), t.next[partition]
		out[i].Err = t.logs[partition].Append(textindex.Record{Offset: t.next[partition], Timestamp: testNow.UnixMilli(), Key: r.Key, Value: r.Value})
		t.next[partition]++
	}
	return out
}

func (w *world) searcher(topics []string) *textsearch.Searcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, err := analysis.ByName("standard")
	if err != nil {
		panic(err)
	}
	s := &textsearch.Searcher{Now: testNow}
	for _, name := range topics {
		for i, log := range w.topics[name].logs {
			s.Parts = append(s.Parts, textsearch.Part{Topic: name, Partition: int32(i), Split: log.Snapshot(), Analyzer: a})
		}
	}
	return s
}

func (w *world) Search(ctx context.Context, topics []string, r *textquery.Request, o search.Options) (*search.Answer, error) {
	w.mu.Lock()
	w.calls = append(w.calls, fmt.Sprint(topics, " ", o.Freshness, " ", o.Principal, " ", r.Timeout))
	w.mu.Unlock()
	if err := w.failing("search"); err != nil {
		return nil, err
	}
	s := w.searcher(topics)
	result, err := s.Search(ctx, r)
	if err != nil {
		return nil, err
	}
	answer := &search.Answer{Result: *result, Shards: search.Shards{Total: len(s.Parts), Successful: len(s.Parts)}, Coverage: map[string]search.Coverage{}}
	for _, name := range topics {
		answer.Coverage[name] = search.Coverage{Partitions: map[int32]snapshot.PartitionCoverage{0: {To: w.topics[name].next[0], HighWatermark: w.topics[name].next[0]}}}
	}
	return answer, nil
}

func (w *world) Doc(ctx context.Context, name string, partition int32, offset int64, _ search.Options) (*textsearch.Hit, error) {
	r := textquery.NewRequest()
	r.Query = &textquery.IDs{Boost: 1, Values: []string{fmt.Sprintf("%s-%d-%d", name, partition, offset)}}
	result, err := w.searcher([]string{name}).Search(ctx, r)
	if err != nil || len(result.Hits) == 0 {
		return nil, err
	}
	return &result.Hits[0], nil
}

func (w *world) Mapping(_ context.Context, topics []string) (map[string][]textindex.Field, error) {
	all := map[string][]textindex.Field{}
	for _, name := range topics {
		for _, p := range w.searcher([]string{name}).Parts {
			for _, f := range p.Split.Fields() {
				if !slices.Contains(all[name], f.Field) {
					all[name] = append(all[name], f.Field)
				}
			}
		}
	}
	return all, nil
}

func (w *world) Counts(_ context.Context, topics []string) (map[string]search.Counts, error) {
	all := map[string]search.Counts{}
	for _, name := range topics {
		var n search.Counts
		for _, p := range w.searcher([]string{name}).Parts {
			n.Documents += int64(p.Split.Bounds().Documents)
		}
		n.Bytes = 1536 * n.Documents
		all[name] = n
	}
	return all, nil
}

// server serves a world.
type server struct {
	*world
	t   testing.TB
	url string
}

func serve(t testing.TB, edit ...func(*elastic.Options)) *server {
	gin.SetMode(gin.ReleaseMode)
	w := &world{topics: map[string]*memoryTopic{}}
	o := elastic.Options{
		Backend:   elastic.Backend{Searcher: w, Catalog: w, Producer: w, Admin: w},
		Principal: func(*gin.Context) string { return "ann" },
		Translate: func(_ context.Context, err error) *envelope.Failure {
			if errors.Is(err, context.DeadlineExceeded) {
				return envelope.New(http.StatusGatewayTimeout, "TIMEOUT", "Timeout", err.Error())
			}
			return envelope.New(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", err.Error())
		},
	}
	for _, f := range edit {
		f(&o)
	}
	s := elastic.New(o)
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false
	r.UseRawPath = true
	r.UnescapePathValues = true
	r.NoRoute(s.NotFound)
	r.NoMethod(s.NotAllowed)
	s.Routes(r, func(c *gin.Context) { c.String(http.StatusTeapot, "elsewhere") })
	h := httptest.NewServer(r)
	t.Cleanup(h.Close)
	return &server{w, t, h.URL}
}

// ask sends a request and returns its answer.
func (s *server) ask(method, path, body string, header ...string) (status int, answer string, got http.Header) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response.StatusCode, string(text), response.Header
}

// ok is ask for an answer of 200 or 201, which is JSON without what differs from
// run to run.
func (s *server) ok(method, path, body string) string {
	s.t.Helper()
	status, text, header := s.ask(method, path, body)
	require.Contains(s.t, []int{200, 201}, status, text)
	require.Equal(s.t, "Elasticsearch", header.Get("X-Elastic-Product"))
	require.True(s.t, json.Valid([]byte(text)), text)
	return text
}

// refused is ask for an error.
func (s *server) refused(status int, method, path, body string) (kind, reason string) {
	s.t.Helper()
	got, text, header := s.ask(method, path, body)
	require.Equal(s.t, status, got, text)
	require.Equal(s.t, "Elasticsearch", header.Get("X-Elastic-Product"))
	var e struct {
		Error struct {
			Type, Reason string
			RootCause    []struct{ Type, Reason string } `json:"root_cause"`
		}
		Status int
	}
	require.NoError(s.t, json.Unmarshal([]byte(text), &e), text)
	require.Equal(s.t, status, e.Status)
	require.NotEmpty(s.t, e.Error.RootCause, text)
	return e.Error.Type, e.Error.RootCause[0].Reason
}

// topic creates a searchable topic with documents, in their order on partition 0.
func (s *server) topic(name string, documents ...string) {
	s.t.Helper()
	require.NoError(s.t, s.CreateTopic(s.t.Context(), name, 1, map[string]string{"searchable": "true"}))
	var records []elastic.Record
	for i, d := range documents {
		r := elastic.Record{Topic: name, Value: []byte(d)}
		if i%2 == 1 {
			r.Key = fmt.Appendf(nil, "k%d", i)
		}
		records = append(records, r)
	}
	for _, o := range s.Produce(s.t.Context(), records) {
		require.NoError(s.t, o.Err)
	}
}

// at is the part of a JSON text at a path of names and numbers, as JSON.
func at(t testing.TB, text string, path ...any) string {
	t.Helper()
	var v any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&v), text)
	for _, p := range path {
		switch p := p.(type) {
		case string:
			object, ok := v.(map[string]any)
			require.True(t, ok, "no object for %v in %s", p, text)
			member, ok := object[p]
			require.True(t, ok, "no %v in %s", p, text)
			v = member
		case int:
			list, ok := v.([]any)
			require.True(t, ok && p < len(list), "no item %v in %s", p, text)
			v = list[p]
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(v))
	return strings.TrimSpace(out.String())
}
