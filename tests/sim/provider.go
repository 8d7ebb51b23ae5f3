package sim

import (
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
)

// providerLink carries the requests of one process to the provider of embeddings,
// which itself is one for all and lies where a plan says so.
type providerLink struct {
	l     *life
	inner http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (p providerLink) RoundTrip(r *http.Request) (*http.Response, error) {
	if o, err := p.l.do(r.Context(), seamProvider, fmt.Sprintf("embed %d bytes", r.ContentLength), func() {}); o != done {
		return nil, fmt.Errorf("ask the provider: %w", err)
	}
	return p.inner.RoundTrip(r)
}

// embedder is what makes vectors in a process.
func (s *server) embedder(l *life) (*embedder.Service, error) {
	return embedder.New(embedder.Config{
		Transport: providerLink{l, s.w.provider.Transport()}, Jitter: func() float64 { return 0.5 },
	})
}

// lies are what a provider can answer instead of vectors, or with them. None makes
// it refuse a text for good: such a record has no vector, and never gets one.
var lies = []string{
	"throttle every=2", "retry-in=3s every=2", "back-in=2s every=3", "fail p=0.5", "cut every=2", "garbage every=3", "half every=2", "long every=2",
	"ragged every=3", "nan every=2", "quota every=5", "forbid every=6", "no-model every=7", "redirect every=4", "hang every=3", "delay=5s every=1",
}

// lie lets the provider lie in one or two ways.
func lie(w *World, s *server) func() {
	text := fmt.Sprintf("seed %d", s.rng.Uint64()%1000)
	for range 1 + s.rng.IntN(2) {
		text += "; * * " + lies[s.rng.IntN(len(lies))]
	}
	plan, err := embeddertest.ParsePlan(text)
	if err != nil {
		w.t.Errorf("%s: %v", text, err)
	}
	w.trace.add(w.sched.now(), "-- the provider lies: %s", plan)
	w.provider.Use(plan)
	return func() { w.provider.Use(embeddertest.Plan{}) }
}

// dimensions are those of all vectors.
const dimensions = 8

// vectorSettings are the settings of a topic that is searched by meaning.
func (w *World) vectorSettings(index string) map[string]string {
	return map[string]string{
		"vector.enabled": "true", "vector.embedding.provider": "external", "vector.embedding.endpoint": w.provider.External(),
		"vector.embedding.dimensions": fmt.Sprint(dimensions), "vector.batch_size": "16", "vector.index.type": index,
	}
}

// indexes are the kinds of vector indexes.
var indexes = []string{"flat", "ivf", "hnsw"}

// altered are settings that make shards be written anew: of the vectors that there
// are, or, for another model, by asking the provider again.
func altered(rng *rand.Rand) (key, value string) {
	pick := func(values ...string) string { return values[rng.IntN(len(values))] }
	switch rng.IntN(4) {
	case 0:
		return "vector.index.type", pick(indexes...)
	case 1:
		return "vector.index.metric", pick("cosine", "euclidean", "dot")
	case 2:
		return "vector.quantization", pick("f32", "f16", "int8")
	default:
		return "vector.embedding.model", pick("old", "new")
	}
}
