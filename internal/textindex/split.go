package textindex

import (
	"context"
	"iter"
)

// Split is the index of a range of records. Nothing of it changes; all of its
// methods may be called at once. Errors of reading are those of the Source;
// damage is an error of kind format.ErrCorrupt.
type Split interface {
	// Bounds tell what the split covers.
	Bounds() Bounds
	// Fields lists what is indexed, by name and kind.
	Fields() []Stats
	// Field returns the statistics of a field; false when no document has it.
	Field(f Field) (Stats, bool)
	// Lookup finds terms of a field. The result has the same order; what is not
	// there has no documents. Terms that lie near one another are read at once.
	Lookup(ctx context.Context, f Field, terms ...[]byte) ([]Term, error)
	// Terms yields the terms of a field that the automaton accepts, in the order
	// of their bytes; all of them if it is nil. It ends after an error.
	// The bytes of a term are good until the next.
	Terms(ctx context.Context, f Field, a Automaton) iter.Seq2[Term, error]
	// TermsAt yields the terms of a Keyword field that have these ordinals, which
	// rise. The bytes of a term are good until the next.
	TermsAt(ctx context.Context, f Field, ordinals []uint32) iter.Seq2[Term, error]
	// Postings returns the documents of a term.
	Postings(ctx context.Context, t Term, need Need) (*Postings, error)
	// Column returns the values of a field by document: see Kind. A field that no
	// document has gets a column without values.
	Column(ctx context.Context, f Field) (Column, error)
	// Source returns the records of documents, which rise; false when the split
	// does not keep them.
	Source(ctx context.Context, docs []uint32) ([]Source, bool, error)
}

// Bounds are what a split covers.
type Bounds struct {
	Documents   uint32
	First, Next int64 // offsets; not every one of them has a document
	// TimestampMin and TimestampMax bound the documents' timestamps, in ms.
	TimestampMin, TimestampMax int64
}

// Term is a term of a field, as one split has it.
type Term struct {
	Field     Field
	Bytes     []byte
	Ordinal   uint32 // place among the field's terms, by their bytes; Lookup leaves it out
	Documents uint32 // that have it; 0: the term is not there

	number              uint32 // in a Memory
	postings, positions section
	inline              []byte // postings and positions of one document
}

// Automaton accepts terms byte by byte. It is the interface of
// github.com/blevesearch/vellum, whose regexp and Levenshtein automata it takes.
type Automaton interface {
	Start() int
	IsMatch(state int) bool
	CanMatch(state int) bool
	WillAlwaysMatch(state int) bool
	Accept(state int, b byte) int
}

// Need says what is read of postings.
type Need uint8

// What is read of postings, beyond the documents.
const (
	Documents   Need = iota // nothing more; Freq may not be called
	Frequencies             // Freq
	Positions               // Freq and Positions
)

// Source is a record as it was indexed.
type Source struct {
	Key, Value []byte // nil: null
}
