package vectorindex_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

// vectorsOf reads vectors by offset, each once.
func vectorsOf(t testing.TB, f *vectorindex.File, filter vectorindex.Filter) map[int64][]float32 {
	t.Helper()
	all := map[int64][]float32{}
	require.NoError(t, f.Vectors(context.Background(), filter, func(offset int64, v []float32) error {
		require.NotContains(t, all, offset)
		all[offset] = slices.Clone(v)
		return nil
	}))
	return all
}

// formDocuments is how many vectors the shards of everyForm have.
const formDocuments = 600

// forms are shards of each metric, encoding and kind that there is.
var forms = map[vectorindex.Options][]byte{}

// everyForm calls f with each of them, in memory and not.
func everyForm(t *testing.T, f func(t *testing.T, o vectorindex.Options, file *vectorindex.File)) {
	vectors := withCopies(formDocuments, 12)
	for _, metric := range []vectorindex.Metric{vectorindex.Cosine, vectorindex.Euclidean, vectorindex.Dot} {
		for _, encoding := range []vectorindex.Encoding{vectorindex.F32, vectorindex.F16, vectorindex.Int8, vectorindex.Binary} {
			for _, kind := range []vectorindex.Kind{vectorindex.Flat, vectorindex.IVF, vectorindex.HNSW} {
				if encoding == vectorindex.Binary && kind == vectorindex.HNSW {
					continue
				}
				o := options(len(vectors[0]), kind)
				o.Metric, o.Encoding = metric, encoding
				o.M, o.EfConstruction = 6, 20
				data := forms[o]
				if data == nil {
					data, _ = built(t, o, vectors, 0)
					forms[o] = data
				}
				for at, blob := range map[string]vectorindex.Blob{"mapped": vectorindex.Bytes(data), "by ranges": newObject(data)} {
					t.Run(fmt.Sprintf("%s %s %s %s", metric, encoding, kind, at), func(t *testing.T) { f(t, o, open(t, blob)) })
				}
			}
		}
	}
}

func withCopies(n, dimensions int) [][]float32 {
	vectors := vectortest.Clustered(21, n, dimensions, 12)
	for _, i := range []int{5, 6, 300, n - 1} {
		vectors[i] = vectors[4]
	}
	vectors[9] = make([]float32, dimensions)
	return vectors
}

func TestVectorsAreThoseThatSearchesJudge(t *testing.T) {
	const n = formDocuments
	vectors := withCopies(n, 12)
	q := vectortest.Clustered(22, 1, 12, 1)[0]
	everyForm(t, func(t *testing.T, o vectorindex.Options, f *vectorindex.File) {
		all := vectorsOf(t, f, vectorindex.Filter{})
		require.Len(t, all, n)
		if o.Encoding == vectorindex.F32 {
			for i, v := range vectors {
				require.Equal(t, v, all[offsetOf(i)])
			}
		}
		answer, err := f.Search(t.Context(), vectorindex.Query{Vector: q, K: n, Recall: 1})
		require.NoError(t, err)
		require.Len(t, answer.Hits, n)
		for _, h := range answer.Hits {
			v := all[h.Offset]
			scale := math.Sqrt(vectorindex.Dot.Distance(q, q) * vectorindex.Dot.Distance(v, v)) // what products are rounded by
			exact := 1e-5
			if o.Encoding == vectorindex.Int8 || o.Encoding == vectorindex.Binary {
				exact = 2e-5 // codes are compared with the query as two digits of a byte
			}
			require.InDelta(t, o.Metric.Distance(q, v), h.Distance, exact*max(1, scale), "offset %d", h.Offset)
		}
	})
}

func TestOnlyVectorsThatAFilterLetsThroughAreRead(t *testing.T) {
	vectors := withCopies(formDocuments, 12)
	some := roaring64.New()
	for i := range 40 {
		some.Add(uint64(offsetOf(i * 14)))
	}
	filters := map[string]vectorindex.Filter{
		"offsets":        {First: offsetOf(3), Next: offsetOf(450)},
		"few offsets":    {First: offsetOf(4), Next: offsetOf(8)},
		"times":          {Times: &vectorindex.Times{Least: stamp(offsetOf(100)), Greatest: stamp(offsetOf(520))}},
		"only":           {Only: some},
		"hidden":         {Hidden: some},
		"all":            {},
		"nothing":        {First: 1 << 40},
		"nothing inside": {Only: roaring64.BitmapOf(uint64(offsetOf(1) + 1))},
	}
	everyForm(t, func(t *testing.T, _ vectorindex.Options, f *vectorindex.File) {
		all := vectorsOf(t, f, vectorindex.Filter{})
		for name, filter := range filters {
			want := map[int64][]float32{}
			for i := range vectors {
				o := offsetOf(i)
				if o >= filter.First && (filter.Next == 0 || o < filter.Next) && (filter.Times == nil || stamp(o) >= filter.Times.Least && stamp(o) <= filter.Times.Greatest) &&
					(filter.Only == nil || filter.Only.Contains(uint64(o))) && (filter.Hidden == nil || !filter.Hidden.Contains(uint64(o))) {
					want[o] = all[o]
				}
			}
			require.Equal(t, want, vectorsOf(t, f, filter), name)
			last, seen := int64(-1), 0
			require.NoError(t, f.VectorsInOrder(t.Context(), filter, func(offset int64, v []float32) error {
				require.Greater(t, offset, last)
				require.Equal(t, want[offset], v)
				last, seen = offset, seen+1
				return nil
			}))
			require.Len(t, want, seen, name)
		}
	})
}

// What is read of an object for few vectors is little, and for all of them about
// what they take, once.
func TestReadingVectorsTakesFewBytes(t *testing.T) {
	const n, dimensions = 9000, 64
	vectors := vectortest.Clustered(23, n, dimensions, 12)
	for _, kind := range []vectorindex.Kind{vectorindex.Flat, vectorindex.IVF} {
		data, _ := built(t, options(dimensions, kind), vectors, 0)
		blob := newObject(data)
		f := open(t, blob)
		blob.took()
		vectorsOf(t, f, vectorindex.Filter{Only: roaring64.BitmapOf(uint64(offsetOf(10)), uint64(offsetOf(5000)))})
		reads, bytes := blob.took()
		require.LessOrEqual(t, reads, 4, kind)
		require.Less(t, bytes, int64(64<<10), kind)
		vectorsOf(t, f, vectorindex.Filter{})
		_, bytes = blob.took()
		require.Less(t, bytes, int64(len(data)), kind)
	}
}

func TestReadingVectorsEndsWithAnError(t *testing.T) {
	stop := errors.New("enough")
	everyForm(t, func(t *testing.T, _ vectorindex.Options, f *vectorindex.File) {
		for _, filter := range []vectorindex.Filter{{}, {Next: offsetOf(20)}} {
			taken := 0
			require.ErrorIs(t, f.Vectors(t.Context(), filter, func(int64, []float32) error {
				if taken++; taken == 3 {
					return stop
				}
				return nil
			}), stop)
			require.Equal(t, 3, taken)
		}
	})
	for _, encoding := range []vectorindex.Encoding{vectorindex.F16, vectorindex.Int8} {
		o := options(12, vectorindex.IVF)
		o.Encoding = encoding
		data, _ := built(t, o, withCopies(formDocuments, 12), 0)
		f := open(t, vectorindex.Bytes(data))
		for i := 16; i < len(data)/2; i++ {
			data[i] ^= 0x55
		}
		var damage *format.Error
		require.ErrorAs(t, f.Vectors(t.Context(), vectorindex.Filter{}, func(int64, []float32) error { return nil }), &damage)
	}
}

func TestDocumentsAreListedWithTheirTimes(t *testing.T) {
	everyForm(t, func(t *testing.T, _ vectorindex.Options, file *vectorindex.File) {
		info := file.Info()
		next, seen := info.First, 0
		filter := vectorindex.Filter{First: info.First + 10, Next: info.Next - 10}
		vectors := vectorsOf(t, file, filter)
		require.NoError(t, file.Documents(t.Context(), filter, func(offset, timestamp int64) error {
			require.GreaterOrEqual(t, offset, next)
			require.Contains(t, vectors, offset)
			require.Equal(t, stamp(offset), timestamp)
			next, seen = offset+1, seen+1
			return nil
		}))
		require.Len(t, vectors, seen)
		stop := errors.New("enough")
		require.ErrorIs(t, file.Documents(t.Context(), vectorindex.Filter{}, func(int64, int64) error { return stop }), stop)
	})
}
