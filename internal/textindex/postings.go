package textindex

import (
	"math"
	"sort"
)

// Done is the document after the last of all Postings.
const Done = math.MaxUint32

// blockDocuments is how many postings are kept, and decoded, at once.
const blockDocuments = 128

// Impact is a pair that bounds what documents can score: each has, for one of
// their impacts, at most this frequency in a field of at least this length.
type Impact struct {
	Freq   uint32
	Length uint32
}

// Postings walks the documents of a term, rising. It is for one goroutine.
type Postings struct {
	doc     uint32
	i, n    int // of the block
	block   int // that is decoded
	shallow int // that Bound was at
	docs    [blockDocuments]uint32
	freqs   [blockDocuments]uint32
	blocks  blocks
	err     error
}

// blocks are where Postings come from: blockDocuments each, the last one fewer.
type blocks interface {
	documents() int
	// last is the last document of a block.
	last(block int) uint32
	// impacts are those of a block, with frequencies and lengths rising.
	impacts(block int) []Impact
	// all are the impacts of all blocks together.
	all() []Impact
	// decode fills docs with a block, and freqs if they are needed.
	decode(block int, docs, freqs *[blockDocuments]uint32) error
	// positions appends the positions of document i of a block.
	positions(to []uint32, block, i int) ([]uint32, error)
}

func newPostings(b blocks) *Postings { return &Postings{blocks: b, i: -1, block: -1} }

// Documents is the number of all of them.
func (p *Postings) Documents() int { return p.blocks.documents() }

func (p *Postings) blockCount() int {
	return (p.blocks.documents() + blockDocuments - 1) / blockDocuments
}

// Doc is where it stands: at nothing, which is 0, before the first Next or
// Advance; Done after the last.
func (p *Postings) Doc() uint32 { return p.doc }

// Next goes to the next document and returns it; Done after the last.
func (p *Postings) Next() uint32 {
	if p.i++; p.i < p.n {
		p.doc = p.docs[p.i]
		return p.doc
	}
	return p.load(p.block + 1)
}

// load goes to the first document of a block.
func (p *Postings) load(block int) uint32 {
	p.i, p.n, p.block = 0, 0, block
	n := min(p.blocks.documents()-block*blockDocuments, blockDocuments)
	if n <= 0 || p.err != nil {
		return p.end()
	}
	if p.err = p.blocks.decode(block, &p.docs, &p.freqs); p.err != nil {
		return p.end()
	}
	p.n, p.doc = n, p.docs[0]
	return p.doc
}

func (p *Postings) end() uint32 {
	p.i, p.n, p.block, p.doc = 0, 0, p.blockCount(), Done
	return Done
}

// Advance goes to the first document that is at least target and returns it. It
// stays where it is if that is one.
func (p *Postings) Advance(target uint32) uint32 {
	if p.i >= 0 && p.doc >= target {
		return p.doc
	}
	if p.n == 0 || p.docs[p.n-1] < target {
		block := p.find(p.block+1, target)
		if p.load(block) >= target { // also at the end
			return p.doc
		}
		if p.docs[p.n-1] < target { // a single block does not say where it ends
			return p.end()
		}
	}
	// The first that is not below the target; the last one is not.
	low, high := p.i, p.n-1
	for low < high {
		if middle := int(uint(low+high) / 2); p.docs[middle] < target {
			low = middle + 1
		} else {
			high = middle
		}
	}
	p.i, p.doc = low, p.docs[low]
	return p.doc
}

// find returns the first block, from one on, whose last document is at least
// target. It looks further and further away: targets are mostly near.
func (p *Postings) find(from int, target uint32) int {
	count := p.blockCount()
	step := 1
	for from < count && p.blocks.last(from) < target {
		next := from + step
		if next >= count || p.blocks.last(next) >= target {
			limit := min(next, count) - from - 1
			return from + 1 + sort.Search(limit, func(i int) bool { return p.blocks.last(from+1+i) >= target })
		}
		from, step = next, step*2
	}
	return min(from, count)
}

// Freq is how often the document has the term: of postings that were asked for
// with it.
func (p *Postings) Freq() uint32 { return p.freqs[p.i] }

// Positions appends where in the field the document has the term, rising: of
// postings that were asked for with them.
func (p *Postings) Positions(to []uint32) []uint32 {
	to, err := p.blocks.positions(to, p.block, p.i)
	if err != nil && p.err == nil {
		p.err = err
	}
	return to
}

// Bound returns the last document and the impacts of the block that has the
// first document of at least target, without going there; Done and nothing when
// there is no such block. Targets of one Postings rise. The impacts are good
// until the next call.
func (p *Postings) Bound(target uint32) (last uint32, impacts []Impact) {
	p.shallow = p.find(max(p.shallow, p.block, 0), target)
	if p.shallow == p.blockCount() {
		return Done, nil
	}
	return p.blocks.last(p.shallow), p.blocks.impacts(p.shallow)
}

// Impacts bound all documents.
func (p *Postings) Impacts() []Impact { return p.blocks.all() }

// Err is why the postings ended before their end.
func (p *Postings) Err() error { return p.err }
