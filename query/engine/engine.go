// Package engine runs checked SQL on DuckDB over local Parquet files. It is the
// only package that knows DuckDB, and the build tag nosql leaves it out.
//
// Every query has a DuckDB instance of its own, which dies with it: it can open
// the files that the query was bound to and nothing else, its settings are
// locked before the query's text is seen, and no extension can be loaded. That
// alone is no sandbox (an allowed file may be written, a setting that is not
// locked may have effects), so only SQL that passed package gate belongs here.
//
// Promises: an answer is a stream of Arrow batches that takes a few megabytes
// whatever its size; a query ends soon after its context does, also while
// nobody reads; its answer never exceeds the asked rows; times are UTC.
// DuckDB's own memory limit counts its buffers only. So its allocator is watched
// (account_linux.c): a query that needs more than it may have is ended by name.
package engine

import (
	"errors"
	"log/slog"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
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

// Unfinished is the error of a query that was told to end and has not yet: DuckDB
// is in the middle of a step. What it uses stays in use until Ended is closed. It
// wraps the reason for its end.
type Unfinished struct {
	Ended  <-chan struct{}
	reason error
}

func (u *Unfinished) Error() string { return u.reason.Error() }
func (u *Unfinished) Unwrap() error { return u.reason }

// Options bound what one query may use. Zero fields have the defaults named.
type Options struct {
	Threads        int    // of one query; default: one per core
	MemoryBytesMax int64  // of one query; default 1 GiB
	SpillDir       string // for what does not fit into memory; required, emptied by Open
	SpillBytesMax  int64  // of one query; default 8 GiB
	Log            *slog.Logger
}

// View is a name in schema "topics" for a SELECT over files.
type View struct {
	Name string
	SQL  string
}

// Decimal is a parameter with Scale digits behind the point. The other types of
// parameters are nil, bool, int64, uint64, float64, string, []byte, time.Time
// for a moment, arrow.Timestamp for microseconds without a zone, arrow.Date32,
// and arrow.Time64 for microseconds.
type Decimal struct {
	Unscaled         *big.Int
	Precision, Scale uint8
}

// Description is what is known of a query before it runs.
type Description struct {
	Schema     *arrow.Schema
	Parameters []arrow.DataType
}

// Query is what runs in one instance.
type Query struct {
	Views      []View
	Files      []string // every file that the views read, and no other
	SQL        string
	Parameters []any // of ? and $1, see Decimal
	RowsMax    int64 // further ones are left out, and Rows.Truncated says so
}
