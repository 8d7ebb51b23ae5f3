package filecache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/parquetfile"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
)

// ranged counts the bytes of range requests, and may change them.
type ranged struct {
	objstore.Bucket
	bytes  atomic.Int64
	change func(offset int64, b []byte)
}

func (r *ranged) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	b, err := r.Bucket.Get(ctx, name, offset, length)
	r.bytes.Add(int64(len(b)))
	if r.change != nil {
		r.change(offset, b)
	}
	return b, err
}

// world is a bucket with one Parquet file of eight row groups, and a cache.
type world struct {
	t      *testing.T
	bucket *ranged
	dir    string
	cache  *Cache
	object Object
	data   []byte
}

func newWorld(t *testing.T) *world {
	var b batch.Builder
	b.Reset(batch.Options{})
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 800 {
		b.Append(int64(i), fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, `{"x":%d,"y":"%016x"}`, i, rng.Uint64()))
	}
	raw, err := b.Build(nil)
	require.NoError(t, err)
	o := columnar.TableOptions("orders", topic.Partition{})
	o.RowGroupRows = 100
	var out bytes.Buffer
	_, err = columnar.Write(t.Context(), columnar.Of(raw), batch.NewDecoder(1<<20), o, func(string) (io.Writer, error) { return &out, nil })
	require.NoError(t, err)
	w := &world{t: t, bucket: &ranged{Bucket: memory.New()}, dir: t.TempDir(), data: out.Bytes()}
	w.object = Object{Name: "a.parquet", Size: int64(len(w.data)), CRC: crc32.Checksum(w.data, format.Castagnoli)}
	_, err = w.bucket.Put(t.Context(), w.object.Name, objstore.Bytes(w.data), objstore.Condition{})
	require.NoError(t, err)
	w.open(0)
	return w
}

func (w *world) open(bytesMax int64) {
	w.t.Helper()
	if w.cache != nil {
		w.cache.Close()
	}
	cache, err := Open(w.bucket, Options{Dir: w.dir, BytesMax: bytesMax})
	require.NoError(w.t, err)
	w.t.Cleanup(cache.Close)
	w.cache = cache
}

func (w *world) footer() *parquetfile.Footer {
	w.t.Helper()
	f, err := w.cache.Footer(w.t.Context(), w.object)
	require.NoError(w.t, err)
	return f
}

func (w *world) parts(groups []int, columns ...string) Parts {
	w.t.Helper()
	p := Parts{Footer: w.footer(), Groups: groups}
	for _, l := range p.Footer.Leaves {
		wanted := false
		for _, c := range columns {
			wanted = wanted || l.Top == c
		}
		p.Leaves = append(p.Leaves, wanted)
	}
	return p
}

// acquire returns the parts' file, and how many bytes were fetched for it.
func (w *world) acquire(p Parts) (*File, int64) {
	w.t.Helper()
	before := w.bucket.bytes.Load()
	f, err := w.cache.AcquireParts(w.t.Context(), w.object, p)
	require.NoError(w.t, err)
	return f, w.bucket.bytes.Load() - before
}

// offsets reads column _offset of a file.
func offsets(t *testing.T, path string) (all []int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	for _, g := range f.RowGroups() {
		values := make([]parquet.Value, g.NumRows())
		pages := g.ColumnChunks()[2].Pages()
		for at := 0; at < len(values); {
			page, err := pages.ReadPage()
			require.NoError(t, err)
			n, err := page.Values().ReadValues(values[at:])
			require.True(t, err == nil || errors.Is(err, io.EOF))
			at += n
		}
		require.NoError(t, pages.Close())
		for _, v := range values {
			all = append(all, v.Int64())
		}
	}
	return all
}

func TestPartsAreFetchedOnceAndShared(t *testing.T) {
	w := newWorld(t)
	p := w.parts([]int{1, 3}, "_offset", "x")
	f, fetched := w.acquire(p)
	require.Equal(t, p.Bytes(), fetched)
	got := offsets(t, f.Path)
	require.Len(t, got, 200)
	require.EqualValues(t, 100, got[0])
	require.EqualValues(t, 399, got[199])

	again, fetched := w.acquire(w.parts([]int{3}, "_offset"))
	require.Zero(t, fetched)
	require.Equal(t, f.Path, again.Path, "it is within the first")
	again.Release()

	wider := w.parts([]int{1, 3}, "_offset", "x", "_key")
	more, fetched := w.acquire(wider)
	require.Equal(t, wider.Bytes()-p.Bytes(), fetched, "only what is new")
	require.NotEqual(t, f.Path, more.Path)
	require.FileExists(t, f.Path, "somebody reads it")
	f.Release()
	require.NoFileExists(t, f.Path, "all that it had is in the wider one")
	require.Equal(t, got, offsets(t, more.Path))
	more.Release()
	require.EqualValues(t, 1, w.cache.Counts().Files)

	_, fetched = w.acquire(w.parts([]int{0, 1}))
	require.Zero(t, fetched, "no column, no byte")
}

func TestCallsAtOnceShareOneFetch(t *testing.T) {
	w := newWorld(t)
	p := w.parts([]int{0, 2, 4}, "_value")
	before := w.bucket.bytes.Load()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			f, err := w.cache.AcquireParts(t.Context(), w.object, p)
			if err != nil {
				t.Error(err)
				return
			}
			f.Release()
		})
	}
	all.Wait()
	require.Equal(t, p.Bytes(), w.bucket.bytes.Load()-before)
}

func TestPartsOutliveTheProcessAndAreChecked(t *testing.T) {
	w := newWorld(t)
	p := w.parts([]int{1, 2}, "_offset")
	f, _ := w.acquire(p)
	path := f.Path
	f.Release()
	w.open(0)
	f, fetched := w.acquire(w.parts([]int{1, 2}, "_offset"))
	require.Less(t, fetched, p.Bytes(), "at most the footer")
	require.Equal(t, path, f.Path)
	f.Release()

	w.open(0)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[20] ^= 1
	require.NoError(t, os.WriteFile(path, b, 0o600))
	p = w.parts([]int{1, 2}, "_offset")
	f, fetched = w.acquire(p)
	require.Equal(t, p.Bytes(), fetched, "what is damaged is fetched again")
	require.Len(t, offsets(t, f.Path), 200)
	f.Release()
	require.EqualValues(t, 1, w.cache.Counts().Damaged)

	// What a crash left half written, and a folder that somebody emptied.
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "parts-1.tmp"), b[:10], 0o600))
	w.open(0)
	require.NoFileExists(t, filepath.Join(w.dir, "parts-1.tmp"))
	f, _ = w.acquire(w.parts([]int{1, 2}, "_offset"))
	f.Release()
	require.NoError(t, os.RemoveAll(w.dir))
	f, _ = w.acquire(w.parts([]int{1, 2}, "_offset"))
	require.Len(t, offsets(t, f.Path), 200)
	f.Release()
}

func TestDamagedPartsAreNamedAndNotKept(t *testing.T) {
	w := newWorld(t)
	p := w.parts([]int{5}, "_key")
	chunk := p.Footer.Chunk(5, 5)
	require.Equal(t, "_key", p.Footer.Leaves[5].Path)
	w.bucket.change = func(_ int64, b []byte) { b[len(b)/2] ^= 4 }
	_, err := w.cache.AcquireParts(t.Context(), w.object, p)
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, fmt.Sprintf("a.parquet: corrupt at byte %d", chunk.Offset))
	w.cache.Forget(w.object.Name)
	w.bucket.change = func(_ int64, b []byte) { b[len(b)-100] ^= 4 }
	_, err = w.cache.Footer(t.Context(), w.object)
	require.ErrorIs(t, err, format.ErrCorrupt)
	w.bucket.change = nil
	f, _ := w.acquire(p)
	f.Release()
	entries, err := os.ReadDir(w.dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing half made stays")

	p = w.parts([]int{0}, "_key")
	require.NoError(t, w.bucket.Delete(t.Context(), w.object.Name))
	_, err = w.cache.AcquireParts(t.Context(), w.object, p)
	require.ErrorIs(t, err, objstore.ErrNotFound)
}

func TestADamagedLocalFileIsNotTakenForADamagedObject(t *testing.T) {
	w := newWorld(t)
	f, _ := w.acquire(w.parts([]int{0, 1}, "_offset"))
	f.Release()
	local, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	clear(local[4 : len(local)/2])
	require.NoError(t, os.WriteFile(f.Path, local, 0o600))

	f, fetched := w.acquire(w.parts([]int{0, 1, 2}, "_offset"))
	require.Positive(t, fetched)
	require.Len(t, offsets(t, f.Path), 300)
	f.Release()
	require.NotZero(t, w.cache.Counts().Damaged)
	f, _ = w.acquire(w.parts([]int{0, 1}, "_offset"))
	require.Equal(t, int64(199), offsets(t, f.Path)[199], "the damaged file serves nobody any more")
	f.Release()
}

func TestPartsKeepToTheBudget(t *testing.T) {
	w := newWorld(t)
	one := w.parts([]int{0}, "_value").Bytes()
	w.open(3 * one)
	for g := range 8 {
		f, _ := w.acquire(w.parts([]int{g}, "_value"))
		f.Release()
		require.LessOrEqual(t, w.cache.Counts().Bytes, 3*one)
	}
	require.Positive(t, w.cache.Counts().Evictions)
	require.Empty(t, w.cache.assembled[keyOf("another")])
	total := 0
	for _, entries := range w.cache.assembled {
		total += len(entries)
	}
	require.EqualValues(t, w.cache.Counts().Files, total, "what is evicted is found no more")
}

func TestAConvertedObjectIsMadeOnceAndChecked(t *testing.T) {
	w := newWorld(t)
	runs := 0
	o := w.object
	o.Convert = func(_ context.Context, in *os.File, out io.Writer) error {
		runs++
		b, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		_, err = out.Write(bytes.Repeat(b, 2))
		return err
	}
	read := func() []byte {
		f, err := w.cache.Acquire(t.Context(), o)
		require.NoError(t, err)
		defer f.Release()
		b, err := os.ReadFile(f.Path)
		require.NoError(t, err)
		return b
	}
	want := bytes.Repeat(w.data, 2)
	require.Equal(t, want, read())
	require.Equal(t, want, read())
	require.EqualValues(t, len(want), w.cache.Counts().Bytes)
	w.open(0)
	require.Equal(t, want, read(), "also in the next process")
	require.Equal(t, 1, runs)

	w.cache.Forget(o.Name)
	o.Convert = func(context.Context, *os.File, io.Writer) error { return errors.New("no way") }
	_, err := w.cache.Acquire(t.Context(), o)
	require.ErrorContains(t, err, "convert a.parquet: no way")
	o.Convert = func(context.Context, *os.File, io.Writer) error { return nil }
	w.bucket.Bucket = memory.New()
	_, err = w.bucket.Put(t.Context(), o.Name, objstore.Bytes(append([]byte{w.data[0] ^ 1}, w.data[1:]...)), objstore.Condition{})
	require.NoError(t, err)
	_, err = w.cache.Acquire(t.Context(), o)
	require.ErrorIs(t, err, format.ErrCorrupt, "damage is found before it is converted")
	left, err := os.ReadDir(w.dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
