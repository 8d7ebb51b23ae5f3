package textindex

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/format"
)

// fileColumn is a Column as it lies in a file.
type fileColumn struct {
	there  *presence
	starts *packed // where each document's values begin, and the last ones end; nil: each has one
	scale  scale
	slope  bool // values rise with the documents: those kept are less the document's number
	values *packed
}

// appendColumn appends a column: values with their documents, which rise.
//
//	presence · 1 if a document has several values: packed starts; else 0 ·
//	1 if values rise by one and more with each document; else 0 · scale · packed values
func appendColumn(to []byte, kind Kind, documents uint32, docs []uint32, values []int64) []byte {
	distinct := docs
	single := true
	for i := 1; i < len(docs) && single; i++ {
		single = docs[i] != docs[i-1]
	}
	var starts []int64
	if !single {
		distinct = nil
		for i, d := range docs {
			if i == 0 || d != docs[i-1] {
				distinct = append(distinct, d)
				starts = append(starts, int64(i))
			}
		}
		starts = append(starts, int64(len(docs)))
	}
	to = appendPresence(to, documents, distinct)
	if single {
		to = append(to, 0)
	} else {
		to = appendPacked(append(to, 1), starts)
	}
	kept := make([]int64, len(values))
	if kind == Long && single && len(docs) == int(documents) && rises(values) {
		for i, v := range values {
			kept[i] = v - int64(i)
		}
		return appendPacked(scale{decimals: -1, factor: 1}.append(append(to, 1)), kept)
	}
	s := newScale(kind, values)
	for i, v := range values {
		kept[i] = s.down(v)
	}
	return appendPacked(s.append(append(to, 0)), kept)
}

// rises reports that every value is above the one before, and that none gets out
// of range when its place is taken from it.
func rises(values []int64) bool {
	if len(values) == 0 || values[0] < 0 {
		return false
	}
	for i := 1; i < len(values); i++ {
		if values[i] <= values[i-1] {
			return false
		}
	}
	return true
}

func parseColumn(data []byte, documents uint32) (*fileColumn, error) {
	d := format.NewDecoder(data)
	c := &fileColumn{there: parsePresence(d, documents)}
	if flag(d) {
		c.starts = parsePacked(d, len(data)*8*packBlock)
	}
	c.slope = flag(d)
	c.scale = parseScale(d)
	c.values = parsePacked(d, len(data)*8*packBlock)
	if err := d.End(); err != nil {
		return nil, err
	}
	return c, c.check()
}

// check makes sure that no document has values that are not there.
func (c *fileColumn) check() error {
	if c.starts == nil {
		if c.values.count != c.there.count {
			return format.Corrupt(0, "%d documents have %d values", c.there.count, c.values.count)
		}
		return nil
	}
	before := int64(-1)
	for i := range c.starts.count {
		at := c.starts.at(i)
		if at <= before || i == 0 && at != 0 {
			return format.Corrupt(0, "the values of document %d begin at %d, after %d", i, at, before)
		}
		before = at
	}
	if c.starts.count != c.there.count+1 || before != int64(c.values.count) {
		return format.Corrupt(0, "%d documents have %d values, which end at %d", c.there.count, c.values.count, before)
	}
	return nil
}

func flag(d *format.Decoder) bool {
	b := d.Byte()
	if b > 1 {
		d.Fail("%d is neither yes nor no", b)
	}
	return b == 1
}

func (c *fileColumn) Documents() uint32 { return c.there.documents }
func (c *fileColumn) Single() bool      { return c.starts == nil }

// span returns where the values of a document are.
func (c *fileColumn) span(doc uint32) (first, next int) {
	n, ok := c.there.rank(doc)
	switch {
	case !ok:
		return 0, 0
	case c.starts == nil:
		return n, n + 1
	}
	return int(c.starts.at(n)), int(c.starts.at(n + 1))
}

func (c *fileColumn) value(i int) int64 {
	v := c.values.at(i)
	if c.slope {
		return v + int64(i)
	}
	return c.scale.up(v)
}

func (c *fileColumn) Value(doc uint32) (int64, bool) {
	first, next := c.span(doc)
	if first == next {
		return 0, false
	}
	return c.value(first), true
}

func (c *fileColumn) Append(to []int64, doc uint32) []int64 {
	for first, next := c.span(doc); first < next; first++ {
		to = append(to, c.value(first))
	}
	return to
}

func (c *fileColumn) Exists() *roaring.Bitmap { return c.there.bitmap() }

func (c *fileColumn) Match(least, greatest int64) *roaring.Bitmap {
	if c.slope {
		return c.matchRising(least, greatest)
	}
	var docs []uint32 // by place among those that have the field
	if c.there.form != formAll {
		docs = c.there.docs()
	}
	matching := roaring.New()
	var found []uint32
	n := 0 // the document of value i is the n-th
	each := func(first, next int) {
		for i := first; i < next; i++ {
			if c.starts != nil {
				for int64(i) >= c.starts.at(n+1) {
					n++
				}
			} else {
				n = i
			}
			if docs != nil {
				found = append(found, docs[n])
			} else {
				found = append(found, uint32(n))
			}
		}
	}
	var block [packBlock]int64
	for b := range c.values.least {
		low, high := c.values.least[b], c.values.greatest(b)
		from, to, some := c.scale.within(least, greatest, low, high)
		first := b * packBlock
		switch {
		case !some:
		case from <= low && high <= to:
			each(first, min(first+packBlock, c.values.count))
		default:
			for i, v := range block[:c.values.block(&block, b)] {
				if from <= v && v <= to {
					each(first+i, first+i+1)
				}
			}
		}
		if len(found) > 1<<16 {
			matching.AddMany(found)
			found = found[:0]
		}
	}
	matching.AddMany(found)
	return matching
}

// matchRising is Match for values of which each is above the one before: what
// matches lies together.
func (c *fileColumn) matchRising(least, greatest int64) *roaring.Bitmap {
	first := bisect(0, int64(c.values.count)-1, func(i int64) bool { return c.value(int(i)) >= least })
	next := bisect(0, int64(c.values.count)-1, func(i int64) bool { return c.value(int(i)) > greatest })
	matching := roaring.New()
	if first < next {
		matching.AddRange(uint64(first), uint64(next))
	}
	return matching
}

// all returns all values with their documents.
func (c *fileColumn) all() (docs []uint32, values []int64) {
	docs = c.there.docs()
	values = make([]int64, 0, c.values.count)
	var block [packBlock]int64
	for b := range c.values.least {
		for _, v := range block[:c.values.block(&block, b)] {
			if c.slope {
				v += int64(len(values))
			} else {
				v = c.scale.up(v)
			}
			values = append(values, v)
		}
	}
	if c.starts == nil {
		return docs, values
	}
	spread := make([]uint32, 0, len(values))
	for i, d := range docs {
		for range c.starts.at(i+1) - c.starts.at(i) {
			spread = append(spread, d)
		}
	}
	return slices.Clip(spread), values
}
