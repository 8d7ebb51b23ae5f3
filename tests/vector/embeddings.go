package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// embeddings is a service of the protocol `external`. Each topic has its own path,
// and behind that what makes its vectors.
type embeddings struct {
	*httptest.Server
	mu    sync.Mutex
	makes map[string]func(text string) []float32
	asked map[string]int // texts, how often
	slow  time.Duration  // before each answer
}

func newEmbeddings() *embeddings {
	e := &embeddings{makes: map[string]func(string) []float32{}, asked: map[string]int{}}
	e.Server = httptest.NewServer(e)
	return e
}

// serve says what makes the vectors of a topic, and returns its endpoint.
func (e *embeddings) serve(topic string, makes func(text string) []float32) (endpoint string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.makes["/"+topic] = makes
	return e.URL + "/" + topic
}

// delay makes every answer take so long.
func (e *embeddings) delay(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.slow = d
}

// times says how often a text was asked for.
func (e *embeddings) times(text string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked[text]
}

// ServeHTTP implements http.Handler.
func (e *embeddings) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ Texts []string }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	makes, slow := e.makes[r.URL.Path], e.slow
	for _, text := range request.Texts {
		e.asked[text]++
	}
	e.mu.Unlock()
	if makes == nil {
		http.Error(w, fmt.Sprintf("%s is not served", r.URL.Path), http.StatusNotFound)
		return
	}
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return
	}
	out := make([][]float32, len(request.Texts))
	for i, text := range request.Texts {
		out[i] = makes(text)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"embeddings": out}); err != nil {
		return // it does not want it any more
	}
}
