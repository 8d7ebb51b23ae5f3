// Package textindex is the full-text index of a range of one partition's
// records: how it is built, kept at rest, merged and read.
//
// A Split answers what search asks: which documents have a term, how often and
// where; what values a field has in a document; which documents have the field.
// It ranks nothing: statistics are handed out, so that a search sums them over
// all splits first and gets the same scores however the records are cut.
//
// A document is a record. Documents of a split are numbered from 0, in the order
// of their offsets; the offset is the only key that means something outside.
//
// There are two implementations. Memory is written and read at once: the tail.
// File is immutable and read by ranges, where it lies: docs/formats/split.md.
package textindex

import (
	"fmt"
	"slices"
)

// Kind is what a field's values are, and so what can be asked of it.
type Kind uint8

// The kinds of fields.
const (
	// Text is analysed: terms with frequencies and positions. Its column holds
	// the number of terms that the document has in the field.
	Text Kind = iota + 1
	// Keyword is compared as it is: terms. Its column holds their ordinals, those
	// of a document rising and each once.
	Keyword
	// Long is a whole number of 64 bits.
	Long
	// Double is a number; its column holds it as SortableDouble makes it.
	Double
	// Boolean is 0 or 1.
	Boolean
	// Date is ms since 1970.
	Date
	// GeoPoint is a place on earth; its column holds it as geopoint.Point.Encode
	// makes it. There are such fields only where Options.Mapping says so.
	GeoPoint
)

// kindNames are as Elasticsearch calls them.
var kindNames = [...]string{Text: "text", Keyword: "keyword", Long: "long", Double: "double", Boolean: "boolean", Date: "date", GeoPoint: "geo_point"}

// String is the kind's name in a mapping.
func (k Kind) String() string {
	if k.valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

func (k Kind) valid() bool { return k >= Text && k <= GeoPoint }

// KindByName is the kind that a mapping calls so.
func KindByName(name string) (Kind, bool) {
	i := slices.Index(kindNames[:], name)
	return Kind(i), i >= int(Text)
}

// HasTerms says that the field's terms can be looked up.
func (k Kind) HasTerms() bool { return k == Text || k == Keyword }

// Field names what is indexed: the values of one kind at one path. A path may
// have several kinds, since producers write what they like: one record has a
// text where another has a number. Numbers are the exception: a path that has
// fractions is Double as a whole, also in the records without one.
//
// A JSON string is indexed as Text and, up to KeywordBytesMax, as Keyword under
// the same name; one that is a timestamp of RFC 3339 as Date instead. So it is
// where Options.Mapping does not say otherwise.
type Field struct {
	Name string // JSON path, joined by dots
	Kind Kind
}

// String is for people.
func (f Field) String() string { return f.Name + " " + f.Kind.String() }

// compare orders fields by name, then kind.
func (f Field) compare(g Field) int {
	switch {
	case f.Name != g.Name && f.Name < g.Name, f.Name == g.Name && f.Kind < g.Kind:
		return -1
	case f == g:
		return 0
	}
	return 1
}

// Fields of every split. JSON cannot have such names at its top: a member that
// begins with an underscore is indexed as NamePrefix and its name.
var (
	FieldOffset    = Field{"_offset", Long}    // of each document
	FieldTimestamp = Field{"_timestamp", Date} // of each document
	FieldKey       = Field{"_key", Keyword}    // of documents with a key
	FieldValue     = Field{"_value", Text}     // of documents that are not JSON objects; also as Keyword
	FieldAll       = Field{"_all", Text}       // what the limit of fields left over, and what does not fit its mapping
)

// NamePrefix is put before names of JSON members that begin with an underscore,
// as in tables.
const NamePrefix = "json_"

// Limits of what is indexed.
const (
	KeywordBytesMax = 256 // a longer string is Text only
	PathBytesMax    = 512 // what has a longer path goes to FieldAll
	// PositionGap lies between the positions of two values of a text field, so
	// that no phrase matches across them.
	PositionGap = 100
)

// Stats are a field's statistics over a split.
type Stats struct {
	Field
	// Documents counts those that have the field.
	Documents int64
	// Values counts the column's values.
	Values int64
	// Terms counts occurrences of terms in a Text field: the sum of its lengths.
	Terms int64
	// Distinct counts different terms; of Keyword they are its ordinals.
	Distinct int64
	// Least and Greatest bound the column's values.
	Least, Greatest int64
}
