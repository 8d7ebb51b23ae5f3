package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// administer sends a request to the admin API and returns status and answer.
func (c *chronik) administer(method, path, body string) (int, map[string]any) {
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
	var answer map[string]any
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return response.StatusCode, answer
}

func TestTopicsAndGroupsAreAdministeredOverHTTP(t *testing.T) {
	c := start(t)
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string // in the answer
	}{
		{"POST", "/admin/topics", `{"name":"orders","partitions":3,"config":{"searchable":true,"retention.ms":"86400000"}}`, 200, `"success":true`},
		{"POST", "/topics", `{"name":"views"}`, 200, `"name":"views"`},
		{"POST", "/admin/topics", `{"name":"orders"}`, 400, `already`},
		{"POST", "/admin/topics", `{"name":"bad","config":{"retention.ms":"soon"}}`, 400, `retention.ms`},
		{"POST", "/admin/topics", `{"name":"bad","config":{"retention.ms":null}}`, 400, `"success":false`},
		{"POST", "/admin/topics", `{"name":"a b"}`, 400, `INVALID_REQUEST`},
		{"POST", "/admin/topics", `{}`, 400, `name is missing`},
		{"POST", "/admin/topics", `{"name":"x","partition":1}`, 400, `partition`},
		{"GET", "/admin/topics", ``, 200, `"count":2`},
		{"GET", "/admin/topics/orders", ``, 200, `"searchable":"true"`},
		{"GET", "/admin/topics/gone", ``, 404, `TOPIC_NOT_FOUND`},
		{"PATCH", "/admin/topics/orders", `{"partitions":5,"config":{"searchable":false,"retention.ms":null}}`, 200, `"success":true`},
		{"PATCH", "/admin/topics/orders", `{"partitions":2}`, 400, `INVALID_REQUEST`},
		{"PATCH", "/admin/topics/orders", `{"config":{"nonsense":1}}`, 400, `nonsense`},
		{"PATCH", "/admin/topics/orders", `{}`, 400, `nothing to change`},
		{"PATCH", "/admin/topics/gone", `{"partitions":9}`, 404, `TOPIC_NOT_FOUND`},
		{"GET", "/admin/topics/orders", ``, 200, `"partitions":5`},
		{"DELETE", "/admin/topics/views", ``, 200, `"success":true`},
		{"DELETE", "/admin/topics/views", ``, 404, `TOPIC_NOT_FOUND`},
		{"GET", "/admin/groups/none", ``, 404, `GroupNotFound`},
	} {
		status, answer := c.administer(step.method, step.path, step.body)
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		if status != step.status || !strings.Contains(string(text), step.want) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", step.method, step.path, step.body, status, text, step.status, step.want)
		}
	}
	_, orders := c.administer("GET", "/admin/topics/orders", "")
	config, _ := orders["config"].(map[string]any)
	details, _ := orders["partition_details"].([]any)
	if len(config) != 1 || config["searchable"] != "false" || len(details) != 5 || details[0].(map[string]any)["high_watermark"] != 0.0 {
		t.Errorf("after its change: %v", orders)
	}

	c.must("one\ntwo\nthree", "produce", "orders")
	c.must("", "consume", "orders", "--group", "readers", "--count", "2")
	if _, groups := c.administer("GET", "/admin/groups", ""); groups["count"] != 1.0 {
		t.Errorf("groups: %v", groups)
	}
	if status, group := c.administer("GET", "/admin/groups/readers", ""); status != 200 || group["total_lag"] != 1.0 || len(group["offsets"].([]any)) == 0 {
		t.Errorf("group: %d %v", status, group)
	}
}
