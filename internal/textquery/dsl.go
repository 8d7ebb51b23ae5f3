package textquery

import (
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/suggest"
)

// clausesMax bounds the queries of one request.
const clausesMax = 10_000

func lower(s string) string { return strings.ToLower(s) }

// parser reads the queries of one request.
type parser struct {
	kinds   map[string]func(*node) (Query, error)
	clauses int
}

func newParser() *parser {
	p := &parser{}
	p.kinds = map[string]func(*node) (Query, error){
		"match_all":           p.matchAll,
		"match_none":          p.matchNone,
		"match":               p.match,
		"match_phrase":        p.matchPhrase,
		"match_phrase_prefix": p.matchPhrasePrefix,
		"multi_match":         p.multiMatch,
		"term":                p.term,
		"terms":               p.terms,
		"range":               p.ranges,
		"exists":              p.exists,
		"prefix":              p.prefix,
		"wildcard":            p.wildcard,
		"regexp":              p.regexp,
		"fuzzy":               p.fuzzy,
		"ids":                 p.ids,
		"bool":                p.boolean,
		"constant_score":      p.constantScore,
		"dis_max":             p.disMax,
		"boosting":            p.boosting,
		"query_string":        p.queryString,
		"simple_query_string": p.simpleQueryString,
		"geo_distance":        p.geoDistance,
		"geo_bounding_box":    p.geoBoundingBox,
		"geo_polygon":         p.geoPolygon,
	}
	return p
}

func (p *parser) query(n *node) (Query, error) {
	m, err := n.one("query")
	if err != nil {
		return nil, err
	}
	if p.clauses++; p.clauses > clausesMax {
		return nil, n.fail("more than %d clauses", clausesMax)
	}
	parse, known := p.kinds[m.name]
	if !known {
		all := make([]string, 0, len(p.kinds))
		for name := range p.kinds {
			all = append(all, name)
		}
		return nil, m.value.fail("unknown query [%s]%s", m.name, suggest.Hint(m.name, all))
	}
	q, err := parse(m.value)
	if err != nil {
		return nil, m.value.place(err)
	}
	return q, nil
}

// queryInto is a setter for a member that is a query.
func (p *parser) queryInto(to *Query) func(*node) error {
	return func(n *node) (err error) {
		*to, err = p.query(n)
		return err
	}
}

// queries is a setter for a member that is a query or an array of them.
func (p *parser) queries(to *[]Query) func(*node) error {
	return func(n *node) error {
		items := n.items
		if n.kind != arrayNode {
			items = []*node{n}
		}
		for _, item := range items {
			q, err := p.query(item)
			if err != nil {
				return err
			}
			*to = append(*to, q)
		}
		return nil
	}
}

// field reads {"the field": value} or {"the field": {parameters}}.
func field(n *node, what string, short func(*node) error, set setters) (string, error) {
	m, err := n.one("[" + what + "] query")
	if err != nil {
		return "", err
	}
	if m.value.kind != objectNode {
		if short == nil {
			return "", m.value.fail("[%s] expected an object, found %s", what, m.value.kind)
		}
		return m.name, short(m.value)
	}
	return m.name, m.value.params(what, set)
}

func (p *parser) matchAll(n *node) (Query, error) {
	q := &MatchAll{Boost: 1}
	return q, n.params("match_all", setters{"boost": boost(&q.Boost)})
}

func (p *parser) matchNone(n *node) (Query, error) {
	return &MatchNone{Boost: 1}, n.params("match_none", setters{"boost": boost(new(Boost))})
}

func (p *parser) term(n *node) (Query, error) {
	q := &Term{Boost: 1}
	given := false
	value := func(n *node) error {
		given = true
		return literal(&q.Value)(n)
	}
	name, err := field(n, "term", value, setters{
		"value": value, "boost": boost(&q.Boost), "case_insensitive": boolean(&q.CaseInsensitive),
	})
	if err == nil && !given {
		err = n.fail("[term] needs a value")
	}
	q.Field = name
	return q, err
}

// termsMax bounds the values of a terms query, as Elasticsearch does.
const termsMax = 65_536

func (p *parser) terms(n *node) (Query, error) {
	q := &Terms{Boost: 1}
	if n.kind != objectNode {
		return nil, n.fail("[terms] expected an object, found %s", n.kind)
	}
	for _, m := range n.members {
		if m.name == "boost" {
			if err := boost(&q.Boost)(m.value); err != nil {
				return nil, err
			}
			continue
		}
		if q.Field != "" {
			return nil, m.value.fail("[terms] query does not support multiple fields: [%s] and [%s]", q.Field, m.name)
		}
		if m.value.kind != arrayNode {
			return nil, m.value.fail("[terms] expected an array of values for [%s], found %s (a look-up in another index is not supported)", m.name, m.value.kind)
		}
		if len(m.value.items) > termsMax {
			return nil, m.value.fail("[terms] has %d values, at most %d", len(m.value.items), termsMax)
		}
		q.Field = m.name
		for _, item := range m.value.items {
			v, err := item.scalar()
			if err != nil {
				return nil, err
			}
			q.Values = append(q.Values, v)
		}
	}
	if q.Field == "" {
		return nil, n.fail("[terms] needs a field")
	}
	return q, nil
}

func (p *parser) ranges(n *node) (Query, error) {
	q := &Range{Boost: 1}
	bound := func(to **Bound, inclusive bool) func(*node) error {
		return func(n *node) error {
			if n.kind == nullNode {
				return nil // Elasticsearch: no bound
			}
			v, err := n.scalar()
			if err != nil {
				return err
			}
			if *to != nil {
				return n.fail("[range] has two bounds on one side")
			}
			*to = &Bound{v, inclusive}
			return nil
		}
	}
	name, err := field(n, "range", nil, setters{
		"gte": bound(&q.Low, true), "gt": bound(&q.Low, false),
		"lte": bound(&q.High, true), "lt": bound(&q.High, false),
		"format": text(&q.Format), "time_zone": text(&q.TimeZone), "boost": boost(&q.Boost),
	})
	q.Field = name
	if err == nil && q.TimeZone != "" {
		_, err = Zone(q.TimeZone)
	}
	if err == nil && q.Format != "" {
		_, err = NewDateFormat(q.Format)
	}
	return q, err
}

func (p *parser) exists(n *node) (Query, error) {
	q := &Exists{Boost: 1}
	err := n.params("exists", setters{"field": text(&q.Field), "boost": boost(&q.Boost)})
	if err == nil && q.Field == "" {
		err = n.fail("[exists] needs a [field]")
	}
	return q, err
}

func (p *parser) prefix(n *node) (Query, error) {
	q := &Prefix{Boost: 1}
	name, err := field(n, "prefix", text(&q.Text), setters{
		"value": text(&q.Text), "boost": boost(&q.Boost), "case_insensitive": boolean(&q.CaseInsensitive), "rewrite": constantRewrite,
	})
	q.Field = name
	return q, err
}

// constantRewrite takes the ways of scoring inexact terms that score them all
// the same, which is what is done.
func constantRewrite(n *node) error {
	switch n.text {
	case "constant_score", "constant_score_blended", "constant_score_boolean":
		return nil
	}
	return n.fail("[rewrite] %s is not supported; terms are scored as with constant_score", n.show())
}

func (p *parser) wildcard(n *node) (Query, error) {
	q := &Wildcard{Boost: 1}
	name, err := field(n, "wildcard", text(&q.Pattern), setters{
		"value": text(&q.Pattern), "wildcard": text(&q.Pattern), "boost": boost(&q.Boost),
		"case_insensitive": boolean(&q.CaseInsensitive), "rewrite": constantRewrite,
	})
	q.Field = name
	return q, err
}

func (p *parser) regexp(n *node) (Query, error) {
	q := &Regexp{Boost: 1, StatesMax: regexpStates}
	name, err := field(n, "regexp", text(&q.Pattern), setters{
		"value": text(&q.Pattern), "boost": boost(&q.Boost), "rewrite": constantRewrite,
		"case_insensitive":        boolean(&q.CaseInsensitive),
		"max_determinized_states": integer(&q.StatesMax, 1, regexpStates),
		"flags": func(n *node) error {
			if n.text != "ALL" {
				return n.fail("[flags] %s is not supported; all optional operators are on", n.show())
			}
			return nil
		},
	})
	q.Field = name
	return q, err
}

// regexpStates is the most states that a regular expression may need.
const regexpStates = 10_000

func (p *parser) fuzzy(n *node) (Query, error) {
	q := &Fuzzy{Boost: 1, Expand: newExpansion()}
	q.Expand.Fuzziness = autoFuzziness
	name, err := field(n, "fuzzy", text(&q.Text), setters{
		"value": text(&q.Text), "boost": boost(&q.Boost),
		"fuzziness": fuzziness(&q.Expand.Fuzziness), "prefix_length": integer(&q.Expand.PrefixLength, 0, 1000),
		"max_expansions": integer(&q.Expand.Terms, 1, expansionsMax), "transpositions": boolean(&q.Expand.Transpositions),
	})
	q.Field = name
	return q, err
}

// expansionsMax is the most terms that an inexact term may stand for where each is scored.
const expansionsMax = 1024

var autoFuzziness = Fuzziness{Edits: Auto, Low: 3, High: 6}

func newExpansion() Expansion {
	return Expansion{Terms: 50, Transpositions: true}
}

func fuzziness(to *Fuzziness) func(*node) error {
	return func(n *node) error {
		f, err := parseFuzziness(n.text)
		if err != nil {
			return err
		}
		*to = f
		return nil
	}
}

// parseFuzziness reads 0, 1, 2, AUTO and AUTO:3,6.
func parseFuzziness(text string) (Fuzziness, error) {
	bad := Refuse("fuzziness %q is none of: 0, 1, 2, AUTO, AUTO:low,high", cut(text))
	word := strings.ToUpper(text)
	if bounds, ok := strings.CutPrefix(word, "AUTO"); ok {
		if bounds == "" {
			return autoFuzziness, nil
		}
		low, high, _ := strings.Cut(strings.TrimPrefix(bounds, ":"), ",")
		l, errLow := strconv.Atoi(low)
		h, errHigh := strconv.Atoi(high)
		if bounds[0] != ':' || errLow != nil || errHigh != nil || l < 0 || h < l {
			return Fuzziness{}, bad
		}
		return Fuzziness{Edits: Auto, Low: l, High: h}, nil
	}
	n, err := strconv.ParseFloat(word, 64) // "1.0" is what some clients send
	if err != nil || (n != 0 && n != 1 && n != 2) {
		return Fuzziness{}, bad
	}
	return Fuzziness{Edits: int(n)}, nil
}

func (p *parser) ids(n *node) (Query, error) {
	q := &IDs{Boost: 1}
	err := n.params("ids", setters{"values": list(&q.Values), "boost": boost(&q.Boost)})
	if err == nil && len(q.Values) > termsMax {
		err = n.fail("[ids] has %d values, at most %d", len(q.Values), termsMax)
	}
	return q, err
}

func (p *parser) boolean(n *node) (Query, error) {
	q := &Bool{Boost: 1}
	return q, n.params("bool", setters{
		"must": p.queries(&q.Must), "filter": p.queries(&q.Filter),
		"should": p.queries(&q.Should), "must_not": p.queries(&q.MustNot),
		"minimum_should_match": minimum(&q.Minimum), "boost": boost(&q.Boost),
	})
}

func minimum(to *MinimumMatch) func(*node) error {
	return func(n *node) (err error) {
		*to, err = parseMinimum(n.text)
		return err
	}
}

func (p *parser) constantScore(n *node) (Query, error) {
	q := &ConstantScore{Boost: 1}
	err := n.params("constant_score", setters{"filter": p.queryInto(&q.Filter), "boost": boost(&q.Boost)})
	if err == nil && q.Filter == nil {
		err = n.fail("[constant_score] needs a [filter]")
	}
	return q, err
}

func (p *parser) disMax(n *node) (Query, error) {
	q := &DisMax{Boost: 1}
	err := n.params("dis_max", setters{
		"queries": p.queries(&q.Queries), "tie_breaker": fraction(&q.TieBreaker), "boost": boost(&q.Boost),
	})
	if err == nil && len(q.Queries) == 0 {
		err = n.fail("[dis_max] needs [queries]")
	}
	return q, err
}

// fraction is a setter for a number from 0 to 1.
func fraction(to *float64) func(*node) error {
	return func(n *node) error {
		var f float64
		if err := number(&f)(n); err != nil {
			return err
		}
		if f < 0 || f > 1 {
			return n.fail("expected a number from 0 to 1, found %s", n.text)
		}
		*to = f
		return nil
	}
}

func (p *parser) boosting(n *node) (Query, error) {
	q := &Boosting{Boost: 1, NegativeBoost: -1}
	err := n.params("boosting", setters{
		"positive": p.queryInto(&q.Positive), "negative": p.queryInto(&q.Negative),
		"negative_boost": number(&q.NegativeBoost), "boost": boost(&q.Boost),
	})
	switch {
	case err != nil:
	case q.Positive == nil:
		err = n.fail("[boosting] needs a [positive] query")
	case q.Negative == nil:
		err = n.fail("[boosting] needs a [negative] query")
	case q.NegativeBoost < 0:
		err = n.fail("[boosting] needs a [negative_boost] that is not negative")
	}
	return q, err
}
