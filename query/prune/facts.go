package prune

import (
	"math"
	"time"
)

// Nulls says how many values of a column are null.
type Nulls int

// What can be known of a column's nulls.
const (
	SomeNulls Nulls = iota // or not known
	NoNulls
	OnlyNulls
)

// Fact is what is known of a column's values in some rows.
type Fact struct {
	Kind     Kind // of the column's values; Unknown: nothing is known but Nulls
	Min, Max Value
	Bounded  bool // Min ≤ every value that is not null ≤ Max
	Nulls    Nulls
}

// Facts are what is known of some rows.
type Facts interface {
	// Column returns what is known of a column, by its lower-case name; ok is
	// false when nothing is.
	Column(name string) (fact Fact, ok bool)
	// Contains reports whether a value of the column's kind may be among its
	// values; true when that is not known.
	Contains(name string, v Value) bool
}

// may reports whether a value of the column can compare so to the constant.
func (f Fact) may(op Op, constant Constant, contains func(Value) bool) bool {
	if f.Nulls == OnlyNulls {
		return false // a comparison with null is never true
	}
	c := constant.as(f.Kind)
	if !comparable(Value{Kind: f.Kind}, c) {
		return true
	}
	if f.Bounded && !f.within(op, c) {
		return false
	}
	return op != Equal || contains(c)
}

// mayCut is may for a column of times that are cut down by less than cut.
func (f Fact) mayCut(op Op, constant Constant, cut time.Duration) bool {
	if f.Nulls == OnlyNulls {
		return false
	}
	c := constant.as(f.Kind)
	if f.Kind != Time || c.Kind != Time || !f.Bounded || c.Int64 > math.MaxInt64-cut.Microseconds() {
		return true
	}
	if constant.Kind == Text && c.Int64%day.Microseconds() != 0 {
		return true // beside a date it would be cut itself
	}
	// What is cut is not greater than what it was, and greater than that less cut.
	below := OfTime(c.Int64 + cut.Microseconds())
	switch op {
	case Equal:
		return f.within(GreaterEqual, c) && f.within(Less, below)
	case Less, LessEqual:
		return f.within(Less, below)
	}
	return f.within(op, c)
}

const day = 24 * time.Hour

// within reports whether the bounds allow a value that compares so to c.
func (f Fact) within(op Op, c Value) bool {
	switch op {
	case Equal:
		return !surelyLess(c, f.Min) && !surelyLess(f.Max, c)
	case Less:
		return !surelyNotGreater(c, f.Min)
	case LessEqual:
		return !surelyLess(c, f.Min)
	case Greater:
		return !surelyNotGreater(f.Max, c)
	case GreaterEqual:
		return !surelyLess(f.Max, c)
	}
	return true
}

// Need is what a query reads of a table.
type Need struct {
	All     bool     // every column, but that of vectors
	Vectors bool     // that as well
	Columns []string // else these, by lower-case names; names that are no columns are among them
	// Where holds for every row that matters; nil: all do.
	Where  Predicate
	Values Values // the constants in Where
	// Words are names that Where takes for no columns, such as current_timestamp:
	// in a table that has one of them, Where says nothing.
	Words []string
	// First says that not even all of these rows are wanted.
	First First
}

// Everything is the need of a query of which nothing is known.
func Everything() Need { return Need{All: true} }

// Nothing is the need of who wants to know a table's columns alone.
func Nothing() Need { return Need{Where: Or{}} }

// Join is a need that covers both; both have the same constants.
func (n Need) Join(m Need) Need {
	n.First = First{}
	n.All, n.Vectors = n.All || m.All, n.Vectors || m.Vectors
	n.Columns = append(n.Columns[:len(n.Columns):len(n.Columns)], m.Columns...)
	if n.Where != nil && m.Where != nil {
		n.Where = Or{n.Where, m.Where}
	} else {
		n.Where = nil
	}
	return n
}
