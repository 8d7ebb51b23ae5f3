// Package fetch is the read half of the partitions that a broker owns: from the
// tail in memory, the WAL behind it, and what is committed in the bucket,
// whichever holds the offset.
//
// A long poll waits on all its partitions at once and wakes on the first that
// got something. Cold reads of one request go on side by side. Nothing above the
// high watermark is ever returned, nor anything by a broker whose lease may have
// lapsed while it read.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
)

// coldReadsMax is how many reads from the bucket one request has under way.
const coldReadsMax = 8

// Reader implements api.Reader. Its methods may be called at once.
type Reader struct {
	// current returns the log of the broker's session, nil between sessions.
	current   func() *ingest.Log
	committed *committed.Reader
	catalog   *metastore.Catalog
	metrics   *Metrics
}

// NewReader returns a Reader over the current log and the committed one.
func NewReader(current func() *ingest.Log, c *committed.Reader, catalog *metastore.Catalog, m *Metrics) *Reader {
	if m == nil {
		m = NewMetrics(nil)
	}
	return &Reader{current: current, committed: c, catalog: catalog, metrics: m}
}

// Fetch implements api.Reader.
func (r *Reader) Fetch(ctx context.Context, into []core.Fetched, positions []core.Position, o core.FetchOptions) []core.Fetched {
	out := slices.Grow(into[:0], len(positions))[:len(positions)]
	if r.pass(ctx, out, positions, o) || o.WaitMax <= 0 {
		return out
	}
	timer := time.NewTimer(o.WaitMax)
	defer timer.Stop()
	w := ingest.NewWaiter()
	defer w.Close()
	if l := r.current(); l != nil {
		for _, pos := range positions {
			if p := l.Partition(pos.Partition); p != nil {
				w.Watch(p)
			}
		}
	}
	for {
		// What came between the last look and the watch has to be seen.
		if r.pass(ctx, out, positions, o) {
			return out
		}
		select {
		case <-w.C:
		case <-timer.C:
			return out
		case <-ctx.Done():
			return out
		}
	}
}

// pass reads once from all positions. ready says that the answer need not wait.
func (r *Reader) pass(ctx context.Context, out []core.Fetched, positions []core.Position, o core.FetchOptions) (ready bool) {
	clear(out)
	l := r.current()
	if l == nil {
		for i := range out {
			out[i].Err = core.ErrNotOwner
		}
		return true
	}
	if o.Room != nil {
		o.BytesMax = o.Room.Take(o.BytesMax)
		o.BytesMin = min(o.BytesMin, max(1, o.BytesMax)) // what cannot come is not waited for
	}
	room := room{left: o.BytesMax}
	if o.Room != nil {
		defer func() { o.Room.Keep(room.used) }()
	}
	var cold []*coldRead
	for i := range positions {
		pos, f := &positions[i], &out[i]
		p := open(l, pos, f)
		if f.Err == core.ErrNotOwner && o.AsReplica {
			if r.openCommitted(l, pos, f); f.Err == nil {
				cold = append(cold, &coldRead{position: pos, out: f})
				continue
			}
		}
		if f.Err != nil {
			ready = true
			continue
		}
		if pos.First >= f.HighWatermark || room.full() {
			continue
		}
		t, err := p.Read(pos.First, min(pos.BytesMax, room.left), room.empty())
		switch {
		case errors.Is(err, ingest.ErrNotInTail) && elsewhere(pos, f, &o):
			ready = true
		case errors.Is(err, ingest.ErrNotInTail):
			cold = append(cold, &coldRead{partition: p, position: pos, out: f})
		case err != nil:
			f.Err = err
			ready = true
		default:
			f.Records = t.Batches
			room.use(t.Bytes)
			r.metrics.tailBytes.Add(float64(t.Bytes))
		}
	}
	ready = r.readCold(ctx, cold, &room) || ready
	for _, c := range cold {
		// Nothing here would wake a poll for more.
		ready = ready || c.partition == nil && len(c.out.Records) > 0
	}
	if !l.Valid() {
		for i := range out {
			out[i] = core.Fetched{Err: core.ErrNotOwner}
		}
		return true
	}
	return ready || room.used >= o.BytesMin
}

// elsewhere sends a reader of old records to a broker in its own rack.
func elsewhere(pos *core.Position, f *core.Fetched, o *core.FetchOptions) bool {
	if o.Replica != nil {
		f.Replica, f.Elsewhere = o.Replica(pos.Partition)
	}
	return f.Elsewhere
}

// openCommitted is open for a partition that another broker owns. Only what is
// committed is known here; at its end, and in all doubt, the client goes back to
// the owner.
func (r *Reader) openCommitted(l *ingest.Log, pos *core.Position, f *core.Fetched) {
	view := r.catalog.Partition(pos.Partition)
	next := view.Next()
	f.Bounds = core.Bounds{LogStart: view.Manifest.LogStart, HighWatermark: next, LastStable: next}
	end, ended := view.Owner.EpochEnd(pos.Last)
	switch {
	case view.Topic == nil || view.Owner.ModRevision == 0 || view.Owner.Broker == l.Broker():
		f.Err = core.ErrNotOwner
	case pos.Last >= 0 && ended && end < pos.First:
		f.Err = core.ErrNotOwner // who tells it where its log and ours part
	case pos.Epoch >= 0 && pos.Epoch < view.Owner.Epoch:
		f.Err = core.ErrFencedEpoch
	case pos.Epoch > view.Owner.Epoch:
		f.Err = core.ErrUnknownEpoch
	case pos.First < f.LogStart:
		f.Err = fmt.Errorf("%w: %d, the log begins at %d", core.ErrOffsetOutOfRange, pos.First, f.LogStart)
	case pos.First >= next:
		f.Err = core.ErrNotOwner
	default:
		f.Err = nil
	}
}

// open finds the partition, checks epoch and offset, and sets the bounds.
func open(l *ingest.Log, pos *core.Position, f *core.Fetched) *ingest.Partition {
	p := l.Partition(pos.Partition)
	if p == nil {
		f.Err = core.ErrNotOwner
		return nil
	}
	if f.Err = p.CheckEpoch(pos.Epoch); f.Err != nil {
		return nil
	}
	// An offset above the high watermark is one to wait for if it was given:
	// its producer has been told of it.
	if f.Bounds, f.Err = p.Bounds(); f.Err == nil && (pos.First < f.LogStart || pos.First > f.HighWatermark && pos.First > p.End()) {
		f.Err = fmt.Errorf("%w: %d, the log has %d to %d", core.ErrOffsetOutOfRange, pos.First, f.LogStart, f.HighWatermark)
	}
	return p
}

// room is what is left of a request's bytes. The first batch of all may be
// larger than that.
type room struct{ left, used int }

func (r *room) empty() bool { return r.used == 0 }

// full tells that nothing more fits. One batch always does, even where there is
// no room at all: who asks for little is not to wait for ever.
func (r *room) full() bool { return r.left <= 0 && !r.empty() }

func (r *room) use(n int) {
	r.used += n
	r.left -= n
}

// coldRead is a position that lies below the tail.
type coldRead struct {
	partition *ingest.Partition // nil: another broker's
	position  *core.Position
	out       *core.Fetched
	chunk     committed.Chunk
	err       error
	done      chan struct{}
}

// readCold fills in what lies below the tail, side by side, and admits the
// results in order as far as there is room. What is read in vain stays in the
// cache for the client's next request. It reports whether there was an error.
func (r *Reader) readCold(ctx context.Context, reads []*coldRead, room *room) (failed bool) {
	for len(reads) > 0 && !room.full() {
		n := min(len(reads), coldReadsMax)
		for _, c := range reads[:n] {
			c.done = make(chan struct{})
			bytesMax := min(c.position.BytesMax, room.left)
			go func() {
				defer close(c.done)
				c.chunk, c.err = r.committed.Read(ctx, c.position.Partition, c.position.First, bytesMax)
			}()
		}
		for _, c := range reads[:n] {
			<-c.done
			failed = r.admit(c, room) || failed
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
		// Retention was quicker than this partition heard of it.
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

// Bounds implements api.Reader.
func (r *Reader) Bounds(_ context.Context, id topic.Partition, current metastore.Epoch) (core.Bounds, metastore.Epoch, error) {
	l, p, err := r.partition(id)
	if err != nil {
		return core.Bounds{}, -1, err
	}
	if err := p.CheckEpoch(current); err != nil {
		return core.Bounds{}, p.Epoch, err
	}
	b, err := p.Bounds()
	if err == nil && !l.Valid() {
		err = core.ErrNotOwner
	}
	return b, p.Epoch, err
}

func (r *Reader) partition(id topic.Partition) (*ingest.Log, *ingest.Partition, error) {
	if l := r.current(); l != nil {
		if p := l.Partition(id); p != nil {
			return l, p, nil
		}
	}
	return nil, nil, core.ErrNotOwner
}
