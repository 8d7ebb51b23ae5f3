package vectorindex

import (
	"context"
	"math"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/chronik-stream/chronik/internal/format"
)

// Filter says which documents count. The zero Filter takes all.
type Filter struct {
	// First and Next bound the offsets; a Next of 0 is no bound.
	First, Next int64
	// Times bound the timestamps; nil: no bounds.
	Times *Times
	// Only are the offsets that count; nil: all.
	Only *roaring64.Bitmap
	// Hidden are offsets that do not count: superseded, or deleted; nil: none.
	Hidden *roaring64.Bitmap
}

// Times are bounds of timestamps in ms, both included.
type Times struct{ Least, Greatest int64 }

// sieve is a Filter over one shard.
type sieve struct {
	Filter
	fraction float64 // of documents that may pass, about
	all      bool    // every document passes
	none     bool
}

func (f *File) sieve(filter Filter) *sieve {
	s := &sieve{Filter: filter}
	if s.Next == 0 {
		s.Next = math.MaxInt64
	}
	b := f.footer.bounds
	bounded := s.First > b.offsetMin || s.Next <= b.offsetMax || s.Times != nil && (s.Times.Least > b.timestampMin || s.Times.Greatest < b.timestampMax)
	var inside int64
	for _, k := range f.footer.blocks {
		if s.overlaps(k.bounds) {
			inside += int64(float64(k.documents) * s.share(k.bounds))
		}
	}
	s.none = !s.overlaps(b)
	s.fraction = float64(inside) / float64(f.footer.documents)
	first, next := max(s.First, b.offsetMin), min(s.Next, b.offsetMax+1)
	if s.Only != nil && !s.none {
		s.fraction *= min(1, float64(countBetween(s.Only, first, next))/float64(next-first))
	}
	hidden := uint64(0)
	if s.Hidden != nil && !s.none {
		hidden = countBetween(s.Hidden, first, next)
		s.fraction *= 1 - min(1, float64(hidden)/float64(max(inside, 1)))
	}
	s.fraction = min(1, max(s.fraction, 1/float64(f.footer.documents)))
	s.all = !bounded && s.Only == nil && hidden == 0
	return s
}

// share is about what part of documents in some bounds lies within those of offsets
// and times.
func (s *sieve) share(b bounds) float64 {
	of := func(least, greatest, first, last int64) float64 {
		return (float64(min(greatest, last)) - float64(max(least, first)) + 1) / (float64(greatest) - float64(least) + 1)
	}
	part := of(b.offsetMin, b.offsetMax, s.First, s.Next-1)
	if s.Times != nil {
		part = min(part, of(b.timestampMin, b.timestampMax, s.Times.Least, s.Times.Greatest))
	}
	return part
}

// countBetween is how many of a bitmap lie in [first, next).
func countBetween(b *roaring64.Bitmap, first, next int64) uint64 {
	if next <= first {
		return 0
	}
	n := b.Rank(uint64(next - 1))
	if first > 0 {
		n -= b.Rank(uint64(first - 1))
	}
	return n
}

// overlaps reports whether a document in some bounds may pass.
func (s *sieve) overlaps(b bounds) bool {
	return b.offsetMin < s.Next && b.offsetMax >= s.First && (s.Times == nil || b.timestampMin <= s.Times.Greatest && b.timestampMax >= s.Times.Least) &&
		(s.Only == nil || countBetween(s.Only, b.offsetMin, b.offsetMax+1) > 0)
}

// passes reports whether a document counts.
func (s *sieve) passes(d document) bool {
	return s.all || d.offset >= s.First && d.offset < s.Next && (s.Times == nil || d.timestamp >= s.Times.Least && d.timestamp <= s.Times.Greatest) &&
		(s.Only == nil || s.Only.Contains(uint64(d.offset))) && (s.Hidden == nil || !s.Hidden.Contains(uint64(d.offset)))
}

// row reports whether a row has a document that counts.
func (s *sieve) row(t *table, of *space, row uint32) bool {
	if s.all || s.passes(documentOf(t.record(of, row), row)) {
		return true
	}
	for _, d := range t.copies[row] {
		if s.passes(d) {
			return true
		}
	}
	return false
}

// few returns the documents that pass, if they are no more than some; false if
// they are, or that cannot be told cheaply.
func (f *File) few(ctx context.Context, s *sieve, most int) ([]document, bool, error) {
	if s.fraction*float64(f.footer.documents) > 2*float64(most)+1000 {
		return nil, false, nil
	}
	var sections []section
	var blocks []*block
	for i := range f.footer.blocks {
		if k := &f.footer.blocks[i]; s.overlaps(k.bounds) {
			blocks, sections = append(blocks, k), append(sections, k.section)
		}
	}
	data, err := f.gather(ctx, sections, 0)
	if err != nil {
		return nil, false, err
	}
	var all []document
	for i, k := range blocks {
		if err := check(k.part, data[i]); err != nil {
			return nil, false, err
		}
		err := f.documents(k, data[i], func(d document) {
			if s.passes(d) {
				all = append(all, d)
			}
		})
		if err != nil {
			return nil, false, err
		}
		if len(all) > most {
			return nil, false, nil
		}
	}
	return all, true, nil
}

// documents hands over those of a block.
func (f *File) documents(k *block, data []byte, take func(document)) error {
	d := format.NewDecoder(data)
	doc := document{offset: k.bounds.offsetMin, timestamp: k.bounds.timestampMin}
	for range k.documents {
		doc.offset += int64(d.Uvarint(math.MaxInt64))
		doc.timestamp += d.Varint()
		doc.row = uint32(d.Uvarint(uint64(f.footer.rows - 1)))
		if d.Failed() {
			break
		}
		take(doc)
	}
	return format.At("", k.at, d.End())
}
