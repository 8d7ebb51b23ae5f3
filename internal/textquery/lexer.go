package textquery

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// token is a part of a query in Lucene's syntax.
type token struct {
	kind tokenKind
	text string // as written; of phrases and regular expressions without what is around
	at   int

	field  bool    // of a word: a colon follows
	wild   bool    // of a word: it has a * or ? that stands for others
	number float64 // of ~ and ^
	given  bool    // of ~: there is a number

	low, high     string // of a range
	lowIn, highIn bool
}

type tokenKind uint8

const (
	endToken tokenKind = iota
	wordToken
	phraseToken
	regexpToken
	rangeToken
	compareToken
	openToken
	closeToken
	andToken
	orToken
	plusToken
	minusToken
	fuzzyToken
	boostToken
)

func (t token) unescape() string { return unescape(t.text) }

// unescape takes the backslashes out, with what they protect left in.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == 'u' && i+4 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err == nil {
				b.WriteRune(rune(n))
				i += 4
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// wildIn reports a * or ? that no backslash protects.
func wildIn(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '*', '?':
			return true
		}
	}
	return false
}

// queryBytesMax bounds the text of a query.
const queryBytesMax = 1 << 18

// lex cuts a query into tokens, of which the last is the end.
func lex(text string) ([]token, error) {
	if len(text) > queryBytesMax {
		return nil, Refuse("the query has %d bytes, at most %d", len(text), queryBytesMax)
	}
	var tokens []token
	for l := (lexer{text: text}); ; {
		t, err := l.token()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.kind == endToken {
			return tokens, nil
		}
	}
}

type lexer struct {
	text string
	at   int
}

// marks are tokens of one character.
var marks = map[byte]tokenKind{'(': openToken, ')': closeToken, '+': plusToken, '-': minusToken, '!': minusToken}

func (l *lexer) token() (token, error) {
	for l.at < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		if r != ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\u3000' {
			break
		}
		l.at += size
	}
	start := l.at
	if start == len(l.text) {
		return token{at: start}, nil
	}
	rest := l.text[start:]
	c := rest[0]
	if kind, ok := marks[c]; ok {
		l.at++
		return token{kind: kind, text: rest[:1], at: start}, nil
	}
	switch {
	case strings.HasPrefix(rest, "&&"):
		l.at += 2
		return token{kind: andToken, text: "&&", at: start}, nil
	case strings.HasPrefix(rest, "||"):
		l.at += 2
		return token{kind: orToken, text: "||", at: start}, nil
	}
	switch c {
	case '"':
		return l.quoted(phraseToken, '"', "a quote is not closed")
	case '/':
		return l.quoted(regexpToken, '/', `a regular expression is not closed; a "/" in a word is written "\/"`)
	case '[', '{':
		return l.ranges()
	case '>', '<':
		n := 1
		if strings.HasPrefix(rest[1:], "=") {
			n = 2
		}
		l.at += n
		return token{kind: compareToken, text: rest[:n], at: start}, nil
	case '~', '^':
		return l.number(c)
	case ':', ']', '}':
		return token{}, Refuse("unexpected %q at character %d", string(c), start+1)
	}
	return l.word()
}

// quoted reads up to the closing mark, over those behind a backslash.
func (l *lexer) quoted(kind tokenKind, mark byte, unclosed string) (token, error) {
	start := l.at
	for i := start + 1; i < len(l.text); i++ {
		switch l.text[i] {
		case '\\':
			i++
		case mark:
			t := token{kind: kind, text: l.text[start+1 : i], at: start}
			l.at = i + 1
			return t, nil
		}
	}
	return token{}, Refuse("%s", unclosed)
}

// number reads ~, ~2, ~0.8 and ^1.5, which follow at once.
func (l *lexer) number(mark byte) (token, error) {
	start := l.at
	end := start + 1
	for end < len(l.text) && (l.text[end] >= '0' && l.text[end] <= '9' || l.text[end] == '.') {
		end++
	}
	l.at = end
	t := token{kind: fuzzyToken, text: l.text[start:end], at: start}
	if mark == '^' {
		t.kind = boostToken
	}
	if end == start+1 {
		if mark == '^' {
			return t, Refuse("a number has to follow ^, at character %d", start+1)
		}
		return t, nil
	}
	n, err := strconv.ParseFloat(t.text[1:], 64)
	if err != nil || n > 1e9 {
		return t, Refuse("%q at character %d is not a number", t.text[1:], start+2)
	}
	t.number, t.given = n, true
	return t, nil
}

// ranges reads [a TO b}, whose ends may be quoted.
func (l *lexer) ranges() (token, error) {
	start := l.at
	t := token{kind: rangeToken, at: start, lowIn: l.text[start] == '['}
	l.at++
	var words []string
	for {
		l.at += len(l.text[l.at:]) - len(strings.TrimLeft(l.text[l.at:], " \t\r\n"))
		if l.at == len(l.text) {
			return t, Refuse("a range is not closed")
		}
		c := l.text[l.at]
		if c == ']' || c == '}' {
			l.at++
			t.highIn = c == ']'
			break
		}
		if c == '"' {
			q, err := l.quoted(phraseToken, '"', "a quote is not closed")
			if err != nil {
				return t, err
			}
			words = append(words, q.text)
			continue
		}
		end := l.at
		for end < len(l.text) && strings.IndexByte(" \t\r\n]}\"", l.text[end]) < 0 {
			if l.text[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(l.text))
		words = append(words, l.text[l.at:end])
		l.at = end
	}
	if len(words) != 3 || words[1] != "TO" {
		return t, Refuse("a range is written [low TO high] or {low TO high}, at character %d", start+1)
	}
	t.low, t.high = words[0], words[2]
	t.text = l.text[start:l.at]
	return t, nil
}

// word reads up to what cannot be in a word. AND, OR and NOT are operators.
func (l *lexer) word() (token, error) {
	start := l.at
	end := start
scan:
	for end < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[end:])
		switch r {
		case '\\':
			if end+1 == len(l.text) {
				return token{}, Refuse(`a "\" at the end protects nothing`)
			}
			_, next := utf8.DecodeRuneInString(l.text[end+1:])
			size += next
		case ' ', '\t', '\n', '\r', '\u3000', '(', ')', ':', '^', '[', ']', '{', '}', '"', '~':
			break scan
		}
		end += size
	}
	t := token{kind: wordToken, text: l.text[start:end], at: start}
	l.at = end
	switch t.text {
	case "AND":
		t.kind = andToken
	case "OR":
		t.kind = orToken
	case "NOT":
		t.kind = minusToken
	default:
		t.wild = wildIn(t.text)
		if end < len(l.text) && l.text[end] == ':' {
			t.field = true
			l.at++
		}
	}
	return t, nil
}
