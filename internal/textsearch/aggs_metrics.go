package textsearch

import (
	"context"
	"math"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/caio/go-tdigest/v4"

	"github.com/chronik-stream/chronik/internal/textquery"
)

// perBucket holds what is gathered of each bucket.
type perBucket[T any] struct {
	all    []*T
	budget *budget
	bytes  int64 // that one takes, about
}

func newPerBucket[T any](s *shard, bytes int64) perBucket[T] {
	return perBucket[T]{budget: s.plan.budget, bytes: bytes}
}

func (p *perBucket[T]) get(bucket int, make func() *T) (*T, error) {
	for bucket >= len(p.all) {
		p.all = append(p.all, nil)
	}
	if p.all[bucket] == nil {
		if err := p.budget.gather(p.bytes); err != nil {
			return nil, err
		}
		p.all[bucket] = make()
	}
	return p.all[bucket], nil
}

// peek is what was gathered of a bucket; nil when there was nothing.
func (p *perBucket[T]) peek(bucket int) *T {
	if bucket < len(p.all) {
		return p.all[bucket]
	}
	return nil
}

// metricAggregator sums up numbers.
type metricAggregator struct {
	perBucket[metricPartial]
	values *values
	op     textquery.Metric
}

type metricPartial struct {
	count        int64
	sum, squares exactSum
	low, high    float64
}

func newMetric() *metricPartial { return &metricPartial{low: math.Inf(1), high: math.Inf(-1)} }

func (m *metricPartial) merge(other aggPartial) error {
	if o, ok := other.(*metricPartial); ok {
		m.count += o.count
		m.low, m.high = min(m.low, o.low), max(m.high, o.high)
		m.sum.merge(&o.sum)
		m.squares.merge(&o.squares)
	}
	return nil
}

func (a *metricAggregator) collect(doc uint32, bucket int, _ cursor) error {
	m, err := a.get(bucket, newMetric)
	if err != nil {
		return err
	}
	if a.op == textquery.ValueCount {
		return a.values.each(doc, func(bucketKey) error {
			m.count++
			return nil
		})
	}
	a.values.numbers(doc, func(x float64) {
		m.count++
		m.low, m.high = min(m.low, x), max(m.high, x)
		switch a.op {
		case textquery.Min, textquery.Max:
			return
		case textquery.ExtendedStats:
			m.squares.add(x * x)
		}
		m.sum.add(x)
	})
	return nil
}

func (a *metricAggregator) of(bucket int) aggPartial {
	if m := a.peek(bucket); m != nil {
		return m
	}
	return nil
}

func (a *metricAggregator) close(context.Context) error                { return nil }
func (a *metricAggregator) finish(context.Context) (aggPartial, error) { return a.of(0), nil }

// cardinalityAggregator counts different values. Of a keyword it notes ordinals,
// and makes texts of them, which are the same in all parts, at the end.
type cardinalityAggregator struct {
	perBucket[distinctPartial]
	shard  *shard
	values *values
}

type distinctPartial struct {
	*distinct
	ordinals *roaring.Bitmap
}

func newCardinality(s *shard, v *values) aggregator {
	return &cardinalityAggregator{perBucket: newPerBucket[distinctPartial](s, distinctBytes), shard: s, values: v}
}

func (d *distinctPartial) merge(other aggPartial) error {
	if o, ok := other.(*distinctPartial); ok {
		return d.distinct.merge(o.distinct)
	}
	return nil
}

func (a *cardinalityAggregator) collect(doc uint32, bucket int, _ cursor) error {
	d, err := a.get(bucket, func() *distinctPartial { return &distinctPartial{newDistinct(), roaring.New()} })
	if err != nil {
		return err
	}
	return a.values.each(doc, func(k bucketKey) error {
		if fresh := d.take(k); fresh {
			return a.budget.gather(valueBytes)
		}
		return nil
	})
}

// take counts a value, and reports whether it takes memory as one more.
func (d *distinctPartial) take(k bucketKey) (fresh bool) {
	if k.kind == ordinalValue {
		return d.ordinals.CheckedAdd(uint32(k.whole))
	}
	before := len(d.exact)
	d.add(k.hash())
	return len(d.exact) > before
}

func (a *cardinalityAggregator) close(ctx context.Context) error {
	all := roaring.New()
	for _, d := range a.all {
		if d != nil {
			all.Or(d.ordinals)
		}
	}
	if all.IsEmpty() {
		return nil
	}
	hashes := make(map[uint32]uint64, all.GetCardinality())
	for t, err := range a.shard.Split.TermsAt(ctx, a.values.fields[0], all.ToArray()) {
		if err != nil {
			return err
		}
		hashes[t.Ordinal] = bucketKey{kind: textValue, text: string(t.Bytes)}.hash()
	}
	for _, d := range a.all {
		if d == nil {
			continue
		}
		for it := d.ordinals.Iterator(); it.HasNext(); {
			d.add(hashes[it.Next()])
		}
		d.ordinals = nil
	}
	return nil
}

func (a *cardinalityAggregator) of(bucket int) aggPartial {
	if d := a.peek(bucket); d != nil {
		return d
	}
	return nil
}

func (a *cardinalityAggregator) finish(ctx context.Context) (aggPartial, error) {
	return a.of(0), a.close(ctx)
}

// percentilesAggregator estimates how values are distributed.
type percentilesAggregator struct {
	perBucket[digestPartial]
	values      *values
	compression float64
	failed      error
}

type digestPartial struct{ *tdigest.TDigest }

func (d *digestPartial) merge(other aggPartial) error {
	if o, ok := other.(*digestPartial); ok {
		return d.Merge(o.TDigest)
	}
	return nil
}

func (a *percentilesAggregator) collect(doc uint32, bucket int, _ cursor) error {
	d, err := a.get(bucket, func() *digestPartial {
		t, err := tdigest.New(tdigest.Compression(a.compression))
		if err != nil {
			a.failed = err
		}
		return &digestPartial{t}
	})
	if err != nil {
		return err
	}
	a.values.numbers(doc, func(x float64) {
		if a.failed == nil {
			a.failed = d.Add(x)
		}
	})
	return a.failed
}

func (a *percentilesAggregator) of(bucket int) aggPartial {
	if d := a.peek(bucket); d != nil {
		return d
	}
	return nil
}

func (a *percentilesAggregator) close(context.Context) error                { return nil }
func (a *percentilesAggregator) finish(context.Context) (aggPartial, error) { return a.of(0), nil }

// topHitsAggregator keeps the best documents of each bucket.
type topHitsAggregator struct {
	perBucket[hitsPartial]
	shard *shard
	keys  *openKeys
	most  int
}

type hitsPartial struct {
	top   topHits
	total int64
	best  float64
}

func (h *hitsPartial) merge(other aggPartial) error {
	if o, ok := other.(*hitsPartial); ok {
		h.total += o.total
		h.best = max(h.best, o.best)
		h.top.hits = append(h.top.hits, o.top.hits...) // they are put in order, and cut, at the end
	}
	return nil
}

func (a *topHitsAggregator) collect(doc uint32, bucket int, score cursor) error {
	h, err := a.get(bucket, func() *hitsPartial {
		return &hitsPartial{top: topHits{most: a.most, before: a.keys.before()}, best: math.Inf(-1)}
	})
	if err != nil {
		return err
	}
	value := score.score()
	h.top.add(a.keys.hit(doc, value)) // there is nothing that the client has seen
	h.total++
	h.best = max(h.best, value)
	return nil
}

func (a *topHitsAggregator) of(bucket int) aggPartial {
	if h := a.peek(bucket); h != nil {
		return h
	}
	return nil
}

func (a *topHitsAggregator) close(ctx context.Context) error {
	for _, h := range a.all {
		if h == nil {
			continue
		}
		if err := a.keys.finish(ctx, h.top.hits); err != nil {
			return err
		}
		for i := range h.top.hits {
			h.top.hits[i].part = a.shard.index
		}
	}
	return nil
}

func (a *topHitsAggregator) finish(ctx context.Context) (aggPartial, error) {
	return a.of(0), a.close(ctx)
}
