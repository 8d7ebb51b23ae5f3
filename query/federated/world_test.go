package federated_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/federated"
	"github.com/chronik-stream/chronik/query/hybrid/hybridtest"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
)

// world is what a surface asks: topics in memory, rows, and a log.
type world struct {
	*hybridtest.World
	t      *testing.T
	url    string
	rows   *rows // that the next statement has
	opened []string
	late   bool                      // statements say at once that their time is over
	hang   bool                      // they take until it is
	log    map[string][]tail.Fetched // by topic
	asked  []fetchCall
}

type fetchCall struct {
	topic      string
	partitions []int32
	first      int64
	bytes      int
}

// rows are an answer of one batch.
type rows struct {
	schema   *arrow.Schema
	batch    arrow.RecordBatch
	coverage map[string]snapshot.Coverage
	closed   bool
}

func (r *rows) Schema() *arrow.Schema { return r.schema }

func (r *rows) Next() (arrow.RecordBatch, error) {
	if r.batch == nil {
		return nil, io.EOF
	}
	batch := r.batch
	r.batch = nil
	return batch, nil
}

func (r *rows) Coverage() map[string]snapshot.Coverage { return r.coverage }

func (r *rows) Close() error { r.closed = true; return nil }

func rowsOf(t *testing.T, topic, text string, fields ...arrow.Field) *rows {
	t.Helper()
	schema := arrow.NewSchema(fields, nil)
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(text))
	require.NoError(t, err)
	return &rows{schema: schema, batch: batch, coverage: map[string]snapshot.Coverage{topic: {Partitions: map[int32]snapshot.PartitionCoverage{0: {To: 9, HighWatermark: 9}}}}}
}

func (w *world) Open(ctx context.Context, statement string, fresh snapshot.Freshness, principal string) (federated.Rows, error) {
	w.opened = append(w.opened, statement+" "+string(fresh)+" "+principal)
	if w.late {
		return nil, context.DeadlineExceeded
	}
	if w.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if w.rows == nil {
		return nil, envelope.New(http.StatusBadRequest, "INVALID_QUERY", "QueryError", "it cannot be parsed")
	}
	return w.rows, nil
}

func (w *world) Fetch(_ context.Context, topic string, partitions []int32, first int64, _, bytesMax int) ([]tail.Fetched, error) {
	w.asked = append(w.asked, fetchCall{topic, partitions, first, bytesMax})
	return w.log[topic], nil
}

func serve(t *testing.T) *world {
	gin.SetMode(gin.ReleaseMode)
	w := &world{World: hybridtest.New(), t: t, log: map[string][]tail.Fetched{}}
	w.Create("ads", true, true)
	w.Create("notes", true, false)
	w.Add("ads", 0, "buy a car", "a bicycle in blue", "purchase an automobile", "car", "the newest")
	w.Add("ads", 1, "bought: one vehicle", "buy bread", "a blue automobile", "the newest")
	w.Add("notes", 0, "the car is broken", "nothing of that kind")
	s := federated.New(federated.Options{
		Backends: federated.Backends{Text: w.TextSide(), Vectors: w, SQL: w, Log: w},
		Capabilities: func() []federated.Capability {
			return []federated.Capability{{Topic: "ads", Text: true, Vector: true, Fetch: true}}
		},
		Principal: func(*gin.Context) string { return "ann" },
		Body:      func(c *gin.Context) ([]byte, error) { return io.ReadAll(c.Request.Body) },
		Translate: func(_ context.Context, err error) *envelope.Failure { return failureOf(err) },
		Fail: func(c *gin.Context, err error) {
			f := failureOf(err)
			c.AbortWithStatusJSON(f.Status, f)
		},
	})
	r := gin.New()
	s.Routes(r)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func failureOf(err error) *envelope.Failure {
	var f *envelope.Failure
	switch {
	case errors.As(err, &f):
		return f
	case semantic.FailureOf(err) != nil:
		return semantic.FailureOf(err)
	case errors.Is(err, context.DeadlineExceeded):
		return envelope.New(http.StatusGatewayTimeout, "TIMEOUT", "Timeout", err.Error())
	}
	return envelope.New(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", err.Error())
}

func (w *world) do(method, path, body string, into any) int {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(text, into), "%s: %s", response.Status, text)
	return response.StatusCode
}

// reply is the body of an answer.
type reply struct {
	ID      string   `json:"query_id"`
	Results []record `json:"results"`
	Grouped []struct {
		Backend string   `json:"backend"`
		Topic   string   `json:"topic"`
		Results []record `json:"results"`
	} `json:"grouped_results"`
	Stats struct {
		Candidates int     `json:"candidates"`
		Ranked     int     `json:"ranked"`
		Latency    float64 `json:"latency_ms"`
		Backends   []struct {
			Backend    string             `json:"backend"`
			Topic      string             `json:"topic"`
			Candidates int                `json:"candidates"`
			TimedOut   bool               `json:"timed_out"`
			Coverage   *snapshot.Coverage `json:"coverage"`
		} `json:"backends"`
	} `json:"stats"`
	Warnings []string `json:"warnings"`
	// Of an error.
	Error   string         `json:"error"`
	Code    string         `json:"error_code"`
	Details map[string]any `json:"details"`
}

type record struct {
	Topic     string             `json:"topic"`
	Partition int32              `json:"partition"`
	Offset    int64              `json:"offset"`
	Final     float64            `json:"final_score"`
	Features  map[string]float64 `json:"features"`
	Preview   string             `json:"text_preview"`
	Score     *float64           `json:"score"`
	Timestamp *int64             `json:"timestamp"`
	Row       map[string]any     `json:"row"`
}

func (w *world) ask(body string) (r reply) {
	w.t.Helper()
	require.Equal(w.t, 200, w.do(http.MethodPost, "/_query", body, &r), r.Error)
	return r
}

func (w *world) refused(status int, body string) (r reply) {
	w.t.Helper()
	require.Equal(w.t, status, w.do(http.MethodPost, "/_query", body, &r), "%s: %s", body, r.Error)
	return r
}

// fetched are records of partition 0 from an offset on, a second apart.
func fetched(first int64, values ...string) []tail.Fetched {
	f := tail.Fetched{First: first, Next: first + int64(len(values)), End: first + int64(len(values)) + 5}
	for i, v := range values {
		offset := first + int64(i)
		f.Records = append(f.Records, tail.Record{Offset: offset, Timestamp: hybridtest.Timestamp(offset), Value: []byte(v)})
	}
	return []tail.Fetched{f}
}
