// Package analysis turns texts into the terms that are indexed and searched.
//
// The same analyzer has to be used for both. It is pure: the same bytes give the
// same terms, in any build; a change of that is a change of the split format.
package analysis

import (
	"fmt"
	"slices"

	"github.com/blevesearch/snowballstem"
)

// Analyzer is a way to make terms of texts. It is immutable.
type Analyzer struct {
	name string
	cut  func(text []byte, at int) (start, end, next int)
	stop map[string]bool
	stem func(*snowballstem.Env) bool
}

// Token is a term where it stands in a text.
type Token struct {
	Term       []byte
	Position   uint32 // counts words from 0, also those that are not indexed
	Start, End int    // bytes of the text
}

// TermBytesMax is the longest term. What is longer is cut into several, as in
// Elasticsearch.
const TermBytesMax = 255

// ByName returns an analyzer of the topic configuration: standard, simple,
// keyword, or an ISO 639-1 language.
func ByName(name string) (*Analyzer, error) {
	switch name {
	case "standard":
		return &Analyzer{name: name, cut: word}, nil
	case "simple":
		return &Analyzer{name: name, cut: letters}, nil
	case "keyword":
		return &Analyzer{name: name}, nil
	}
	if l, ok := languages[name]; ok {
		return &Analyzer{name: name, cut: word, stop: stopWords(name), stem: l.stem}, nil
	}
	return nil, fmt.Errorf("analyzer %q: want standard, simple, keyword or one of the languages %v", name, Languages())
}

// Languages lists the languages, by their ISO 639-1 codes.
func Languages() []string {
	var all []string
	for code := range languages {
		all = append(all, code)
	}
	slices.Sort(all)
	return all
}

// Name is what ByName was given.
func (a *Analyzer) Name() string { return a.name }

// Analyze returns the tokens of a text.
func (a *Analyzer) Analyze(text []byte) []Token {
	var tokens []Token
	for s := a.Stream(text); s.Next(); {
		token := s.Token
		token.Term = slices.Clone(token.Term)
		tokens = append(tokens, token)
	}
	return tokens
}

// Stream walks the tokens of one text after another. It is for one goroutine.
type Stream struct {
	Token // the current one; its term is good until Next

	analyzer *Analyzer
	text     []byte
	at       int // in text
	words    uint32
	lower    []byte
	rest     []byte // of a word that is longer than a term may be
	stems    stems
}

// Stream returns a stream over a text.
func (a *Analyzer) Stream(text []byte) *Stream {
	s := &Stream{analyzer: a}
	s.Reset(text)
	return s
}

// Reset begins another text.
func (s *Stream) Reset(text []byte) {
	s.text, s.at, s.words, s.rest = text, 0, 0, nil
}

// Next goes to the next token; false at the end.
func (s *Stream) Next() bool {
	for {
		if len(s.rest) == 0 && !s.word() {
			return false
		}
		s.piece()
		s.Position = s.words
		s.words++
		if s.analyzer.stop[string(s.Term)] {
			continue
		}
		if s.analyzer.stem != nil {
			s.Term = s.stems.of(s.Term, s.analyzer.stem)
		}
		return true
	}
}

// word reads the next word of the text into rest, in lower case.
func (s *Stream) word() bool {
	if s.analyzer.cut == nil { // the text is the word
		s.Start, s.End, s.rest, s.text = s.at, len(s.text), s.text, nil
		return len(s.rest) > 0
	}
	start, end, next := s.analyzer.cut(s.text, s.at)
	if s.at = next; start == end {
		return false
	}
	s.Start, s.End = start, end
	s.lower = appendLower(s.lower[:0], s.text[start:end])
	s.rest = s.lower
	return true
}

// piece cuts the next term off rest, between two characters.
func (s *Stream) piece() {
	n := min(len(s.rest), TermBytesMax)
	if n < len(s.rest) {
		for n > TermBytesMax-3 && s.rest[n]&0xC0 == 0x80 {
			n--
		}
	}
	s.Term, s.rest = s.rest[:n], s.rest[n:]
}
