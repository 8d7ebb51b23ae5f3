// Package bench puts load on a cluster, through its Kafka protocol or any other
// way of asking, and measures rate, latency and errors.
//
// Memory does not grow with the length of a run. With a rate, a latency is
// counted from the moment at which an operation was due, so that a cluster which
// stalls is not measured less often while it does.
package bench

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Load is how much is done, and for how long.
type Load struct {
	Clients  int
	Duration time.Duration
	Rate     float64 // operations a second of all clients; 0: as fast as they can
	Count    int64   // operations after which it ends, too; 0: none
	Progress func(Report)
}

const (
	progressEvery = time.Second
	// pauseAfterError keeps clients from asking a cluster that is away as fast as
	// it is refused.
	pauseAfterError = 100 * time.Millisecond
	// lateMax is how long after the end of the time what was due before is begun: a
	// client that was late by a moment has missed nothing.
	lateMax = time.Second
)

// pace tells the clients of a run when to do what is next.
type pace struct {
	load  Load
	began time.Time
	n     atomic.Int64 // asked for
	begun atomic.Int64
}

func newPace(l Load) *pace { return &pace{load: l, began: time.Now()} }

// next waits until something is due, and says since when it is; not ok: the run
// is over.
func (p *pace) next(ctx context.Context) (due time.Time, ok bool) {
	n, now := p.n.Add(1), time.Now()
	due = now
	end := p.began.Add(p.load.Duration)
	last := end
	if p.load.Rate > 0 {
		due, last = p.began.Add(p.after(n)), end.Add(lateMax)
	}
	if p.load.Count > 0 && n > p.load.Count || !due.Before(end) || !now.Before(last) {
		return due, false
	}
	if !pause(ctx, due.Sub(now)) {
		return due, false
	}
	p.begun.Add(1)
	return due, true
}

// after is how long after the beginning the n-th operation is due, from 1.
func (p *pace) after(n int64) time.Duration {
	return time.Duration(float64(n-1) / p.load.Rate * float64(time.Second))
}

// missed is how many operations were due within the run's time and not begun by
// lateMax after it, since all clients were waiting.
func (p *pace) missed(ctx context.Context) int64 {
	if p.load.Rate == 0 || ctx.Err() != nil { // what an interrupt has left is not due
		return 0
	}
	due := int64(math.Ceil(p.load.Rate * p.load.Duration.Seconds()))
	for due > 0 && p.after(due) >= p.load.Duration { // which that may be off by
		due--
	}
	if p.load.Count > 0 {
		due = min(due, p.load.Count)
	}
	return max(due-p.begun.Load(), 0)
}

// pause returns after d, or at once and false when ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// meter is what one client has measured.
type meter struct {
	mu      sync.Mutex
	latency histogram
	total   totals
	last    time.Time
}

type totals struct {
	count, bytes, errors int64
	failure              error // the first
}

func (t *totals) add(other totals) {
	t.count += other.count
	t.bytes += other.bytes
	t.errors += other.errors
	if t.failure == nil {
		t.failure = other.failure
	}
}

// did counts operations that took so long each.
func (m *meter) did(count, bytes int64, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total.add(totals{count: count, bytes: bytes})
	m.latency.add(took)
	m.last = time.Now()
}

// counted counts operations whose latency is measured elsewhere.
func (m *meter) counted(count, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total.add(totals{count: count, bytes: bytes})
	m.last = time.Now()
}

func (m *meter) waited(took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latency.add(took)
}

func (m *meter) failed(count int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total.add(totals{errors: count, failure: err})
	m.last = time.Now()
}

// spent says that time went by until now, to no end.
func (m *meter) spent() { m.counted(0, 0) }

// drive runs the clients, each with a meter of its own, until all return, and
// reports what they measured.
func drive(ctx context.Context, l Load, client func(ctx context.Context, i int, p *pace, m *meter)) Report {
	p, meters := newPace(l), make([]meter, l.Clients)
	var running sync.WaitGroup
	for i := range meters {
		running.Go(func() { client(ctx, i, p, &meters[i]) })
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if l.Progress != nil {
				l.Progress(report(p.began, time.Now(), meters))
			}
		case <-done:
			last := p.began
			for i := range meters {
				if meters[i].last.After(last) {
					last = meters[i].last
				}
			}
			r := report(p.began, last, meters)
			r.Missed = p.missed(ctx)
			return r
		}
	}
}

// Ask has clients ask one after the other, each waiting for its answer, whose
// size ask returns.
func Ask(ctx context.Context, l Load, ask func(ctx context.Context, n int64) (bytes int64, err error)) Report {
	var asked atomic.Int64
	return drive(ctx, l, func(ctx context.Context, _ int, p *pace, m *meter) {
		for {
			due, ok := p.next(ctx)
			if !ok {
				return
			}
			bytes, err := ask(ctx, asked.Add(1)-1)
			switch {
			case err == nil:
				m.did(1, bytes, time.Since(due))
			case ctx.Err() != nil:
				m.spent()
				return // whoever interrupted it knows
			default:
				m.failed(1, err)
				if l.Rate == 0 { // else it is no delay of the cluster's
					pause(ctx, pauseAfterError)
				}
			}
		}
	})
}
