package prune

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
)

// Kind says how a Value compares. Values of different kinds do not.
type Kind int

// The kinds of values. Unknown is what this package does not compare.
const (
	Unknown Kind = iota
	Int          // Int64
	Number       // any other number: Exact, and Float as the engine would round it
	Bool         // Int64: 0 or 1
	Time         // Int64: microseconds since 1970, UTC
	Text         // Bytes, UTF-8
	Binary       // Bytes
)

// Value is a constant of a query, or the least or greatest value of a column.
type Value struct {
	Kind  Kind
	Int64 int64
	Float float64
	Exact *big.Rat // of a Number; nil when Float is all there is
	Bytes []byte
}

// OfInt is an integer.
func OfInt(i int64) Value { return Value{Kind: Int, Int64: i} }

// OfTime is a time in microseconds.
func OfTime(us int64) Value { return Value{Kind: Time, Int64: us} }

// OfBool is a truth value.
func OfBool(b bool) Value {
	v := Value{Kind: Bool}
	if b {
		v.Int64 = 1
	}
	return v
}

// OfFloat is a floating-point number; NaN, which sorts above all others in SQL
// and nowhere in statistics, is Unknown.
func OfFloat(f float64) Value {
	if math.IsNaN(f) {
		return Value{}
	}
	return Value{Kind: Number, Float: f}
}

// OfRat is a decimal, or an integer beyond 64 bits.
func OfRat(r *big.Rat) Value {
	f, _ := r.Float64()
	return Value{Kind: Number, Float: f, Exact: r}
}

// OfText is a text.
func OfText(s string) Value { return Value{Kind: Text, Bytes: []byte(s)} }

// OfBytes are bytes.
func OfBytes(b []byte) Value { return Value{Kind: Binary, Bytes: b} }

func (v Value) number() bool { return v.Kind == Int || v.Kind == Number }

func (v Value) float() float64 {
	if v.Kind == Int {
		return float64(v.Int64)
	}
	return v.Float
}

// rat is the exact number, nil for the infinite ones.
func (v Value) rat() *big.Rat {
	switch {
	case v.Kind == Int:
		return new(big.Rat).SetInt64(v.Int64)
	case v.Exact != nil:
		return v.Exact
	}
	return new(big.Rat).SetFloat64(v.Float)
}

// comparable reports whether the engine compares a column of such values with
// such a constant as this package does.
func comparable(a, b Value) bool {
	return a.Kind != Unknown && (a.Kind == b.Kind || a.number() && b.number())
}

// surelyLess reports that a < b however the engine compares two numbers: as they
// are, or both rounded to doubles. Rounding keeps the order but may make equal
// what is not.
func surelyLess(a, b Value) bool {
	if a.number() && b.number() && (a.Kind != Int || b.Kind != Int) {
		return a.float() < b.float()
	}
	return a.compare(b) < 0
}

// surelyNotGreater reports that a ≤ b in either way.
func surelyNotGreater(a, b Value) bool {
	if a.number() && b.number() && (a.Kind != Int || b.Kind != Int) {
		if a.float() > b.float() {
			return false
		}
		x, y := a.rat(), b.rat()
		return x == nil || y == nil || x.Cmp(y) <= 0
	}
	return a.compare(b) <= 0
}

// compare is for values of one kind that is no Number.
func (v Value) compare(w Value) int {
	if v.Kind == Text || v.Kind == Binary {
		return bytes.Compare(v.Bytes, w.Bytes)
	}
	return cmp.Compare(v.Int64, w.Int64)
}

// Constant is a constant of a query: what it is, and, for a text, the time that
// the engine would make of it beside a column of times (Unknown: none).
type Constant struct {
	Value
	AsTime Value
}

// Values are a query's constants, by their places in predicates.
type Values []Constant

// at is the constant at a place; what is not there is Unknown.
func (v Values) at(i int) Constant {
	if i < 0 || i >= len(v) {
		return Constant{}
	}
	return v[i]
}

// as is the constant as the engine compares it with a column of this kind.
func (c Constant) as(column Kind) Value {
	if c.Kind != Text {
		return c.Value
	}
	switch column {
	case Time:
		return c.AsTime
	case Binary:
		// The engine reads \x in a text that it compares with bytes, and
		// refuses what is not ASCII.
		for _, b := range c.Bytes {
			if b >= 0x80 || b == '\\' {
				return Value{}
			}
		}
		return OfBytes(c.Bytes)
	}
	return c.Value
}
