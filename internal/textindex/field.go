package textindex

import (
	"encoding/binary"
	"math"
	"slices"
)

// field is what is indexed of one Field, while it grows.
type field struct {
	Stats
	terms *terms // of those that have any
	// The column: values, each with its document. Documents rise; of Keyword the
	// values are the numbers of terms, of which the order is not theirs.
	docs   []uint32
	values []int64
	order  []uint32 // the terms' numbers by their bytes; may be behind
	ranks  []uint32 // the places in order, by number; may be behind

	textBytes int64 // of the terms

	// Of the document that is being indexed:
	touched  []touch
	places   []place32
	position uint32 // of the next value's first term
	length   uint32
	texts    int // values
	open     bool
}

// touch is a term that the document has.
type touch struct {
	number      uint32
	freq        uint32
	first, last uint32 // in field.places
}

// place32 is a position of a term, and where its next one is in field.places.
type place32 struct {
	position uint32
	next     uint32
}

func newField(f Field, t *terms) *field {
	return &field{Stats: Stats{Field: f, Least: math.MaxInt64, Greatest: math.MinInt64}, terms: t}
}

// touch notes that the document has a term, and returns where. A mark may be of
// an earlier document: then another term is at its place, or none.
func (f *field) touch(term []byte) *touch {
	n := f.terms.number(term)
	g := &f.terms.lists[n]
	if at := int(g.mark); at < len(f.touched) && f.touched[at].number == n {
		return &f.touched[at]
	}
	g.mark = uint32(len(f.touched))
	f.touched = append(f.touched, touch{number: n})
	return &f.touched[len(f.touched)-1]
}

// occur notes that the document has a term at a position.
func (f *field) occur(term []byte, position uint32) {
	t := f.touch(term)
	at := uint32(len(f.places))
	f.places = append(f.places, place32{position: position})
	if t.freq == 0 {
		t.first = at
	} else {
		f.places[t.last].next = at
	}
	t.last = at
	t.freq++
	f.length++
}

// add appends a value of a document to the column.
func (f *field) add(doc uint32, value int64) {
	if n := len(f.docs); n == 0 || f.docs[n-1] != doc {
		f.Documents++
	}
	f.docs = append(f.docs, doc)
	f.values = append(f.values, value)
	f.Values++
	f.Least, f.Greatest = min(f.Least, value), max(f.Greatest, value)
}

// finish ends a document: its terms go to their postings. scratch is for reuse.
func (f *field) finish(doc uint32, a *arena, scratch []byte) []byte {
	switch f.Kind {
	case Text:
		f.add(doc, int64(f.length))
		f.Terms += int64(f.length)
		for _, t := range f.touched {
			scratch = f.post(doc, t, a, scratch)
		}
	case Keyword:
		for _, t := range f.touched {
			f.add(doc, int64(t.number))
			g := &f.terms.lists[t.number]
			a.append(&g.chain, binary.AppendUvarint(scratch[:0], uint64(doc-g.last)))
			g.last = doc
			g.documents++
		}
	default:
		first := len(f.docs)
		for first > 0 && f.docs[first-1] == doc {
			first--
		}
		slices.Sort(f.values[first:])
	}
	if f.terms != nil {
		f.Distinct = int64(f.terms.count())
		f.textBytes = int64(len(f.terms.text))
	}
	f.touched, f.places = f.touched[:0], f.places[:0]
	f.position, f.length, f.texts, f.open = 0, 0, 0, false
	return scratch
}

// post appends a posting of a text field: the document's distance from the one
// before, with the lowest bit set if the frequency is 1; else the frequency; the
// positions, each as its distance from the one before.
func (f *field) post(doc uint32, t touch, a *arena, scratch []byte) []byte {
	g := &f.terms.lists[t.number]
	b := scratch[:0]
	delta := uint64(doc-g.last) << 1
	if t.freq == 1 {
		b = binary.AppendUvarint(b, delta|1)
	} else {
		b = binary.AppendUvarint(b, delta)
		b = binary.AppendUvarint(b, uint64(t.freq))
	}
	before := uint32(0)
	for n, at := uint32(0), t.first; n < t.freq; n, at = n+1, f.places[at].next {
		p := f.places[at].position
		b = binary.AppendUvarint(b, uint64(p-before))
		before = p
	}
	a.append(&g.chain, b)
	g.last = doc
	g.documents++
	return b
}

// read decodes the first postings of a term, as many as have documents below
// limit. raw is the term's chain.
func (l *list) read(raw []byte, kind Kind, need Need, limit uint32) {
	l.docs, l.freqs, l.starts, l.places = l.docs[:0], l.freqs[:0], l.starts[:0], l.places[:0]
	next := func() uint32 {
		if b := raw[0]; b < 0x80 {
			raw = raw[1:]
			return uint32(b)
		}
		v, n := binary.Uvarint(raw)
		raw = raw[n:]
		return uint32(v)
	}
	doc := uint32(0)
	for len(raw) > 0 {
		delta, freq := next(), uint32(1)
		if kind == Text {
			if delta&1 == 0 {
				freq = next()
			}
			delta >>= 1
		}
		if doc += delta; doc >= limit {
			break
		}
		l.docs = append(l.docs, doc)
		if kind == Keyword {
			continue
		}
		if need == Documents {
			for range freq {
				next()
			}
			continue
		}
		l.freqs = append(l.freqs, freq)
		l.starts = append(l.starts, uint32(len(l.places)))
		position := uint32(0)
		for range freq {
			if position += next(); need == Positions {
				l.places = append(l.places, position)
			}
		}
	}
	l.starts = append(l.starts, uint32(len(l.places)))
}
