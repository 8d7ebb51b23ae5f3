package textsearch

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// merger makes results of what all parts have gathered.
type merger struct {
	*execution
	ctx     context.Context
	buckets int
}

// mergeAggs makes the results of a request's aggregations.
func (x *execution) mergeAggs(ctx context.Context, found []*partial) ([]AggResult, error) {
	if len(x.request.Aggs) == 0 {
		return nil, nil
	}
	var nodes []aggNode
	for _, c := range x.compiled { // those of all analyzers are the same here
		nodes = c.aggs
	}
	m := &merger{execution: x, ctx: ctx}
	merged := make([]aggPartial, len(x.request.Aggs))
	for _, p := range found {
		for i, a := range p.aggs {
			var err error
			if merged[i], err = mergePartials(merged[i], a); err != nil {
				return nil, err
			}
		}
	}
	if nodes == nil { // there are no parts
		for _, a := range x.request.Aggs {
			nodes = append(nodes, aggNode{Agg: a})
		}
	}
	return m.results(nodes, merged)
}

func (m *merger) results(nodes []aggNode, partials []aggPartial) ([]AggResult, error) {
	var all []AggResult
	for i := range nodes {
		var p aggPartial
		if i < len(partials) {
			p = partials[i]
		}
		r, err := m.result(&nodes[i], p)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func (m *merger) result(n *aggNode, p aggPartial) (AggResult, error) {
	r := AggResult{Name: n.Name, Type: n.Type, Spec: n.Spec}
	switch s := n.Spec.(type) {
	case *textquery.MetricAgg:
		r.Values = metricValues(s, p)
		return r, nil
	case *textquery.PercentilesAgg:
		r.Type, r.Keyed = "tdigest_percentiles", s.Keyed
		for _, percent := range s.Percents {
			if v, ok := percentile(p, percent); ok {
				r.Percentiles = append(r.Percentiles, [2]float64{percent, v})
			}
		}
		return r, nil
	case *textquery.TopHitsAgg:
		return r, m.topHits(n, s, p, &r)
	}
	b, _ := p.(*bucketsPartial)
	if b == nil {
		b = &bucketsPartial{}
	}
	var err error
	switch s := n.Spec.(type) {
	case *textquery.TermsAgg:
		err = m.termBuckets(n, s, b, &r)
	case *textquery.HistogramAgg:
		r.Keyed = s.Keyed
		err = m.histogram(n, s.BucketRange, b, &r, func(x float64) float64 {
			// Not x + interval: that would drift.
			return (math.Round((x-s.Offset)/s.Interval)+1)*s.Interval + s.Offset
		}, numberRounding(s))
	case *textquery.DateHistogramAgg:
		r.Keyed = s.Keyed
		offset := s.Offset.Milliseconds()
		err = m.histogram(n, s.BucketRange, b, &r, func(x float64) float64 {
			return float64(nextDate(s, int64(x)-offset) + offset)
		}, dateRounding(s))
		m.dates(n, s, &r)
	case *textquery.RangeAgg:
		r.Keyed = s.Keyed
		err = m.rangeBuckets(n, s, b, &r)
	case *textquery.FilterAgg:
		r.Single = true
		err = m.bucket(n, b.buckets[bucketKey{kind: wholeValue}], Bucket{}, &r)
	case *textquery.FiltersAgg:
		err = m.filterBuckets(n, s, b, &r)
	}
	return r, err
}

// bucket appends a bucket with its sub-aggregations. from may be nil: an empty one.
func (m *merger) bucket(n *aggNode, from *bucketPartial, b Bucket, r *AggResult) error {
	if m.buckets++; m.buckets > textquery.BucketsMax {
		return &textquery.Error{Type: "too_many_buckets_exception", Reason: "Trying to create too many buckets. Must be less than or equal to: [" +
			strconv.Itoa(textquery.BucketsMax) + "]"}
	}
	var subs []aggPartial
	if from != nil {
		b.Count, subs = from.count, from.subs
	}
	var err error
	b.Aggs, err = m.results(n.subs, subs)
	r.Buckets = append(r.Buckets, b)
	return err
}

// keyed is a bucket with its key, before what is shown of them is chosen.
type keyed struct {
	key bucketKey
	*bucketPartial
}

// inOrder are buckets in the order that an aggregation asks for.
func (n *aggNode) inOrder(b *bucketsPartial, order []textquery.BucketOrder) []keyed {
	all := make([]keyed, 0, len(b.buckets))
	for key, p := range b.buckets {
		all = append(all, keyed{key, p})
	}
	slices.SortFunc(all, n.comparer(order))
	return all
}

// comparer is the order that an aggregation asks for.
func (n *aggNode) comparer(order []textquery.BucketOrder) func(a, b keyed) int {
	return func(a, b keyed) int {
		for _, o := range order {
			c := 0
			switch o.By {
			case "_count":
				c = cmp.Compare(a.count, b.count)
			case "_key":
				c = compareValues(a.key.sortable(), b.key.sortable())
			default:
				x, y := n.stat(a.bucketPartial, o), n.stat(b.bucketPartial, o)
				if math.IsNaN(x) || math.IsNaN(y) { // without a number comes last, either way
					if math.IsNaN(x) != math.IsNaN(y) {
						if math.IsNaN(x) {
							return 1
						}
						return -1
					}
					continue
				}
				c = cmp.Compare(x, y)
			}
			if o.Descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return compareValues(a.key.sortable(), b.key.sortable())
	}
}

// firstOf sorts the first of many, so many at most, to the front, and returns
// them and the rest.
func firstOf[T any](all []T, most int, compare func(a, b T) int) (chosen, rest []T) {
	if most < len(all)/2 {
		chosen, rest = all[:most], all[most:]
		// A heap with the last of the chosen on top.
		down := func(i int) {
			for child := 2*i + 1; child < most; child = 2*i + 1 {
				if child+1 < most && compare(chosen[child+1], chosen[child]) > 0 {
					child++
				}
				if compare(chosen[child], chosen[i]) <= 0 {
					return
				}
				chosen[i], chosen[child] = chosen[child], chosen[i]
				i = child
			}
		}
		for i := most/2 - 1; i >= 0; i-- {
			down(i)
		}
		for i := range rest {
			if compare(rest[i], chosen[0]) < 0 {
				rest[i], chosen[0] = chosen[0], rest[i]
				down(0)
			}
		}
		slices.SortFunc(chosen, compare)
		return chosen, rest
	}
	slices.SortFunc(all, compare)
	most = min(most, len(all))
	return all[:most], all[most:]
}

// stat is the number of a sub-aggregation by which buckets are ordered.
func (n *aggNode) stat(b *bucketPartial, o textquery.BucketOrder) float64 {
	for i, sub := range n.subs {
		if sub.Name != o.By || i >= len(b.subs) {
			continue
		}
		switch s := sub.Spec.(type) {
		case *textquery.MetricAgg:
			name := o.Stat
			if name == "" {
				name = "value"
			}
			switch v := metricValues(s, b.subs[i])[name].(type) {
			case float64:
				return v
			case int64:
				return float64(v)
			}
		case *textquery.PercentilesAgg:
			if percent, err := strconv.ParseFloat(o.Stat, 64); err == nil {
				if v, ok := percentile(b.subs[i], percent); ok {
					return v
				}
			}
		case *textquery.FilterAgg:
			if p, ok := b.subs[i].(*bucketsPartial); ok {
				if only := p.buckets[bucketKey{kind: wholeValue}]; only != nil {
					return float64(only.count)
				}
			}
			return 0
		}
	}
	return math.NaN()
}

func (m *merger) termBuckets(n *aggNode, s *textquery.TermsAgg, b *bucketsPartial, r *AggResult) error {
	r.Type = "sterms"
	if len(n.fields) > 0 && n.fields[0].Kind != textindex.Keyword {
		r.Type = "lterms"
		for _, f := range n.fields {
			if f.Kind == textindex.Double {
				r.Type = "dterms"
			}
		}
	}
	choose := func(string) bool { return true }
	if n.terms != nil && n.terms.given() {
		choose = n.terms.chooser()
	}
	boolean := len(n.fields) == 1 && n.fields[0].Kind == textindex.Boolean
	date := len(n.fields) == 1 && n.fields[0].Kind == textindex.Date
	written := func(k bucketKey) string {
		switch {
		case boolean:
			return strconv.FormatBool(k.whole != 0)
		case date:
			return isoDate(k.whole)
		}
		return ""
	}
	all := make([]keyed, 0, len(b.buckets))
	for key, p := range b.buckets {
		name := key.text
		if key.kind != textValue {
			if name = written(key); name == "" {
				name = formatNumber(key)
			}
		}
		if p.count >= int64(s.MinDocs) && choose(name) {
			all = append(all, keyed{key, p})
		}
	}
	chosen, rest := firstOf(all, s.Size, n.comparer(s.Order))
	for _, k := range chosen {
		if err := m.bucket(n, k.bucketPartial, Bucket{Key: k.key.value(), KeyText: written(k.key)}, r); err != nil {
			return err
		}
	}
	for _, k := range rest {
		r.Others += k.count
	}
	return nil
}

func formatNumber(k bucketKey) string {
	if k.kind == wholeValue {
		return strconv.FormatInt(k.whole, 10)
	}
	return strconv.FormatFloat(k.number, 'f', -1, 64)
}

func isoDate(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// histogram shows buckets by key, with empty ones in between when those are
// wanted.
func (m *merger) histogram(n *aggNode, s textquery.BucketRange, b *bucketsPartial, r *AggResult, next, round func(float64) float64) error {
	_, date := n.Spec.(*textquery.DateHistogramAgg)
	if s.MinDocs == 0 {
		low, high := math.Inf(1), math.Inf(-1)
		for key := range b.buckets {
			low, high = min(low, key.sortable().float()), max(high, key.sortable().float())
		}
		if n.low != nil {
			low = min(low, round(*n.low))
		}
		if n.high != nil {
			high = max(high, round(*n.high))
		}
		if b.buckets == nil {
			b.buckets = map[bucketKey]*bucketPartial{}
		}
		for x := low; x <= high; x = next(x) {
			key := histogramKey(x, date)
			if b.buckets[key] == nil {
				b.buckets[key] = &bucketPartial{}
			}
			if len(b.buckets) > textquery.BucketsMax || next(x) <= x {
				return m.bucketsLimit()
			}
		}
	}
	order := s.Order
	if order == nil {
		order = []textquery.BucketOrder{{By: "_key"}}
	}
	for _, k := range n.inOrder(b, order) {
		if k.count < int64(s.MinDocs) {
			continue
		}
		if err := m.bucket(n, k.bucketPartial, Bucket{Key: k.key.value()}, r); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) bucketsLimit() error {
	m.buckets = textquery.BucketsMax
	return m.bucket(&aggNode{}, nil, Bucket{}, &AggResult{})
}

// dates writes the keys of a date histogram.
func (m *merger) dates(n *aggNode, s *textquery.DateHistogramAgg, r *AggResult) {
	if n.format == nil {
		return
	}
	for i := range r.Buckets {
		if ms, ok := r.Buckets[i].Key.(int64); ok {
			r.Buckets[i].KeyText = n.format.Show(time.UnixMilli(ms), s.Zone)
		}
	}
}

func (m *merger) rangeBuckets(n *aggNode, s *textquery.RangeAgg, b *bucketsPartial, r *AggResult) error {
	for i, ends := range n.ranges {
		out := Bucket{Key: s.Ranges[i].Key, From: ends[0], To: ends[1]}
		if out.Key == "" {
			show := func(x *float64) string {
				if x == nil {
					return "*"
				}
				if *x == math.Trunc(*x) {
					return strconv.FormatFloat(*x, 'f', 1, 64)
				}
				return strconv.FormatFloat(*x, 'f', -1, 64)
			}
			out.Key = show(ends[0]) + "-" + show(ends[1])
		}
		if err := m.bucket(n, b.buckets[bucketKey{kind: wholeValue, whole: int64(i)}], out, r); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) filterBuckets(n *aggNode, s *textquery.FiltersAgg, b *bucketsPartial, r *AggResult) error {
	r.Keyed = s.Keyed && s.Names != nil
	count := len(s.Queries)
	if s.Rest {
		count++
	}
	for i := range count {
		out := Bucket{}
		switch {
		case s.Names == nil:
		case i < len(s.Names):
			out.Key = s.Names[i]
		default:
			out.Key = s.Other
		}
		if err := m.bucket(n, b.buckets[bucketKey{kind: wholeValue, whole: int64(i)}], out, r); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) topHits(n *aggNode, s *textquery.TopHitsAgg, p aggPartial, r *AggResult) error {
	h, _ := p.(*hitsPartial)
	if h == nil {
		return nil
	}
	hits := h.top.hits
	if err := m.offsets(m.ctx, hits); err != nil {
		return err
	}
	order := &execution{plan: m.plan, sorts: n.sorts}
	slices.SortFunc(hits, order.order)
	hits = hits[min(s.From, len(hits)):min(s.From+s.Size, len(hits))]
	r.Total = h.total
	if n.sorts == nil {
		r.MaxScore = &h.best
	}
	for i := range hits {
		hits[i].Sort = show(n.sorts, hits[i].keys)
		if n.sorts == nil {
			hits[i].Score = &hits[i].score
		}
	}
	var err error
	r.Hits, err = m.fetch(m.ctx, hits, false)
	return err
}

// metricValues are the numbers of a metric, by the names that Elasticsearch gives
// them.
func metricValues(s *textquery.MetricAgg, p aggPartial) map[string]any {
	if s.Op == textquery.Cardinality {
		if d, ok := p.(*distinctPartial); ok {
			return map[string]any{"value": d.count()}
		}
		return map[string]any{"value": int64(0)}
	}
	m, _ := p.(*metricPartial)
	if m == nil {
		m = newMetric()
	}
	sum, n := m.sum.value(), float64(m.count)
	orNull := func(x float64) any {
		if m.count == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return x
	}
	switch s.Op {
	case textquery.Avg:
		return map[string]any{"value": orNull(sum / n)}
	case textquery.Sum:
		return map[string]any{"value": sum}
	case textquery.Min:
		return map[string]any{"value": orNull(m.low)}
	case textquery.Max:
		return map[string]any{"value": orNull(m.high)}
	case textquery.ValueCount:
		return map[string]any{"value": m.count}
	}
	all := map[string]any{"count": m.count, "min": orNull(m.low), "max": orNull(m.high), "avg": orNull(sum / n), "sum": sum}
	if s.Op == textquery.StatsMetric {
		return all
	}
	squares := m.squares.value()
	variance := max(0, (squares-sum*sum/n)/n)
	sampling := math.NaN()
	if m.count > 1 {
		sampling = max(0, (squares-sum*sum/n)/(n-1))
	}
	all["sum_of_squares"] = orNull(squares)
	all["variance"], all["variance_population"], all["variance_sampling"] = orNull(variance), orNull(variance), orNull(sampling)
	deviation := math.Sqrt(variance)
	all["std_deviation"], all["std_deviation_population"], all["std_deviation_sampling"] = orNull(deviation), orNull(deviation), orNull(math.Sqrt(sampling))
	bounds := map[string]any{}
	for suffix, d := range map[string]float64{"": deviation, "_population": deviation, "_sampling": math.Sqrt(sampling)} {
		bounds["upper"+suffix], bounds["lower"+suffix] = orNull(sum/n+s.Sigma*d), orNull(sum/n-s.Sigma*d)
	}
	all["std_deviation_bounds"] = bounds
	return all
}

func percentile(p aggPartial, percent float64) (float64, bool) {
	d, ok := p.(*digestPartial)
	if !ok || d.Count() == 0 {
		return 0, false
	}
	v := d.Quantile(percent / 100)
	return v, !math.IsNaN(v)
}
