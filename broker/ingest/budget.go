package ingest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
)

// budget bounds the bytes that are in the WAL and not yet committed.
type budget struct {
	limit   int64
	metrics *Metrics

	mu    sync.Mutex
	used  int64
	freed chan struct{} // closed when room was made; nil while nobody waits
}

func (b *budget) init(limit int64, m *Metrics) { b.limit, b.metrics = limit, m }

// take reserves n bytes, and waits for room until ctx ends or patience is over.
// A request larger than the whole budget passes when nothing else is in flight.
func (b *budget) take(ctx context.Context, n int64, patience time.Duration) error {
	freed := b.try(n)
	if freed == nil {
		return nil
	}
	b.metrics.budgetWaits.Inc()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-freed:
			if freed = b.try(n); freed == nil {
				return nil
			}
		case <-timer.C:
			b.metrics.budgetRefusals.Inc()
			return fmt.Errorf("%w: %d bytes wait for the object store, the limit is %d", core.ErrOverBudget, b.inUse(), b.limit)
		case <-ctx.Done():
			return fmt.Errorf("%w: waiting for room in the write-ahead log", core.ErrTimeout)
		}
	}
}

// try takes n bytes and returns nil, or returns what to wait for.
func (b *budget) try(n int64) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used > 0 && b.used+n > b.limit {
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		return b.freed
	}
	b.used += n
	b.metrics.uncommittedBytes.Set(float64(b.used))
	return nil
}

// add takes n bytes that are in the WAL whatever the limit is.
func (b *budget) add(n int64) { b.give(-n) }

// give returns n bytes.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.metrics.uncommittedBytes.Set(float64(b.used))
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
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
