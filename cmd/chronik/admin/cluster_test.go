package admin

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

// post sends a body, and returns the answer's.
func (c *client) post(path, body, key string) (int, map[string]any) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	answer, err := c.Client().Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		c.t.Fatal(err)
	}
	got := map[string]any{}
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		c.t.Fatalf("%s: %v in %s", path, err, text.String())
	}
	return answer.StatusCode, got
}

// someCluster is one with two brokers of which one owns a partition, a compactor
// and a query node. No broker answers: nobody listens.
func someCluster(t *testing.T) *metastore.Store {
	t.Helper()
	k := memory.New()
	t.Cleanup(func() { k.Close() })
	s, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	port := int32(closed.Addr().(*net.TCPAddr).Port)
	var sessions []*metastore.BrokerSession
	for id := range metastore.BrokerID(2) {
		b, err := s.Register(t.Context(), metastore.Broker{
			ID: id + 1, Rack: "r", Version: "v", StartedAt: time.Now(), Listeners: []metastore.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: port}},
		}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, b)
	}
	if _, err := s.RegisterCompactor(t.Context(), metastore.Member{ID: "c", Address: "c:6092"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RegisterQuery(t.Context(), metastore.Member{ID: "q", Address: "q:6092"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	made, err := s.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	owned := s.Catalog().Partition(topic.Partition{Topic: made.ID, Index: 1})
	if _, err := s.Take(t.Context(), sessions[1], []metastore.Take{{View: owned}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusShowsNodesAndPartitions(t *testing.T) {
	s := someCluster(t)
	c := serve(t, Options{Roles: []string{"query"}, NodeID: "q", Store: func() *metastore.Store { return s }})
	code, body, _ := c.get("/admin/status")
	if code != 200 {
		t.Fatalf("%d %v", code, body)
	}
	var nodes []string
	for _, n := range body["nodes"].([]any) {
		n := n.(map[string]any)
		nodes = append(nodes, n["role"].(string))
		if n["role"] == "broker" && n["partitions"] != n["node_id"].(float64)-1 {
			t.Errorf("%v", n)
		}
	}
	if strings.Join(nodes, " ") != "broker broker compactor query" {
		t.Errorf("nodes %v", nodes)
	}
	partitions := body["partitions"].([]any)
	free, owned := partitions[0].(map[string]any), partitions[1].(map[string]any)
	if len(partitions) != 2 || free["leader"] != -1.0 || owned["leader"] != 2.0 || owned["topic"] != "t" || owned["partition"] != 1.0 {
		t.Errorf("partitions %v", partitions)
	}
	if owned["high_watermark"] != nil || !strings.Contains(body["warnings"].([]any)[0].(string), "high watermarks") {
		t.Errorf("nobody could say the high watermark: %v", body)
	}
	code, body, _ = c.get("/admin/health")
	if code != 200 || body["cluster_nodes"] != 4.0 || body["is_leader"] != true || body["node_id"] != "q" {
		t.Errorf("%d %v", code, body)
	}
}

func TestDrainingIsSetAndCancelled(t *testing.T) {
	s := someCluster(t)
	c := serve(t, Options{Roles: []string{"query"}, Store: func() *metastore.Store { return s }})
	for _, body := range []string{`{"node_id":2}`, `{"node_id":"2"}`} {
		if code, answer := c.post("/admin/drain", body, ""); code != 200 || answer["success"] != true || !s.Catalog().Draining(2) {
			t.Errorf("%s: %d %v, draining %v", body, code, answer, s.Catalog().Draining(2))
		}
	}
	if _, body, _ := c.get("/admin/status"); len(body["brokers_draining"].([]any)) != 1 {
		t.Errorf("%v", body["brokers_draining"])
	}
	if code, answer := c.post("/admin/drain", `{"node_id":2,"cancel":true}`, ""); code != 200 || answer["success"] != true || s.Catalog().Draining(2) {
		t.Errorf("%d %v, draining %v", code, answer, s.Catalog().Draining(2))
	}
	lapsed, err := s.Register(t.Context(), metastore.Broker{ID: 3}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	made, _ := s.Catalog().Topic("t")
	if _, err := s.Take(t.Context(), lapsed, []metastore.Take{{View: s.Catalog().Partition(topic.Partition{Topic: made.ID})}}); err != nil {
		t.Fatal(err)
	}
	if err := lapsed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, answer := c.post("/admin/drain", `{"node_id":3}`, ""); code != 200 || !s.Catalog().Draining(3) {
		t.Errorf("what does not live and owns something: %d %v", code, answer)
	}
	for body, want := range map[string]string{
		`{"node_id":7}`: "broker 7 does not live", `{"node_id":"q"}`: "just stopped", `{}`: "missing", `{"nodeid":1}`: "nodeid", `{"node_id":1} x`: "more than one", ``: "JSON",
	} {
		code, answer := c.post("/admin/drain", body, "")
		if code != 400 || answer["success"] != false || answer["error_code"] != "INVALID_REQUEST" || !strings.Contains(answer["error"].(string), want) {
			t.Errorf("%s: %d %v", body, code, answer)
		}
	}
	if code, answer := c.post("/admin/remove-node", `{"node_id":1}`, ""); code != 200 || !s.Catalog().Draining(1) {
		t.Errorf("%d %v", code, answer)
	}
	for _, path := range []string{"/admin/add-node", "/admin/rebalance"} {
		if code, answer := c.post(path, `{}`, ""); code != 200 || answer["success"] != true || answer["message"] == "" {
			t.Errorf("%s: %d %v", path, code, answer)
		}
	}
	for path, want := range map[string]int{"/admin/else": 404, "/admin/": 404, "/admin/status": 405, "/admin/topics/t": 405} {
		if code, answer := c.post(path, `{}`, ""); code != want || answer["error_code"] != "INVALID_REQUEST" {
			t.Errorf("%s: %d %v", path, code, answer)
		}
	}
}

func TestAdministrationAsksForTheKeyAndHealthDoesNot(t *testing.T) {
	s := someCluster(t)
	c := serve(t, Options{Roles: []string{"broker"}, APIKey: "secret", Store: func() *metastore.Store { return s }})
	for key, want := range map[string]string{"": "missing X-API-Key header", "wrong": "invalid X-API-Key"} {
		code, body := c.post("/admin/drain", `{"node_id":1}`, key)
		if code != 401 || body["error"] != want || body["status"] != 401.0 || body["hint"] == "" || body["error_code"] != "UNAUTHORIZED" {
			t.Errorf("%q: %d %v", key, code, body)
		}
	}
	if s.Catalog().Draining(1) {
		t.Error("a stranger drains")
	}
	if code, _, _ := c.get("/admin/status"); code != 401 {
		t.Errorf("status: %d", code)
	}
	if code, body := c.post("/admin/drain", `{"node_id":1}`, "secret"); code != 200 || !s.Catalog().Draining(1) {
		t.Errorf("%d %v", code, body)
	}
	for _, path := range []string{"/admin/health", "/health", "/metrics"} {
		if code, _, _ := c.get(path); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestWithoutMetadataAdministrationIsUnavailable(t *testing.T) {
	c := serve(t, Options{Roles: []string{"broker"}, Reasons: func() []string { return []string{"waiting for etcd"} }})
	if code, body, _ := c.get("/admin/status"); code != 503 || !strings.Contains(body["error"].(string), "waiting for etcd") {
		t.Errorf("%d %v", code, body)
	}
	if code, body := c.post("/admin/drain", `{"node_id":1}`, ""); code != 503 || body["success"] != false {
		t.Errorf("%d %v", code, body)
	}
	if code, body, _ := c.get("/admin/health"); code != 200 || body["status"] != "not ready" {
		t.Errorf("%d %v", code, body)
	}
}
