package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/segment"
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
	bytesMax  int   // that it may read
	held      int64 // of coldReads.bytes
	done      chan struct{}
}

// coldReads bounds the memory of all reads below the tail.
type coldReads struct {
	bytesMax int64
	bytes    *semaphore.Weighted
	read     readFunc
	metrics  *Metrics
}

// readFunc is committed.Reader.ReadWithin.
type readFunc func(ctx context.Context, p topic.Partition, first int64, bytesMax, firstMax int) (committed.Chunk, error)

func newColdReads(bytesMax int64, read readFunc, m *Metrics) coldReads {
	return coldReads{bytesMax, semaphore.NewWeighted(bytesMax), read, m}
}

// begin starts the reads, in order and as many as there is memory for, at least
// the first: it alone is waited for, so that requests that hold some of the
// memory never wait for each other. Room is taken only then, so that those who
// wait have none. It returns how many were started, 0 for want of room.
func (cr *coldReads) begin(ctx context.Context, reads []*coldRead, room *room) int {
	n, wanted := 0, 0
	for _, c := range reads[:min(len(reads), coldReadsMax)] {
		c.bytesMax = max(0, min(c.position.BytesMax, room.bytesMax-room.used))
		if !cr.hold(ctx, c, max(c.bytesMax, segment.BlockBytes), n == 0) {
			break
		}
		wanted += c.bytesMax
		n++
	}
	room.take(wanted)
	if room.left == 0 && wanted > 0 {
		room.short = room.short || room.empty()
		for _, c := range reads[:n] {
			cr.end(c)
		}
		return 0
	}
	for _, c := range reads[:n] {
		cr.start(ctx, c, min(c.bytesMax, room.left))
	}
	return n
}

// hold sets memory aside for c. Without wait there may be none; else an error is
// c's.
func (cr *coldReads) hold(ctx context.Context, c *coldRead, bytes int, wait bool) bool {
	held := min(int64(bytes), cr.bytesMax)
	if !cr.bytes.TryAcquire(held) {
		if !wait {
			return false
		}
		cr.metrics.coldWaits.Inc()
		if c.err = cr.bytes.Acquire(ctx, held); c.err != nil {
			held = 0
		}
	}
	c.held = held
	cr.metrics.coldUnderway.Add(float64(held))
	return true
}

// start starts a read, for which memory is held.
func (cr *coldReads) start(ctx context.Context, c *coldRead, bytesMax int) {
	c.done = make(chan struct{})
	if c.err != nil {
		close(c.done)
		return
	}
	go func() {
		defer close(c.done)
		c.chunk, c.err = cr.read(ctx, c.position.Partition, c.position.First, bytesMax, max(bytesMax, segment.BlockBytes))
	}()
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
	for len(reads) > 0 && (room.empty() || room.used < room.bytesMax) {
		room.keep()
		n := r.cold.begin(ctx, reads, room)
		if n == 0 {
			break
		}
		var large *committed.LargeError
		next := n
		for i, c := range reads[:n] {
			<-c.done
			if large == nil && room.empty() && errors.As(c.err, &large) {
				next = i + 1 // those after it have to wait for theirs
			}
			if large == nil {
				failed = r.admit(c, room) || failed
			}
			r.cold.end(c)
		}
		// Only now, as nothing may be held while more is waited for.
		if large != nil && !room.first(large.Bytes) {
			break // nothing behind it goes before it
		}
		if large != nil {
			failed = r.readAlone(ctx, reads[next-1], large.Bytes, room) || failed
		}
		reads = reads[next:]
	}
	return failed
}

// readAlone reads a first batch that is larger than what its client wants, or
// than there was room for. Now there is.
func (r *Reader) readAlone(ctx context.Context, c *coldRead, bytes int, room *room) (failed bool) {
	c.err = nil
	r.cold.hold(ctx, c, bytes, true)
	r.cold.start(ctx, c, bytes)
	<-c.done
	defer r.cold.end(c)
	return r.admit(c, room)
}

func (r *Reader) admit(c *coldRead, room *room) (failed bool) {
	var hole *committed.HoleError
	var large *committed.LargeError
	switch {
	case errors.As(c.err, &large):
		return false // in another answer
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
		all := r.clip(c)
		records := fitting(all, min(c.position.BytesMax, room.left), false)
		if len(records) == 0 && room.empty() {
			records = fitting(all, 0, true)
			if len(records) > room.left && !room.first(len(records)) {
				return false
			}
		}
		if len(records) == 0 {
			return false
		}
		c.out.Records = [][]byte{alone(records)}
		room.use(len(records))
		r.metrics.coldBytes.Add(float64(len(records)))
		return false
	}
	r.metrics.failures.Inc()
	return true
}

// alone is records without the memory that was read into besides, if that is much:
// an answer has room for its records only, and keeps them until its client has
// taken them.
func alone(records []byte) []byte {
	if cap(records)-len(records) > len(records)/2 {
		return bytes.Clone(records)
	}
	return records
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
