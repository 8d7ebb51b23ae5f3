package textsearch

import (
	"context"
	"fmt"
	"strconv"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch/automaton"
)

// aggs compiles aggregations.
func (c *compiler) aggs(x *execution, list []textquery.Agg) ([]aggNode, error) {
	var nodes []aggNode
	for _, a := range list {
		n, err := c.agg(x, a)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func (c *compiler) agg(x *execution, a textquery.Agg) (n aggNode, err error) {
	n.Agg = a
	if n.subs, err = c.aggs(x, a.Subs); err != nil {
		return n, err
	}
	numeric := true
	var missing *textquery.Value
	switch s := a.Spec.(type) {
	case *textquery.FilterAgg:
		n.filters, err = c.list([]textquery.Query{s.Query}, 0, false)
		return n, err
	case *textquery.FiltersAgg:
		n.filters, err = c.list(s.Queries, 0, false)
		return n, err
	case *textquery.TopHitsAgg:
		n.sorts, _, err = x.sortKeys(s.Sort, nil)
		return n, err
	case *textquery.TermsAgg:
		numeric, missing = false, s.Missing
		if n.terms, err = newTermChoice(s); err != nil {
			return n, err
		}
	case *textquery.MetricAgg:
		numeric, missing = s.Op != textquery.ValueCount && s.Op != textquery.Cardinality, s.Missing
	case *textquery.PercentilesAgg:
		missing = s.Missing
	case *textquery.RangeAgg:
		missing = s.Missing
	case *textquery.HistogramAgg:
		missing = s.Missing
	case *textquery.DateHistogramAgg:
		missing = s.Missing
	}
	if err := n.resolve(c.schema, numeric); err != nil {
		return n, err
	}
	if missing != nil {
		if n.missing, err = c.missingKey(&n, *missing, numeric); err != nil {
			return n, err
		}
	}
	return n, c.bounds(&n)
}

// resolve finds the fields of a name that can be aggregated.
func (n *aggNode) resolve(s *schema, numeric bool) error {
	name := n.fieldName()
	all := s.resolve(name)
	for _, f := range all {
		switch {
		case f.Kind == textindex.Text, f.Kind == textindex.GeoPoint, numeric && f.Kind == textindex.Keyword:
		default:
			n.fields = append(n.fields, f)
		}
	}
	if len(n.fields) == 0 && len(all) > 0 {
		return textquery.Refuse("Field [%s] of type [%s] is not supported for aggregation [%s]", name, all[0].Kind, n.Type)
	}
	return nil
}

func (c *compiler) missingKey(n *aggNode, v textquery.Value, numeric bool) (*bucketKey, error) {
	if !numeric && (len(n.fields) == 0 || n.fields[0].Kind == textindex.Keyword) {
		return &bucketKey{kind: textValue, text: v.Text}, nil
	}
	x, err := c.number(n, v)
	if err != nil {
		return nil, err
	}
	for _, f := range n.fields {
		if f.Kind == textindex.Double {
			return &bucketKey{kind: doubleValue, number: x}, nil
		}
	}
	if x == float64(int64(x)) {
		return &bucketKey{kind: wholeValue, whole: int64(x)}, nil
	}
	return &bucketKey{kind: doubleValue, number: x}, nil
}

// number is a literal as a value of the fields.
func (c *compiler) number(n *aggNode, v textquery.Value) (float64, error) {
	if x, err := strconv.ParseFloat(v.Text, 64); err == nil {
		return x, nil
	}
	format := ""
	zone := ""
	if s, ok := n.Spec.(*textquery.DateHistogramAgg); ok {
		format, zone = s.Format, s.Zone.String()
	}
	t, err := c.date(v.Text, format, zone, false)
	if err != nil {
		return 0, textquery.Refuse("[%s] cannot read %q as a value of field [%s]", n.Name, v.Text, n.fieldName())
	}
	return float64(t.UnixMilli()), nil
}

// bounds reads the literals of an aggregation's ranges and bounds.
func (c *compiler) bounds(n *aggNode) error {
	read := func(v *textquery.Value, to **float64) error {
		if v == nil {
			return nil
		}
		x, err := c.number(n, *v)
		*to = &x
		return err
	}
	var b textquery.BucketRange
	switch s := n.Spec.(type) {
	case *textquery.HistogramAgg:
		b = s.BucketRange
	case *textquery.DateHistogramAgg:
		b = s.BucketRange
		format := s.Format
		if format == "" {
			format = textquery.DefaultDateFormat
		}
		f, err := textquery.NewDateFormat(format)
		if err != nil {
			return err
		}
		n.format = &f
	case *textquery.RangeAgg:
		for _, r := range s.Ranges {
			var ends [2]*float64
			if err := first([]error{read(r.From, &ends[0]), read(r.To, &ends[1])}); err != nil {
				return err
			}
			n.ranges = append(n.ranges, ends)
		}
		return nil
	default:
		return nil
	}
	var errs []error
	if b.Extended != nil {
		errs = append(errs, read(b.Extended.Low, &n.low), read(b.Extended.High, &n.high))
	}
	if b.Hard != nil {
		errs = append(errs, read(b.Hard.Low, &n.hardLow), read(b.Hard.High, &n.hardTop))
	}
	return first(errs)
}

// termChoice says which terms become buckets.
type termChoice struct {
	include, exclude         map[string]bool // nil: no list
	includeLike, excludeLike func() *automaton.Automaton
}

func newTermChoice(s *textquery.TermsAgg) (*termChoice, error) {
	t := &termChoice{}
	like := func(f textquery.TermFilter, set *map[string]bool, pattern *func() *automaton.Automaton) error {
		if f.Values != nil {
			*set = map[string]bool{}
			for _, v := range f.Values {
				(*set)[v.Text] = true
			}
		}
		if f.Pattern == "" {
			return nil
		}
		if _, err := automaton.Regexp(f.Pattern, false, 10_000); err != nil {
			return textquery.Refuse("[terms] %q: %v", f.Pattern, err)
		}
		*pattern = func() *automaton.Automaton {
			a, err := automaton.Regexp(f.Pattern, false, 10_000)
			if err != nil {
				panic(fmt.Sprintf("a pattern that was fine before: %v", err)) // it is a pure function of its arguments
			}
			return a
		}
		return nil
	}
	err := first([]error{like(s.Include, &t.include, &t.includeLike), like(s.Exclude, &t.exclude, &t.excludeLike)})
	return t, err
}

// given reports whether there is a choice at all.
func (t *termChoice) given() bool {
	return t.include != nil || t.exclude != nil || t.includeLike != nil || t.excludeLike != nil
}

// chooser is a choice for one goroutine.
func (t *termChoice) chooser() func(term string) bool {
	var include, exclude *automaton.Automaton
	if t.includeLike != nil {
		include = t.includeLike()
	}
	if t.excludeLike != nil {
		exclude = t.excludeLike()
	}
	return func(term string) bool {
		switch {
		case t.include != nil && !t.include[term], include != nil && !include.Match([]byte(term)),
			t.exclude[term], exclude != nil && exclude.Match([]byte(term)):
			return false
		}
		return true
	}
}

// openAggs opens aggregations over a part.
func openAggs(ctx context.Context, s *shard, nodes []aggNode) ([]aggregator, error) {
	var all []aggregator
	for i := range nodes {
		a, err := openAgg(ctx, s, &nodes[i])
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func openAgg(ctx context.Context, s *shard, n *aggNode) (aggregator, error) {
	subs, err := openAggs(ctx, s, n.subs)
	if err != nil {
		return nil, err
	}
	switch spec := n.Spec.(type) {
	case *textquery.FilterAgg, *textquery.FiltersAgg:
		return newFilters(ctx, s, n, subs)
	case *textquery.TopHitsAgg:
		keys, err := s.openSorts(ctx, n.sorts, nil)
		return &topHitsAggregator{perBucket: newPerBucket[hitsPartial](s, hitBytes*int64(1+spec.From+spec.Size)), shard: s, keys: keys, most: spec.From + spec.Size}, err
	}
	v, err := s.values(ctx, n)
	if err != nil {
		return nil, err
	}
	switch spec := n.Spec.(type) {
	case *textquery.TermsAgg:
		return newTerms(s, n, v, subs), nil
	case *textquery.HistogramAgg:
		return &histogramAggregator{buckets: newBuckets(s, subs), node: n, values: v, round: numberRounding(spec)}, nil
	case *textquery.DateHistogramAgg:
		return &histogramAggregator{buckets: newBuckets(s, subs), node: n, values: v, round: dateRounding(spec), dates: true}, nil
	case *textquery.RangeAgg:
		return &rangeAggregator{buckets: newBuckets(s, subs), node: n, values: v}, nil
	case *textquery.PercentilesAgg:
		return &percentilesAggregator{perBucket: newPerBucket[digestPartial](s, int64(centroidBytes*spec.Compression)), values: v, compression: spec.Compression}, nil
	case *textquery.MetricAgg:
		if spec.Op == textquery.Cardinality {
			return newCardinality(s, v), nil
		}
		return &metricAggregator{perBucket: newPerBucket[metricPartial](s, metricBytes), values: v, op: spec.Op}, nil
	}
	return nil, fmt.Errorf("an aggregation of type %T cannot be executed", n.Spec)
}
