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
// value, and of all names no more are remembered than rememberedMax times the
// allowed columns, which bounds memory against objects keyed by id.
const (
	nameBytesMax  = 200
	rememberedMax = 8
)

// inferred is what is known of one JSON field.
type inferred struct {
	column string // its column's name
	typ    Type
	fixed  bool // by columnar.json_schema
	lost   bool // it may not have a column
	slot   int  // index among the file's columns, set by close; −1: none
	room   room
}

// room is how much a column's values take, nulls among them: enough to make room
// for them at once.
type room struct{ values, bytes int }

// share is what a column needs of r for so many of all rows, and a little more.
func (r room) share(rows, all int64) room {
	of := func(n int) int { return int(float64(n) / float64(max(1, all)) * float64(rows) * 17 / 16) }
	return room{min(of(r.values)+16, int(rows)), of(r.bytes) + 256}
}

// inference finds the columns that a set of values needs. It is exact: every
// value is looked at.
type inference struct {
	scanner
	columnsMax int
	columns    int            // fields that have one
	fields     []inferred     // by number in the lexicon
	byColumn   map[string]int // lower case, since SQL does not tell case apart
	overflow   map[string]struct{}
}

func newInference(fixed []Column, columnsMax int) *inference {
	in := &inference{
		scanner:    scanner{lexicon: newLexicon(rememberedMax * columnsMax)},
		columnsMax: columnsMax,
		byColumn:   make(map[string]int),
		overflow:   make(map[string]struct{}),
	}
	for _, c := range fixed {
		n := in.number([]byte(c.Field), false, nil)
		if n == unknown || n < len(in.fields) {
			continue // one too many, or named twice
		}
		in.meet()
		in.fields[n].fixed = true
		in.widen(n, c.Type)
	}
	return in
}

// meet adds the fields whose names the lexicon has got since.
func (in *inference) meet() {
	for n := len(in.fields); n < len(in.names); n++ {
		text := in.names[n].text
		f := inferred{column: ColumnName(text), slot: -1}
		f.lost = len(f.column) > nameBytesMax || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' })
		in.fields = append(in.fields, f)
	}
}

// observe takes in a value, and reports whether it is a JSON object.
func (in *inference) observe(value []byte) bool {
	if !in.object(value) {
		return false
	}
	if len(in.fields) < len(in.names) {
		in.meet()
	}
	for j := range in.found {
		f := &in.found[j]
		if f.name == unknown {
			if len(in.overflow) < in.columnsMax {
				in.overflow[string(in.lost)] = struct{}{}
			}
			continue
		}
		known := &in.fields[f.name]
		known.room.values++
		known.room.bytes += len(f.text)
		if known.typ == Text || known.fixed || known.lost {
			continue
		}
		if t := typeOf(f); t != known.typ {
			in.widen(f.name, t)
		}
	}
	return true
}

// widen joins t into a field's type, and gives the field its column with the
// first value that is not null. Of fields that want one column name, the first wins.
func (in *inference) widen(n int, t Type) {
	f := &in.fields[n]
	if f.typ == Untyped && t != Untyped && !f.lost {
		name := strings.ToLower(f.column)
		if _, taken := in.byColumn[name]; taken || in.columns >= in.columnsMax {
			f.lost = true
			return
		}
		in.byColumn[name] = n
		in.columns++
	}
	f.typ = f.typ.Join(t)
}

// close fixes the columns, in the order in which their fields were first seen,
// with what they need, and counts the fields that have a value but no column.
func (in *inference) close() (columns []Column, rooms []room, lost int) {
	for n := range in.fields {
		f := &in.fields[n]
		if f.lost {
			lost++
			continue
		}
		if f.typ == Untyped {
			continue
		}
		f.slot = len(columns)
		columns = append(columns, Column{Field: in.names[n].text, Name: f.column, Type: f.typ})
		rooms = append(rooms, f.room)
	}
	return columns, rooms, lost + len(in.overflow)
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
