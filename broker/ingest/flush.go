package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// pieceRangesMax bounds the ranges of one segment, so that its key stays one
// request to the metadata store. A seal with more makes several segments.
const pieceRangesMax = metastore.SegmentRangesMax / 2

// Run flushes what is synced until ctx ends or the session is over. Seals are
// uploaded several at a time and committed in their order. It returns why it
// ended; what is not committed then stays in the WAL.
func (l *Log) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-l.opts.Session.Done():
			cancel(fmt.Errorf("session %d: %w", l.opts.Session.ID(), metastore.ErrFenced))
		case <-ctx.Done():
		}
	}()
	p := &pipeline{log: l, flying: make(chan *flush, l.opts.UploadsMax-1), done: make(chan struct{})}
	go p.commitAll(ctx, cancel)
	p.sealAll(ctx)
	close(p.flying)
	<-p.done
	err := context.Cause(ctx)
	l.abort(fmt.Errorf("%w: %w", core.ErrNotOwner, err), p.left)
	return err
}

// Flush waits until everything that was appended before is committed. Batches
// that the WAL could not make durable were never acknowledged, and do not count.
func (l *Log) Flush(ctx context.Context) error {
	l.wal.Settle()
	l.sealMu.Lock()
	last := l.current
	if l.aborted == nil {
		l.turn("flush")
	}
	l.sealMu.Unlock()
	select {
	case <-last.done:
		return last.err
	case <-ctx.Done():
		return fmt.Errorf("flush: %w", ctx.Err())
	}
}

// pipeline takes seals to their commit.
type pipeline struct {
	log    *Log
	flying chan *flush // being uploaded, in order; with the one that commitAll has, its capacity bounds them
	left   []*flush    // not committed when it ended
	done   chan struct{}
}

// flush is a seal on its way.
type flush struct {
	seal     *seal
	pieces   []*piece
	uploaded chan struct{}
	err      error // of the upload; only the end of ctx ends its retries
}

// sealAll takes the seals as they get ripe and begins their upload.
func (p *pipeline) sealAll(ctx context.Context) {
	for {
		s, wait := p.log.nextSeal(time.Now())
		if s == nil {
			if !p.sleep(ctx, wait) {
				return
			}
			continue
		}
		f := &flush{seal: s, pieces: p.log.plan(s), uploaded: make(chan struct{})}
		select {
		case p.flying <- f:
			p.log.metrics.uploads.Inc()
			go func() {
				defer close(f.uploaded)
				f.err = p.log.upload(ctx, f)
			}()
		case <-ctx.Done():
			p.log.sealMu.Lock()
			p.log.ready = append([]*seal{s}, p.log.ready...)
			p.log.sealMu.Unlock()
			return
		}
	}
}

// sleep waits for a wake, for the time given if that is not 0, or for the end.
func (p *pipeline) sleep(ctx context.Context, wait time.Duration) bool {
	var timer <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-p.log.wake:
	case <-timer:
	case <-ctx.Done():
		return false
	}
	return true
}

// commitAll commits the uploads in their order, until one cannot be.
func (p *pipeline) commitAll(ctx context.Context, stop context.CancelCauseFunc) {
	defer close(p.done)
	for f := range p.flying {
		<-f.uploaded
		err := f.err
		if err == nil && len(p.left) == 0 {
			err = p.log.commit(ctx, f)
		}
		p.log.metrics.uploads.Dec()
		if err != nil || len(p.left) > 0 {
			stop(err) // only the first cause counts
			p.left = append(p.left, f)
			continue
		}
		p.log.committed(f)
	}
}

// piece is one segment of a flush: most flushes have one.
type piece struct {
	ranges []plannedRange
	id     ulid.ULID
	name   string
	size   int64
	footer *segment.Footer // nil: nothing of it could be read
}

type plannedRange struct {
	part      *Partition
	epoch     int32
	entries   []*entry // without a gap between them
	producers []producer.State
}

// plan sorts a seal into ranges and says what its producers' state is after
// each. It runs in the order of the seals: producer state is kept from one to
// the next, apart from the live one, which is ahead.
func (l *Log) plan(s *seal) []*piece {
	sorted := slices.Clone(s.entries)
	slices.SortFunc(sorted, func(a, b *entry) int {
		if c := a.Partition.Compare(b.Partition); c != 0 {
			return c
		}
		return int(min(max(a.First-b.First, -1), 1))
	})
	now := time.Now()
	var ranges []plannedRange
	for i := 0; i < len(sorted); {
		n := i + 1
		for n < len(sorted) && sorted[n].Partition == sorted[i].Partition && sorted[n].Epoch == sorted[i].Epoch && sorted[n].First == sorted[n-1].next {
			n++
		}
		ranges = append(ranges, l.planRange(sorted[i:n], now))
		i = n
	}
	var pieces []*piece
	for part := range slices.Chunk(ranges, pieceRangesMax) {
		id := ulid.MustNew(ulid.Timestamp(now), rand.Reader) // two of one millisecond have no order, and need none
		pieces = append(pieces, &piece{ranges: part, id: id, name: objstore.SegmentName(int32(l.opts.Session.Broker()), int64(l.opts.Session.ID()), id)})
	}
	return pieces
}

func (l *Log) planRange(entries []*entry, now time.Time) plannedRange {
	p := entries[0].part
	r := plannedRange{part: p, epoch: entries[0].Epoch, entries: entries}
	touched := map[int64]bool{}
	for _, e := range entries {
		if e.header.Idempotent() {
			remember(p.sealed, e, now.UnixMilli())
			touched[e.header.ProducerID] = true
		}
	}
	if len(touched) == 0 {
		return r
	}
	for id := range touched {
		state, _ := p.sealed.State(id)
		r.producers = append(r.producers, state)
	}
	slices.SortFunc(r.producers, func(a, b producer.State) int { return int(min(max(a.ID-b.ID, -1), 1)) })
	p.expire(now, l.opts.ProducerExpiry)
	return r
}

// upload puts the segments of a flush into the bucket. It tries until ctx ends.
func (l *Log) upload(ctx context.Context, f *flush) error {
	start := time.Now()
	for _, p := range f.pieces {
		parts, err := l.build(p)
		if err != nil {
			return err
		}
		if len(parts) == 0 {
			continue
		}
		body := objstore.Buffers(parts)
		p.size = body.Size
		err = l.persevere(ctx, "put "+p.name, l.metrics.uploadFailures.Inc, func() error {
			return l.put(ctx, p.name, body)
		})
		if err != nil {
			return err
		}
		l.metrics.flushBytes.Observe(float64(p.size))
	}
	l.metrics.uploadSeconds.Observe(time.Since(start).Seconds())
	return nil
}

// put stores a segment. Its name is this attempt's own, so one that is there
// already was stored by a try whose answer was lost.
func (l *Log) put(ctx context.Context, name string, body objstore.Body) error {
	_, err := l.opts.Bucket.Put(ctx, name, body, objstore.Condition{IfAbsent: true})
	if !errors.Is(err, objstore.ErrExists) {
		return err
	}
	stored, err := l.opts.Bucket.Head(ctx, name)
	if err == nil && stored.Size != body.Size {
		err = fmt.Errorf("%s is there with %d bytes, want %d: its name is not unique", name, stored.Size, body.Size)
	}
	return err
}

// build lays out a segment. Batches that the WAL does not give back any more are
// left out and reported: that range alone is lost to readers.
func (l *Log) build(p *piece) ([][]byte, error) {
	w := segment.NewWriter(segment.Meta{
		Kind: segment.KindSegment, ID: p.id.String(), CreatedAt: int64(p.id.Time()),
		Broker: int32(l.opts.Session.Broker()), Session: int64(l.opts.Session.ID()),
	})
	some := false
	for _, r := range p.ranges {
		w.Begin(r.part.ID, r.epoch)
		for _, e := range r.entries {
			raw, err := r.part.bytesOf(e)
			if err != nil {
				e.lost = err
				l.metrics.lostRecords.Add(float64(e.header.Records))
				l.log.Error("batch cannot be read back from the write-ahead log, it is left out", "partition", r.part.ID, "first", e.First, "next", e.next, "error", err)
				w.End(nil)
				w.Begin(r.part.ID, r.epoch)
				continue
			}
			if err := w.Append(e.header, raw); err != nil {
				return nil, err
			}
			some = true
		}
		w.End(r.producers)
	}
	if !some {
		return nil, nil
	}
	parts, footer, err := w.Finish()
	p.footer = footer
	return parts, err
}

// commit makes the uploaded segments part of the log.
func (l *Log) commit(ctx context.Context, f *flush) error {
	start := time.Now()
	for _, p := range f.pieces {
		if p.footer == nil {
			continue
		}
		l.sequence++
		seg := metastore.Segment{
			ID: p.id.String(), Object: p.name, Size: p.size,
			Broker: l.opts.Session.Broker(), Session: l.opts.Session.ID(), Sequence: l.sequence,
			Ranges: make([]metastore.SegmentRange, len(p.footer.Ranges)),
		}
		for i, r := range p.footer.Ranges {
			seg.Ranges[i] = metastore.SegmentRange{
				Partition: r.Partition, Epoch: metastore.Epoch(r.Epoch), First: r.First, Next: r.Next,
				Position: r.Position, Length: r.Length, MaxTimestamp: r.MaxTimestamp,
			}
		}
		err := l.persevere(ctx, "commit "+p.name, l.metrics.commitFailures.Inc, func() error {
			return l.opts.Store.Commit(ctx, l.opts.Session, seg)
		})
		if err != nil {
			return err
		}
	}
	l.metrics.commitSeconds.Observe(time.Since(start).Seconds())
	l.metrics.flushes.Add(float64(len(f.pieces)))
	return nil
}

// committed tells everybody that a flush is part of the log.
func (l *Log) committed(f *flush) {
	next := map[*Partition]int64{}
	frames := map[uint64]int{}
	for _, e := range f.seal.entries {
		next[e.part] = max(next[e.part], e.next)
		frames[e.Position.Generation]++
	}
	for p, n := range next {
		p.committedTo(n)
	}
	close(f.seal.done)
	for _, e := range f.seal.entries {
		e.part.dropEvicted(e)
	}
	for _, generation := range slices.Sorted(maps.Keys(frames)) { // so that files are used again in their order
		n := frames[generation]
		l.wal.Release(generation, n)
	}
	l.budget.give(f.seal.bytes)
	// Entries in the tail know their seal. They are not to keep its others, and
	// over a sync that went into two seals the whole chain of seals before.
	f.seal.entries = nil
}

// backoff between tries of an upload or a commit.
const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 5 * time.Second
)

// persevere repeats op until it succeeds, or ctx ends, as it does with the session.
// An outage that lasts is told ever less often.
func (l *Log) persevere(ctx context.Context, what string, failed func(), op func() error) error {
	begun, pause := time.Now(), backoffMin
	for tries := uint(1); ; tries++ {
		err := op()
		if err == nil || errors.Is(err, metastore.ErrFenced) || errors.Is(err, metastore.ErrInvalid) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		failed()
		if bits.OnesCount(tries) == 1 { // 1, 2, 4, 8, …
			l.log.Warn("flush is tried again, what is acknowledged stays in the write-ahead log",
				"step", what, "tries", tries, "for", time.Since(begun), "after", pause, "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		pause = min(2*pause, backoffMax)
	}
}
