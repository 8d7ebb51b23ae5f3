package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/cache"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counted remembers the ranges that were asked of a bucket; before, when set,
// runs ahead of each.
type counted struct {
	objstore.Bucket
	mu     sync.Mutex
	gets   []string
	heads  int
	before func(ctx context.Context) error
}

func (c *counted) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	c.mu.Lock()
	c.gets = append(c.gets, fmt.Sprintf("%s %d+%d", name, offset, length))
	before := c.before
	c.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return nil, err
		}
	}
	return c.Bucket.Get(ctx, name, offset, length)
}

func (c *counted) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	c.mu.Lock()
	c.heads++
	c.mu.Unlock()
	return c.Bucket.Head(ctx, name)
}

// asked returns the ranges asked since the last call.
func (c *counted) asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	gets := c.gets
	c.gets = nil
	return gets
}

func open(t *testing.T, b objstore.Bucket, o cache.Options) *cache.Bucket {
	t.Helper()
	c, err := cache.Open(b, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func get(t *testing.T, b objstore.Bucket, offset, length int64) []byte {
	t.Helper()
	data, err := b.Get(t.Context(), "o", offset, length)
	require.NoError(t, err)
	return data
}

func TestCacheKeepsTheContract(t *testing.T) {
	for name, o := range map[string]cache.Options{
		"memory":  {ChunkBytes: 1_000, MemoryBytesMax: 1 << 20},
		"disk":    {ChunkBytes: 1_000, DiskBytesMax: 1 << 20},
		"both":    {ChunkBytes: 4_096, MemoryBytesMax: 1 << 16, DiskBytesMax: 1 << 20, ReadaheadChunks: 3},
		"neither": {},
	} {
		t.Run(name, func(t *testing.T) {
			objtest.Run(t, func(t *testing.T) objstore.Bucket {
				if o.DiskBytesMax > 0 {
					o.Dir = t.TempDir()
				}
				return open(t, memory.New(), o)
			})
		})
	}
}

func TestMissingRowsAreOneRequestEach(t *testing.T) {
	inner := &counted{Bucket: memory.New()}
	data := objtest.Bytes(1_050, 1)
	objtest.Put(t, inner, "o", data)
	c := open(t, inner, cache.Options{ChunkBytes: 100, MemoryBytesMax: 1 << 20})
	for _, step := range []struct {
		offset, length int64
		asked          []string
	}{
		{250, 100, []string{"o 200+200"}},          // chunks 2 and 3
		{250, 100, nil},                            // again
		{300, 1, nil},                              // within
		{0, 700, []string{"o 0+200", "o 400+300"}}, // around what is there
		{950, -1, []string{"o 900+150"}},           // the last chunk is short
		{0, 1_050, []string{"o 700+200"}},          // the rest
		{0, -1, nil},
	} {
		got := get(t, c, step.offset, step.length)
		want := data[step.offset:]
		if step.length >= 0 {
			want = want[:step.length]
		}
		require.True(t, bytes.Equal(want, got), "%+v", step)
		require.ElementsMatch(t, step.asked, inner.asked(), "%+v", step)
	}
	require.Equal(t, 1, inner.heads)
}

func TestManyReadersCauseOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		inner := &counted{Bucket: memory.New(), before: func(context.Context) error { <-goOn; return nil }}
		data := objtest.Bytes(300, 1)
		objtest.Put(t, inner, "o", data)
		c, err := cache.Open(inner, cache.Options{ChunkBytes: 100, MemoryBytesMax: 1 << 20})
		require.NoError(t, err)
		var g errgroup.Group
		for i := range 20 {
			g.Go(func() error {
				got, err := c.Get(t.Context(), "o", int64(i), 200)
				if err == nil && !bytes.Equal(got, data[i:i+200]) {
					err = errors.New("other bytes came back")
				}
				return err
			})
		}
		synctest.Wait() // all of them wait
		close(goOn)
		require.NoError(t, g.Wait())
		require.LessOrEqual(t, len(inner.asked()), 2, "chunks 0 and 1 in one, chunk 2 perhaps in another")
		require.NoError(t, c.Close())
	})
}

func TestAReaderThatLeavesTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		inner := &counted{Bucket: memory.New(), before: func(ctx context.Context) error {
			select {
			case <-goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		objtest.Put(t, inner, "o", objtest.Bytes(100, 1))
		c, err := cache.Open(inner, cache.Options{ChunkBytes: 100, MemoryBytesMax: 1 << 20})
		require.NoError(t, err)

		read := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := c.Get(ctx, "o", 0, -1)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		leaving, leave := context.WithCancel(t.Context())
		first, second := read(leaving), read(t.Context())
		leave()
		require.ErrorIs(t, <-first, context.Canceled)
		require.Len(t, inner.asked(), 1)
		close(goOn)
		require.NoError(t, <-second)
		require.Empty(t, inner.asked(), "the request that was under way served the one who stayed")

		// The last to leave ends the request; who comes then asks anew.
		objtest.Put(t, inner, "p", objtest.Bytes(100, 2))
		goOn = make(chan struct{})
		alone, leaveAlone := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { _, err := c.Get(alone, "p", 0, -1); gone <- err }()
		synctest.Wait()
		leaveAlone()
		require.ErrorIs(t, <-gone, context.Canceled)
		close(goOn)
		_, err = c.Get(t.Context(), "p", 0, -1)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
}

func TestMemoryStaysWithinItsBudget(t *testing.T) {
	inner := &counted{Bucket: memory.New()}
	objtest.Put(t, inner, "o", objtest.Bytes(2_000, 1))
	c := open(t, inner, cache.Options{ChunkBytes: 100, MemoryBytesMax: 1_000})
	for i := range int64(20) {
		get(t, c, i*100, 100)
	}
	require.Len(t, inner.asked(), 20)
	get(t, c, 1_900, 100)
	get(t, c, 1_000, 100)
	require.Empty(t, inner.asked(), "the ten used last are kept")
	get(t, c, 900, 100)
	require.Len(t, inner.asked(), 1)
	get(t, c, 0, 300)
	require.Equal(t, []string{"o 0+300"}, inner.asked(), "a range above a quarter of the budget goes past the cache")
}

// diskFiles lists what the disk tier holds.
func diskFiles(t *testing.T, dir string) (files []string, size int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		files, size = append(files, path), size+info.Size()
		return err
	}))
	return files, size
}

func TestTheDiskServesAfterARestart(t *testing.T) {
	dir := t.TempDir()
	inner := &counted{Bucket: memory.New()}
	data := objtest.Bytes(950, 1)
	objtest.Put(t, inner, "o", data)
	o := cache.Options{ChunkBytes: 100, DiskBytesMax: 1 << 20, Dir: dir}
	first := open(t, inner, o)
	require.Equal(t, data, get(t, first, 0, -1))
	require.NoError(t, first.Close())
	_, err := first.Get(t.Context(), "o", 0, 1)
	require.ErrorIs(t, err, cache.ErrClosed)
	require.Len(t, inner.asked(), 1)

	leftover := filepath.Join(dir, "half"+".tmp")
	require.NoError(t, os.WriteFile(leftover, []byte("x"), 0o644))
	second := open(t, inner, o)
	require.NoFileExists(t, leftover)
	require.Equal(t, data, get(t, second, 0, -1))
	require.Empty(t, inner.asked())

	// Another object of that name shares nothing with the first.
	data = objtest.Bytes(950, 2)
	objtest.Put(t, inner, "o", data)
	third := open(t, inner, o)
	require.Equal(t, data, get(t, third, 0, -1))
}

func TestADamagedOrMissingChunkIsFetchedAgain(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"flipped":   func(path string) error { return flip(path, 60) },
		"magic":     func(path string) error { return flip(path, 0) },
		"crc":       func(path string) error { return flip(path, 5) },
		"cut":       func(path string) error { return os.Truncate(path, 50) },
		"emptied":   func(path string) error { return os.Truncate(path, 0) },
		"deleted":   os.Remove,
		"all gone":  func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"exchanged": exchange,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			inner := &counted{Bucket: memory.New()}
			data := objtest.Bytes(200, 1)
			objtest.Put(t, inner, "o", data)
			o := cache.Options{ChunkBytes: 100, DiskBytesMax: 1 << 20, Dir: dir}
			warm := open(t, inner, o)
			require.Equal(t, data, get(t, warm, 0, -1))
			require.NoError(t, warm.Close())
			inner.asked()

			registry := prometheus.NewRegistry()
			o.Registerer = registry
			c := open(t, inner, o)
			files, _ := diskFiles(t, dir)
			require.Len(t, files, 2)
			require.NoError(t, damage(files[0]))
			for range 2 {
				require.Equal(t, data, get(t, c, 0, -1))
			}
			require.NotEmpty(t, inner.asked())
			require.NoError(t, c.Close())
			files, _ = diskFiles(t, dir)
			require.Len(t, files, 2, "it is on disk again")
			damaged := 1
			if name == "deleted" || name == "all gone" {
				damaged = 0 // deleting is allowed
			}
			require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`
# HELP chronik_objstore_cache_damaged_total Chunks on the cache's disk that failed their check and were fetched again.
# TYPE chronik_objstore_cache_damaged_total counter
chronik_objstore_cache_damaged_total %d
`, damaged)), "chronik_objstore_cache_damaged_total"))
		})
	}
}

func flip(path string, at int) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw[at] ^= 0x10
	return os.WriteFile(path, raw, 0o644)
}

// exchange puts one chunk, whole and with a right CRC, in the place of another.
func exchange(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(path), e.Name())
		if other == path || !strings.HasSuffix(other, ".chunk") {
			continue
		}
		raw, err := os.ReadFile(other)
		if err != nil {
			return err
		}
		return os.WriteFile(path, raw, 0o644)
	}
	return errors.New("no other chunk")
}

func TestTheDiskStaysWithinItsBudget(t *testing.T) {
	dir := t.TempDir()
	inner := &counted{Bucket: memory.New()}
	objtest.Put(t, inner, "o", objtest.Bytes(5_000, 1))
	o := cache.Options{ChunkBytes: 100, DiskBytesMax: 1_000, Dir: dir}
	c := open(t, inner, o)
	for i := range int64(50) {
		get(t, c, i*100, 100)
	}
	require.NoError(t, c.Close())
	files, size := diskFiles(t, dir)
	require.LessOrEqual(t, size, int64(1_000))
	require.NotEmpty(t, files)

	o.DiskBytesMax = 300 // a smaller budget next time
	open(t, inner, o)
	_, size = diskFiles(t, dir)
	require.LessOrEqual(t, size, int64(300))
}

func TestAReaderThatGoesForwardFindsTheNextChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &counted{Bucket: memory.New()}
		data := objtest.Bytes(2_050, 1)
		objtest.Put(t, inner, "o", data)
		c, err := cache.Open(inner, cache.Options{ChunkBytes: 100, MemoryBytesMax: 1 << 20, ReadaheadChunks: 6})
		require.NoError(t, err)
		var got []byte
		waits := 0
		for at := int64(0); at < 2_050; at += 50 {
			before := len(got)
			inner.mu.Lock()
			asked := len(inner.gets)
			inner.mu.Unlock()
			got = append(got, get(t, c, at, 50)...)
			require.Equal(t, 50, len(got)-before)
			synctest.Wait() // what runs ahead arrives before the next read
			inner.mu.Lock()
			if at > 100 && len(inner.gets) > asked+1 {
				waits++
			}
			inner.mu.Unlock()
		}
		require.True(t, bytes.Equal(data, got))
		require.Zero(t, waits, "a read after the second asked for its own chunk")
		require.Less(t, len(inner.asked()), 10, "rows, not chunks")

		// Jumping about reads nothing ahead.
		objtest.Put(t, inner, "o", data[:2_049])
		c2, err := cache.Open(inner, cache.Options{ChunkBytes: 100, MemoryBytesMax: 1 << 20, ReadaheadChunks: 6})
		require.NoError(t, err)
		for _, at := range []int64{1_000, 300, 1_500, 700} {
			get(t, c2, at, 100)
		}
		synctest.Wait()
		require.Len(t, inner.asked(), 4)
		require.NoError(t, errors.Join(c.Close(), c2.Close()))
	})
}

// Whatever is read in whatever order, through budgets that are always too small
// and a store that fails, the bytes are right.
func TestRandomReadsAreRight(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inner := memory.New()
			data := objtest.Bytes(20_011, seed)
			objtest.Put(t, inner, "o", data)
			dir := t.TempDir()
			c := open(t, inner, cache.Options{
				ChunkBytes: 97, MemoryBytesMax: 4_000, DiskBytesMax: 9_000, Dir: dir, ReadaheadChunks: int(seed),
			})
			var g errgroup.Group
			for hand := range uint64(4) {
				g.Go(func() error {
					r := rand.New(rand.NewPCG(seed, hand))
					for i := range 300 {
						offset := r.Int64N(int64(len(data)))
						length := r.Int64N(min(2_000, int64(len(data))-offset) + 1)
						got, err := c.Get(t.Context(), "o", offset, length)
						if err != nil {
							return err
						}
						if !bytes.Equal(got, data[offset:offset+length]) {
							return fmt.Errorf("hand %d, read %d: [%d,+%d) differs", hand, i, offset, length)
						}
						clear(got)
						if hand == 0 && i%100 == 99 { // deleting is allowed
							if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrExist) && !strings.Contains(err.Error(), "not empty") {
								return err
							}
						}
					}
					return nil
				})
			}
			require.NoError(t, g.Wait())
		})
	}
}

func BenchmarkGetFromMemory(b *testing.B) {
	inner := memory.New()
	objtest.Put(b, inner, "o", objtest.Bytes(16<<20, 1))
	c, err := cache.Open(inner, cache.Options{MemoryBytesMax: 64 << 20})
	require.NoError(b, err)
	defer c.Close()
	b.SetBytes(128 << 10)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := c.Get(b.Context(), "o", int64(i%128)<<17, 128<<10); err != nil {
			b.Fatal(err)
		}
	}
}

// zeros is a bucket of one large object that is nowhere.
type zeros struct{ objstore.Bucket }

const zerosSize = 64 << 20

func (zeros) Head(context.Context, string) (objstore.Attributes, error) {
	return objstore.Attributes{Name: "o", Size: zerosSize, ETag: "x"}, nil
}

func (zeros) Get(_ context.Context, _ string, _, length int64) ([]byte, error) {
	return make([]byte, length), nil
}

// The budget is of what the chunks really keep: none of them keeps the row that
// it was fetched with.
func TestTheBudgetIsWhatTheProcessKeeps(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const budget = 32 << 20
	b := open(t, zeros{}, cache.Options{MemoryBytesMax: budget})
	before := heap()
	for at := int64(0); at < zerosSize; at += 4 << 20 { // rows of four chunks
		_, err := b.Get(t.Context(), "o", at, 4<<20)
		require.NoError(t, err)
	}
	require.InDelta(t, budget, heap()-before, budget/8)
	runtime.KeepAlive(b)
}

// afterPut runs a function when the bucket has the object and Put has not
// returned yet.
type afterPut struct {
	objstore.Bucket
	then func()
}

func (b *afterPut) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	a, err := b.Bucket.Put(ctx, name, body, cond)
	b.then()
	return a, err
}

func TestWhoeverSeesTheNewHeadReadsTheNewBytes(t *testing.T) {
	inner := &afterPut{Bucket: memory.New(), then: func() {}}
	c := open(t, inner, cache.Options{MemoryBytesMax: 1 << 20})
	objtest.Put(t, c, "o", []byte("old"))
	require.Equal(t, "old", string(get(t, c, 0, -1)))

	during := ""
	inner.then = func() { during = string(get(t, c, 0, -1)) }
	objtest.Put(t, c, "o", []byte("new"))
	require.Equal(t, "new", during)
	require.Equal(t, "new", string(get(t, c, 0, -1)))
}
