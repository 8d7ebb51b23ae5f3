package committed

import (
	"context"
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// OffsetForTime returns the first record, by offset, whose timestamp is ms or
// later, among those that are committed and not below the log start; ok is
// false when there is none. Timestamps need not be in order. Objects, blocks
// and batches that are too old as a whole are not opened; holes are passed over.
func (r *Reader) OffsetForTime(ctx context.Context, p topic.Partition, ms int64) (offset, timestamp int64, ok bool, err error) {
	err = r.planned(ctx, p, func(v metastore.PartitionView) error {
		section, err := r.FetchManifest(ctx, v.Manifest, p)
		if err != nil {
			return err
		}
		l := newLayout(v, section)
		at := l.start
		for {
			s, some := l.after(at)
			if !some {
				ok = false
				return nil
			}
			if s.maxTimestamp >= ms {
				search := search{ms: ms, first: max(at, s.first), next: s.next}
				if err := r.search(ctx, p, s, &search); err != nil {
					return err
				}
				if ok = search.found; ok {
					offset, timestamp = search.offset, search.timestamp
					return nil
				}
			}
			at = s.next
		}
	})
	if err != nil {
		return 0, 0, false, fmt.Errorf("looking for the time %d in %v: %w", ms, p, err)
	}
	return offset, timestamp, ok, nil
}

// search looks for a time in the offsets [first, next).
type search struct {
	ms, first, next   int64
	found             bool
	offset, timestamp int64
}

// errFound ends a search.
var errFound = errors.New("found")

func (r *Reader) search(ctx context.Context, p topic.Partition, s source, want *search) error {
	f, err := r.footer(ctx, s.object, s.size)
	if err != nil {
		return err
	}
	for i := f.IndexAfter(p, want.first); i < len(f.Ranges) && f.Ranges[i].Partition == p && f.Ranges[i].First < want.next; i++ {
		rng := &f.Ranges[i]
		for j := rng.BlockAt(want.first); j < len(rng.Blocks); j++ {
			if rng.Blocks[j].MaxTimestamp < want.ms {
				continue
			}
			err := r.searchBlock(ctx, s, rng.Blocks[j], want)
			if err == errFound {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Reader) searchBlock(ctx context.Context, s source, b segment.Block, want *search) error {
	data, err := r.get(ctx, s.object, b.Position, b.Length)
	if err != nil {
		return err
	}
	if err := b.Verify(data); err != nil {
		return r.damage(s.object, 0, err)
	}
	decoder := r.decoders.Get().(*batch.Decoder)
	defer r.decoders.Put(decoder)
	err = batch.Each(data, func(h batch.Header, raw []byte) error {
		if h.MaxTimestamp < want.ms || h.Next() <= want.first || h.BaseOffset >= want.next || h.Attributes.Control() {
			return nil
		}
		it, err := decoder.Open(h, raw)
		if err != nil {
			return err
		}
		for it.Next() {
			if rec := it.Record(); rec.Timestamp >= want.ms && rec.Offset >= want.first && rec.Offset < want.next {
				want.found, want.offset, want.timestamp = true, rec.Offset, rec.Timestamp
				return errFound
			}
		}
		return it.Err()
	})
	if err != nil && err != errFound {
		return r.damage(s.object, 0, format.Corrupt(b.Position, "batch in the block of offset %d: %v", b.First, err))
	}
	return err
}
