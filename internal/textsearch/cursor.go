package textsearch

import (
	"math"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// done is the document after the last one.
const done = textindex.Done

// cursor walks the documents that match, rising. It is for one goroutine.
type cursor interface {
	// doc is where it stands; nothing before the first next or advance.
	doc() uint32
	// next goes to the next document.
	next() uint32
	// advance goes to the first document that is at least target, and stays where
	// it is if that is one.
	advance(target uint32) uint32
	// score is the current document's.
	score() float64
	// cost is about how many documents it walks.
	cost() int
	// bound is a document from target on, and what no document from target up to
	// it scores more than.
	bound(target uint32) (last uint32, most float64)
}

// bits walks a bitmap.
type bits struct {
	it    roaring.IntPeekable
	at    uint32
	n     int
	begun bool
	value float64
}

func newBits(b *roaring.Bitmap, score float64) *bits {
	return &bits{it: b.Iterator(), n: int(b.GetCardinality()), value: score}
}

func (b *bits) doc() uint32 { return b.at }

func (b *bits) next() uint32 {
	b.begun = true
	if b.at = done; b.it.HasNext() {
		b.at = b.it.Next()
	}
	return b.at
}

func (b *bits) advance(target uint32) uint32 {
	if b.begun && b.at >= target {
		return b.at
	}
	b.it.AdvanceIfNeeded(target)
	return b.next()
}

func (b *bits) score() float64                        { return b.value }
func (b *bits) cost() int                             { return b.n }
func (b *bits) bound(target uint32) (uint32, float64) { return done, b.value }

// every walks all documents of a split.
type every struct {
	at, n uint32
	begun bool
	value float64
}

func (e *every) doc() uint32 { return e.at }

func (e *every) next() uint32 {
	if !e.begun {
		return e.advance(0)
	}
	return e.advance(e.at + 1)
}

func (e *every) advance(target uint32) uint32 {
	if e.begun && e.at >= target {
		return e.at
	}
	e.begun = true
	if e.at = target; target >= e.n {
		e.at = done
	}
	return e.at
}

func (e *every) score() float64                        { return e.value }
func (e *every) cost() int                             { return int(e.n) }
func (e *every) bound(target uint32) (uint32, float64) { return done, e.value }

// constant walks what another does, and scores it all the same.
type constant struct {
	cursor
	value float64
}

func (c *constant) score() float64                        { return c.value }
func (c *constant) bound(target uint32) (uint32, float64) { return done, c.value }

// Parameters of BM25.
const (
	bm25K1 = 1.2
	bm25B  = 0.75
)

// idf is how much it says that a document has a term that n of all have.
func idf(all, n int64) float64 {
	return math.Log(1 + (float64(all)-float64(n)+0.5)/(float64(n)+0.5))
}

// bm25 is the weight of one term or phrase in one field.
type bm25 struct {
	weight  float64 // idf and boost
	average float64 // length of the field; 0: lengths do not count
}

func (w bm25) score(freq float64, length int64) float64 {
	norm := 1.0
	if w.average > 0 {
		norm = 1 - bm25B + bm25B*float64(length)/w.average
	}
	return w.weight * (freq * (bm25K1 + 1)) / (freq + bm25K1*norm)
}

// steadyFreq is the frequency up to which one more makes a score greater however
// it is rounded.
const steadyFreq = 1 << 20

// most bounds the scores of what impacts bound.
func (w bm25) most(impacts []textindex.Impact) float64 {
	most := 0.0
	for _, i := range impacts {
		s := w.score(float64(i.Freq), int64(i.Length))
		if i.Freq > steadyFreq {
			s *= roundingSlack
		}
		most = max(most, s)
	}
	return most
}

// termCursor walks the documents of a term.
type termCursor struct {
	*textindex.Postings
	bm25
	lengths textindex.Column // nil: lengths do not count
	// What bound said last.
	last uint32
	high float64
	from uint32
	set  bool
}

func (t *termCursor) doc() uint32 { return t.Doc() }
func (t *termCursor) cost() int   { return t.Documents() }
func (t *termCursor) next() uint32 {
	return t.Next()
}

func (t *termCursor) advance(target uint32) uint32 { return t.Advance(target) }

func (t *termCursor) score() float64 {
	length := int64(0)
	if t.lengths != nil {
		length, _ = t.lengths.Value(t.Doc())
	}
	return t.bm25.score(float64(t.Freq()), length)
}

func (t *termCursor) bound(target uint32) (uint32, float64) {
	if t.set && target >= t.from && target <= t.last {
		return t.last, t.high
	}
	if t.average == 0 { // a keyword is there or not
		t.last, t.high = done, t.bm25.score(1, 0)
	} else {
		var impacts []textindex.Impact
		t.last, impacts = t.Bound(target)
		t.high = t.most(impacts)
	}
	t.from, t.set = target, true
	return t.last, t.high
}
