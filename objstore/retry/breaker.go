package retry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/objstore"
)

// probeName is an object that no store has. Any answer about it, also that it is
// not there or may not be seen, shows that the store is back.
const probeName = "chronik-probe"

// errOpen marks an attempt that was not made because the store is held to be away.
var errOpen = errors.New("not asked")

// breaker keeps calls from a store that is away. It opens when attempts have
// failed in a row, of whatever callers: BreakerFailures of them, or fewer over
// BreakerAfter. While it is open, reads are refused at once, so that their
// callers can say so at once, and puts wait, as nothing else would help those
// who flush. After a pause the next comer asks the store for an object that is
// not there, alone and with a small request; whoever else comes meanwhile waits
// or is refused. Any answer closes the breaker. Else the pause doubles, and is a
// random part of its bound, so that processes that lost the store together do
// not come back together.
//
// It probes for callers only: a store that nobody asks stays as it was seen last.
type breaker struct {
	o     *Options
	probe func(ctx context.Context) error

	open    prometheus.Gauge
	opened  prometheus.Counter
	refused *prometheus.CounterVec // op

	mu      sync.Mutex
	failed  int       // attempts in a row
	since   time.Time // of the first of them
	last    error
	isOpen  bool
	probing bool
	pauses  int
	until   time.Time     // no probe before it
	changed chan struct{} // closed when a probe ends, or the breaker closes
}

func newBreaker(o *Options, probe func(context.Context) error) (*breaker, error) {
	b := &breaker{o: o, probe: probe, changed: make(chan struct{})}
	var errs [3]error
	b.open, errs[0] = objstore.Register(o.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chronik_objstore_away", Help: "1 while the object store is held to be away: it failed several times in a row.",
	}))
	b.opened, errs[1] = objstore.Register(o.Registerer, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "chronik_objstore_away_total", Help: "How often it was held to be away.",
	}))
	b.refused, errs[2] = objstore.Register(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_objstore_not_asked_total", Help: "Attempts that were not made then, by operation: puts wait, others are refused.",
	}, []string{"op"}))
	return b, errors.Join(errs[:]...)
}

// pass returns nil when the store may be asked. An attempt that waits is kept
// until it may, or ctx ends.
func (b *breaker) pass(ctx context.Context, op string, wait bool) error {
	for counted := false; ; counted = true {
		b.mu.Lock()
		if !b.isOpen {
			b.mu.Unlock()
			return nil
		}
		left := time.Until(b.until)
		if !b.probing && left <= 0 {
			b.probing = true
			go b.ask(context.WithoutCancel(ctx))
		}
		changed, probing, refusal := b.changed, b.probing, b.refusal()
		b.mu.Unlock()
		if !counted {
			b.refused.WithLabelValues(op).Inc()
		}
		if !wait {
			return refusal
		}
		if err := await(ctx, changed, left, !probing); err != nil {
			return fmt.Errorf("%w: %w", err, refusal)
		}
	}
}

// await waits for changed, for the time given if it counts, or for ctx's end.
func await(ctx context.Context, changed <-chan struct{}, left time.Duration, counts bool) error {
	var elapsed <-chan time.Time
	if counts {
		t := time.NewTimer(left)
		defer t.Stop()
		elapsed = t.C
	}
	select {
	case <-changed:
	case <-elapsed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// refusal is the error of an attempt that is not made. Holds b.mu.
func (b *breaker) refusal() error {
	return fmt.Errorf("%w: %w, it has not answered for %v: %w",
		objstore.ErrUnavailable, errOpen, time.Since(b.since).Round(time.Millisecond), b.last)
}

// ask probes the store, and takes the outcome.
func (b *breaker) ask(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, b.o.BreakerAfter)
	defer cancel()
	err := timedOut(ctx, b.probe(asking))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch {
	case !b.isOpen: // another attempt had been answered meanwhile
	case errors.Is(err, objstore.ErrUnavailable):
		b.last = err
		b.rest()
		b.wake()
	default:
		b.close()
	}
}

// note takes the outcome of an attempt that was made.
func (b *breaker) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return // it says nothing about the store
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.Is(err, objstore.ErrUnavailable) {
		b.failed = 0
		if b.isOpen {
			b.close()
		}
		return
	}
	b.last = err
	if b.failed++; b.failed == 1 {
		b.since = time.Now()
	}
	if b.isOpen || b.failed < 2 || b.failed < b.o.BreakerFailures && time.Since(b.since) < b.o.BreakerAfter {
		return
	}
	b.isOpen, b.pauses = true, 0
	b.rest()
	b.open.Set(1)
	b.opened.Inc()
	b.o.Log.Error("object store is held to be away, reads are refused and flushes wait", "failures", b.failed, "error", err)
}

// rest sets the time of the next probe. Holds b.mu.
func (b *breaker) rest() {
	bound := b.o.BreakerPauseMin << min(b.pauses, 20)
	if bound <= 0 || bound > b.o.BreakerPauseMax {
		bound = b.o.BreakerPauseMax
	}
	b.pauses++
	b.until = time.Now().Add(bound/2 + time.Duration(b.o.Jitter()*float64(bound/2)))
}

// wake lets those who wait look again. Holds b.mu.
func (b *breaker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// close lets everybody through again. Holds b.mu.
func (b *breaker) close() {
	b.isOpen, b.failed = false, 0
	b.open.Set(0)
	b.wake()
	b.o.Log.Info("object store answers again", "away", time.Since(b.since).Round(time.Millisecond))
}

// Available returns nil, or since when and why the store is held to be away.
func (b *Bucket) Available() error {
	b.breaker.mu.Lock()
	defer b.breaker.mu.Unlock()
	if !b.breaker.isOpen {
		return nil
	}
	return b.breaker.refusal()
}
