package embedder

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/embedder/local"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Config is what the operator says of providers. The zero value of a field is
// its default.
type Config struct {
	// APIKey is sent as a bearer token to the operator's endpoints and to
	// TrustedEndpoints. An endpoint that only a topic names gets none: who may
	// create a topic is not thereby somebody to whom the key is known.
	APIKey string
	// OpenAIBaseURL is where provider openai answers for topics without an
	// endpoint; https://api.openai.com/v1.
	OpenAIBaseURL string
	// Endpoint is the cluster's default of vector.embedding.endpoint.
	Endpoint string
	// TrustedEndpoints are URLs, and what is below them, that get the key too; "*"
	// is any.
	TrustedEndpoints []string
	// CAFile is a PEM file of an authority to trust besides the system's.
	CAFile string

	// RequestTimeout is how long one request may take; 30 s.
	RequestTimeout time.Duration
	// RequestsMax is how many requests with documents may be under way to one model
	// at one endpoint, of all topics; 16.
	RequestsMax int
	// RequestsPerMinute and TokensPerMinute are the rates of one model at one
	// endpoint, as far as this process uses them; 0 is none.
	RequestsPerMinute, TokensPerMinute int
	// InputTokensMax is the length of a text, for models that are not known to take
	// another; 8191.
	InputTokensMax int
	// CacheBytesMax is memory for the vectors of query texts; 16 MiB.
	CacheBytesMax int64
	// PricePerMillionTokens is for the cost metric; 0 is not known.
	PricePerMillionTokens float64

	// Local says where local models lie, and what runs them.
	Local Local

	// Registerer takes the metrics; nil is nobody.
	Registerer prometheus.Registerer
	// Transport carries requests instead of one of the service's own.
	Transport http.RoundTripper
	// Jitter gives a number in [0, 1), for pauses; default math/rand's.
	Jitter func() float64
}

func (c *Config) fill() {
	c.OpenAIBaseURL = cmp.Or(c.OpenAIBaseURL, "https://api.openai.com/v1")
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 30*time.Second)
	c.RequestsMax = cmp.Or(c.RequestsMax, 16)
	c.InputTokensMax = cmp.Or(c.InputTokensMax, 8191)
	c.CacheBytesMax = cmp.Or(c.CacheBytesMax, 16<<20)
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
}

// Service is a process's way to providers. All methods may be called at once.
type Service struct {
	config  Config
	client  *client
	metrics *metrics
	cache   *cache
	local   *local.Models

	processor chan struct{} // a slot for each request to local models

	mu        sync.Mutex
	gates     map[string]*gate
	embedders map[settings]*opening
}

// settings are what topics have to have in common to share requests.
type settings struct {
	model       Model
	endpoint    string
	batch       int
	concurrency int
	retries     int
}

// opening is an Embedder that somebody opens or has opened.
type opening struct {
	once     sync.Once
	embedder *Embedder
	err      error
}

// New returns a service that nothing was asked of yet. It fails when CAFile
// cannot be read or the metrics are registered already.
func New(c Config) (*Service, error) {
	c.fill()
	transport, err := newClient(c)
	if err != nil {
		return nil, err
	}
	s := &Service{
		config: c, client: transport, metrics: newMetrics(), cache: newCache(c.CacheBytesMax),
		local: c.Local.models(), processor: make(chan struct{}, localRequests), gates: make(map[string]*gate), embedders: make(map[settings]*opening),
	}
	if err := s.metrics.register(c.Registerer); err != nil {
		return nil, fmt.Errorf("metrics of embedding: %w", err)
	}
	return s, nil
}

// Open returns the embedder of a topic: the same for all topics that agree on
// the model and on how it is asked. It asks no provider yet; a local model is
// read from disk. Its errors are of kind Misconfigured.
func (s *Service) Open(v topicconfig.Vector) (*Embedder, error) {
	key := settings{
		model: ModelOf(v), endpoint: v.Endpoint, batch: max(v.BatchSize, 1), concurrency: max(v.Concurrency, 1), retries: v.RetriesMax,
	}
	s.mu.Lock()
	o := s.embedders[key]
	if o == nil {
		o = &opening{}
		s.embedders[key] = o
	}
	s.mu.Unlock()
	o.once.Do(func() {
		if o.embedder, o.err = s.open(key); o.err == nil {
			return
		}
		o.err = &Error{Kind: Misconfigured, Model: key.model, Err: o.err}
		s.mu.Lock()
		delete(s.embedders, key) // the next one tries again
		s.mu.Unlock()
	})
	return o.embedder, o.err
}

func (s *Service) open(key settings) (*Embedder, error) {
	p, at, err := s.provider(key)
	if err != nil {
		return nil, err
	}
	e := &Embedder{
		model: key.model, endpoint: key.endpoint, provider: p, gate: s.gate(at, key.model), limits: limitsOf(key.model, s.config.InputTokensMax),
		retries: key.retries, cache: s.cache, meter: s.metrics.of(key.model, s.config.PricePerMillionTokens), timeout: s.config.RequestTimeout,
	}
	if key.model.Provider == providerLocal {
		e.timeout = localTimeout
	}
	e.queue = newQueue(e.settle, key.batch, key.concurrency, e.limits, e.meter)
	return e, nil
}

// provider makes what asks for a model's vectors, and names the endpoint whose
// limits it shares.
func (s *Service) provider(key settings) (p provider, at string, err error) {
	switch key.model.Provider {
	case "openai":
		return s.openAI(key)
	case "external":
		return s.external(key)
	case providerLocal:
		return s.openLocal(key)
	}
	return nil, "", fmt.Errorf("provider %q is not in this version", key.model.Provider)
}

// gate returns what requests to an endpoint go through. Models of this machine have
// one each, and share the processor.
func (s *Service) gate(at string, model Model) *gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gates[at]
	switch {
	case g != nil:
		return g
	case model.Provider == providerLocal:
		g = &gate{slots: s.processor, jitter: s.config.Jitter}
	default:
		g = newGate(s.config.RequestsMax, s.config.RequestsPerMinute, s.config.TokensPerMinute, s.config.Jitter)
	}
	s.gates[at] = g
	return g
}

// Close lets connections and local models go. Nobody may wait for vectors any more;
// what callers have given up may still be under way.
func (s *Service) Close() error {
	s.client.close()
	return s.local.Close()
}

// provider is one way to vectors. A call is one request; calls may come at once.
type provider interface {
	embed(ctx context.Context, texts []string) (answer, error)
}

// answer is what a provider made of the texts of one request.
type answer struct {
	values     []float32 // the vectors, one after the other, in the order of the texts
	dimensions int       // of each
	tokens     int       // 0: not said
	cut        []bool    // of each text, whether the provider itself cut it; nil: none
}
