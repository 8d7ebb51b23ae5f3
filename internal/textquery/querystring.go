package textquery

import (
	"strings"
)

// StringOptions are the parameters of query_string.
type StringOptions struct {
	Fields          []FieldBoost // what words without a field are looked for in
	TieBreaker      float64
	Operator        Operator
	Minimum         MinimumMatch
	Analyzer        string
	Lenient         bool
	TimeZone        string
	PhraseSlop      int
	Expand          Expansion // of word~
	NoLeadingStar   bool      // a word must not begin with * or ?
	AnalyzeWildcard bool
}

// NewStringOptions are the parameters that hold when none is given.
func NewStringOptions() StringOptions {
	o := StringOptions{Fields: []FieldBoost{{AllText, 1}}, Expand: newExpansion()}
	o.Expand.Fuzziness = autoFuzziness
	return o
}

func (p *parser) queryString(n *node) (Query, error) {
	o := NewStringOptions()
	var query, field string
	var b Boost = 1
	var over []FieldBoost
	leading := true
	err := n.params("query_string", setters{
		"query": text(&query), "default_field": text(&field), "fields": fields(&over),
		"default_operator": oneOf(&o.Operator, operators), "minimum_should_match": minimum(&o.Minimum),
		"analyzer": text(&o.Analyzer), "lenient": boolean(&o.Lenient), "time_zone": text(&o.TimeZone),
		"phrase_slop": integer(&o.PhraseSlop, 0, slopMax), "fuzziness": fuzziness(&o.Expand.Fuzziness),
		"fuzzy_prefix_length":  integer(&o.Expand.PrefixLength, 0, 1000),
		"fuzzy_max_expansions": integer(&o.Expand.Terms, 1, expansionsMax),
		"fuzzy_transpositions": boolean(&o.Expand.Transpositions), "tie_breaker": fraction(&o.TieBreaker),
		"allow_leading_wildcard": boolean(&leading), "analyze_wildcard": boolean(&o.AnalyzeWildcard), "boost": boost(&b),
		"type": func(n *node) error {
			switch lower(n.text) {
			case "best_fields":
				return nil
			case "most_fields":
				o.TieBreaker = 1
				return nil
			}
			return n.fail("[type] %s is not supported in query_string, only best_fields and most_fields", n.show())
		},
	})
	if err != nil {
		return nil, err
	}
	o.NoLeadingStar = !leading
	switch {
	case len(over) > 0 && field != "":
		return nil, n.fail("[query_string] has both [fields] and [default_field]")
	case len(over) > 0:
		o.Fields = over
	case field != "" && field != "*":
		o.Fields = []FieldBoost{{field, 1}}
	}
	if o.TimeZone != "" {
		if _, err := Zone(o.TimeZone); err != nil {
			return nil, err
		}
	}
	q, err := ParseQueryString(query, o)
	if err != nil {
		return nil, err
	}
	return weighted(q, float64(b)), nil
}

// weighted is q with its score multiplied.
func weighted(q Query, by float64) Query {
	if by == 1 {
		return q
	}
	return &Bool{Boost: Boost(by), Must: []Query{q}}
}

// ParseQueryString reads Lucene's query syntax:
//
//	query   = { [ "AND" | "&&" | "OR" | "||" ] [ "+" | "-" | "!" | "NOT" ] clause }
//	clause  = [ field ":" ] ( word | phrase | regexp | range | compare | "(" query ")" ) [ "^" number ]
//	word    = characters, of which * and ? stand for others and \ takes the meaning from the next, [ "~" [ number ] ]
//	phrase  = '"' characters '"' [ "~" number ]
//	regexp  = "/" characters "/"
//	range   = ( "[" | "{" ) end "TO" end ( "]" | "}" )
//	compare = ( ">" | ">=" | "<" | "<=" ) word
//
// As in Lucene, AND and OR do not bind one stronger than the other: AND makes the
// clauses on both of its sides required, and OR leaves them as they are.
// Neighbouring words that nothing joins are one text.
func ParseQueryString(query string, o StringOptions) (Query, error) {
	tokens, err := lex(query)
	if err != nil {
		return nil, RefuseField("Failed to parse query [%s]: %v", cut(query), err)
	}
	s := &stringParser{tokens: tokens, next: tokens[0], o: o, fields: o.Fields}
	q, err := s.query(0)
	if err == nil && s.next.kind != endToken {
		err = s.unexpected()
	}
	if err != nil {
		return nil, RefuseField("Failed to parse query [%s]: %v", cut(query), err)
	}
	switch top := q.(type) {
	case *Bool:
		if o.Minimum.Given() && len(top.Should) > 0 {
			top.Minimum = o.Minimum
		}
	case *Match:
		top.Minimum = o.Minimum
	}
	return q, nil
}

type stringParser struct {
	tokens  []token // from next on; the last one is the end
	next    token
	o       StringOptions
	fields  []FieldBoost // those that hold here
	clauses int
}

// advance goes on to the next token. Behind the end is the end.
func (s *stringParser) advance() {
	if len(s.tokens) > 1 {
		s.tokens = s.tokens[1:]
	}
	s.next = s.tokens[0]
}

// behind is the kind of the token after the next one.
func (s *stringParser) behind() tokenKind {
	if len(s.tokens) > 1 {
		return s.tokens[1].kind
	}
	return endToken
}

func (s *stringParser) unexpected() error {
	if s.next.kind == endToken {
		return Refuse("something is missing at the end")
	}
	return Refuse("unexpected %q at character %d", cut(s.next.text), s.next.at+1)
}

// clause is a part of a query before it is known what joins it to the next.
type clause struct {
	query    Query
	required bool
	not      bool
}

// groupsMax bounds parentheses in parentheses.
const groupsMax = 50

func (s *stringParser) query(depth int) (Query, error) {
	if depth > groupsMax {
		return nil, Refuse("more than %d parentheses in one another", groupsMax)
	}
	var list []clause
	for s.next.kind != endToken && s.next.kind != closeToken {
		and, or := s.next.kind == andToken, s.next.kind == orToken
		if and || or {
			if len(list) == 0 {
				return nil, s.unexpected()
			}
			s.advance()
		}
		plus, minus := s.next.kind == plusToken, s.next.kind == minusToken
		if plus || minus {
			s.advance()
		}
		q, err := s.clause(depth, !plus && !minus && !and && !or)
		if err != nil {
			return nil, err
		}
		if s.clauses++; s.clauses > clausesMax {
			return nil, Refuse("more than %d clauses", clausesMax)
		}
		list = s.join(list, q, and, or, plus, minus)
	}
	return combine(list), nil
}

// join appends a clause as Lucene's classic parser does.
func (s *stringParser) join(list []clause, q Query, and, or, plus, minus bool) []clause {
	if last := len(list) - 1; last >= 0 && !list[last].not {
		if and {
			list[last].required = true
		}
		if or && s.o.Operator == And {
			list[last].required = false
		}
	}
	c := clause{query: q, not: minus}
	if s.o.Operator == And {
		c.required = !minus && !or
	} else {
		c.required = plus || (and && !minus)
	}
	return append(list, c)
}

func combine(list []clause) Query {
	if len(list) == 0 {
		return &MatchNone{Boost: 1}
	}
	if len(list) == 1 && !list[0].not {
		return list[0].query
	}
	b := &Bool{Boost: 1}
	for _, c := range list {
		switch {
		case c.not:
			b.MustNot = append(b.MustNot, c.query)
		case c.required:
			b.Must = append(b.Must, c.query)
		default:
			b.Should = append(b.Should, c.query)
		}
	}
	return b
}

// clause reads one clause, with its field and its boost. The token behind it is
// the next one then.
func (s *stringParser) clause(depth int, plain bool) (Query, error) {
	outer := s.fields
	defer func() { s.fields = outer }()
	if s.next.kind == wordToken && s.next.field {
		name := s.next.unescape()
		s.advance()
		if s.next.kind == wordToken && s.next.field {
			return nil, s.unexpected()
		}
		if name == "_exists_" {
			return s.exists()
		}
		if name == "*" && s.next.kind == wordToken && s.next.text == "*" {
			s.advance()
			return s.boosted(&MatchAll{Boost: 1}), nil
		}
		s.fields = []FieldBoost{{name, 1}}
		plain = false
	}
	switch s.next.kind {
	case wordToken:
		return s.word(plain)
	case phraseToken:
		return s.phrase()
	case regexpToken:
		pattern := s.next.text
		s.advance()
		return s.boosted(s.over(func(field string) Query {
			return &Regexp{Boost: 1, Field: field, Pattern: pattern, StatesMax: regexpStates, Analyzed: true}
		})), nil
	case rangeToken:
		return s.ranges()
	case compareToken:
		return s.compare()
	case openToken:
		s.advance()
		q, err := s.query(depth + 1)
		if err != nil {
			return nil, err
		}
		if s.next.kind != closeToken {
			return nil, Refuse("a parenthesis is not closed")
		}
		s.advance()
		return s.boosted(q), nil
	}
	return nil, s.unexpected()
}

// boosted takes the ^2 behind a clause, when there is one.
func (s *stringParser) boosted(q Query) Query {
	if s.next.kind != boostToken {
		return q
	}
	b := s.next.number
	s.advance()
	return weighted(q, b)
}

// over asks of each field that holds here.
func (s *stringParser) over(ask func(field string) Query) Query {
	if len(s.fields) == 1 && s.fields[0].Boost == 1 && !strings.Contains(s.fields[0].Field, "*") {
		return ask(s.fields[0].Field)
	}
	lenient := s.o.Lenient
	for _, f := range s.fields {
		lenient = lenient || strings.Contains(f.Field, "*")
	}
	return &OverFields{Boost: 1, Fields: s.fields, TieBreaker: s.o.TieBreaker, Lenient: lenient, For: ask}
}

func (s *stringParser) exists() (Query, error) {
	if s.next.kind != wordToken && s.next.kind != phraseToken {
		return nil, s.unexpected()
	}
	name := s.next.unescape()
	s.advance()
	if strings.Contains(name, "*") {
		return s.boosted(&OverFields{Boost: 1, Fields: []FieldBoost{{name, 1}}, Lenient: true,
			For: func(field string) Query { return &Exists{Boost: 1, Field: field} }}), nil
	}
	return s.boosted(&Exists{Boost: 1, Field: name}), nil
}

// word reads a word, and when it is plain those behind it that are plain too.
func (s *stringParser) word(plain bool) (Query, error) {
	w := s.next
	if w.wild {
		return s.wild(w)
	}
	words := w.unescape()
	s.advance()
	if s.next.kind == fuzzyToken {
		return s.fuzzy(words)
	}
	for plain && s.next.kind == wordToken && !s.next.field && !s.next.wild {
		switch s.behind() {
		case fuzzyToken, boostToken, andToken, orToken: // they are for the last word alone
			plain = false
			continue
		}
		words += " " + s.next.unescape()
		s.advance()
	}
	q := s.text(words)
	return s.boosted(q), nil
}

func (s *stringParser) text(words string) Query {
	o := s.o
	return s.over(func(field string) Query {
		return &Match{Boost: 1, Field: field, Text: words, Operator: o.Operator, Analyzer: o.Analyzer, Lenient: o.Lenient}
	})
}

func (s *stringParser) phrase() (Query, error) {
	words, slop := s.next.unescape(), s.o.PhraseSlop
	s.advance()
	if s.next.kind == fuzzyToken {
		if s.next.number > slopMax {
			return nil, Refuse("a slop above %d", slopMax)
		}
		if s.next.given {
			slop = int(s.next.number)
		}
		s.advance()
	}
	analyzer, lenient := s.o.Analyzer, s.o.Lenient
	q := s.over(func(field string) Query {
		return &MatchPhrase{Boost: 1, Field: field, Text: words, Slop: slop, Analyzer: analyzer, Lenient: lenient}
	})
	return s.boosted(q), nil
}
