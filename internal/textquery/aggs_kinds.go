package textquery

import (
	"math"
	"slices"
	"strings"
	"time"
)

func (p *parser) aggKinds() map[string]func(*node) (AggSpec, error) {
	metric := func(op Metric) func(*node) (AggSpec, error) {
		return func(n *node) (AggSpec, error) { return metricAgg(n, op) }
	}
	return map[string]func(*node) (AggSpec, error){
		"terms": termsAgg, "date_histogram": dateHistogram, "histogram": histogram, "range": rangeAgg,
		"filter": p.filterAgg, "filters": p.filtersAgg, "percentiles": percentiles, "top_hits": topHits,
		"avg": metric(Avg), "sum": metric(Sum), "min": metric(Min), "max": metric(Max),
		"stats": metric(StatsMetric), "extended_stats": metric(ExtendedStats),
		"value_count": metric(ValueCount), "cardinality": metric(Cardinality),
	}
}

func literalPointer(to **Value) func(*node) error {
	return func(n *node) error {
		if n.kind == nullNode {
			return nil
		}
		v, err := n.scalar()
		*to = &v
		return err
	}
}

// needField is the check that all aggregations over a field share.
func (n *node) needField(what, field string) error {
	if field == "" {
		return n.fail("[%s] needs a [field]", what)
	}
	return nil
}

func termsAgg(n *node) (AggSpec, error) {
	a := &TermsAgg{Size: 10, MinDocs: 1}
	shardSize := 0
	err := n.params("terms", setters{
		"field": text(&a.Field), "size": integer(&a.Size, 1, BucketsMax), "min_doc_count": integer(&a.MinDocs, 0, math.MaxInt32),
		"order": bucketOrder(&a.Order), "missing": literalPointer(&a.Missing),
		"include": termFilter(&a.Include), "exclude": termFilter(&a.Exclude),
		"show_term_doc_count_error": boolean(&a.ShowErrorSum),
		// Counts are exact whatever it is: nothing is left out where a part of the
		// documents is counted.
		"shard_size": integer(&shardSize, 1, math.MaxInt32),
	})
	if a.Order == nil {
		a.Order = []BucketOrder{{By: "_count", Descending: true}}
	}
	return a, firstError(err, n.needField("terms", a.Field))
}

func termFilter(to *TermFilter) func(*node) error {
	return func(n *node) error {
		switch n.kind {
		case stringNode:
			to.Pattern = n.text
			return nil
		case arrayNode:
			to.Values = []Value{}
			for _, item := range n.items {
				v, err := item.scalar()
				if err != nil {
					return err
				}
				to.Values = append(to.Values, v)
			}
			return nil
		}
		return n.fail("expected a regular expression or an array of values, found %s (partitions are not supported)", n.show())
	}
}

// bucketOrder reads {"_count": "desc"} and arrays of such.
func bucketOrder(to *[]BucketOrder) func(*node) error {
	return func(n *node) error {
		items := n.items
		if n.kind != arrayNode {
			items = []*node{n}
		}
		for _, item := range items {
			m, err := item.one("[order]")
			if err != nil {
				return err
			}
			o := BucketOrder{By: m.name}
			if err := oneOf(&o.Descending, orders)(m.value); err != nil {
				return err
			}
			switch o.By {
			case "_count", "_key":
			case "_term", "_time": // as they were called before
				o.By = "_key"
			default:
				if name, stat, ok := strings.Cut(strings.TrimSuffix(m.name, "]"), "["); ok {
					o.By, o.Stat = name, stat
				} else if name, stat, ok := strings.Cut(m.name, "."); ok {
					o.By, o.Stat = name, stat
				}
			}
			*to = append(*to, o)
		}
		return nil
	}
}

func bucketRange(b *BucketRange) setters {
	bounds := func(to **AggBounds) func(*node) error {
		return func(n *node) error {
			*to = &AggBounds{}
			return n.params("bounds", setters{"min": literalPointer(&(*to).Low), "max": literalPointer(&(*to).High)})
		}
	}
	return setters{
		"min_doc_count": integer(&b.MinDocs, 0, math.MaxInt32), "order": bucketOrder(&b.Order), "keyed": boolean(&b.Keyed),
		"extended_bounds": bounds(&b.Extended), "hard_bounds": bounds(&b.Hard),
	}
}

// calendarUnits are the names of units of time, with those of Floor.
var calendarUnits = map[string]byte{
	"year": 'y', "1y": 'y', "quarter": 'q', "1q": 'q', "month": 'M', "1M": 'M', "week": 'w', "1w": 'w',
	"day": 'd', "1d": 'd', "hour": 'h', "1h": 'h', "minute": 'm', "1m": 'm', "second": 's', "1s": 's',
}

func dateHistogram(n *node) (AggSpec, error) {
	a := &DateHistogramAgg{Zone: time.UTC}
	calendar := func(n *node) error {
		unit, known := calendarUnits[n.text]
		if !known {
			return n.fail("The supplied interval [%s] could not be parsed as a calendar interval", cut(n.text))
		}
		a.Calendar = unit
		return nil
	}
	fixed := func(n *node) error {
		d, err := parseInterval(n.text)
		if err == nil && d < time.Millisecond {
			err = n.fail("[fixed_interval] has to be at least 1ms")
		}
		a.Fixed = d
		return err
	}
	set := bucketRange(&a.BucketRange)
	set["field"], set["format"], set["missing"] = text(&a.Field), text(&a.Format), literalPointer(&a.Missing)
	set["calendar_interval"], set["fixed_interval"] = calendar, fixed
	// What clients wrote before there were two kinds of intervals.
	set["interval"] = func(n *node) error {
		if _, known := calendarUnits[n.text]; known {
			return calendar(n)
		}
		return fixed(n)
	}
	set["offset"] = func(n *node) (err error) {
		a.Offset, err = parseInterval(n.text)
		return err
	}
	set["time_zone"] = func(n *node) (err error) {
		a.Zone, err = Zone(n.text)
		return err
	}
	err := n.params("date_histogram", set)
	if err == nil && (a.Calendar == 0) == (a.Fixed == 0) {
		err = n.fail("[date_histogram] needs one of [calendar_interval] and [fixed_interval]")
	}
	if err == nil && a.Format != "" {
		_, err = NewDateFormat(a.Format)
	}
	return a, firstError(err, n.needField("date_histogram", a.Field))
}

func histogram(n *node) (AggSpec, error) {
	a := &HistogramAgg{}
	set := bucketRange(&a.BucketRange)
	set["field"], set["interval"], set["offset"], set["missing"] = text(&a.Field), number(&a.Interval), number(&a.Offset), literalPointer(&a.Missing)
	err := n.params("histogram", set)
	if err == nil && a.Interval <= 0 {
		err = n.fail("[interval] must be >0 for histogram aggregation [%v]", a.Interval)
	}
	return a, firstError(err, n.needField("histogram", a.Field))
}

func rangeAgg(n *node) (AggSpec, error) {
	a := &RangeAgg{}
	err := n.params("range", setters{
		"field": text(&a.Field), "keyed": boolean(&a.Keyed), "missing": literalPointer(&a.Missing),
		"ranges": func(n *node) error {
			for _, item := range n.items {
				var r AggRange
				err := item.params("range", setters{"key": text(&r.Key), "from": literalPointer(&r.From), "to": literalPointer(&r.To)})
				if err != nil {
					return err
				}
				a.Ranges = append(a.Ranges, r)
			}
			return nil
		},
	})
	if err == nil && (len(a.Ranges) == 0 || len(a.Ranges) > 10_000) {
		err = n.fail("[range] needs 1 to 10000 [ranges]")
	}
	return a, firstError(err, n.needField("range", a.Field))
}

func (p *parser) filterAgg(n *node) (AggSpec, error) {
	a := &FilterAgg{}
	return a, p.queryInto(&a.Query)(n)
}

func (p *parser) filtersAgg(n *node) (AggSpec, error) {
	a := &FiltersAgg{Keyed: true, Other: "_other_"}
	err := n.params("filters", setters{
		"keyed": boolean(&a.Keyed), "other_bucket": boolean(&a.Rest),
		"other_bucket_key": func(n *node) error {
			a.Rest = true
			return text(&a.Other)(n)
		},
		"filters": func(n *node) error {
			if n.kind == arrayNode {
				return p.queries(&a.Queries)(n)
			}
			if n.kind != objectNode {
				return n.fail("expected queries, found %s", n.show())
			}
			members := slices.Clone(n.members)
			slices.SortFunc(members, func(x, y member) int { return strings.Compare(x.name, y.name) })
			for _, m := range members {
				q, err := p.query(m.value)
				if err != nil {
					return err
				}
				a.Names, a.Queries = append(a.Names, m.name), append(a.Queries, q)
			}
			return nil
		},
	})
	if err == nil && len(a.Queries) == 0 {
		err = n.fail("[filters] needs [filters]")
	}
	return a, err
}

func metricAgg(n *node, op Metric) (AggSpec, error) {
	a := &MetricAgg{Op: op, Sigma: 2}
	set := setters{"field": text(&a.Field), "missing": literalPointer(&a.Missing)}
	switch op {
	case ExtendedStats:
		set["sigma"] = number(&a.Sigma)
	case Cardinality:
		precision := 0
		// Up to where counting is exact. It is up to as many as this can ask for.
		set["precision_threshold"] = integer(&precision, 0, math.MaxInt32)
	}
	err := n.params("metric", set)
	if err == nil && a.Sigma < 0 {
		err = n.fail("[sigma] must not be negative")
	}
	return a, firstError(err, n.needField("metric", a.Field))
}

func percentiles(n *node) (AggSpec, error) {
	a := &PercentilesAgg{Percents: []float64{1, 5, 25, 50, 75, 95, 99}, Compression: 100, Keyed: true}
	err := n.params("percentiles", setters{
		"field": text(&a.Field), "keyed": boolean(&a.Keyed), "missing": literalPointer(&a.Missing),
		"percents": func(n *node) error {
			a.Percents = nil
			if n.kind != arrayNode || len(n.items) == 0 || len(n.items) > 1000 {
				return n.fail("[percents] has to be an array of 1 to 1000 numbers")
			}
			for _, item := range n.items {
				var f float64
				if err := number(&f)(item); err != nil {
					return err
				}
				if f < 0 || f > 100 {
					return item.fail("percent must be in [0,100], got %s", item.text)
				}
				a.Percents = append(a.Percents, f)
			}
			slices.Sort(a.Percents)
			return nil
		},
		"tdigest": func(n *node) error {
			return n.params("tdigest", setters{"compression": func(n *node) error {
				if err := number(&a.Compression)(n); err != nil {
					return err
				}
				if a.Compression < 1 || a.Compression > 1000 {
					return n.fail("[compression] has to be from 1 to 1000")
				}
				return nil
			}})
		},
	})
	return a, firstError(err, n.needField("percentiles", a.Field))
}

func topHits(n *node) (AggSpec, error) {
	a := &TopHitsAgg{Size: 3}
	return a, n.params("top_hits", setters{
		"from": integer(&a.From, 0, 100), "size": integer(&a.Size, 0, 100),
		"sort": parseSort(&a.Sort), "_source": a.Source.parse,
	})
}
