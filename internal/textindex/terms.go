package textindex

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// terms numbers the terms of one field in the order in which they come, and
// keeps their postings. It allocates nothing per term.
type terms struct {
	seed   maphash.Seed
	slots  []uint32 // number + 1 of a term, by hash; 0: free
	text   []byte   // of all terms
	starts []uint32 // of each term in text, and the end of the last
	lists  []growing
}

// growing is a term's postings while they are appended to.
type growing struct {
	chain
	documents uint32
	last      uint32 // document
	mark      uint32 // of the document being indexed: see field.touch
}

func newTerms(seed maphash.Seed) *terms {
	return &terms{seed: seed, slots: make([]uint32, 16), starts: []uint32{0}}
}

func (t *terms) count() int { return len(t.lists) }

func (t *terms) term(n uint32) []byte { return t.text[t.starts[n]:t.starts[n+1]] }

// find returns the number of a term, or false.
func (t *terms) find(term []byte) (uint32, bool) {
	mask := uint64(len(t.slots) - 1)
	for at := maphash.Bytes(t.seed, term) & mask; ; at = (at + 1) & mask {
		n := t.slots[at]
		if n == 0 {
			return 0, false
		}
		if bytes.Equal(t.term(n-1), term) {
			return n - 1, true
		}
	}
}

// number returns the number of a term, which is new if it has not been there.
func (t *terms) number(term []byte) uint32 {
	mask := uint64(len(t.slots) - 1)
	at := maphash.Bytes(t.seed, term) & mask
	for ; ; at = (at + 1) & mask {
		n := t.slots[at]
		if n == 0 {
			break
		}
		if bytes.Equal(t.term(n-1), term) {
			return n - 1
		}
	}
	n := uint32(len(t.lists))
	t.slots[at] = n + 1
	t.text = append(t.text, term...)
	t.starts = append(t.starts, uint32(len(t.text)))
	t.lists = append(t.lists, growing{})
	if len(t.lists)*2 > len(t.slots) {
		t.grow()
	}
	return n
}

func (t *terms) grow() {
	t.slots = make([]uint32, len(t.slots)*2)
	mask := uint64(len(t.slots) - 1)
	for n := range t.lists {
		at := maphash.Bytes(t.seed, t.term(uint32(n))) & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = uint32(n) + 1
	}
}

// bytes is what the table takes.
func (t *terms) bytes() int64 {
	return int64(cap(t.slots)*4 + cap(t.text) + cap(t.starts)*4 + cap(t.lists)*32)
}

// sorted returns the numbers of the first count terms in the order of their
// bytes. before is such an order of fewer of them, which is not changed.
func (t *terms) sorted(before []uint32, count int) []uint32 {
	added := make([]uint32, 0, count-len(before))
	for n := len(before); n < count; n++ {
		added = append(added, uint32(n))
	}
	compare := func(a, b uint32) int { return bytes.Compare(t.term(a), t.term(b)) }
	slices.SortFunc(added, compare)
	if len(before) == 0 {
		return added
	}
	merged := make([]uint32, 0, count)
	for len(before) > 0 && len(added) > 0 {
		if compare(before[0], added[0]) < 0 {
			merged, before = append(merged, before[0]), before[1:]
		} else {
			merged, added = append(merged, added[0]), added[1:]
		}
	}
	return append(append(merged, before...), added...)
}
