package textquery

import "github.com/chronik-stream/chronik/internal/geopoint"

// Query is one node of a query: one of the types of this file.
type Query interface {
	// Weight is what the node's score is multiplied by.
	Weight() float64
}

// Boost is the part that all queries have.
type Boost float64

func (b Boost) Weight() float64 { return float64(b) }

// Value is a literal as the client wrote it. What it means depends on the field.
type Value struct {
	Kind ValueKind
	Text string // a string's contents, the digits of a number, "true" or "false"
}

// ValueKind is the kind of a literal.
type ValueKind uint8

const (
	StringValue ValueKind = iota
	NumberValue
	BoolValue
)

// Operator says whether one or all of several clauses have to match.
type Operator uint8

const (
	Or Operator = iota
	And
)

// Fuzziness is how many edits may lie between two terms.
type Fuzziness struct {
	Edits     int // 0, 1, 2; or Auto
	Low, High int // of Auto: lengths in characters from which 1 and 2 edits are allowed
}

// Auto, as Fuzziness.Edits, lets the length of a term decide.
const Auto = -1

// For is the number of edits that a term of so many characters may have.
func (f Fuzziness) For(characters int) int {
	switch {
	case f.Edits != Auto:
		return f.Edits
	case characters < f.Low:
		return 0
	case characters < f.High:
		return 1
	default:
		return 2
	}
}

// Expansion bounds the terms that an inexact one stands for.
type Expansion struct {
	Fuzziness      Fuzziness
	PrefixLength   int // leading characters that have to be equal
	Terms          int // at most so many terms, the nearest first
	Transpositions bool
}

// FieldBoost is a field, or a pattern of fields with *, and its weight.
type FieldBoost struct {
	Field string
	Boost float64
}

type (
	// MatchAll matches every document, with the score 1.
	MatchAll struct{ Boost }

	// MatchNone matches nothing.
	MatchNone struct{ Boost }

	// Match analyses a text and looks for its terms.
	Match struct {
		Boost
		Field     string
		Text      string
		Operator  Operator
		Minimum   MinimumMatch
		Expand    *Expansion // nil: exact terms
		Analyzer  string     // empty: the field's
		Lenient   bool       // a text that does not fit the field's type matches nothing
		AllIfNone bool       // a text without terms matches everything, and not nothing
	}

	// MatchPhrase looks for the terms of a text in their order.
	MatchPhrase struct {
		Boost
		Field     string
		Text      string
		Slop      int // moves by one position that may lie between text and document
		Analyzer  string
		AllIfNone bool
		Lenient   bool
		Prefix    int // when not 0, the last term is a prefix, of at most so many terms
	}

	// MultiMatch is a Match over several fields.
	MultiMatch struct {
		Boost
		Fields     []FieldBoost
		Type       MultiMatchType
		TieBreaker float64
		Match      Match // its Field is empty
		Slop       int
		Prefix     int // as in MatchPhrase
	}

	// Term looks for one term as it is.
	Term struct {
		Boost
		Field           string
		Value           Value
		CaseInsensitive bool
	}

	// Terms looks for any of several terms, with the score 1.
	Terms struct {
		Boost
		Field  string
		Values []Value
	}

	// Range looks for values between two bounds.
	Range struct {
		Boost
		Field    string
		Low      *Bound // nil: none
		High     *Bound
		Format   string // of dates; empty: the field's
		TimeZone string // of dates that have none
	}

	// Exists looks for documents that have a field.
	Exists struct {
		Boost
		Field string
	}

	// Prefix looks for terms that begin with a text.
	Prefix struct {
		Boost
		Field           string
		Text            string
		CaseInsensitive bool
		Analyzed        bool // as in Wildcard
		Words           bool // the text is analysed, and its last word is the prefix
	}

	// Wildcard looks for terms like a pattern of * and ?.
	Wildcard struct {
		Boost
		Field           string
		Pattern         string
		CaseInsensitive bool
		// Analyzed says that the pattern is written in the words of a text, so
		// that the field's analysis of single characters applies to it: what
		// query_string does.
		Analyzed bool
	}

	// Regexp looks for terms that are like a regular expression of Lucene's.
	Regexp struct {
		Boost
		Field           string
		Pattern         string
		CaseInsensitive bool
		Analyzed        bool // as in Wildcard
		StatesMax       int
	}

	// Fuzzy looks for terms that are near to one.
	Fuzzy struct {
		Boost
		Field    string
		Text     string
		Expand   Expansion
		Analyzed bool // as in Wildcard
	}

	// OverFields asks the same of several fields. A document scores as its best
	// field does, and with TieBreaker times what the others say.
	OverFields struct {
		Boost
		Fields     []FieldBoost
		TieBreaker float64
		Lenient    bool // fields of types that do not fit are left out
		For        func(field string) Query
	}

	// IDs looks for documents by their _id.
	IDs struct {
		Boost
		Values []string
	}

	// Bool joins queries.
	Bool struct {
		Boost
		Must, Filter, Should, MustNot []Query
		Minimum                       MinimumMatch // of Should
	}

	// ConstantScore matches as its filter does, with the score 1.
	ConstantScore struct {
		Boost
		Filter Query
	}

	// DisMax scores a document as its best query does, and with TieBreaker
	// times what the others say.
	DisMax struct {
		Boost
		Queries    []Query
		TieBreaker float64
	}

	// Boosting matches as Positive does, with NegativeBoost times the score
	// where Negative matches too.
	Boosting struct {
		Boost
		Positive, Negative Query
		NegativeBoost      float64
	}

	// GeoDistance looks for points within a distance.
	GeoDistance struct {
		Boost
		Field  string
		Center Point
		Meters float64
		Plane  bool // faster and less exact: as if the earth were flat here
	}

	// GeoBoundingBox looks for points in a box, which may cross the date line.
	GeoBoundingBox struct {
		Boost
		Field                string
		TopLeft, BottomRight Point
	}

	// GeoPolygon looks for points in a polygon.
	GeoPolygon struct {
		Boost
		Field  string
		Points []Point
	}
)

// MultiMatchType is how the scores of several fields become one.
type MultiMatchType uint8

const (
	BestFields   MultiMatchType = iota // the best field's
	MostFields                         // their sum
	CrossFields                        // as if they were one field
	Phrase                             // best field, as phrase
	PhrasePrefix                       // best field, as phrase whose last term is a prefix
)

// Bound is one end of a range.
type Bound struct {
	Value     Value
	Inclusive bool
}

// Point is a place on earth, in degrees.
type Point = geopoint.Point
