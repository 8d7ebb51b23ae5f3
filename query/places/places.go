// Package places decides how many queries run at once, and how many more wait
// for their turn and how long. A node that is asked more than it can answer says
// so soon, instead of keeping everybody waiting until nobody wants the answer.
package places

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// BusyError is the error of a query that got no place.
type BusyError struct {
	Running, Waiting int           // when it came, or gave up
	Waited           time.Duration // zero: it did not get to wait
	Hurried          bool          // who asked was
}

// Error implements error.
func (e *BusyError) Error() string {
	if e.Waited == 0 {
		return fmt.Sprintf("the node is busy: %d queries run and %d wait", e.Running, e.Waiting)
	}
	return fmt.Sprintf("the node is busy: no other query ended within %s", e.Waited.Round(time.Millisecond))
}

// Options are the bounds; all are required.
type Options struct {
	RunningMax int           // queries at once
	WaitingMax int           // further ones that wait
	WaitMax    time.Duration // for a place
}

// Places are taken and left. All methods may be called at once.
type Places struct {
	options          Options
	places           *semaphore.Weighted
	running, waiting atomic.Int64
	coming           atomic.Int64
	refused          atomic.Int64
}

// comingFactor: so many times Options.WaitingMax may be on their way to a place.
// What they wait for takes next to nothing of this node.
const comingFactor = 4

// New returns places that are free.
func New(o Options) *Places {
	return &Places{options: o, places: semaphore.NewWeighted(int64(o.RunningMax))}
}

type hurryKey struct{}

// Hurried returns a context in which a place is waited for no longer than waitMax:
// somebody else can answer as well.
func Hurried(ctx context.Context, waitMax time.Duration) context.Context {
	return context.WithValue(ctx, hurryKey{}, waitMax)
}

// waitMax is how long a place is waited for.
func (p *Places) waitMax(ctx context.Context) time.Duration {
	if hurry, is := ctx.Value(hurryKey{}).(time.Duration); is {
		return min(hurry, p.options.WaitMax)
	}
	return p.options.WaitMax
}

// Take waits for a place, in the order of the calls, no longer than
// Options.WaitMax, and than a Hurried context says. The error is a *BusyError, or that
// of a context which ended first.
func (p *Places) Take(ctx context.Context) error {
	if p.places.TryAcquire(1) {
		p.running.Add(1)
		return nil
	}
	if waiting := p.waiting.Add(1); waiting > int64(p.options.WaitingMax) {
		p.waiting.Add(-1)
		return p.busy(ctx, 0)
	}
	defer p.waiting.Add(-1)
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, p.waitMax(ctx))
	defer cancel()
	if p.places.Acquire(within, 1) != nil {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for other queries: %w", err)
		}
		return p.busy(ctx, time.Since(began))
	}
	p.running.Add(1)
	return nil
}

// Come counts a query that waits for what it is to read, before it takes a place,
// until it calls what is returned. The error is a *BusyError: too many do.
func (p *Places) Come(ctx context.Context) (came func(), err error) {
	if p.coming.Add(1) > int64(comingFactor*p.options.WaitingMax) {
		p.coming.Add(-1)
		return nil, p.busy(ctx, 0)
	}
	return func() { p.coming.Add(-1) }, nil
}

func (p *Places) busy(ctx context.Context, waited time.Duration) error {
	p.refused.Add(1)
	return &BusyError{Running: p.Running(), Waiting: p.Waiting(), Waited: waited, Hurried: ctx.Value(hurryKey{}) != nil}
}

// Leave gives a place that was taken to the next one.
func (p *Places) Leave() {
	p.running.Add(-1)
	p.places.Release(1)
}

// Running, Waiting and Refused count queries: the first two now, the last since
// the beginning.
func (p *Places) Running() int { return int(p.running.Load()) }

// Waiting counts those that wait now.
func (p *Places) Waiting() int { return int(p.waiting.Load()) }

// Refused counts those that got a BusyError.
func (p *Places) Refused() int64 { return p.refused.Load() }
