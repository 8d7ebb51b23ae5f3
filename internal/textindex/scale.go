package textindex

import (
	"encoding/binary"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// scale turns a column's values into smaller integers of the same order.
//
// Times in whole seconds share a factor; doubles are mostly decimals with a few
// digits, as programs print them, and are integers once the point is moved.
type scale struct {
	decimals int   // of doubles: digits after the point; −1: they are no decimals
	base     int64 // else the value is base + factor × integer
	factor   int64
}

// decimalsMax is how many digits after the point are looked for.
const decimalsMax = 6

var powers = [decimalsMax + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6}

// newScale finds the scale of values.
func newScale(kind Kind, values []int64) scale {
	s := scale{decimals: -1, factor: 1}
	if len(values) == 0 {
		return s
	}
	if kind == Double {
		s.decimals = decimals(values)
		return s
	}
	common := uint64(0)
	for _, v := range values {
		if common = divisor(common, distance(v, values[0])); common == 1 {
			return s
		}
	}
	if common > 1 && common <= math.MaxInt64 {
		s.base, s.factor = values[0], int64(common)
	}
	return s
}

func distance(a, b int64) uint64 {
	if a < b {
		a, b = b, a
	}
	return uint64(a) - uint64(b)
}

func divisor(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// decimals returns how many digits after the point doubles need; −1 if that does
// not give them back bit by bit.
func decimals(values []int64) int {
	n := 0
	for _, v := range values {
		for d := DoubleOf(v); !exact(d, n); {
			if n++; n > decimalsMax {
				return -1
			}
		}
	}
	for _, v := range values { // more digits may be worse for those before
		if !exact(DoubleOf(v), n) {
			return -1
		}
	}
	return n
}

func exact(d float64, n int) bool {
	shifted := math.Round(d * powers[n])
	return math.Abs(shifted) < 1<<53 && math.Float64bits(shifted/powers[n]) == math.Float64bits(d)
}

// down turns a value into its integer.
func (s scale) down(v int64) int64 {
	if s.decimals >= 0 {
		return int64(math.Round(DoubleOf(v) * powers[s.decimals]))
	}
	if s.factor == 1 {
		return v
	}
	d := int64(distance(v, s.base) / uint64(s.factor))
	if v < s.base {
		d = -d
	}
	return d
}

// up is the inverse of down.
func (s scale) up(i int64) int64 {
	if s.decimals >= 0 {
		return SortableDouble(float64(i) / powers[s.decimals])
	}
	return s.base + s.factor*i
}

// within returns the least and the greatest integer, of those from low to high,
// whose values lie between two values; false if there is none.
func (s scale) within(least, greatest, low, high int64) (int64, int64, bool) {
	if s.decimals < 0 && s.factor == 1 {
		first, last := max(low, least), min(high, greatest)
		return first, last, first <= last
	}
	first := bisect(low, high, func(i int64) bool { return s.up(i) >= least })
	last := bisect(low, high, func(i int64) bool { return s.up(i) > greatest })
	return first, last - 1, first < last
}

// bisect returns the first integer from low to high for which is holds, high + 1
// if it holds for none; once it holds it does for all that follow. high is below
// the greatest integer that there is.
func bisect(low, high int64, is func(int64) bool) int64 {
	n := uint64(high) - uint64(low) + 1
	i := uint64(0)
	for i < n {
		middle := i + (n-i)/2
		if is(int64(uint64(low) + middle)) {
			n = middle
		} else {
			i = middle + 1
		}
	}
	return int64(uint64(low) + i)
}

func (s scale) append(to []byte) []byte {
	if s.decimals >= 0 {
		return append(to, byte(s.decimals)+2)
	}
	if s.factor == 1 {
		return append(to, 0)
	}
	return binary.AppendUvarint(binary.AppendVarint(append(to, 1), s.base), uint64(s.factor))
}

func parseScale(d *format.Decoder) scale {
	s := scale{decimals: -1, factor: 1}
	switch k := int(d.Byte()); {
	case k == 1:
		s.base = d.Varint()
		s.factor = int64(d.Uvarint(math.MaxInt64))
	case k >= 2 && k-2 <= decimalsMax:
		s.decimals = k - 2
	case k != 0:
		d.Fail("scale %d", k)
	}
	return s
}
