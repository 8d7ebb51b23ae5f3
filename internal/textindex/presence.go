package textindex

import (
	"encoding/binary"
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/format"
)

// presence says which documents have a field, and which value is whose: the
// n-th document that has it has the n-th value.
type presence struct {
	documents uint32
	form      byte
	words     []byte   // formBits: a bit per document
	ranks     []uint32 // formBits: documents that have it, before each rankBits
	list      *packed  // formList
	count     int
}

// The forms of presence, of which the smallest is taken.
const (
	formAll  = 0 // every document has it
	formBits = 1 // a bit per document
	formList = 2 // the documents, packed
)

// rankBits is how many documents share a count of those before them.
const rankBits = 512

// appendPresence appends which of a number of documents are there, which rise.
func appendPresence(to []byte, documents uint32, docs []uint32) []byte {
	if len(docs) == int(documents) {
		return append(to, formAll)
	}
	if len(docs) < int(documents)/16 {
		values := make([]int64, len(docs))
		for i, d := range docs {
			values[i] = int64(d)
		}
		return appendPacked(append(to, formList), values)
	}
	to = append(to, formBits)
	from := len(to)
	to = append(to, make([]byte, wordsBytes(documents))...)
	for _, d := range docs {
		to[from+int(d>>3)] |= 1 << (d & 7)
	}
	return to
}

// wordsBytes is the length of formBits: whole words of 64 bits.
func wordsBytes(documents uint32) int { return (int(documents) + 63) / 64 * 8 }

func parsePresence(d *format.Decoder, documents uint32) *presence {
	p := &presence{documents: documents, form: d.Byte(), count: int(documents)}
	switch p.form {
	case formAll:
	case formBits:
		p.words = d.Bytes(wordsBytes(documents))
		p.count = 0
		for i := 0; i < len(p.words); i += 8 {
			if i%(rankBits/8) == 0 {
				p.ranks = append(p.ranks, uint32(p.count))
			}
			p.count += bits.OnesCount64(binary.LittleEndian.Uint64(p.words[i:]))
		}
		if n := len(p.words); n > 0 && documents%64 != 0 && binary.LittleEndian.Uint64(p.words[n-8:])>>(documents%64) != 0 {
			d.Fail("documents beyond the last")
		}
	case formList:
		p.list = parsePacked(d, int(documents))
		p.count = p.list.count
		before := int64(-1)
		for i := 0; i < p.count && !d.Failed(); i++ {
			doc := p.list.at(i)
			if doc <= before || doc >= int64(documents) {
				d.Fail("document %d of %d after %d", doc, documents, before)
			}
			before = doc
		}
	default:
		d.Fail("form of presence %d", p.form)
	}
	return p
}

// rank returns how many documents before doc have the field, and whether doc has it.
func (p *presence) rank(doc uint32) (int, bool) {
	if doc >= p.documents {
		return p.count, false
	}
	switch p.form {
	case formAll:
		return int(doc), true
	case formList:
		i := p.list.search(int64(doc))
		return i, i < p.count && p.list.at(i) == int64(doc)
	}
	n := int(p.ranks[doc/rankBits])
	word := int(doc / 64)
	for w := int(doc/rankBits) * (rankBits / 64); w < word; w++ {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(p.words[w*8:]))
	}
	last := binary.LittleEndian.Uint64(p.words[word*8:])
	return n + bits.OnesCount64(last&(1<<(doc&63)-1)), last>>(doc&63)&1 == 1
}

// docs lists the documents that have the field.
func (p *presence) docs() []uint32 {
	all := make([]uint32, 0, p.count)
	switch p.form {
	case formAll:
		for d := range p.documents {
			all = append(all, d)
		}
	case formList:
		for i := range p.count {
			all = append(all, uint32(p.list.at(i)))
		}
	default:
		for at := 0; at < len(p.words); at += 8 {
			for w := binary.LittleEndian.Uint64(p.words[at:]); w != 0; w &= w - 1 {
				all = append(all, uint32(at*8+bits.TrailingZeros64(w)))
			}
		}
	}
	return all
}

// bitmap is the set of those documents.
func (p *presence) bitmap() *roaring.Bitmap {
	all := roaring.New()
	if p.form == formAll {
		all.AddRange(0, uint64(p.documents))
		return all
	}
	all.AddMany(p.docs())
	return all
}
