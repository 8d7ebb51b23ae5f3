package embedder

import (
	"errors"
	"fmt"
	"time"
)

// circuit is a circuit breaker: after several failures in a row nothing is asked
// for a while, then one request, whose success closes it again. Each failure of
// that one doubles the while.
type circuit struct {
	failures int       // in a row
	open     time.Time // until then; zero: it is closed
	length   time.Duration
	trying   bool // the one request is under way
	last     error
}

const (
	failuresMax = 5
	openFirst   = time.Second
	openMax     = time.Minute
)

// refuses says why nothing may be sent, nil if something may.
func (c *circuit) refuses(now time.Time) error {
	switch wait := c.open.Sub(now); {
	case c.open.IsZero():
		return nil
	case wait > 0:
		return c.refusal(wait)
	case c.trying:
		return c.refusal(openFirst)
	}
	return nil
}

func (c *circuit) refusal(wait time.Duration) error {
	return &Error{Kind: CircuitOpen, RetryAfter: wait, Err: fmt.Errorf("the provider failed %d times in a row and is not asked for %v: %w", c.failures, wait.Round(time.Millisecond), c.last)}
}

// enter is a request that is about to be sent.
func (c *circuit) enter(now time.Time) error {
	if err := c.refuses(now); err != nil {
		return err
	}
	c.trying = !c.open.IsZero()
	return nil
}

// answered is a provider that is there, whatever it says.
func (c *circuit) answered() { *c = circuit{} }

// given is a request that was given up, which says nothing about the provider.
func (c *circuit) given() { c.trying = false }

// failed is a provider that is not there. jitter, from 0 to 1, is by how much less
// than the while nothing is asked, so that not all come back at once.
func (c *circuit) failed(now time.Time, err error, jitter float64) {
	c.failures++
	c.last = err
	if e := (*Error)(nil); errors.As(err, &e) {
		c.last = e.Err // who reads it knows what was wanted
	}
	// Those that were sent before it opened do not count as the one after.
	if c.failures < failuresMax || now.Before(c.open) {
		return
	}
	c.trying = false
	c.length = min(max(2*c.length, openFirst), openMax)
	c.open = now.Add(c.length - time.Duration(jitter*float64(c.length/5)))
}
