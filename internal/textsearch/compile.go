package textsearch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// compiler makes nodes of queries, for parts of one analyzer.
type compiler struct {
	ctx      context.Context
	search   *Searcher
	schema   *schema
	terms    *termTable
	analyzer *analysis.Analyzer
	// marks notes, for highlighting, what is looked for in texts; nil: nobody asks.
	marks *marks
}

// query compiles a query whose score is multiplied by a boost. Without scored,
// only what matches counts.
func (c *compiler) query(q textquery.Query, boost float64, scored bool) (node, error) {
	boost *= q.Weight()
	switch q := q.(type) {
	case *textquery.MatchAll:
		return allNode{boost}, nil
	case *textquery.MatchNone:
		return noNode{}, nil
	case *textquery.Match:
		return c.match(q, boost, scored)
	case *textquery.MatchPhrase:
		return c.matchPhrase(q, boost, scored)
	case *textquery.MultiMatch:
		return c.multiMatch(q, boost, scored)
	case *textquery.OverFields:
		return c.overFields(q.Fields, q.TieBreaker, q.Lenient, q.For, boost, scored)
	case *textquery.Bool:
		return c.bool(q, boost, scored)
	case *textquery.ConstantScore:
		inner, err := c.query(q.Filter, 1, false)
		return constantNode{inner, boost}, err
	case *textquery.DisMax:
		return c.disMax(q, boost, scored)
	case *textquery.Boosting:
		return c.boosting(q, boost, scored)
	case *textquery.IDs:
		return c.ids(q.Values, boost), nil
	default:
		return c.fieldQuery(q, boost, scored)
	}
}

// fieldQuery compiles the queries that are about the values of one field.
func (c *compiler) fieldQuery(q textquery.Query, boost float64, scored bool) (node, error) {
	switch q := q.(type) {
	case *textquery.Term:
		return c.term(q, boost, scored)
	case *textquery.Terms:
		return c.anyTerm(q, boost)
	case *textquery.Range:
		return c.ranges(q, boost)
	case *textquery.Exists:
		return c.exists(q.Field, boost), nil
	case *textquery.Prefix:
		return c.prefix(q, boost, scored)
	case *textquery.Wildcard:
		return c.wildcard(q, boost)
	case *textquery.Regexp:
		return c.regexp(q, boost)
	case *textquery.Fuzzy:
		return c.fuzzy(q, boost, scored)
	case *textquery.GeoDistance:
		return c.geo(q.Field, newCircle(q), boost)
	case *textquery.GeoBoundingBox:
		return c.geo(q.Field, newBox(q), boost)
	case *textquery.GeoPolygon:
		return c.geo(q.Field, newPolygon(q), boost)
	}
	return nil, fmt.Errorf("a query of type %T cannot be executed", q)
}

func (c *compiler) list(queries []textquery.Query, boost float64, scored bool) ([]node, error) {
	var all []node
	for _, q := range queries {
		n, err := c.query(q, boost, scored)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func (c *compiler) bool(q *textquery.Bool, boost float64, scored bool) (node, error) {
	n := &boolNode{}
	var errs [4]error
	n.must, errs[0] = c.list(q.Must, boost, scored)
	n.filter, errs[1] = c.list(q.Filter, 0, false)
	n.should, errs[2] = c.list(q.Should, boost, scored)
	n.not, errs[3] = c.unmarked().list(q.MustNot, 0, false)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, first(errs[:])
	}
	for i := range n.filter {
		n.filter[i] = constantNode{n.filter[i], 0}
	}
	n.need = 1
	if q.Minimum.Given() {
		n.need = q.Minimum.Of(len(q.Should))
	} else if len(q.Must)+len(q.Filter) > 0 || len(q.Should) == 0 {
		n.need = 0
	}
	if n.need > len(q.Should) {
		return noNode{}, nil
	}
	if len(n.must)+len(n.filter)+len(n.should)+len(n.not) == 0 {
		return allNode{boost}, nil // as Elasticsearch has it
	}
	return n, nil
}

func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarked is the compiler for what must not match: nothing of it is shown.
func (c *compiler) unmarked() *compiler {
	d := *c
	d.marks = nil
	return &d
}

func (c *compiler) disMax(q *textquery.DisMax, boost float64, scored bool) (node, error) {
	parts, err := c.list(q.Queries, boost, scored)
	return bestNode{parts, q.TieBreaker}, err
}

func (c *compiler) boosting(q *textquery.Boosting, boost float64, scored bool) (node, error) {
	positive, err := c.query(q.Positive, boost, scored)
	if err != nil {
		return nil, err
	}
	negative, err := c.unmarked().query(q.Negative, 0, false)
	return boostingNode{positive, negative, q.NegativeBoost}, err
}

// overFields asks the same of several fields.
func (c *compiler) overFields(fields []textquery.FieldBoost, tie float64, lenient bool, ask func(string) textquery.Query, boost float64, scored bool) (node, error) {
	var parts []node
	for _, f := range c.schema.expand(fields) {
		n, err := c.query(ask(f.Field), boost*f.Boost, scored)
		if err != nil {
			if lenient && errors.Is(err, errFields) {
				continue
			}
			return nil, err
		}
		parts = append(parts, n)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return bestNode{parts, tie}, nil
}

// everyText asks the same of all texts.
func (c *compiler) everyText(ask func(f textindex.Field) (node, error)) (node, error) {
	var parts []node
	for _, f := range c.schema.texts() {
		n, err := ask(f)
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	return c.kinds(parts, nil, true)
}

// analyzed is the analyzer that a query asks for, or that of the parts.
func (c *compiler) analyzed(name string, f textindex.Field) (*analysis.Analyzer, error) {
	if f.Kind == textindex.Keyword {
		name = "keyword"
	}
	if name == "" {
		return c.analyzer, nil
	}
	a, err := analysis.ByName(name)
	if err != nil {
		return nil, textquery.Refuse("[analyzer] %v", err)
	}
	return a, nil
}

// match is a text in one field, whatever its kind.
func (c *compiler) match(q *textquery.Match, boost float64, scored bool) (node, error) {
	if c.schema.everywhere(q.Field) {
		return c.crossFields(c.textFields(), q, 0, boost, scored)
	}
	if n, ok := c.virtual(q.Field, textquery.Value{Text: q.Text}, boost); ok {
		return n, nil
	}
	var parts []node
	var refused error
	for _, f := range c.schema.searched(q.Field) {
		var n node
		var err error
		if f.Kind.HasTerms() {
			n, err = c.matchText(f, q, boost, scored)
		} else {
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

// kinds joins what a query is in the kinds of a field that it fits.
func (c *compiler) kinds(parts []node, refused error, lenient bool) (node, error) {
	switch {
	case len(parts) == 1:
		return parts[0], nil
	case len(parts) > 1:
		return bestNode{parts, 0}, nil
	case refused != nil && !lenient:
		return nil, refused
	}
	return noNode{}, nil
}

func (c *compiler) matchText(f textindex.Field, q *textquery.Match, boost float64, scored bool) (node, error) {
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
	var parts []node
	for _, t := range tokens {
		n, err := c.word(f, t.Term, q.Expand, boost, scored)
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	return joinWords(parts, q), nil
}

// joinWords is the query of a text's words, by its operator.
func joinWords(parts []node, q *textquery.Match) node {
	if q.Operator == textquery.And {
		return &boolNode{must: parts}
	}
	need := 1
	if q.Minimum.Given() {
		need = max(1, q.Minimum.Of(len(parts)))
	}
	if len(parts) == 1 && need == 1 {
		return parts[0]
	}
	return anyNode{parts, need}
}

// word is a term, or those near it.
func (c *compiler) word(f textindex.Field, term []byte, expand *textquery.Expansion, boost float64, scored bool) (node, error) {
	if expand != nil {
		return c.near(f, string(term), *expand, boost, scored)
	}
	return c.exact(f, term, boost, scored), nil
}

func (c *compiler) exact(f textindex.Field, term []byte, boost float64, scored bool) node {
	c.marks.term(f, term)
	return &termNode{number: c.terms.number(f, term), boost: boost, scored: scored}
}

func (c *compiler) textFields() []textquery.FieldBoost {
	var all []textquery.FieldBoost
	for _, f := range c.schema.texts() {
		all = append(all, textquery.FieldBoost{Field: f.Name, Boost: 1})
	}
	return all
}

func (c *compiler) multiMatch(q *textquery.MultiMatch, boost float64, scored bool) (node, error) {
	boost *= q.Match.Weight()
	ask := func(field string) textquery.Query {
		m := q.Match
		m.Boost, m.Field = 1, field
		return &m
	}
	switch q.Type {
	case textquery.CrossFields:
		return c.crossFields(c.schema.expand(q.Fields), &q.Match, q.TieBreaker, boost, scored)
	case textquery.Phrase, textquery.PhrasePrefix:
		prefix := 0
		if q.Type == textquery.PhrasePrefix {
			prefix = q.Prefix
		}
		ask = func(field string) textquery.Query {
			return &textquery.MatchPhrase{Boost: 1, Field: field, Text: q.Match.Text, Slop: q.Slop, Analyzer: q.Match.Analyzer,
				AllIfNone: q.Match.AllIfNone, Lenient: q.Match.Lenient, Prefix: prefix}
		}
	}
	lenient := q.Match.Lenient || slices.ContainsFunc(q.Fields, func(f textquery.FieldBoost) bool { return strings.Contains(f.Field, "*") })
	return c.overFields(q.Fields, q.TieBreaker, lenient, ask, boost, scored)
}

// crossFields looks for each word in all fields as if they were one: a document
// scores as the best field of each word does, and a word is as rare as it is in
// the field where it is most frequent.
func (c *compiler) crossFields(fields []textquery.FieldBoost, q *textquery.Match, tie, boost float64, scored bool) (node, error) {
	var texts []textindex.Field
	var boosts []float64
	var others []node
	for _, f := range fields {
		for _, k := range c.schema.searched(f.Field) {
			if k.Kind.HasTerms() {
				texts, boosts = append(texts, k), append(boosts, f.Boost)
				continue
			}
			n, err := c.equal(k, textquery.Value{Text: q.Text}, boost*f.Boost)
			if err == nil {
				others = append(others, n)
			} else if !errors.Is(err, errFields) {
				return nil, err
			}
		}
	}
	analyzer, err := c.analyzed(q.Analyzer, textindex.Field{})
	if err != nil {
		return nil, err
	}
	var words []node
	for _, t := range analyzer.Analyze([]byte(q.Text)) {
		var ways []node
		var numbers []int
		for i, f := range texts {
			n, err := c.word(f, t.Term, q.Expand, boost*boosts[i], scored)
			if err != nil {
				return nil, err
			}
			if leaf, ok := n.(*termNode); ok {
				numbers = append(numbers, leaf.number)
			}
			ways = append(ways, n)
		}
		for _, n := range ways {
			if leaf, ok := n.(*termNode); ok && len(numbers) > 1 {
				leaf.blend = numbers
			}
		}
		words = append(words, bestNode{ways, tie})
	}
	if len(words) > 0 {
		others = append([]node{joinWords(words, q)}, others...)
	} else if q.AllIfNone {
		return allNode{boost}, nil
	}
	return c.kinds(others, nil, true)
}

// ids are documents by their _id.
func (c *compiler) ids(values []string, boost float64) node {
	wanted := map[string]map[int32][]int64{}
	for _, id := range values {
		topic, partition, offset, ok := splitID(id)
		if !ok {
			continue // there is no such document
		}
		if wanted[topic] == nil {
			wanted[topic] = map[int32][]int64{}
		}
		wanted[topic][partition] = append(wanted[topic][partition], offset)
	}
	return bitsNode{build: offsetsOf(wanted), value: boost}
}

// dates is how a query reads a date.
func (c *compiler) date(text, format, zone string, up bool) (time.Time, error) {
	if format == "" {
		format = textquery.DefaultDateFormat
	}
	f, err := textquery.NewDateFormat(format)
	if err != nil {
		return time.Time{}, err
	}
	z, err := textquery.Zone(zone)
	if err != nil {
		return time.Time{}, err
	}
	t, err := textquery.DateMath(text, f, z, c.search.Now, up)
	if err != nil {
		return t, fmt.Errorf("%w: %w", errFields, err)
	}
	return t, nil
}
