package fetch

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/committed"
)

// coldReadsMax is how many reads from the bucket one request has under way.
const coldReadsMax = 8

// coldRead is a position that lies below the tail.
type coldRead struct {
	partition *ingest.Partition // nil: another broker's
	position  *core.Position
	out       *core.Fetched
	chunk     committed.Chunk
	err       error
	held      int64 // of coldReads.bytes
	done      chan struct{}
}

// coldReads bounds the memory of all reads below the tail.
type coldReads struct {
	bytesMax int64
	bytes    *semaphore.Weighted
	read     func(ctx context.Context, p topic.Partition, first int64, bytesMax int) (committed.Chunk, error)
	metrics  *Metrics
}

func newColdReads(
	bytesMax int64, read func(context.Context, topic.Partition, int64, int) (committed.Chunk, error), m *Metrics,
) coldReads {
	return coldReads{bytesMax, semaphore.NewWeighted(bytesMax), read, m}
}

// begin starts the reads, in order and as many as there is memory for, at least
// the first: it alone is waited for, so that requests that hold some of the
// memory never wait for each other. It returns how many were started.
func (cr *coldReads) begin(ctx context.Context, reads []*coldRead, left int) int {
	n := min(len(reads), coldReadsMax)
	for i, c := range reads[:n] {
		bytesMax := min(c.position.BytesMax, left)
		held := min(int64(bytesMax), cr.bytesMax)
		if !cr.bytes.TryAcquire(held) {
			if i > 0 {
				return i
			}
			cr.metrics.coldWaits.Inc()
			if err := cr.bytes.Acquire(ctx, held); err != nil {
				held, c.err = 0, err
			}
		}
		c.held, c.done = held, make(chan struct{})
		cr.metrics.coldUnderway.Add(float64(held))
		if c.err != nil {
			close(c.done)
			continue
		}
		go func() {
			defer close(c.done)
			c.chunk, c.err = cr.read(ctx, c.position.Partition, c.position.First, bytesMax)
		}()
	}
	return n
}

// end gives back what c held, and drops what was read and not admitted.
func (cr *coldReads) end(c *coldRead) {
	cr.bytes.Release(c.held)
	cr.metrics.coldUnderway.Sub(float64(c.held))
	c.held, c.chunk = 0, committed.Chunk{}
}

// readCold fills in what lies below the tail, side by side, and admits the
// results in order as far as there is room. What is read in vain stays in the
// cache for the client's next request. It reports whether there was an error.
func (r *Reader) readCold(ctx context.Context, reads []*coldRead, room *room) (failed bool) {
	for len(reads) > 0 && !room.full() {
		n := r.cold.begin(ctx, reads, room.left)
		for _, c := range reads[:n] {
			<-c.done
			failed = r.admit(c, room) || failed
			r.cold.end(c)
		}
		reads = reads[n:]
	}
	return failed
}

func (r *Reader) admit(c *coldRead, room *room) (failed bool) {
	var hole *committed.HoleError
	switch {
	case errors.As(c.err, &hole):
		c.out.Err = format.In(c.position.Partition.String(), format.Corrupt(0, "offsets %d to %d are lost: %v", hole.First, hole.Next, hole))
	case errors.Is(c.err, committed.ErrBelowStart):
		// The start was raised since the partition was looked at: the answer names
		// the one by which the offset is refused.
		c.out.LogStart = max(c.out.LogStart, r.catalog.Partition(c.position.Partition).Manifest.LogStart)
		c.out.Err = fmt.Errorf("%w: %w", core.ErrOffsetOutOfRange, c.err)
		return true
	case errors.Is(c.err, format.ErrCorrupt), errors.Is(c.err, format.ErrVersion):
		c.out.Err = c.err
	case c.err != nil:
		c.out.Err = fmt.Errorf("%w: %w", core.ErrStorage, c.err)
	default:
		records := fitting(r.clip(c), min(c.position.BytesMax, room.left), room.empty())
		if len(records) == 0 {
			return false
		}
		c.out.Records = [][]byte{records}
		room.use(len(records))
		r.metrics.coldBytes.Add(float64(len(records)))
		return false
	}
	r.metrics.failures.Inc()
	return true
}

// fitting cuts off the batches that do not fit into bytesMax; the first one
// stays when one is set. The reads of a request begin side by side, and each
// takes all the room that there is then.
func fitting(records []byte, bytesMax int, one bool) []byte {
	if len(records) <= bytesMax {
		return records
	}
	keep := 0
	_ = batch.Each(records, func(_ batch.Header, raw []byte) error { // what was read is whole
		if keep+len(raw) > bytesMax && !(one && keep == 0) {
			return errFull
		}
		keep += len(raw)
		return nil
	})
	return records[:keep]
}

var errFull = errors.New("no more fits")

// clip cuts a chunk at the high watermark: the catalog can show a commit a
// moment before the partition knows of it.
func (r *Reader) clip(c *coldRead) []byte {
	if c.partition == nil {
		// Other brokers' partitions: whatever is committed is visible.
		next := max(c.out.HighWatermark, c.chunk.Next)
		c.out.HighWatermark, c.out.LastStable = next, next
		return c.chunk.Batches
	}
	if b, err := c.partition.Bounds(); err == nil {
		c.out.Bounds = b
	}
	if c.chunk.Next <= c.out.HighWatermark {
		return c.chunk.Batches
	}
	keep := 0
	err := batch.Each(c.chunk.Batches, func(h batch.Header, raw []byte) error {
		if h.Next() <= c.out.HighWatermark {
			keep += len(raw)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return c.chunk.Batches[:keep]
}
