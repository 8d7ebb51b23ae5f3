package shardcache

import (
	"context"
	"fmt"
	"sync"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// hidden is what masks took out of a shard, and how many vectors that left, when
// it was asked last: both stay the same until a mask is added or the log's start
// moves.
type hidden struct {
	mu      sync.Mutex
	of      string // masks
	known   bool
	offsets *roaring64.Bitmap
	counted map[span]int64
}

type span struct{ first, next int64 }

// Hidden are the offsets within the shard that masks name. names say which masks
// these are. It is nil where there are none, and not to be changed.
func (s *Shard) Hidden(names []string, masks [][]int64) *roaring64.Bitmap {
	s.hidden.mu.Lock()
	defer s.hidden.mu.Unlock()
	return s.hide(names, masks)
}

// hide is Hidden for who holds the lock.
func (s *Shard) hide(names []string, masks [][]int64) *roaring64.Bitmap {
	h := s.hidden
	if of := fmt.Sprint(names); !h.known || h.of != of {
		h.of, h.known, h.counted = of, true, map[span]int64{}
		h.offsets = within(s.Info(), masks)
	}
	return h.offsets
}

// within are the offsets of masks that a shard may have; nil: none.
func within(info vectorindex.Info, masks [][]int64) *roaring64.Bitmap {
	offsets := roaring64.New()
	for _, mask := range masks {
		for _, offset := range mask {
			if offset >= info.First && offset < info.Next {
				offsets.Add(uint64(offset))
			}
		}
	}
	if offsets.IsEmpty() {
		return nil
	}
	return offsets
}

// spansMax bounds the counts that are kept of a shard.
const spansMax = 16

// Count is how many vectors there are of offsets in [first, next) that masks do
// not name.
func (s *Shard) Count(ctx context.Context, first, next int64, names []string, masks [][]int64) (int64, error) {
	at := span{first, next}
	s.hidden.mu.Lock()
	filter := vectorindex.Filter{First: first, Next: next, Hidden: s.hide(names, masks)}
	of := s.hidden.of
	count, known := s.hidden.counted[at]
	s.hidden.mu.Unlock()
	if known {
		return count, nil
	}
	count, err := s.File.Count(ctx, filter)
	if err != nil {
		return 0, err
	}
	s.hidden.mu.Lock()
	defer s.hidden.mu.Unlock()
	if s.hidden.of == of {
		if len(s.hidden.counted) >= spansMax {
			clear(s.hidden.counted)
		}
		s.hidden.counted[at] = count
	}
	return count, nil
}
