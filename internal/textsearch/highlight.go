package textsearch

import (
	"cmp"
	"encoding/json"
	"html"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// marks are what a query looks for in texts, for highlighting. A nil one takes
// no notes.
type marks struct {
	terms    map[textindex.Field]map[string]bool
	patterns map[textindex.Field][]textindex.Automaton
	phrases  []phraseMark
}

// phraseMark is a phrase: its slots, and the terms that may stand in each.
type phraseMark struct {
	field textindex.Field
	slots []slot
	words []map[string]bool
	loose bool // it has slop
}

func (m *marks) term(f textindex.Field, term []byte) {
	if m == nil {
		return
	}
	if m.terms == nil {
		m.terms = map[textindex.Field]map[string]bool{}
	}
	if m.terms[f] == nil {
		m.terms[f] = map[string]bool{}
	}
	m.terms[f][string(term)] = true
}

func (m *marks) pattern(f textindex.Field, a textindex.Automaton) {
	if m == nil {
		return
	}
	if m.patterns == nil {
		m.patterns = map[textindex.Field][]textindex.Automaton{}
	}
	m.patterns[f] = append(m.patterns[f], a)
}

func (m *marks) phrase(p phraseMark, t *termTable) {
	if m == nil {
		return
	}
	for _, s := range p.slots {
		words := map[string]bool{}
		for _, n := range s.numbers {
			words[t.terms[n].term] = true
		}
		p.words = append(p.words, words)
	}
	m.phrases = append(m.phrases, p)
}

// mark is a part of a text that matches, in bytes.
type mark struct{ start, end int }

// highlight shows where a hit matches.
func (x *execution) highlight(p *Part, h *Hit) map[string][]string {
	c := x.compiled[p.Analyzer]
	texts := textsOf(h.Value)
	out := map[string][]string{}
	for i, f := range x.request.Highlight.Fields {
		for _, t := range texts {
			shown := t.name
			if !textquery.MatchPattern(f.Field, t.name) {
				if f.Field != t.name+keywordSuffix && !x.schema.everywhere(f.Field) {
					continue
				}
				if f.Field == t.name+keywordSuffix {
					shown = f.Field
				}
			}
			if fragments := c.shown[i].fragments(p, t, f.HighlightStyle); len(fragments) > 0 {
				out[shown] = append(out[shown], fragments...)
			}
		}
	}
	for i := range x.request.Highlight.Fields {
		f := &x.request.Highlight.Fields[i]
		for name, list := range out {
			if textquery.MatchPattern(f.Field, name) && f.Fragments > 0 && len(list) > f.Fragments {
				out[name] = list[:f.Fragments]
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// namedText is a text of a record.
type namedText struct{ name, text string }

// textsOf are the texts of a record: those of a JSON object by their paths, or
// the value as it is.
func textsOf(value []byte) []namedText {
	var object map[string]any
	if json.Unmarshal(value, &object) != nil {
		return []namedText{{textindex.FieldValue.Name, string(value)}}
	}
	var all []namedText
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case string:
			all = append(all, namedText{path, v})
		case []any:
			for _, item := range v {
				walk(path, item)
			}
		case map[string]any:
			for name, member := range v {
				if path != "" {
					name = path + "." + name
				} else if strings.HasPrefix(name, "_") {
					name = textindex.NamePrefix + name
				}
				walk(name, member)
			}
		}
	}
	walk("", map[string]any(object))
	slices.SortStableFunc(all, func(a, b namedText) int { return strings.Compare(a.name, b.name) })
	return all
}

// fragments are the parts of a text that a client gets to see.
func (m *marks) fragments(p *Part, t namedText, s textquery.HighlightStyle) []string {
	marked := m.find(p, t, s.OtherFields)
	if len(marked) == 0 {
		if s.NoMatchSize == 0 {
			return nil
		}
		return []string{render(t.text, mark{0, wordEnd(t.text, s.NoMatchSize)}, nil, s)}
	}
	if s.Fragments == 0 || s.FragmentSize == 0 {
		return []string{render(t.text, mark{0, len(t.text)}, marked, s)}
	}
	parts := pieces(t.text, marked, s.FragmentSize)
	if s.ByScore {
		slices.SortStableFunc(parts, func(a, b piece) int { return b.marks - a.marks })
	}
	var out []string
	for _, part := range parts[:min(len(parts), s.Fragments)] {
		out = append(out, render(t.text, part.mark, marked, s))
	}
	return out
}

// find is what of a text matches, in order.
func (m *marks) find(p *Part, t namedText, others bool) []mark {
	tokens := p.Analyzer.Analyze([]byte(t.text))
	matches := func(f textindex.Field, term []byte) bool {
		if m.terms[f][string(term)] {
			return true
		}
		return slices.ContainsFunc(m.patterns[f], func(a textindex.Automaton) bool { return accepts(a, term) })
	}
	relevant := func(f textindex.Field) bool { return others || f.Name == t.name }
	fields := map[textindex.Field]bool{}
	for f := range m.terms {
		fields[f] = relevant(f)
	}
	for f := range m.patterns {
		fields[f] = relevant(f)
	}
	var found []mark
	for f, asked := range fields {
		switch {
		case !asked:
		case f.Kind == textindex.Keyword:
			if matches(f, []byte(t.text)) {
				found = append(found, mark{0, len(t.text)})
			}
		default:
			for _, token := range tokens {
				if matches(f, token.Term) {
					found = append(found, mark{token.Start, token.End})
				}
			}
		}
	}
	for _, phrase := range m.phrases {
		if relevant(phrase.field) {
			found = append(found, phrase.find(tokens)...)
		}
	}
	return tidyMarks(found)
}

// find is where a text has a phrase. Of a phrase with slop all of its words count,
// wherever they are: the hit has them near one another.
func (p *phraseMark) find(tokens []analysis.Token) []mark {
	var found []mark
	at := map[uint32]analysis.Token{}
	for _, t := range tokens {
		at[t.Position] = t
	}
	for _, t := range tokens {
		var whole []mark
		for i, s := range p.slots {
			other, ok := at[t.Position+s.position-p.slots[0].position]
			if !ok || !p.words[i][string(other.Term)] {
				whole = nil
				break
			}
			whole = append(whole, mark{other.Start, other.End})
		}
		found = append(found, whole...)
	}
	if p.loose {
		for _, t := range tokens {
			if slices.ContainsFunc(p.words, func(w map[string]bool) bool { return w[string(t.Term)] }) {
				found = append(found, mark{t.Start, t.End})
			}
		}
	}
	return found
}

// tidyMarks puts marks in order, and makes one of those that overlap.
func tidyMarks(found []mark) []mark {
	slices.SortFunc(found, func(a, b mark) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	var out []mark
	for _, m := range found {
		if n := len(out); n > 0 && m.start < out[n-1].end {
			out[n-1].end = max(out[n-1].end, m.end)
			continue
		}
		out = append(out, m)
	}
	return out
}

// piece is a part of a text, with how many marks are in it.
type piece struct {
	mark
	marks int
}

// pieces cuts a text around its marks, at the ends of words.
func pieces(text string, marked []mark, size int) []piece {
	var out []piece
	for _, m := range marked {
		if n := len(out); n > 0 && m.end <= out[n-1].end {
			out[n-1].marks++
			continue
		}
		low := 0
		if n := len(out); n > 0 {
			low = out[n-1].end
		}
		// A quarter of the piece before the mark, so that it is seen in context.
		start := max(low, wordStart(text, m.start-size/4))
		start = min(start, m.start)
		end := max(m.end, start+wordEnd(text[start:], size))
		out = append(out, piece{mark{start, end}, 1})
	}
	return out
}

// wordStart is the beginning of a word, at or after a byte of the text.
func wordStart(text string, at int) int {
	if at <= 0 {
		return 0
	}
	if space := strings.IndexAny(text[at-1:], " \t\r\n"); space >= 0 {
		return at + space
	}
	return len(text)
}

// wordEnd is how many bytes are up to the end of the last word that begins within
// so many.
func wordEnd(text string, size int) int {
	if size >= len(text) {
		return len(text)
	}
	if space := strings.IndexAny(text[size:], " \t\r\n"); space >= 0 {
		return size + space
	}
	return len(text)
}

// render is a part of a text with its marks.
func render(text string, part mark, marked []mark, s textquery.HighlightStyle) string {
	escape := func(t string) string { return t }
	if s.HTML {
		escape = html.EscapeString
	}
	var b strings.Builder
	at := part.start
	first, _ := slices.BinarySearchFunc(marked, part.start, func(m mark, at int) int { return cmp.Compare(m.start, at) })
	for _, m := range marked[first:] {
		if m.end > part.end { // so do those behind it
			break
		}
		b.WriteString(escape(text[at:m.start]))
		b.WriteString(s.Pre)
		b.WriteString(escape(text[m.start:m.end]))
		b.WriteString(s.Post)
		at = m.end
	}
	b.WriteString(escape(text[at:part.end]))
	return b.String()
}

// accepts runs an automaton over a term.
func accepts(a textindex.Automaton, term []byte) bool {
	state := a.Start()
	for _, b := range term {
		if !a.CanMatch(state) {
			return false
		}
		state = a.Accept(state, b)
	}
	return a.IsMatch(state)
}
