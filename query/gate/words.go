package gate

import (
	"strings"
	"unicode/utf8"
)

// quoteOffset puts quotes around the last bare word "offset" that begins at or
// before the character position at (−1: anywhere), and reports whether there
// was one.
func quoteOffset(sql string, at int) (string, bool) {
	limit := len(sql)
	if at >= 0 {
		limit = byteIndex(sql, at)
	}
	found := -1
	for start, word := range bareWords(sql) {
		if start > limit {
			break
		}
		if strings.EqualFold(word, "offset") {
			found = start
		}
	}
	if found < 0 {
		return sql, false
	}
	end := found + len("offset")
	return sql[:found] + `"` + sql[found:end] + `"` + sql[end:], true
}

// bareWords yields the unquoted words of sql with their byte positions:
// identifiers and keywords outside of strings, quoted identifiers and comments.
//
// It is a convenience for quoteOffset and no part of the checks: a query whose
// words it misreads is misquoted, and then judged by its tree like any other.
func bareWords(sql string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for i := 0; i < len(sql); {
			switch c := sql[i]; {
			case isWord(c):
				start := i
				for i < len(sql) && isWord(sql[i]) {
					i++
				}
				if i < len(sql) && sql[i] == '\'' && i-start == 1 && (c == 'e' || c == 'E') {
					i = skipString(sql, i+1, '\'', true)
					continue
				}
				if !yield(start, sql[start:i]) {
					return
				}
			default:
				i = skipOther(sql, i)
			}
		}
	}
}

// skipOther returns the position behind what begins at i and is no word.
func skipOther(sql string, i int) int {
	rest := sql[i:]
	switch {
	case rest[0] == '\'' || rest[0] == '"':
		return skipString(sql, i+1, rest[0], false)
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return i + n + 1
		}
		return len(sql)
	case strings.HasPrefix(rest, "/*"):
		if n := strings.Index(rest[2:], "*/"); n >= 0 {
			return i + 2 + n + 2
		}
		return len(sql)
	case rest[0] == '$':
		if tag := dollarTag(rest); tag != "" {
			if n := strings.Index(rest[len(tag):], tag); n >= 0 {
				return i + len(tag) + n + len(tag)
			}
			return len(sql)
		}
	}
	return i + 1
}

// skipString returns the position behind the closing quote of a string whose
// first character is at i. A doubled quote is part of the string.
func skipString(sql string, i int, quote byte, backslash bool) int {
	for ; i < len(sql); i++ {
		switch {
		case backslash && sql[i] == '\\':
			i++
		case sql[i] == quote && i+1 < len(sql) && sql[i+1] == quote:
			i++
		case sql[i] == quote:
			return i + 1
		}
	}
	return len(sql)
}

// dollarTag returns the opening $tag$ of a dollar-quoted string, or "".
func dollarTag(s string) string {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '$':
			return s[:i+1]
		case !isWord(c) || (i == 1 && '0' <= c && c <= '9'):
			return ""
		}
	}
	return ""
}

func isWord(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= utf8.RuneSelf
}

// byteIndex turns a position in characters into one in bytes.
func byteIndex(s string, characters int) int {
	for i := range s {
		if characters == 0 {
			return i
		}
		characters--
	}
	return len(s)
}

// lineColumn counts both from 1, as editors do.
func lineColumn(s string, characters int) (line, column int) {
	before := s[:byteIndex(s, characters)]
	line = strings.Count(before, "\n") + 1
	return line, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}
