package milvus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	sdk "github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// KMax is how many hits Milvus gives at most.
const KMax = 16384

// Bounds of what Milvus accepts as effort.
const (
	efMax     = 32768
	probesMin = 16
)

// Query asks for the nearest rows.
type Query struct {
	Vector []float32
	K      int // at most KMax
	Ranges []Range
	// Times bound the timestamps; nil: no bounds.
	Times *vectorindex.Times
	// Ef and Probes are how many candidates of a graph and how many lists are
	// looked at, at least.
	Ef, Probes int
}

// Hit is a row.
type Hit struct {
	Partition int32
	vectorindex.Hit
}

// Search finds the nearest rows of a collection in the ranges of offsets, the
// nearest first; of those at one distance the lowest partition and offset. Rows
// that were upserted before are seen. Distances are those of the metric in
// vectorindex. A collection that is another one than in says has been ErrMissing
// for ten seconds at most when that is found out.
func (c *Client) Search(ctx context.Context, in Collection, q Query) ([]Hit, error) {
	if q.K < 1 || q.K > KMax {
		return nil, fmt.Errorf("searching %s for %d rows: Milvus gives 1 to %d", in.Name, q.K, KMax)
	}
	if err := vectorindex.Check(q.Vector, in.Dimensions); err != nil {
		return nil, fmt.Errorf("searching %s: %w", in.Name, err)
	}
	if len(q.Ranges) == 0 {
		return nil, nil
	}
	err := c.same(ctx, in)
	var hits []Hit
	if err == nil {
		hits, err = c.search(ctx, in, q)
	}
	if err != nil {
		return nil, fmt.Errorf("searching %s: %w", in.Name, err)
	}
	slices.SortFunc(hits, compareHits)
	return hits, nil
}

// incarnation is what a collection was when somebody looked.
type incarnation struct {
	name string
	at   time.Time
}

// lookEvery is how old that may be.
const lookEvery = 10 * time.Second

// same says whether the collection is the one that in says.
func (c *Client) same(ctx context.Context, in Collection) error {
	if in.Incarnation == "" {
		return nil
	}
	c.mu.Lock()
	is, known := c.known[in.Name]
	c.mu.Unlock()
	if !known || is.name != in.Incarnation || time.Since(is.at) > lookEvery {
		name, err := c.Incarnation(ctx, in.Name)
		if err != nil {
			return err
		}
		is = incarnation{name, time.Now()}
		c.mu.Lock()
		c.known[in.Name] = is
		c.mu.Unlock()
	}
	if is.name != in.Incarnation {
		return fmt.Errorf("another one is in its place: %w", ErrMissing)
	}
	return nil
}

func (c *Client) search(ctx context.Context, in Collection, q Query) ([]Hit, error) {
	metric, err := metricOf(in.Metric)
	if err != nil {
		return nil, err
	}
	effort, err := in.effort(q)
	if err != nil {
		return nil, err
	}
	var vector entity.Vector = entity.FloatVector(q.Vector)
	if in.Encoding == vectorindex.F16 {
		vector = entity.Float16Vector(halves(q.Vector))
	}
	var found []sdk.SearchResult
	err = c.call(ctx, func(ctx context.Context) error {
		found, err = c.sdk.Search(ctx, in.Name, nil, where(q.Ranges, q.Times), []string{fieldTimestamp},
			[]entity.Vector{vector}, fieldVector, metric, q.K, effort, strong)
		return err
	})
	if errors.Is(err, errNothing) {
		return nil, nil
	}
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d answers to one query", len(found))
	}
	if err != nil {
		return nil, err
	}
	return in.hits(&found[0])
}

// strong makes Milvus see all that was upserted before it was asked. Its
// default may be seconds behind, and coverage would not be true.
func strong(o *sdk.SearchQueryOption) { o.ConsistencyLevel = entity.ClStrong }

func (c *Collection) effort(q Query) (entity.SearchParam, error) {
	switch c.Kind {
	case vectorindex.HNSW:
		return entity.NewIndexHNSWSearchParam(min(efMax, max(q.Ef, q.K)))
	case vectorindex.IVF:
		return entity.NewIndexIvfFlatSearchParam(min(lists, max(q.Probes, probesMin)))
	}
	return entity.NewIndexFlatSearchParam()
}

func (c *Collection) hits(found *sdk.SearchResult) ([]Hit, error) {
	if found.Err != nil {
		return nil, found.Err
	}
	keys, ok := found.IDs.(*entity.ColumnVarChar)
	times, timed := found.Fields.GetColumn(fieldTimestamp).(*entity.ColumnInt64)
	if !ok || !timed || keys.Len() != found.ResultCount || times.Len() != found.ResultCount || len(found.Scores) != found.ResultCount {
		return nil, errors.New("an answer whose columns do not fit")
	}
	hits := make([]Hit, found.ResultCount)
	for i, k := range keys.Data() {
		partition, offset, err := record(k)
		if err != nil {
			return nil, err
		}
		hits[i] = Hit{Partition: partition, Hit: vectorindex.Hit{Offset: offset, Timestamp: times.Data()[i], Distance: distance(c.Metric, found.Scores[i])}}
	}
	return hits, nil
}

// distance is the metric's own, of the number that Milvus gives: a cosine, a
// square, a product.
func distance(m vectorindex.Metric, score float32) float32 {
	switch {
	case m == vectorindex.Euclidean:
		return float32(math.Sqrt(max(0, float64(score))))
	case m == vectorindex.Dot:
		return -score
	case math.IsNaN(float64(score)): // a vector of zeros has no angle
		return 1
	}
	return 1 - score
}

func compareHits(a, b Hit) int {
	switch {
	case a.Distance < b.Distance:
		return -1
	case a.Distance > b.Distance:
		return 1
	case a.Partition != b.Partition:
		return int(a.Partition) - int(b.Partition)
	case a.Offset < b.Offset:
		return -1
	case a.Offset > b.Offset:
		return 1
	}
	return 0
}
