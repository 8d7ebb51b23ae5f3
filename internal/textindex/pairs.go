package textindex

import (
	"cmp"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// pairs is a column of values with their documents.
type pairs struct {
	documents uint32
	docs      []uint32
	values    []int64
	single    bool
	dense     bool // value i is that of document i
}

func newPairs(v *view, documents uint32) *pairs {
	c := &pairs{documents: documents, docs: v.docs, values: v.values[:len(v.docs)], single: v.Documents == v.Values}
	c.dense = c.single && v.Documents == int64(documents)
	return c
}

func (c *pairs) Documents() uint32 { return c.documents }
func (c *pairs) Single() bool      { return c.single }

// first returns where the values of a document begin.
func (c *pairs) first(doc uint32) int {
	if c.dense {
		return int(min(doc, c.documents))
	}
	i, _ := slices.BinarySearchFunc(c.docs, doc, cmp.Compare[uint32])
	return i
}

func (c *pairs) Value(doc uint32) (int64, bool) {
	if i := c.first(doc); i < len(c.docs) && c.docs[i] == doc {
		return c.values[i], true
	}
	return 0, false
}

func (c *pairs) Append(to []int64, doc uint32) []int64 {
	for i := c.first(doc); i < len(c.docs) && c.docs[i] == doc; i++ {
		to = append(to, c.values[i])
	}
	return to
}

func (c *pairs) Exists() *roaring.Bitmap {
	all := roaring.New()
	if c.dense {
		all.AddRange(0, uint64(c.documents))
		return all
	}
	all.AddMany(c.docs)
	return all
}

func (c *pairs) Match(least, greatest int64) *roaring.Bitmap {
	matching := make([]uint32, 0, 1024)
	for i, v := range c.values {
		if least <= v && v <= greatest {
			matching = append(matching, c.docs[i])
		}
	}
	all := roaring.New()
	all.AddMany(matching)
	return all
}

// rankedPairs is the column of a keyword field: its values are the numbers of
// terms, which become ordinals when they are read. So a column costs what there
// are terms, whatever the number of documents.
type rankedPairs struct {
	*pairs
	ranks []uint32
}

func (c *rankedPairs) Value(doc uint32) (int64, bool) {
	i := c.first(doc)
	if i >= len(c.docs) || c.docs[i] != doc {
		return 0, false
	}
	least := c.ranks[c.values[i]]
	for i++; i < len(c.docs) && c.docs[i] == doc; i++ {
		least = min(least, c.ranks[c.values[i]])
	}
	return int64(least), true
}

func (c *rankedPairs) Append(to []int64, doc uint32) []int64 {
	before := len(to)
	for i := c.first(doc); i < len(c.docs) && c.docs[i] == doc; i++ {
		to = append(to, int64(c.ranks[c.values[i]]))
	}
	if len(to)-before > 1 {
		slices.Sort(to[before:])
	}
	return to
}

func (c *rankedPairs) Match(least, greatest int64) *roaring.Bitmap {
	matching := make([]uint32, 0, 1024)
	for i, v := range c.values {
		if r := int64(c.ranks[v]); least <= r && r <= greatest {
			matching = append(matching, c.docs[i])
		}
	}
	all := roaring.New()
	all.AddMany(matching)
	return all
}
