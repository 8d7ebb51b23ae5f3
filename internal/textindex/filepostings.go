package textindex

import (
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
)

// filePostings are the postings of a term as they lie in a file.
type filePostings struct {
	kind   Kind
	need   Need
	count  int
	limit  uint32 // of documents
	blocks []postingsBlock
	bodies []byte
	places []byte // positions
	most   []Impact
	pool   []Impact // of all blocks

	freqs      [blockDocuments]uint32 // of the block decoded last
	positioned int                    // block whose positions are in flat
	flat       []uint32
	starts     [blockDocuments + 1]uint32
}

// postingsBlock is what is known of a block without reading it.
type postingsBlock struct {
	last         uint32
	body, placed int // where it ends in bodies and places
	impacts      int // where they end in pool
}

func (p *filePostings) parse(data []byte) error {
	d := format.NewDecoder(data)
	if p.kind == Text {
		p.most = readImpacts(d, p.most)
	}
	blocks := (p.count + blockDocuments - 1) / blockDocuments
	if blocks == 1 {
		p.bodies = d.Bytes(d.Left())
		p.pool = append(p.pool, p.most...)
		p.blocks = append(p.blocks, postingsBlock{last: Done - 1, body: len(p.bodies), placed: len(p.places), impacts: len(p.pool)})
		return d.End()
	}
	if blocks > d.Left() {
		d.Fail("%d blocks in %d bytes", blocks, d.Left())
		return d.End()
	}
	p.blocks = slices.Grow(p.blocks, blocks)[:blocks]
	var b postingsBlock
	for n := range p.blocks {
		last := uint64(b.last) + d.Uvarint(math.MaxUint32)
		if last >= uint64(p.limit) || n > 0 && last <= uint64(b.last) {
			d.Fail("a block ends with document %d of %d", last, p.limit)
		}
		b.last = uint32(last)
		b.body += int(d.Uvarint(math.MaxInt32))
		if p.kind == Text {
			b.placed += int(d.Uvarint(math.MaxInt32))
			p.pool = readImpacts(d, p.pool)
			b.impacts = len(p.pool)
		}
		if d.Failed() {
			return d.End()
		}
		p.blocks[n] = b
	}
	p.bodies = d.Bytes(d.Left())
	if b.body != len(p.bodies) || p.places != nil && b.placed != len(p.places) {
		d.Fail("blocks of %d bytes and positions of %d; there are %d and %d", b.body, b.placed, len(p.bodies), len(p.places))
	}
	return d.End()
}

func readImpacts(d *format.Decoder, to []Impact) []Impact {
	var i Impact
	for n := d.Uvarint(impactsMax); n > 0; n-- {
		i.Freq += uint32(d.Uvarint(math.MaxUint32))
		i.Length += uint32(d.Uvarint(math.MaxUint32))
		to = append(to, i)
	}
	return to
}

func (p *filePostings) documents() int        { return p.count }
func (p *filePostings) last(block int) uint32 { return p.blocks[block].last }

func (p *filePostings) impacts(block int) []Impact {
	if p.kind != Text {
		return unit
	}
	from := 0
	if block > 0 {
		from = p.blocks[block-1].impacts
	}
	return p.pool[from:p.blocks[block].impacts]
}

func (p *filePostings) all() []Impact {
	if p.kind != Text {
		return unit
	}
	return p.most
}

func (p *filePostings) decode(block int, docs, freqs *[blockDocuments]uint32) error {
	from, before := 0, int64(-1)
	if block > 0 {
		from, before = p.blocks[block-1].body, int64(p.blocks[block-1].last)
	}
	d := format.NewDecoder(p.bodies[from:p.blocks[block].body])
	n := min(p.count-block*blockDocuments, blockDocuments)
	readRun(d, docs[:n])
	for i := range n {
		before += int64(docs[i]) + 1
		docs[i] = uint32(before)
	}
	if before >= int64(p.limit) || len(p.blocks) > 1 && before != int64(p.blocks[block].last) {
		d.Fail("a block ends with document %d of %d", before, p.limit)
	}
	switch {
	case p.kind != Text:
		for i := range n {
			freqs[i] = 1
		}
	case p.need != Documents:
		readRun(d, freqs[:n])
		for i := range n {
			freqs[i]++
		}
	default:
		return nil // frequencies are left unread
	}
	p.freqs = *freqs
	return d.End()
}

// positions reads those of the whole block when they are first asked for.
func (p *filePostings) positions(to []uint32, block, i int) ([]uint32, error) {
	if p.positioned != block {
		if err := p.place(block); err != nil {
			return to, err
		}
		p.positioned = block
	}
	position := uint32(0)
	for _, delta := range p.flat[p.starts[i]:p.starts[i+1]] {
		position += delta
		to = append(to, position)
	}
	return to, nil
}

func (p *filePostings) place(block int) error {
	from := 0
	if block > 0 {
		from = p.blocks[block-1].placed
	}
	d := format.NewDecoder(p.places[from:p.blocks[block].placed])
	n := min(p.count-block*blockDocuments, blockDocuments)
	total := uint64(0)
	for i := range n {
		p.starts[i] = uint32(total)
		if total += uint64(p.freqs[i]); total > positionsMax {
			d.Fail("%d positions in one block", total)
			return d.End()
		}
	}
	p.starts[n] = uint32(total)
	if uint64(cap(p.flat)) < total {
		p.flat = make([]uint32, total)
	}
	p.flat = p.flat[:total]
	readRun(d, p.flat)
	return d.End()
}

// positionsMax bounds the positions of one block: a value of 100 MB has fewer.
const positionsMax = 1 << 27

// readInline reads the postings of a term that one document has.
func (l *list) readInline(data []byte, kind Kind) error {
	d := format.NewDecoder(data)
	l.docs = append(l.docs, uint32(d.Uvarint(documentsMax)))
	if kind == Text {
		n := d.Uvarint(uint64(len(data)))
		l.freqs = append(l.freqs, uint32(n))
		position := uint32(0)
		for ; n > 0; n-- {
			position += uint32(d.Uvarint(math.MaxUint32))
			l.places = append(l.places, position)
		}
		// Any length is at least as long as what it has of this term.
		l.most = []Impact{{Freq: l.freqs[0], Length: l.freqs[0]}}
		l.bounds = [][]Impact{l.most}
	}
	l.starts = append(l.starts, 0, uint32(len(l.places)))
	return d.End()
}
