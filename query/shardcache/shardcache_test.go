package shardcache

import (
	"bytes"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/indexcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*Cache
	t      *testing.T
	bucket objstore.Bucket
}

func newWorld(t *testing.T, o Options) *world {
	w := &world{t: t, bucket: memory.New()}
	files, err := filecache.Open(w.bucket, filecache.Options{Dir: filepath.Join(t.TempDir(), "objects")})
	require.NoError(t, err)
	w.Cache = New(files, o)
	t.Cleanup(w.Cache.Close)
	t.Cleanup(files.Close)
	return w
}

// put stores a shard of vectors at even offsets.
func (w *world) put(vectors int) manifest.File {
	b, err := vectorindex.NewBuilder(vectorindex.Options{Dimensions: 64, Metric: vectorindex.Cosine, Encoding: vectorindex.F32, Kind: vectorindex.HNSW, Model: "m", M: 8, EfConstruction: 40, FlatMax: 100, Workers: 1}, 1<<30)
	require.NoError(w.t, err)
	for i := range int64(vectors) {
		require.NoError(w.t, b.Append(2*i, i, embeddertest.Vector(word(i), 64)))
	}
	var out bytes.Buffer
	r, err := b.Write(&out)
	require.NoError(w.t, err)
	f := manifest.File{
		Object: objstore.ShardName(topic.Partition{Topic: topic.ID{1}}, ulid.Make()), Size: r.Size, Footer: r.Footer,
		CRC: crc32.Checksum(out.Bytes(), format.Castagnoli), First: 0, Next: 2 * int64(vectors),
	}
	_, err = w.bucket.Put(w.t.Context(), f.Object, objstore.Bytes(out.Bytes()), objstore.Condition{})
	require.NoError(w.t, err)
	return f
}

func word(i int64) string { return ulid.ULID{byte(i), byte(i >> 8)}.String() }

// search looks for a word, and returns how the shard was searched and what was
// fetched for it.
func (w *world) search(f manifest.File, i int64) (vectorindex.Path, *indexcache.Meter) {
	var meter indexcache.Meter
	ctx := indexcache.WithMeter(w.t.Context(), &meter)
	s, err := w.Open(ctx, f)
	require.NoError(w.t, err)
	defer s.Release()
	a, err := s.Search(ctx, vectorindex.Query{Vector: embeddertest.Vector(word(i), 64), K: 1})
	require.NoError(w.t, err)
	require.Equal(w.t, 2*i, a.Hits[0].Offset)
	return a.Path, &meter
}

// A cold shard costs its footer, its lists and some vectors; a hot one nothing: it
// is walked through its graph.
func TestAShardIsReadByRangesUntilItIsHot(t *testing.T) {
	w := newWorld(t, Options{WholeBytes: 1})
	f := w.put(4000)
	path, cold := w.search(f, 77)
	require.Equal(t, vectorindex.ByLists, path)
	require.Positive(t, cold.Requests())
	require.Less(t, cold.Bytes(), f.Size/2)
	_, again := w.search(f, 77)
	require.Less(t, again.Bytes(), cold.Bytes()/4, "footer and lists are in memory")
	for i := int64(0); path == vectorindex.ByLists; i++ {
		require.Less(t, i, int64(4000))
		path, _ = w.search(f, i)
	}
	require.Equal(t, vectorindex.ByGraph, path)
	_, hot := w.search(f, 1234)
	require.Zero(t, hot.Requests())
}

func TestWhatMasksNameIsHidden(t *testing.T) {
	w := newWorld(t, Options{})
	s, err := w.Open(t.Context(), w.put(10)) // offsets 0, 2, …, 18
	require.NoError(t, err)
	defer s.Release()
	require.Nil(t, s.Hidden(nil, nil))
	require.Nil(t, s.Hidden([]string{"far"}, [][]int64{{-4, 19, 30}}))
	require.Equal(t, []uint64{1, 4, 8}, s.Hidden([]string{"a", "b"}, [][]int64{{1, 8}, {4, 8, 20}}).ToArray())
	for range 2 {
		for first, want := range map[int64]int64{0: 8, 4: 6, 5: 6, 18: 1, 19: 0} {
			count, err := s.Count(t.Context(), first, 100, []string{"a", "b"}, [][]int64{{1, 8}, {4, 8, 20}})
			require.NoError(t, err)
			require.Equal(t, want, count, first)
		}
		count, err := s.Count(t.Context(), 0, 10, nil, nil)
		require.NoError(t, err)
		require.EqualValues(t, 5, count)
	}
}
