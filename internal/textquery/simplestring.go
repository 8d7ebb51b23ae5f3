package textquery

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// SimpleOptions are the parameters of simple_query_string.
type SimpleOptions struct {
	Fields          []FieldBoost
	Operator        Operator
	Minimum         MinimumMatch
	Analyzer        string
	Lenient         bool
	Expand          Expansion
	AnalyzeWildcard bool
	Without         map[string]bool // operators that are plain characters here
}

// simpleOperators are the flags of simple_query_string, each an operator.
var simpleOperators = []string{"AND", "ESCAPE", "FUZZY", "NOT", "OR", "PHRASE", "PRECEDENCE", "PREFIX", "SLOP", "WHITESPACE"}

func (p *parser) simpleQueryString(n *node) (Query, error) {
	o := SimpleOptions{Expand: newExpansion(), Without: map[string]bool{}}
	o.Expand.Fuzziness = Fuzziness{Edits: 2}
	var query string
	var b Boost = 1
	err := n.params("simple_query_string", setters{
		"query": text(&query), "fields": fields(&o.Fields), "default_operator": oneOf(&o.Operator, operators),
		"minimum_should_match": minimum(&o.Minimum), "analyzer": text(&o.Analyzer), "lenient": boolean(&o.Lenient),
		"fuzzy_prefix_length":  integer(&o.Expand.PrefixLength, 0, 1000),
		"fuzzy_max_expansions": integer(&o.Expand.Terms, 1, expansionsMax),
		"fuzzy_transpositions": boolean(&o.Expand.Transpositions), "analyze_wildcard": boolean(&o.AnalyzeWildcard), "boost": boost(&b),
		"flags": func(n *node) error { return o.flags(n) },
	})
	if err != nil {
		return nil, err
	}
	if len(o.Fields) == 0 {
		o.Fields = []FieldBoost{{AllText, 1}}
	}
	if len(query) > queryBytesMax {
		return nil, n.fail("the query has %d bytes, at most %d", len(query), queryBytesMax)
	}
	return weighted(ParseSimple(query, o), float64(b)), nil
}

func (o *SimpleOptions) flags(n *node) error {
	on := map[string]bool{}
	for _, flag := range strings.Split(strings.ToUpper(n.text), "|") {
		switch flag = strings.TrimSpace(flag); flag {
		case "ALL":
			for _, op := range simpleOperators {
				on[op] = true
			}
		case "NONE":
		case "NEAR":
			on["SLOP"] = true
		default:
			known := false
			for _, op := range simpleOperators {
				known = known || op == flag
			}
			if !known {
				return n.fail("unknown flag %q; there are ALL, NONE and %v", cut(flag), simpleOperators)
			}
			on[flag] = true
		}
	}
	for _, op := range simpleOperators {
		o.Without[op] = !on[op]
	}
	return nil
}

// ParseSimple reads the syntax of simple_query_string. Every text is a query:
//
//   - between clauses says that both have to match, and | that one is enough
//   - before a clause says that it must not match
//     "" around words make a phrase; ~N behind it allows for N moves
//   - behind a word makes it a prefix; ~N behind it allows for N edits
//     () group
//     \  takes the meaning from the next character
//
// What is not closed, or has nothing to work on, is left out.
func ParseSimple(query string, o SimpleOptions) Query {
	s := &simpleParser{runes: []rune(query), o: o}
	q := s.group(0)
	if q == nil {
		return &MatchNone{Boost: 1}
	}
	if top, ok := q.(*Bool); ok && len(top.Should) > 0 {
		top.Minimum = o.Minimum
	}
	return q
}

type simpleParser struct {
	runes []rune
	at    int
	o     SimpleOptions
}

// group reads clauses up to the end, or to the parenthesis that closes the
// group. An operator other than the one before makes all so far one clause.
func (s *simpleParser) group(depth int) Query {
	var top Query
	var joined, next *Operator // what joined the clauses so far; what was written since
	and, or := And, Or
	not := false
	for s.at < len(s.runes) {
		c := s.runes[s.at]
		switch {
		case c == ')' && depth > 0 && !s.o.Without["PRECEDENCE"]:
			return top // its opener takes the parenthesis
		case s.space(c), c == ')' && !s.o.Without["PRECEDENCE"]:
			s.at++
			if s.space(c) {
				not = false
			}
			continue
		case c == '+' && !s.o.Without["AND"]:
			s.at++
			if top != nil && next == nil {
				next = &and
			}
			continue
		case c == '|' && !s.o.Without["OR"]:
			s.at++
			if top != nil && next == nil {
				next = &or
			}
			continue
		case c == '-' && !s.o.Without["NOT"]:
			s.at++
			not = !not
			continue
		}
		q := s.clause(c, depth)
		if q == nil {
			continue
		}
		if not {
			q, not = &Bool{Boost: 1, MustNot: []Query{q}}, false
		}
		if next == nil {
			next = &s.o.Operator
		}
		top, joined, next = joinSimple(top, q, joined, next), next, nil
	}
	return top
}

func joinSimple(top, q Query, joined, by *Operator) Query {
	if top == nil {
		return q
	}
	b, same := top.(*Bool)
	if joined == nil || *joined != *by || !same || len(b.MustNot) > 0 {
		b = &Bool{Boost: 1}
		if *by == And {
			b.Must = []Query{top}
		} else {
			b.Should = []Query{top}
		}
	}
	if *by == And {
		b.Must = append(b.Must, q)
	} else {
		b.Should = append(b.Should, q)
	}
	return b
}

func (s *simpleParser) space(c rune) bool {
	return unicode.IsSpace(c) && !s.o.Without["WHITESPACE"]
}

func (s *simpleParser) clause(c rune, depth int) Query {
	switch {
	case c == '(' && !s.o.Without["PRECEDENCE"]:
		s.at++
		if depth >= groupsMax {
			return nil
		}
		q := s.group(depth + 1)
		if s.at < len(s.runes) {
			s.at++ // the parenthesis that closes
		}
		return q
	case c == '"' && !s.o.Without["PHRASE"]:
		return s.phrase()
	}
	return s.word()
}

func (s *simpleParser) phrase() Query {
	start := s.at + 1
	var words []rune
	for i := start; i < len(s.runes); i++ {
		switch c := s.runes[i]; {
		case c == '\\' && !s.o.Without["ESCAPE"] && i+1 < len(s.runes):
			i++
			words = append(words, s.runes[i])
		case c == '"':
			s.at = i + 1
			slop := 0
			if n, given := s.tilde("SLOP"); given {
				slop = n
			}
			return s.over(func(field string) Query {
				return &MatchPhrase{Boost: 1, Field: field, Text: string(words), Slop: slop, Analyzer: s.o.Analyzer, Lenient: s.o.Lenient}
			})
		default:
			words = append(words, c)
		}
	}
	s.at = start // not closed: the quote means nothing
	return nil
}

// tilde reads ~N, where it means something.
func (s *simpleParser) tilde(operator string) (int, bool) {
	if s.o.Without[operator] || s.at >= len(s.runes) || s.runes[s.at] != '~' {
		return 0, false
	}
	n, i := 0, s.at+1
	for i < len(s.runes) && s.runes[i] >= '0' && s.runes[i] <= '9' {
		n = min(n*10+int(s.runes[i]-'0'), slopMax)
		i++
	}
	if i < len(s.runes) && !unicode.IsSpace(s.runes[i]) && s.runes[i] != ')' {
		return 0, false
	}
	given := i > s.at+1
	s.at = i
	if !given {
		n = 2 // as Lucene has it
	}
	return n, true
}

func (s *simpleParser) word() Query {
	var word []rune
	prefix := false
	for s.at < len(s.runes) {
		c := s.runes[s.at]
		if c == '\\' && !s.o.Without["ESCAPE"] {
			s.at++
			if s.at < len(s.runes) {
				word = append(word, s.runes[s.at])
				s.at++
			}
			prefix = false
			continue
		}
		if s.ends(c) {
			break
		}
		if c == '~' && len(word) > 0 {
			if n, ok := s.tilde("FUZZY"); ok {
				return s.fuzzy(string(word), n)
			}
		}
		prefix = c == '*' && !s.o.Without["PREFIX"]
		word = append(word, c)
		s.at++
	}
	text := string(word)
	switch {
	case prefix && len(word) == 1:
		return &MatchAll{Boost: 1}
	case prefix:
		_, last := utf8.DecodeLastRuneInString(text)
		begin := text[:len(text)-last]
		return s.over(func(field string) Query {
			return &Prefix{Boost: 1, Field: field, Text: begin, Analyzed: true, Words: s.o.AnalyzeWildcard}
		})
	case text == "":
		return nil
	}
	return s.over(func(field string) Query {
		return &Match{Boost: 1, Field: field, Text: text, Operator: s.o.Operator, Analyzer: s.o.Analyzer, Lenient: s.o.Lenient}
	})
}

// ends reports a character that a word ends before.
func (s *simpleParser) ends(c rune) bool {
	switch c {
	case '"':
		return !s.o.Without["PHRASE"]
	case '|':
		return !s.o.Without["OR"]
	case '+':
		return !s.o.Without["AND"]
	case '(', ')':
		return !s.o.Without["PRECEDENCE"]
	}
	return s.space(c)
}

func (s *simpleParser) fuzzy(word string, edits int) Query {
	expand := s.o.Expand
	expand.Fuzziness.Edits = min(2, edits)
	return s.over(func(field string) Query {
		return &Fuzzy{Boost: 1, Field: field, Text: word, Expand: expand, Analyzed: true}
	})
}

func (s *simpleParser) over(ask func(field string) Query) Query {
	if len(s.o.Fields) == 1 && s.o.Fields[0].Boost == 1 && !strings.Contains(s.o.Fields[0].Field, "*") {
		return ask(s.o.Fields[0].Field)
	}
	return &OverFields{Boost: 1, Fields: s.o.Fields, TieBreaker: 1, Lenient: true, For: ask}
}
