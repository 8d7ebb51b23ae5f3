package vectorindex_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

func TestCalibratedRecallHolds(t *testing.T) {
	const n, dimensions, asked = 4000, 48, 60
	for name, all := range map[string][][]float32{
		"clustered": vectortest.Clustered(1, n+asked, dimensions, 40),
		"words":     vectortest.Words(2, n+asked, dimensions),
	} {
		vectors, queries := all[:n], all[n:]
		for _, metric := range []vectorindex.Metric{vectorindex.Cosine, vectorindex.Euclidean, vectorindex.Dot} {
			want := make([][]vectorindex.Hit, asked)
			for i, q := range queries {
				want[i] = truth(metric, vectors, q, 50, nil)
			}
			for _, kind := range []vectorindex.Kind{vectorindex.HNSW, vectorindex.IVF} {
				t.Run(fmt.Sprintf("%s %s %s", name, metric, kind), func(t *testing.T) {
					o := options(dimensions, kind)
					o.Metric = metric
					data, result := built(t, o, vectors, 0)
					t.Logf("%+v", result.Calibration)
					for at, f := range map[string]*vectorindex.File{"mapped": open(t, vectorindex.Bytes(data)), "by ranges": open(t, newObject(data))} {
						for _, k := range []int{1, 10, 50} {
							got, how := measuredBy(t, f, want, queries, vectorindex.Query{K: k}, nil)
							t.Logf("%s, k %d: recall %.4f, %s", at, k, got, how)
							require.GreaterOrEqual(t, got, 0.95, "%s, k %d: %s", at, k, how)
						}
					}
				})
			}
		}
	}
}

// Neighbours beyond the first few are in other clusters, far from the query: what
// was measured for ten says nothing of them.
func TestRecallHoldsForManyNeighbours(t *testing.T) {
	const n, asked = 4000, 150
	all := vectortest.Clustered(13, n+asked, 24, n/10)
	vectors, queries := all[:n], all[n:]
	want := make([][]vectorindex.Hit, asked)
	for i, q := range queries {
		want[i] = truth(vectorindex.Cosine, vectors, q, 300, nil)
	}
	for _, kind := range []vectorindex.Kind{vectorindex.HNSW, vectorindex.IVF} {
		o := options(24, kind)
		o.ListRows = 20
		data, _ := built(t, o, vectors, 0)
		f := open(t, vectorindex.Bytes(data))
		for _, k := range []int{10, 11, 60, 100, 200, 300} {
			got, how := measuredBy(t, f, want, queries, vectorindex.Query{K: k}, nil)
			t.Logf("%s, k %d: recall %.4f, %s", kind, k, got, how)
			require.GreaterOrEqual(t, got, 0.95, "%s, k %d: %s", kind, k, how)
		}
	}
}

func TestAShardThatIsTooSmallToCalibrateIsSearchedWhole(t *testing.T) {
	vectors := vectortest.Clustered(14, 9, 6, 3)
	for _, kind := range []vectorindex.Kind{vectorindex.HNSW, vectorindex.IVF} {
		o := options(6, kind)
		o.FlatMax, o.ListRows = 1, 2
		data, result := built(t, o, vectors, 0)
		require.Equal(t, kind, result.Kind)
		require.Empty(t, result.Calibration.Curves)
		for _, blob := range []vectorindex.Blob{vectorindex.Bytes(data), newObject(data)} {
			for _, k := range []int{1, 9, 40} {
				got, how := measured(t, open(t, blob), vectors, vectors, vectorindex.Query{K: k}, nil)
				require.EqualValues(t, 1, got, how)
			}
		}
	}
}
