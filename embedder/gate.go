package embedder

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// gate is what all requests to one model at one endpoint go through: how many are
// under way, its rates, the pauses that it asked for, and its circuit.
type gate struct {
	slots  chan struct{}  // one for each request with documents
	jitter func() float64 // from 0 to 1

	mu       sync.Mutex
	requests bucket
	tokens   bucket
	paused   time.Time // until then, because it said so
	circuit  circuit
}

func newGate(requestsMax, requestsPerMinute, tokensPerMinute int, jitter func() float64) *gate {
	return &gate{
		slots:    make(chan struct{}, requestsMax),
		jitter:   jitter,
		requests: bucket{rate: float64(requestsPerMinute) / 60},
		tokens:   bucket{rate: float64(tokensPerMinute) / 60},
	}
}

// pauseLongest bounds what a provider can ask for: then it is tried once more.
const pauseLongest = 10 * time.Minute

// enter waits until a request may be sent; leave has to follow if it does not
// fail. One that is urgent goes before all others and does not wait for the rates:
// what it uses of them the others wait for. It waits for pauses.
func (g *gate) enter(ctx context.Context, tokens int, urgent bool) error {
	if err := g.closed(time.Now()); err != nil {
		return err // at once, not when a slot is free
	}
	if !urgent {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := g.turn(ctx, tokens, urgent); err != nil {
		g.free(urgent)
		return err
	}
	return nil
}

func (g *gate) free(urgent bool) {
	if !urgent {
		<-g.slots
	}
}

// closed says whether and for how long the circuit is open.
func (g *gate) closed(now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.circuit.refuses(now)
}

// turn waits for the rates and for pauses, and passes the circuit.
func (g *gate) turn(ctx context.Context, tokens int, urgent bool) error {
	g.mu.Lock()
	now := time.Now()
	wait := max(g.requests.take(now, 1), g.tokens.take(now, float64(tokens)))
	g.mu.Unlock()
	if urgent {
		wait = 0
	}
	for {
		if err := sleep(ctx, wait); err != nil {
			return g.unused(tokens, err)
		}
		g.mu.Lock()
		now := time.Now()
		wait = g.paused.Sub(now)
		if wait <= 0 {
			err := g.circuit.enter(now)
			g.mu.Unlock()
			if err != nil {
				return g.unused(tokens, err)
			}
			return nil
		}
		g.mu.Unlock()
		deadline, bounded := ctx.Deadline()
		if wait > patience || bounded && now.Add(wait).After(deadline) {
			return g.unused(tokens, &Error{Kind: Throttled, RetryAfter: wait, Err: fmt.Errorf("the provider asks for a pause of %v", wait.Round(time.Millisecond))})
		}
	}
}

// unused gives back what a request that is not sent took from the rates.
func (g *gate) unused(tokens int, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests.put(1)
	g.tokens.put(float64(tokens))
	return err
}

// leave is what became of a request. more are the tokens that it used beyond
// those that it entered with.
func (g *gate) leave(err error, more int, urgent bool) {
	g.free(urgent)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch retryAfter, _ := Temporary(err); kindOf(err) {
	case Unavailable, Timeout:
		g.circuit.failed(now, err, g.jitter())
		g.pause(now, retryAfter)
	case Throttled:
		g.circuit.answered()
		g.pause(now, retryAfter)
	case "":
		if err != nil {
			g.circuit.given() // up by its caller
			return
		}
		g.circuit.answered()
		g.tokens.put(float64(-more))
	default:
		g.circuit.answered()
	}
}

func (g *gate) pause(now time.Time, d time.Duration) {
	if until := now.Add(min(d, pauseLongest)); until.After(g.paused) {
		g.paused = until
	}
}

// bucket is a rate. It may be overdrawn: a request goes when nothing is owed, and
// what it uses is waited off by those after it, so that one of any size can go.
type bucket struct {
	rate    float64 // a second; 0: none
	balance float64 // at most what gathers in a second, but one request at least
	at      time.Time
}

// take uses n, and returns the time after which that may be done.
func (b *bucket) take(now time.Time, n float64) time.Duration {
	if b.rate == 0 {
		return 0
	}
	most := max(b.rate, 1)
	if b.at.IsZero() {
		b.balance = most
	} else {
		b.balance = min(most, b.balance+b.rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	owed := -b.balance
	if n <= 1 {
		owed = n - b.balance // of what comes one by one, a whole one has to be there
	}
	b.balance -= n
	return time.Duration(max(0, owed) / b.rate * float64(time.Second))
}

// put gives n back.
func (b *bucket) put(n float64) {
	if b.rate > 0 {
		b.balance += n
	}
}
