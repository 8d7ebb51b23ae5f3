package vectorindex_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// stamp is the time of an offset.
func stamp(offset int64) int64 { return 1_700_000_000_000 + offset*10 }

// offsetOf is the offset of a vector: every third is missing.
func offsetOf(i int) int64 { return 1000 + int64(i)*3/2 }

func options(dimensions int, kind vectorindex.Kind) vectorindex.Options {
	return vectorindex.Options{Dimensions: dimensions, Metric: vectorindex.Cosine, Encoding: vectorindex.F32, Kind: kind, Model: "test", FlatMax: 500, ListRows: 64, Seed: 7, Workers: 2}
}

// built writes vectors as a shard.
func built(t testing.TB, o vectorindex.Options, vectors [][]float32, first int) ([]byte, vectorindex.Result) {
	t.Helper()
	b, err := vectorindex.NewBuilder(o, 1<<40)
	require.NoError(t, err)
	for i, v := range vectors {
		require.NoError(t, b.Append(offsetOf(first+i), stamp(offsetOf(first+i)), v))
	}
	var out bytes.Buffer
	result, err := b.Write(&out)
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), result.Size)
	return out.Bytes(), result
}

func open(t testing.TB, b vectorindex.Blob) *vectorindex.File {
	t.Helper()
	f, err := vectorindex.Open(context.Background(), b, 0)
	require.NoError(t, err)
	return f
}

// truth are the k nearest vectors that pass, compared in float64.
func truth(m vectorindex.Metric, vectors [][]float32, q []float32, k int, pass func(i int) bool) []vectorindex.Hit {
	var all []vectorindex.Hit
	for i, v := range vectors {
		if pass == nil || pass(i) {
			all = append(all, vectorindex.Hit{Offset: offsetOf(i), Timestamp: stamp(offsetOf(i)), Distance: float32(m.Distance(q, v))})
		}
	}
	slices.SortFunc(all, func(a, b vectorindex.Hit) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Offset, b.Offset))
	})
	return all[:min(k, len(all))]
}

// recall is the part of true hits that were found, where what is as near as the
// last of them is as good. Distances of vectors that are kept in fewer bits are
// those of other vectors: then the offsets tell.
func recall(got, want []vectorindex.Hit) float64 {
	if len(want) == 0 {
		return 1
	}
	n, worst := 0, want[len(want)-1].Distance
	for _, h := range got {
		if slices.ContainsFunc(want, func(w vectorindex.Hit) bool { return w.Offset == h.Offset }) || h.Distance <= worst+1e-5*max(1, float32(math.Abs(float64(worst)))) {
			n++
		}
	}
	return float64(min(n, len(want))) / float64(len(want))
}

// measured is the mean recall of queries, and how they were answered.
func measured(t testing.TB, f *vectorindex.File, vectors, queries [][]float32, q vectorindex.Query, pass func(i int) bool) (float64, string) {
	t.Helper()
	want := make([][]vectorindex.Hit, len(queries))
	for i, v := range queries {
		want[i] = truth(f.Info().Metric, vectors, v, q.K, pass)
	}
	return measuredBy(t, f, want, queries, q, pass)
}

// measuredBy is measured when the true hits of each query are known, and maybe more.
func measuredBy(t testing.TB, f *vectorindex.File, truths [][]vectorindex.Hit, queries [][]float32, q vectorindex.Query, pass func(i int) bool) (float64, string) {
	t.Helper()
	sum, paths := 0.0, map[vectorindex.Path]int{}
	effort := 0
	for n, v := range queries {
		q.Vector = v
		answer, err := f.Search(context.Background(), q)
		require.NoError(t, err)
		want := truths[n][:min(q.K, len(truths[n]))]
		require.Len(t, answer.Hits, len(want))
		for i, h := range answer.Hits {
			if i > 0 {
				require.LessOrEqual(t, answer.Hits[i-1].Distance, h.Distance)
			}
			if pass != nil {
				require.True(t, pass(int((h.Offset-1000)*2+2)/3), "offset %d", h.Offset)
			}
		}
		sum += recall(answer.Hits, want)
		paths[answer.Path]++
		effort += answer.Effort
	}
	return sum / float64(len(queries)), fmt.Sprintf("%v, effort %d", paths, effort/len(queries))
}

// object counts reads, and gives new bytes at each as a bucket does.
type object struct {
	data  []byte
	reads chan int64
}

func newObject(data []byte) *object { return &object{data, make(chan int64, 1<<16)} }

func (o *object) Size() int64 { return int64(len(o.data)) }

func (o *object) Read(_ context.Context, offset, length int64) ([]byte, error) {
	if offset < 0 || length <= 0 || offset+length > o.Size() {
		return nil, fmt.Errorf("read [%d,%d) of %d", offset, offset+length, o.Size())
	}
	o.reads <- length
	return bytes.Clone(o.data[offset : offset+length]), nil
}

// took returns how often and how much was read since it was last called.
func (o *object) took() (reads int, sum int64) {
	for {
		select {
		case n := <-o.reads:
			reads, sum = reads+1, sum+n
		default:
			return reads, sum
		}
	}
}
