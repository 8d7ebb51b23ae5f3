// Package engine runs checked SQL on DuckDB over local Parquet files. It is the
// only package that knows DuckDB, and the build tag nosql leaves it out.
//
// Every query has a DuckDB instance of its own, which dies with it: it can open
// the files that the query was bound to and nothing else, its settings are
// locked before the query's text is seen, and no extension can be loaded. That
// alone is no sandbox (an allowed file may be written, a setting that is not
// locked may have effects), so only SQL that passed package gate belongs here.
//
// Promises: a query ends soon after its context does; its answer never exceeds
// the asked rows and Options.AnswerBytesMax; times are UTC. DuckDB's memory
// limit is soft, so a query can use more for a moment.
package engine

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"unicode/utf8"
)

// Errors of a query, to be tested with errors.Is. An error that is none of them
// and not the context's is the node's own trouble.
var (
	// ErrDisabled: this binary was built without DuckDB.
	ErrDisabled = errors.New("this build has no SQL engine")
	// ErrQuery: the query's own fault: unknown columns, types that do not fit,
	// a division by zero.
	ErrQuery = errors.New("query failed")
	// ErrTooLarge: the query needs more memory, or its answer more bytes, than
	// one query may have.
	ErrTooLarge = errors.New("query too large")
	// ErrFile: a file that the query reads is damaged or gone.
	ErrFile = errors.New("file cannot be read")
)

// Options bound what one query may use. Zero fields have the defaults named.
type Options struct {
	Threads        int    // of one query; default: one per core
	MemoryBytesMax int64  // of one query, soft; default 1 GiB
	AnswerBytesMax int64  // of one answer, as values; default 256 MiB
	SpillDir       string // for what does not fit into memory; required, emptied by Open
	SpillBytesMax  int64  // of one query; default 8 GiB
	Log            *slog.Logger
}

// View is a name in schema "topics" for a SELECT over files.
type View struct {
	Name string
	SQL  string
}

// Query is what runs in one instance.
type Query struct {
	Views   []View
	Files   []string // every file that the views read, and no other
	SQL     string
	RowsMax int64
}

// Column is one column of an answer.
type Column struct {
	Name string
	Type Type
}

// Answer holds a query's rows. Values are ready for encoding/json: nil, bool,
// integers, floats, *big.Int, json.Number, string, Binary, []any and
// map[string]any.
type Answer struct {
	Columns   []Column
	Rows      [][]any
	Truncated bool // there were more than RowsMax
}

// Binary is a value of type BLOB. In JSON it is text when it is valid UTF-8,
// else {"$binary": base64}.
type Binary []byte

// MarshalJSON implements json.Marshaler.
func (b Binary) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"$binary": base64.StdEncoding.EncodeToString(b)})
}
