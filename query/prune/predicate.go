// Package prune decides which files, and which row groups of them, a query can
// do without.
//
// A Predicate is what package gate understood of a query's conditions on one
// table: it holds for every row that matters to the query. Facts are what is
// known of some rows without reading them: from a manifest, from a Parquet
// footer, from a bloom filter. May says whether rows with these facts can
// matter.
//
// The package errs on one side only. What was not understood is no predicate;
// what is not known is no fact; a comparison whose types the engine might read
// in another way than this package says nothing. So the answer over what is
// left is the answer over everything.
//
// It is pure: no files, no engine.
package prune

import (
	"slices"
	"time"
)

// Predicate is a condition on the rows of a table: And, Or, Compare, In, IsNull
// or NotNull.
type Predicate interface {
	may(v Values, f Facts) bool
	columns(add func(string))
}

// And holds where all of its parts do; without any it holds everywhere.
type And []Predicate

// Or holds where one of its parts does; without any it holds nowhere.
type Or []Predicate

// Op is a comparison.
type Op int

// The comparisons, with the column on the left.
const (
	Equal Op = iota
	Less
	LessEqual
	Greater
	GreaterEqual
)

// Flipped is the comparison with its sides exchanged.
func (o Op) Flipped() Op {
	switch o {
	case Less:
		return Greater
	case LessEqual:
		return GreaterEqual
	case Greater:
		return Less
	case GreaterEqual:
		return LessEqual
	}
	return o
}

// Compare holds where a column compares so to a constant. Neither is null.
type Compare struct {
	Column   string // lower case
	Op       Op
	Constant int // its place in Values
	// Cut: the column, a time, is cut down to a date, an hour or the like before
	// it is compared, by less than that; 0: it is not.
	Cut time.Duration
}

// In holds where a column is equal to one of the constants.
type In struct {
	Column    string
	Constants []int
}

// IsNull holds where a column is null, NotNull where it is not.
type (
	IsNull  struct{ Column string }
	NotNull struct{ Column string }
)

// May reports whether a row with these facts can satisfy p. A nil Predicate
// holds everywhere.
func May(p Predicate, v Values, f Facts) bool { return p == nil || p.may(v, f) }

// Columns are the columns that p looks at, each once, in order.
func Columns(p Predicate) []string {
	var names []string
	if p != nil {
		p.columns(func(name string) { names = append(names, name) })
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (p And) may(v Values, f Facts) bool {
	return !slices.ContainsFunc(p, func(q Predicate) bool { return !q.may(v, f) })
}

func (p Or) may(v Values, f Facts) bool {
	return slices.ContainsFunc(p, func(q Predicate) bool { return q.may(v, f) })
}

func (p Compare) may(v Values, f Facts) bool {
	fact, ok := f.Column(p.Column)
	if ok && p.Cut > 0 {
		return fact.mayCut(p.Op, v.at(p.Constant), p.Cut)
	}
	return !ok || fact.may(p.Op, v.at(p.Constant), func(c Value) bool { return f.Contains(p.Column, c) })
}

func (p In) may(v Values, f Facts) bool {
	fact, ok := f.Column(p.Column)
	return !ok || slices.ContainsFunc(p.Constants, func(i int) bool {
		return fact.may(Equal, v.at(i), func(c Value) bool { return f.Contains(p.Column, c) })
	})
}

func (p IsNull) may(_ Values, f Facts) bool {
	fact, ok := f.Column(p.Column)
	return !ok || fact.Nulls != NoNulls
}

func (p NotNull) may(_ Values, f Facts) bool {
	fact, ok := f.Column(p.Column)
	return !ok || fact.Nulls != OnlyNulls
}

func (p And) columns(add func(string)) {
	for _, q := range p {
		q.columns(add)
	}
}

func (p Or) columns(add func(string)) {
	for _, q := range p {
		q.columns(add)
	}
}

func (p Compare) columns(add func(string)) { add(p.Column) }
func (p In) columns(add func(string))      { add(p.Column) }
func (p IsNull) columns(add func(string))  { add(p.Column) }
func (p NotNull) columns(add func(string)) { add(p.Column) }
