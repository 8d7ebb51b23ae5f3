// Package retry is the one place where calls of a bucket are tried again.
//
// It tries again what failed with ErrUnavailable, and an attempt that took
// longer than its time, with exponential backoff and full jitter, until it
// succeeds, the attempts are used up or the caller's context ends. A reader of
// Open and a List that break in the middle go on where they were; that is right
// for objects that are never replaced, as Chronik's are.
//
// A put with IfAbsent whose answer was lost meets its own object when it is
// tried again. Then the stored bytes are compared with the body: when they are
// equal the put has succeeded. A rival that put the very same bytes under the
// same name cannot be told from oneself; names with a ULID have no rivals. A put
// with IfMatch that is refused after a lost answer stays unknown.
//
// A store that fails again and again is not asked any more for a while: see
// breaker. Then reads fail at once, and puts wait for it.
package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/objstore"
)

// Options bound the trying. Zero values take the defaults.
type Options struct {
	AttemptsMax int           // of one call, the first included; default 6
	BackoffMin  time.Duration // bound of the first pause; default 50 ms
	BackoffMax  time.Duration // bound of all pauses; default 5 s
	// AttemptTimeout bounds one attempt, plus the time that its bytes take at
	// BytesPerSecondMin. Of an Open it bounds each silence. Default 15 s.
	AttemptTimeout    time.Duration
	BytesPerSecondMin int64 // default 1 MiB/s

	// The store is held to be away after BreakerFailures attempts in a row that
	// failed (default 10), or after several that failed over BreakerAfter (default
	// 5 s). Then it is probed, with pauses from BreakerPauseMin (default 200 ms)
	// up to BreakerPauseMax (default 2 s).
	BreakerFailures                  int
	BreakerAfter                     time.Duration
	BreakerPauseMin, BreakerPauseMax time.Duration

	// Jitter gives a number in [0, 1); default math/rand's.
	Jitter     func() float64
	Log        *slog.Logger          // default: none
	Registerer prometheus.Registerer // may be nil
}

func (o *Options) defaults() {
	setDefault(&o.AttemptsMax, 6)
	setDefault(&o.BackoffMin, 50*time.Millisecond)
	setDefault(&o.BackoffMax, 5*time.Second)
	setDefault(&o.AttemptTimeout, 15*time.Second)
	setDefault(&o.BytesPerSecondMin, 1<<20)
	setDefault(&o.BreakerFailures, 10)
	setDefault(&o.BreakerAfter, 5*time.Second)
	setDefault(&o.BreakerPauseMin, 200*time.Millisecond)
	setDefault(&o.BreakerPauseMax, 2*time.Second)
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Bucket is an objstore.Bucket that tries again.
type Bucket struct {
	bucket  objstore.Bucket
	o       Options
	breaker *breaker
	retries *prometheus.CounterVec
}

// New wraps bucket.
func New(bucket objstore.Bucket, o Options) (*Bucket, error) {
	o.defaults()
	retries, err := objstore.Register(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_objstore_retries_total",
		Help: "Attempts after the first, by operation.",
	}, []string{"op"}))
	if err != nil {
		return nil, fmt.Errorf("retry: %w", err)
	}
	b := &Bucket{bucket: bucket, o: o, retries: retries}
	b.breaker, err = newBreaker(&b.o, func(ctx context.Context) error {
		_, err := bucket.Head(ctx, probeName)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("retry: %w", err)
	}
	return b, nil
}

// tries counts the attempts of one call.
type tries struct {
	bucket *Bucket
	op     string
	name   string
	failed int
}

// again waits before the next attempt and returns nil, or returns err, the last
// attempt's, when there is none to be.
func (t *tries) again(ctx context.Context, err error) error {
	t.failed++
	switch ended := ctx.Err(); {
	case !errors.Is(err, objstore.ErrUnavailable):
		return err
	case errors.Is(err, errOpen):
		return fmt.Errorf("%s %s: %w", t.op, t.name, err)
	case ended != nil:
		return fmt.Errorf("%w: %w", ended, err)
	}
	if t.failed >= t.bucket.o.AttemptsMax {
		return fmt.Errorf("after %d attempts: %w", t.failed, err)
	}
	pause := t.bucket.pause(t.failed)
	t.bucket.retries.WithLabelValues(t.op).Inc()
	t.bucket.o.Log.Warn("object store call failed, trying again",
		"op", t.op, "object", t.name, "attempt", t.failed, "pause", pause, "error", err)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
}

// pause is a random part of a bound that doubles: rivals that failed together do
// not come back together.
func (b *Bucket) pause(failed int) time.Duration {
	bound := b.o.BackoffMin << min(failed-1, 30)
	if bound <= 0 || bound > b.o.BackoffMax {
		bound = b.o.BackoffMax
	}
	return time.Duration(b.o.Jitter() * float64(bound))
}

// attempt runs f under the time that one attempt has for so many bytes, unless
// the store is held to be away.
func (b *Bucket) attempt(ctx context.Context, op string, bytes int64, f func(context.Context) error) error {
	if err := b.breaker.pass(ctx, op, op == "put"); err != nil {
		return err
	}
	// No object is larger; a caller's number may be.
	seconds := float64(min(bytes, 5<<30)) / float64(b.o.BytesPerSecondMin)
	limit := b.o.AttemptTimeout + time.Duration(seconds*float64(time.Second))
	attempt, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := timedOut(ctx, f(attempt))
	b.breaker.note(ctx, err)
	return err
}

// timedOut makes the end of an attempt's own context, while the caller's goes
// on, what it means: the outcome is unknown.
func timedOut(ctx context.Context, err error) error {
	ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if ended && ctx.Err() == nil && !errors.Is(err, objstore.ErrUnavailable) {
		return fmt.Errorf("%w: attempt took too long: %w", objstore.ErrUnavailable, err)
	}
	return err
}

// do runs f until it succeeds or may not be tried again.
func (b *Bucket) do(ctx context.Context, op, name string, bytes int64, f func(context.Context) error) error {
	t := tries{bucket: b, op: op, name: name}
	for {
		err := b.attempt(ctx, op, bytes, f)
		if err == nil {
			return nil
		}
		if err := t.again(ctx, err); err != nil {
			return err
		}
	}
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, offset, length int64) (data []byte, err error) {
	// How much "to the end" is, only the store knows: as much as objects are at
	// most meant to be.
	expected := length
	if length < 0 {
		expected = 256 << 20
	}
	err = b.do(ctx, "get", name, expected, func(ctx context.Context) (err error) {
		data, err = b.bucket.Get(ctx, name, offset, length)
		return err
	})
	return data, err
}

// Head implements objstore.Bucket.
func (b *Bucket) Head(ctx context.Context, name string) (a objstore.Attributes, err error) {
	err = b.do(ctx, "head", name, 0, func(ctx context.Context) (err error) {
		a, err = b.bucket.Head(ctx, name)
		return err
	})
	return a, err
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	return b.do(ctx, "delete", name, 0, func(ctx context.Context) error {
		return b.bucket.Delete(ctx, name)
	})
}

// List implements objstore.Bucket. A list that breaks begins anew and leaves out
// what it has shown; showing something new gives back all attempts.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		t := tries{bucket: b, op: "list", name: prefix}
		last := "" // no object has this name, and every name is greater
		for {
			broken := b.breaker.pass(ctx, t.op, false)
			for a, err := range b.pages(ctx, prefix, broken) {
				b.breaker.note(ctx, err)
				if err != nil {
					broken = err
					break
				}
				if a.Name <= last {
					continue
				}
				last, t.failed = a.Name, 0
				if !yield(a, nil) {
					return
				}
			}
			if broken == nil {
				return
			}
			if err := t.again(ctx, broken); err != nil {
				yield(objstore.Attributes{}, err)
				return
			}
		}
	}
}

// pages is one attempt to list; none when there is to be none.
func (b *Bucket) pages(ctx context.Context, prefix string, refused error) iter.Seq2[objstore.Attributes, error] {
	if refused != nil {
		return func(func(objstore.Attributes, error) bool) {}
	}
	return b.bucket.List(ctx, prefix)
}

// Open implements objstore.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	t := tries{bucket: b, op: "open", name: name}
	for {
		err := b.breaker.pass(ctx, t.op, false)
		var r io.ReadCloser
		if err == nil {
			r, err = b.open(ctx, name)
			b.breaker.note(ctx, err)
		}
		if err == nil {
			return &reader{bucket: b, ctx: ctx, name: name, stream: r}, nil
		}
		if err := t.again(ctx, err); err != nil {
			return nil, err
		}
	}
}
