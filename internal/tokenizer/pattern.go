package tokenizer

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is what a tokenizer looks for: a text, or a regular expression in the
// dialect of Oniguruma.
type pattern struct {
	String *string
	Regex  *string
}

// finder gives the first match that begins at from or later, -1 if there is
// none. A match is never empty.
type finder func(text string, from int) (first, next int)

func (p pattern) compile() (finder, error) {
	switch {
	case p.String != nil && *p.String != "":
		return findText(*p.String), nil
	case p.Regex != nil:
		return findRegex(*p.Regex)
	}
	return nil, fmt.Errorf("an empty pattern: %w", ErrUnsupported)
}

func findText(part string) finder {
	return func(text string, from int) (int, int) {
		i := strings.Index(text[from:], part)
		if i < 0 {
			return -1, -1
		}
		return from + i, from + i + len(part)
	}
}

func findRune(is func(r rune) bool) finder {
	return func(text string, from int) (int, int) {
		i := strings.IndexFunc(text[from:], is)
		if i < 0 {
			return -1, -1
		}
		_, n := utf8.DecodeRuneInString(text[from+i:])
		return from + i, from + i + n
	}
}

// gpt2 are the words of GPT-2, which byte-level tokenizers cut unless they say
// otherwise.
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// blanks is the one look ahead that the tokenizers of large models use: of a run
// of spaces the last belongs to the word after it. Go's expressions have none,
// so a group marks the run and the match is shortened afterwards.
const (
	blanks       = `\s+(?!\S)|\s+`
	blanksMarked = `(?P<blanks>\s+)`
)

// findRegex compiles an expression whose classes are Unicode's. What Go's
// syntax does not have is refused.
func findRegex(expression string) (finder, error) {
	translated := strings.Replace(expression, blanks, blanksMarked, 1)
	compiled, err := regexp.Compile(unicodeClasses(translated))
	if err != nil {
		return nil, fmt.Errorf("the pattern %q (%v): %w", expression, err, ErrUnsupported)
	}
	group := compiled.SubexpIndex("blanks")
	return func(text string, from int) (int, int) {
		for {
			match := compiled.FindStringSubmatchIndex(text[from:])
			if match == nil {
				return -1, -1
			}
			first, next := from+match[0], from+match[1]
			if first == next {
				if next == len(text) {
					return -1, -1
				}
				_, n := utf8.DecodeRuneInString(text[next:])
				from = next + n
				continue
			}
			if group > 0 && match[2*group] >= 0 && next < len(text) {
				if _, n := utf8.DecodeLastRuneInString(text[first:next]); next-n > first {
					next -= n
				}
			}
			return first, next
		}
	}, nil
}

const (
	spaceClass = `\t-\r\x{85}\p{Z}`
	wordClass  = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}`
)

// unicodeClasses writes \s, \w and \d, which Go takes for ASCII's, as Unicode's.
func unicodeClasses(expression string) string {
	var out strings.Builder
	class := false // within [ ]
	for i := 0; i < len(expression); i++ {
		c := expression[i]
		switch {
		case c == '[' && !class:
			class = true
		case c == ']' && class:
			class = false
		case c == '\\' && i+1 < len(expression):
			i++
			switch expression[i] {
			case 's':
				writeClass(&out, spaceClass, "", class)
				continue
			case 'S':
				if !class {
					writeClass(&out, spaceClass, "^", class)
					continue
				}
			case 'w':
				writeClass(&out, wordClass, "", class)
				continue
			case 'd':
				out.WriteString(`\p{Nd}`)
				continue
			}
			out.WriteByte(c)
			c = expression[i]
		}
		out.WriteByte(c)
	}
	return out.String()
}

func writeClass(out *strings.Builder, members, not string, within bool) {
	if within {
		out.WriteString(members)
		return
	}
	out.WriteString("[" + not + members + "]")
}

// behavior is what becomes of the places that a pattern matches.
type behavior string

const (
	removed            behavior = "Removed"
	isolated           behavior = "Isolated"
	mergedWithPrevious behavior = "MergedWithPrevious"
	mergedWithNext     behavior = "MergedWithNext"
	contiguous         behavior = "Contiguous"
)

func (b behavior) known() bool {
	switch b {
	case removed, isolated, mergedWithPrevious, mergedWithNext, contiguous:
		return true
	}
	return false
}

// segment is a part of a text that matches a pattern, or lies between matches.
type segment struct {
	first, next int
	match       bool
}

// cutAt cuts a text at what a pattern finds.
func cutAt(find finder, b behavior, invert bool) cutter {
	return func(words []string, text string, _ bool) []string {
		var segments []segment
		for from := 0; from < len(text); {
			first, next := find(text, from)
			if first < 0 {
				first, next = len(text), len(text)
			}
			if first > from {
				segments = append(segments, segment{from, first, invert})
			}
			if next > first {
				segments = append(segments, segment{first, next, !invert})
			}
			from = next
		}
		for _, s := range b.apply(segments) {
			words = append(words, text[s.first:s.next])
		}
		return words
	}
}

// apply joins segments, and drops those that are not wanted.
func (b behavior) apply(segments []segment) []segment {
	out := segments[:0]
	switch b {
	case removed:
		for _, s := range segments {
			if !s.match {
				out = append(out, s)
			}
		}
	case isolated:
		return segments
	case contiguous:
		for _, s := range segments {
			if n := len(out); n > 0 && out[n-1].match == s.match {
				out[n-1].next = s.next
				continue
			}
			out = append(out, s)
		}
	case mergedWithPrevious:
		matched := false // the segment before
		for _, s := range segments {
			if n := len(out); n > 0 && s.match && !matched {
				out[n-1].next = s.next
			} else {
				out = append(out, s)
			}
			matched = s.match
		}
	case mergedWithNext:
		for i := 0; i < len(segments); i++ {
			s := segments[i]
			if s.match && i+1 < len(segments) && !segments[i+1].match {
				s.next = segments[i+1].next
				i++
			}
			out = append(out, s)
		}
	}
	return out
}

// isNumeric says that a rune is a number of any kind.
func isNumeric(r rune) bool { return unicode.Is(unicode.N, r) }
