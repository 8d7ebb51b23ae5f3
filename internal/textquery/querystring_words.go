package textquery

import "strings"

// wild reads a word with * or ? in it.
func (s *stringParser) wild(w token) (Query, error) {
	s.advance()
	pattern := w.text
	if pattern == "*" {
		return s.boosted(s.over(func(field string) Query {
			if field == AllText {
				return &MatchAll{Boost: 1}
			}
			return &Exists{Boost: 1, Field: field}
		})), nil
	}
	if s.o.NoLeadingStar && (pattern[0] == '*' || pattern[0] == '?') {
		return nil, Refuse("'*' or '?' not allowed as first character, by [allow_leading_wildcard]")
	}
	if begin, ok := strings.CutSuffix(pattern, "*"); ok && !wildIn(begin) {
		begin, words := unescape(begin), s.o.AnalyzeWildcard
		return s.boosted(s.over(func(field string) Query {
			return &Prefix{Boost: 1, Field: field, Text: begin, Analyzed: true, Words: words}
		})), nil
	}
	return s.boosted(s.over(func(field string) Query {
		return &Wildcard{Boost: 1, Field: field, Pattern: pattern, Analyzed: true}
	})), nil
}

// fuzzy reads the ~ behind a word, and what follows it: a number of edits or,
// below 1, a share of the word that has to be equal.
func (s *stringParser) fuzzy(word string) (Query, error) {
	expand := s.o.Expand
	if s.next.given {
		n := s.next.number
		if n > 0 && n < 1 {
			n = float64(int((1 - n) * float64(len([]rune(word)))))
		}
		expand.Fuzziness = Fuzziness{Edits: min(2, int(n))}
	}
	s.advance()
	return s.boosted(s.over(func(field string) Query {
		return &Fuzzy{Boost: 1, Field: field, Text: word, Expand: expand, Analyzed: true}
	})), nil
}

func (s *stringParser) ranges() (Query, error) {
	t := s.next
	s.advance()
	zone := s.o.TimeZone
	end := func(text string, inclusive bool) *Bound {
		if text == "*" {
			return nil
		}
		return &Bound{Value{StringValue, unescape(text)}, inclusive}
	}
	low, high := end(t.low, t.lowIn), end(t.high, t.highIn)
	return s.boosted(s.over(func(field string) Query {
		return &Range{Boost: 1, Field: field, Low: low, High: high, TimeZone: zone}
	})), nil
}

func (s *stringParser) compare() (Query, error) {
	op := s.next.text
	s.advance()
	if s.next.kind != wordToken && s.next.kind != phraseToken {
		return nil, s.unexpected()
	}
	bound := &Bound{Value{StringValue, s.next.unescape()}, strings.HasSuffix(op, "=")}
	s.advance()
	zone := s.o.TimeZone
	return s.boosted(s.over(func(field string) Query {
		q := &Range{Boost: 1, Field: field, TimeZone: zone}
		if op[0] == '>' {
			q.Low = bound
		} else {
			q.High = bound
		}
		return q
	})), nil
}
