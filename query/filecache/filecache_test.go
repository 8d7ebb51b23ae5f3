package filecache

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
)

// counting counts the opens of a bucket, and can hold them back or cut them.
type counting struct {
	objstore.Bucket
	opens atomic.Int64
	gate  chan struct{} // when set, an Open waits for it
	cut   atomic.Bool
}

func (b *counting) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	b.opens.Add(1)
	if b.gate != nil {
		<-b.gate
	}
	r, err := b.Bucket.Open(ctx, name)
	if err == nil && b.cut.Load() {
		return io.NopCloser(io.LimitReader(r, 3)), nil
	}
	return r, err
}

func bucket(t *testing.T, objects map[string]string) *counting {
	b := &counting{Bucket: memory.New()}
	for name, content := range objects {
		_, err := b.Put(t.Context(), name, objstore.Bytes([]byte(content)), objstore.Condition{})
		require.NoError(t, err)
	}
	return b
}

func open(t *testing.T, b objstore.Bucket, dir string, bytesMax int64) *Cache {
	c, err := Open(b, Options{Dir: dir, BytesMax: bytesMax})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func requireContent(t *testing.T, f *File, want string) {
	t.Helper()
	got, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func TestConcurrentUsersShareOneDownload(t *testing.T) {
	b := bucket(t, map[string]string{"a": "hello"})
	b.gate = make(chan struct{})
	c := open(t, b, t.TempDir(), 0)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			f, err := c.Acquire(t.Context(), Object{Name: "a", Size: 5})
			if err != nil {
				t.Error(err)
				return
			}
			f.Release()
			f.Release()
		})
	}
	close(b.gate)
	all.Wait()
	require.EqualValues(t, 1, b.opens.Load())
	require.EqualValues(t, 5, c.Counts().Bytes)
}

func TestADownloadOutlivesTheQueryThatBeganIt(t *testing.T) {
	b := bucket(t, map[string]string{"a": "hello"})
	b.gate = make(chan struct{})
	c := open(t, b, t.TempDir(), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Acquire(ctx, Object{Name: "a", Size: 5})
	require.ErrorIs(t, err, context.Canceled)
	close(b.gate)
	f, err := c.Acquire(t.Context(), Object{Name: "a", Size: 5})
	require.NoError(t, err)
	requireContent(t, f, "hello")
	f.Release()
	require.EqualValues(t, 1, b.opens.Load())
}

func TestUnusedFilesAreEvictedTheOldestFirst(t *testing.T) {
	b := bucket(t, map[string]string{"a": "aaaa", "b": "bbbb", "c": "cccc"})
	dir := t.TempDir()
	c := open(t, b, dir, 8)
	held, err := c.Acquire(t.Context(), Object{Name: "a", Size: 4})
	require.NoError(t, err)
	for _, name := range []string{"b", "c"} {
		f, err := c.Acquire(t.Context(), Object{Name: name, Size: 4})
		require.NoError(t, err)
		f.Release()
	}
	require.EqualValues(t, 8, c.Counts().Bytes)
	requireContent(t, held, "aaaa")
	held.Release()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 2)
}

func TestDamageOnTheWayIsNamedAndTriedAgain(t *testing.T) {
	b := bucket(t, map[string]string{"a": "hello"})
	c := open(t, b, t.TempDir(), 0)
	b.cut.Store(true)
	_, err := c.Acquire(t.Context(), Object{Name: "a", Size: 5})
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, "a:")
	b.cut.Store(false)
	_, err = c.Acquire(t.Context(), Object{Name: "a", Size: 5, CRC: 1})
	require.ErrorIs(t, err, format.ErrCorrupt)
	f, err := c.Acquire(t.Context(), Object{Name: "a", Size: 5})
	require.NoError(t, err)
	requireContent(t, f, "hello")
	f.Release()
	_, err = c.Acquire(t.Context(), Object{Name: "gone", Size: 5})
	require.ErrorIs(t, err, objstore.ErrNotFound)
}

func TestAnotherProcessFindsTheFilesAndDistrustsThem(t *testing.T) {
	b := bucket(t, map[string]string{"a": "hello", "b": "world"})
	dir := t.TempDir()
	first, err := Open(b, Options{Dir: dir})
	require.NoError(t, err)
	var paths []string
	for _, name := range []string{"a", "b"} {
		f, err := first.Acquire(t.Context(), Object{Name: name, Size: 5})
		require.NoError(t, err)
		paths = append(paths, f.Path)
		f.Release()
	}
	first.Close()
	require.NoError(t, os.WriteFile(paths[1], []byte("wOrld"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fetch-1.tmp"), []byte("half"), 0o600))

	second := open(t, b, dir, 0)
	require.NoFileExists(t, filepath.Join(dir, "fetch-1.tmp"))
	for name, want := range map[string]string{"a": "hello", "b": "world"} {
		f, err := second.Acquire(t.Context(), Object{Name: name, Size: 5})
		require.NoError(t, err)
		requireContent(t, f, want)
		f.Release()
	}
	require.EqualValues(t, 3, b.opens.Load(), "only the damaged file is fetched again")
	require.EqualValues(t, 1, second.Counts().Damaged)
}

func TestAForgottenFileStaysForItsUsersOnly(t *testing.T) {
	b := bucket(t, map[string]string{"a": "hello"})
	c := open(t, b, t.TempDir(), 0)
	old, err := c.Acquire(t.Context(), Object{Name: "a", Size: 5})
	require.NoError(t, err)
	c.Forget("a")
	requireContent(t, old, "hello")
	f, err := c.Acquire(t.Context(), Object{Name: "a", Size: 5})
	require.NoError(t, err)
	require.EqualValues(t, 2, b.opens.Load())
	old.Release()
	requireContent(t, f, "hello")
	f.Release()
}

// Invariant: whatever many users do at once, a file that is held has the
// object's bytes, and in the end the budget holds.
func TestUnderLoadEveryHeldFileIsWhole(t *testing.T) {
	objects := map[string]string{}
	for i := range 20 {
		objects[strconv.Itoa(i)] = string(bytes.Repeat([]byte{byte(i)}, 1000))
	}
	c := open(t, bucket(t, objects), t.TempDir(), 5000)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for n := range 200 {
				name := strconv.Itoa((worker*7 + n*3) % 20)
				f, err := c.Acquire(t.Context(), Object{Name: name, Size: 1000})
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := os.ReadFile(f.Path); err != nil || string(got) != objects[name] {
					t.Errorf("object %s: %v", name, err)
				}
				if n%50 == 0 {
					c.Forget(name)
				}
				f.Release()
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, c.Counts().Bytes, int64(5000))
}
