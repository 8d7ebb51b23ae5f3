package metastore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/metastore/kv"
)

const (
	// offsetWritesMax is how many transactions with offsets are under way at once.
	// While they are, what comes is gathered for the next one; nothing lingers.
	offsetWritesMax = 2
	// offsetWriteTime bounds a transaction whose outcome cannot be learned. Those
	// who wait for it are bounded by their own contexts.
	offsetWriteTime = 10 * time.Second
)

// offsetWriter sends what groups commit. A broker coordinates many, each of which
// commits little and often, so commits of several groups share a transaction. A
// transaction that is refused was none of them: all look again at what is stored,
// and those that were not the reason get through in the next one.
type offsetWriter struct {
	store *Store

	mu    sync.Mutex
	queue []*offsetWrite // in the order of their arrival
	under int            // transactions under way
}

// offsetWrite is what one group writes, all or nothing.
type offsetWrite struct {
	held  *HeldSlot
	group string
	If    []kv.Compare // beside that the slot is owned
	Then  []kv.Op

	done   chan struct{}
	result kv.TxnResult // once done is closed
	doubt  bool
	err    error
}

// write sends w and returns when its outcome is known. After an error that wraps
// kv.ErrUnknownOutcome it may be applied, or be applied later.
func (o *offsetWriter) write(ctx context.Context, w *offsetWrite) (result kv.TxnResult, doubt bool, err error) {
	w.done = make(chan struct{})
	o.mu.Lock()
	o.queue = append(o.queue, w)
	if o.under < offsetWritesMax {
		o.under++
		o.store.tasks.Go(o.send)
	}
	o.mu.Unlock()
	select {
	case <-w.done:
		return w.result, w.doubt, w.err
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, other := range o.queue {
		if other == w {
			o.queue = append(o.queue[:i:i], o.queue[i+1:]...)
			return result, false, fmt.Errorf("not sent: %w", ctx.Err())
		}
	}
	return result, true, fmt.Errorf("%w: %w", ctx.Err(), kv.ErrUnknownOutcome)
}

// send sends what is queued until nothing is.
func (o *offsetWriter) send() {
	for {
		o.mu.Lock()
		txn, batch := o.next()
		if len(batch) == 0 {
			o.under--
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		ctx, cancel := context.WithTimeout(o.store.life, offsetWriteTime)
		result, doubt, err := o.store.settle(ctx, "write offsets of groups", txn)
		cancel()
		for _, w := range batch {
			w.result, w.doubt, w.err = result, doubt, err
			if doubt {
				w.held.noteTwins(w.If)
			}
			close(w.done)
		}
	}
}

// next takes from the queue as much as one transaction holds, one write of a
// group at a time. o.mu is held.
func (o *offsetWriter) next() (txn kv.Txn, batch []*offsetWrite) {
	slots := make(map[*HeldSlot]bool)
	groups := make(map[string]bool)
	left := o.queue[:0:0]
	for _, w := range o.queue {
		with := txn
		if !slots[w.held] {
			with.If = append(with.If[:len(with.If):len(with.If)], w.held.owned(o.store.keys)) // [slot-compare]
		}
		with.If = append(with.If, w.If...)
		with.Then = append(with.Then, w.Then...)
		// The first goes in any case: it was cut to find room, or is refused for all.
		if groups[w.group] || len(batch) > 0 && (with.Operations() > kv.TxnOperationsMax || with.Bytes() > kv.TxnBytesMax) {
			left = append(left, w)
			continue
		}
		slots[w.held], groups[w.group] = true, true
		txn, batch = with, append(batch, w)
	}
	o.queue = left
	return txn, batch
}
