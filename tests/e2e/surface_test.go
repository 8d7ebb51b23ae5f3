package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
)

// surface is what is served over HTTP, in the order in which it is asked: a request,
// its status, and members that the answer has. Programs depend on all of them.
var surface = []struct {
	method, path, body string
	status             int
	members            string // with dots for those within
}{
	{"GET", "/health", "", 200, "status version role sql_enabled vector_enabled search_enabled admin_enabled"},
	{"GET", "/health/live", "", 200, "status"},
	{"GET", "/health/ready", "", 200, "status"},
	{"GET", "/metrics", "", 200, ""},

	{"POST", "/_sql", `{"query":"SELECT * FROM notes","limit":10,"timeout_secs":30,"row_format":"array","binary_format":"base64","parameters":[],"freshness":"latest"}`, 200,
		"columns column_types rows row_count execution_time_ms truncated coverage.notes.partitions.0.from coverage.notes.partitions.0.to coverage.notes.partitions.0.high_watermark coverage.notes.lag_records stats.files_total stats.files_pruned stats.bytes_read stats.rows_scanned"},
	{"POST", "/_sql", `{"query":"SELECT * FROM nosuch"}`, 404, "error error_code error_type details"},
	{"POST", "/_sql", `{"query":"SELECT 1","filters":{}}`, 400, "error error_code error_type details"},
	{"POST", "/_sql/explain", `{"query":"SELECT * FROM notes","analyze":true}`, 200, "plan logical_plan physical_plan estimated_rows files"},
	{"GET", "/_sql/tables", "", 200, "tables.0.name tables.0.topic tables.0.table_type tables.0.rows tables.0.files tables.0.bytes tables.0.columns"},
	{"GET", "/_sql/describe/notes", "", 200, "table columns.0.name columns.0.data_type columns.0.nullable schema.0.name schema.0.type schema.0.nullable"},
	{"POST", "/_arrow/query", `{"query":"SELECT 1"}`, 200, ""},

	{"POST", "/_vector/notes/search", `{"query":"a late parcel","k":2,"include_value":true,"include_embedding":true,"freshness":"available","filters":{"partitions":[0],"min_offset":0}}`, 200,
		"results.0.topic results.0.partition results.0.offset results.0.timestamp results.0.score results.0.distance results.0.text_preview results.0.value results.0.embedding.0 count total_results total_vectors query_embedding_time_ms search_time_ms execution_time_ms coverage.notes.lag_records"},
	{"POST", "/_vector/notes/search_by_vector", `{"vector":[1,0,0,0]}`, 200, "results.0.score count"},
	{"POST", "/_vector/notes/search_by_vector", `{"vector":[1]}`, 400, "error error_code"},
	{"POST", "/_vector/notes/hybrid", `{"query":"a late parcel","vector_weight":0.5,"text_weight":0.5,"rrf_k":60,"fusion":"rrf","allow_partial":false}`, 200,
		"results.0.vector_rank results.0.text_rank results.0.vector_score results.0.text_score fusion_method vector_results_count text_results_count"},
	{"GET", "/_vector/notes/stats", "", 200,
		"topic total_vectors dimensions index_type distance_metric embedding_provider embedding_model partition_count shards bytes partitions.0.partition partitions.0.vector_count partitions.0.last_offset"},
	{"GET", "/_vector/topics", "", 200, "topics.0.name topics.0.vectors topics.0.dimensions topics.0.provider count"},

	{"GET", "/", "", 200, "name cluster_name version.number tagline"},
	{"POST", "/_search", `{"query":{"match":{"text":"parcel"}},"aggs":{"n":{"value_count":{"field":"n"}}},"freshness":"latest"}`, 200,
		"took timed_out _shards.total _shards.successful _shards.skipped _shards.failed hits.total.value hits.total.relation hits.max_score hits.hits.0._index hits.hits.0._id hits.hits.0._score hits.hits.0._source._offset aggregations.n.value coverage.notes.lag_records"},
	{"GET", "/notes/_search?q=parcel", "", 200, "hits.hits.0._id"},
	{"POST", "/notes/_search", `{"query":{"nosuch":{}}}`, 400, "error.root_cause.0.type error.type error.reason status"},
	{"POST", "/nosuch/_search", ``, 404, "error.root_cause.0.type error.type error.reason status"},
	{"POST", "/notes/_count", "", 200, "count _shards.total"},
	{"POST", "/_msearch", "{\"index\":\"notes\"}\n{}\n", 200, "responses.0.hits.hits.0._id"},
	{"GET", "/notes/_doc/notes-0-0", "", 200, "found _source.text"},
	{"DELETE", "/notes/_doc/notes-0-0", "", 405, "error.reason"},
	{"GET", "/notes/_mapping", "", 200, "notes.mappings.properties.text.type"},
	{"GET", "/_cat/indices?format=json", "", 200, "0.index"},
	{"GET", "/_cat/health?format=json", "", 200, "0.status"},
	{"GET", "/_cluster/health", "", 200, "cluster_name status"},
	{"PUT", "/made", `{"mappings":{"properties":{"where":{"type":"geo_point"}}}}`, 200, "acknowledged index"},
	{"PUT", "/made", "", 400, "error.type"},
	{"POST", "/made/_doc", `{"a":1}`, 201, "_id result"},
	{"POST", "/_bulk", "{\"index\":{\"_index\":\"made\"}}\n{\"a\":2}\n", 200, "errors items.0.index._id"},
	{"DELETE", "/made", "", 200, "acknowledged"},

	{"POST", "/_query", `{"sources":[{"topic":"notes","modes":["text","vector","sql","fetch"]}],"q":{"text":"parcel","semantic":"late","sql":"SELECT * FROM notes","fetch":{"offset":0,"partition":0,"max_bytes":1000}},"filters":{"partitions":[0]},"k":5,"rank":{"profile":"default"},"timeout_ms":30000,"result_format":"grouped"}`, 200,
		"query_id results.0.topic results.0.partition results.0.offset results.0.final_score results.0.features.rrf_score grouped_results stats.candidates stats.ranked stats.latency_ms stats.backends.0.backend stats.backends.0.topic stats.backends.0.candidates stats.backends.0.latency_ms stats.backends.0.timed_out"},
	{"GET", "/_query/capabilities", "", 200, "0.topic"},
	{"GET", "/_query/profiles", "", 200, "0.name"},

	{"GET", "/admin/health", "", 200, "status node_id role is_leader cluster_nodes"},
	{"GET", "/admin/status", "", 200,
		"nodes.0.node_id nodes.0.role nodes.0.address nodes.0.rack nodes.0.started_at partitions.0.topic partitions.0.partition partitions.0.leader partitions.0.leader_epoch partitions.0.log_start_offset partitions.0.high_watermark partitions.0.flushed_offset partitions.0.columnar_offset partitions.0.text_offset partitions.0.vector_offset brokers_draining"},
	{"POST", "/admin/rebalance", "", 200, "success message"},
	{"POST", "/admin/add-node", "{}", 200, "success message"},
	{"POST", "/admin/remove-node", `{"node_id":99}`, 400, "success error error_code"},
	{"POST", "/admin/drain", `{"node_id":99}`, 400, "success error error_code"},
	{"POST", "/admin/topics", `{"name":"more","partitions":2,"config":{"retention.ms":"1000"}}`, 200, "success"},
	{"POST", "/topics", `{"name":"more"}`, 400, "success error error_code"},
	{"GET", "/admin/topics", "", 200, "topics.0.name count"},
	{"GET", "/admin/topics/more", "", 200, "name partitions config"},
	{"PATCH", "/admin/topics/more", `{"partitions":3}`, 200, "success"},
	{"DELETE", "/admin/topics/more", "", 200, "success"},
	{"GET", "/admin/groups", "", 200, "groups count"},
	{"GET", "/admin/groups/nosuch", "", 404, "error error_code"},
	{"GET", "/admin/nosuch", "", 404, "error error_code"},

	{"GET", "/iceberg/v1/config", "", 200, "defaults overrides"},
	{"GET", "/iceberg/v1/namespaces", "", 200, "namespaces.0"},
	{"GET", "/iceberg/v1/namespaces/chronik", "", 200, "namespace"},
	{"GET", "/iceberg/v1/namespaces/chronik/tables", "", 200, "identifiers.0.name"},
	{"GET", "/iceberg/v1/namespaces/chronik/tables/notes", "", 200, "metadata.format-version"},
	{"POST", "/iceberg/v1/namespaces/chronik/tables/notes/metrics", "{}", 204, ""},

	{"POST", "/_vector/notes/backfill", `{"partition":0}`, 200, ""},
	{"DELETE", "/_vector/notes/index", "", 200, ""},
}

func TestTheHTTPSurfaceIsWhatProgramsKnow(t *testing.T) {
	provider, err := embeddertest.Start(embeddertest.Options{Dimensions: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	c := start(t)
	c.must("", "topic", "create", "notes", "--config", "columnar.enabled=true", "--config", "searchable=true", "--config", "vector.enabled=true", "--config", "vector.field=$.text",
		"--config", "vector.embedding.provider=external", "--config", "vector.embedding.dimensions=4", "--config", "vector.embedding.endpoint="+provider.External())
	c.must(`{"text":"a late parcel","n":1}`+"\n"+`{"text":"thanks for the refund","n":2}`+"\n", "produce", "notes")
	c.vectorsReach("notes", 2)
	for _, s := range surface {
		request, err := http.NewRequestWithContext(t.Context(), s.method, "http://"+c.http+s.path, strings.NewReader(s.body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := httpClient.Do(request)
		if err != nil {
			t.Fatalf("%s %s: %v", s.method, s.path, err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != s.status || response.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s %s: %v, %d %v %s; want %d", s.method, s.path, err, response.StatusCode, response.Header, text, s.status)
			continue
		}
		if s.members == "" {
			continue
		}
		var answer any
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Errorf("%s %s: %v in %s", s.method, s.path, err, text)
		}
		for member := range strings.FieldsSeq(s.members) {
			if !has(answer, strings.Split(member, ".")) {
				t.Errorf("%s %s: no %s in %s", s.method, s.path, member, text)
			}
		}
	}
}

// has tells whether a JSON value has a member, whose path may lead through arrays.
func has(value any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch v := value.(type) {
	case map[string]any:
		// Names of members may have dots.
		for n := len(path); n > 0; n-- {
			if within, ok := v[strings.Join(path[:n], ".")]; ok {
				return has(within, path[n:])
			}
		}
	case []any:
		if at, err := strconv.Atoi(path[0]); err == nil && at < len(v) {
			return has(v[at], path[1:])
		}
	}
	return false
}
