//go:build !nosql

package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/vector"
)

func TestAQuestionToSeveralKindsOfSearchIsOneAnswer(t *testing.T) {
	c := newCluster(t, 2)
	c.broker.Produce(t, 0, 0, `{"a":1}`, `{"a":2}`, `{"a":3}`)
	c.broker.Produce(t, 1, 0, `{"a":4}`)
	status, body, _ := c.do(http.MethodPost, "/_query", `{"sources":[{"topic":"orders","modes":["sql","fetch"]}],"timeout_ms":60000,
		"q":{"sql":"SELECT _partition, _offset, a FROM orders WHERE a >= 3 ORDER BY a DESC","fetch":{"offset":0,"partition":0}},"result_format":"grouped"}`)
	require.Equal(t, 200, status, string(body))
	var answer struct {
		Results []struct {
			Partition int32              `json:"partition"`
			Offset    int64              `json:"offset"`
			Features  map[string]float64 `json:"features"`
			Preview   string             `json:"text_preview"`
		} `json:"results"`
		Grouped []struct {
			Results []struct {
				Row json.RawMessage `json:"row"`
			} `json:"results"`
		} `json:"grouped_results"`
		Stats struct {
			Backends []struct {
				Candidates int              `json:"candidates"`
				Coverage   *vector.Coverage `json:"coverage"`
			} `json:"backends"`
		} `json:"stats"`
	}
	require.NoError(t, json.Unmarshal(body, &answer))
	var found []string
	for _, r := range answer.Results {
		found = append(found, fmt.Sprintf("%d-%d %s", r.Partition, r.Offset, r.Preview))
	}
	// The first has two places, of which one is the second best.
	require.Equal(t, []string{`0-2 {"a":3}`, `0-0 {"a":1}`, `1-0 `, `0-1 {"a":2}`}, found)
	require.EqualValues(t, 2, answer.Results[0].Features["source_count"])
	require.JSONEq(t, `{"_partition":1,"_offset":0,"a":4}`, string(answer.Grouped[0].Results[0].Row))
	require.Equal(t, 2, answer.Stats.Backends[0].Candidates)
	require.EqualValues(t, covered(0, 3, 3), answer.Stats.Backends[1].Coverage.Partitions[0])
	require.Len(t, answer.Stats.Backends[0].Coverage.Partitions, 2)

	for body, want := range map[string]string{
		`{"sources":[{"topic":"orders","modes":["fetch"]}],"q":{"fetch":{"offset":0,"partition":2}}}`: "topic orders has no partition 2",
		`{"sources":[{"topic":"orders","modes":["sql"]}],"q":{"sql":"SELECT count(*) FROM orders"}}`:  "has to select _partition and _offset",
		`{"sources":[{"topic":"orders","modes":["sql"]}],"q":{"sql":"DROP TABLE orders"}}`:            "mode sql of topic orders",
		`{"sources":[{"topic":"orders","modes":["text"]}],"q":{"text":"a"}}`:                          "not searchable",
		`{"sources":[{"topic":"orders","modes":["vector"]}],"q":{"semantic":"a"}}`:                    "has no vectors",
	} {
		status, got, _ := c.do(http.MethodPost, "/_query", body)
		require.Equal(t, 400, status, body)
		require.Contains(t, string(got), want, body)
	}
	status, body, _ = c.do(http.MethodPost, "/_query", `{"sources":[{"topic":"gone","modes":["fetch"]}],"q":{"fetch":{"offset":0}}}`)
	require.Equal(t, 404, status, string(body))
	require.Zero(t, c.node.places.Running())
	_, body, _ = c.do(http.MethodGet, "/_query/capabilities", "")
	require.JSONEq(t, `[{"topic":"orders","text_search":false,"vector_search":false,"sql_query":true,"fetch":true}]`, string(body))
}

func TestVectorsAreMadeAnewAndDroppedByAdministrators(t *testing.T) {
	var refusal error
	var c *cluster
	c = newCluster(t, 1, func(o *Config) {
		o.Administrator = func(*http.Request) error { return refusal }
		o.Indexes = lateIndexes{func() *metastore.Store { return c.store }}
	})
	made, err := c.store.CreateTopic(t.Context(), metastore.Topic{Name: "ads", Partitions: 2, Config: map[string]string{
		"vector.enabled": "true", "vector.embedding.provider": "external", "vector.embedding.endpoint": "http://127.0.0.1:1/embed",
		"vector.embedding.model": "words", "vector.embedding.dimensions": "4",
	}})
	require.NoError(t, err)
	require.NoError(t, c.store.CatchUp(t.Context()))
	index := func() (x metastore.VectorIndex) {
		require.NoError(t, c.store.CatchUp(t.Context()))
		c.store.Catalog().View(func(v *metastore.View) { x = v.VectorIndex(made.ID) })
		return x
	}
	do := func(status int, method, path, body string) string {
		t.Helper()
		got, text, header := c.do(method, path, body)
		require.Equal(t, status, got, string(text))
		require.Empty(t, header.Get("WWW-Authenticate"))
		return string(text)
	}
	refusal = envelope.New(http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized", "missing X-API-Key header")
	require.Contains(t, do(401, "POST", "/_vector/ads/backfill", ""), "missing X-API-Key")
	require.Contains(t, do(401, "DELETE", "/_vector/ads/index", ""), "missing X-API-Key")
	require.Zero(t, index().Generation)

	refusal = nil
	do(200, "POST", "/_vector/ads/backfill", "")
	require.EqualValues(t, 1, index().Generation)
	do(200, "POST", "/_vector/ads/backfill", `{"partition":1}`)
	require.Equal(t, map[int32]int64{1: 1}, index().Partitions)
	require.Contains(t, do(200, "GET", "/_query/capabilities", ""), `"topic":"ads","text_search":false,"vector_search":true`)
	do(200, "DELETE", "/_vector/ads/index", "")
	require.True(t, index().Dropped)
	require.Contains(t, do(200, "GET", "/_query/capabilities", ""), `"topic":"ads","text_search":false,"vector_search":false`)
	require.Contains(t, do(400, "POST", "/_vector/ads/backfill", `{"partition":2}`), "no partition 2")
	require.Contains(t, do(400, "DELETE", "/_vector/orders/index", ""), "FEATURE_DISABLED")
	require.Contains(t, do(404, "DELETE", "/_vector/gone/index", ""), "TOPIC_NOT_FOUND")
}

// lateIndexes are of a store that is opened later.
type lateIndexes struct{ store func() *metastore.Store }

func (x lateIndexes) RebuildVectors(ctx context.Context, id topic.ID, partitions ...int32) error {
	return x.store().RebuildVectors(ctx, id, partitions...)
}

func (x lateIndexes) DropVectors(ctx context.Context, id topic.ID) error {
	return x.store().DropVectors(ctx, id)
}

func TestAProviderThatIsAwayIsABadGateway(t *testing.T) {
	err := fmt.Errorf("search: %w", &vector.ProviderError{Topic: "ads", Temporary: true, RetryAfter: 90 * time.Second, Err: errors.New("429 Too Many Requests")})
	f := failureOf(err)
	require.Equal(t, http.StatusBadGateway, f.Status)
	require.Equal(t, "EMBEDDING_ERROR", f.Code)
	require.Equal(t, 90*time.Second, f.RetryAfter)
}
