package semantic_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/hybrid/hybridtest"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/vector"
)

// backend is what a surface asks: topics in memory, and what became of their indexes.
type backend struct {
	*hybridtest.World
	stats   *vector.Stats
	indexes []string
	refuse  error // administration
}

func (b *backend) Stats(_ context.Context, topic string) (*vector.Stats, error) {
	if topic != "ads" {
		return nil, &vector.UnknownTopicError{Topic: topic}
	}
	return b.stats, nil
}

func (b *backend) Topics(context.Context) ([]vector.TopicVectors, error) {
	return []vector.TopicVectors{{Name: "ads", Vectors: 7, Dimensions: 64, Provider: "external", Model: "words"}}, nil
}

func (b *backend) RebuildVectors(_ context.Context, topic string, partitions []int32) error {
	b.indexes = append(b.indexes, fmt.Sprint("rebuild ", topic, " ", partitions))
	return nil
}

func (b *backend) DropVectors(_ context.Context, topic string) error {
	b.indexes = append(b.indexes, "drop "+topic)
	return nil
}

// server serves a surface over topic ads.
type server struct {
	*backend
	t       *testing.T
	url     string
	surface *semantic.Surface
}

func serve(t *testing.T) *server {
	gin.SetMode(gin.ReleaseMode)
	w := hybridtest.New()
	w.Create("ads", true, true)
	w.Create("topics", true, true)
	w.Create("plain", false, false)
	w.Create("a b/c", false, true)
	w.Add("ads", 0, "buy a car", "a bicycle in blue", "purchase an automobile", "car", "the newest")
	w.Add("ads", 1, "bought: one vehicle", "buy bread", "a blue automobile <3", "the newest")
	w.Add("topics", 0, "one", "two")
	w.Add("a b/c", 0, "one", "\xffbytes one")
	b := &backend{World: w, stats: &vector.Stats{}}
	s := semantic.New(semantic.Options{
		Vectors: b, Text: w.TextSide(), Indexes: b, Timeout: time.Minute,
		Principal:     func(*gin.Context) string { return "ann" },
		Administrator: func(*gin.Context) error { return b.refuse },
		Body:          func(c *gin.Context) ([]byte, error) { return io.ReadAll(c.Request.Body) },
		Fail: func(c *gin.Context, err error) {
			f := semantic.FailureOf(err)
			if f == nil && !errors.As(err, &f) {
				f = envelope.New(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", err.Error())
				if errors.Is(err, context.DeadlineExceeded) {
					f = envelope.New(http.StatusGatewayTimeout, "TIMEOUT", "Timeout", err.Error())
				}
			}
			c.AbortWithStatusJSON(f.Status, f)
		},
	})
	r := gin.New()
	r.UseRawPath, r.UnescapePathValues, r.HandleMethodNotAllowed = true, true, true
	s.Routes(r)
	http := httptest.NewServer(r)
	t.Cleanup(http.Close)
	return &server{backend: b, t: t, url: http.URL, surface: s}
}

func (s *server) do(method, path, body string) (int, map[string]any) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	var answer map[string]any
	require.NoError(s.t, json.Unmarshal(text, &answer), "%s: %s", response.Status, text)
	return response.StatusCode, answer
}

// ask posts, and expects an answer.
func (s *server) ask(path, body string) (answer map[string]any, results []map[string]any) {
	s.t.Helper()
	status, answer := s.do(http.MethodPost, path, body)
	require.Equal(s.t, 200, status, "%v", answer)
	for _, r := range answer["results"].([]any) {
		results = append(results, r.(map[string]any))
	}
	require.EqualValues(s.t, len(results), answer["count"])
	return answer, results
}

func TestASearchByMeaningAnswersAsTheContractSays(t *testing.T) {
	s := serve(t)
	answer, results := s.ask("/_vector/ads/search", `{"query":"buy vehicle","k":2}`)
	require.Len(t, results, 2)
	require.Equal(t, "ads", results[0]["topic"])
	for _, name := range []string{"partition", "offset", "timestamp", "score", "distance", "text_preview"} {
		require.Contains(t, results[0], name)
	}
	for _, name := range []string{"key", "value", "embedding"} {
		require.NotContains(t, results[0], name)
	}
	require.InDelta(t, 1-results[0]["distance"].(float64)/2, results[0]["score"], 1e-6)
	require.EqualValues(t, 7, answer["total_vectors"])
	require.EqualValues(t, 2, answer["total_results"])
	for _, name := range []string{"query_embedding_time_ms", "search_time_ms", "execution_time_ms"} {
		require.GreaterOrEqual(t, answer[name], 0.0)
	}
	require.EqualValues(t, 2, answer["coverage"].(map[string]any)["ads"].(map[string]any)["lag_records"])
	require.NotContains(t, answer, "warnings")

	_, results = s.ask("/_vector/ads/search", `{"query":"a blue automobile <3","k":1,"include_value":true,"include_embedding":true}`)
	require.Equal(t, "a blue automobile <3", results[0]["value"])
	require.Contains(t, results[0], "key")
	require.Nil(t, results[0]["key"])
	require.Len(t, results[0]["embedding"], hybridtest.Dimensions)
}

func TestKnobsAndFiltersReachTheSearch(t *testing.T) {
	s := serve(t)
	s.ask("/_vector/ads/search", `{"query":"car","k":1000,"ef_search":300,"nprobe":7,"recall_target":0.99,"freshness":"latest","timeout_secs":2.5,
		"filters":{"partitions":[1,0],"min_offset":1,"max_offset":3,"min_timestamp":"2026-11-23T12:00:01Z","max_timestamp":1795435203000}}`)
	s.ask("/_vector/ads/search", `{"query":"car","partitions":[1],"min_offset":2,"max_offset":9,"min_timestamp":5,"filters":{"partitions":[0],"min_offset":0}}`)
	s.ask("/_vector/ads/search", `{"query":"car","filters":null,"k":null,"partitions":null}`)
	at := func(v int64) *int64 { return &v }
	require.Equal(t, []vector.Request{
		{
			Topic: "ads", Text: "car", K: 1000, Ef: 300, Probes: 7, Recall: 0.99, Freshness: "latest", Timeout: 2500 * time.Millisecond,
			Filter: vector.Filter{
				Partitions: []int32{1, 0}, MinOffset: at(1), MaxOffset: at(3),
				MinTimestamp: at(hybridtest.Began.Add(time.Second).UnixMilli()), MaxTimestamp: at(1795435203000),
			},
		},
		{Topic: "ads", Text: "car", K: 10, Timeout: time.Minute, Filter: vector.Filter{Partitions: []int32{0}, MinOffset: at(0), MaxOffset: at(9), MinTimestamp: at(5)}},
		{Topic: "ads", Text: "car", K: 10, Timeout: time.Minute},
	}, s.Requests)
}

func TestASearchByVectorTakesTheTopicsDimensionsOnly(t *testing.T) {
	s := serve(t)
	text, err := json.Marshal(hybridtest.Embed("purchase an automobile"))
	require.NoError(t, err)
	_, results := s.ask("/_vector/ads/search_by_vector", `{"k":1,"vector":`+string(text)+`}`)
	require.EqualValues(t, 2, results[0]["offset"])
	require.InDelta(t, 0, results[0]["distance"], 1e-6)
	for body, want := range map[string]string{
		`{}`:                  "vector is required",
		`{"vector":[]}`:       "vector is required",
		`{"vector":[1,2]}`:    "has 2 numbers",
		`{"vector":[1,null]}`: "null is no number",
		`{"vector":[` + strings.Repeat("1,", 100_000) + `1]}`: "an array has 100001 numbers",
		`{"vector":[1,"2"]}`:          "not string",
		`{"vector":[1,NaN]}`:          "invalid character 'N'",
		`{"vector":[1,1e39]}`:         "1e39",
		`{"vector":[1],"query":"x"}`:  `unknown field "query"`,
		`{"vector":{"a":1}}`:          "not object",
		`{"vector":[1],"k":1} trail`:  "more than one JSON value",
		`{"vector":[1],"k":[]}`:       "k has to be an integer",
		`{"vector":[1],"filter":{}}`:  `unknown field "filter"`,
		`{"vector":[1],"filters":[]}`: "filters has to be an object",
	} {
		status, answer := s.do("POST", "/_vector/ads/search_by_vector", body)
		require.Equal(t, 400, status, body)
		require.Equal(t, "INVALID_REQUEST", answer["error_code"], body)
		require.Contains(t, answer["error"], want, body)
	}
}

func TestWhatCannotBeMeantIsRefusedByName(t *testing.T) {
	s := serve(t)
	search, hybrid := "/_vector/ads/search", "/_vector/ads/hybrid"
	for _, refused := range []struct{ path, members, want string }{
		{search, `"query":" "`, "query is required"},
		{search, `"query":"a","k":0`, "k is 0, it must lie in 1..1000"},
		{search, `"query":"a","k":1001`, "k is 1001"},
		{search, `"query":"a","filters":{"partition":1}`, `unknown field "partition"`},
		{search, `"query":"a","filters":{"partitions":[]}`, "partitions is empty"},
		{search, `"query":"a","partitions":[-1]`, "partitions has -1"},
		{search, `"query":"a","partitions":[null]`, "null is no number"},
		{search, `"query":"a","min_offset":3,"filters":{"max_offset":2}`, "min_offset 3 is above max_offset 2"},
		{search, `"query":"a","min_timestamp":"2026-11-23T12:00:01Z","max_timestamp":1`, "the range of timestamps ends before it begins"},
		{search, `"query":"a","min_timestamp":"yesterday"`, `"yesterday" is no time`},
		{search, `"query":"a","max_timestamp":1.5`, "1.5 is no time"},
		{search, `"query":"a","ef_search":0`, "ef_search is 0"},
		{search, `"query":"a","nprobe":1000000`, "nprobe is 1000000"},
		{search, `"query":"a","recall_target":1.01`, "recall_target is 1.01"},
		{search, `"query":"a","recall_target":0`, "recall_target is 0"},
		{search, `"query":"a","freshness":"new"`, `freshness is "new"`},
		{search, `"query":"a","timeout_secs":0`, "timeout_secs is 0"},
		{search, `"query":"a","include_value":"yes"`, "include_value has to be true or false"},
		{search, `"query":"a","rrf_k":60`, `unknown field "rrf_k"`},
		{hybrid, `"k":1`, "query is required"},
		{hybrid, `"text_query":"a"`, "vector_query is required"},
		{hybrid, `"vector_query":"a"`, "text_query is required"},
		{hybrid, `"query":"a","text_query":"b","vector_query":"c"`, "query stands for both sides"},
		{hybrid, `"query":"a","vector_weight":-1`, "vector_weight is -1"},
		{hybrid, `"query":"a","text_weight":1e7`, "text_weight is 1e+07"},
		{hybrid, `"query":"a","vector_weight":0,"text_weight":0`, "both 0"},
		{hybrid, `"query":"a","rrf_k":-1`, "rrf_k is -1"},
		{hybrid, `"query":"a","fusion":"sum"`, `fusion is "sum", it must be rrf or weighted`},
		{hybrid, `"query":"a","fusion":"weighted","rrf_k":1`, "rrf_k has no meaning"},
		{hybrid, `"query":"a","allow_partial":1`, "allow_partial has to be true or false"},
		{hybrid, `"query":"a","vector":[1]`, `unknown field "vector"`},
	} {
		status, answer := s.do("POST", refused.path, "{"+refused.members+"}")
		require.Equal(t, 400, status, refused.members)
		require.Equal(t, "INVALID_REQUEST", answer["error_code"], refused.members)
		require.Contains(t, answer["error"], refused.want, refused.members)
	}
	require.Empty(t, s.Requests)
	require.Empty(t, s.Texts)
}

func TestAHybridAnswerShowsBothSides(t *testing.T) {
	s := serve(t)
	answer, results := s.ask("/_vector/ads/hybrid", `{"query":"buy car","k":5,"include_value":true}`)
	require.Equal(t, "rrf", answer["fusion_method"])
	require.EqualValues(t, 7, answer["vector_results_count"])
	require.EqualValues(t, 3, answer["text_results_count"])
	require.EqualValues(t, 7, answer["total_results"])
	require.Len(t, results, 5)
	first := results[0]
	require.Equal(t, "buy a car", first["value"])
	require.EqualValues(t, 1, first["text_rank"])
	require.InDelta(t, 0.5/61+0.5/(60+first["vector_rank"].(float64)), first["score"], 1e-12)
	var meant map[string]any // has none of the words
	for _, r := range results {
		if r["text_preview"] == "bought: one vehicle" {
			meant = r
		}
	}
	require.NotNil(t, meant)
	require.Nil(t, meant["text_rank"])
	require.Nil(t, meant["text_score"])
	require.NotNil(t, meant["vector_rank"])
	require.NotNil(t, meant["distance"])

	_, results = s.ask("/_vector/ads/hybrid", `{"text_query":"bread","vector_query":"automobile","k":1,"vector_weight":0.1,"text_weight":0.9,"fusion":"weighted","include_embedding":true}`)
	require.Equal(t, "buy bread", results[0]["text_preview"])
	_, results = s.ask("/_vector/ads/hybrid", `{"text_query":"bread","vector_query":"automobile","k":1,"vector_weight":0.9,"text_weight":0.1,"rrf_k":0}`)
	require.Contains(t, []any{"car", "purchase an automobile"}, results[0]["text_preview"])

	s.Fail = func(_ context.Context, side string) error {
		if side == "vector" {
			return &vector.ProviderError{Topic: "ads", Temporary: true, RetryAfter: 1500 * time.Millisecond, Err: errors.New("429")}
		}
		return nil
	}
	status, failed := s.do("POST", "/_vector/ads/hybrid", `{"query":"car"}`)
	require.Equal(t, 502, status)
	require.Equal(t, "EMBEDDING_ERROR", failed["error_code"])
	require.Equal(t, map[string]any{"topic": "ads", "temporary": true, "retry_after_secs": 2.0}, failed["details"])
	answer, results = s.ask("/_vector/ads/hybrid", `{"query":"car","allow_partial":true}`)
	require.Contains(t, fmt.Sprint(answer["warnings"]), "the vector side failed")
	require.NotEmpty(t, results)
	require.Equal(t, semantic.Counts{Hybrid: 5, Partial: 1}, s.surface.Counts())
}

func TestErrorsOfASearchHaveTheirStatus(t *testing.T) {
	s := serve(t)
	for _, failed := range []struct {
		topic, path, code string
		status            int
	}{
		{"gone", "search", "TOPIC_NOT_FOUND", 404},
		{"gone", "hybrid", "TOPIC_NOT_FOUND", 404},
		{"plain", "search", "FEATURE_DISABLED", 400},
		{"plain", "hybrid", "FEATURE_DISABLED", 400},
		{"a b/c", "hybrid", "FEATURE_DISABLED", 400}, // it has vectors, and no words
	} {
		status, answer := s.do("POST", "/_vector/"+url.PathEscape(failed.topic)+"/"+failed.path, `{"query":"one"}`)
		require.Equal(t, failed.status, status, "%s: %v", failed.topic, answer)
		require.Equal(t, failed.code, answer["error_code"])
		require.Contains(t, answer["error"], failed.topic)
	}
	_, results := s.ask("/_vector/"+url.PathEscape("a b/c")+"/search", `{"query":"one"}`)
	require.Len(t, results, 1)
	s.Fail = func(context.Context, string) error {
		return &vector.UnavailableError{Topic: "ads", Err: errors.New("refused")}
	}
	status, answer := s.do("POST", "/_vector/ads/search", `{"query":"one"}`)
	require.Equal(t, 503, status)
	require.Equal(t, "UNAVAILABLE", answer["error_code"])
	s.Fail = func(context.Context, string) error { return &vector.TooLargeError{BytesMax: 10} }
	status, answer = s.do("POST", "/_vector/ads/search", `{"query":"one","include_value":true}`)
	require.Equal(t, 413, status)
	require.Equal(t, "TOO_LARGE", answer["error_code"])
	s.Fail = func(context.Context, string) error { return fmt.Errorf("wait: %w", context.DeadlineExceeded) }
	status, answer = s.do("POST", "/_vector/ads/search", `{"query":"one","timeout_secs":1.5}`)
	require.Equal(t, 504, status)
	require.Contains(t, answer["error"], "not done within 1.5s")
}

func TestStatsAndTopicsShowWhatThereIs(t *testing.T) {
	s := serve(t)
	*s.stats = vector.Stats{
		Topic: "ads", Vectors: 7, Dimensions: 64, IndexType: "hnsw", Metric: "cosine", Provider: "external", Model: "words", Quantization: "f32",
		Backend: "native", Shards: 3, Bytes: 1000, LagRecords: 2, RecallTarget: 0.95,
		Partitions: []vector.PartitionStats{{Partition: 0, Vectors: 4, LastOffset: 3, Shards: 2}, {Partition: 1, Vectors: 3, LastOffset: -1, Shards: 1}},
	}
	status, answer := s.do("GET", "/_vector/ads/stats", "")
	require.Equal(t, 200, status)
	text, err := json.Marshal(answer)
	require.NoError(t, err)
	require.JSONEq(t, `{"topic":"ads","total_vectors":7,"dimensions":64,"index_type":"hnsw","distance_metric":"cosine","embedding_provider":"external",
		"embedding_model":"words","quantization":"f32","index_backend":"native","partition_count":2,"shards":3,"bytes":1000,"lag_records":2,
		"vectors_of_other_models":0,"recall_target":0.95,"recall_at_10":null,"recall_measured_on":0,
		"partitions":[{"partition":0,"vector_count":4,"last_offset":3,"shards":2},{"partition":1,"vector_count":3,"last_offset":-1,"shards":1}]}`, string(text))
	s.stats.RecallAt10, s.stats.RecallRecords = 0.97, 5
	_, answer = s.do("GET", "/_vector/ads/stats", "")
	require.Equal(t, 0.97, answer["recall_at_10"])
	status, answer = s.do("GET", "/_vector/gone/stats", "")
	require.Equal(t, 404, status)
	require.Equal(t, "TOPIC_NOT_FOUND", answer["error_code"])

	_, answer = s.do("GET", "/_vector/topics", "")
	require.Equal(t, map[string]any{"count": 1.0, "topics": []any{
		map[string]any{"name": "ads", "vectors": 7.0, "dimensions": 64.0, "provider": "external", "model": "words"},
	}}, answer)
	_, results := s.ask("/_vector/topics/search", `{"query":"one"}`) // a topic of that name
	require.Len(t, results, 1)
}

func TestAdministratorsAloneRebuildAndDrop(t *testing.T) {
	s := serve(t)
	s.refuse = envelope.New(http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized", "missing X-API-Key header")
	status, _ := s.do("POST", "/_vector/ads/backfill", "")
	require.Equal(t, 401, status)
	status, _ = s.do("DELETE", "/_vector/ads/index", "")
	require.Equal(t, 401, status)
	require.Empty(t, s.indexes)

	s.refuse = nil
	for _, call := range [][3]string{{"POST", "/_vector/ads/backfill", ""}, {"POST", "/_vector/ads/backfill", `{"partition":1}`}, {"DELETE", "/_vector/ads/index", ""}} {
		status, answer := s.do(call[0], call[1], call[2])
		require.Equal(t, 200, status, "%v", answer)
		require.Equal(t, true, answer["success"])
	}
	require.Equal(t, []string{"rebuild ads []", "rebuild ads [1]", "drop ads"}, s.indexes)
	status, answer := s.do("POST", "/_vector/ads/backfill", `{"partitions":[1]}`)
	require.Equal(t, 400, status)
	require.Contains(t, answer["error"], `unknown field "partitions"`)
}
