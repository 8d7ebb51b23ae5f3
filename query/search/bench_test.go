package search

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/splitcache"
)

// BenchmarkAcknowledgedToFound is how long after its acknowledgement a record is in
// the answer of a search for latest, which began at once.
func BenchmarkAcknowledgedToFound(b *testing.B) {
	for _, before := range []int{0, 20_000} {
		b.Run(fmt.Sprintf("%d records before", before), func(b *testing.B) {
			n := newNode(b, 1)
			for i := range before / 100 {
				n.produce(0, 100, uint64(i))
			}
			n.ask(`{"size":0}`)
			var took []time.Duration
			for b.Loop() {
				word := fmt.Sprintf("unique%d", len(took))
				n.broker.Produce(b, 0, 0, `{"body":"`+word+`"}`)
				r, err := textquery.Parse([]byte(`{"query":{"match":{"body":"` + word + `"}}}`))
				require.NoError(b, err)
				began := time.Now()
				a, err := n.Search(b.Context(), []string{"logs"}, r, Options{})
				took = append(took, time.Since(began))
				require.NoError(b, err)
				require.Len(b, a.Hits, 1)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}

// BenchmarkColdSplit is what a search fetches of a large split of which nothing is
// here, and of one whose footer is in memory.
func BenchmarkColdSplit(b *testing.B) {
	n := newNode(b, 1)
	for i := range 100 {
		n.produce(0, 1_000, uint64(i))
	}
	size := n.compact(0, 100_000).Size
	for _, q := range append(questions, `{"query":{"match":{"body":"w90"}}}`) {
		for _, footer := range []bool{false, true} {
			b.Run(fmt.Sprintf("footer %t %s", footer, q), func(b *testing.B) {
				r, err := textquery.Parse([]byte(q))
				require.NoError(b, err)
				before, bytes, ranges := n.files.Counts(), int64(0), int64(0)
				for b.Loop() {
					b.StopTimer()
					n.config.Splits.Close()
					n.config.Splits = splitcache.New(n.files, splitcache.Options{WholeBytes: 1})
					if footer {
						n.ask(`{"size":0,"query":{"match_none":{}}}`)
					}
					before = n.files.Counts()
					b.StartTimer()
					_, err := n.Search(b.Context(), []string{"logs"}, r, Options{})
					require.NoError(b, err)
					b.StopTimer()
					bytes += n.files.Counts().BytesFetched - before.BytesFetched
					ranges += n.files.Counts().Ranges - before.Ranges
					for _, f := range n.bucketed() { // what was hot is cold again
						n.files.Forget(f)
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(ranges)/float64(b.N), "ranges/op")
				b.ReportMetric(float64(bytes)/float64(b.N)/1024, "KiB/op")
				b.ReportMetric(float64(size)/1024, "KiB-split")
			})
		}
	}
}

// bucketed are the splits that there are.
func (n *node) bucketed() (objects []string) {
	section, _ := n.section(0)
	for _, f := range section.Text {
		objects = append(objects, f.Object)
	}
	return objects
}
