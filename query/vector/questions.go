package vector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// questions are what is asked for, as each model has it. A topic has one model,
// and while its records are embedded again some shards have the one before.
type questions struct {
	service *embedder.Service
	topic   string
	config  topicconfig.Vector
	text    string
	given   []float32     // the vector that is asked for; nil: the text is
	took    time.Duration // to embed the text

	mu sync.Mutex
	of map[embedder.Model]question
}

// question is what a model makes of the text, or why it does not.
type question struct {
	vector []float32
	err    error
}

// errNoEmbedder: the node was started without what texts are embedded by.
var errNoEmbedder = errors.New("this node embeds no texts")

// errOtherModel: a vector that was given is of the current model.
var errOtherModel = errors.New("a vector is compared with those of the topic's current model alone")

// errNotTold: a service of provider external embeds by what model it has, and is
// asked where the topic says now. What it had under another name nobody can ask.
var errNotTold = errors.New("provider external is not told a model: what answers now may be another one")

func newQuestions(service *embedder.Service, c topicconfig.Vector, r *Request) *questions {
	return &questions{service: service, topic: r.Topic, config: c, text: r.Text, given: r.Vector, of: map[embedder.Model]question{}}
}

// again are the questions of another configuration: nobody was asked yet.
func (q *questions) again(c topicconfig.Vector) *questions {
	return &questions{service: q.service, topic: q.topic, config: c, text: q.text, given: q.given, took: q.took, of: map[embedder.Model]question{}}
}

// modelOf is the model that made a shard's vectors.
func modelOf(s vectorindex.Settings) embedder.Model {
	return embedder.Model{Provider: s.Provider, Name: s.Model, Endpoint: s.Endpoint, Dimensions: s.Dimensions}
}

// current reports whether a model is the topic's.
func (q *questions) current(m embedder.Model) bool {
	return embedder.ModelOf(q.config).Matches(m)
}

// key is under what a model's question is found: the dimensions of the topic's
// current one may be known to its provider alone.
func (q *questions) key(m embedder.Model) embedder.Model {
	if q.current(m) {
		return embedder.ModelOf(q.config)
	}
	return m
}

// askAll asks the current model and others, as far as they were not asked. What a
// model answers, be it an error, get tells; the error here is the context's.
func (q *questions) askAll(ctx context.Context, others []embedder.Model) error {
	began := time.Now()
	wanted := map[embedder.Model]bool{embedder.ModelOf(q.config): true}
	for _, m := range others {
		wanted[q.key(m)] = true
	}
	var asking errgroup.Group
	for m := range wanted {
		q.mu.Lock()
		_, known := q.of[m]
		q.mu.Unlock()
		if known {
			continue
		}
		asking.Go(func() error {
			vector, err := q.ask(ctx, m)
			q.mu.Lock()
			defer q.mu.Unlock()
			q.of[m] = question{vector, err}
			return nil
		})
	}
	_ = asking.Wait() // errors are kept
	if q.given == nil {
		q.took += time.Since(began)
	}
	return ctx.Err()
}

func (q *questions) ask(ctx context.Context, m embedder.Model) ([]float32, error) {
	switch {
	case q.given != nil && q.current(m):
		return q.given, nil
	case q.given != nil:
		return nil, errOtherModel
	case m.Provider == "external" && m.Name != "" && !q.current(m):
		return nil, errNotTold
	case q.service == nil:
		return nil, errNoEmbedder
	}
	e, err := q.service.Open(q.configOf(m))
	if err != nil {
		return nil, err
	}
	return e.Query(ctx, q.text)
}

// configOf is how a model is asked. Where a former one was asked is not known any
// more if it has a name: at the same place as its successor, if that is of the same
// provider.
func (q *questions) configOf(m embedder.Model) topicconfig.Vector {
	if q.current(m) {
		return q.config
	}
	c := q.config
	c.Provider, c.Model, c.Dimensions = m.Provider, m.Name, m.Dimensions
	if m.Endpoint != "" || m.Provider != q.config.Provider {
		c.Endpoint = m.Endpoint
	}
	return c
}

// unaskedError: a model that nobody has asked yet.
type unaskedError struct{ model embedder.Model }

// Error implements error.
func (e *unaskedError) Error() string { return fmt.Sprintf("%s was not asked yet", e.model) }

// get returns the question for a model's shards. *unaskedError: ask it first.
func (q *questions) get(m embedder.Model) ([]float32, error) {
	q.mu.Lock()
	got, known := q.of[q.key(m)]
	q.mu.Unlock()
	switch {
	case !known:
		return nil, &unaskedError{m}
	case got.err != nil:
		return nil, got.err
	}
	if len(got.vector) != m.Dimensions && q.given != nil {
		return nil, &RequestError{fmt.Sprintf("the vector has %d dimensions, those of topic %s have %d", len(q.given), q.topic, m.Dimensions)}
	}
	if len(got.vector) != m.Dimensions {
		return nil, fmt.Errorf("the model gives vectors of %d dimensions now, not of %d", len(got.vector), m.Dimensions)
	}
	return got.vector, nil
}

// failure is why the current model did not answer; nil: it did.
func (q *questions) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.of[embedder.ModelOf(q.config)].err
}

// failed is a provider's error as an answer tells it; that of the request, when
// its time is over.
func (q *questions) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := &ProviderError{Topic: q.topic, Err: err}
	e.RetryAfter, e.Temporary = embedder.Temporary(err)
	return e
}
