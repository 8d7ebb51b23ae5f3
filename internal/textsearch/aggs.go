package textsearch

import (
	"context"
	"hash/fnv"
	"math"
	"strconv"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// AggResult is what an aggregation computed.
type AggResult struct {
	Name string
	Type string // as clients that ask for typed_keys see it
	// Values are the numbers of a metric, by name; nil stands for no number.
	Values map[string]any
	// Percentiles are pairs of percent and value; nil: there are none.
	Percentiles [][2]float64
	// Buckets of an aggregation that has them, or the only one of a filter.
	Buckets []Bucket
	Single  bool // a filter
	Keyed   bool
	Others  int64 // documents of buckets that are not shown; of terms
	// Hits of top_hits.
	Hits     []Hit
	Total    int64
	MaxScore *float64
	Spec     textquery.AggSpec
}

// Bucket is one bucket of an aggregation.
type Bucket struct {
	Key      any    // string, int64, float64; nil: it has none
	KeyText  string // the key as it is written, where that says more
	From, To *float64
	Count    int64
	Aggs     []AggResult
}

// aggNode is an aggregation that knows the fields there are.
type aggNode struct {
	textquery.Agg
	fields  []textindex.Field
	filters []node
	sorts   []sortKey
	subs    []aggNode
	low     *float64 // bounds of a histogram, as numbers
	high    *float64
	hardLow *float64
	hardTop *float64
	missing *bucketKey
	ranges  [][2]*float64
	format  *textquery.DateFormat
	terms   *termChoice
}

func wantsScores(a textquery.Agg) bool {
	if _, ok := a.Spec.(*textquery.TopHitsAgg); ok {
		return true
	}
	for _, sub := range a.Subs {
		if wantsScores(sub) {
			return true
		}
	}
	return false
}

// aggregator gathers, in one part, what an aggregation needs: of each bucket of
// the aggregation around it, which are numbered from 0.
type aggregator interface {
	collect(doc uint32, bucket int, score cursor) error
	// finish returns what was gathered of bucket 0, for aggregations that are in
	// none.
	finish(ctx context.Context) (aggPartial, error)
	// of returns what was gathered of a bucket; nil when there was nothing.
	of(bucket int) aggPartial
	// close makes what was gathered independent of the part.
	close(ctx context.Context) error
}

// aggPartial is what was gathered of one aggregation in one bucket.
type aggPartial interface {
	// merge takes in what another part has gathered.
	merge(other aggPartial) error
}

// bucketKey tells buckets apart. Its numbers and texts are as in sortValue.
type bucketKey sortValue

func (k bucketKey) value() any {
	switch k.kind {
	case wholeValue:
		return k.whole
	case doubleValue:
		return k.number
	}
	return k.text
}

func (k bucketKey) sortable() sortValue {
	return sortValue(k)
}

// bucketsPartial is buckets by key.
type bucketsPartial struct {
	buckets map[bucketKey]*bucketPartial
}

type bucketPartial struct {
	count int64
	subs  []aggPartial
}

func (b *bucketsPartial) merge(other aggPartial) error {
	o, ok := other.(*bucketsPartial)
	if !ok {
		return nil
	}
	for key, from := range o.buckets {
		to := b.buckets[key]
		if to == nil {
			b.buckets[key] = from
			continue
		}
		if err := to.merge(from); err != nil {
			return err
		}
	}
	if len(b.buckets) > keysMax {
		return errTooManyKeys
	}
	return nil
}

func (b *bucketPartial) merge(from *bucketPartial) error {
	b.count += from.count
	for i, sub := range from.subs {
		merged, err := mergePartials(b.subs[i], sub)
		if err != nil {
			return err
		}
		b.subs[i] = merged
	}
	return nil
}

func mergePartials(a, b aggPartial) (aggPartial, error) {
	switch {
	case a == nil:
		return b, nil
	case b == nil:
		return a, nil
	}
	return a, a.merge(b)
}

// keysMax bounds the different keys of one aggregation while they are counted.
const keysMax = 2_000_000

var errTooManyKeys = &textquery.Error{Type: "too_many_buckets_exception",
	Reason: "an aggregation has more than " + strconv.Itoa(keysMax) + " different keys; filter the query, or use cardinality"}

// values reads the values of an aggregation's fields in one part.
type values struct {
	fields  []textindex.Field
	columns []textindex.Column
	fixed   *bucketKey // what all documents of the part have
	missing *bucketKey
	double  bool // some part has fractions
	buffer  []int64
}

func (s *shard) values(ctx context.Context, n *aggNode) (*values, error) {
	v := &values{missing: n.missing}
	for _, f := range n.fields {
		v.double = v.double || f.Kind == textindex.Double
		if !s.has(f) {
			continue
		}
		c, err := s.column(ctx, f)
		if err != nil {
			return nil, err
		}
		v.fields, v.columns = append(v.fields, f), append(v.columns, c)
	}
	if name := n.fieldName(); len(n.fields) == 0 {
		switch name {
		case "_index", "_topic":
			v.fixed = &bucketKey{kind: textValue, text: s.Topic}
		case "_partition":
			v.fixed = &bucketKey{kind: wholeValue, whole: int64(s.Partition)}
		}
	}
	return v, nil
}

// each calls yield with every value of a document: a key, which of a keyword is
// its ordinal.
func (v *values) each(doc uint32, yield func(k bucketKey) error) error {
	found := false
	for i, c := range v.columns {
		v.buffer = c.Append(v.buffer[:0], doc)
		for _, value := range v.buffer {
			found = true
			if err := yield(v.key(v.fields[i].Kind, value)); err != nil {
				return err
			}
		}
	}
	switch {
	case found:
	case v.fixed != nil:
		return yield(*v.fixed)
	case v.missing != nil:
		return yield(*v.missing)
	}
	return nil
}

func (v *values) key(kind textindex.Kind, value int64) bucketKey {
	switch {
	case kind == textindex.Keyword:
		return bucketKey{kind: ordinalValue, whole: value}
	case v.double:
		return bucketKey{kind: doubleValue, number: number(kind, value)}
	}
	return bucketKey{kind: wholeValue, whole: value}
}

// numbers is each for aggregations of numbers.
func (v *values) numbers(doc uint32, yield func(x float64)) {
	found := false
	for i, c := range v.columns {
		v.buffer = c.Append(v.buffer[:0], doc)
		for _, value := range v.buffer {
			found = true
			yield(number(v.fields[i].Kind, value))
		}
	}
	fallback := v.missing
	if v.fixed != nil {
		fallback = v.fixed
	}
	if !found && fallback != nil {
		yield(fallback.sortable().float())
	}
}

// hash tells values apart, the same in every part.
func (k bucketKey) hash() uint64 {
	switch k.kind {
	case wholeValue:
		return mix(uint64(k.whole))
	case doubleValue:
		if k.number == 0 {
			return mix(0)
		}
		return mix(math.Float64bits(k.number))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(k.text)) // it never fails
	return mix(h.Sum64())
}

func (n *aggNode) fieldName() string {
	switch s := n.Spec.(type) {
	case *textquery.TermsAgg:
		return s.Field
	case *textquery.DateHistogramAgg:
		return s.Field
	case *textquery.HistogramAgg:
		return s.Field
	case *textquery.RangeAgg:
		return s.Field
	case *textquery.MetricAgg:
		return s.Field
	case *textquery.PercentilesAgg:
		return s.Field
	}
	return ""
}
