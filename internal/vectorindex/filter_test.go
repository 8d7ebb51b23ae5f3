package vectorindex_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

// bitmapOf has the offsets of vectors that pass.
func bitmapOf(n int, pass func(i int) bool) *roaring64.Bitmap {
	b := roaring64.New()
	for i := range n {
		if pass(i) {
			b.Add(uint64(offsetOf(i)))
		}
	}
	return b
}

func TestRecallHoldsUnderFilters(t *testing.T) {
	const n, dimensions, asked = 10_000, 32, 30
	all := vectortest.Clustered(3, n+asked, dimensions, 40)
	vectors, queries := all[:n], all[n:]
	data, _ := built(t, options(dimensions, vectorindex.HNSW), vectors, 0)
	r := rand.New(rand.NewPCG(9, 9))
	keep := make([]float64, n)
	for i := range keep {
		keep[i] = r.Float64()
	}
	type filter struct {
		filter vectorindex.Filter
		pass   func(i int) bool
	}
	filters := make(map[string]filter)
	for _, part := range []float64{0.9, 0.5, 0.2, 0.01, 0.0001} {
		pass := func(i int) bool { return keep[i] < part || i == 17 }
		filters[fmt.Sprintf("bitmap of %v", part)] = filter{vectorindex.Filter{Only: bitmapOf(n, pass)}, pass}
		filters[fmt.Sprintf("hidden but %v", part)] = filter{vectorindex.Filter{Hidden: bitmapOf(n, func(i int) bool { return !pass(i) })}, pass}
		first := n / 3
		next := min(n, first+int(float64(n)*part)+1)
		filters[fmt.Sprintf("offsets of %v", part)] = filter{vectorindex.Filter{First: offsetOf(first), Next: offsetOf(next-1) + 1}, func(i int) bool { return i >= first && i < next }}
		filters[fmt.Sprintf("times of %v", part)] = filter{vectorindex.Filter{Times: &vectorindex.Times{Least: stamp(offsetOf(first)), Greatest: stamp(offsetOf(next - 1))}}, func(i int) bool { return i >= first && i < next }}
	}
	odd := func(i int) bool { return i >= 100 && i < 9000 && i%2 == 1 && i%3 != 0 }
	filters["all at once"] = filter{vectorindex.Filter{First: offsetOf(100), Next: offsetOf(9000), Times: &vectorindex.Times{Least: 0, Greatest: 1 << 60},
		Only: bitmapOf(n, func(i int) bool { return i%2 == 1 }), Hidden: bitmapOf(n, func(i int) bool { return i%3 == 0 })}, odd}
	for at, blob := range map[string]vectorindex.Blob{"mapped": vectorindex.Bytes(data), "by ranges": newObject(data)} {
		f := open(t, blob)
		for name, x := range filters {
			got, how := measured(t, f, vectors, queries, vectorindex.Query{K: 10, Filter: x.filter}, x.pass)
			t.Logf("%s, %s: recall %.4f, %s", at, name, got, how)
			require.GreaterOrEqual(t, got, 0.95, "%s, %s: %s", at, name, how)
		}
	}
}

// Where more documents pass than are compared one by one, a mapped shard is walked,
// by its graph, and of what the walk meets those count that pass.
func TestRecallHoldsWhereAGraphIsWalkedUnderAFilter(t *testing.T) {
	const n, dimensions, asked = 24_000, 12, 20
	all := vectortest.Clustered(15, n+asked, dimensions, n/100)
	vectors, queries := all[:n], all[n:]
	o := options(dimensions, vectorindex.HNSW)
	o.M, o.EfConstruction, o.ListRows = 8, 60, 256
	data, _ := built(t, o, vectors, 0)
	f := open(t, vectorindex.Bytes(data))
	r := rand.New(rand.NewPCG(15, 15))
	keep := make([]float64, n)
	for i := range keep {
		keep[i] = r.Float64()
	}
	type filter struct {
		filter vectorindex.Filter
		pass   func(i int) bool
	}
	filters := make(map[string]filter)
	for _, part := range []float64{0.9, 0.5} {
		pass := func(i int) bool { return keep[i] < part }
		filters[fmt.Sprintf("bitmap of %v", part)] = filter{vectorindex.Filter{Only: bitmapOf(n, pass)}, pass}
		filters[fmt.Sprintf("hidden but %v", part)] = filter{vectorindex.Filter{Hidden: bitmapOf(n, func(i int) bool { return !pass(i) })}, pass}
		first, next := n/20, n/20+int(n*part)
		within := func(i int) bool { return i >= first && i < next }
		filters[fmt.Sprintf("offsets of %v", part)] = filter{vectorindex.Filter{First: offsetOf(first), Next: offsetOf(next-1) + 1}, within}
		filters[fmt.Sprintf("times of %v", part)] = filter{vectorindex.Filter{Times: &vectorindex.Times{Least: stamp(offsetOf(first)), Greatest: stamp(offsetOf(next - 1))}}, within}
	}
	// What passes lies on one side: where a question lies on the other, nothing near
	// it does.
	side := func(i int) bool { return vectors[i][0] > 0 }
	filters["one side"] = filter{vectorindex.Filter{Only: bitmapOf(n, side)}, side}
	for name, x := range filters {
		want, walked := make([][]vectorindex.Hit, asked), 0
		for i, q := range queries {
			want[i] = truth(vectorindex.Cosine, vectors, q, 100, x.pass)
			answer, err := f.Search(context.Background(), vectorindex.Query{Vector: q, K: 100, Filter: x.filter})
			require.NoError(t, err)
			if answer.Path == vectorindex.ByGraph {
				walked++
			}
		}
		for _, k := range []int{10, 100} {
			got, how := measuredBy(t, f, want, queries, vectorindex.Query{K: k, Filter: x.filter}, x.pass)
			t.Logf("%s, k %d: recall %.4f, %s", name, k, got, how)
			require.GreaterOrEqual(t, got, 0.95, "%s, k %d: %s", name, k, how)
		}
		if name != "one side" {
			require.Greater(t, walked, asked/2, "%s: where too few pass near a question, lists are looked at, but not for most", name)
		}
	}
}

func TestAFilterThatLeavesFewIsExact(t *testing.T) {
	ctx := context.Background()
	vectors := vectortest.Clustered(5, 8000, 16, 20)
	data, _ := built(t, options(16, vectorindex.HNSW), vectors, 0)
	for _, blob := range []vectorindex.Blob{vectorindex.Bytes(data), newObject(data)} {
		f := open(t, blob)
		pass := func(i int) bool { return i%40 == 7 }
		answer, err := f.Search(ctx, vectorindex.Query{Vector: vectors[0], K: 300, Filter: vectorindex.Filter{Only: bitmapOf(len(vectors), pass)}})
		require.NoError(t, err)
		require.Equal(t, vectorindex.ByScan, answer.Path)
		require.EqualValues(t, 1, answer.Recall)
		want := truth(vectorindex.Cosine, vectors, vectors[0], 300, pass)
		require.Len(t, answer.Hits, 200)
		for i, h := range answer.Hits {
			require.InDelta(t, want[i].Distance, h.Distance, 1e-5)
		}
		for _, none := range []vectorindex.Filter{{First: 1 << 40}, {Next: 3}, {Only: roaring64.New()}, {Only: roaring64.BitmapOf(1, 1001, 1<<50)}, {Times: &vectorindex.Times{Least: 5, Greatest: 4}}} {
			answer, err := f.Search(ctx, vectorindex.Query{Vector: vectors[0], K: 3, Filter: none})
			require.NoError(t, err)
			for _, h := range answer.Hits {
				require.EqualValues(t, 1001, h.Offset)
			}
		}
	}
}

// A record that is written again and again, by a program that says the same, is
// one row: it is found at all its offsets, and does not fill the graph.
func TestEqualVectorsAreOneRowWithManyDocuments(t *testing.T) {
	ctx := context.Background()
	vectors := vectortest.Clustered(6, 3000, 16, 20)
	for i := range vectors {
		if i%3 > 0 {
			vectors[i] = vectors[i%50*3]
		}
	}
	for _, e := range []vectorindex.Encoding{vectorindex.F32, vectorindex.Int8} {
		o := options(16, vectorindex.HNSW)
		o.Encoding = e
		data, result := built(t, o, vectors, 0)
		require.EqualValues(t, 1000, result.Rows)
		require.EqualValues(t, 3000, result.Documents)
		for _, blob := range []vectorindex.Blob{vectorindex.Bytes(data), newObject(data)} {
			f := open(t, blob)
			require.Empty(t, f.Verify(ctx))
			answer, err := f.Search(ctx, vectorindex.Query{Vector: vectors[30], K: 41})
			require.NoError(t, err)
			want := truth(vectorindex.Cosine, vectors, vectors[30], 41, nil)
			for i := range 41 {
				require.Equal(t, want[i].Offset, answer.Hits[i].Offset, "of those at one distance the lowest offset comes first")
				require.Equal(t, answer.Hits[0].Distance, answer.Hits[i].Distance)
			}
			one := want[20].Offset
			answer, err = f.Search(ctx, vectorindex.Query{Vector: vectors[30], K: 1, Filter: vectorindex.Filter{Hidden: bitmapOf(len(vectors), func(i int) bool { return offsetOf(i) < one })}})
			require.NoError(t, err)
			require.Equal(t, one, answer.Hits[0].Offset)
		}
	}
}

func TestWhatIsNoQueryIsRefused(t *testing.T) {
	ctx := context.Background()
	data, _ := built(t, options(4, vectorindex.IVF), vectortest.Clustered(7, 50, 4, 2), 0)
	f := open(t, vectorindex.Bytes(data))
	inf := float32(math.Inf(1))
	for _, v := range [][]float32{nil, {1, 2, 3}, {1, 2, 3, inf - inf}, {1, 2, 3, inf}, {1e20, 0, 0, 0}} {
		_, err := f.Search(ctx, vectorindex.Query{Vector: v, K: 1})
		require.ErrorIs(t, err, vectorindex.ErrVector, "%v", v)
		b, err := vectorindex.NewBuilder(options(4, vectorindex.IVF), 1<<20)
		require.NoError(t, err)
		require.ErrorIs(t, b.Append(1, 1, v), vectorindex.ErrVector)
	}
	for _, q := range []vectorindex.Query{{K: 0}, {K: vectorindex.KMax + 1}, {K: 1, Recall: 1.1}, {K: 1, Ef: -1}} {
		q.Vector = []float32{1, 2, 3, 4}
		_, err := f.Search(ctx, q)
		require.ErrorIs(t, err, vectorindex.ErrOptions)
	}
}
