package textindex

import (
	"bytes"
	"context"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// blockReader reads blocks of a field's terms, mostly rising.
type blockReader struct {
	file  *File
	field *fileField
	ahead bool // reads a stretch of blocks at once

	stretch []byte // read last
	at      int64  // of it in the file
}

// aheadBytes is how much is read at once of terms that are walked.
const aheadBytes = 1 << 20

// blockBytesMax is far above what a block is compressed from.
const blockBytesMax = 1 << 24

func (f *File) blockReader(field *fileField) *blockReader {
	return &blockReader{file: f, field: field}
}

// open returns a cursor before the first term of a block.
func (r *blockReader) open(ctx context.Context, n int) (*termCursor, error) {
	b := r.field.blocks[n]
	if b.at < r.at || b.at+int64(b.length) > r.at+int64(len(r.stretch)) {
		s := section{b.at, int64(b.length)}
		if r.ahead {
			s.length = max(s.length, min(aheadBytes, r.field.dict.at+r.field.dict.length-s.at))
		}
		data, err := r.file.pages.read(ctx, s)
		if err != nil {
			return nil, err
		}
		r.stretch, r.at = data, s.at
	}
	from := b.at - r.at
	c, err := r.cursor(b, r.stretch[from:from+int64(b.length)])
	if err != nil {
		return nil, format.At("", b.at, err)
	}
	return c, nil
}

func (r *blockReader) cursor(b termBlock, data []byte) (*termCursor, error) {
	d := format.NewDecoder(data)
	if flag(d) {
		length := int(d.Uvarint(blockBytesMax))
		if d.Failed() {
			return nil, d.End()
		}
		content, err := r.file.zstd(d.Bytes(d.Left()), length)
		if err != nil {
			return nil, err
		}
		d = format.NewDecoder(content)
	}
	c := &termCursor{d: d, field: r.field, left: b.entries, at: b.at}
	c.ordinal = b.ordinal
	c.postings.at = r.field.postings.at + int64(d.Uvarint(math.MaxInt64>>1))
	c.positions.at = r.field.positions.at + int64(d.Uvarint(math.MaxInt64>>1))
	return c, nil
}

// termCursor walks the terms of a block.
type termCursor struct {
	d     *format.Decoder
	field *fileField
	at    int64 // of the block
	left  int
	begun bool

	term                []byte
	ordinal             uint32
	documents           uint32
	postings, positions section
	inline              []byte
	err                 error
}

// next goes to the next term; false at the end, or after an error.
func (c *termCursor) next() bool {
	if c.left == 0 || c.err != nil {
		return false
	}
	d := c.d
	if c.left--; c.begun {
		c.ordinal++
	}
	c.begun = true
	shared := int(d.Uvarint(uint64(len(c.term))))
	rest := d.Bytes(int(d.Uvarint(termBytesMax)))
	c.term = append(c.term[:shared], rest...)
	c.documents = uint32(d.Uvarint(documentsMax))
	c.postings.at += c.postings.length
	c.positions.at += c.positions.length
	c.postings.length, c.positions.length, c.inline = 0, 0, nil
	switch {
	case c.documents == 0:
		d.Fail("a term without documents")
	case c.documents == 1:
		c.inline = c.single()
	default:
		c.postings.length = int64(d.Uvarint(math.MaxInt64 >> 1))
		if c.field.Kind == Text {
			c.positions.length = int64(d.Uvarint(math.MaxInt64 >> 1))
		}
		if !c.postings.within(c.field.postings) || !c.positions.within(c.field.positions) {
			d.Fail("postings lie outside of their section")
		}
	}
	if d.Failed() || c.left == 0 {
		if err := d.End(); err != nil {
			c.err = format.At("", c.at, err)
		}
	}
	return c.err == nil
}

func (s section) within(all section) bool {
	return s.at >= all.at && s.length <= all.length && s.at-all.at <= all.length-s.length
}

// single reads past the postings of a term with one document and returns them.
func (c *termCursor) single() []byte {
	from := c.d.Rest()
	c.d.Uvarint(documentsMax)
	if c.field.Kind == Text {
		for n := c.d.Uvarint(uint64(c.d.Left())); n > 0; n-- {
			c.d.Uvarint(math.MaxUint32)
		}
	}
	return from[:len(from)-c.d.Left()]
}

// shown is the term, whose bytes are good until next.
func (c *termCursor) shown(name Field) Term {
	return Term{
		Field: name, Bytes: c.term, Ordinal: c.ordinal, Documents: c.documents,
		postings: c.postings, positions: c.positions, inline: c.inline,
	}
}

// result is the term, to keep.
func (c *termCursor) result(name Field) Term {
	t := c.shown(name)
	t.Bytes = bytes.Clone(t.Bytes)
	return t
}

// automatonWalk runs an automaton over rising terms: what one has in common with
// the term before is not run again.
type automatonWalk struct {
	automaton Automaton
	before    []byte
	states    []int // after so many bytes of before
}

func newAutomatonWalk(a Automaton) *automatonWalk {
	w := &automatonWalk{automaton: a}
	if a != nil {
		w.states = append(w.states, a.Start())
	}
	return w
}

// step runs over the next term. beyond is nil, or a term below which no further
// one is accepted; empty if none is at all.
func (w *automatonWalk) step(term []byte) (accepted bool, beyond []byte) {
	if w.automaton == nil {
		return true, nil
	}
	n := min(common(w.before, term), len(w.states)-1)
	w.before = append(w.before[:0], term...)
	w.states = w.states[:n+1]
	for state := w.states[n]; ; n++ {
		if !w.automaton.CanMatch(state) {
			return false, successor(term[:n])
		}
		if n == len(term) {
			return w.automaton.IsMatch(state), nil
		}
		state = w.automaton.Accept(state, term[n])
		w.states = append(w.states, state)
	}
}

// successor is the least term above all that begin with a prefix; empty if there
// is none.
func successor(prefix []byte) []byte {
	for n := len(prefix); n > 0; n-- {
		if prefix[n-1] < 0xFF {
			s := bytes.Clone(prefix[:n])
			s[n-1]++
			return s
		}
	}
	return []byte{}
}
