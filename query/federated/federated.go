// Package federated puts one question to several topics and kinds of search at
// once, and makes one ranking of what they find: words, meaning, SQL, and records
// as they lie in the log. It is the HTTP surface /_query as well.
//
// Each pair of a topic and a mode is a backend with a time of its own. One that is
// not done by then is left out, and the answer says so; one that fails makes the
// answer fail. Records of the ranking are read from the log once they are known.
package federated

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/query/fusion"
	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
	"github.com/chronik-stream/chronik/query/vector"
)

// Mode is a kind of search.
type Mode string

// The modes.
const (
	Text   Mode = "text"   // by words
	Vector Mode = "vector" // by meaning
	SQL    Mode = "sql"    // rows that are records
	Fetch  Mode = "fetch"  // from an offset on
)

// Source is a topic, and how it is searched.
type Source struct {
	Topic string
	Modes []Mode
}

// Range says which records of the log mode Fetch reads.
type Range struct {
	Offset    int64
	Partition *int32 // nil: all that the filter takes
	BytesMax  int
}

// Request is a question. Each mode that a source has is given what it looks for.
type Request struct {
	Sources  []Source
	Words    string // of Text
	Meaning  string // of Vector
	SQL      string // of SQL
	Fetch    *Range // of Fetch
	Filter   vector.Filter
	K        int // records of the answer, up to vector.KMax
	Profile  Profile
	Timeout  time.Duration // of each backend
	Grouped  bool          // what each backend found is wanted, too
	Freshest snapshot.Freshness
	// Principal is who asks.
	Principal string
}

// Backends are what is asked.
type Backends struct {
	Text    hybrid.Text
	Vectors hybrid.Vectors
	SQL     Statements
	Log     Log
}

// Statements run SQL.
type Statements interface {
	// Open runs a statement up to its first rows.
	Open(ctx context.Context, statement string, fresh snapshot.Freshness, principal string) (Rows, error)
}

// Rows are the answer of a statement. Whoever opened them closes them.
type Rows interface {
	Schema() *arrow.Schema
	// Next returns rows, which the caller releases, or io.EOF.
	Next() (arrow.RecordBatch, error)
	// Coverage is by topic that the statement reads.
	Coverage() map[string]snapshot.Coverage
	Close() error
}

// Log reads records as they lie there.
type Log interface {
	// Fetch reads of a topic's partitions, nil: all, from an offset on, up to so many
	// records and bytes of each.
	Fetch(ctx context.Context, topic string, partitions []int32, first int64, recordsMax, bytesMax int) ([]tail.Fetched, error)
}

// Result is a record of the ranking.
type Result struct {
	fusion.Key
	Score    float64
	Features map[string]float64
	Preview  string
}

// Backend is what became of a topic's mode.
type Backend struct {
	Mode       Mode
	Topic      string
	Candidates int
	Took       time.Duration
	TimedOut   bool
	Coverage   *snapshot.Coverage
	Found      []Found // with Request.Grouped, the best first
}

// Found is a record as one backend found it.
type Found struct {
	fusion.Key
	Score     *float64 // nil: the mode has none
	Timestamp int64    // in ms; 0: it is not known
	Preview   string
	Row       []byte // of SQL, as JSON
	distance  *float32
}

// Answer is what was found.
type Answer struct {
	Results    []Result
	Backends   []Backend // in the order of the request
	Candidates int       // of all backends
	Ranked     int       // different records among them
	Warnings   []string
}

// Searcher asks the backends. Its methods may be called at once.
type Searcher struct {
	Backends
	Now      func() time.Time // for the freshness of records; nil: time.Now
	RowBytes int              // of rows in an answer, as JSON; 0: 256 MiB
}

// candidatesMin and candidatesFactor are as those of hybrid search.
const (
	candidatesMin    = 100
	candidatesFactor = 3
)

// Search answers a request. Errors are those of the backends, as a *BackendError.
func (s *Searcher) Search(ctx context.Context, r Request) (*Answer, error) {
	var asked []*backend
	for _, source := range r.Sources {
		for _, mode := range source.Modes {
			asked = append(asked, &backend{searcher: s, request: &r, topic: source.Topic, mode: mode, max: max(candidatesMin, candidatesFactor*r.K)})
		}
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(backendsAtOnce)
	for _, b := range asked {
		group.Go(func() error { return b.run(inner) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	a := &Answer{}
	for _, b := range asked {
		if b.outcome.TimedOut {
			a.Warnings = append(a.Warnings, fmt.Sprintf("mode %s of topic %s was not done within %s: what it would have found is missing", b.mode, b.topic, r.Timeout))
		}
		a.Warnings = append(a.Warnings, b.warnings...)
		a.Candidates += b.outcome.Candidates
	}
	if !slices.ContainsFunc(asked, func(b *backend) bool { return !b.outcome.TimedOut }) {
		return nil, fmt.Errorf("no backend was done within %s: %w", r.Timeout, context.DeadlineExceeded)
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	ranking := rank(asked, r.Profile, now())
	a.Ranked = len(ranking)
	a.Results = ranking[:min(len(ranking), r.K)]
	for _, b := range asked {
		if r.Grouped {
			b.outcome.Found = b.found[:min(len(b.found), r.K)]
		}
		a.Backends = append(a.Backends, b.outcome)
	}
	return a, s.preview(ctx, &r, a, asked)
}

// backendsAtOnce bounds how many backends of one request are asked at once.
const backendsAtOnce = 16

// BackendError says which backend failed.
type BackendError struct {
	Mode  Mode
	Topic string
	Err   error
}

// Error implements error.
func (e *BackendError) Error() string {
	return fmt.Sprintf("mode %s of topic %s: %v", e.Mode, e.Topic, e.Err)
}

// Unwrap gives errors.Is and errors.As what was wrong.
func (e *BackendError) Unwrap() error { return e.Err }

// fresh is how fresh a backend has to be, which has a default of its own.
func (r *Request) fresh(byDefault snapshot.Freshness) snapshot.Freshness {
	if r.Freshest != "" {
		return r.Freshest
	}
	return byDefault
}
