package splitcache

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// hidden is which documents of a split were not part of the log when it was asked
// last: the answer stays the same until a mask is added or the log's start moves.
type hidden struct {
	mu   sync.Mutex
	of   string
	docs *roaring.Bitmap
}

// Hidden are the documents that are not part of the log: those below its start,
// and those whose offsets masks name, which rise within each. names say which
// masks these are. It is nil where there are none, and not to be changed.
func (s *Split) Hidden(ctx context.Context, start int64, names []string, masks [][]int64) (*roaring.Bitmap, error) {
	bounds := s.Bounds()
	if bounds.First >= start && len(masks) == 0 {
		return nil, nil
	}
	of := fmt.Sprint(start, names)
	s.hidden.mu.Lock()
	defer s.hidden.mu.Unlock()
	if s.hidden.of == of {
		return s.hidden.docs, nil
	}
	offsets, err := s.Column(ctx, textindex.FieldOffset)
	if err != nil {
		return nil, err
	}
	at := func(offset int64, from int) int {
		return from + sort.Search(int(bounds.Documents)-from, func(i int) bool {
			v, _ := offsets.Value(uint32(from + i))
			return v >= offset
		})
	}
	docs := roaring.New()
	docs.AddRange(0, uint64(at(start, 0)))
	for _, mask := range masks {
		begin, _ := slices.BinarySearch(mask, bounds.First)
		doc := 0
		for _, offset := range mask[begin:] {
			if doc = at(offset, doc); doc == int(bounds.Documents) {
				break
			}
			if v, _ := offsets.Value(uint32(doc)); v == offset {
				docs.Add(uint32(doc))
			}
		}
	}
	if docs.IsEmpty() {
		docs = nil
	}
	s.hidden.of, s.hidden.docs = of, docs
	return docs, nil
}
