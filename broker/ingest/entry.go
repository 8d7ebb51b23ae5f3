package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/batch"
)

// entry is one batch in the tail, from its append until it is dropped. It is
// also what its producer waits on: one allocation a batch.
type entry struct {
	wal.Frame // Batch is nil once evicted: then it is read back from the WAL
	header    batch.Header
	part      *Partition
	group     *wal.Group // nil for an entry that was recovered
	seal      *seal      // set when it is synced, before the group is done
	next      int64
	appended  int64 // ms: log append time, or −1
	begun     int64 // ns since the log's birth: when it was appended, or recovered
	object    bool  // the producer waits for the commit
	lost      error // why it is not in its segment; set before the seal is done
}

// WAL implements wal.Record.
func (e *entry) WAL() *wal.Frame { return &e.Frame }

// Wait implements core.Pending.
func (e *entry) Wait(ctx context.Context) (core.Appended, error) {
	return e.part.wait(ctx, e, e.object, false)
}

// Confirm implements core.Pending.
func (e *entry) Confirm() error { return e.part.confirm(e.object) }

// repeat is the answer to a batch that was there already.
type repeat struct {
	part   *Partition
	entry  *entry // nil: long durable
	first  int64  // −1: where it was, is not known; entry is the last one
	stamp  int64
	object bool
}

// Wait implements core.Pending: a repeat is acknowledged when the original is.
func (r *repeat) Wait(ctx context.Context) (core.Appended, error) {
	if r.entry != nil {
		a, err := r.part.wait(ctx, r.entry, r.object, true)
		if r.first < 0 {
			a.First, a.Timestamp = r.first, r.stamp
		}
		return a, err
	}
	if !r.part.log.Valid() {
		return core.Appended{}, core.ErrNotOwner
	}
	return core.Appended{First: r.first, Timestamp: r.stamp, LogStart: r.part.LogStart(), Duplicate: true}, nil
}

// Confirm implements core.Pending.
func (r *repeat) Confirm() error { return r.part.confirm(r.object && r.entry != nil) }

// confirm tells whether an acknowledgement may be given now. A broker that slept
// past its lease may have been replaced meanwhile, by one that does not have what
// is on this disk. What is committed is part of the log whoever owns it.
func (p *Partition) confirm(committed bool) error {
	if committed || p.log.Valid() {
		return nil
	}
	return core.ErrNotOwner
}

// wait returns when e is durable as asked for and the lease still holds.
func (p *Partition) wait(ctx context.Context, e *entry, object, duplicate bool) (core.Appended, error) {
	if e.group != nil {
		if !settled(ctx, e.group.Done()) {
			return core.Appended{}, fmt.Errorf("%w: waiting for the disk", core.ErrTimeout)
		}
		if err := e.group.Err(); err != nil {
			return core.Appended{}, fmt.Errorf("%w: %w", core.ErrStorage, err)
		}
	}
	if object {
		if !e.object { // else its seal knows
			p.log.hurry()
		}
		if !settled(ctx, e.seal.done) {
			return core.Appended{}, fmt.Errorf("%w: waiting for the object store", core.ErrTimeout)
		}
		if err := e.seal.err; err != nil {
			return core.Appended{}, err
		}
		if e.lost != nil {
			return core.Appended{}, fmt.Errorf("%w: %w", core.ErrStorage, e.lost)
		}
	}
	if err := p.confirm(object); err != nil {
		return core.Appended{}, err
	}
	return core.Appended{First: e.First, Timestamp: e.appended, LogStart: p.LogStart(), Duplicate: duplicate}, nil
}

// refused is the answer to a batch for which there is no room, not even to wait.
// Its bytes are free at once, and its producer is told after the time for which
// it would have waited: told at once, it would send them again at once.
type refused struct {
	err   error
	until time.Time
}

// Wait implements core.Pending.
func (r *refused) Wait(ctx context.Context) (core.Appended, error) {
	timer := time.NewTimer(time.Until(r.until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return core.Appended{}, r.err
}

// Confirm implements core.Pending.
func (r *refused) Confirm() error { return r.err }

// settled waits for done, and tells whether it came. What has come counts also
// when ctx is over: another partition of the request may have taken all the time.
func settled(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}
