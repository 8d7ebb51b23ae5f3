package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/metastore"
)

// client asks a served surface.
type client struct {
	t *testing.T
	s *Surface
	*httptest.Server
}

func serve(t *testing.T, o Options) *client {
	if o.Reasons == nil {
		o.Reasons = func() []string { return nil }
	}
	if o.Store == nil {
		o.Store = func() *metastore.Store { return nil }
	}
	o.Degraded, o.Janitor = func() []string { return nil }, func() bool { return true }
	o.Log, o.Gatherer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	s := New(o)
	c := &client{t, s, httptest.NewServer(s)}
	t.Cleanup(c.Close)
	return c
}

func (c *client) get(path string) (int, map[string]any, http.Header) {
	c.t.Helper()
	r, err := c.Client().Get(c.URL + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var body map[string]any
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &body); err != nil {
			c.t.Fatalf("%s: %v in %s", path, err, text)
		}
	}
	return r.StatusCode, body, r.Header
}

func TestReadinessTellsItsReasonsAndLivenessStays(t *testing.T) {
	reasons := []string{"waiting for etcd"}
	c := serve(t, Options{Version: "1.2.3", Roles: []string{"broker", "query"}, Reasons: func() []string { return reasons }})
	if status, body, _ := c.get("/health/ready"); status != 503 || body["reasons"].([]any)[0] != "waiting for etcd" {
		t.Errorf("%d %v", status, body)
	}
	if status, body, _ := c.get("/health/live"); status != 200 || body["status"] != "ok" {
		t.Errorf("%d %v", status, body)
	}
	if status, body, _ := c.get("/health"); status != 200 || body["role"] != "broker,query" || body["version"] != "1.2.3" || body["sql_enabled"] != false {
		t.Errorf("%d %v", status, body)
	}
	if status, _, header := c.get("/metrics"); status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("metrics: %d %v", status, header)
	}
	reasons = nil
	if status, body, _ := c.get("/health/ready"); status != 200 || body["status"] != "ok" {
		t.Errorf("%d %v", status, body)
	}
}

func TestARoleAnswersFromAttachToDetach(t *testing.T) {
	c := serve(t, Options{Roles: []string{"query"}, Reasons: func() []string { return []string{"starting"} }})
	if status, body, header := c.get("/_sql/tables"); status != 503 || body["error_code"] != "UNAVAILABLE" || header.Get("Retry-After") == "" || !strings.Contains(body["error"].(string), "starting") {
		t.Errorf("%d %v", status, body)
	}
	c.s.Attach(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, 200, map[string]any{"path": r.URL.Path}) }), nil, true)
	if status, body, header := c.get("/_sql/tables"); status != 200 || body["path"] != "/_sql/tables" || len(header.Get("X-Request-Id")) != 26 {
		t.Errorf("%d %v %v", status, body, header)
	}
	if _, body, _ := c.get("/health"); body["sql_enabled"] != true {
		t.Errorf("%v", body)
	}
	c.s.Detach(t.Context())
	c.s.Detach(t.Context())
	if status, _, _ := c.get("/_sql/tables"); status != 503 {
		t.Errorf("%d after Detach", status)
	}
}

func TestAProcessWithoutQueryRoleSaysSo(t *testing.T) {
	c := serve(t, Options{Roles: []string{"compactor"}})
	status, body, _ := c.get("/_sql")
	if status != 404 || body["error_code"] != "INVALID_REQUEST" || !strings.Contains(body["error"].(string), "no query role") {
		t.Errorf("%d %v", status, body)
	}
}

// A request under way keeps the role until it is done, or until the stop has no
// more time: then it is cancelled, and still waited for.
func TestDetachWaitsForRequestsAndThenCancelsThem(t *testing.T) {
	c := serve(t, Options{Roles: []string{"query"}})
	entered, finish, cancelled := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	c.s.Attach(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		select {
		case <-finish:
			answer(w, 200, map[string]any{"done": true})
		case <-r.Context().Done():
			cancelled <- struct{}{}
		}
	}), nil, false)
	status := make(chan int, 1)
	ask := func() {
		got, _, _ := c.get("/slow")
		status <- got
	}
	go ask()
	<-entered
	attached := c.s.attached
	detached := make(chan struct{})
	go func() {
		c.s.Detach(context.Background())
		close(detached)
	}()
	select {
	case <-detached:
		t.Error("detached with a request under way")
	case finish <- struct{}{}:
	}
	if got := <-status; got != 200 {
		t.Errorf("the request under way got %d", got)
	}
	<-detached

	c.s.Attach(attached.handler, nil, false)
	go ask()
	<-entered
	over, cancel := context.WithCancel(context.Background())
	cancel()
	c.s.Detach(over)
	<-cancelled
	<-status
}

func TestARequestKeepsItsIdWhenItHasAGoodOne(t *testing.T) {
	c := serve(t, Options{Roles: []string{"broker"}})
	for id, kept := range map[string]bool{"abc-1": true, "": false, strings.Repeat("x", 200): false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL+"/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Request-Id", id)
		answer, err := c.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("X-Request-Id"); (got == id) != kept || got == "" {
			t.Errorf("%q became %q", id, got)
		}
	}
}
