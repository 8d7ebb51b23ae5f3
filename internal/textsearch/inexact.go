package textsearch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/blevesearch/vellum/levenshtein"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch/automaton"
)

// maker makes an automaton, one for each who walks it.
type maker func() (textindex.Automaton, error)

// failing is an automaton that may find out on its way that it cannot go on.
type failing interface{ Err() error }

// termsOf walks the terms of a split that an automaton accepts.
func termsOf(ctx context.Context, s textindex.Split, f textindex.Field, make maker, yield func(textindex.Term) error) error {
	if _, ok := s.Field(f); !ok {
		return nil
	}
	a, err := make()
	if err != nil {
		return patternError(f, err)
	}
	for t, err := range s.Terms(ctx, f, a) {
		if err != nil {
			return err
		}
		if err := yield(t); err != nil {
			return err
		}
	}
	if failed, ok := a.(failing); ok && failed.Err() != nil {
		return patternError(f, failed.Err())
	}
	return ctx.Err()
}

func patternError(f textindex.Field, err error) error {
	return textquery.RefuseField("failed to create query on field [%s]: %v", f.Name, err)
}

// accepted are the documents that have any term that an automaton accepts.
func accepted(f textindex.Field, make maker, value float64) node {
	may := func(s *shard) bool { return s.has(f) }
	return bitsNode{may: may, value: value, build: func(ctx context.Context, s *shard) (*roaring.Bitmap, error) {
		all := roaring.New()
		buffer := []uint32(nil)
		return all, termsOf(ctx, s.Split, f, make, func(t textindex.Term) error {
			p, err := s.Split.Postings(ctx, t, textindex.Documents)
			if err != nil {
				return err
			}
			buffer = buffer[:0]
			for doc := p.Next(); doc != done; doc = p.Next() {
				buffer = append(buffer, doc)
			}
			all.AddMany(buffer)
			return p.Err()
		})
	}}
}

// overTerms asks an automaton of the terms of a field, in the kinds that have
// terms. fold says of each kind whether case matters.
func (c *compiler) overTerms(name string, boost float64, make func(f textindex.Field) maker) (node, error) {
	if c.schema.everywhere(name) {
		return c.everyText(func(f textindex.Field) (node, error) { return c.patterned(f, make(f), boost) })
	}
	var parts []node
	var refused error
	for _, f := range c.schema.searched(name) {
		if !f.Kind.HasTerms() {
			refused = errors.Join(errFields, textquery.RefuseField("Can only use wildcard, prefix, regexp and fuzzy queries on text and keyword fields - not on [%s] which is of type [%s]", f.Name, f.Kind))
			continue
		}
		n, err := c.patterned(f, make(f), boost)
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	return c.kinds(parts, refused, false)
}

func (c *compiler) patterned(f textindex.Field, make maker, boost float64) (node, error) {
	a, err := make() // so that a pattern that is wrong is refused also where nothing has the field
	if err != nil {
		return nil, patternError(f, err)
	}
	c.marks.pattern(f, a)
	return accepted(f, make, boost), nil
}

func (c *compiler) folded(f textindex.Field, text string, boost float64) (node, error) {
	return c.patterned(f, func() (textindex.Automaton, error) { return automaton.Exact(text) }, boost)
}

// normal is a text in the case that the terms of a field are in, where a query
// is written in the words of a text.
func normal(f textindex.Field, a *analysis.Analyzer, text string, analyzed bool) string {
	if analyzed && f.Kind == textindex.Text && a.Name() != "keyword" {
		return strings.ToLower(text)
	}
	return text
}

func (c *compiler) prefix(q *textquery.Prefix, boost float64, scored bool) (node, error) {
	if q.Words {
		// The words before the last are looked for as they are.
		tokens := c.analyzer.Analyze([]byte(q.Text))
		if len(tokens) > 1 {
			last := tokens[len(tokens)-1]
			return c.bool(&textquery.Bool{Boost: 1, Must: []textquery.Query{
				&textquery.Match{Boost: 1, Field: q.Field, Text: q.Text[:last.Start], Operator: textquery.And},
				&textquery.Prefix{Boost: 1, Field: q.Field, Text: q.Text[last.Start:], Analyzed: true},
			}}, boost, scored)
		}
	}
	return c.overTerms(q.Field, boost, func(f textindex.Field) maker {
		text := normal(f, c.analyzer, q.Text, q.Analyzed)
		return func() (textindex.Automaton, error) { return automaton.Prefix(text, q.CaseInsensitive) }
	})
}

func (c *compiler) wildcard(q *textquery.Wildcard, boost float64) (node, error) {
	return c.overTerms(q.Field, boost, func(f textindex.Field) maker {
		pattern := normal(f, c.analyzer, q.Pattern, q.Analyzed)
		return func() (textindex.Automaton, error) { return automaton.Wildcard(pattern, q.CaseInsensitive) }
	})
}

func (c *compiler) regexp(q *textquery.Regexp, boost float64) (node, error) {
	return c.overTerms(q.Field, boost, func(f textindex.Field) maker {
		pattern := q.Pattern // its letters may mean something other than themselves
		return func() (textindex.Automaton, error) {
			return automaton.Regexp(pattern, q.CaseInsensitive, q.StatesMax)
		}
	})
}

func (c *compiler) ranges(q *textquery.Range, boost float64) (node, error) {
	var parts []node
	var refused error
	for _, f := range c.schema.searched(q.Field) {
		if f.Kind.HasTerms() {
			r := automaton.Range{}
			if q.Low != nil {
				r.Low, r.WithLow = []byte(q.Low.Value.Text), q.Low.Inclusive
			}
			if q.High != nil {
				r.High, r.WithHigh = []byte(q.High.Value.Text), q.High.Inclusive
			}
			parts = append(parts, accepted(f, func() (textindex.Automaton, error) { return r, nil }, boost))
			continue
		}
		low, high, err := c.interval(f, q)
		if err != nil {
			refused = err
			continue
		}
		parts = append(parts, matching(f, low, high, boost))
	}
	return c.kinds(parts, refused, false)
}

// candidate is a term that stands for another one.
type candidate struct {
	term   string
	weight float64
}

// expand finds the best terms of a field that an automaton accepts, over all
// parts, so that they are the same however the records are cut.
func (c *compiler) expand(f textindex.Field, make maker, most int, weigh func(term []byte) float64) ([]candidate, error) {
	var mu sync.Mutex
	seen := map[string]float64{}
	err := c.search.each(c.ctx, func(ctx context.Context, i int) error {
		return termsOf(ctx, c.search.Parts[i].Split, f, make, func(t textindex.Term) error {
			mu.Lock()
			defer mu.Unlock()
			if _, known := seen[string(t.Bytes)]; !known {
				seen[string(t.Bytes)] = weigh(t.Bytes)
			}
			if len(seen) > 16*most+10_000 {
				seen = trim(seen, most)
			}
			return nil
		})
	})
	return top(seen, most), err
}

func top(seen map[string]float64, most int) []candidate {
	list := make([]candidate, 0, len(seen))
	for term, weight := range seen {
		list = append(list, candidate{term, weight})
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.term, b.term))
	})
	return list[:min(most, len(list))]
}

func trim(seen map[string]float64, most int) map[string]float64 {
	kept := make(map[string]float64, most)
	for _, c := range top(seen, most) {
		kept[c.term] = c.weight
	}
	return kept
}

func (c *compiler) fuzzy(q *textquery.Fuzzy, boost float64, scored bool) (node, error) {
	if c.schema.everywhere(q.Field) {
		return c.everyText(func(f textindex.Field) (node, error) {
			return c.near(f, normal(f, c.analyzer, q.Text, q.Analyzed), q.Expand, boost, scored)
		})
	}
	var parts []node
	var refused error
	for _, f := range c.schema.searched(q.Field) {
		if !f.Kind.HasTerms() {
			refused = errors.Join(errFields, textquery.RefuseField("Can only use fuzzy queries on text and keyword fields - not on [%s] which is of type [%s]", f.Name, f.Kind))
			continue
		}
		n, err := c.near(f, normal(f, c.analyzer, q.Text, q.Analyzed), q.Expand, boost, scored)
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	return c.kinds(parts, refused, false)
}

// near is the terms near to one. They count as equally rare, so that a typing
// error is no treasure, and the farther ones less.
func (c *compiler) near(f textindex.Field, term string, e textquery.Expansion, boost float64, scored bool) (node, error) {
	length := utf8.RuneCountInString(term)
	edits := e.Fuzziness.For(length)
	if edits == 0 || !utf8.ValidString(term) {
		return c.exact(f, []byte(term), boost, scored), nil
	}
	builder, err := levenshtein.NewLevenshteinAutomatonBuilder(uint8(edits), e.Transpositions)
	if err != nil {
		return nil, err
	}
	dfa, err := builder.BuildDfa(term, uint8(edits))
	if err != nil {
		return nil, patternError(f, err)
	}
	prefix := []rune(term)
	prefix = prefix[:min(e.PrefixLength, len(prefix))]
	weigh := func(t []byte) float64 {
		_, distance := dfa.MatchAndDistance(string(t))
		return 1 - float64(distance)/float64(max(1, min(length, utf8.RuneCount(t))))
	}
	accepting := func() (textindex.Automaton, error) {
		if len(prefix) == 0 {
			return dfa, nil
		}
		begin, err := automaton.Prefix(string(prefix), false)
		return &product{dfa, begin}, err
	}
	found, err := c.expand(f, accepting, e.Terms, weigh)
	if err != nil {
		return nil, err
	}
	var parts []node
	var numbers []int
	for _, t := range found {
		n := &termNode{number: c.terms.number(f, []byte(t.term)), boost: boost * t.weight, scored: scored}
		c.marks.term(f, []byte(t.term))
		numbers = append(numbers, n.number)
		parts = append(parts, n)
	}
	for _, p := range parts {
		p.(*termNode).blend = numbers
	}
	if len(parts) == 0 {
		return noNode{}, nil
	}
	return anyNode{parts, 1}, nil
}

// product accepts what two automata accept. Its states are pairs.
type product struct {
	a, b textindex.Automaton
}

const productShift = 32

func (p *product) Start() int { return p.a.Start()<<productShift | p.b.Start() }

func (p *product) IsMatch(s int) bool {
	return p.a.IsMatch(s>>productShift) && p.b.IsMatch(s&(1<<productShift-1))
}

func (p *product) CanMatch(s int) bool {
	return p.a.CanMatch(s>>productShift) && p.b.CanMatch(s&(1<<productShift-1))
}

func (p *product) WillAlwaysMatch(s int) bool {
	return p.a.WillAlwaysMatch(s>>productShift) && p.b.WillAlwaysMatch(s&(1<<productShift-1))
}

func (p *product) Accept(s int, b byte) int {
	return p.a.Accept(s>>productShift, b)<<productShift | p.b.Accept(s&(1<<productShift-1), b)
}
