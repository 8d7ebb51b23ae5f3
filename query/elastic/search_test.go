package elastic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/elastic"
)

func ids(t testing.TB, text string) string {
	t.Helper()
	var a struct {
		Hits struct {
			Hits []struct {
				ID string `json:"_id"`
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &a), text)
	all := []string{}
	for _, h := range a.Hits.Hits {
		all = append(all, h.ID)
	}
	return strings.Join(all, " ")
}

func TestASearchAnswersAsElasticsearchDoes(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"msg":"the quick fox","n":1, "deep": {"a": 1,"b":[{"c":2,"d":3}]},"_id":"mine"}`, `{"msg":"a lazy dog","n":2}`, `quick text`, `{"msg":"quick quick","n":4}`)
	text := s.ok("POST", "/logs/_search", `{"query":{"match":{"_all":"quick"}},"sort":[{"_offset":"asc"}],"track_scores":true,"highlight":{"fields":{"msg":{}}}}`)
	require.Equal(t, "logs-0-0 logs-0-2 logs-0-3", ids(t, text))
	require.Equal(t, `{"relation":"eq","value":3}`, at(t, text, "hits", "total"))
	require.Equal(t, `{"failed":0,"skipped":0,"successful":1,"total":1}`, at(t, text, "_shards"))
	require.Equal(t, `false`, at(t, text, "timed_out"))
	require.Equal(t, `{"logs":{"lag_records":0,"partitions":{"0":{"from":0,"high_watermark":4,"to":4}}}}`, at(t, text, "coverage"))
	require.Contains(t, text, `"_source":{"msg":"the quick fox","n":1,"deep":{"a":1,"b":[{"c":2,"d":3}]},"json__id":"mine",`+
		`"_topic":"logs","_partition":0,"_offset":0,"_timestamp":1795435200000,"_key":null}`)
	require.Equal(t, `[0]`, at(t, text, "hits", "hits", 0, "sort"))
	require.Contains(t, text, `"highlight":{"msg":["the <em>quick</em> fox"]}`)
	require.Equal(t, `"quick text"`, at(t, text, "hits", "hits", 1, "_source", "_value"))
	require.Equal(t, `"k3"`, at(t, text, "hits", "hits", 2, "_source", "_key"))
	require.NotEqual(t, "null", at(t, text, "hits", "hits", 2, "_score"))
}

func TestASearchShowsWhatOfTheSourceIsWanted(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"a":{"b":{"c":1,"d":2},"e":[{"f":1,"g":2},{"g":3}]},"h":"x"}`)
	for source, want := range map[string]string{
		`false`:                           ``,
		`["h"]`:                           `{"h":"x"}`,
		`["a.b.c","_offset"]`:             `{"a":{"b":{"c":1}},"_offset":0}`,
		`"a.b"`:                           `{"a":{"b":{"c":1,"d":2}}}`,
		`{"includes":["a.e.g"]}`:          `{"a":{"e":[{"g":2},{"g":3}]}}`,
		`{"excludes":["a.e","_*"]}`:       `{"a":{"b":{"c":1,"d":2}},"h":"x"}`,
		`{"excludes":["*.g","_*","h"]}`:   `{"a":{"b":{"c":1,"d":2},"e":[{"f":1},{}]}}`,
		`{"includes":["nothing","_top"]}`: `{}`,
	} {
		text := s.ok("POST", "/logs/_search", `{"_source":`+source+`}`)
		if want == "" {
			require.NotContains(t, text, "_source")
			continue
		}
		require.Contains(t, text, `"_source":`+want+`}`, source)
	}
	text := s.ok("GET", "/logs/_search?_source_includes=h&q=h:x", "")
	require.Contains(t, text, `"_source":{"h":"x"}}`)
}

func TestAggregationsAreShownAsElasticsearchDoes(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"k":"a","n":1,"at":"2026-11-01T00:00:00Z"}`, `{"k":"b","n":5,"at":"2026-11-01T10:00:00Z"}`, `{"k":"a","n":2.5,"at":"2026-11-03T00:00:00Z"}`)
	ask := func(path, aggs string) string {
		return at(t, s.ok("POST", path, `{"size":0,"aggs":`+aggs+`}`), "aggregations")
	}
	for aggs, want := range map[string]string{
		`{"x":{"terms":{"field":"k"},"aggs":{"m":{"avg":{"field":"n"}}}}}`: `{"x":{"buckets":[{"doc_count":2,"key":"a","m":{"value":1.75}},{"doc_count":1,"key":"b","m":{"value":5.0}}],"doc_count_error_upper_bound":0,"sum_other_doc_count":0}}`,
		`{"x":{"date_histogram":{"field":"at","calendar_interval":"day","min_doc_count":0}}}`: `{"x":{"buckets":[{"doc_count":2,"key":1793491200000,"key_as_string":"2026-11-01T00:00:00.000Z"},` +
			`{"doc_count":0,"key":1793577600000,"key_as_string":"2026-11-02T00:00:00.000Z"},{"doc_count":1,"key":1793664000000,"key_as_string":"2026-11-03T00:00:00.000Z"}]}}`,
		`{"x":{"histogram":{"field":"n","interval":2,"min_doc_count":1,"keyed":true}}}`:   `{"x":{"buckets":{"0.0":{"doc_count":1,"key":0.0},"2.0":{"doc_count":1,"key":2.0},"4.0":{"doc_count":1,"key":4.0}}}}`,
		`{"x":{"range":{"field":"n","ranges":[{"to":2},{"from":2,"key":"big"}]}}}`:        `{"x":{"buckets":[{"doc_count":1,"key":"*-2.0","to":2.0},{"doc_count":2,"from":2.0,"key":"big"}]}}`,
		`{"x":{"filter":{"term":{"k":"a"}},"aggs":{"s":{"sum":{"field":"n"}}}}}`:          `{"x":{"doc_count":2,"s":{"value":3.5}}}`,
		`{"x":{"filters":{"filters":{"one":{"term":{"k":"a"}},"two":{"match_all":{}}}}}}`: `{"x":{"buckets":{"one":{"doc_count":2},"two":{"doc_count":3}}}}`,
		`{"x":{"filters":{"filters":[{"term":{"k":"a"}}]}}}`:                              `{"x":{"buckets":[{"doc_count":2}]}}`,
		`{"x":{"stats":{"field":"n"}}}`:                                                   `{"x":{"avg":2.8333333333333335,"count":3,"max":5.0,"min":1.0,"sum":8.5}}`,
		`{"x":{"avg":{"field":"none"}}}`:                                                  `{"x":{"value":null}}`,
		`{"x":{"value_count":{"field":"k"}}}`:                                             `{"x":{"value":3}}`,
		`{"x":{"percentiles":{"field":"n","percents":[50],"keyed":false}}}`:               `{"x":{"values":[{"key":50.0,"value":2.5}]}}`,
		`{"x":{"percentiles":{"field":"none","percents":[50,99.9]}}}`:                     `{"x":{"values":{"50.0":null,"99.9":null}}}`,
	} {
		require.Equal(t, want, ask("/logs/_search", aggs), aggs)
	}
	typed := ask("/logs/_search?typed_keys=true", `{"x":{"terms":{"field":"k"},"aggs":{"m":{"max":{"field":"n"}}}},"y":{"cardinality":{"field":"k"}}}`)
	require.Equal(t, `2`, at(t, typed, "cardinality#y", "value"))
	require.Equal(t, `2.5`, at(t, typed, "sterms#x", "buckets", 0, "max#m", "value"))
	top := ask("/logs/_search", `{"x":{"top_hits":{"size":1,"sort":[{"n":"desc"}],"_source":["k"]}}}`)
	require.Equal(t, `[{"_id":"logs-0-1","_index":"logs","_score":null,"_source":{"k":"b"},"sort":[5.0]}]`, at(t, top, "x", "hits", "hits"))
}

func TestTotalsAreCountedAsFarAsTheyAreWanted(t *testing.T) {
	s := serve(t)
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf(`{"w":"word","n":%d}`, i))
	}
	s.topic("logs", many...)
	require.Equal(t, `30`, at(t, s.ok("GET", "/logs/_search?rest_total_hits_as_int=true", ""), "hits", "total"))
	require.Equal(t, `-1`, at(t, s.ok("GET", "/logs/_search?rest_total_hits_as_int&track_total_hits=false", ""), "hits", "total"))
	require.NotContains(t, s.ok("GET", "/logs/_search?track_total_hits=false", ""), `"total":{"v`)
	kind, _ := s.refused(400, "GET", "/logs/_search?rest_total_hits_as_int=true&track_total_hits=5", "")
	require.Equal(t, "illegal_argument_exception", kind)
	require.Equal(t, `30`, at(t, s.ok("GET", "/logs/_count", ""), "count"))
	require.Equal(t, `1`, at(t, s.ok("POST", "/logs/_count", `{"query":{"term":{"n":7}}}`), "count"))
	require.Equal(t, `10`, at(t, s.ok("GET", "/logs/_count?q=n:%3C10", ""), "count"))
	require.Equal(t, `30`, at(t, s.ok("POST", "/_count?min_score=0.5", `{"query":{"match_all":{}}}`), "count"))
	s.refused(400, "POST", "/logs/_count", `{"size":3}`)
}

func TestIndexExpressionsChooseTopics(t *testing.T) {
	s := serve(t)
	for _, name := range []string{"app-1", "app-2", "web", ".own", "_own", "config"} {
		s.topic(name, `{"a":1}`)
	}
	require.NoError(t, s.CreateTopic(t.Context(), "app-plain", 1, nil))
	for path, want := range map[string]string{
		"/_search":                             "app-1 app-2 config web",
		"/_all/_search":                        "app-1 app-2 config web",
		"/*/_search":                           "app-1 app-2 config web",
		"/app-1/_search":                       "app-1",
		"/app-1,web/_search":                   "app-1 web",
		"/app-*/_search":                       "app-1 app-2",
		"/*,-app-*/_search":                    "config web",
		"/*,-app-1/_search":                    "app-2 config web",
		"/.*/_search":                          ".own",
		"/.own/_search":                        ".own",
		"/x*/_search":                          "",
		"/web,gone/_search?ignore_unavailable": "web",
		"/app-plain,web/_search?ignore_unavailable=true": "web",
		"/%61pp-1/_search": "app-1",
		"/web,/_search":    "web",
		"/config,/_search": "config",
		"/_own,/_search":   "_own",
	} {
		text := s.ok("POST", path, `{"sort":["_index"]}`)
		var got []string
		for _, id := range strings.Fields(ids(t, text)) {
			got = append(got, strings.TrimSuffix(id, "-0-0"))
		}
		require.Equal(t, want, strings.Join(got, " "), path)
	}
	for path, want := range map[string]string{
		"/gone/_search":                        "no such index [gone]",
		"/web,gone/_search":                    "no such index [gone]",
		"/x*/_search?allow_no_indices=false":   "no such index [x*]",
		"/app-*/_search?expand_wildcards=none": "no such index [app-*]",
	} {
		kind, reason := s.refused(404, "GET", path, "")
		require.Equal(t, "index_not_found_exception", kind, path)
		require.Equal(t, want, reason, path)
	}
	_, reason := s.refused(400, "GET", "/app-plain/_search", "")
	require.Contains(t, reason, "searchable=true")
}

func TestEveryParameterHasItsEffectOrIsRefusedByName(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"a":1}`)
	s.ok("POST", "/logs/_search?preference=_local&routing=x&request_cache=true&search_type=dfs_query_then_fetch&ignore_throttled=false&human&error_trace=false&batched_reduce_size=5", "")
	for query, named := range map[string]string{
		"scroll=1m": "scroll", "sizee=3": "sizee", "explain=true": "explain", "search_type=scan": "scan", "typed_keys=maybe": "typed_keys",
		"expand_wildcards=some": "some", "docvalue_fields=a": "docvalue_fields", "timeout=5": "timeout", "freshness=old": "freshness",
	} {
		_, reason := s.refused(400, "GET", "/logs/_search?"+query, "")
		require.Contains(t, reason, named, query)
	}
	_, reason := s.refused(400, "GET", "/logs/_search?typed_key=true", "")
	require.Contains(t, reason, `did you mean "typed_keys"`)
	_, reason = s.refused(400, "POST", "/logs/_search", `{"aggz":{}}`)
	require.Contains(t, reason, "aggz")

	s.ok("GET", "/logs/_search?freshness=available&timeout=2s", "")
	s.ok("POST", "/logs/_search", `{"freshness":"cold"}`)
	s.ok("POST", "/logs/_count", `{"freshness":"cold"}`)
	require.Equal(t, []string{"[logs] latest ann 0s", "[logs] available ann 2s", "[logs] cold ann 0s", "[logs] cold ann 0s"}, s.calls)
}

func TestErrorsHaveElasticsearchsShapes(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"a":1,"w":"word"}`)
	_, text, _ := s.ask("GET", "/gone/_search", "")
	require.Equal(t, `{"error":{"root_cause":[{"type":"index_not_found_exception","reason":"no such index [gone]","index":"gone","resource.type":"index_or_alias","resource.id":"gone","index_uuid":"_na_"}],`+
		`"type":"index_not_found_exception","reason":"no such index [gone]","index":"gone","resource.type":"index_or_alias","resource.id":"gone","index_uuid":"_na_"},"status":404}`, text)
	status, text, _ := s.ask("POST", "/logs/_search", "{\"query\":\n  {\"mach\":{}}}")
	require.Equal(t, 400, status)
	require.Equal(t, `"parsing_exception"`, at(t, text, "error", "type"))
	require.Equal(t, `2`, at(t, text, "error", "line"))
	status, text, _ = s.ask("POST", "/logs/_search", `{"query":{"range":{"a":{"gte":"never"}}}}`)
	require.Equal(t, 400, status)
	require.Equal(t, `"search_phase_execution_exception"`, at(t, text, "error", "type"))
	require.Equal(t, `"all shards failed"`, at(t, text, "error", "reason"))
	require.Equal(t, `"logs"`, at(t, text, "error", "failed_shards", 0, "index"))

	_, text, _ = s.ask("GET", "/logs/_search?q=a:[", "")
	require.Equal(t, `"search_phase_execution_exception"`, at(t, text, "error", "type"))
	require.Equal(t, `"query_shard_exception"`, at(t, text, "error", "root_cause", 0, "type"))

	s.fail = func(string) error { return context.DeadlineExceeded }
	kind, _ := s.refused(504, "GET", "/logs/_search", "")
	require.Equal(t, "timeout_exception", kind)
	s.fail = func(string) error { return elastic.ErrUnavailable }
	status, _, header := s.ask("GET", "/logs/_search", "")
	require.Equal(t, 503, status)
	require.Equal(t, "1", header.Get("Retry-After"))
	s.fail = func(string) error { return http.ErrBodyNotAllowed }
	kind, _ = s.refused(500, "GET", "/logs/_search", "")
	require.Equal(t, "exception", kind)
	s.fail = nil

	s.refused(405, "PATCH", "/logs/_search", "")
	s.refused(405, "PATCH", "/logs/_search/", "")
	require.Equal(t, s.ok("GET", "/logs/_count", ""), s.ok("GET", "/logs/_count/", ""))
	require.Equal(t, s.ok("GET", "/logs", ""), s.ok("GET", "/logs/", ""))
	_, reason := s.refused(400, "GET", "/logs/_field_caps/x", "")
	require.Contains(t, reason, "/logs/_field_caps/x")
	status, text, _ = s.ask("GET", "/config/_search", "")
	require.Equal(t, http.StatusTeapot, status, text)
	status, _, _ = s.ask("GET", "/_vector/_search", "")
	require.Equal(t, http.StatusTeapot, status)
}

func TestFilterPathKeepsWhatIsNamed(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"a":{"b":1,"c":[]},"n":2}`, `{"a":{"b":3}}`)
	for filter, want := range map[string]string{
		"hits.hits._id":                       `{"hits":{"hits":[{"_id":"logs-0-0"},{"_id":"logs-0-1"}]}}`,
		"hits.total.value,timed_out":          `{"timed_out":false,"hits":{"total":{"value":2}}}`,
		"**.b":                                `{"hits":{"hits":[{"_source":{"a":{"b":1}}},{"_source":{"a":{"b":3}}}]}}`,
		"hits.h*._source.a":                   `{"hits":{"hits":[{"_source":{"a":{"b":1,"c":[]}}},{"_source":{"a":{"b":3}}}]}}`,
		"_shards,-_shards.failed":             `{"_shards":{"total":1,"successful":1,"skipped":0}}`,
		"-took,-_shards,-coverage,-hits.hits": `{"timed_out":false,"hits":{"total":{"value":2,"relation":"eq"},"max_score":1.0}}`,
		"nothing":                             `{}`,
	} {
		require.Equal(t, want, s.ok("GET", "/logs/_search?filter_path="+strings.ReplaceAll(filter, "*", "%2A"), ""), filter)
	}
	require.Contains(t, s.ok("GET", "/logs/_search?pretty&filter_path=timed_out", ""), "{\n  \"timed_out\": false\n}\n")
}

func TestSeveralSearchesAreAnsweredEachAsIfAlone(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"a":1}`, `{"a":2}`)
	s.topic("web", `{"a":3}`)
	text := s.ok("POST", "/logs/_msearch?typed_keys=true", `{}
{"query":{"term":{"a":2}}}
{"index":["web"],"search_type":"query_then_fetch","ignore_unavailable":true,"freshness":"cold"}
{"aggs":{"m":{"max":{"field":"a"}}}}

{"size":0}
{"index":"gone"}
{}
{"index":"web"}
{"quary":{}}
{"indx":"web"}
{}
`)
	require.Equal(t, `"logs-0-1"`, at(t, text, "responses", 0, "hits", "hits", 0, "_id"))
	require.Equal(t, `200`, at(t, text, "responses", 0, "status"))
	require.Equal(t, `3.0`, at(t, text, "responses", 1, "aggregations", "max#m", "value"))
	require.Equal(t, `2`, at(t, text, "responses", 2, "hits", "total", "value"))
	require.Equal(t, `"index_not_found_exception"`, at(t, text, "responses", 3, "error", "type"))
	require.Equal(t, `404`, at(t, text, "responses", 3, "status"))
	require.Equal(t, `"parsing_exception"`, at(t, text, "responses", 4, "error", "type"))
	require.Contains(t, at(t, text, "responses", 5, "error", "reason"), "indx")
	require.Contains(t, s.calls, "[web] cold ann 0s")

	for _, body := range []string{"", "{}\n{}", "{}\n", "{}\n{}\n{}\n"} {
		s.refused(400, "POST", "/_msearch", body)
	}
}

func TestMediaTypesAreThoseOfTheClients(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"a":1}`)
	for accept, want := range map[string]string{
		"application/vnd.elasticsearch+json; compatible-with=9": "application/vnd.elasticsearch+json;compatible-with=9",
		"application/vnd.elasticsearch+json;compatible-with=8":  "application/vnd.elasticsearch+json;compatible-with=8",
		"application/json": "application/json",
		"*/*":              "application/json",
		"":                 "application/json",
		"application/vnd.elasticsearch+json; compatible-with=9,text/plain": "application/vnd.elasticsearch+json;compatible-with=9",
	} {
		status, text, header := s.ask("POST", "/logs/_search", "{}", "Accept", accept, "Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, 200, status, text)
		require.Equal(t, want, header.Get("Content-Type"), accept)
		status, _, header = s.ask("POST", "/gone/_search", "{}", "Accept", accept)
		require.Equal(t, 404, status)
		require.Equal(t, want, header.Get("Content-Type"), accept)
	}
	status, _, _ := s.ask("GET", "/logs/_search", "", "Accept", "application/vnd.elasticsearch+json;compatible-with=7")
	require.Equal(t, 400, status)
	status, _, _ = s.ask("POST", "/logs/_search", "{}", "Content-Type", "application/vnd.elasticsearch+json;compatible-with=7")
	require.Equal(t, 400, status)
	status, _, _ = s.ask("GET", "/logs/_search", "", "Accept", "application/cbor")
	require.Equal(t, 406, status)
}

// Of many ways through an answer none is gone twice: this would never end else.
func TestAFilterOfManyStars(t *testing.T) {
	s := serve(t)
	s.topic("logs", strings.Repeat(`{"a":`, 60)+"1"+strings.Repeat("}", 60))
	for _, filter := range []string{strings.Repeat("**.", 100) + "a", strings.Repeat("**.*.", 100) + "a", strings.Repeat("*.**.", 20) + "a"} {
		s.ok("GET", "/logs/_search?filter_path="+filter, "")
	}
	_, reason := s.refused(http.StatusBadRequest, "GET", "/logs/_search?filter_path="+strings.Repeat("**.", 1001), "")
	require.Contains(t, reason, "at most 1000")
}
