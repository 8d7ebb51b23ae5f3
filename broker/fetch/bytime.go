package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// OffsetForTime implements api.Reader. What is committed is asked first, then
// the rest of the tail: so it finds the first record in the order of offsets,
// also when timestamps are out of order.
func (r *Reader) OffsetForTime(ctx context.Context, id topic.Partition, ms int64, _ bool) (core.RecordTime, bool, error) {
	return r.byTime(id, func(tail ingest.TailView) (core.RecordTime, bool, error) {
		found, ok, err := r.committedForTime(ctx, id, ms)
		if !ok && err == nil {
			return tail.OffsetForTime(ms)
		}
		return found, ok, err
	})
}

// MaxTimestamp implements api.Reader.
func (r *Reader) MaxTimestamp(ctx context.Context, id topic.Partition) (core.RecordTime, bool, error) {
	return r.byTime(id, func(tail ingest.TailView) (core.RecordTime, bool, error) {
		cold, err := r.committed.MaxTimestamp(ctx, id)
		if err != nil {
			return core.RecordTime{}, false, fmt.Errorf("%w: %w", core.ErrStorage, err)
		}
		if warm, some := tail.MaxTimestamp(); some && warm > cold {
			return tail.OffsetForTime(warm)
		} else if cold < 0 {
			return core.RecordTime{}, false, nil
		}
		return r.committedForTime(ctx, id, cold)
	})
}

// byTime calls search with the tail behind what is committed, and again should
// the tail have gone from the WAL meanwhile. The view of the tail is older than
// what search sees committed: so nothing falls between the two.
func (r *Reader) byTime(id topic.Partition, search func(ingest.TailView) (core.RecordTime, bool, error)) (core.RecordTime, bool, error) {
	for {
		l, p, err := r.partition(id)
		if err != nil {
			return core.RecordTime{}, false, err
		}
		found, ok, err := search(p.View(r.catalog.Partition(id).Next()))
		if errors.Is(err, wal.ErrGone) {
			continue
		}
		b, _ := p.Bounds()
		switch {
		case err != nil:
			return core.RecordTime{}, false, err
		case !l.Valid():
			return core.RecordTime{}, false, core.ErrNotOwner
		}
		return found, ok && found.Offset < b.HighWatermark, nil
	}
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

// EpochAt implements api.Reader.
func (r *Reader) EpochAt(id topic.Partition, offset int64) metastore.Epoch {
	return epochAt(r.catalog.Partition(id).Owner, offset)
}
