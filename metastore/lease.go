package metastore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// lease is a lease that is kept alive in the background until it is lost or
// closed. Its deadline is on the safe side of the store's: counted from when
// the last successful renewal was sent, less a margin, on the monotonic clock.
type lease struct {
	store *Store
	kind  string // for the metric and the log
	id    kv.LeaseID
	ttl   time.Duration

	born     time.Time
	deadline atomic.Int64 // nanoseconds after born
	cancel   context.CancelFunc
	stopped  chan struct{} // the goroutine has returned

	mu    sync.Mutex
	done  chan struct{}
	cause error
}

// margin is what is taken off the ttl for the time between a check of the
// deadline and what is done on the strength of it.
func margin(ttl time.Duration) time.Duration { return ttl / 10 }

// lease grants one and starts to keep it.
func (s *Store) lease(ctx context.Context, kind string, ttl time.Duration) (*lease, error) {
	l := &lease{store: s, kind: kind, ttl: ttl, stopped: make(chan struct{}), done: make(chan struct{})}
	pause := s.newBackoff()
	for {
		l.born = time.Now() // before the request: the safe side
		var err error
		if l.id, err = s.grant(ctx, ttl); err == nil {
			break
		}
		if !errors.Is(err, kv.ErrUnavailable) && !errors.Is(err, kv.ErrUnknownOutcome) || pause.wait(ctx) != nil {
			return nil, fmt.Errorf("get a lease of %v: %w", ttl, err)
		}
	}
	l.extend(l.born)
	var keeping context.Context
	keeping, l.cancel = context.WithCancel(s.life)
	s.tasks.Go(func() { l.keep(keeping) })
	return l, nil
}

func (s *Store) grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return s.kv.Grant(ctx, ttl)
}

// extend moves the deadline after a renewal that was sent at sent.
func (l *lease) extend(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	l.deadline.Store(int64(sent.Sub(l.born) + l.ttl - margin(l.ttl)))
}

// Deadline is the moment until which the lease certainly lives.
func (l *lease) Deadline() time.Time { return l.born.Add(time.Duration(l.deadline.Load())) }

// Valid reports whether the lease certainly lives now.
func (l *lease) Valid() bool {
	if int64(time.Since(l.born)) >= l.deadline.Load() {
		return false
	}
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// Done is closed when the lease is over for good: lapsed, lost or closed.
func (l *lease) Done() <-chan struct{} { return l.done }

// Err says why Done was closed; before it is nil.
func (l *lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// lose ends the lease on this side. The first cause stays.
func (l *lease) lose(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	l.cause = cause
	l.deadline.Store(0)
	close(l.done)
	l.cancel()
	if !errors.Is(cause, ErrClosed) {
		l.store.metrics.lapses.WithLabelValues(l.kind).Inc()
		l.store.log.Warn("lease is over", "kind", l.kind, "err", cause)
	}
}

// keep renews the lease three times a ttl, and more often while that fails.
func (l *lease) keep(ctx context.Context) {
	defer close(l.stopped)
	timer := time.NewTimer(l.ttl / 3)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			l.lose(ErrClosed)
			return
		}
		err := l.renew(ctx)
		switch {
		case ctx.Err() != nil:
			l.lose(ErrClosed)
			return
		case err == nil:
			timer.Reset(l.ttl / 3)
		case errors.Is(err, kv.ErrLeaseNotFound):
			l.lose(fmt.Errorf("%w: %w", ErrLapsed, err))
			return
		case !l.Valid():
			l.lose(fmt.Errorf("%w: no renewal came through: %w", ErrLapsed, err))
			return
		default:
			timer.Reset(min(l.ttl/20, time.Until(l.Deadline())))
		}
	}
}

// renew sends one renewal. It is given up in time for another, and never
// counts if it is answered after the deadline: by then others may act.
func (l *lease) renew(ctx context.Context) error {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(ctx, min(l.ttl/4, l.Deadline().Sub(sent)))
	defer cancel()
	if err := l.store.kv.KeepAlive(ctx, l.id); err != nil {
		return err
	}
	if !l.Valid() {
		return errors.New("renewal was answered after the deadline")
	}
	l.extend(sent)
	return nil
}

// close ends the lease and deletes what hangs on it. It stops trying when ctx
// ends or the lease has lapsed by itself.
func (l *lease) close(ctx context.Context) error {
	l.lose(ErrClosed)
	<-l.stopped
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	pause := l.store.newBackoff()
	for {
		err := l.store.kv.Revoke(ctx, l.id)
		if err == nil || errors.Is(err, kv.ErrLeaseNotFound) {
			return nil
		}
		if pause.wait(ctx) != nil {
			return fmt.Errorf("revoke the lease, which lapses now: %w", err)
		}
	}
}
