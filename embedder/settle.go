package embedder

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// batch is the texts of one request, and what became of them.
type batch struct {
	texts   []string
	urgent  bool      // somebody waits for an answer: see gate.enter
	values  []float32 // len(texts) vectors, once the first has come
	settled []settled
	tokens  int
	cut     []bool // nil: none
	largest int    // texts of the largest request that was not refused
	faulty  bool   // a text was shortened or left out
}

// shortened notes that not all of a text has become its vector.
func (b *batch) shortened(i int) {
	if b.cut == nil {
		b.cut = make([]bool, len(b.texts))
	}
	b.cut[i] = true
}

// probe is a text that every model takes.
const probe = "chronik"

// shortest is how many bytes of a text that is refused are tried at last.
const shortest = 64

// settle embeds the texts of a batch. What it has when it fails stays.
//
// A provider that refuses a request does not say which text it does not like. If
// it takes another one, halving finds those; each is tried again shorter, since
// most are refused for their length, and at last goes without a vector: one
// message must not hold up all that come after it. If no text is at fault, there
// were too many, and later requests have fewer.
func (e *Embedder) settle(ctx context.Context, b *batch) error {
	err := e.send(ctx, b, 0, len(b.texts))
	if kindOf(err) != Refused {
		return err
	}
	if _, other := e.request(ctx, []string{probe}, b.urgent); other != nil {
		if kindOf(other) == Refused {
			return err // it is not the texts
		}
		return other
	}
	err = e.narrow(ctx, b, 0, len(b.texts))
	if err == nil && !b.faulty {
		e.queue.shrink(b.largest)
	}
	return err
}

// narrow settles texts among which some are refused.
func (e *Embedder) narrow(ctx context.Context, b *batch, first, next int) error {
	if next-first > 1 {
		middle := (first + next) / 2
		for _, half := range [][2]int{{first, middle}, {middle, next}} {
			err := e.send(ctx, b, half[0], half[1])
			if kindOf(err) == Refused {
				err = e.narrow(ctx, b, half[0], half[1])
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	b.faulty = true
	for len(b.texts[first]) >= 2*shortest {
		b.texts[first] = cut(b.texts[first], len(b.texts[first])/2)
		b.shortened(first)
		if err := e.send(ctx, b, first, next); kindOf(err) != Refused {
			return err
		}
	}
	b.settled[first] = refused
	e.meter.skipped(skipRefused, 1)
	return nil
}

// send is a request with the texts [first, next) of a batch.
func (e *Embedder) send(ctx context.Context, b *batch, first, next int) error {
	a, err := e.request(ctx, b.texts[first:next], b.urgent)
	if err != nil {
		return err
	}
	if b.values == nil {
		b.values = make([]float32, len(b.texts)*a.dimensions)
	}
	copy(b.values[first*a.dimensions:], a.values)
	for i := first; i < next; i++ {
		b.settled[i] = embedded
		if a.cut != nil && a.cut[i-first] {
			b.shortened(i)
		}
	}
	b.tokens += a.tokens
	b.largest = max(b.largest, next-first)
	return nil
}

// The pauses before a request is tried again: at random up to a bound that
// doubles, so that those who failed together do not come back together.
const (
	pauseFirst = 500 * time.Millisecond
	pauseMax   = 30 * time.Second
	// patience is the longest pause that a provider may ask for and a request waits
	// for; beyond, its caller is told when to come again.
	patience = 30 * time.Second
)

func pauseAfter(attempt int, jitter float64) time.Duration {
	bound := pauseFirst << min(attempt, 10)
	bound = min(bound, pauseMax)
	return bound/2 + time.Duration(jitter*float64(bound/2))
}

// request asks the provider, again where that may help.
func (e *Embedder) request(ctx context.Context, texts []string, urgent bool) (answer, error) {
	tokens := 0
	for _, text := range texts {
		tokens += tokensOf(text)
	}
	for attempt := 0; ; attempt++ {
		a, err := e.attempt(ctx, texts, tokens, urgent)
		var failed *Error
		if err == nil || !errors.As(err, &failed) {
			return a, err
		}
		if !failed.Temporary() || failed.Kind == CircuitOpen || attempt >= e.retries || failed.RetryAfter > patience {
			return answer{}, err
		}
		pause := failed.RetryAfter
		if pause == 0 {
			pause = pauseAfter(attempt, e.gate.jitter())
		}
		if err := sleep(ctx, pause); err != nil {
			return answer{}, fmt.Errorf("%w, while waiting to try again: %w", err, failed)
		}
		e.meter.retried()
	}
}

// attempt asks the provider once, when it is its turn.
func (e *Embedder) attempt(ctx context.Context, texts []string, tokens int, urgent bool) (answer, error) {
	if err := e.gate.enter(ctx, tokens, urgent); err != nil {
		err = e.failed(ctx, err)
		e.meter.failed(err)
		return answer{}, err
	}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	a, err := e.provider.embed(within, texts)
	if err == nil {
		err = e.check(&a, len(texts))
	}
	if err != nil && ctx.Err() == nil && within.Err() != nil {
		err = &Error{Kind: Timeout, Err: fmt.Errorf("no answer within %v", e.timeout)}
	}
	if err != nil {
		err = e.failed(ctx, err)
	}
	if a.tokens == 0 {
		a.tokens = tokens
	}
	e.gate.leave(err, a.tokens-tokens, urgent)
	e.meter.sent(time.Since(began), a, err)
	if err != nil {
		return answer{}, err
	}
	return a, nil
}

// check holds an answer against what was asked.
func (e *Embedder) check(a *answer, texts int) error {
	if a.dimensions == 0 || len(a.values) != texts*a.dimensions {
		return &Error{Kind: BadAnswer, Err: fmt.Errorf("%d numbers for %d texts of %d dimensions", len(a.values), texts, a.dimensions)}
	}
	if err := checkVectors(a.values, a.dimensions); err != nil {
		return &Error{Kind: BadAnswer, Err: err}
	}
	return e.dimensions(a.dimensions)
}

// failed gives an error its type and model; what the caller's context says goes
// first.
func (e *Embedder) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var typed *Error
	if !errors.As(err, &typed) {
		typed = &Error{Kind: Unavailable, Err: err}
	}
	copied := *typed
	copied.Model = e.Model()
	return &copied
}

// sleep waits, if ctx lets it.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
