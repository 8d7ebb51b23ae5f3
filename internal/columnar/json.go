package columnar

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// kind is what a JSON value is, as far as its bytes alone say.
type kind uint8

const (
	kindNull kind = iota
	kindFalse
	kindTrue
	kindInteger // an integer literal within int64; field.integer holds it
	kindNumber  // any other number
	kindString  // without escapes: field.text is the text
	kindEscaped // with escapes: field.text is what stands between the quotes
	kindNested  // an object or an array
)

// field is one top-level member of a JSON object. Its text is a part of the
// scanned value.
type field struct {
	text    []byte // the literal; of strings, what is between the quotes
	integer int64
	name    int // its number in the lexicon, or unknown
	kind    kind
}

// depthMax is how deep a value may nest before it counts as not being JSON.
const depthMax = 512

// scanner cuts JSON objects into their top-level fields. It is strict: it takes
// what RFC 8259 takes, in UTF-8, and nothing else. Its time is linear in the
// value, and it allocates only for names that it has not met.
type scanner struct {
	*lexicon
	found []field // the fields of the last object
	first int     // the name that the last object began with
	lost  []byte  // the last name that the lexicon had no room for
}

// object scans a value into s.found, and reports whether it is one JSON object
// from end to end. Duplicate names are kept, in order.
func (s *scanner) object(b []byte) bool {
	s.found = s.found[:0]
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return space(b, i+1) == len(b)
	}
	guess := &s.first
	for {
		s.found = append(s.found, field{})
		f := &s.found[len(s.found)-1]
		end, ok := s.begins(b, i, *guess)
		if ok {
			f.name = *guess
		} else {
			if f.name, end = s.member(b, i); end < 0 {
				return false
			}
			if f.name != unknown {
				*guess = f.name
			}
		}
		if f.name != unknown {
			guess = &s.names[f.name].after
		}
		if i = f.scan(b, space(b, end)); i < 0 {
			return false
		}
		i = space(b, i)
		if i >= len(b) {
			return false
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case '}':
			return space(b, i+1) == len(b)
		default:
			return false
		}
	}
}

// member reads `"name":` at i. It returns the name's number and the position of
// the value, or −1.
func (s *scanner) member(b []byte, i int) (number, end int) {
	if i >= len(b) || b[i] != '"' {
		return unknown, -1
	}
	quote, escaped := quoted(b, i+1)
	if quote < 0 {
		return unknown, -1
	}
	end = space(b, quote+1)
	if end >= len(b) || b[end] != ':' {
		return unknown, -1
	}
	end = space(b, end+1)
	raw := b[i+1 : quote]
	if number = s.number(raw, escaped, b[i:end]); number == unknown {
		s.lost = raw
	}
	return number, end
}

// scan reads the value at i and returns the position after it, or −1.
func (f *field) scan(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	end := -1
	switch b[i] {
	case '"':
		quote, escaped := quoted(b, i+1)
		if quote < 0 {
			return -1
		}
		f.kind = kindString
		if escaped {
			f.kind = kindEscaped
		}
		f.text = b[i+1 : quote : quote]
		return quote + 1
	case '{', '[':
		f.kind = kindNested
		return nested(b, i, 1)
	case 't':
		f.kind = kindTrue
		end = literal(b, i, "true")
	case 'f':
		f.kind = kindFalse
		end = literal(b, i, "false")
	case 'n':
		f.kind = kindNull
		end = literal(b, i, "null")
	default:
		end, f.kind, f.integer = number(b, i)
	}
	if end < 0 {
		return -1
	}
	f.text = b[i:end:end]
	return end
}

// space returns the first position from i on that is not white space.
func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func literal(b []byte, i int, word string) int {
	if end := i + len(word); end <= len(b) && string(b[i:end]) == word {
		return end
	}
	return -1
}

// Eight bytes at once, as in Hacker's Delight 6-1: the high bit of each byte of
// the result that is zero in v. Bytes above the first such one may be wrong,
// which does not matter here, since only the first is looked at.
const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

func zeroBytes(v uint64) uint64 { return (v - lows) &^ v & highs }

// quoted returns the position of the quote that ends the string whose first
// byte is at i, or −1, and whether there are escapes before it.
func quoted(b []byte, i int) (int, bool) {
	start, escaped, high := i, false, uint64(0)
	for {
		// Stop at a quote, a backslash or a control character.
		for i+8 <= len(b) {
			v := binary.LittleEndian.Uint64(b[i:])
			stop := zeroBytes(v^'"'*lows) | zeroBytes(v^'\\'*lows) | (v-0x20*lows)&^v&highs
			if stop != 0 {
				n := bits.TrailingZeros64(stop) &^ 7
				high |= v & (1<<n - 1)
				i += n / 8
				break
			}
			high |= v
			i += 8
		}
		if i >= len(b) {
			return -1, false
		}
		switch c := b[i]; {
		case c == '"':
			if high&highs != 0 && !utf8.Valid(b[start:i]) {
				return -1, false
			}
			return i, escaped
		case c == '\\':
			escaped = true
			if i = escape(b, i+1); i < 0 {
				return -1, false
			}
		case c < 0x20:
			return -1, false
		default: // within the last seven bytes of b
			high |= uint64(c)
			i++
		}
	}
}

// escape returns the position after an escape whose backslash is before i.
func escape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if _, ok := hex4(b, i+1); ok {
			return i + 5
		}
	}
	return -1
}

func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[i : i+4] {
		r <<= 4
		switch {
		case '0' <= c && c <= '9':
			r |= rune(c - '0')
		case 'a' <= c && c <= 'f':
			r |= rune(c - 'a' + 10)
		case 'A' <= c && c <= 'F':
			r |= rune(c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return r, true
}

// number returns the end of the number at i, or −1, and what it is.
func number(b []byte, i int) (int, kind, int64) {
	start := i
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	first := i
	var magnitude uint64 // right for the 19 digits that can matter
	for i < len(b) && b[i]-'0' <= 9 {
		magnitude = magnitude*10 + uint64(b[i]-'0')
		i++
	}
	digits := i - first
	if digits == 0 || digits > 1 && b[first] == '0' {
		return -1, 0, 0
	}
	if i < len(b) && (b[i] == '.' || b[i]|0x20 == 'e') {
		return fraction(b, i), kindNumber, 0
	}
	limit := uint64(1<<63 - 1)
	if negative {
		limit++
	}
	if digits > 19 || magnitude > limit {
		return i, kindNumber, 0
	}
	if negative {
		if magnitude == 0 && i > start { // -0 is a double: an int64 would lose the sign
			return i, kindNumber, 0
		}
		return i, kindInteger, -int64(magnitude)
	}
	return i, kindInteger, int64(magnitude)
}

// fraction returns the end of the fraction and exponent at i, or −1.
func fraction(b []byte, i int) int {
	if b[i] == '.' {
		i++
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == from {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == from {
			return -1
		}
	}
	return i
}

// nested returns the end of the object or array at i, or −1.
func nested(b []byte, i, depth int) int {
	if depth > depthMax {
		return -1
	}
	isObject := b[i] == '{'
	end := byte(']')
	if isObject {
		end = '}'
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if isObject {
			if i = memberValue(b, i); i < 0 {
				return -1
			}
		}
		if i = value(b, i, depth); i < 0 {
			return -1
		}
		i = space(b, i)
		if i >= len(b) {
			return -1
		}
		if b[i] == end {
			return i + 1
		}
		if b[i] != ',' {
			return -1
		}
		i = space(b, i+1)
	}
}

// memberValue returns the start of the value after the `"name":` at i, or −1.
func memberValue(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	quote, _ := quoted(b, i+1)
	if quote < 0 {
		return -1
	}
	i = space(b, quote+1)
	if i >= len(b) || b[i] != ':' {
		return -1
	}
	return space(b, i+1)
}

// value returns the end of the value at i, or −1.
func value(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		quote, _ := quoted(b, i+1)
		if quote < 0 {
			return -1
		}
		return quote + 1
	case '{', '[':
		return nested(b, i, depth+1)
	case 't':
		return literal(b, i, "true")
	case 'f':
		return literal(b, i, "false")
	case 'n':
		return literal(b, i, "null")
	}
	end, _, _ := number(b, i)
	return end
}

// appendUnescaped appends the text of a string with escapes, which the scanner
// has found to be well formed. A surrogate without its other half becomes
// U+FFFD, as in encoding/json.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = raw[i+1]
		i += 2
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw, i)
			i += 4
			if 0xd800 <= r && r < 0xdc00 && i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
				if low, _ := hex4(raw, i+2); 0xdc00 <= low && low < 0xe000 {
					r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r) // writes U+FFFD for a surrogate
		default: // " \ /
			dst = append(dst, c)
		}
	}
	return dst
}
