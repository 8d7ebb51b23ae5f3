package fetch

import (
	"context"
	"fmt"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// OffsetForTime implements api.Reader. What is committed is asked first, then
// the rest of the tail: so it finds the first record in the order of offsets,
// also when timestamps are out of order.
func (r *Reader) OffsetForTime(ctx context.Context, id topic.Partition, ms int64, _ bool) (core.RecordTime, bool, error) {
	l, p, err := r.partition(id)
	if err != nil {
		return core.RecordTime{}, false, err
	}
	committed := r.catalog.Partition(id).Next()
	found, ok, err := r.committedForTime(ctx, id, ms)
	if err != nil {
		return found, false, err
	}
	if !ok {
		found, ok, err = p.OffsetForTime(ms, committed)
	}
	b, _ := p.Bounds()
	switch {
	case err != nil:
		return found, false, err
	case !l.Valid():
		return found, false, core.ErrNotOwner
	}
	return found, ok && found.Offset < b.HighWatermark, nil
}

// MaxTimestamp implements api.Reader.
func (r *Reader) MaxTimestamp(ctx context.Context, id topic.Partition) (core.RecordTime, bool, error) {
	l, p, err := r.partition(id)
	if err != nil {
		return core.RecordTime{}, false, err
	}
	view := r.catalog.Partition(id)
	cold, err := r.committed.MaxTimestamp(ctx, id)
	if err != nil {
		return core.RecordTime{}, false, fmt.Errorf("%w: %w", core.ErrStorage, err)
	}
	var found core.RecordTime
	var ok bool
	if tail, some := p.MaxTimestamp(view.Next()); some && tail > cold {
		found, ok, err = p.OffsetForTime(tail, view.Next())
	} else if cold >= 0 {
		found, ok, err = r.committedForTime(ctx, id, cold)
	}
	if err == nil && !l.Valid() {
		err = core.ErrNotOwner
	}
	return found, ok && err == nil, err
}

func (r *Reader) committedForTime(ctx context.Context, id topic.Partition, ms int64) (core.RecordTime, bool, error) {
	offset, timestamp, ok, err := r.committed.OffsetForTime(ctx, id, ms)
	if err != nil {
		return core.RecordTime{}, false, fmt.Errorf("%w: %w", core.ErrStorage, err)
	}
	return core.RecordTime{Offset: offset, Timestamp: timestamp, Epoch: epochAt(r.catalog.Partition(id).Owner, offset)}, ok, nil
}

// epochAt is the leader epoch under which an offset was written.
func epochAt(o metastore.Owner, offset int64) metastore.Epoch {
	epoch := metastore.Epoch(-1)
	for _, s := range o.Starts {
		if s.First <= offset {
			epoch = s.Epoch
		}
	}
	return epoch
}
