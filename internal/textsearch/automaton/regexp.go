package automaton

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Regexp accepts what a regular expression of Lucene's stands for. It is
// anchored at both ends. Beside . ? + * {n,m} | ( ) [ ] and "literals" it has
// ~ (not), & (and), @ (anything), # (nothing) and <n-m> (a number). It may need so
// many states.
//
//	union  = inter { "|" inter }
//	inter  = concat { "&" concat }
//	concat = { repeat }
//	repeat = unary { "?" | "*" | "+" | "{" n [ "," [ m ] ] "}" }
//	unary  = "~" unary | atom
func Regexp(pattern string, fold bool, states int) (*Automaton, error) {
	if len(pattern) > charsMax {
		return nil, ErrTooComplex
	}
	p := &regexpParser{a: newAutomaton(states), runes: []rune(pattern), fold: fold}
	x, err := p.union(0)
	if err == nil && p.at < len(p.runes) {
		err = fmt.Errorf("unexpected %q", string(p.runes[p.at]))
	}
	if err == nil {
		err = p.a.err
	}
	if err != nil {
		if errors.Is(err, ErrTooComplex) {
			return nil, err
		}
		return nil, fmt.Errorf("%w at character %d", err, p.at+1)
	}
	p.a.start = x
	return p.a, nil
}

type regexpParser struct {
	a     *Automaton
	runes []rune
	at    int
	fold  bool
}

// depthMax bounds what is nested in a regular expression.
const depthMax = 200

func (p *regexpParser) peek() rune {
	if p.at < len(p.runes) {
		return p.runes[p.at]
	}
	return -1
}

func (p *regexpParser) take(r rune) bool {
	if p.peek() != r {
		return false
	}
	p.at++
	return true
}

func (p *regexpParser) union(depth int) (int, error) {
	if depth > depthMax {
		return none, ErrTooComplex
	}
	x, err := p.inter(depth)
	for err == nil && p.take('|') {
		var y int
		y, err = p.inter(depth)
		x = p.a.alt(x, y)
	}
	return x, err
}

func (p *regexpParser) inter(depth int) (int, error) {
	x, err := p.concat(depth)
	for err == nil && p.take('&') {
		var y int
		y, err = p.concat(depth)
		x = p.a.and(x, y)
	}
	return x, err
}

func (p *regexpParser) concat(depth int) (int, error) {
	var parts []int
	for p.at < len(p.runes) && !strings.ContainsRune("|&)", p.peek()) {
		x, err := p.repeat(depth)
		if err != nil {
			return none, err
		}
		parts = append(parts, x)
	}
	x := eps
	for i := len(parts) - 1; i >= 0; i-- {
		x = p.a.cat(parts[i], x)
	}
	return x, nil
}

func (p *regexpParser) repeat(depth int) (int, error) {
	x, err := p.unary(depth)
	for err == nil {
		switch {
		case p.take('?'):
			x = p.a.alt(x, eps)
		case p.take('*'):
			x = p.a.star(x)
		case p.take('+'):
			x = p.a.cat(x, p.a.star(x))
		case p.take('{'):
			x, err = p.times(x)
		default:
			return x, nil
		}
		if p.a.err != nil {
			return none, p.a.err
		}
	}
	return x, err
}

// times reads n}, n,} and n,m} behind an expression.
func (p *regexpParser) times(x int) (int, error) {
	low, err := p.number()
	if err != nil {
		return none, err
	}
	high := low
	if p.take(',') {
		high = -1
		if p.peek() != '}' {
			if high, err = p.number(); err != nil {
				return none, err
			}
		}
	}
	if !p.take('}') {
		return none, errors.New("expected }")
	}
	if high >= 0 && high < low {
		return none, errors.New("a repetition ends before it begins")
	}
	y := eps
	if high < 0 {
		y = p.a.star(x)
	}
	for i := low; i < high; i++ {
		y = p.a.alt(eps, p.a.cat(x, y))
	}
	for range low {
		y = p.a.cat(x, y)
	}
	return y, p.a.err
}

// repeatMax bounds the numbers of repetitions.
const repeatMax = 1000

func (p *regexpParser) number() (int, error) {
	start := p.at
	for p.at < len(p.runes) && p.runes[p.at] >= '0' && p.runes[p.at] <= '9' {
		p.at++
	}
	n, err := strconv.Atoi(string(p.runes[start:p.at]))
	if err != nil || n > repeatMax {
		return 0, fmt.Errorf("expected a number up to %d", repeatMax)
	}
	return n, nil
}

func (p *regexpParser) unary(depth int) (int, error) {
	if depth > depthMax {
		return none, ErrTooComplex
	}
	if p.take('~') {
		x, err := p.unary(depth + 1)
		return p.a.not(x), err
	}
	r := p.peek()
	p.at++
	switch r {
	case '.':
		return p.a.anyChar(), nil
	case '@':
		return all, nil
	case '#':
		return none, nil
	case '"':
		return p.quoted()
	case '[':
		return p.class()
	case '<':
		return p.interval()
	case '(':
		if p.take(')') {
			return eps, nil
		}
		x, err := p.union(depth + 1)
		if err == nil && !p.take(')') {
			err = errors.New("expected )")
		}
		return x, err
	case '\\':
		return p.escaped()
	case -1:
		return none, errors.New("something is missing")
	case '?', '*', '+', '{':
		return none, errors.New("nothing to repeat")
	}
	return p.a.char(r, p.fold), nil
}

func (p *regexpParser) quoted() (int, error) {
	start := p.at
	for p.at < len(p.runes) {
		if p.take('"') {
			return p.a.literal(string(p.runes[start:p.at-1]), p.fold), nil
		}
		p.at++
	}
	return none, errors.New("a quote is not closed")
}

// escapes are classes of characters that have a letter.
var escapes = map[rune][]rune{
	'd': {'0', '9'}, 's': {'\t', '\r', ' ', ' '}, 'w': {'0', '9', 'A', 'Z', '_', '_', 'a', 'z'},
}

func (p *regexpParser) escaped() (int, error) {
	if p.at == len(p.runes) {
		return none, errors.New(`a \ at the end protects nothing`)
	}
	r := p.runes[p.at]
	p.at++
	if ranges, ok := escapes[unicode.ToLower(r)]; ok {
		x := none
		for i := 0; i < len(ranges); i += 2 {
			x = p.a.alt(x, p.a.chars(ranges[i], ranges[i+1]))
		}
		if unicode.IsUpper(r) {
			x = p.a.and(p.a.not(x), p.a.anyChar())
		}
		return x, nil
	}
	return p.a.char(r, p.fold), nil
}

// class reads [a-z], [^a-z].
func (p *regexpParser) class() (int, error) {
	negated := p.take('^')
	x := none
	for first := true; first || p.peek() != ']'; first = false {
		low, err := p.classChar()
		if err != nil {
			return none, err
		}
		high := low
		if p.peek() == '-' && p.at+1 < len(p.runes) && p.runes[p.at+1] != ']' {
			p.at++
			if high, err = p.classChar(); err != nil {
				return none, err
			}
		}
		if high < low {
			return none, errors.New("a range of characters ends before it begins")
		}
		x = p.a.alt(x, p.a.chars(low, high))
		if p.fold && high-low < 1024 {
			for r := low; r <= high; r++ {
				x = p.a.alt(x, p.a.char(r, true))
			}
		}
		if p.a.err != nil {
			return none, p.a.err
		}
	}
	p.at++
	if negated {
		x = p.a.and(p.a.not(x), p.a.anyChar())
	}
	return x, nil
}

func (p *regexpParser) classChar() (rune, error) {
	if p.take('\\') && p.at == len(p.runes) || p.at >= len(p.runes) {
		return 0, errors.New("expected ]")
	}
	p.at++
	return p.runes[p.at-1], nil
}

// interval reads n-m> and accepts the whole numbers from n to m; with leading
// zeros when both have the same number of digits.
func (p *regexpParser) interval() (int, error) {
	start := p.at
	for p.at < len(p.runes) && p.runes[p.at] != '>' {
		p.at++
	}
	text := string(p.runes[start:p.at])
	if !p.take('>') {
		return none, errors.New("expected >")
	}
	low, high, ok := strings.Cut(text, "-")
	n, errLow := strconv.ParseUint(low, 10, 31)
	m, errHigh := strconv.ParseUint(high, 10, 31)
	if !ok || errLow != nil || errHigh != nil {
		return none, errors.New("an interval is written <10-99>")
	}
	if n > m {
		n, m, low, high = m, n, high, low
	}
	if len(low) == len(high) {
		return p.digits(low, high), p.a.err
	}
	// As many digits as each number has, and any number of zeros before.
	x := none
	for size := 1; size <= 10; size++ {
		least, most := "1"+strings.Repeat("0", size-1), strings.Repeat("9", size)
		if size == 1 {
			least = "0"
		}
		l, _ := strconv.ParseUint(least, 10, 64)
		h, _ := strconv.ParseUint(most, 10, 64)
		l, h = max(l, n), min(h, m)
		if l <= h {
			x = p.a.alt(x, p.digits(strconv.FormatUint(l, 10), strconv.FormatUint(h, 10)))
		}
	}
	return p.a.cat(p.a.star(p.a.bytes('0', '0')), x), p.a.err
}

// digits accepts the numbers from low to high, which have the same length.
func (p *regexpParser) digits(low, high string) int {
	if low == "" {
		return eps
	}
	if low[0] == high[0] {
		return p.a.cat(p.a.bytes(low[0], low[0]), p.digits(low[1:], high[1:]))
	}
	rest := len(low) - 1
	zeros, nines := strings.Repeat("0", rest), strings.Repeat("9", rest)
	x := p.a.alt(
		p.a.cat(p.a.bytes(low[0], low[0]), p.digits(low[1:], nines)),
		p.a.cat(p.a.bytes(high[0], high[0]), p.digits(zeros, high[1:])))
	if high[0]-low[0] > 1 {
		x = p.a.alt(x, p.a.cat(p.a.bytes(low[0]+1, high[0]-1), p.digits(zeros, nines)))
	}
	return x
}
