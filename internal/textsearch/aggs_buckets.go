package textsearch

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// termsAggregator counts values.
type termsAggregator struct {
	buckets
	shard  *shard
	node   *aggNode
	values *values
}

func newTerms(s *shard, n *aggNode, v *values, subs []aggregator) *termsAggregator {
	a := &termsAggregator{buckets: newBuckets(s, subs), shard: s, node: n, values: v}
	if len(v.fields) > 0 && v.fields[0].Kind == textindex.Keyword {
		stats, _ := s.Split.Field(v.fields[0])
		a.dense.distinct = stats.Distinct
	}
	return a
}

func (a *termsAggregator) collect(doc uint32, bucket int, score cursor) error {
	return a.values.each(doc, func(k bucketKey) error { return a.put(doc, bucket, k, score) })
}

// close makes texts of ordinals.
func (a *termsAggregator) close(ctx context.Context) error {
	if err := a.buckets.close(ctx); err != nil {
		return err
	}
	return a.shard.texts(ctx, a.values, a.keys)
}

// texts makes texts of keys that are ordinals.
func (s *shard) texts(ctx context.Context, v *values, keys []bucketKey) error {
	var places []int // of such keys, by ordinal
	for i, k := range keys {
		if k.kind == ordinalValue {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return nil
	}
	slices.SortFunc(places, func(a, b int) int { return cmp.Compare(keys[a].whole, keys[b].whole) })
	ordinals := make([]uint32, 0, len(places))
	for _, i := range places {
		if o := uint32(keys[i].whole); len(ordinals) == 0 || ordinals[len(ordinals)-1] != o {
			ordinals = append(ordinals, o)
		}
	}
	for t, err := range s.Split.TermsAt(ctx, v.fields[0], ordinals) { // keywords come before numbers
		if err != nil {
			return err
		}
		text := string(t.Bytes)
		for len(places) > 0 && keys[places[0]].whole == int64(t.Ordinal) {
			keys[places[0]] = bucketKey{kind: textValue, text: text}
			places = places[1:]
		}
	}
	return nil
}

func (a *termsAggregator) finish(ctx context.Context) (aggPartial, error) {
	if err := a.close(ctx); err != nil {
		return nil, err
	}
	return a.of(0), nil
}

// histogramAggregator counts values by what they are rounded down to.
type histogramAggregator struct {
	buckets
	node   *aggNode
	values *values
	round  func(x float64) float64
	dates  bool
	last   []float64 // of the document at hand
}

func (a *histogramAggregator) collect(doc uint32, bucket int, score cursor) error {
	a.last = a.last[:0]
	a.values.numbers(doc, func(x float64) {
		if (a.node.hardLow != nil && x < *a.node.hardLow) || (a.node.hardTop != nil && x > *a.node.hardTop) {
			return
		}
		if key := a.round(x); !slices.Contains(a.last, key) { // a document counts once in a bucket
			a.last = append(a.last, key)
		}
	})
	for _, key := range a.last {
		if err := a.put(doc, bucket, histogramKey(key, a.dates), score); err != nil {
			return err
		}
	}
	return nil
}

func histogramKey(x float64, date bool) bucketKey {
	if date {
		return bucketKey{kind: wholeValue, whole: int64(x)}
	}
	return bucketKey{kind: doubleValue, number: x}
}

func numberRounding(s *textquery.HistogramAgg) func(float64) float64 {
	return func(x float64) float64 { return math.Floor((x-s.Offset)/s.Interval)*s.Interval + s.Offset }
}

// dateRounding remembers the last bucket: neighbours are mostly in one.
func dateRounding(s *textquery.DateHistogramAgg) func(float64) float64 {
	var low, high int64
	return func(x float64) float64 {
		ms := int64(x) - s.Offset.Milliseconds()
		if ms < low || ms >= high {
			low = floorDate(s, ms)
			high = nextDate(s, low)
		}
		return float64(low + s.Offset.Milliseconds())
	}
}

// floorDate is the beginning of the bucket in which a time lies.
func floorDate(s *textquery.DateHistogramAgg, ms int64) int64 {
	t := time.UnixMilli(ms)
	if s.Calendar != 0 {
		floor, _ := textquery.Floor(t, s.Calendar, s.Zone) // the unit is known
		return floor.UnixMilli()
	}
	_, offset := t.In(s.Zone).Zone()
	local, step := ms+int64(offset)*1000, s.Fixed.Milliseconds()
	local -= ((local % step) + step) % step
	return local - int64(offset)*1000
}

// nextDate is the beginning of the bucket after the one that begins at a time.
func nextDate(s *textquery.DateHistogramAgg, ms int64) int64 {
	if s.Calendar == 0 {
		// The clock may have been put back or forth in between.
		if next := floorDate(s, ms+s.Fixed.Milliseconds()); next > ms {
			return next
		}
		return ms + s.Fixed.Milliseconds()
	}
	t := time.UnixMilli(ms).In(s.Zone)
	year, month, day := t.Date()
	switch s.Calendar {
	case 'y':
		year++
	case 'q':
		month += 3
	case 'M':
		month++
	case 'w':
		day += 7
	case 'd':
		day++
	case 'h':
		return ms + time.Hour.Milliseconds()
	case 'm':
		return ms + time.Minute.Milliseconds()
	default:
		return ms + time.Second.Milliseconds()
	}
	return time.Date(year, month, day, 0, 0, 0, 0, s.Zone).UnixMilli()
}

// rangeAggregator counts values by ranges, which may overlap. Its keys are the
// ranges' places in the request.
type rangeAggregator struct {
	buckets
	node   *aggNode
	values *values
}

func (a *rangeAggregator) collect(doc uint32, bucket int, score cursor) error {
	var all []float64
	a.values.numbers(doc, func(x float64) { all = append(all, x) })
	for i, r := range a.node.ranges {
		in := slices.ContainsFunc(all, func(x float64) bool {
			return (r[0] == nil || x >= *r[0]) && (r[1] == nil || x < *r[1])
		})
		if !in {
			continue
		}
		if err := a.put(doc, bucket, bucketKey{kind: wholeValue, whole: int64(i)}, score); err != nil {
			return err
		}
	}
	return nil
}

// filtersAggregator counts what matches queries. Its keys are their places; the
// one behind the last is what matches none.
type filtersAggregator struct {
	buckets
	cursors []cursor // nil: nothing matches
	rest    bool
}

func newFilters(ctx context.Context, s *shard, n *aggNode, subs []aggregator) (aggregator, error) {
	a := &filtersAggregator{buckets: newBuckets(s, subs)}
	if spec, ok := n.Spec.(*textquery.FiltersAgg); ok {
		a.rest = spec.Rest
	}
	for _, f := range n.filters {
		set, err := bitmapOf(ctx, s, f)
		if err != nil {
			return nil, err
		}
		a.cursors = append(a.cursors, set)
	}
	return a, nil
}

// bitmapOf is a node as something that can be asked about any document again,
// since an aggregation in buckets may see a document several times.
func bitmapOf(ctx context.Context, s *shard, n node) (cursor, error) {
	set, err := union([]node{n})(ctx, s)
	if err != nil || set.IsEmpty() {
		return nil, err
	}
	return newBits(set, 0), nil
}

func (a *filtersAggregator) collect(doc uint32, bucket int, score cursor) error {
	matched := false
	for i, c := range a.cursors {
		if c == nil || c.advance(doc) != doc {
			continue
		}
		matched = true
		if err := a.put(doc, bucket, bucketKey{kind: wholeValue, whole: int64(i)}, score); err != nil {
			return err
		}
	}
	if a.rest && !matched {
		return a.put(doc, bucket, bucketKey{kind: wholeValue, whole: int64(len(a.cursors))}, score)
	}
	return nil
}
