package search

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textquery"
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
