package ingest

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
)

// budget bounds the bytes that are in the WAL and not yet committed. Who finds no
// room waits for it in turn, so that small batches do not pass large ones for
// ever, and room that is made wakes those whom it is for and nobody else.
type budget struct {
	limit      int64
	waitingMax int64
	metrics    *Metrics

	mu      sync.Mutex
	used    int64
	waiting int64
	queue   list.List // of *turn
}

// turn is one batch that waits for room.
type turn struct {
	bytes int64
	given chan struct{} // closed when it has its room
}

func (b *budget) init(limit, waitingMax int64, m *Metrics) {
	b.limit, b.waitingMax, b.metrics = limit, waitingMax, m
}

// take reserves n bytes, and waits for room until ctx ends or patience is over,
// which is counted from begun.
// A request larger than the whole budget passes when nothing else is in flight.
// The bytes of those who wait are in memory, so they are bounded too: full says
// that n would be too many, and was not waited for.
func (b *budget) take(ctx context.Context, n int64, begun time.Time, patience time.Duration) (full bool, err error) {
	b.mu.Lock()
	switch {
	case b.queue.Len() == 0 && b.fits(n):
		b.use(n)
		b.mu.Unlock()
		return false, nil
	case b.queue.Len() > 0 && b.waiting+n > b.waitingMax:
		b.mu.Unlock()
		b.metrics.budgetRefusals.WithLabelValues("waiting_full").Inc()
		return true, b.refusal()
	}
	t := &turn{bytes: n, given: make(chan struct{})}
	place := b.queue.PushBack(t)
	b.wait(n)
	b.mu.Unlock()
	b.metrics.budgetWaits.Inc()
	if !begun.IsZero() {
		patience -= time.Since(begun)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.given:
		return false, nil
	case <-timer.C:
		err = b.refusal()
	case <-ctx.Done():
		err = fmt.Errorf("%w: waiting for room in the write-ahead log", core.ErrTimeout)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-t.given: // at the last moment
		return false, nil
	default:
	}
	b.queue.Remove(place)
	b.wait(-n)
	b.serve() // those behind may be smaller
	b.metrics.budgetRefusals.WithLabelValues("wal_full").Inc()
	return false, err
}

func (b *budget) refusal() error {
	return fmt.Errorf("%w: %d bytes wait for the object store, the limit is %d", core.ErrOverBudget, b.inUse(), b.limit)
}

// fits tells whether there is room for n bytes. Holds b.mu.
func (b *budget) fits(n int64) bool { return b.used <= 0 || b.used+n <= b.limit }

// use takes n bytes into account. Holds b.mu.
func (b *budget) use(n int64) {
	b.used += n
	b.metrics.uncommittedBytes.Set(float64(b.used))
}

// wait notes n more bytes that wait. Holds b.mu.
func (b *budget) wait(n int64) {
	b.waiting += n
	b.metrics.budgetWaiting.Set(float64(b.waiting))
}

// serve gives room to those whose turn it is. Holds b.mu.
func (b *budget) serve() {
	for first := b.queue.Front(); first != nil; first = b.queue.Front() {
		t := first.Value.(*turn)
		if !b.fits(t.bytes) {
			return
		}
		b.queue.Remove(first)
		b.wait(-t.bytes)
		b.use(t.bytes)
		close(t.given)
	}
}

// add takes n bytes that are in the WAL whatever the limit is.
func (b *budget) add(n int64) { b.give(-n) }

// give returns n bytes.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.use(-n)
	b.serve()
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// entryBytes is what a batch in memory takes beside its own bytes: its entry, its
// frame in the WAL's buffer, its places in lists. Of batches of one small record
// it is most.
const entryBytes = 384

// cost is the memory that the entry's batch takes.
func (e *entry) cost() int64 { return int64(e.Length) + entryBytes }

// tail bounds the memory of batches that are kept there for readers. The
// oldest go first: those that are committed altogether, those that are not stay
// in their partition's list and are read back from the WAL.
type tail struct {
	limit   int64
	metrics *Metrics

	mu    sync.Mutex
	bytes int64
	queue []*entry // in memory, in the order of the WAL
}

func (t *tail) init(limit int64, m *Metrics) { t.limit, t.metrics = limit, m }

// hold adds entries that are in memory now, and makes room for them.
func (t *tail) hold(entries []*entry) {
	t.mu.Lock()
	for _, e := range entries {
		t.bytes += e.cost()
	}
	t.queue = append(t.queue, entries...)
	n := 0
	for ; t.bytes > t.limit && n < len(t.queue); n++ {
		t.bytes -= t.queue[n].cost()
	}
	out := append([]*entry(nil), t.queue[:n]...)
	clear(t.queue[:n])
	t.queue = t.queue[n:]
	t.metrics.tailBytes.Set(float64(t.bytes))
	t.mu.Unlock()

	for _, e := range out {
		select {
		case <-e.seal.done:
			e.part.dropThrough(e)
		default:
			e.part.evict(e)
		}
	}
}
