// Package embeddertest is an embedding provider for tests: a server that speaks
// OpenAI's API and the external protocol, whose vectors are bags of words, that
// fails by a plan and remembers what it was asked. Its Contract is what every
// provider keeps.
package embeddertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/faultplan"
)

// Options are how a server is. The zero value is one that works.
type Options struct {
	Dimensions    int    // of vectors; 64
	Key           string // the bearer token that it wants; empty is none
	TextBytesMax  int    // longer texts are refused, as OpenAI does; 0: none is
	TextsMax      int    // more texts in a request are refused; 0: any number
	NoBase64      bool   // it refuses encoding_format=base64, as some compatible services do
	Plan          Plan   // what goes wrong
	VectorOf      func(text string, dimensions int) []float32
	RequestsAtMax int // more requests at a time than this are answered 429; 0: any
}

// Server is a provider. All methods may be called at once.
type Server struct {
	options Options
	http    *http.Server // nil: it has no address
	url     string
	once    sync.Once
	closed  chan struct{}
	ended   sync.WaitGroup

	mu      sync.Mutex
	plan    Plan
	matched []int64 // by rule
	struck  []int64
	asked   []Request
	texts   map[string]int // how often each was answered with a vector
	now     int            // requests under way
	nowMost int
}

// Request is what the server was asked.
type Request struct {
	Protocol   Op
	Key        string // the bearer token
	Model      string
	Dimensions int // asked for; 0: not said
	Texts      []string
}

// New returns a server without an address: it is reached through Transport, also
// in the virtual time of testing/synctest.
func New(o Options) *Server {
	if o.Dimensions == 0 {
		o.Dimensions = 64
	}
	if o.VectorOf == nil {
		o.VectorOf = Vector
	}
	s := &Server{options: o, url: "http://embeddings.test", closed: make(chan struct{}), texts: make(map[string]int)}
	s.Use(o.Plan)
	return s
}

// Start returns a server at an address of its own; Close stops it.
func Start(o Options) (*Server, error) {
	s := New(o)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for embeddings: %w", err)
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.ended.Go(func() {
		_ = s.http.Serve(listener) // ends with Close
	})
	return s, nil
}

// Close stops the server; what hangs ends.
func (s *Server) Close() error {
	s.once.Do(func() { close(s.closed) })
	if s.http == nil {
		return nil
	}
	err := s.http.Close()
	s.ended.Wait()
	return err
}

// OpenAI is the base URL of its OpenAI API, External the endpoint of the external
// protocol.
func (s *Server) OpenAI() string   { return s.url + "/v1" }
func (s *Server) External() string { return s.url + "/embed" }

// Use replaces the plan and begins its counts anew.
func (s *Server) Use(plan Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = plan
	s.matched = make([]int64, len(plan.Rules))
	s.struck = make([]int64, len(plan.Rules))
}

// Struck says how often each rule of the plan has struck.
func (s *Server) Struck() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.struck)
}

// Requests are all that it was asked, also those that it failed.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Texts says how often it gave a vector for each text.
func (s *Server) Texts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.texts)
}

// Most is how many requests were under way at once at most.
func (s *Server) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nowMost
}

// ServeHTTP answers POST /v1/embeddings and POST /embed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protocol, known := map[string]Op{"/v1/embeddings": OpenAI, "/embed": External}[r.URL.Path]
	if !known || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	var body struct {
		Texts      []string `json:"texts"`
		Input      []string `json:"input"`
		Model      string   `json:"model"`
		Encoding   string   `json:"encoding_format"`
		Dimensions int      `json:"dimensions"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		complain(w, http.StatusBadRequest, "", err.Error())
		return
	}
	asked := Request{Protocol: protocol, Model: body.Model, Dimensions: body.Dimensions, Texts: append(body.Texts, body.Input...)}
	asked.Key, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	f := s.begin(asked)
	defer s.end()
	select {
	case <-time.After(f.delay):
	case <-r.Context().Done():
		return
	case <-s.closed:
		return
	}
	if s.refuses(w, asked, body.Encoding) || s.fails(w, r, f) {
		return
	}
	if f.effect == "" || f.effect == Reorder {
		s.mu.Lock()
		for _, text := range asked.Texts {
			s.texts[text]++
		}
		s.mu.Unlock()
	}
	s.write(w, protocol, s.answer(asked, f.effect), body.Encoding == "base64", f.effect)
}

// fate is what the plan holds for a request.
type fate struct {
	delay  time.Duration
	effect Effect        // empty: none
	retry  time.Duration // what Retry-After says, of effects that have it
}

// begin notes a request, and says what becomes of it.
func (s *Server) begin(asked Request) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, asked)
	s.now++
	s.nowMost = max(s.nowMost, s.now)
	var f fate
	for i, rule := range s.plan.Rules {
		matches := func(text string) bool { return strings.Contains(text, rule.Name) }
		if rule.Op != faultplan.Any && rule.Op != asked.Protocol || !slices.ContainsFunc(asked.Texts, matches) {
			continue
		}
		s.matched[i]++
		if !rule.Strikes(s.matched[i], faultplan.Hash(s.plan.Seed, uint64(i), string(asked.Protocol), uint64(len(s.asked)))) {
			continue
		}
		s.struck[i]++
		if rule.Effect == Delay {
			f.delay += rule.Wait
			continue
		}
		f.effect, f.retry = rule.Effect, rule.Wait
		break
	}
	return f
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
}

// refuses answers what a sound provider refuses.
func (s *Server) refuses(w http.ResponseWriter, asked Request, encoding string) bool {
	s.mu.Lock()
	many := s.options.RequestsAtMax > 0 && s.now > s.options.RequestsAtMax
	s.mu.Unlock()
	switch {
	case many:
		complain(w, http.StatusTooManyRequests, "rate_limit_exceeded", "too many requests")
	case s.options.Key != "" && asked.Key != s.options.Key:
		complain(w, http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided: "+asked.Key)
	case s.options.NoBase64 && encoding == "base64":
		complain(w, http.StatusBadRequest, "", "encoding_format: base64 is not supported")
	case len(asked.Texts) == 0:
		complain(w, http.StatusBadRequest, "", "'$.input' is invalid")
	case s.options.TextsMax > 0 && len(asked.Texts) > s.options.TextsMax:
		complain(w, http.StatusRequestEntityTooLarge, "", fmt.Sprintf("batch size %d > maximum allowed batch size %d", len(asked.Texts), s.options.TextsMax))
	case slices.Contains(asked.Texts, ""):
		complain(w, http.StatusBadRequest, "", "'$.input' has an empty text")
	case s.options.TextBytesMax > 0 && slices.ContainsFunc(asked.Texts, func(t string) bool { return len(t) > s.options.TextBytesMax }):
		complain(w, http.StatusBadRequest, "", fmt.Sprintf("This model's maximum context length is %d tokens", s.options.TextBytesMax))
	default:
		return false
	}
	return true
}

// complain answers an error in OpenAI's form.
func complain(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "code": code}}) // its reader may be gone
}
