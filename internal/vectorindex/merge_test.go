package vectorindex_test

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
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
	all := vectortest.Words(8, 6000+asked, dimensions)
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

// countdown is a context that is over once it was looked at so often.
type countdown struct {
	context.Context
	looks, after atomic.Int64
}

func (c *countdown) Err() error {
	if c.looks.Add(-1) >= 0 {
		return nil
	}
	c.after.Add(1)
	return context.Canceled
}

// Clustering, graphs and calibration take minutes of large shards: each looks
// whether the merge is still wanted.
func TestAMergeEndsWithItsContext(t *testing.T) {
	vectors := vectortest.Clustered(9, 3000, 16, 20)
	var files []*vectorindex.File
	for first := 0; first < 3000; first += 1000 {
		data, _ := built(t, options(16, vectorindex.Flat), vectors[first:first+1000], first)
		files = append(files, open(t, vectorindex.Bytes(data)))
	}
	done := false
	for looks := int64(0); !done; looks += 1 + looks {
		ctx := &countdown{Context: context.Background()}
		ctx.looks.Store(looks)
		var out bytes.Buffer
		_, err := vectorindex.Merge(ctx, &out, files, mergeOptions(vectorindex.HNSW))
		if done = err == nil; done {
			require.Greater(t, looks, int64(200), "it hardly looks")
			require.GreaterOrEqual(t, ctx.looks.Load(), int64(0))
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
		require.Less(t, ctx.after.Load(), int64(100), "it goes on once it is over")
		require.Zero(t, out.Len())
	}
}

func TestAMergeLeavesOutWhatIsNotKept(t *testing.T) {
	ctx := context.Background()
	vectors := vectortest.Clustered(9, 3000, 16, 20)
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

// What a topic asks for may change: then shards are written anew of the vectors
// that they have, by themselves or with others.
func TestAMergeChangesHowVectorsAreKept(t *testing.T) {
	const dimensions, n = 16, 1500
	all := vectortest.Clustered(17, n+30, dimensions, 20)
	vectors, queries := all[:n], all[n:]
	first, _ := built(t, options(dimensions, vectorindex.HNSW), vectors[:1000], 0)
	o := options(dimensions, vectorindex.IVF)
	o.Metric, o.Encoding = vectorindex.Dot, vectorindex.Int8
	second, _ := built(t, o, vectors[1000:], 1000)
	for _, metric := range []vectorindex.Metric{vectorindex.Cosine, vectorindex.Euclidean, vectorindex.Dot} {
		for encoding, near := range map[vectorindex.Encoding]float64{vectorindex.F32: 0.01, vectorindex.F16: 0.02, vectorindex.Int8: 0.03, vectorindex.Binary: 0.03} {
			for name, files := range map[string][]*vectorindex.File{
				"one": {open(t, newObject(first))}, "another": {open(t, vectorindex.Bytes(second))}, "both": {open(t, vectorindex.Bytes(first)), open(t, newObject(second))},
			} {
				m := mergeOptions(vectorindex.IVF)
				m.Metric, m.Encoding = metric, encoding
				f := open(t, vectorindex.Bytes(merged(t, files, m)))
				require.Equal(t, metric, f.Info().Metric)
				require.Equal(t, encoding, f.Info().Encoding)
				got := vectorsOf(t, f, vectorindex.Filter{})
				in := func(i int) bool { return name == "both" || name == "one" && i < 1000 || name == "another" && i >= 1000 }
				for i, v := range vectors {
					if !in(i) {
						continue
					}
					length := math.Sqrt(-vectorindex.Dot.Distance(v, v))
					require.LessOrEqual(t, vectorindex.Euclidean.Distance(v, got[offsetOf(i)]), near*length, "%s, %s, %s", name, metric, encoding)
					delete(got, offsetOf(i))
				}
				require.Empty(t, got)
				if encoding == vectorindex.F32 && name == "one" {
					found, how := measured(t, f, vectors, queries, vectorindex.Query{K: 10}, in)
					require.GreaterOrEqual(t, found, 0.95, how)
				}
			}
		}
	}
}

// A shard may hold offsets that another one has, newer: those count of it that it
// is said to have.
func TestAMergeLeavesOutWhatItsEncodingCannotHold(t *testing.T) {
	vectors := vectortest.Clustered(23, 20, 8, 3)
	vectors[7][2] = 1e6
	data, _ := built(t, options(8, vectorindex.Flat), vectors, 0)
	files := []*vectorindex.File{open(t, vectorindex.Bytes(data))}
	m := mergeOptions(vectorindex.Flat)
	m.Encoding = vectorindex.F16
	_, err := vectorindex.Merge(t.Context(), &bytes.Buffer{}, files, m)
	require.ErrorIs(t, err, vectorindex.ErrVector)
	var unfit []int64
	m.Unfit = func(offset int64) { unfit = append(unfit, offset) }
	got := vectorsOf(t, open(t, vectorindex.Bytes(merged(t, files, m))), vectorindex.Filter{})
	require.Equal(t, []int64{offsetOf(7)}, unfit)
	require.Len(t, got, 19)
	require.NotContains(t, got, offsetOf(7))
}

func TestAMergeTakesOfEachShardItsSpan(t *testing.T) {
	old, _ := built(t, options(8, vectorindex.IVF), vectortest.Clustered(18, 600, 8, 5), 0)
	fresh := vectortest.Clustered(19, 300, 8, 5)
	data, _ := built(t, options(8, vectorindex.IVF), fresh, 0)
	files := []*vectorindex.File{open(t, vectorindex.Bytes(data)), open(t, vectorindex.Bytes(old))}
	m := mergeOptions(vectorindex.IVF)
	_, err := vectorindex.Merge(t.Context(), &bytes.Buffer{}, files, m)
	require.ErrorIs(t, err, vectorindex.ErrMerge)
	m.Spans = []vectorindex.Span{{First: 0, Next: offsetOf(300)}, {First: offsetOf(300), Next: offsetOf(500)}}
	got := vectorsOf(t, open(t, vectorindex.Bytes(merged(t, files, m))), vectorindex.Filter{})
	require.Len(t, got, 500)
	require.Equal(t, fresh[7], got[offsetOf(7)])
	m.Spans = m.Spans[:1]
	_, err = vectorindex.Merge(t.Context(), &bytes.Buffer{}, files, m)
	require.ErrorIs(t, err, vectorindex.ErrMerge)
}

// What a merge will take can be told before it is begun.
func TestAMergeKeepsToTheMemoryThatItSays(t *testing.T) {
	const n, dimensions, writing = 8000, 64, 3 << 20
	vectors := vectortest.Clustered(20, n, dimensions, 30)
	o := options(dimensions, vectorindex.IVF)
	first, _ := built(t, o, vectors[:n/2], 0)
	second, _ := built(t, o, vectors[n/2:], n/2)
	for name, files := range map[string][]*vectorindex.File{
		"mapped": {open(t, vectorindex.Bytes(first)), open(t, vectorindex.Bytes(second))},
		"read":   {open(t, vectorindex.Bytes(first)), open(t, newObject(second))},
	} {
		m := mergeOptions(vectorindex.HNSW)
		m.Workers = 1
		o.Kind, o.M = m.Kind, 16
		said := writing + n*o.MergeBytes()
		most := uint64(0)
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := vectorindex.Merge(t.Context(), writerFunc(func(b []byte) (int, error) {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
			return len(b), nil
		}), files, m)
		require.NoError(t, err)
		t.Logf("%s: said %d, at most %d", name, said, most)
		require.LessOrEqual(t, most, uint64(said), name)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestWhatDoesNotGoTogetherIsNotMerged(t *testing.T) {
	vectors := vectortest.Clustered(10, 100, 8, 3)
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
	vectors := vectortest.Words(11, 2500, 20)
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
	vectors := vectortest.Clustered(12, 2000, 16, 5)
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
