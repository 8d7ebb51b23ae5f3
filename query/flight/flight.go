// Package flight serves SQL over topics as Arrow Flight SQL.
//
// It is an encoding of what a Backend answers, the query node, and holds no
// state of clients: a ticket and the handle of a prepared statement contain the
// query itself, with its parameters and options, so that behind a balancer any
// node can serve any of a client's calls. They grant nothing: what they contain
// is checked when it runs, for whoever shows them.
//
// Promises: record batches go out as they come from the Backend, no faster than
// the client reads them, in messages that fit the receive limit of gRPC's
// clients (4 MiB) unless a single row is larger; a call that ends, for whatever
// reason, ends its query; an error in the middle of a stream ends it with a
// status, never as if it were complete. Errors are gRPC statuses with the HTTP
// API's error_code in their details.
//
// A query only reads: updates, ingestion, transactions and Substrait plans are
// refused.
package flight

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/chronik-stream/chronik/query/auth"
	"github.com/chronik-stream/chronik/query/peers"
)

// Names under which drivers find the topics: SQL may write
// chronik.topics."orders", or "orders" alone.
const (
	Catalog   = "chronik"
	Schema    = "topics"
	TableType = "TABLE"
)

// Statement is a query as a client asks it.
type Statement struct {
	SQL     string
	Nearest *Nearest // a search by meaning instead of SQL
	// Parameters are the values of ? and $1: nil, bool, int64, uint64, float64,
	// string, []byte, time.Time for a moment, arrow.Timestamp (µs) for one without
	// a zone, arrow.Date32, arrow.Time64 (µs), and Decimal.
	Parameters []any
	Freshness  string        // latest, available, cold; empty: the default
	Timeout    time.Duration // 0: the default
	Principal  auth.Principal
	Place      peers.Place // which node may answer
}

// Nearest is a search for the records that are nearest to a text or a vector, as the
// body of the request over HTTP has it.
type Nearest struct {
	Topic string          `json:"topic"`
	Body  json.RawMessage `json:"body"`
}

// Cursor is the answer of a running query.
type Cursor interface {
	// Schema is that of every batch. Its metadata are passed on to the client.
	Schema() *arrow.Schema
	// Next returns the next batch, which the caller releases, or io.EOF.
	Next() (arrow.RecordBatch, error)
	// Close ends the query, wherever it is.
	Close() error
}

// Description is what is known of a statement that did not run.
type Description struct {
	Schema     *arrow.Schema
	Parameters []arrow.DataType // of the statement's parameters, in order
}

// Table is one entry of a listing.
type Table struct {
	Name   string        // by which a query names it, in quotes
	Schema *arrow.Schema // nil unless it was asked for
}

// Backend answers queries. Its methods may be called at once; their errors are
// *envelope.Failure, those of contexts, *peers.Elsewhere for a statement that may
// be answered anywhere, or internal.
type Backend interface {
	// Query runs a statement until ctx or its timeout ends.
	Query(ctx context.Context, s Statement) (Cursor, error)
	// Describe tells what Query would answer, without running the statement.
	// Parameters that a statement does not give yet count as null.
	Describe(ctx context.Context, s Statement) (*Description, error)
	// Tables lists the tables whose names match, with schemas if asked to.
	Tables(ctx context.Context, p auth.Principal, match func(name string) bool, schemas bool) ([]Table, error)
}

// Options of a server; Backend and Version are required.
type Options struct {
	Backend Backend
	Auth    auth.Authenticator // nil: everybody is anonymous
	Version string             // of the product
	Timeout time.Duration      // of a query that names none and whose call has no deadline
	Peers   *peers.Peers       // nil: every call is answered here
	Log     *slog.Logger       // nil: none
	// Observe is told how each call ended, by the gRPC code's name. Nil: nobody.
	Observe func(method, code string, took time.Duration)
}

// New returns the service, to be registered with a gRPC server.
func New(o Options) flight.FlightServer {
	if o.Auth == nil {
		o.Auth = auth.Anonymous("anonymous")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{backend: o.Backend, running: &running{}, info: serverInfo(o.Version), timeout: o.Timeout, peers: o.Peers}
	s.Alloc = memory.DefaultAllocator
	for id, value := range s.info {
		if err := s.RegisterSqlInfo(flightsql.SqlInfo(id), value); err != nil {
			o.Log.Error("an entry of the server's information has a type that Flight SQL does not know", "err", err)
		}
	}
	return &guard{inner: &wire{FlightServer: flightsql.NewFlightServer(s), server: s}, o: o}
}

// server implements Flight SQL's calls, but for the streams of answers.
type server struct {
	flightsql.BaseServer
	backend Backend
	info    flightsql.SqlInfoResultMap
	running *running
	timeout time.Duration // 0: none
	peers   *peers.Peers  // nil: there are none
}

// wire is Flight as it is on the wire: what is not Flight SQL, and the streams
// of answers, which go from the Backend to the client without a goroutine in
// between. Flight SQL's other commands go to the library, which takes them
// apart for server.
type wire struct {
	flight.FlightServer
	server *server
}
