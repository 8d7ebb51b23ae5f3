package vectorindex_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

func golden(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if _, err := os.Stat(path); os.IsNotExist(err) && *update {
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	return want
}

// small are vectors of small whole numbers, some of them several times: their
// products have no rounding, so that all processors give the same bytes.
func small(n, dimensions int) [][]float32 {
	r := rand.New(rand.NewPCG(5, 5))
	all := make([][]float32, n)
	for i := range all {
		if i%7 == 6 {
			all[i] = all[r.IntN(i)]
			continue
		}
		all[i] = make([]float32, dimensions)
		for d := range all[i] {
			all[i][d] = float32(r.IntN(15) - 7 + 20*(i%4)*(d%2))
		}
	}
	return all
}

// smallShard is the shard of a golden file.
func smallShard(t testing.TB, kind vectorindex.Kind, e vectorindex.Encoding) []byte {
	t.Helper()
	o := vectorindex.Options{Dimensions: 9, Metric: vectorindex.Euclidean, Encoding: e, Kind: kind, Model: "golden", M: 4, EfConstruction: 20, FlatMax: 50, ListRows: 24, Seed: 3}
	data, _ := built(t, o, small(300, 9), 0)
	return data
}

var goldens = map[string]struct {
	kind     vectorindex.Kind
	encoding vectorindex.Encoding
}{
	"v1-hnsw-f32":   {vectorindex.HNSW, vectorindex.F32},
	"v1-ivf-f16":    {vectorindex.IVF, vectorindex.F16},
	"v1-ivf-binary": {vectorindex.IVF, vectorindex.Binary},
	"v1-flat-int8":  {vectorindex.Flat, vectorindex.Int8},
}

func TestGoldenShards(t *testing.T) {
	for name, g := range goldens {
		data := smallShard(t, g.kind, g.encoding)
		require.True(t, bytes.Equal(golden(t, name+".shard", data), data), "%s: a version that stands is never changed: make a new one", name)
		var text bytes.Buffer
		require.NoError(t, vectorindex.Dump(context.Background(), &text, name+".shard", vectorindex.Bytes(data), true))
		require.Equal(t, string(golden(t, name+".shard.txt", text.Bytes())), text.String())
	}
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	ctx := context.Background()
	for name, g := range goldens {
		o := vectorindex.Options{Dimensions: 5, Metric: vectorindex.Cosine, Encoding: g.encoding, Kind: g.kind, M: 2, EfConstruction: 5, FlatMax: 10, ListRows: 12, Seed: 3}
		data, _ := built(t, o, small(60, 5), 0)
		for i := range data {
			data[i] ^= 0x10
			f, err := vectorindex.Open(ctx, vectorindex.Bytes(data), 0)
			if err == nil {
				damage := f.Verify(ctx)
				require.NotEmpty(t, damage, "%s: byte %d of %d", name, i, len(data))
				err = damage[0]
			}
			require.True(t, isDamage(err), "%s: byte %d: %v", name, i, err)
			data[i] ^= 0x10
		}
		for n := range len(data) {
			_, err := vectorindex.Open(ctx, vectorindex.Bytes(data[:n]), 0)
			require.ErrorIs(t, err, format.ErrCorrupt, "%s cut at %d", name, n)
		}
		require.Empty(t, open(t, newObject(data)).Verify(ctx))
	}
}

func TestANewerShardIsNotCalledCorrupt(t *testing.T) {
	data := smallShard(t, vectorindex.Flat, vectorindex.F32)
	data[len(data)-16]++ // the version in the trailer
	_, err := vectorindex.Open(context.Background(), vectorindex.Bytes(data), 0)
	require.ErrorIs(t, err, format.ErrVersion)
	require.NotErrorIs(t, err, format.ErrCorrupt)
}

// Damage is an error of the search that comes upon it, and of no other: the rest
// is answered.
func TestASearchNeverReturnsDamagedRows(t *testing.T) {
	ctx := context.Background()
	vectors := vectortest.Clustered(4, 1500, 12, 10)
	o := options(12, vectorindex.IVF)
	o.ListRows = 100
	data, _ := built(t, o, vectors, 0)
	query := vectorindex.Query{Vector: vectors[3], K: 5}
	want, err := open(t, vectorindex.Bytes(data)).Search(ctx, query)
	require.NoError(t, err)
	failed := 0
	for at := 20; at < len(data); at += 997 {
		data[at] ^= 1
		for _, b := range []vectorindex.Blob{vectorindex.Bytes(data), newObject(data)} {
			f, err := vectorindex.Open(ctx, b, 0)
			if err == nil {
				var got *vectorindex.Answer
				if got, err = f.Search(ctx, query); err == nil {
					require.Equal(t, want, got)
				}
			}
			if err != nil {
				require.True(t, isDamage(err), "byte %d: %v", at, err)
				failed++
			}
		}
		data[at] ^= 1
	}
	require.Positive(t, failed)
}

// FuzzOpen: whatever a file is, and with CRCs that are right, reading all of it
// and searching it ends with content or with damage.
func FuzzOpen(f *testing.F) {
	names := []string{"v1-hnsw-f32", "v1-ivf-binary", "v1-flat-int8"}
	files := make([][]byte, len(names))
	for n, name := range names {
		g := goldens[name]
		o := vectorindex.Options{Dimensions: 5, Metric: vectorindex.Cosine, Encoding: g.encoding, Kind: g.kind, M: 2, EfConstruction: 5, FlatMax: 10, ListRows: 12, Seed: 3}
		files[n], _ = built(f, o, small(60, 5), 0)
		for i := range uint(30) {
			f.Add(files[n], uint(len(files[n]))*i/30, byte(i+1))
		}
		for i := range uint(60) { // the footer
			f.Add(files[n], uint(len(files[n]))-20-7*i, byte(i+1))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint, flip byte) {
		if len(data) == 0 || len(data) > 1<<20 {
			return
		}
		data = bytes.Clone(data)
		data[at%uint(len(data))] ^= flip
		vectorindex.Seal(data)
		ctx := context.Background()
		for _, b := range []vectorindex.Blob{vectorindex.Bytes(data), newObject(data)} {
			file, err := vectorindex.Open(ctx, b, 0)
			if err != nil {
				require.True(t, isDamage(err), "%v", err)
				return
			}
			for _, err := range file.Verify(ctx) {
				require.True(t, isDamage(err), "%v", err)
			}
			for _, filter := range []vectorindex.Filter{{}, {First: 1010, Next: 1030}} {
				_, err := file.Search(ctx, vectorindex.Query{Vector: make([]float32, file.Info().Dimensions), K: 3, Filter: filter})
				require.True(t, err == nil || isDamage(err), "%v", err)
			}
		}
	})
}

func isDamage(err error) bool {
	return errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrVersion)
}
