package textindex

import (
	"context"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// termStream walks all terms of a field of one file that is merged.
type termStream struct {
	file   int // its place among the files
	has    bool
	limit  uint32 // documents of the file
	blocks *blockReader
	block  int
	cursor *termCursor
	err    error

	postings, positions   []byte // the sections
	fromPostings, fromPos int64  // where they begin
}

func newTermStream(ctx context.Context, file *File, f *fileField, n int) (*termStream, error) {
	s := &termStream{file: n, limit: file.Bounds().Documents, blocks: file.blockReader(f), fromPostings: f.postings.at, fromPos: f.positions.at}
	s.blocks.ahead = true
	var err error
	if s.postings, err = file.pages.read(ctx, f.postings); err != nil {
		return nil, err
	}
	if s.positions, err = file.pages.read(ctx, f.positions); err != nil {
		return nil, err
	}
	return s, nil
}

// next goes to the next term; false at the end, or after an error.
func (s *termStream) next(ctx context.Context) bool {
	for {
		if s.cursor != nil {
			if s.cursor.next() {
				return true
			}
			if s.err = s.cursor.err; s.err != nil {
				return false
			}
		}
		if s.block == len(s.blocks.field.blocks) {
			return false
		}
		var before []byte
		if s.cursor != nil {
			before = s.cursor.term[:0]
		}
		if s.cursor, s.err = s.blocks.open(ctx, s.block); s.err != nil {
			return false
		}
		s.cursor.term = before
		s.block++
	}
}

// postingsScratch reads postings of terms one after another.
type postingsScratch struct {
	postings    filePostings
	docs, freqs [blockDocuments]uint32
}

// read appends the postings of a stream's term, under the numbers that its
// documents get.
func (r *postingsScratch) read(to *list, s *termStream, numbers []uint32) error {
	c := s.cursor
	kind := c.field.Kind
	if c.documents == 1 {
		return to.appendInline(c.inline, kind, numbers)
	}
	p := &r.postings
	p.kind, p.need, p.count, p.limit, p.positioned = kind, Positions, int(c.documents), s.limit, -1
	p.most, p.pool, p.blocks = p.most[:0], p.pool[:0], p.blocks[:0]
	p.places = nil
	if kind == Text {
		from := c.positions.at - s.fromPos
		p.places = s.positions[from : from+c.positions.length]
	}
	from := c.postings.at - s.fromPostings
	if err := p.parse(s.postings[from : from+c.postings.length]); err != nil {
		return format.At("", c.postings.at, err)
	}
	for block := range p.blocks {
		if err := p.decode(block, &r.docs, &r.freqs); err != nil {
			return format.At("", c.postings.at, err)
		}
		if kind == Text {
			if err := p.place(block); err != nil {
				return format.At("", c.positions.at, err)
			}
		}
		for i, d := range r.docs[:min(p.count-block*blockDocuments, blockDocuments)] {
			n := numbers[d]
			if n == Done {
				continue
			}
			to.docs = append(to.docs, n)
			if kind != Text {
				continue
			}
			to.freqs = append(to.freqs, r.freqs[i])
			to.starts = append(to.starts, uint32(len(to.places)))
			position := uint32(0)
			for _, delta := range p.flat[p.starts[i]:p.starts[i+1]] {
				position += delta
				to.places = append(to.places, position)
			}
		}
	}
	return nil
}

// clear empties the list, to be filled by appendInline and read.
func (l *list) clear() {
	l.docs, l.freqs, l.starts, l.places = l.docs[:0], l.freqs[:0], l.starts[:0], l.places[:0]
}

// end ends a list that was filled.
func (l *list) end() { l.starts = append(l.starts, uint32(len(l.places))) }

// appendInline appends the posting of a term that one document has, under the
// number that it gets.
func (l *list) appendInline(data []byte, kind Kind, numbers []uint32) error {
	d := format.NewDecoder(data)
	doc := d.Uvarint(documentsMax)
	if doc >= uint64(len(numbers)) {
		d.Fail("document %d of %d", doc, len(numbers))
		return d.End()
	}
	if numbers[doc] == Done {
		return nil
	}
	l.docs = append(l.docs, numbers[doc])
	if kind == Text {
		n := d.Uvarint(uint64(len(data)))
		l.freqs = append(l.freqs, uint32(n))
		l.starts = append(l.starts, uint32(len(l.places)))
		position := uint32(0)
		for ; n > 0; n-- {
			position += uint32(d.Uvarint(math.MaxUint32))
			l.places = append(l.places, position)
		}
	}
	return d.End()
}
