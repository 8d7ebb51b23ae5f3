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
	if l.freqs != nil {
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

// bind computes the impacts, given the lengths of the documents' fields.
func (l *list) bind(length func(doc uint32) uint32) {
	var all []Impact
	for first := 0; first < len(l.docs); first += blockDocuments {
		next := min(first+blockDocuments, len(l.docs))
		block := make([]Impact, 0, next-first)
		for i := first; i < next; i++ {
			block = append(block, Impact{l.freqs[i], length(l.docs[i])})
		}
		block = slices.Clip(frontier(block))
		l.bounds = append(l.bounds, block)
		all = append(all, block...)
	}
	l.most = frontier(all)
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
