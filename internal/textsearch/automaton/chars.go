package automaton

import "unicode"

// chars is what matches one character from low to high, as UTF-8.
func (a *Automaton) chars(low, high rune) int {
	var ways []int
	for _, class := range []struct {
		last rune
		tail int // bytes after the first
	}{{0x7F, 0}, {0x7FF, 1}, {0xFFFF, 2}, {unicode.MaxRune, 3}} {
		if low > high {
			break
		}
		if low > class.last {
			continue
		}
		ways = a.sequences(ways, low, min(high, class.last), class.tail)
		low = class.last + 1
	}
	return a.alt(ways...)
}

// sequences appends what matches characters of one length in bytes, split until
// each byte has a range of its own.
func (a *Automaton) sequences(ways []int, low, high rune, tail int) []int {
	for i := 1; i <= tail; i++ {
		mask := rune(1)<<(6*i) - 1
		if low&^mask == high&^mask {
			continue
		}
		if low&mask != 0 {
			return a.sequences(a.sequences(ways, low, low|mask, tail), low|mask+1, high, tail)
		}
		if high&mask != mask {
			return a.sequences(a.sequences(ways, low, high&^mask-1, tail), high&^mask, high, tail)
		}
	}
	way := eps
	for i := range tail { // from the last byte on
		shift := 6 * i
		way = a.cat(a.bytes(byte(0x80|low>>shift&0x3F), byte(0x80|high>>shift&0x3F)), way)
	}
	lead := [...]rune{0, 0xC0, 0xE0, 0xF0}[tail]
	return append(ways, a.cat(a.bytes(byte(lead|low>>(6*tail)), byte(lead|high>>(6*tail))), way))
}

// anyChar matches one character, whichever.
func (a *Automaton) anyChar() int { return a.chars(0, unicode.MaxRune) }

// char matches one character, and with fold its other case too.
func (a *Automaton) char(r rune, fold bool) int {
	x := a.chars(r, r)
	if fold {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			x = a.alt(x, a.chars(f, f))
		}
	}
	return x
}

// literal matches a text.
func (a *Automaton) literal(text string, fold bool) int {
	x := eps
	runes := []rune(text)
	for i := len(runes) - 1; i >= 0; i-- {
		x = a.cat(a.char(runes[i], fold), x)
	}
	return x
}

// charsMax bounds the characters of a pattern.
const charsMax = 8192

// statesSimple are the states of patterns that cannot need many.
const statesSimple = 4 * charsMax

// Prefix accepts what begins with a text; with fold, in whatever case.
func Prefix(text string, fold bool) (*Automaton, error) {
	if len(text) > charsMax {
		return nil, ErrTooComplex
	}
	a := newAutomaton(statesSimple)
	a.start = a.cat(a.literal(text, fold), all)
	return a, a.err
}

// Exact accepts a text in whatever case.
func Exact(text string) (*Automaton, error) {
	if len(text) > charsMax {
		return nil, ErrTooComplex
	}
	a := newAutomaton(statesSimple)
	a.start = a.literal(text, true)
	return a, a.err
}

// Wildcard accepts what a pattern stands for: * any characters, ? one, and \
// takes the meaning from the next.
func Wildcard(pattern string, fold bool) (*Automaton, error) {
	if len(pattern) > charsMax {
		return nil, ErrTooComplex
	}
	a := newAutomaton(10_000)
	x := eps
	var parts []int
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '*':
			parts = append(parts, all)
		case r == '?':
			parts = append(parts, a.anyChar())
		case r == '\\' && i+1 < len(runes):
			i++
			parts = append(parts, a.char(runes[i], fold))
		default:
			parts = append(parts, a.char(r, fold))
		}
	}
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i] == all && i+1 < len(parts) && parts[i+1] == all {
			continue // ** is *
		}
		x = a.cat(parts[i], x)
	}
	a.start = x
	return a, a.err
}

// Range accepts terms from low to high, by their bytes; nil is no bound.
type Range struct {
	Low, High         []byte
	WithLow, WithHigh bool // the bound itself too
}

// States of a Range: n > 0 is that n-1 bytes were equal to both bounds, as far
// as these reach. Beside that there are the ones where only one of them, or
// none, matters any more; side bits tell.
const (
	lowMatters  = 1
	highMatters = 2
	rangeDead   = 0
)

func rangeState(depth, matters int) int { return 4*(depth+1) + matters }

// Start is the state before the first byte.
func (r Range) Start() int {
	matters := 0
	if r.Low != nil {
		matters |= lowMatters
	}
	if r.High != nil {
		matters |= highMatters
	}
	return rangeState(0, matters)
}

// IsMatch reports whether a term that ends here is accepted.
func (r Range) IsMatch(state int) bool {
	if state == rangeDead {
		return false
	}
	depth, matters := state/4-1, state%4
	if matters&lowMatters != 0 && (depth < len(r.Low) || !r.WithLow) {
		return false // shorter than the bound, or the bound itself
	}
	return matters&highMatters == 0 || depth < len(r.High) || r.WithHigh
}

// CanMatch reports false where no longer term is accepted.
func (r Range) CanMatch(state int) bool { return state != rangeDead }

// WillAlwaysMatch reports true where every longer term is accepted.
func (r Range) WillAlwaysMatch(state int) bool { return state != rangeDead && state%4 == 0 }

// Accept is the state after a byte.
func (r Range) Accept(state int, b byte) int {
	if state == rangeDead {
		return rangeDead
	}
	depth, matters := state/4-1, state%4
	if matters&lowMatters != 0 {
		switch {
		case depth >= len(r.Low) || b > r.Low[depth]:
			matters &^= lowMatters
		case b < r.Low[depth]:
			return rangeDead
		}
	}
	if matters&highMatters != 0 {
		switch {
		case depth >= len(r.High) || b > r.High[depth]:
			return rangeDead
		case b < r.High[depth]:
			matters &^= highMatters
		}
	}
	if matters == 0 {
		return rangeState(0, 0)
	}
	return rangeState(depth+1, matters)
}
