package prune

import (
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
)

// Table is a topic as queries see it: what a column is called there and of what
// type it is, in whatever file.
type Table struct {
	topic   string
	columns map[string]columnar.Type // JSON columns, by lower-case name
}

// NewTable is the table of a topic with these JSON columns.
func NewTable(topic string, columns []columnar.Column) Table {
	t := Table{topic, make(map[string]columnar.Type, len(columns))}
	for _, c := range columns {
		t.columns[strings.ToLower(c.Name)] = c.Type
	}
	return t
}

// Sound is a need without what this table's columns contradict.
func (t Table) Sound(n Need) Need {
	for _, word := range n.Words {
		if _, is := t.columns[word]; is {
			n.Where = nil
		}
	}
	return n
}

// systemKinds are those of the system columns that are compared, with what is
// known of their nulls.
var systemKinds = map[string]Fact{
	"_topic": {Kind: Text, Nulls: NoNulls}, "_partition": {Kind: Int, Nulls: NoNulls}, "_offset": {Kind: Int, Nulls: NoNulls},
	"_timestamp": {Kind: Time, Nulls: NoNulls}, "_timestamp_type": {Kind: Int, Nulls: NoNulls}, "_key": {Kind: Binary}, "_value": {Kind: Binary},
}

// kindOf is the kind of a JSON column's values.
func kindOf(t columnar.Type) Kind {
	switch t {
	case columnar.Bool:
		return Bool
	case columnar.Int64:
		return Int
	case columnar.Double:
		return Number
	case columnar.Timestamp:
		return Time
	case columnar.Text:
		return Text
	}
	return Unknown
}

// column is what the types alone say of a column in a file that has these JSON
// columns. ok is false for a name that is none of the table's columns: the query
// may mean something else by it.
func (t Table) column(name string, file map[string]columnar.Type) (fact Fact, ok bool) {
	if fact, ok = systemKinds[name]; ok {
		return fact, true
	}
	shown, ok := t.columns[name]
	if !ok {
		return Fact{}, false
	}
	own, has := file[name]
	switch {
	case !has:
		return Fact{Nulls: OnlyNulls}, true
	case own == shown || own == columnar.Int64 && shown == columnar.Double:
		return Fact{Kind: kindOf(own)}, true
	}
	// It is shown as text, which sorts in another way.
	return Fact{}, true
}

// FileFacts are what a manifest says of a file's rows.
type FileFacts struct {
	table Table
	own   map[string]columnar.Type
	known map[string]Fact
}

// File reads the facts of a manifest's entry, of whose rows those with offsets
// in [first, next) belong to the table. columns are the entry's.
func (t Table) File(f manifest.File, columns []columnar.Column, partition int32, first, next int64) *FileFacts {
	facts := &FileFacts{table: t, own: make(map[string]columnar.Type, len(columns)), known: map[string]Fact{}}
	for _, c := range columns {
		facts.own[strings.ToLower(c.Name)] = c.Type
	}
	bounded := func(name string, least, greatest Value) {
		fact := systemKinds[name]
		fact.Bounded, fact.Min, fact.Max = true, least, greatest
		facts.known[name] = fact
	}
	bounded("_topic", OfText(t.topic), OfText(t.topic))
	bounded("_partition", OfInt(int64(partition)), OfInt(int64(partition)))
	bounded("_offset", OfInt(max(f.First, first)), OfInt(min(f.Next, next)-1))
	// Files keep timestamps within the years that SQL knows.
	if f.MinTimestamp > firstMs && f.MaxTimestamp < lastMs && f.MinTimestamp <= f.MaxTimestamp {
		bounded("_timestamp", OfTime(f.MinTimestamp*1000), OfTime(f.MaxTimestamp*1000))
	}
	return facts
}

var (
	firstMs = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastMs  = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()
)

// Column implements Facts.
func (f *FileFacts) Column(name string) (Fact, bool) {
	if fact, ok := f.known[name]; ok {
		return fact, true
	}
	return f.table.column(name, f.own)
}

// Contains implements Facts: a manifest has no filters.
func (f *FileFacts) Contains(string, Value) bool { return true }
