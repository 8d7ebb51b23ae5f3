package group

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
)

// commitTimeout bounds one write of offsets.
const commitTimeout = 10 * time.Second

// committer writes offsets, one write per group at a time: commits that come
// meanwhile are merged into the next one, in their order.
type committer struct {
	store Offsets

	mu     sync.Mutex
	queues map[string]*commitQueue
	closed bool
	drains sync.WaitGroup
}

// close refuses commits from then on, and returns when those that are under way
// are finished.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.drains.Wait()
}

// commitQueue exists while a write of its group is under way.
type commitQueue struct {
	next *commitBatch // nil: nothing came since that write began
}

// commitBatch is the offsets of one write.
type commitBatch struct {
	offsets map[topic.Partition]Offset
	done    chan struct{}
	err     error // once done is closed
}

func newCommitter(store Offsets) *committer {
	return &committer{store: store, queues: make(map[string]*commitQueue)}
}

// add queues offsets of a group behind those that were added before.
func (c *committer) add(group string, offsets map[topic.Partition]Offset) (*commitBatch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrNotCoordinator
	}
	queue, busy := c.queues[group]
	if !busy {
		queue = &commitQueue{}
		c.queues[group] = queue
	}
	if queue.next == nil {
		queue.next = &commitBatch{offsets: make(map[topic.Partition]Offset, len(offsets)), done: make(chan struct{})}
	}
	batch := queue.next
	maps.Copy(batch.offsets, offsets)
	if !busy {
		c.drains.Go(func() { c.drain(group, queue) })
	}
	return batch, nil
}

// wait returns when the offsets are stored. When ctx ends first they may be stored
// nevertheless.
func (b *commitBatch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain writes what is queued until nothing is.
func (c *committer) drain(group string, queue *commitQueue) {
	for {
		c.mu.Lock()
		batch := queue.next
		if batch == nil {
			delete(c.queues, group)
			c.mu.Unlock()
			return
		}
		queue.next = nil
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		batch.err = c.store.CommitOffsets(ctx, group, batch.offsets)
		cancel()
		close(batch.done)
	}
}
