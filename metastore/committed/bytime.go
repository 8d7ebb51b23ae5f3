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

// MaxTimestamp returns the largest timestamp of the records that are committed
// and not below the log start; −1 when there are none, or none has one.
//
// What objects and blocks say of themselves is believed where they lie behind
// the log start as a whole. Only the block that it cuts in two is opened.
func (r *Reader) MaxTimestamp(ctx context.Context, p topic.Partition) (ms int64, err error) {
	err = r.planned(ctx, p, func(v metastore.PartitionView) error {
		section, err := r.FetchManifest(ctx, v.Manifest, p)
		if err != nil {
			return err
		}
		l := newLayout(v, section)
		ms = -1
		for at := l.start; ; {
			s, some := l.after(at)
			if !some {
				return nil
			}
			if s.maxTimestamp > ms {
				largest := s.maxTimestamp
				if s.first < at {
					if largest, err = r.largestFrom(ctx, p, s, at); err != nil {
						return err
					}
				}
				ms = max(ms, largest)
			}
			at = s.next
		}
	})
	if err != nil {
		return -1, fmt.Errorf("looking for the largest timestamp in %v: %w", p, err)
	}
	return ms, nil
}

// largestFrom is the largest timestamp of a source's records from first on.
func (r *Reader) largestFrom(ctx context.Context, p topic.Partition, s source, first int64) (int64, error) {
	f, err := r.footer(ctx, s.object, s.size)
	if err != nil {
		return -1, err
	}
	largest := int64(-1)
	for i := f.IndexAfter(p, first); i < len(f.Ranges) && f.Ranges[i].Partition == p && f.Ranges[i].First < s.next; i++ {
		rng := &f.Ranges[i]
		for j := rng.BlockAt(first); j < len(rng.Blocks); j++ {
			b := rng.Blocks[j]
			if b.MaxTimestamp <= largest || b.First >= s.next {
				continue
			}
			if b.First >= first {
				largest = b.MaxTimestamp
				continue
			}
			err := r.eachTime(ctx, s, b, first, s.next, largest+1, func(_, timestamp int64) error {
				largest = max(largest, timestamp)
				return nil
			})
			if err != nil {
				return -1, err
			}
		}
	}
	return largest, nil
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

// searchBlock looks for the first record of a block with that time.
func (r *Reader) searchBlock(ctx context.Context, s source, b segment.Block, want *search) error {
	return r.eachTime(ctx, s, b, want.first, want.next, want.ms, func(offset, timestamp int64) error {
		if timestamp < want.ms {
			return nil
		}
		want.found, want.offset, want.timestamp = true, offset, timestamp
		return errFound
	})
}

// eachTime calls f for the records of a block in [first, next), but for those
// of batches that are older than least as a whole. An errFound of f ends it and
// is returned.
func (r *Reader) eachTime(ctx context.Context, s source, b segment.Block, first, next, least int64, f func(offset, timestamp int64) error) error {
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
		if h.MaxTimestamp < least || h.Next() <= first || h.BaseOffset >= next || h.Attributes.Control() {
			return nil
		}
		it, err := decoder.Open(h, raw)
		if err != nil {
			return err
		}
		for it.Next() {
			rec := it.Record()
			if rec.Offset < first || rec.Offset >= next {
				continue
			}
			if err := f(rec.Offset, rec.Timestamp); err != nil {
				return err
			}
		}
		return it.Err()
	})
	if err != nil && err != errFound {
		return r.damage(s.object, 0, format.Corrupt(b.Position, "batch in the block of offset %d: %v", b.First, err))
	}
	return err
}
