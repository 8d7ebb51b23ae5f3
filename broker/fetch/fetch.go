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
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
)

// Reader implements api.Reader. Its methods may be called at once.
type Reader struct {
	// current returns the log of the broker's session, nil between sessions.
	current   func() *ingest.Log
	committed *committed.Reader
	catalog   *metastore.Catalog
	metrics   *Metrics
	cold      coldReads
}

// Config bounds a Reader. Zero fields take their defaults.
type Config struct {
	// ColdBytesMax bounds what all requests together have under way from below
	// the tail, before it counts as their answers'; default 256 MiB.
	ColdBytesMax int64
}

// NewReader returns a Reader over the current log and the committed one.
func NewReader(cfg Config, current func() *ingest.Log, c *committed.Reader, catalog *metastore.Catalog, m *Metrics) *Reader {
	if m == nil {
		m = NewMetrics(nil)
	}
	return &Reader{
		current: current, committed: c, catalog: catalog, metrics: m,
		cold: newColdReads(cmp.Or(cfg.ColdBytesMax, 256<<20), c.ReadWithin, m),
	}
}

// Fetch implements api.Reader.
func (r *Reader) Fetch(ctx context.Context, into []core.Fetched, positions []core.Position, o core.FetchOptions) []core.Fetched {
	out := slices.Grow(into[:0], len(positions))[:len(positions)]
	if ready, _ := r.pass(ctx, out, positions, o); ready || o.WaitMax <= 0 {
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
		ready, short := r.pass(ctx, out, positions, o)
		if ready || !wait(ctx, w, timer.C, o, short) {
			return out
		}
	}
}

// wait waits for something new, and for room when the last look was short of it.
// It tells whether it is worth another look.
func wait(ctx context.Context, w *ingest.Waiter, end <-chan time.Time, o core.FetchOptions, short bool) bool {
	var freed <-chan struct{}
	if short {
		var done func()
		freed, done = o.Room.Wait()
		defer done()
	}
	select {
	case <-w.C:
		return true
	case <-freed:
		return true
	case <-end:
	case <-o.Enough:
	case <-ctx.Done():
	}
	return false
}

// pass reads once from all positions. ready says that the answer need not wait,
// short that there is something to read and no room for it.
func (r *Reader) pass(ctx context.Context, out []core.Fetched, positions []core.Position, o core.FetchOptions) (ready, short bool) {
	clear(out)
	l := r.current()
	if l == nil {
		for i := range out {
			out[i].Err = core.ErrNotOwner
		}
		return true, false
	}
	room := newRoom(o.Room, o.BytesMax)
	defer room.keep()
	wanted := 0
	for i := range positions {
		wanted += positions[i].BytesMax
	}
	room.take(wanted)
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
		t, err := p.Read(pos.First, min(pos.BytesMax, room.left), room.forFirst())
		if t.Needs > 0 && room.first(t.Needs) {
			t, err = p.Read(pos.First, min(pos.BytesMax, room.left), t.Needs)
		}
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
	ready = r.readCold(ctx, cold, room) || ready
	for _, c := range cold {
		// Nothing here would wake a poll for more.
		ready = ready || c.partition == nil && len(c.out.Records) > 0
	}
	if !l.Valid() {
		for i := range out {
			out[i] = core.Fetched{Err: core.ErrNotOwner}
		}
		return true, false
	}
	if !ready && room.empty() && room.short {
		return false, true
	}
	// What cannot come is not waited for.
	return ready || room.used >= min(o.BytesMin, max(1, room.most)), false
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
