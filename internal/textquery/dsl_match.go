package textquery

import (
	"strconv"
	"strings"
)

var operators = map[string]Operator{"or": Or, "and": And}

// zeroTerms says what a text without terms matches.
var zeroTerms = map[string]bool{"none": false, "all": true}

// matchParams are what match and multi_match have in common.
func matchParams(q *Match) setters {
	expand := newExpansion()
	return setters{
		"query":                text(&q.Text),
		"operator":             oneOf(&q.Operator, operators),
		"minimum_should_match": minimum(&q.Minimum),
		"analyzer":             text(&q.Analyzer),
		"lenient":              boolean(&q.Lenient),
		"zero_terms_query":     oneOf(&q.AllIfNone, zeroTerms),
		"fuzziness": func(n *node) error {
			q.Expand = &expand
			return fuzziness(&expand.Fuzziness)(n)
		},
		"prefix_length":        integer(&expand.PrefixLength, 0, 1000),
		"max_expansions":       integer(&expand.Terms, 1, expansionsMax),
		"fuzzy_transpositions": boolean(&expand.Transpositions),
	}
}

func (p *parser) match(n *node) (Query, error) {
	q := &Match{Boost: 1}
	set := matchParams(q)
	set["boost"] = boost(&q.Boost)
	name, err := field(n, "match", text(&q.Text), set)
	q.Field = name
	return q, err
}

func (p *parser) matchPhrase(n *node) (Query, error) {
	q := &MatchPhrase{Boost: 1}
	name, err := field(n, "match_phrase", text(&q.Text), phraseParams(q))
	q.Field = name
	return q, err
}

func phraseParams(q *MatchPhrase) setters {
	return setters{
		"query": text(&q.Text), "slop": integer(&q.Slop, 0, slopMax), "analyzer": text(&q.Analyzer),
		"zero_terms_query": oneOf(&q.AllIfNone, zeroTerms), "boost": boost(&q.Boost),
	}
}

// slopMax is far more than any text is long where slop makes sense.
const slopMax = 100_000

func (p *parser) matchPhrasePrefix(n *node) (Query, error) {
	q := &MatchPhrase{Boost: 1, Prefix: 50}
	set := phraseParams(q)
	set["max_expansions"] = integer(&q.Prefix, 1, expansionsMax)
	name, err := field(n, "match_phrase_prefix", text(&q.Text), set)
	q.Field = name
	return q, err
}

var multiMatchTypes = map[string]MultiMatchType{
	"best_fields": BestFields, "most_fields": MostFields, "cross_fields": CrossFields, "phrase": Phrase, "phrase_prefix": PhrasePrefix,
}

func (p *parser) multiMatch(n *node) (Query, error) {
	q := &MultiMatch{Boost: 1, Match: Match{Boost: 1}, Prefix: 50, TieBreaker: -1}
	set := matchParams(&q.Match)
	set["fields"] = fields(&q.Fields)
	set["type"] = oneOf(&q.Type, multiMatchTypes)
	set["tie_breaker"] = fraction(&q.TieBreaker)
	set["slop"] = integer(&q.Slop, 0, slopMax)
	set["boost"] = boost(&q.Boost)
	expansions := set["max_expansions"]
	set["max_expansions"] = func(n *node) error {
		if err := expansions(n); err != nil {
			return err
		}
		return integer(&q.Prefix, 1, expansionsMax)(n)
	}
	if err := n.params("multi_match", set); err != nil {
		return nil, err
	}
	if q.TieBreaker < 0 {
		q.TieBreaker = 0
		if q.Type == MostFields {
			q.TieBreaker = 1
		}
	}
	switch q.Type {
	case Phrase, PhrasePrefix, CrossFields:
		if q.Match.Expand != nil {
			return nil, n.fail("[multi_match] of type phrase, phrase_prefix and cross_fields does not support [fuzziness]")
		}
	}
	if len(q.Fields) == 0 {
		q.Fields = []FieldBoost{{AllText, 1}}
	}
	return q, nil
}

// AllText is the field that has the text of all others.
const AllText = "_all"

// fields reads names of fields, each with an optional ^weight.
func fields(to *[]FieldBoost) func(*node) error {
	return func(n *node) error {
		var names []string
		if err := list(&names)(n); err != nil {
			return err
		}
		for _, name := range names {
			f, err := parseFieldBoost(name)
			if err != nil {
				return err
			}
			*to = append(*to, f)
		}
		return nil
	}
}

func parseFieldBoost(text string) (FieldBoost, error) {
	name, weight, weighed := strings.Cut(text, "^")
	f := FieldBoost{name, 1}
	if name == "*" {
		f.Field = AllText
	}
	if !weighed {
		return f, nil
	}
	b, err := strconv.ParseFloat(weight, 64)
	if err != nil || b < 0 || b-b != 0 {
		return f, Refuse("the boost of field %q is not a number", cut(text))
	}
	f.Boost = b
	return f, nil
}
