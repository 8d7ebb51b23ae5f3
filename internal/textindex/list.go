package textindex

import (
	"cmp"
	"slices"
)

// list is the postings of one term in memory.
type list struct {
	docs   []uint32
	freqs  []uint32 // nil: not needed
	starts []uint32 // of each document's positions in places, and the end of the last
	places []uint32 // positions of all documents

	bounds [][]Impact // by block; nil: not needed
	most   []Impact
	pool   []Impact // what bounds refer to
}

func (l *list) documents() int { return len(l.docs) }

func (l *list) last(block int) uint32 {
	return l.docs[min((block+1)*blockDocuments, len(l.docs))-1]
}

func (l *list) impacts(block int) []Impact {
	if l.bounds == nil {
		return unit
	}
	return l.bounds[block]
}

func (l *list) all() []Impact {
	if l.bounds == nil {
		return unit
	}
	return l.most
}

func (l *list) decode(block int, docs, freqs *[blockDocuments]uint32) error {
	first := block * blockDocuments
	n := copy(docs[:], l.docs[first:])
	if len(l.freqs) > 0 {
		copy(freqs[:], l.freqs[first:])
		return nil
	}
	for i := range n {
		freqs[i] = 1
	}
	return nil
}

func (l *list) positions(to []uint32, block, i int) ([]uint32, error) {
	i += block * blockDocuments
	return append(to, l.places[l.starts[i]:l.starts[i+1]]...), nil
}

// bind computes the impacts, given the length of each document's field.
func (l *list) bind(length func(doc uint32) uint32) {
	l.bounds, l.most = l.bounds[:0], l.most[:0]
	l.pool = l.pool[:0]
	for first := 0; first < len(l.docs); first += blockDocuments {
		next := min(first+blockDocuments, len(l.docs))
		from := len(l.pool)
		for i := first; i < next; i++ {
			l.pool = dominate(l.pool, from, Impact{l.freqs[i], length(l.docs[i])})
		}
		kept := frontier(l.pool[from:])
		l.pool = l.pool[:from+len(kept)]
		l.bounds = append(l.bounds, kept[:len(kept):len(kept)])
		l.most = append(l.most, kept...)
	}
	l.most = frontier(l.most)
}

// dominate appends an impact to those from a place on, unless one of them bounds
// it; which is mostly so, and found at once.
func dominate(all []Impact, from int, i Impact) []Impact {
	for _, k := range all[from:] {
		if k.Freq >= i.Freq && k.Length <= i.Length {
			return all
		}
	}
	return append(all, i)
}

// unit are the impacts of postings without frequencies.
var unit = []Impact{{Freq: 1, Length: 1}}

// impactsMax is how many impacts a block has at most.
const impactsMax = 4

// frontier reduces impacts, in place, to those that bound all of them: the ones
// that no other beats by a higher frequency in a field that is not longer.
func frontier(all []Impact) []Impact {
	slices.SortFunc(all, func(a, b Impact) int {
		if a.Length != b.Length {
			return cmp.Compare(a.Length, b.Length)
		}
		return cmp.Compare(b.Freq, a.Freq)
	})
	n := 0
	for _, i := range all {
		if n == 0 || i.Freq > all[n-1].Freq {
			all[n] = i
			n++
		}
	}
	for n > impactsMax {
		// The two neighbours that are nearest become one that bounds both.
		best, least := 0, ^uint32(0)
		for k := range n - 1 {
			if d := all[k+1].Freq - all[k].Freq + all[k+1].Length - all[k].Length; d < least {
				best, least = k, d
			}
		}
		all[best].Freq = all[best+1].Freq
		copy(all[best+1:], all[best+2:n])
		n--
	}
	return all[:n]
}
