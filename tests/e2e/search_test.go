package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// searchAnswer is what a search answers.
type searchAnswer struct {
	Hits struct {
		Total struct{ Value int64 }
		Hits  []struct {
			ID     string         `json:"_id"`
			Source map[string]any `json:"_source"`
		}
	}
	Aggregations map[string]struct {
		Value   *float64
		Buckets []struct {
			Key   any
			Count int64 `json:"doc_count"`
		}
	}
	Coverage map[string]struct {
		Lag int64 `json:"lag_records"`
	}
}

// request sends a request and returns status and answer.
func (c *chronik) request(method, path, body string) (int, string) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.http+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := httpClient.Do(request)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if product := response.Header.Get("X-Elastic-Product"); product != "Elasticsearch" {
		c.t.Fatalf("%s %s: X-Elastic-Product is %q", method, path, product)
	}
	return response.StatusCode, string(text)
}

// elastic is request for an answer of 200 or 201.
func (c *chronik) elastic(method, path, body string) string {
	c.t.Helper()
	status, text := c.request(method, path, body)
	if status != http.StatusOK && status != http.StatusCreated {
		c.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

func (c *chronik) search(index, body string) *searchAnswer {
	c.t.Helper()
	answer := &searchAnswer{}
	if text := c.elastic("POST", "/"+index+"/_search", body); json.Unmarshal([]byte(text), answer) != nil {
		c.t.Fatalf("no answer of a search: %s", text)
	}
	return answer
}

// documents is a bulk request of logs, numbered from first.
func documents(first, count int) string {
	var b strings.Builder
	for i := first; i < first+count; i++ {
		fmt.Fprintf(&b, "{\"create\":{\"routing\":\"user%d\"}}\n", i%7)
		fmt.Fprintf(&b, `{"n":%d,"service":"%s","message":"request number%d took %d ms"}`+"\n", i, []string{"checkout", "cart", "login"}[i%3], i, i%500)
	}
	return b.String()
}

// Over HTTP alone: an index is made, written, and searched at once; what was
// written is a topic like any other.
func TestATopicIsAnIndexOfElasticsearch(t *testing.T) {
	c := start(t)
	c.elastic("PUT", "/logs", `{"settings":{"number_of_shards":3}}`)
	if status, text := c.request("PUT", "/logs", ""); status != http.StatusBadRequest || !strings.Contains(text, "resource_already_exists_exception") {
		t.Fatalf("made twice: %d %s", status, text)
	}
	written := 0
	for range 10 {
		const count = 137
		var bulk struct {
			Errors bool
			Items  []map[string]struct {
				ID string `json:"_id"`
			}
		}
		if err := json.Unmarshal([]byte(c.elastic("POST", "/logs/_bulk", documents(written, count))), &bulk); err != nil || bulk.Errors || len(bulk.Items) != count {
			t.Fatalf("%d items, errors %v, %v", len(bulk.Items), bulk.Errors, err)
		}
		written += count
		// What is acknowledged is found at once.
		last := c.search("logs", fmt.Sprintf(`{"query":{"match":{"message":"number%d"}}}`, written-1))
		if len(last.Hits.Hits) != 1 || last.Hits.Hits[0].ID != bulk.Items[count-1]["create"].ID || last.Coverage["logs"].Lag != 0 {
			t.Fatalf("of %d documents the last is not found: %+v", written, last)
		}
	}
	check := func() {
		t.Helper()
		all := c.search("lo*", `{"size":0,"track_total_hits":true,"aggs":{"s":{"terms":{"field":"service"}},"n":{"cardinality":{"field":"n"}},"max":{"max":{"field":"n"}}}}`)
		if all.Hits.Total.Value != int64(written) || *all.Aggregations["n"].Value != float64(written) || *all.Aggregations["max"].Value != float64(written-1) {
			t.Fatalf("%d documents were written: %+v", written, all)
		}
		if buckets := all.Aggregations["s"].Buckets; len(buckets) != 3 || buckets[0].Count+buckets[1].Count+buckets[2].Count != int64(written) {
			t.Fatalf("services: %+v", buckets)
		}
	}
	check()
	if got := len(strings.Split(strings.TrimSpace(c.must("", "consume", "logs", "--from", "start", "--count", fmt.Sprint(written))), "\n")); got != written {
		t.Fatalf("%d records are consumed, %d were written", got, written)
	}
	c.must(`{"message":"written by Kafka's protocol","n":-1}`, "produce", "logs")
	if out := c.must("", "search", "logs", "written AND protocol", "-o", "csv", "--fields", "n,message"); !strings.Contains(out, ",-1,written by Kafka's protocol\n") {
		t.Fatalf("chronik search: %s", out)
	}
	written++
	c.kill()
	c.restart()
	if got := c.search("logs", `{"size":0,"track_total_hits":true}`).Hits.Total.Value; got != int64(written) {
		t.Fatalf("%d documents after a restart, want %d", got, written)
	}
	if text := c.elastic("GET", "/_cat/indices?h=index,pri,docs.count", ""); text != fmt.Sprintf("logs 3 %d\n", written) {
		t.Fatalf("_cat/indices: %q", text)
	}
	c.elastic("DELETE", "/logs", "")
	if status, text := c.request("GET", "/logs/_search", ""); status != http.StatusNotFound || !strings.Contains(text, "index_not_found_exception") {
		t.Fatalf("after its deletion: %d %s", status, text)
	}
}

func TestPagesOfASearchGoOnBehindTheLastHit(t *testing.T) {
	c := start(t)
	c.elastic("PUT", "/logs", `{"settings":{"number_of_shards":2}}`)
	const count = 300
	c.elastic("POST", "/logs/_bulk", documents(0, count))
	seen, after := map[string]bool{}, ""
	for {
		var page struct {
			Hits struct {
				Hits []struct {
					ID   string          `json:"_id"`
					Sort json.RawMessage `json:"sort"`
				}
			}
		}
		body := `{"size":37,"query":{"match":{"message":"request"}},"sort":[{"service":"desc"},{"n":"asc"}]` + after + `}`
		if err := json.Unmarshal([]byte(c.elastic("POST", "/logs/_search", body)), &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Hits.Hits) == 0 {
			break
		}
		for _, h := range page.Hits.Hits {
			if seen[h.ID] {
				t.Fatalf("%s is on two pages", h.ID)
			}
			seen[h.ID] = true
			after = `,"search_after":` + string(h.Sort)
		}
	}
	if len(seen) != count {
		t.Fatalf("%d documents on all pages, want %d", len(seen), count)
	}
}

// An index that was deleted and made again is written as if it had always been so,
// and has nothing of the one before.
func TestAnIndexThatIsMadeAgainIsWritten(t *testing.T) {
	c := start(t)
	for round := range 3 {
		if round != 1 { // else the write makes it
			c.elastic("PUT", "/again", `{"settings":{"number_of_shards":2}}`)
		}
		for n := range 3 {
			c.elastic("POST", "/again/_doc", fmt.Sprintf(`{"round":%d,"n":%d}`, round, n))
		}
		var bulk struct{ Errors bool }
		text := c.elastic("POST", "/again/_bulk", documents(0, 20))
		if err := json.Unmarshal([]byte(text), &bulk); err != nil || bulk.Errors {
			t.Fatalf("round %d: %s, %v", round, text, err)
		}
		if got := c.search("again", `{"query":{"match_all":{}}}`).Hits.Total.Value; got != 23 {
			t.Fatalf("round %d: %d documents, 23 were written", round, got)
		}
		c.elastic("DELETE", "/again", "")
	}
}
