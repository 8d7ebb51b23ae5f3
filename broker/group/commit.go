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
	life  context.Context // of writes
	end   context.CancelFunc

	mu     sync.Mutex
	queues map[string]*commitQueue
	closed bool
	drains sync.WaitGroup
}

// close refuses commits from then on, and returns when none is being written any
// more. Those that are under way are given up when enough says so.
func (c *committer) close(enough <-chan struct{}) {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.drains.Wait()
	}()
	select {
	case <-finished:
	case <-enough:
	}
	c.end()
	<-finished
}

// settled returns a channel that is closed when all that was added of a group so
// far is stored, or is not to be; nil when nothing is left.
func (c *committer) settled(group string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch queue := c.queues[group]; {
	case queue == nil:
		return nil
	case queue.next != nil:
		return queue.next.done
	default:
		return queue.writing.done
	}
}

// commitQueue exists while a write of its group is under way.
type commitQueue struct {
	writing *commitBatch
	next    *commitBatch // nil: nothing came since that write began
}

// commitBatch is the offsets of one write.
type commitBatch struct {
	offsets map[topic.Partition]Offset
	done    chan struct{}
	err     error // once done is closed
}

func newCommitter(store Offsets) *committer {
	c := &committer{store: store, queues: make(map[string]*commitQueue)}
	c.life, c.end = context.WithCancel(context.Background())
	return c
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
		queue.writing, queue.next = batch, nil
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(c.life, commitTimeout)
		batch.err = c.store.CommitOffsets(ctx, group, batch.offsets)
		cancel()
		close(batch.done)
	}
}
