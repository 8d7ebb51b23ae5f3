package textsearch

import (
	"math"
	"slices"
)

// both walks the documents that all of its cursors have.
type both struct {
	lead  []cursor // cheapest first
	parts []cursor // in the order in which their scores are added
}

func newBoth(parts []cursor) cursor {
	if len(parts) == 1 {
		return parts[0]
	}
	lead := slices.Clone(parts)
	slices.SortStableFunc(lead, func(a, b cursor) int { return a.cost() - b.cost() })
	return &both{lead: lead, parts: parts}
}

func (c *both) doc() uint32  { return c.lead[0].doc() }
func (c *both) cost() int    { return c.lead[0].cost() }
func (c *both) next() uint32 { return c.agree(c.lead[0].next()) }

func (c *both) advance(target uint32) uint32 { return c.agree(c.lead[0].advance(target)) }

// agree goes on from a document of the lead to the first that all have.
func (c *both) agree(doc uint32) uint32 {
again:
	if doc == done {
		return done
	}
	for _, other := range c.lead[1:] {
		if at := other.advance(doc); at != doc {
			doc = c.lead[0].advance(at)
			goto again
		}
	}
	return doc
}

func (c *both) score() float64 {
	sum := 0.0
	for _, p := range c.parts {
		sum += p.score()
	}
	return sum
}

func (c *both) bound(target uint32) (uint32, float64) { return sumOfBounds(c.parts, target) }

func sumOfBounds(parts []cursor, target uint32) (uint32, float64) {
	last, sum := uint32(done), 0.0
	for _, p := range parts {
		l, most := p.bound(target)
		last = min(last, l)
		sum += most
	}
	return last, sum
}

// roundingSlack makes up for bounds that are computed in another way than scores.
// Where it is the same way, rounding does no harm: adding and multiplying what is
// not negative rises with it. It matters that bounds are not raised for nothing:
// many logs are alike, and what scores the same as the last hit need not be seen.
const roundingSlack = 1 + 1e-10

// any walks the documents that at least one of its cursors has, or so many of
// them. When it is told which scores are too low, it leaves documents out that
// cannot score more: within a window in which every cursor has one bound, those
// cursors that even together are too low are asked only about documents that the
// others have (block-max MAXSCORE).
type anyOf struct {
	parts []cursor
	need  int
	at    uint32
	begun bool

	floor float64 // scores up to it do not matter; negative: all do
	slack float64 // of the sum of all bounds
	// The window, of floor windowFloor, ends at windowLast.
	windowLast  uint32
	windowFloor float64
	windowed    bool
	leads       []cursor // have a document of the window that matters
}

func newAny(parts []cursor, need int) cursor {
	if len(parts) == 1 && need <= 1 {
		return parts[0]
	}
	if need >= len(parts) {
		return newBoth(parts)
	}
	return &anyOf{parts: parts, need: max(1, need), floor: -1, slack: 1, leads: parts}
}

func (c *anyOf) doc() uint32 { return c.at }

func (c *anyOf) cost() int {
	sum := 0
	for _, p := range c.parts {
		sum += p.cost()
	}
	return sum
}

// above says which scores are too low. It only rises.
func (c *anyOf) above(floor float64) {
	if c.need == 1 {
		c.floor = floor
	}
}

func (c *anyOf) next() uint32 {
	if !c.begun {
		return c.advance(0)
	}
	if c.at == done {
		return done
	}
	return c.seek(c.at + 1)
}

func (c *anyOf) advance(target uint32) uint32 {
	if c.begun && c.at >= target {
		return c.at
	}
	return c.seek(target)
}

func (c *anyOf) seek(target uint32) uint32 {
	c.begun = true
	for {
		if c.floor >= 0 {
			target = c.window(target)
		}
		if target == done {
			c.at = done
			return done
		}
		doc := uint32(done)
		for _, p := range c.leads {
			doc = min(doc, p.advance(target))
		}
		if c.floor >= 0 && doc > c.windowLast && c.windowLast != done {
			target = c.windowLast + 1
			continue
		}
		if c.at = doc; doc == done || c.need == 1 || c.enough(doc) {
			return doc
		}
		target = doc + 1
	}
}

func (c *anyOf) enough(doc uint32) bool {
	n := 0
	for i, p := range c.parts {
		if p.advance(doc) == doc {
			n++
		}
		if n >= c.need || n+len(c.parts)-1-i < c.need {
			break
		}
	}
	return n >= c.need
}

// window finds the first window from target on that has a document which can
// score above the floor, and returns where to begin in it.
func (c *anyOf) window(target uint32) uint32 {
	if c.windowed && target <= c.windowLast && c.floor == c.windowFloor {
		return target
	}
	type bounded struct {
		cursor
		most float64
	}
	for target != done {
		last, sum := uint32(done), 0.0
		list := make([]bounded, 0, len(c.parts))
		for _, p := range c.parts {
			l, most := p.bound(target)
			last = min(last, l)
			sum += most
			list = append(list, bounded{p, most})
		}
		if sum*c.slack > c.floor {
			slices.SortStableFunc(list, func(x, y bounded) int {
				if x.most < y.most {
					return -1
				} else if x.most > y.most {
					return 1
				}
				return 0
			})
			low, first := 0.0, 0
			for first < len(list)-1 && (low+list[first].most)*roundingSlack <= c.floor {
				low += list[first].most
				first++
			}
			leads := make([]cursor, 0, len(list)-first)
			for _, l := range list[first:] {
				leads = append(leads, l.cursor)
			}
			c.leads, c.windowLast, c.windowFloor, c.windowed = leads, last, c.floor, true
			return target
		}
		if last == done {
			break
		}
		target = last + 1
	}
	return done
}

func (c *anyOf) score() float64 {
	sum := 0.0
	for _, p := range c.parts {
		if p.advance(c.at) == c.at {
			sum += p.score()
		}
	}
	return sum
}

func (c *anyOf) bound(target uint32) (uint32, float64) {
	last, sum := sumOfBounds(c.parts, target)
	return last, sum * c.slack
}

// best walks what any of its cursors has, and scores a document as the best of
// them does, with a share of what the others say.
type best struct {
	anyOf
	tie float64
}

func newBest(parts []cursor, tie float64) cursor {
	if len(parts) == 1 {
		return parts[0]
	}
	return &best{anyOf{parts: parts, need: 1, floor: -1, slack: roundingSlack, leads: parts}, tie}
}

func (c *best) score() float64 {
	most, sum := 0.0, 0.0
	for _, p := range c.parts {
		if p.advance(c.at) == c.at {
			s := p.score()
			most = max(most, s)
			sum += s
		}
	}
	return most + c.tie*(sum-most)
}

// above is not the sum's: a best score is at most the sum, which still bounds it,
// so it holds as it is for any tie up to 1.

// but walks what one cursor has and another one does not.
type but struct {
	cursor
	not cursor
}

func (c *but) next() uint32                 { return c.skip(c.cursor.next()) }
func (c *but) advance(target uint32) uint32 { return c.skip(c.cursor.advance(target)) }

func (c *but) skip(doc uint32) uint32 {
	for doc != done && c.not.advance(doc) == doc {
		doc = c.cursor.next()
	}
	return doc
}

func (c *but) above(floor float64) {
	if p, ok := c.cursor.(pruner); ok {
		p.above(floor)
	}
}

// also walks what one cursor has, and adds the scores of others where they have
// the document too.
type also struct {
	cursor
	more []cursor
}

func (c *also) score() float64 {
	sum, doc := c.cursor.score(), c.cursor.doc()
	for _, p := range c.more {
		if p.advance(doc) == doc {
			sum += p.score()
		}
	}
	return sum
}

func (c *also) bound(target uint32) (uint32, float64) {
	return sumOfBounds(append([]cursor{c.cursor}, c.more...), target)
}

// demoted multiplies the score where another cursor has the document too.
type demoted struct {
	cursor
	by    cursor
	times float64
}

func (c *demoted) score() float64 {
	s, doc := c.cursor.score(), c.cursor.doc()
	if c.by.advance(doc) == doc {
		s *= c.times
	}
	return s
}

func (c *demoted) bound(target uint32) (uint32, float64) {
	last, most := c.cursor.bound(target)
	return last, most * max(1, c.times)
}

// pruner is a cursor that can leave out what scores too low.
type pruner interface {
	above(floor float64)
}

// pruned makes a pruner of any cursor: windows whose bound is too low are
// skipped.
type pruned struct {
	cursor
	floor float64
	last  uint32
	begun bool
}

func newPruner(c cursor) (cursor, pruner) {
	switch p := c.(type) {
	case *anyOf:
		return c, p
	case *best:
		return c, p
	case *but:
		inner, limit := newPruner(p.cursor)
		p.cursor = inner
		return p, limit
	}
	p := &pruned{cursor: c, floor: math.Inf(-1)}
	return p, p
}

func (c *pruned) above(floor float64) {
	if floor > c.floor {
		c.floor, c.begun = floor, false
	}
}

func (c *pruned) next() uint32 { return c.skip(c.cursor.next()) }

func (c *pruned) skip(doc uint32) uint32 {
	for doc != done && !math.IsInf(c.floor, -1) && (!c.begun || doc > c.last) {
		last, most := c.cursor.bound(doc)
		if most > c.floor {
			c.last, c.begun = last, true
			break
		}
		if last == done {
			return done
		}
		doc = c.cursor.advance(last + 1)
	}
	return doc
}
