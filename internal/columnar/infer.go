package columnar

import (
	"fmt"
	"slices"
	"strings"
)

// Type is the type of a column made of a JSON field.
type Type uint8

// The types, in the order in which a column widens. Untyped is a column that
// has seen nothing but null so far; it never reaches a file.
const (
	Untyped Type = iota
	Bool
	Int64
	Double
	Timestamp // microseconds, UTC
	Text
)

var typeNames = [...]string{"", "bool", "int64", "double", "timestamp", "text"}

// String is the name in manifests and in columnar.json_schema.
func (t Type) String() string { return typeNames[t] }

// ParseType reads what String writes.
func ParseType(s string) (Type, error) {
	if i := slices.Index(typeNames[1:], s); i >= 0 {
		return Type(i + 1), nil
	}
	return Untyped, fmt.Errorf("column type %q: want bool, int64, double, timestamp or text", s)
}

// Join is the narrowest type that holds the values of both:
//
//	          text
//	  ┌────────┼───────┐
//	bool    double   timestamp
//	  │        │       │
//	  │      int64     │
//	  └────────┼───────┘
//	        untyped
func (t Type) Join(u Type) Type {
	if t > u {
		t, u = u, t
	}
	switch {
	case t == u || t == Untyped:
		return u
	case t == Int64 && u == Double:
		return Double
	}
	return Text
}

// typeOf is the narrowest type for one value.
func typeOf(f *field) Type {
	switch f.kind {
	case kindFalse, kindTrue:
		return Bool
	case kindInteger:
		return Int64
	case kindNumber:
		return Double
	case kindString:
		if _, ok := parseTimestamp(f.text); ok {
			return Timestamp
		}
		return Text
	case kindEscaped:
		return Text
	}
	return Untyped
}

// Names of JSON fields that may not be columns: longer ones are left in the
// value, and of unknown names no more are remembered than rememberedMax times
// the allowed columns, which bounds memory against objects keyed by id.
const (
	nameBytesMax  = 200
	rememberedMax = 8
)

// inferred is one JSON field and what is known of it.
type inferred struct {
	field  string // its name
	column string // its column's name
	typ    Type
	fixed  bool // by columnar.json_schema
	lost   bool // it may not have a column
	slot   int  // index among the file's columns, set by close; −1: none
	after  int  // index of the field that last came after it, a guess for the next time
}

// inference finds the columns that a set of values needs. It is exact: every
// value is looked at.
type inference struct {
	columnsMax int
	columns    int // fields that have one
	fields     []inferred
	byField    map[string]int
	byColumn   map[string]int // lower case, since SQL does not tell case apart
	first      int            // guess for an object's first field
	overflow   map[string]struct{}
	scratch    []byte
}

func newInference(fixed []Column, columnsMax int) *inference {
	in := &inference{
		columnsMax: columnsMax,
		byField:    make(map[string]int),
		byColumn:   make(map[string]int),
		overflow:   make(map[string]struct{}),
	}
	for _, c := range fixed {
		i := in.remember(c.Field)
		f := &in.fields[i]
		if f.lost || f.typ != Untyped {
			continue
		}
		f.fixed = true
		in.widen(i, c.Type)
	}
	return in
}

// remember adds a field that has not been seen before.
func (in *inference) remember(name string) int {
	f := inferred{field: name, column: ColumnName(name), slot: -1}
	f.lost = len(f.column) > nameBytesMax || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' })
	in.fields = append(in.fields, f)
	in.byField[name] = len(in.fields) - 1
	return len(in.fields) - 1
}

// find returns the index of a field, −1 when it is not known. The guess is the
// field that followed the same one last time: most producers write the fields
// of all records in one order, and a comparison is cheaper than a hash.
func (in *inference) find(f *field, guess *int) int {
	name := f.name
	if f.escaped {
		in.scratch = appendUnescaped(in.scratch[:0], name)
		name = in.scratch
	}
	if i := *guess; i < len(in.fields) && in.fields[i].field == string(name) {
		return i
	}
	i, known := in.byField[string(name)]
	if !known {
		return -1
	}
	*guess = i
	return i
}

// observe takes in the fields of one object.
func (in *inference) observe(fields []field) {
	guess := &in.first
	for j := range fields {
		f := &fields[j]
		i := in.find(f, guess)
		if i < 0 {
			if i = in.admit(f); i < 0 {
				continue
			}
			// The slice may have moved: guess points into its old place.
			guess = &in.fields[i].after
			continue
		}
		known := &in.fields[i]
		guess = &known.after
		if known.typ == Text || known.fixed || known.lost {
			continue
		}
		if t := typeOf(f); t != known.typ {
			in.widen(i, t)
		}
	}
}

// admit remembers a new field, or counts it when there are too many.
func (in *inference) admit(f *field) int {
	name := string(f.name)
	if f.escaped {
		name = string(appendUnescaped(nil, f.name))
	}
	if len(in.fields) >= rememberedMax*in.columnsMax {
		if len(in.overflow) < in.columnsMax {
			in.overflow[name] = struct{}{}
		}
		return -1
	}
	i := in.remember(name)
	if !in.fields[i].lost {
		in.widen(i, typeOf(f))
	}
	return i
}

// widen joins t into a field's type, and gives the field its column with the
// first value that is not null. Of fields that want one column name, the first wins.
func (in *inference) widen(i int, t Type) {
	f := &in.fields[i]
	if f.typ == Untyped && t != Untyped {
		name := strings.ToLower(f.column)
		if _, taken := in.byColumn[name]; taken || in.columns >= in.columnsMax {
			f.lost = true
			return
		}
		in.byColumn[name] = i
		in.columns++
	}
	f.typ = f.typ.Join(t)
}

// close fixes the columns, in the order in which their fields were first seen,
// and counts the fields that have a value but no column.
func (in *inference) close() (columns []Column, lost int) {
	for i := range in.fields {
		f := &in.fields[i]
		if f.lost {
			lost++
			continue
		}
		if f.typ == Untyped {
			continue
		}
		f.slot = len(columns)
		columns = append(columns, Column{Field: f.field, Name: f.column, Type: f.typ})
	}
	return columns, lost + len(in.overflow)
}

// Column is a column made of a top-level JSON field.
type Column struct {
	Field string // as it is called in the JSON
	Name  string // as the column is called; set by Write
	Type  Type
}

// ColumnName is the column of a JSON field. System names, their short
// spellings in SQL, and the empty name give way to json_<name>.
func ColumnName(field string) string {
	if field == "" || field[0] == '_' {
		return "json_" + field
	}
	switch strings.ToLower(field) {
	case "offset", "partition", "timestamp", "key", "value", "headers":
		return "json_" + field
	}
	return field
}
