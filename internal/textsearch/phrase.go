package textsearch

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch/automaton"
)

func (c *compiler) matchPhrase(q *textquery.MatchPhrase, boost float64, scored bool) (node, error) {
	if c.schema.everywhere(q.Field) {
		return c.everyText(func(f textindex.Field) (node, error) { return c.phrase(f, q, boost, scored) })
	}
	var parts []node
	var refused error
	for _, f := range c.schema.searched(q.Field) {
		var n node
		var err error
		switch {
		case f.Kind == textindex.Text:
			n, err = c.phrase(f, q, boost, scored)
		case f.Kind == textindex.Keyword && q.Prefix > 0:
			n, err = c.patterned(f, func() (textindex.Automaton, error) { return automaton.Prefix(q.Text, false) }, boost)
		case f.Kind == textindex.Keyword:
			n = c.exact(f, []byte(q.Text), boost, scored)
		default:
			n, err = c.equal(f, textquery.Value{Text: q.Text}, boost)
		}
		if errors.Is(err, errFields) {
			refused = err
			continue
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	return c.kinds(parts, refused, q.Lenient)
}

func (c *compiler) phrase(f textindex.Field, q *textquery.MatchPhrase, boost float64, scored bool) (node, error) {
	analyzer, err := c.analyzed(q.Analyzer, f)
	if err != nil {
		return nil, err
	}
	tokens := analyzer.Analyze([]byte(q.Text))
	if len(tokens) == 0 {
		if q.AllIfNone {
			return allNode{boost}, nil
		}
		return noNode{}, nil
	}
	n := &phraseNode{field: f, slop: q.Slop, boost: boost, scored: scored}
	mark := phraseMark{field: f, loose: q.Slop > 0}
	for i, t := range tokens {
		s := slot{position: t.Position}
		if q.Prefix > 0 && i == len(tokens)-1 {
			term := string(t.Term)
			found, err := c.expand(f, func() (textindex.Automaton, error) { return automaton.Prefix(term, false) }, q.Prefix,
				func([]byte) float64 { return 1 })
			if err != nil {
				return nil, err
			}
			for _, e := range found {
				s.numbers = append(s.numbers, c.terms.number(f, []byte(e.term)))
			}
		} else {
			s.numbers = []int{c.terms.number(f, t.Term)}
		}
		n.slots = append(n.slots, s)
		mark.slots = append(mark.slots, s)
	}
	c.marks.phrase(mark, c.terms)
	if len(n.slots) == 1 {
		var parts []node
		for _, number := range n.slots[0].numbers {
			parts = append(parts, &termNode{number: number, boost: boost, scored: scored})
		}
		if len(parts) == 0 {
			return noNode{}, nil
		}
		return anyNode{parts, 1}, nil
	}
	return n, nil
}

// slot is one place of a phrase, and the terms that may stand there.
type slot struct {
	numbers  []int
	position uint32
}

type phraseNode struct {
	field  textindex.Field
	slots  []slot
	slop   int
	boost  float64
	scored bool
}

func (n *phraseNode) open(ctx context.Context, s *shard) (cursor, error) {
	c := &phraseCursor{slop: n.slop}
	var leads []cursor
	sum := 0.0
	for _, slot := range n.slots {
		w := &ways{offset: slot.position}
		var parts []cursor
		for _, number := range slot.numbers {
			sum += idf(s.plan.documents(number, nil), s.plan.table.sums[number].Load())
			if t := s.terms[number]; t.Documents > 0 {
				p, err := s.postings(ctx, t, textindex.Positions)
				if err != nil {
					return nil, err
				}
				w.postings = append(w.postings, p)
				parts = append(parts, &termCursor{Postings: p})
			}
		}
		if len(parts) == 0 {
			return nil, nil
		}
		w.first = slot.numbers[0]
		c.slots = append(c.slots, w)
		leads = append(leads, newAny(parts, 1))
	}
	c.cursor = newBoth(leads)
	for i, w := range c.slots {
		for _, other := range c.slots[:i] {
			c.repeats = c.repeats || w.first == other.first
		}
	}
	if n.scored {
		c.bm25 = s.plan.weigh(n.field, n.boost*sum)
		var err error
		if c.lengths, err = s.column(ctx, n.field); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ways are the terms of one slot, and where a document has them.
type ways struct {
	postings  []*textindex.Postings
	offset    uint32 // of the slot in the phrase
	first     int    // one of the terms
	positions []int64
	at        int
}

// load gets where the document has any of the terms, less the slot's own place:
// where the phrase as it is written would begin.
func (w *ways) load(doc uint32) {
	w.positions, w.at = w.positions[:0], 0
	var buffer [64]uint32
	for _, p := range w.postings {
		if p.Doc() != doc {
			continue
		}
		for _, at := range p.Positions(buffer[:0]) {
			w.positions = append(w.positions, int64(at)-int64(w.offset))
		}
	}
	if len(w.postings) > 1 {
		slices.Sort(w.positions)
	}
}

// phraseCursor walks the documents that have the terms of a phrase in its order,
// or with moves by slop positions.
type phraseCursor struct {
	cursor // of documents that have all terms
	bm25
	slots   []*ways
	slop    int
	repeats bool
	lengths textindex.Column
	freq    float64
}

func (c *phraseCursor) next() uint32                 { return c.skip(c.cursor.next()) }
func (c *phraseCursor) advance(target uint32) uint32 { return c.skip(c.cursor.advance(target)) }

func (c *phraseCursor) skip(doc uint32) uint32 {
	for doc != done {
		for _, s := range c.slots {
			// The cursors of alternatives may not all have been asked yet.
			for _, p := range s.postings {
				p.Advance(doc)
			}
			s.load(doc)
		}
		if c.slop == 0 {
			c.freq = c.exactly()
		} else {
			c.freq = c.nearly()
		}
		if c.freq > 0 {
			return doc
		}
		doc = c.cursor.next()
	}
	return done
}

// exactly counts the places at which all slots would have the phrase begin.
func (c *phraseCursor) exactly() float64 {
	freq := 0.0
	lead := c.slots[0]
	last := int64(math.MinInt64)
next:
	for _, at := range lead.positions {
		if at == last {
			continue
		}
		last = at
		for _, s := range c.slots[1:] {
			for s.at < len(s.positions) && s.positions[s.at] < at {
				s.at++
			}
			if s.at == len(s.positions) {
				return freq
			}
			if s.positions[s.at] != at {
				continue next
			}
		}
		freq++
	}
	return freq
}

// nearly sums over the ways to have all terms near one another: each counts the
// less, the farther its terms are from the phrase.
func (c *phraseCursor) nearly() float64 {
	freq := 0.0
	for _, s := range c.slots {
		if len(s.positions) == 0 {
			return 0
		}
	}
	if c.repeats && !c.part() {
		return 0
	}
	for {
		low, high := c.slots[0], int64(math.MinInt64)
		next := int64(math.MaxInt64) // the second lowest
		for _, s := range c.slots {
			at := s.positions[s.at]
			high = max(high, at)
			if at < low.positions[low.at] {
				low = s
			}
		}
		for _, s := range c.slots {
			if s != low {
				next = min(next, s.positions[s.at])
			}
		}
		// Move the lowest as near to the others as it gets before it passes them.
		width := high - low.positions[low.at]
		for {
			low.at++
			if low.at == len(low.positions) || (c.repeats && !c.part()) {
				if width <= int64(c.slop) {
					freq += 1 / float64(1+width)
				}
				return freq
			}
			if low.positions[low.at] > next {
				break
			}
			width = min(width, high-low.positions[low.at])
		}
		if width <= int64(c.slop) {
			freq += 1 / float64(1+width)
		}
	}
}

// part moves slots of one term on until no two of them stand at one word. It
// reports false when there is no such place left.
func (c *phraseCursor) part() bool {
	for i := 1; i < len(c.slots); i++ {
		for _, other := range c.slots[:i] {
			s := c.slots[i]
			if s.first != other.first || s.at >= len(s.positions) || other.at >= len(other.positions) {
				continue
			}
			if s.positions[s.at]+int64(s.offset) == other.positions[other.at]+int64(other.offset) {
				if s.at++; s.at == len(s.positions) {
					return false
				}
				i = 0 // look again at all
				break
			}
		}
	}
	return true
}

func (c *phraseCursor) score() float64 {
	if c.lengths == nil {
		return 0
	}
	length, _ := c.lengths.Value(c.doc())
	return c.bm25.score(c.freq, length)
}

// bound is what no frequency can exceed: the weight with as many as one likes.
func (c *phraseCursor) bound(uint32) (uint32, float64) {
	return done, c.weight * (bm25K1 + 1) * roundingSlack
}
