// Package admin is what every process answers over HTTP and gRPC, whatever its
// roles: health, readiness, metrics, and the admin API. What a role serves
// besides is attached to it, and taken off again before the role ends.
//
// It answers from the first moment of a process to the last, so that an
// orchestrator can tell one that waits for etcd from one that is dead, and a
// load balancer one that is about to stop from one that serves.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/metastore"
)

// Options are what a Surface shows.
type Options struct {
	Version string
	Roles   []string
	// Reasons returns why the process cannot serve now; none: it does.
	Reasons func() []string
	// Degraded returns what does not work though the process serves.
	Degraded func() []string
	Gatherer prometheus.Gatherer
	Log      *slog.Logger

	NodeID any    // the broker's number, or the name of another member
	APIKey string // that /admin asks for; empty: none
	// Store is the cluster's metadata; nil as long as they cannot be read.
	Store func() *metastore.Store
	// Janitor tells whether the process looks after deletions for the cluster.
	Janitor func() bool
}

// Surface is a process's HTTP handler. All methods may be called at once.
type Surface struct {
	o     Options
	mux   *http.ServeMux
	rpc   *grpc.Server
	began time.Time

	mu       sync.Mutex
	attached *attachment // nil: no role serves HTTP
}

// attachment is a role's handler and the requests that it has under way.
type attachment struct {
	handler http.Handler
	flight  flight.FlightServer
	sql     bool
	under   sync.WaitGroup
	ended   context.Context // for requests that outlast a stop
	end     context.CancelFunc
}

// New returns a surface that nothing is attached to.
func New(o Options) *Surface {
	s := &Surface{o: o, mux: http.NewServeMux(), began: time.Now()}
	s.mux.HandleFunc("GET /health", s.health)
	s.mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	s.mux.HandleFunc("GET /health/ready", s.ready)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	s.administration()
	s.mux.HandleFunc("/", s.pass)
	s.rpc = s.newRPC()
	return s
}

const (
	requestIDHeader   = "X-Request-Id"
	requestIDBytesMax = 128
)

// ServeHTTP implements http.Handler. Every request gets an id, and every answer
// shows it.
func (s *Surface) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(requestIDHeader)
	if id == "" || len(id) > requestIDBytesMax || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		id = ulid.Make().String()
		r.Header.Set(requestIDHeader, id)
	}
	w.Header().Set(requestIDHeader, id)
	s.mux.ServeHTTP(w, r)
}

// Attach makes a role answer every path that is not the surface's own, and
// Arrow Flight.
func (s *Surface) Attach(h http.Handler, f flight.FlightServer, sql bool) {
	ended, end := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = &attachment{handler: h, flight: f, sql: sql, ended: ended, end: end}
}

// Detach sends nothing more to the role, and returns when what it had to do is
// done. Requests that are not when ctx ends are cancelled.
func (s *Surface) Detach(ctx context.Context) {
	s.mu.Lock()
	a := s.attached
	s.attached = nil
	s.mu.Unlock()
	if a == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		a.under.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		a.end()
		<-done
	}
	a.end()
}

// enter counts a request of the role in, unless there is none.
func (s *Surface) enter() *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached != nil {
		s.attached.under.Add(1)
	}
	return s.attached
}

func (s *Surface) pass(w http.ResponseWriter, r *http.Request) {
	a := s.enter()
	if a == nil {
		s.fail(w, r, s.nobody(r.URL.Path))
		return
	}
	defer a.under.Done()
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(a.ended, func() {
		cancel(envelope.New(http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable", stopping))
		// The error may still go out, but who reads nothing holds up no stop.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(lastWordsWithin)) // fails where there is no connection
	})()
	a.handler.ServeHTTP(w, r.WithContext(ctx))
}

// stopping is what calls are told that outlast a role's stop.
const stopping = "the query node is stopping"

// lastWordsWithin bounds how long a request that was ended may take to say so.
const lastWordsWithin = time.Second

// nobody is why no role answers a request.
func (s *Surface) nobody(what string) *envelope.Failure {
	for _, role := range s.o.Roles {
		if role == "query" {
			reasons := strings.Join(s.o.Reasons(), "; ")
			return envelope.New(http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable", "the query node does not serve now: "+reasons)
		}
	}
	return envelope.New(http.StatusNotFound, "INVALID_REQUEST", "InvalidRequest",
		fmt.Sprintf("nothing is served at %s: this process has no query role (it is %s)", what, strings.Join(s.o.Roles, ", ")))
}

func (s *Surface) health(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	search := s.attached != nil
	sql := search && s.attached.sql
	s.mu.Unlock()
	body := map[string]any{
		"status": "ok", "version": s.o.Version, "role": strings.Join(s.o.Roles, ","),
		"sql_enabled": sql, "vector_enabled": search, "search_enabled": search, "admin_enabled": true,
	}
	if degraded := s.o.Degraded(); len(degraded) > 0 {
		body["degraded"] = degraded
	}
	answer(w, http.StatusOK, body)
}

func (s *Surface) ready(w http.ResponseWriter, _ *http.Request) {
	if reasons := s.o.Reasons(); len(reasons) > 0 {
		answer(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "reasons": reasons})
		return
	}
	answer(w, http.StatusOK, map[string]any{"status": "ok"})
}

// answer writes a JSON body.
func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // who does not take it has hung up
}

// fail answers with the API's envelope.
func (s *Surface) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *envelope.Failure
	if !errors.As(err, &f) {
		f = envelope.New(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", err.Error())
	}
	s.o.Log.Debug("http request failed", "id", r.Header.Get(requestIDHeader), "path", r.URL.Path, "status", f.Status, "err", err)
	if f.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, f.Status, f)
}
