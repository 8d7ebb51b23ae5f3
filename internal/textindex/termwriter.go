package textindex

import (
	"encoding/binary"

	"github.com/klauspost/compress/zstd"
)

// The terms of a field lie in blocks, as in a sorted string table: a reader
// fetches the one block that can have a term. (A finite state transducer, which is
// smaller for some fields, has to be there as a whole before a single term can be
// found.)
const (
	termBlockBytes    = 4 << 10  // of Text
	keywordBlockBytes = 16 << 10 // of Keyword, which are compressed
)

// termWriter makes the sections of one field's terms.
type termWriter struct {
	kind      Kind
	encoder   *zstd.Encoder
	dict      []byte // finished blocks
	postings  []byte
	positions []byte
	index     []termBlock

	block         []byte // being filled
	entries       int
	before        []byte // the term added last
	deltas        []uint32
	heads, bodies []byte
	count         int64
}

// termBlock is what the footer says of a block.
type termBlock struct {
	first   []byte // no term of an earlier block is as great, none of this one less
	length  int
	entries int
	at      int64  // reader: in the file
	ordinal uint32 // reader: of its first term
}

func (w *termWriter) reset(kind Kind) {
	*w = termWriter{
		kind: kind, encoder: w.encoder, dict: w.dict[:0], postings: w.postings[:0], positions: w.positions[:0], index: w.index[:0],
		block: w.block[:0], before: w.before[:0], deltas: w.deltas, heads: w.heads, bodies: w.bodies,
	}
}

// add appends a term, which is greater than those before, and its postings.
//
//	shared with the term before u · rest u · rest · documents u, then
//	of one document: its number u · Text: frequency u, positions u (distances)
//	of more: bytes of its postings u · Text: bytes of its positions u
func (w *termWriter) add(term []byte, l *list) {
	w.count++
	shared := 0
	if w.entries == 0 {
		w.begin(term)
	} else {
		shared = common(w.before, term)
	}
	b := binary.AppendUvarint(w.block, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(term)-shared))
	b = append(b, term[shared:]...)
	b = binary.AppendUvarint(b, uint64(len(l.docs)))
	if len(l.docs) == 1 {
		b = binary.AppendUvarint(b, uint64(l.docs[0]))
		if w.kind == Text {
			b = binary.AppendUvarint(b, uint64(l.freqs[0]))
			before := uint32(0)
			for _, p := range l.places {
				b = binary.AppendUvarint(b, uint64(p-before))
				before = p
			}
		}
	} else {
		postings, positions := w.post(l)
		b = binary.AppendUvarint(b, uint64(postings))
		if w.kind == Text {
			b = binary.AppendUvarint(b, uint64(positions))
		}
	}
	w.block = b
	w.entries++
	w.before = append(w.before[:0], term...)
	most := termBlockBytes
	if w.kind == Keyword {
		most = keywordBlockBytes
	}
	if len(w.block) >= most {
		w.finish()
	}
}

// begin starts a block: where in the sections its first postings and positions
// are.
func (w *termWriter) begin(term []byte) {
	n := 0
	if len(w.index) > 0 {
		n = min(common(w.before, term)+1, len(term)) // enough to tell it from the term before
	}
	w.index = append(w.index, termBlock{first: append([]byte(nil), term[:n]...)})
	w.block = binary.AppendUvarint(w.block[:0], uint64(len(w.postings)))
	w.block = binary.AppendUvarint(w.block, uint64(len(w.positions)))
}

// finish ends a block: 0 and its content, or 1, how long that is u, and the
// content by zstd.
func (w *termWriter) finish() {
	if w.entries == 0 {
		return
	}
	from := len(w.dict)
	if w.kind == Keyword {
		w.dict = binary.AppendUvarint(append(w.dict, 1), uint64(len(w.block)))
		w.dict = w.encoder.EncodeAll(w.block, w.dict)
		if len(w.dict)-from > len(w.block)/8*7 {
			w.dict = w.dict[:from]
		}
	}
	if len(w.dict) == from {
		w.dict = append(append(w.dict, 0), w.block...)
	}
	last := &w.index[len(w.index)-1]
	last.length, last.entries = len(w.dict)-from, w.entries
	w.entries = 0
}

func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// post appends the postings of a term with several documents, and returns how
// many bytes they and their positions have.
//
//	Text: impacts
//	several blocks, for each: last document − that of the block before u · bytes u ·
//	    Text: bytes of its positions u, impacts
//	for each block: run of documents, each less the one before and 1 ·
//	    Text: run of frequencies less 1
func (w *termWriter) post(l *list) (postings, positions int) {
	from, fromPositions := len(w.postings), len(w.positions)
	if w.kind == Text {
		w.postings = appendImpacts(w.postings, l.most)
	}
	w.heads, w.bodies = w.heads[:0], w.bodies[:0]
	before, last := int64(-1), uint32(0)
	for first, n := 0, 0; first < len(l.docs); first, n = first+blockDocuments, n+1 {
		next := min(first+blockDocuments, len(l.docs))
		begin, beginPositions := len(w.bodies), len(w.positions)
		w.deltas = w.deltas[:0]
		for _, d := range l.docs[first:next] {
			w.deltas = append(w.deltas, uint32(int64(d)-before-1))
			before = int64(d)
		}
		w.bodies = appendRun(w.bodies, w.deltas)
		if w.kind == Text {
			w.deltas = w.deltas[:0]
			for _, f := range l.freqs[first:next] {
				w.deltas = append(w.deltas, f-1)
			}
			w.bodies = appendRun(w.bodies, w.deltas)
			w.place(l, first, next)
		}
		w.heads = binary.AppendUvarint(w.heads, uint64(l.docs[next-1]-last))
		last = l.docs[next-1]
		w.heads = binary.AppendUvarint(w.heads, uint64(len(w.bodies)-begin))
		if w.kind == Text {
			w.heads = binary.AppendUvarint(w.heads, uint64(len(w.positions)-beginPositions))
			w.heads = appendImpacts(w.heads, l.bounds[n])
		}
	}
	if len(l.docs) > blockDocuments {
		w.postings = append(w.postings, w.heads...)
	}
	w.postings = append(w.postings, w.bodies...)
	return len(w.postings) - from, len(w.positions) - fromPositions
}

// place appends the positions of a block: a run of all of them, each less the
// one before in its document.
func (w *termWriter) place(l *list, first, next int) {
	w.deltas = w.deltas[:0]
	for i := first; i < next; i++ {
		before := uint32(0)
		for _, p := range l.places[l.starts[i]:l.starts[i+1]] {
			w.deltas = append(w.deltas, p-before)
			before = p
		}
	}
	w.positions = appendRun(w.positions, w.deltas)
}

// appendImpacts appends impacts: how many u, then each frequency and length, less
// those of the one before, u.
func appendImpacts(to []byte, impacts []Impact) []byte {
	to = binary.AppendUvarint(to, uint64(len(impacts)))
	var before Impact
	for _, i := range impacts {
		to = binary.AppendUvarint(to, uint64(i.Freq-before.Freq))
		to = binary.AppendUvarint(to, uint64(i.Length-before.Length))
		before = i
	}
	return to
}
