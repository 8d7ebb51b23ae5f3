// Package textsearch answers the queries of internal/textquery over splits of
// internal/textindex: which documents match, how well, in which order, and what
// their fields have in common.
//
// A search has two phases. First the terms of the query are looked up in all
// splits, and their statistics summed; then each split is searched, in parallel,
// with weights made of these sums. So a score is BM25 as the textbook has it
// (k1 1.2, b 0.75, exact lengths), the same to the last digit however the records
// are cut into splits: documents' scores are sums in the order in which the query
// names its parts, and hits that score the same are in the order of topic,
// partition and offset.
//
// Counts of aggregations are exact, sums too, whatever the order of adding;
// cardinality is exact up to 40,000 values and estimated beyond; percentiles are
// always estimated.
//
// Nothing here reads a clock or a configuration; the splits are whoever calls'.
package textsearch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// Part is one split of one partition.
type Part struct {
	Topic     string
	Partition int32
	Split     textindex.Split
	// Analyzer is what the split's texts were analysed with.
	Analyzer *analysis.Analyzer
	// Hidden are documents that are no longer part of the log; nil: none. They are
	// not found, and go on to count in the statistics of terms.
	Hidden *roaring.Bitmap
}

// Searcher searches some parts.
type Searcher struct {
	Parts []Part
	// Now is what "now" means in a query.
	Now time.Time
	// Parallel is how many parts are searched at once; 0: as many as there are
	// processors.
	Parallel int
	// Source gets the records of hits of a part whose split does not keep them.
	// Documents rise. nil: such hits have none.
	Source func(ctx context.Context, p *Part, docs []uint32) ([]textindex.Source, error)
	// Until is closed when the answer shall be what was found by then; nil: never.
	Until <-chan struct{}
}

// Result is the answer to a request.
type Result struct {
	Total      int64
	AtLeast    bool // there may be more than Total
	Counted    bool // false: nobody wanted to know Total
	MaxScore   *float64
	Hits       []Hit
	Aggs       []AggResult
	PartsTotal int
	// PartsSkipped are those of which no document could match.
	PartsSkipped int
	// Cut is set where Until ended the search before its end.
	Cut bool
}

// Hit is a document that was found.
type Hit struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64    // ms
	Score     *float64 // nil: sorted by something else
	Sort      []any    // values of the sort keys: string, int64, float64, bool or nil
	Key       []byte
	Value     []byte
	Found     bool // Key and Value are there
	Highlight map[string][]string
	Fields    map[string][]any // that were asked for: string, int64, float64, bool or GeoJSON's Point

	part  int
	doc   uint32
	score float64
	keys  []sortValue
}

// ID is the hit's _id.
func (h *Hit) ID() string { return fmt.Sprintf("%s-%d-%d", h.Topic, h.Partition, h.Offset) }

// Count counts the documents that match.
func (s *Searcher) Count(ctx context.Context, q textquery.Query) (int64, error) {
	r := textquery.NewRequest()
	r.Query, r.Size, r.Total = q, 0, textquery.Total{Exact: true}
	result, err := s.Search(ctx, r)
	if err != nil {
		return 0, err
	}
	return result.Total, nil
}

// Search answers a request. What goes wrong in reading a part is a *PartError.
func (s *Searcher) Search(ctx context.Context, r *textquery.Request) (*Result, error) {
	x, err := s.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	found := make([]*partial, len(s.Parts))
	err = s.each(ctx, func(ctx context.Context, i int) (err error) {
		found[i], err = x.run(ctx, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	return x.merge(ctx, found)
}

// each works on all parts, some at once. A panic of the work is one of the
// caller's, who can bear it: in a goroutine of its own it would end the process.
func (s *Searcher) each(ctx context.Context, work func(ctx context.Context, part int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	limit := s.Parallel
	if limit <= 0 {
		limit = runtime.GOMAXPROCS(0)
	}
	group.SetLimit(limit)
	for i := range s.Parts {
		group.Go(func() (err error) {
			defer func() {
				if cause := recover(); cause != nil {
					err = &panicked{cause, debug.Stack()}
				}
			}()
			if err := ctx.Err(); err != nil {
				return err
			}
			return ofPart(i, work(ctx, i))
		})
	}
	err := group.Wait()
	if p := (*panicked)(nil); errors.As(err, &p) {
		panic(p) // a mistake in the work, which has panicked before
	}
	return err
}

// panicked is a panic on its way from one goroutine to another.
type panicked struct {
	cause any
	stack []byte // where it was
}

// Error implements error, so that it is logged with its place.
func (p *panicked) Error() string { return fmt.Sprintf("%v\n\n%s", p.cause, p.stack) }

// before is the order of hits that nothing else tells apart.
func (s *Searcher) before(a, b *Hit) int {
	p, q := &s.Parts[a.part], &s.Parts[b.part]
	return cmp.Or(cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Partition, q.Partition), cmp.Compare(a.Offset, b.Offset))
}

// errFields is what a query that fits no field of a name ends with; whoever asks
// several fields leaves those out.
var errFields = errors.New("the value does not fit the field")
