package elastic_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/elastic"
)

func TestADocumentIsARecord(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"n":0}`)
	text := s.ok("POST", "/logs/_doc?refresh=wait_for", " {\"n\": 1}\n")
	require.Equal(t, `{"_id":"logs-0-1","_index":"logs","_primary_term":1,"_seq_no":1,"_shards":{"failed":0,"successful":1,"total":1},"_version":1,"result":"created"}`, at(t, text))
	text = s.ok("GET", "/logs/_doc/logs-0-1", "")
	require.Equal(t, `true`, at(t, text, "found"))
	require.Equal(t, `1`, at(t, text, "_source", "n"))
	require.Equal(t, `1`, at(t, text, "_seq_no"))
	text = s.ok("GET", "/logs/_doc/logs-0-1?_source_includes=n", "")
	require.Contains(t, text, `"_source":{"n":1}}`)
	require.Equal(t, `{"n":1}`, s.ok("GET", "/logs/_source/logs-0-1?_source=n", ""))
	for _, id := range []string{"logs-0-2", "logs-1-0", "logs-00-1", "logs-0--1", "x", "web-0-1", "logs-0-99999999999999999999"} {
		status, text, _ := s.ask("GET", "/logs/_doc/"+id, "")
		require.Equal(t, 404, status, id)
		require.Equal(t, `false`, at(t, text, "found"))
	}
	kind, _ := s.refused(404, "GET", "/logs/_source/logs-0-2", "")
	require.Equal(t, "resource_not_found_exception", kind)
	kind, _ = s.refused(404, "GET", "/gone/_doc/gone-0-0", "")
	require.Equal(t, "index_not_found_exception", kind)
	status, _, _ := s.ask("HEAD", "/logs/_doc/logs-0-0", "")
	require.Equal(t, 200, status)
	s.topic("web", `{"n":0}`)
	_, reason := s.refused(400, "GET", "/logs,web/_doc/logs-0-0", "")
	require.Contains(t, reason, "[logs,web] are 2")
	s.topic("config", `{"n":0}`) // a name that is reserved
	require.Equal(t, `"config"`, at(t, s.ok("GET", "/config,/_doc/config-0-0", ""), "_index"))

	for _, r := range [][2]string{{"PUT", "/logs/_doc/7"}, {"POST", "/logs/_create/7"}, {"POST", "/logs/_update/7"}, {"DELETE", "/logs/_doc/logs-0-1"}, {"POST", "/logs/_delete_by_query"}} {
		s.refused(405, r[0], r[1], `{}`)
	}
	for _, body := range []string{"", "text", "[1]", `{"a":1}{"b":2}`, `{"a":}`} {
		s.refused(400, "POST", "/logs/_doc", body)
	}
	_, reason = s.refused(400, "POST", "/logs/_doc?pipeline=p", `{}`)
	require.Contains(t, reason, "pipeline")
	kind, _ = s.refused(404, "POST", "/gone/_doc", `{}`)
	require.Equal(t, "index_not_found_exception", kind)
}

func TestBulkOperationsSucceedAndFailEachByItself(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"n":0}`)
	s.topic("web")
	s.fail = func(what string) error {
		switch {
		case strings.Contains(what, "large"):
			return fmt.Errorf("%w: 9 bytes", elastic.ErrTooLarge)
		case strings.Contains(what, "lost"):
			return errors.New("the connection was cut")
		}
		return nil
	}
	text := s.ok("POST", "/logs/_bulk", `{"index":{}}
{"n":1}
{"create":{"_index":"web","routing":"k"}}
{"n":2}
{"index":{"_id":"mine"}}
{"n":3}
{"update":{"_id":"x","retry_on_conflict":3}}
{"doc":{}}
{"delete":{"_id":"x"}}
{"index":{"_index":"gone"}}
{"n":4}
{"index":{}}
not json
{"index":{}}
{"large":1}
{"index":{}}
{"lost":1}

{"index":{}}
{"n":5}
`)
	require.Equal(t, `true`, at(t, text, "errors"))
	var got []string
	var answer struct {
		Items []map[string]struct {
			ID     string `json:"_id"`
			Status int
			Error  struct{ Type string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &answer))
	for _, item := range answer.Items {
		for op, i := range item {
			got = append(got, fmt.Sprintf("%s %s %d %s", op, i.ID, i.Status, i.Error.Type))
		}
	}
	require.Equal(t, []string{
		"index logs-0-1 201 ", "create web-0-0 201 ", "index mine 400 illegal_argument_exception", "update x 405 illegal_argument_exception",
		"delete x 405 illegal_argument_exception", "index  404 index_not_found_exception", "index  400 document_parsing_exception",
		"index  413 illegal_argument_exception", "index  504 timeout_exception", "index logs-0-2 201 ",
	}, got)
	require.Contains(t, at(t, text, "items", 8, "index", "error", "reason"), "not known whether")
	require.Equal(t, `"k"`, at(t, s.ok("GET", "/web/_search", ""), "hits", "hits", 0, "_source", "_key"))
	require.Equal(t, `false`, at(t, s.ok("PUT", "/_bulk?routing=r", "{\"index\":{\"_index\":\"web\"}}\n{\"n\":6}\n"), "errors"))

	for body, named := range map[string]string{
		"":                                 "body is required",
		"{\"index\":{}}\n{}":               "newline",
		"{\"index\":{}}\n":                 "without a document",
		"{\"indx\":{}}\n{}\n":              "indx",
		"{\"index\":{\"parent\":1}}\n{}\n": "parent",
		"[]\n{}\n":                         "line [1]",
		"\n\n":                             "no requests",
		"{\"index\":{\"require_alias\":true}}\n{}\n": "require_alias",
	} {
		_, reason := s.refused(400, "POST", "/logs/_bulk", body)
		require.Contains(t, reason, named, body)
	}
}

func TestABodyMayBeCompressed(t *testing.T) {
	s := serve(t)
	s.topic("logs", `{"n":0}`)
	zip := func(text string) string {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return out.String()
	}
	status, text, _ := s.ask("POST", "/_bulk", zip("{\"index\":{\"_index\":\"logs\"}}\n{\"n\":1}\n"), "Content-Encoding", "gzip")
	require.Equal(t, 200, status, text)
	require.Equal(t, `false`, at(t, text, "errors"))
	status, _, _ = s.ask("POST", "/logs/_search", "plain", "Content-Encoding", "gzip")
	require.Equal(t, 400, status)
	status, _, _ = s.ask("POST", "/logs/_search", "plain", "Content-Encoding", "br")
	require.Equal(t, 415, status)
	// What is small compressed may be large.
	status, _, _ = s.ask("POST", "/logs/_search", zip(strings.Repeat(" ", 17<<20)), "Content-Encoding", "gzip")
	require.Equal(t, 413, status)
	status, _, _ = s.ask("POST", "/logs/_search", strings.Repeat(" ", 17<<20))
	require.Equal(t, 413, status)
	require.Equal(t, `1`, at(t, s.ok("GET", "/logs/_search?source=%7B%22query%22%3A%7B%22term%22%3A%7B%22n%22%3A1%7D%7D%7D&source_content_type=application/json", ""), "hits", "total", "value"))
}

func TestWritesBeyondTheBoundOfMemoryAreToBeTriedAgain(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{})
	s := serve(t, func(o *elastic.Options) { o.WriteBytesMax = 100 })
	s.topic("logs", `{"n":0}`)
	s.fail = func(what string) error {
		if strings.Contains(what, "slow") {
			close(held)
			<-hold
		}
		return nil
	}
	done := make(chan int)
	go func() {
		status, _, _ := s.ask("POST", "/logs/_doc", `{"slow":"`+strings.Repeat("x", 40)+`"}`)
		done <- status
	}()
	<-held
	kind, _ := s.refused(429, "POST", "/logs/_doc", `{"n":"`+strings.Repeat("x", 40)+`"}`)
	require.Equal(t, "es_rejected_execution_exception", kind)
	close(hold)
	require.Equal(t, 201, <-done)
	s.fail = nil
	s.ok("POST", "/logs/_doc", `{"n":"`+strings.Repeat("x", 90)+`"}`) // larger than the bound: alone
}

func TestAWriteCreatesItsTopicWhereTopicsAreCreatedByThemselves(t *testing.T) {
	s := serve(t, func(o *elastic.Options) { o.AutoCreate = true })
	s.ok("POST", "/fresh/_doc", `{"n":1}`)
	require.Equal(t, `1`, at(t, s.ok("GET", "/fresh/_count", ""), "count"))
	kind, _ := s.refused(400, "POST", "/-new/_doc", `{}`)
	require.Equal(t, "invalid_index_name_exception", kind)
}

func TestAnIndexIsASearchableTopic(t *testing.T) {
	s := serve(t)
	require.Equal(t, `{"acknowledged":true,"index":"logs","shards_acknowledged":true}`, at(t, s.ok("PUT", "/logs", "")))
	kind, _ := s.refused(400, "PUT", "/logs", "")
	require.Equal(t, "resource_already_exists_exception", kind)
	for body, config := range map[string]map[string]string{
		`{"settings":{"number_of_shards":3,"number_of_replicas":"1"}}`:                                                                     {"searchable": "true"},
		`{"settings":{"index":{"number_of_shards":"3"},"index.refresh_interval":"1s"},"aliases":{}}`:                                       {"searchable": "true"},
		`{"mappings":{"properties":{"t":{"type":"text","analyzer":"german","fields":{"keyword":{"type":"keyword","ignore_above":256}}}}}}`: {"searchable": "true", "search.analyzer": "de"},
		`{"mappings":{"dynamic":true,"properties":{"k":{"type":"keyword"},"a":{"properties":{"n":{"type":"integer"},"p":{"type":"geo_point"}}},"d":{"type":"date","format":"strict_date_optional_time||epoch_millis"}}}}`: {
			"searchable": "true", "search.mapping": `{"a.n":"long","a.p":"geo_point","d":"date","k":"keyword"}`},
		`{"mappings":{"dynamic":"false","properties":{"k":{"type":"text","fields":{"keyword":{"type":"keyword"}}},"a":{"type":"object","properties":{"n":{"type":"float"}}}}}}`: {
			"searchable": "true", "search.fields": "a.n,k", "search.mapping": `{"a.n":"double"}`},
	} {
		s.ok("PUT", "/made", body)
		require.Equal(t, config, s.topics["made"].config, body)
		if strings.Contains(body, "shards") {
			require.Equal(t, 3, s.topics["made"].Partitions)
		}
		s.ok("DELETE", "/made", "")
	}
	for body, named := range map[string]string{
		`[]`:                                              "the body",
		`{"mapping":{}}`:                                  "mapping",
		`{"aliases":{"x":{}}}`:                            "aliases",
		`{"settings":{"number_of_shards":0}}`:             "number_of_shards",
		`{"settings":{"analysis":{}}}`:                    "analysis",
		`{"mappings":{"dynamic":"strict"}}`:               "dynamic",
		`{"mappings":{"dynamic":false}}`:                  "dynamic",
		`{"mappings":{"runtime":{}}}`:                     "runtime",
		`{"mappings":{"_source":{"enabled":false}}}`:      "_source",
		`{"mappings":{"properties":{"a":{"type":"ip"}}}}`: "ip",
		`{"mappings":{"properties":{"a":{"type":"text","index":false}}}}`:                                                "index",
		`{"mappings":{"properties":{"a":{"type":"text","copy_to":"b"}}}}`:                                                "copy_to",
		`{"mappings":{"properties":{"a":{"type":"date","format":"dd/MM/yyyy"}}}}`:                                        "format",
		`{"mappings":{"properties":{"a":{"type":"text","analyzer":"mine"}}}}`:                                            "mine",
		`{"mappings":{"properties":{"a":{"type":"text","fields":{"raw":{"type":"keyword"}}}}}}`:                          "raw",
		`{"mappings":{"properties":{"a":{"type":"text","analyzer":"german"},"b":{"type":"text","analyzer":"english"}}}}`: "another",
	} {
		_, reason := s.refused(400, "PUT", "/made", body)
		require.Contains(t, reason, named, body)
	}
	for _, name := range []string{"-x", "a%20b", "%C3%A4"} {
		kind, _ := s.refused(400, "PUT", "/"+name, "")
		require.Equal(t, "invalid_index_name_exception", kind, name)
	}
	status, _, _ := s.ask("HEAD", "/logs", "")
	require.Equal(t, 200, status)
	status, _, _ = s.ask("HEAD", "/gone", "")
	require.Equal(t, 404, status)
	s.refused(400, "DELETE", "/lo*", "")
	s.refused(400, "DELETE", "/_all", "")
	s.refused(404, "DELETE", "/gone", "")
	require.Equal(t, `{"acknowledged":true}`, at(t, s.ok("DELETE", "/logs", "")))
	s.fail = func(string) error { return fmt.Errorf("%w: search.analyzer", elastic.ErrRefused) }
	_, reason := s.refused(400, "PUT", "/made", "")
	require.Contains(t, reason, "search.analyzer")
}

func TestAMappingShowsTheFieldsThatThereAre(t *testing.T) {
	s := serve(t)
	s.ok("PUT", "/logs", `{"mappings":{"properties":{"when":{"type":"date"}}}}`)
	s.ok("POST", "/logs/_doc", `{"a":{"b":"x","n":1},"ok":true,"a.c":1.5,"mixed":"t"}`)
	s.ok("POST", "/logs/_doc", `{"mixed":3}`)
	text := at(t, s.ok("GET", "/logs/_mapping", ""), "logs", "mappings", "properties")
	require.Equal(t, `{"properties":{"b":{"fields":{"keyword":{"ignore_above":256,"type":"keyword"}},"type":"text"},"c":{"type":"double"},"n":{"type":"long"}}}`, at(t, text, "a"))
	require.Equal(t, `{"type":"date"}`, at(t, text, "when"))
	require.Equal(t, `{"type":"boolean"}`, at(t, text, "ok"))
	require.Equal(t, `{"type":"date"}`, at(t, text, "_timestamp"))
	require.Equal(t, `{"fields":{"keyword":{"ignore_above":256,"type":"keyword"},"long":{"type":"long"}},"type":"text"}`, at(t, text, "mixed"))
	text = s.ok("GET", "/logs", "")
	require.Equal(t, `"1"`, at(t, text, "logs", "settings", "index", "number_of_shards"))
	at(t, text, "logs", "mappings", "properties", "a")
	require.Equal(t, `{"settings":{"index":{"number_of_replicas":"0","number_of_shards":"1","provided_name":"logs","uuid":"id-logs"}}}`, at(t, s.ok("GET", "/logs/_settings", ""), "logs"))
	require.Equal(t, `{"failed":0,"successful":1,"total":1}`, at(t, s.ok("POST", "/logs/_refresh", ""), "_shards"))
}

func TestTablesAreForPeopleAndForPrograms(t *testing.T) {
	s := serve(t)
	s.topic("web", `{"a":1}`, `{"a":2}`, `{"a":3}`)
	s.topic("app", `{"a":1}`)
	require.NoError(t, s.CreateTopic(t.Context(), "plain", 1, nil))
	cat := func(path string, header ...string) string {
		status, text, _ := s.ask("GET", path, "", header...)
		require.Equal(t, 200, status, text)
		return text
	}
	require.Equal(t, "green open app id-app 1 0 1 0 1.5kb 1.5kb 1.5kb\ngreen open web id-web 1 0 3 0 4.5kb 4.5kb 4.5kb\n", cat("/_cat/indices"))
	require.Equal(t, "index docs.count\nweb            3\napp            1\n", cat("/_cat/indices?v&h=i,docs.count&s=dc:desc"))
	require.Equal(t, "web 4608\n", cat("/_cat/indices/w*?h=index,ss&bytes=b"))
	require.Equal(t, `[{"index":"app","store.size":"1.5kb"},{"index":"web","store.size":"4.5kb"}]`, at(t, cat("/_cat/indices?format=json&h=index,store.size")))
	require.Equal(t, `"3"`, at(t, cat("/_cat/indices/web", "Accept", "application/vnd.elasticsearch+json;compatible-with=9"), 0, "docs.count"))
	require.Contains(t, cat("/_cat/indices?help"), "docs.count")
	require.Contains(t, cat("/_cat"), "/_cat/indices")
	require.Contains(t, cat("/_cat/health"), " test green 3 2 2 2 0 0 0 0 - 100.0%\n")
	require.Equal(t, "green\n", cat("/_cat/health?h=status"))
	for path, named := range map[string]string{"/_cat/indices?h=none": "none", "/_cat/indices?s=none": "none", "/_cat/indices?format=yaml": "yaml", "/_cat/indices?bytes=x": "bytes", "/_cat/indices?x=1": "x", "/_cat/shards": "_cat/shards"} {
		_, reason := s.refused(400, "GET", path, "")
		require.Contains(t, reason, named, path)
	}

	text := s.ok("GET", "/_cluster/health?level=indices", "")
	require.Equal(t, `"green"`, at(t, text, "status"))
	require.Equal(t, `3`, at(t, text, "number_of_nodes"))
	require.Equal(t, `2`, at(t, text, "active_shards"))
	require.Equal(t, `"green"`, at(t, text, "indices", "web", "status"))
	s.topics["web"].leaderless = 1
	status, text, _ := s.ask("GET", "/_cluster/health/web?wait_for_status=yellow&timeout=1ms", "")
	require.Equal(t, 408, status)
	require.Equal(t, `true`, at(t, text, "timed_out"))
	require.Equal(t, `"red"`, at(t, text, "status"))
	// An index that is not there is not well, and is waited for.
	status, text, _ = s.ask("GET", "/_cluster/health/app,gone?timeout=1ms", "")
	require.Equal(t, 408, status)
	require.Equal(t, `"red"`, at(t, text, "status"))
	require.Equal(t, `1`, at(t, text, "active_shards"))
	require.Equal(t, `"green"`, at(t, s.ok("GET", "/_cluster/health/gone*", ""), "status"))
	_, reason := s.refused(400, "GET", "/_cluster/health/plain", "")
	require.Contains(t, reason, "searchable")
}

func TestTheRootSaysWhatIsHere(t *testing.T) {
	s := serve(t)
	text := s.ok("GET", "/", "")
	require.Equal(t, `"9.2.0"`, at(t, text, "version", "number"))
	require.Equal(t, `"You Know, for Search"`, at(t, text, "tagline"))
	require.Equal(t, `"test"`, at(t, text, "cluster_name"))
	status, text, header := s.ask("HEAD", "/", "")
	require.Equal(t, 200, status)
	require.Empty(t, text)
	require.Equal(t, "Elasticsearch", header.Get("X-Elastic-Product"))
}

func TestPathsOfOtherSurfacesAreTheirs(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/logs/_search": true, "/_search": true, "/_cat/x": true, "/logs": true, "/config,x/_search": true, "/_nodes": true, "/_ilm/status": true, "/_anything": true,
		"/_sql": false, "/_vector/t": false, "/config": false, "/iceberg/v1": false, "/admin/x": false, "/topics": false, "/_query": false,
	} {
		require.Equal(t, want, elastic.Owns(path), path)
	}
}
