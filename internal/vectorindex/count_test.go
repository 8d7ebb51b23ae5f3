package vectorindex_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

func TestCountsAreExact(t *testing.T) {
	ctx := context.Background()
	const n = 10_000
	vectors := vectortest.Clustered(4, n, 8, 10)
	for i := range vectors {
		if i%5 == 0 {
			vectors[i] = vectors[0]
		}
	}
	data, _ := built(t, options(8, vectorindex.IVF), vectors, 0)
	object := newObject(data)
	f := open(t, object)
	all, err := f.Count(ctx, vectorindex.Filter{})
	require.NoError(t, err)
	require.EqualValues(t, n, all)
	r := rand.New(rand.NewPCG(2, 3))
	for range 100 {
		first, next := r.IntN(n), 1+r.IntN(n)
		least, greatest := 0, n-1
		filter := vectorindex.Filter{First: offsetOf(first), Next: offsetOf(next-1) + 1}
		if r.IntN(2) == 0 {
			least, greatest = r.IntN(n), r.IntN(n)
			filter.Times = &vectorindex.Times{Least: stamp(offsetOf(least)), Greatest: stamp(offsetOf(greatest))}
		}
		hidden := r.IntN(3) * 50
		if hidden > 0 {
			filter.Hidden = bitmapOf(n, func(i int) bool { return i%hidden == 0 && i < n/2 })
		}
		only := r.IntN(4) == 0
		if only {
			filter.Only = bitmapOf(n, func(i int) bool { return i%3 == 0 })
		}
		want := int64(0)
		for i := first; i < next; i++ {
			if i >= least && i <= greatest && (hidden == 0 || i%hidden != 0 || i >= n/2) && (!only || i%3 == 0) {
				want++
			}
		}
		got, err := f.Count(ctx, filter)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	object.took()
	_, err = f.Count(ctx, vectorindex.Filter{First: offsetOf(5000)})
	require.NoError(t, err)
	reads, _ := object.took()
	require.EqualValues(t, 1, reads, "one block is cut")
}

// What is expected of a search is what its answer then says.
func TestExpectationsAreWhatAnswersPromise(t *testing.T) {
	ctx := context.Background()
	vectors := vectortest.Words(8, 3000, 24)
	for _, kind := range []vectorindex.Kind{vectorindex.IVF, vectorindex.HNSW} {
		data, _ := built(t, options(24, kind), vectors, 0)
		for _, blob := range []vectorindex.Blob{vectorindex.Bytes(data), newObject(data)} {
			f := open(t, blob)
			for _, recall := range []float64{0, 0.5, 0.99} {
				path, promised := f.Expect(10, recall, 20, 3)
				answer, err := f.Search(ctx, vectorindex.Query{Vector: vectors[7], K: 10, Recall: recall, Ef: 20, Probes: 3})
				require.NoError(t, err)
				require.Equal(t, answer.Path, path)
				require.InDelta(t, answer.Recall, promised, 1e-9)
			}
		}
	}
	tiny, _ := built(t, options(24, vectorindex.HNSW), vectors[:9], 0)
	_, promised := open(t, vectorindex.Bytes(tiny)).Expect(10, 0, 0, 0)
	require.EqualValues(t, 1, promised, "all are compared")
}
