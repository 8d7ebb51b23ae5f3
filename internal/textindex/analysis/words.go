package analysis

import (
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/segment"
)

// class is what UAX #29 makes of a byte of ASCII.
type class uint8

const (
	other     class = iota
	letter          // ALetter
	digit           // Numeric
	connector       // ExtendNumLet: _
	midLetter       // between letters: :
	midNumber       // between digits: , ;
	midEither       // between letters or digits: . '
	beyond          // not ASCII
)

// classes of all bytes.
var classes = func() (c [256]class) {
	for b := range c {
		switch {
		case b >= 0x80:
			c[b] = beyond
		case 'a' <= b|0x20 && b|0x20 <= 'z':
			c[b] = letter
		case '0' <= b && b <= '9':
			c[b] = digit
		}
	}
	c['_'], c[':'] = connector, midLetter
	c[','], c[';'] = midNumber, midNumber
	c['.'], c['\''] = midEither, midEither
	return c
}()

// word finds the first word of a text from at on, by the word boundaries of
// UAX #29; those without a letter or digit are none. start equals end when there
// is no more. next is where to go on.
//
// Most of what is logged is ASCII, for which a table does; a stretch of it that
// touches other characters is left to the state machine for all of Unicode.
func word(text []byte, at int) (start, end, next int) {
	for at < len(text) {
		switch classes[text[at]] {
		case letter, digit, connector:
			end, known, ascii := ascii(text, at)
			if !ascii {
				return unicodeWord(text, at)
			}
			if known {
				return at, end, end
			}
			at = end
		case beyond:
			return unicodeWord(text, at)
		default:
			// What extends the character before it, a mark or a joiner, does not
			// begin a word: the state machine sees both.
			if at+1 < len(text) && classes[text[at+1]] == beyond {
				return unicodeWord(text, at)
			}
			at++
		}
	}
	return len(text), len(text), len(text)
}

// ascii finds the end of the word at at. known is false when it has neither
// letters nor digits; ascii is false when other characters touch it.
func ascii(text []byte, at int) (end int, known, ascii bool) {
	before := other
	for i := at; ; i++ {
		if i == len(text) {
			return i, known, true
		}
		c := classes[text[i]]
		switch c {
		case letter, digit:
			known = true
		case connector:
		case beyond:
			return i, known, false
		case other:
			return i, known, i+1 == len(text) || classes[text[i+1]] != beyond
		default:
			if i+1 == len(text) {
				return i, known, true
			}
			after := classes[text[i+1]]
			if after == beyond {
				return i, known, false
			}
			joins := after == before && (before == letter && c != midNumber || before == digit && c != midLetter)
			if !joins {
				return i, known, true
			}
		}
		before = c
	}
}

// unicodeWord is word by the state machine. A byte that is no UTF-8 ends a word.
func unicodeWord(text []byte, at int) (start, end, next int) {
	for at < len(text) {
		n, token, kind, err := segment.SegmentWords(text[at:], true)
		if n <= 0 || err != nil {
			_, size := utf8.DecodeRune(text[at:])
			at += size
			continue
		}
		if kind != segment.None && !connectors(token) {
			return at + n - len(token), at + n, at + n
		}
		at += n
		if at < len(text) && classes[text[at]] != beyond {
			return word(text, at)
		}
	}
	return len(text), len(text), len(text)
}

// connectors reports that a word consists of connecting punctuation alone, with
// what extends it.
func connectors(word []byte) bool {
	for len(word) > 0 {
		r, size := utf8.DecodeRune(word)
		if !unicode.In(r, unicode.Pc, unicode.M, unicode.Cf) {
			return false
		}
		word = word[size:]
	}
	return true
}

// letters finds the next run of letters: the simple analyzer.
func letters(text []byte, at int) (start, end, next int) {
	start = -1
	for at < len(text) {
		r, size := rune(text[at]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[at:])
		}
		switch is := unicode.IsLetter(r); {
		case is && start < 0:
			start = at
		case !is && start >= 0:
			return start, at, at + size
		}
		at += size
	}
	if start < 0 {
		start = at
	}
	return start, at, at
}

// appendLower appends a word in lower case, character by character.
func appendLower(to, word []byte) []byte {
	for i := 0; i < len(word); {
		c := word[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			to = append(to, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(word[i:])
		to = utf8.AppendRune(to, unicode.ToLower(r))
		i += size
	}
	return to
}
