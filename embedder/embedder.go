package embedder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// Embedder makes vectors with one model. All methods may be called at once.
type Embedder struct {
	model    Model
	endpoint string // that the topic names; empty: the operator's
	provider provider
	gate     *gate
	queue    *queue
	limits   limits
	retries  int
	timeout  time.Duration
	cache    *cache
	meter    *meter

	// learned is the length of vectors, where the topic does not say it, from the
	// first answer on.
	learned atomic.Int64
}

// Model is what the vectors are made with; its dimensions are 0 until the first
// answer where the topic does not say them.
func (e *Embedder) Model() Model { return e.model.With(int(e.learned.Load())) }

// Embed returns the vectors of texts, in their order. When it fails, the vectors
// are those of the first texts (Vectors.Len), so that nothing that was paid for is
// lost. Its errors are of type *Error, or the context's.
func (e *Embedder) Embed(ctx context.Context, texts []string) (Vectors, error) {
	c := newCall(texts, e.limits)
	e.meter.began(len(texts), c.blank)
	err := e.queue.do(ctx, c)
	e.meter.ended(c)
	return c.vectors(e.Model()), err
}

// Query returns the vector of a text that is searched for. It does not wait for
// documents, is tried again for as long as ctx lasts at most, and remembered.
// The vector is shared: do not change it.
func (e *Embedder) Query(ctx context.Context, text string) ([]float32, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &Error{Kind: Refused, Model: e.model, Err: errors.New("the text is blank")}
	}
	vector, there, err := e.cache.get(ctx, cacheKey{e.model, e.endpoint, text}, func(ctx context.Context) ([]float32, error) {
		texts := []string{text}
		if n := e.limits.inputBytesMax; n > 0 {
			texts[0] = cut(text, n)
		}
		b := &batch{texts: texts, settled: make([]settled, 1), urgent: true}
		if err := e.settle(ctx, b); err != nil {
			return nil, err
		}
		if b.settled[0] != embedded {
			return nil, &Error{Kind: Refused, Model: e.model, Err: errors.New("the provider refuses this text")}
		}
		return b.values, nil
	})
	e.meter.query(there, err)
	return vector, err
}

// Skipped counts records that have no text.
func (e *Embedder) Skipped(why Skip, records int) { e.meter.skipped(why, records) }

// dimensions holds the length of an answer's vectors against the model's.
func (e *Embedder) dimensions(n int) error {
	want := e.model.Dimensions
	if want == 0 {
		e.learned.CompareAndSwap(0, int64(n))
		want = int(e.learned.Load())
	}
	if n != want {
		return &Error{Kind: Dimensions, Model: e.model, Err: fmt.Errorf("the provider's vectors have %d dimensions, not %d", n, want)}
	}
	return nil
}
