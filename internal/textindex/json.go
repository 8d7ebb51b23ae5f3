package textindex

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shape is what a JSON value is by its bytes.
type shape uint8

const (
	shapeText    shape = iota + 1
	shapeInteger       // within int64
	shapeNumber
	shapeBoolean
	shapeWhole // any value, as it is written
)

// leaf is a scalar somewhere within a JSON object.
type leaf struct {
	path    *path
	shape   shape
	text    []byte // of texts, without escapes; of whole values; good until the next object
	integer int64  // of integers and booleans
	number  float64
}

// path is a place of values in JSON objects: names from the top, whatever arrays
// lie between them.
type path struct {
	name     string
	children map[string]*path
	first    *path // the child that an object began with last
	after    *path // the sibling that came after it last
	token    string
	group    *group // what is indexed of it; nil: nothing yet
	whole    bool   // its values are not cut into leaves
}

func newPath(name string) *path { return &path{name: name, children: make(map[string]*path)} }

// child makes the path of a member that is new. token is how it was written, up
// to the value.
func (p *path) child(name, token string) *path {
	full := name
	switch {
	case p.name != "":
		full = p.name + "." + name
	case strings.HasPrefix(name, "_"):
		full = NamePrefix + name
	}
	c := newPath(full)
	c.token = token
	p.children[name] = c
	return c
}

// scanner cuts JSON objects into their leaves. It takes what RFC 8259 takes, in
// UTF-8, and nothing else.
//
// Producers write the members of all records in one order. So a member is
// compared with the one that came in this place last, which replaces scanning,
// unescaping and hashing its name.
type scanner struct {
	root   *path
	rest   *path // stands for all that pathsMax leaves over
	paths  int
	leaves []leaf
	texts  []byte                 // unescaped
	whole  func(name string) bool // says which paths are whole; nil: none
}

// pathsMax is how many paths are told apart.
const pathsMax = 20_000

func newScanner() *scanner {
	s := &scanner{root: newPath(""), rest: newPath("")}
	return s
}

// depthMax is how deep a value may nest before it counts as not being JSON.
const depthMax = 512

// object scans a value into s.leaves and reports whether it is one JSON object
// from end to end. Nulls leave nothing.
func (s *scanner) object(b []byte) bool {
	s.leaves, s.texts = s.leaves[:0], s.texts[:0]
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false
	}
	i = s.members(b, i+1, s.root, 1)
	return i >= 0 && space(b, i) == len(b)
}

// members reads the rest of an object, and returns the position after it or −1.
func (s *scanner) members(b []byte, i int, parent *path, depth int) int {
	i = space(b, i)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	guess := &parent.first
	for {
		p := *guess
		if p == nil || p.token == "" || len(b)-i < len(p.token) || string(b[i:i+len(p.token)]) != p.token {
			var end int
			if p, end = s.name(b, i, parent); end < 0 {
				return -1
			}
			*guess = p
			i = end
		} else {
			i += len(p.token)
		}
		guess = &p.after
		if i = s.value(b, i, p, depth); i < 0 {
			return -1
		}
		if i = space(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

// name reads `"name":` up to the value.
func (s *scanner) name(b []byte, i int, parent *path) (*path, int) {
	if i >= len(b) || b[i] != '"' {
		return nil, -1
	}
	begin := i
	text, end := s.quoted(b, i+1)
	if end < 0 {
		return nil, -1
	}
	if i = space(b, end); i >= len(b) || b[i] != ':' {
		return nil, -1
	}
	i = space(b, i+1)
	p := parent.children[string(text)]
	switch {
	case p != nil:
	case s.paths == pathsMax || parent == s.rest || len(parent.name)+1+len(text) > PathBytesMax:
		p = s.rest
	default:
		p = parent.child(string(text), string(b[begin:i]))
		p.whole = s.whole != nil && s.whole(p.name)
		s.paths++
	}
	return p, i
}

// value reads the value at i.
func (s *scanner) value(b []byte, i int, p *path, depth int) int {
	if i >= len(b) {
		return -1
	}
	if p.whole {
		return s.uncut(b, i, p, depth)
	}
	switch c := b[i]; {
	case c == '"':
		text, end := s.quoted(b, i+1)
		if end >= 0 {
			s.leaves = append(s.leaves, leaf{path: p, shape: shapeText, text: text})
		}
		return end
	case c == '{' && depth < depthMax:
		return s.members(b, i+1, p, depth+1)
	case c == '[' && depth < depthMax:
		return s.elements(b, i+1, p, depth+1)
	case c == 't':
		return s.literal(b, i, "true", leaf{path: p, shape: shapeBoolean, integer: 1})
	case c == 'f':
		return s.literal(b, i, "false", leaf{path: p, shape: shapeBoolean})
	case c == 'n':
		return s.literal(b, i, "null", leaf{})
	case c == '-' || '0' <= c && c <= '9':
		return s.number(b, i, p)
	}
	return -1
}

// uncut reads the value at i as one leaf.
func (s *scanner) uncut(b []byte, i int, p *path, depth int) int {
	leaves := len(s.leaves)
	end := s.value(b, i, s.rest, depth)
	if s.leaves = s.leaves[:leaves]; end >= 0 && string(b[i:end]) != "null" {
		s.leaves = append(s.leaves, leaf{path: p, shape: shapeWhole, text: b[i:end]})
	}
	return end
}

func (s *scanner) elements(b []byte, i int, p *path, depth int) int {
	i = space(b, i)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(b, i, p, depth); i < 0 {
			return -1
		}
		if i = space(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

func (s *scanner) literal(b []byte, i int, word string, l leaf) int {
	end := i + len(word)
	if end > len(b) || string(b[i:end]) != word {
		return -1
	}
	if l.path != nil {
		s.leaves = append(s.leaves, l)
	}
	return end
}

// number reads a number. One that is too large for a double leaves nothing.
func (s *scanner) number(b []byte, i int, p *path) int {
	begin := i
	if b[i] == '-' {
		i++
	}
	first := i
	i = digits(b, i)
	if i == first || i-first > 1 && b[first] == '0' {
		return -1
	}
	whole := true
	if i < len(b) && b[i] == '.' {
		whole = false
		from := i + 1
		if i = digits(b, from); i == from {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		whole = false
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		if i = digits(b, from); i == from {
			return -1
		}
	}
	if whole {
		if v, ok := integer(b[begin:i]); ok {
			s.leaves = append(s.leaves, leaf{path: p, shape: shapeInteger, integer: v})
			return i
		}
	}
	if v, err := strconv.ParseFloat(string(b[begin:i]), 64); err == nil && !math.IsInf(v, 0) {
		s.leaves = append(s.leaves, leaf{path: p, shape: shapeNumber, number: v})
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// integer reads a whole number within int64; "-0" is none.
func integer(b []byte) (int64, bool) {
	if b[0] == '-' && b[1] == '0' {
		return 0, false
	}
	if len(b) <= 18 { // cannot overflow
		negative, v := b[0] == '-', int64(0)
		if negative {
			b = b[1:]
		}
		for _, c := range b {
			v = v*10 + int64(c-'0')
		}
		if negative {
			v = -v
		}
		return v, true
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	return v, err == nil
}

// space returns the first position from i on that is not white space.
func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// quoted reads the string whose first byte is at i. It returns the text, without
// escapes, and the position after the quote or −1.
func (s *scanner) quoted(b []byte, i int) ([]byte, int) {
	begin, high := i, byte(0)
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
		high |= b[i]
		i++
	}
	if i >= len(b) || b[i] < 0x20 {
		return nil, -1
	}
	if b[i] == '\\' {
		return s.escaped(b, begin, i)
	}
	if high >= utf8.RuneSelf && !utf8.Valid(b[begin:i]) {
		return nil, -1
	}
	return b[begin:i:i], i + 1
}

// escaped is quoted for a string with escapes, the first of them at i.
func (s *scanner) escaped(b []byte, begin, i int) ([]byte, int) {
	from := len(s.texts)
	s.texts = append(s.texts, b[begin:i]...)
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			text := s.texts[from:len(s.texts):len(s.texts)]
			if !utf8.Valid(text) {
				return nil, -1
			}
			return text, i + 1
		case c < 0x20:
			return nil, -1
		case c != '\\':
			s.texts = append(s.texts, c)
			i++
		default:
			if i = s.escape(b, i+1); i < 0 {
				return nil, -1
			}
		}
	}
	return nil, -1
}

// escape reads what follows a backslash.
func (s *scanner) escape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	c := b[i]
	if at := strings.IndexByte(`"\/bfnrt`, c); at >= 0 {
		s.texts = append(s.texts, "\"\\/\b\f\n\r\t"[at])
		return i + 1
	}
	if c != 'u' {
		return -1
	}
	r, ok := hex4(b, i+1)
	if !ok {
		return -1
	}
	i += 5
	if 0xD800 <= r && r < 0xE000 {
		// Half of a character: with its other half, or it stands for nothing.
		low, ok := rune(0), false
		if r < 0xDC00 && i+1 < len(b) && b[i] == '\\' && b[i+1] == 'u' {
			low, ok = hex4(b, i+2)
		}
		if ok && 0xDC00 <= low && low < 0xE000 {
			r = (r-0xD800)<<10 + (low - 0xDC00) + 0x10000
			i += 6
		} else {
			r = utf8.RuneError
		}
	}
	s.texts = utf8.AppendRune(s.texts, r)
	return i
}

func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[i:i+4]), 16, 16)
	return rune(v), err == nil && b[i] != '+' && b[i] != '_'
}
