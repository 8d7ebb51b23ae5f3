package textquery

import (
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/suggest"
)

// Agg is an aggregation: what is computed over the documents that match, under a
// name, and what is computed in each of its buckets.
type Agg struct {
	Name string
	Type string // as Elasticsearch calls it; clients that ask for typed_keys see it
	Spec AggSpec
	Subs []Agg
}

// AggSpec is what an aggregation computes: one of the types of this file.
type AggSpec interface{ buckets() bool }

type (
	// TermsAgg makes a bucket of each value.
	TermsAgg struct {
		Field        string
		Size         int
		MinDocs      int
		Order        []BucketOrder // ties are broken by the key
		Missing      *Value
		Include      TermFilter
		Exclude      TermFilter
		ShowErrorSum bool
	}

	// DateHistogramAgg makes a bucket of each length of time.
	DateHistogramAgg struct {
		Field    string
		Calendar byte          // a unit of Floor, or 0
		Fixed    time.Duration // when there is no unit
		Offset   time.Duration
		Zone     *time.Location
		Format   string
		Missing  *Value
		BucketRange
	}

	// HistogramAgg makes a bucket of each interval of numbers.
	HistogramAgg struct {
		Field    string
		Interval float64
		Offset   float64
		Missing  *Value
		BucketRange
	}

	// RangeAgg makes a bucket of each of its ranges.
	RangeAgg struct {
		Field   string
		Ranges  []AggRange
		Keyed   bool
		Missing *Value
	}

	// FilterAgg makes one bucket, of what matches a query too.
	FilterAgg struct{ Query Query }

	// FiltersAgg makes a bucket of each of its queries.
	FiltersAgg struct {
		Names   []string // nil: the buckets have none
		Queries []Query
		Other   string // the name of the bucket of what matches none
		Rest    bool   // that bucket is wanted
		Keyed   bool
	}

	// MetricAgg computes numbers from the values of a field.
	MetricAgg struct {
		Field   string
		Op      Metric
		Missing *Value
		Sigma   float64 // of extended_stats: how many standard deviations its bounds are away
	}

	// PercentilesAgg finds below which value so many percent of values lie.
	PercentilesAgg struct {
		Field       string
		Percents    []float64
		Compression float64
		Keyed       bool
		Missing     *Value
	}

	// TopHitsAgg shows the best documents of each bucket.
	TopHitsAgg struct {
		From, Size int
		Sort       []Sort
		Source     Source
	}
)

func (*TermsAgg) buckets() bool         { return true }
func (*DateHistogramAgg) buckets() bool { return true }
func (*HistogramAgg) buckets() bool     { return true }
func (*RangeAgg) buckets() bool         { return true }
func (*FilterAgg) buckets() bool        { return true }
func (*FiltersAgg) buckets() bool       { return true }
func (*MetricAgg) buckets() bool        { return false }
func (*PercentilesAgg) buckets() bool   { return false }
func (*TopHitsAgg) buckets() bool       { return false }

// Metric is what a MetricAgg computes.
type Metric uint8

const (
	Avg Metric = iota
	Sum
	Min
	Max
	StatsMetric
	ExtendedStats
	ValueCount
	Cardinality
)

// BucketOrder is one key of an order of buckets.
type BucketOrder struct {
	By         string // "_count", "_key", or a sub-aggregation's name
	Stat       string // of a sub-aggregation that has several numbers
	Descending bool
}

// BucketRange says which buckets of a histogram there are.
type BucketRange struct {
	MinDocs  int
	Order    []BucketOrder // nil: by key
	Keyed    bool
	Extended *AggBounds // buckets reach at least so far
	Hard     *AggBounds // and at most so far
}

// AggBounds are ends of a histogram, both included.
type AggBounds struct{ Low, High *Value }

// AggRange is one bucket of a RangeAgg: from, and up to without it.
type AggRange struct {
	Key      string // empty: made from the ends
	From, To *Value
}

// TermFilter says which terms become buckets. The zero value has nothing to say.
type TermFilter struct {
	Pattern string // a regular expression
	Values  []Value
}

// Given reports whether the filter has something to say.
func (f TermFilter) Given() bool { return f.Pattern != "" || f.Values != nil }

// Limits of aggregations.
const (
	aggsDepthMax = 10
	aggsMax      = 500
	// BucketsMax is the most buckets of one answer, as in Elasticsearch.
	BucketsMax = 65_536
)

func (p *parser) aggs(to *[]Agg, depth int) func(*node) error {
	return func(n *node) error {
		if n.kind != objectNode {
			return n.fail("[aggs] expected an object, found %s", n.show())
		}
		if depth > aggsDepthMax {
			return n.fail("aggregations nested deeper than %d", aggsDepthMax)
		}
		for _, m := range n.members {
			if p.clauses++; p.clauses > clausesMax || len(*to) > aggsMax {
				return n.fail("too many aggregations")
			}
			a, err := p.agg(m.name, m.value, depth)
			if err != nil {
				return m.value.place(err)
			}
			*to = append(*to, a)
		}
		return nil
	}
}

func (p *parser) agg(name string, n *node, depth int) (Agg, error) {
	a := Agg{Name: name}
	if name == "" || strings.ContainsAny(name, "[]>") {
		return a, n.fail("invalid aggregation name [%s]: it must not be empty and has none of [ ] >", name)
	}
	if n.kind != objectNode {
		return a, n.fail("[%s] expected an object, found %s", name, n.show())
	}
	kinds := p.aggKinds()
	for _, m := range n.members {
		switch m.name {
		case "aggs", "aggregations":
			if err := p.aggs(&a.Subs, depth+1)(m.value); err != nil {
				return a, err
			}
			continue
		case "meta":
			return a, m.value.fail("[meta] is not supported")
		}
		parse, known := kinds[m.name]
		if !known {
			all := make([]string, 0, len(kinds))
			for kind := range kinds {
				all = append(all, kind)
			}
			return a, m.value.fail("unknown aggregation type [%s]%s", m.name, suggest.Hint(m.name, all))
		}
		if a.Spec != nil {
			return a, m.value.fail("found two aggregation type definitions in [%s]: [%s] and [%s]", name, a.Type, m.name)
		}
		spec, err := parse(m.value)
		if err != nil {
			return a, m.value.place(err)
		}
		a.Type, a.Spec = m.name, spec
	}
	if a.Spec == nil {
		return a, n.fail("missing definition for aggregation [%s]", name)
	}
	if len(a.Subs) > 0 && !a.Spec.buckets() {
		return a, n.fail("aggregator [%s] of type [%s] cannot accept sub-aggregations", name, a.Type)
	}
	return a, checkOrder(a)
}

// checkOrder looks for the sub-aggregations by which buckets are ordered.
func checkOrder(a Agg) error {
	var order []BucketOrder
	switch s := a.Spec.(type) {
	case *TermsAgg:
		order = s.Order
	case *DateHistogramAgg:
		order = s.Order
	case *HistogramAgg:
		order = s.Order
	}
	for _, o := range order {
		if o.By == "_count" || o.By == "_key" {
			continue
		}
		if !orderable(a.Subs, o) {
			return Refuse("invalid aggregation order path [%s]: it has to be _count, _key, or a sub-aggregation with one number, or one of its numbers as in stats.avg", o.By+"."+o.Stat)
		}
	}
	return nil
}

func orderable(subs []Agg, o BucketOrder) bool {
	for _, sub := range subs {
		if sub.Name != o.By {
			continue
		}
		switch s := sub.Spec.(type) {
		case *MetricAgg:
			switch s.Op {
			case StatsMetric, ExtendedStats:
				switch o.Stat {
				case "count", "min", "max", "avg", "sum":
					return true
				case "variance", "std_deviation", "sum_of_squares":
					return s.Op == ExtendedStats
				}
				return false
			}
			return o.Stat == "" || o.Stat == "value"
		case *PercentilesAgg:
			_, err := strconv.ParseFloat(o.Stat, 64)
			return err == nil
		case *FilterAgg:
			return o.Stat == "" || o.Stat == "_count"
		}
	}
	return false
}
