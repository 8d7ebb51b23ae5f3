package vectorindex_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

func mergeOptions(kind vectorindex.Kind) vectorindex.MergeOptions {
	return vectorindex.MergeOptions{Kind: kind, FlatMax: 500, ListRows: 64, Seed: 7, Workers: 2}
}

func merged(t testing.TB, files []*vectorindex.File, o vectorindex.MergeOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	result, err := vectorindex.Merge(context.Background(), &out, files, o)
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), result.Size)
	require.Empty(t, open(t, vectorindex.Bytes(out.Bytes())).Verify(context.Background()))
	return out.Bytes()
}

func TestMergedShardsFindWhatOneFinds(t *testing.T) {
	const dimensions, asked = 24, 40
	all := words(8, 6000+asked, dimensions)
	vectors, queries := all[:6000], all[6000:]
	for _, e := range []vectorindex.Encoding{vectorindex.F32, vectorindex.F16, vectorindex.Int8, vectorindex.Binary} {
		kind := vectorindex.HNSW
		if e == vectorindex.Binary {
			kind = vectorindex.IVF
		}
		o := options(dimensions, kind)
		o.Encoding = e
		var files []*vectorindex.File
		for i, cut := range []int{0, 300, 800, 5000, 5400, 6000} { // flat, flat, lists, flat, flat
			if i > 0 {
				first := []int{0, 300, 800, 5000, 5400}[i-1]
				data, _ := built(t, o, vectors[first:cut], first)
				if i%2 == 0 {
					files = append(files, open(t, newObject(data)))
				} else {
					files = append(files, open(t, vectorindex.Bytes(data)))
				}
			}
		}
		for name, of := range map[string][]*vectorindex.File{"into the largest's lists": files, "flat ones": append(append([]*vectorindex.File(nil), files[:2]...), files[3:]...)} {
			f := open(t, vectorindex.Bytes(merged(t, of, mergeOptions(kind))))
			require.Equal(t, kind, f.Info().Kind)
			pass := func(i int) bool { return len(of) == len(files) || i < 800 || i >= 5000 }
			aim := map[vectorindex.Encoding]float64{vectorindex.F32: 0.95, vectorindex.F16: 0.95, vectorindex.Int8: 0.9, vectorindex.Binary: 0.85}[e]
			got, how := measured(t, f, vectors, queries, vectorindex.Query{K: 10}, pass)
			t.Logf("%s, %s: recall %.4f, %s, judged %d", e, name, got, how, f.Info().Calibration.Curves[0].Rerank)
			require.GreaterOrEqual(t, got, aim, "%s, %s", e, name)
		}
	}
}

func TestAMergeLeavesOutWhatIsNotKept(t *testing.T) {
	ctx := context.Background()
	vectors := clustered(9, 3000, 16, 20)
	vectors[2504] = vectors[12] // the same in two shards
	var files []*vectorindex.File
	for _, first := range []int{0, 1000, 2000} {
		data, _ := built(t, options(16, vectorindex.IVF), vectors[first:first+1000], first)
		files = append(files, open(t, vectorindex.Bytes(data)))
	}
	o := mergeOptions(vectorindex.HNSW)
	o.First, o.Keep = offsetOf(5), func(offset int64) bool { return offset%5 != 0 }
	f := open(t, vectorindex.Bytes(merged(t, files, o)))
	kept := 0
	for i := range vectors {
		if i >= 5 && offsetOf(i)%5 != 0 {
			kept++
		}
	}
	require.EqualValues(t, kept, f.Info().Documents)
	require.EqualValues(t, kept-1, f.Info().Rows)
	got, _ := measured(t, f, vectors, vectors[:20], vectorindex.Query{K: 10}, func(i int) bool { return i >= 5 && offsetOf(i)%5 != 0 })
	require.GreaterOrEqual(t, got, 0.95)
	answer, err := f.Search(ctx, vectorindex.Query{Vector: vectors[12], K: 2})
	require.NoError(t, err)
	require.Equal(t, []int64{offsetOf(12), offsetOf(2504)}, []int64{answer.Hits[0].Offset, answer.Hits[1].Offset})
	o.Keep = func(int64) bool { return false }
	_, err = vectorindex.Merge(ctx, &bytes.Buffer{}, files, o)
	require.ErrorIs(t, err, vectorindex.ErrEmpty)
}

func TestWhatDoesNotGoTogetherIsNotMerged(t *testing.T) {
	vectors := clustered(10, 100, 8, 3)
	data, _ := built(t, options(8, vectorindex.IVF), vectors, 0)
	one := open(t, vectorindex.Bytes(data))
	another := func(change func(*vectorindex.Options)) *vectorindex.File {
		o := options(8, vectorindex.IVF)
		change(&o)
		data, _ := built(t, o, vectors, 1000)
		return open(t, vectorindex.Bytes(data))
	}
	for name, files := range map[string][]*vectorindex.File{
		"nothing":     nil,
		"twice":       {one, one},
		"two models":  {one, another(func(o *vectorindex.Options) { o.Model = "b" })},
		"two metrics": {one, another(func(o *vectorindex.Options) { o.Metric = vectorindex.Dot })},
		"two kinds":   {one, another(func(o *vectorindex.Options) { o.Encoding = vectorindex.F16 })},
	} {
		_, err := vectorindex.Merge(context.Background(), &bytes.Buffer{}, files, mergeOptions(vectorindex.IVF))
		require.ErrorIs(t, err, vectorindex.ErrMerge, name)
	}
}

func TestABuildIsTheSameWithAnyNumberOfWorkers(t *testing.T) {
	vectors := words(11, 2500, 20)
	o := options(20, vectorindex.HNSW)
	var want []byte
	for _, workers := range []int{1, 2, 5} {
		o.Workers = workers
		data, _ := built(t, o, vectors, 0)
		if want == nil {
			want = data
		}
		require.True(t, bytes.Equal(want, data), "%d workers", workers)
	}
	o.Seed++
	data, _ := built(t, o, vectors, 0)
	require.False(t, bytes.Equal(want, data), "the seed has an effect")
}

func TestABuilderStopsAtItsBound(t *testing.T) {
	o := options(16, vectorindex.IVF)
	b, err := vectorindex.NewBuilder(o, 100_000)
	require.NoError(t, err)
	vectors := clustered(12, 2000, 16, 5)
	n := 0
	for ; n < len(vectors); n++ {
		if err = b.Append(int64(n), 0, vectors[n]); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, vectorindex.ErrFull)
	require.Greater(t, n, 100)
	require.Less(t, n, 1000)
	var out bytes.Buffer
	result, err := b.Write(&out)
	require.NoError(t, err)
	require.EqualValues(t, n, result.Documents)

	b, err = vectorindex.NewBuilder(o, 1)
	require.NoError(t, err)
	_, err = b.Write(&out)
	require.ErrorIs(t, err, vectorindex.ErrEmpty)
	require.NoError(t, b.Append(5, 0, vectors[0]), "one always has a place")
	require.ErrorIs(t, b.Append(5, 0, vectors[0]), vectorindex.ErrOptions, "offsets rise")
}
