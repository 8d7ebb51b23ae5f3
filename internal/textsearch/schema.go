package textsearch

import (
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// schema is what fields there are in any of the parts.
type schema struct {
	fields map[string][]textindex.Field // by name; kinds rise
	stats  map[textindex.Field]textindex.Stats
	names  []string // sorted
}

func newSchema(parts []Part) *schema {
	s := &schema{fields: map[string][]textindex.Field{}, stats: map[textindex.Field]textindex.Stats{}}
	for _, p := range parts {
		for _, f := range p.Split.Fields() {
			sum, known := s.stats[f.Field]
			if !known {
				sum.Field = f.Field
				s.fields[f.Name] = append(s.fields[f.Name], f.Field)
			}
			sum.Documents += f.Documents
			sum.Terms += f.Terms
			s.stats[f.Field] = sum
		}
	}
	for name, kinds := range s.fields {
		slices.SortFunc(kinds, func(a, b textindex.Field) int { return int(a.Kind) - int(b.Kind) })
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	return s
}

// keywordSuffix is what Elasticsearch calls the unanalysed form of a text by.
const keywordSuffix = ".keyword"

// resolve is what a name in a query stands for: the field in all of its kinds, or
// with .keyword behind it the keyword alone.
func (s *schema) resolve(name string) []textindex.Field {
	if kinds, ok := s.fields[name]; ok {
		return kinds
	}
	if base, ok := strings.CutSuffix(name, keywordSuffix); ok {
		f := textindex.Field{Name: base, Kind: textindex.Keyword}
		if _, ok := s.stats[f]; ok {
			return []textindex.Field{f}
		}
	}
	return nil
}

// kind is the field of a name and kind, when there is one.
func (s *schema) kind(name string, kind textindex.Kind) (textindex.Field, bool) {
	for _, f := range s.resolve(name) {
		if f.Kind == kind {
			return f, true
		}
	}
	return textindex.Field{}, false
}

// searched is what a text query of a name looks in: the text, and where there is
// none the keyword, together with what is no text.
func (s *schema) searched(name string) []textindex.Field {
	kinds := s.resolve(name)
	if slices.ContainsFunc(kinds, func(f textindex.Field) bool { return f.Kind == textindex.Text }) {
		return slices.DeleteFunc(slices.Clone(kinds), func(f textindex.Field) bool { return f.Kind == textindex.Keyword })
	}
	return kinds
}

// everywhere reports a name that stands for all texts.
func (s *schema) everywhere(name string) bool {
	switch name {
	case textquery.AllText, "*":
		return true
	case "_value":
		return true // the whole value of a JSON object is all of its texts
	case "value":
		return s.fields[name] == nil
	}
	return false
}

// texts are all text fields.
func (s *schema) texts() []textindex.Field {
	var all []textindex.Field
	for _, name := range s.names {
		if f, ok := s.kind(name, textindex.Text); ok {
			all = append(all, f)
		}
	}
	return all
}

// expand are the names that a pattern stands for, with what they weigh.
func (s *schema) expand(fields []textquery.FieldBoost) []textquery.FieldBoost {
	var all []textquery.FieldBoost
	for _, f := range fields {
		if !strings.Contains(f.Field, "*") || s.everywhere(f.Field) {
			all = append(all, f)
			continue
		}
		for _, name := range s.names {
			if textquery.MatchPattern(f.Field, name) && !strings.HasPrefix(name, "_") {
				all = append(all, textquery.FieldBoost{Field: name, Boost: f.Boost})
			}
		}
	}
	return all
}
