package elastic

import (
	"slices"
	"strconv"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
)

// writeAggs writes aggregations, each by its name.
func writeAggs(w *writer, aggs []textsearch.AggResult, show shown) {
	for i := range aggs {
		name := aggs[i].Name
		if show.typedKeys {
			name = aggs[i].Type + "#" + name
		}
		w.name(name)
		w.object(func() { writeAgg(w, &aggs[i], show) })
	}
}

func writeAgg(w *writer, a *textsearch.AggResult, show shown) {
	switch spec := a.Spec.(type) {
	case *textquery.MetricAgg:
		writeMetric(w, spec.Op, a.Values)
	case *textquery.PercentilesAgg:
		writePercentiles(w, spec, a.Percentiles)
	case *textquery.TopHitsAgg:
		w.name("hits")
		w.object(func() {
			writeTotal(w, a.Total, false, show)
			w.member("max_score", a.MaxScore)
			writeHits(w, a.Hits, &spec.Source)
		})
	case *textquery.FilterAgg:
		for _, b := range a.Buckets { // the only one
			w.member("doc_count", b.Count)
			writeAggs(w, b.Aggs, show)
		}
	case *textquery.TermsAgg:
		w.member("doc_count_error_upper_bound", 0) // counts are exact
		w.member("sum_other_doc_count", a.Others)
		writeBuckets(w, a, show)
	default:
		writeBuckets(w, a, show)
	}
}

// members of metrics that have several numbers, in Elasticsearch's order.
var (
	statsMembers    = []string{"count", "min", "max", "avg", "sum"}
	extendedMembers = append(slices.Clone(statsMembers), "sum_of_squares", "variance", "variance_population", "variance_sampling",
		"std_deviation", "std_deviation_population", "std_deviation_sampling", "std_deviation_bounds")
)

func writeMetric(w *writer, op textquery.Metric, values map[string]any) {
	names := []string{"value"}
	switch op {
	case textquery.StatsMetric:
		names = statsMembers
	case textquery.ExtendedStats:
		names = extendedMembers
	}
	for _, name := range names {
		w.member(name, values[name])
	}
}

func writePercentiles(w *writer, spec *textquery.PercentilesAgg, found [][2]float64) {
	value := func(percent float64) any {
		for _, pair := range found {
			if pair[0] == percent {
				return pair[1]
			}
		}
		return nil
	}
	w.name("values")
	if spec.Keyed {
		w.object(func() {
			for _, p := range spec.Percents {
				w.member(string(appendDouble(nil, p)), value(p))
			}
		})
		return
	}
	w.array(func() {
		for _, p := range spec.Percents {
			w.object(func() {
				w.member("key", p)
				w.member("value", value(p))
			})
		}
	})
}

func writeBuckets(w *writer, a *textsearch.AggResult, show shown) {
	w.name("buckets")
	if !a.Keyed {
		w.array(func() {
			for i := range a.Buckets {
				w.object(func() { writeBucket(w, a, &a.Buckets[i], false, show) })
			}
		})
		return
	}
	w.object(func() {
		for i := range a.Buckets {
			w.name(keyText(&a.Buckets[i]))
			w.object(func() { writeBucket(w, a, &a.Buckets[i], true, show) })
		}
	})
}

// writeBucket writes a bucket. One that is found by its key has that inside too
// only where the key is not text.
func writeBucket(w *writer, a *textsearch.AggResult, b *textsearch.Bucket, keyed bool, show shown) {
	if b.KeyText != "" {
		w.member("key_as_string", b.KeyText)
	}
	_, text := b.Key.(string)
	switch {
	case b.Key == nil, keyed && text:
	case histogramOfNumbers(a):
		w.member("key", double(b.Key))
	default:
		w.member("key", b.Key)
	}
	if b.From != nil {
		w.member("from", b.From)
	}
	if b.To != nil {
		w.member("to", b.To)
	}
	w.member("doc_count", b.Count)
	writeAggs(w, b.Aggs, show)
}

// histogramOfNumbers: its keys are fractions, also where the field has none.
func histogramOfNumbers(a *textsearch.AggResult) bool {
	_, ok := a.Spec.(*textquery.HistogramAgg)
	return ok
}

func double(key any) any {
	if n, ok := key.(int64); ok {
		return float64(n)
	}
	return key
}

// keyText is a key as the name of a member.
func keyText(b *textsearch.Bucket) string {
	if b.KeyText != "" {
		return b.KeyText
	}
	switch key := b.Key.(type) {
	case string:
		return key
	case int64:
		return strconv.FormatInt(key, 10)
	case float64:
		return string(appendDouble(nil, key))
	}
	return ""
}
