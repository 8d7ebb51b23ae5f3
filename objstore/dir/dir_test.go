package dir_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/dir"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

func open(t *testing.T, directory string) *dir.Bucket {
	t.Helper()
	b, err := dir.Open(directory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestDirKeepsTheContract(t *testing.T) {
	objtest.Run(t, func(t *testing.T) objstore.Bucket { return open(t, t.TempDir()) })
}

func TestObjectsAreFilesAtTheirNames(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "not", "yet", "there")
	objtest.Put(t, open(t, directory), "topics/a.parquet", []byte("PAR1"))
	data, err := os.ReadFile(filepath.Join(directory, "topics", "a.parquet"))
	require.NoError(t, err)
	require.Equal(t, "PAR1", string(data))
}

func TestETagsOutliveTheProcess(t *testing.T) {
	directory := t.TempDir()
	a := objtest.Put(t, open(t, directory), "o", []byte("x"))
	b := open(t, directory)
	head, err := b.Head(t.Context(), "o")
	require.NoError(t, err)
	require.Equal(t, a, head)
	_, err = b.Put(t.Context(), "o", objstore.Bytes([]byte("y")), objstore.Condition{IfMatch: a.ETag})
	require.NoError(t, err)
}

func TestOpenSweepsWhatDeadWritersLeft(t *testing.T) {
	directory := t.TempDir()
	objtest.Put(t, open(t, directory), "o", []byte("kept"))
	temp := filepath.Join(directory, ".chronik", "tmp")
	require.NoError(t, os.WriteFile(filepath.Join(temp, "half-written"), []byte("PAR"), 0o644))
	b := open(t, directory)
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
	names, err := objtest.Names(b.List(t.Context(), ""))
	require.NoError(t, err)
	require.Equal(t, []string{"o"}, names)
}

// blocked is a body that tells when it is first read and waits to go on.
type blocked struct {
	io.ReadSeeker
	reading, goOn chan struct{}
}

func (b *blocked) Read(p []byte) (int, error) {
	if b.reading != nil {
		close(b.reading)
		<-b.goOn
		b.reading = nil
	}
	return b.ReadSeeker.Read(p)
}

func TestOpenLeavesLivingWritersAlone(t *testing.T) {
	directory := t.TempDir()
	first := open(t, directory)
	body := objstore.Bytes([]byte("slowly"))
	slow := &blocked{body.Open(), make(chan struct{}), make(chan struct{})}
	reading, goOn := slow.reading, slow.goOn
	var g errgroup.Group
	g.Go(func() error {
		_, err := first.Put(t.Context(), "o", objstore.Body{Size: body.Size, Open: func() io.ReadSeeker { return slow }}, objstore.Condition{})
		return err
	})
	<-reading
	second := open(t, directory) // sweeps
	names, err := objtest.Names(second.List(t.Context(), ""))
	require.NoError(t, err)
	require.Empty(t, names, "an object was seen before it was whole")
	close(goOn)
	require.NoError(t, g.Wait())
	got, err := second.Get(t.Context(), "o", 0, -1)
	require.NoError(t, err)
	require.Equal(t, "slowly", string(got))
}

func TestConditionsHoldBetweenBuckets(t *testing.T) {
	directory := t.TempDir()
	buckets := []*dir.Bucket{open(t, directory), open(t, directory), open(t, directory)}
	winners := make(chan int, len(buckets))
	var g errgroup.Group
	for i, b := range buckets {
		g.Go(func() error {
			_, err := b.Put(t.Context(), "a/b/c", objstore.Bytes([]byte{byte(i)}), objstore.Condition{IfAbsent: true})
			if err == nil {
				winners <- i
			}
			if errors.Is(err, objstore.ErrExists) {
				err = nil
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, winners, 1)
}

func TestNoNameLeavesTheDirectory(t *testing.T) {
	outside, directory := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(directory, "way-out")))
	b := open(t, directory)
	_, err := b.Get(t.Context(), "way-out/secret", 0, -1)
	require.Error(t, err)
	_, err = b.Put(t.Context(), "way-out/planted", objstore.Bytes(nil), objstore.Condition{})
	require.Error(t, err)
	_, err = os.Stat(filepath.Join(outside, "planted"))
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, name := range []string{".chronik", ".chronik/lock", ".chronik/tmp/x"} {
		_, err := b.Put(t.Context(), name, objstore.Bytes(nil), objstore.Condition{})
		require.ErrorIs(t, err, objstore.ErrName)
	}
}

func TestANameIsAnObjectOrADirectory(t *testing.T) {
	b := open(t, t.TempDir())
	objtest.Put(t, b, "a/b", []byte("x"))
	for _, cond := range []objstore.Condition{{}, {IfAbsent: true}} {
		_, err := b.Put(t.Context(), "a", objstore.Bytes(nil), cond)
		require.Error(t, err)
		require.NotErrorIs(t, err, objstore.ErrExists)
		_, err = b.Put(t.Context(), "a/b/c", objstore.Bytes(nil), cond)
		require.ErrorIs(t, err, objstore.ErrName)
	}
	require.NoError(t, b.Delete(t.Context(), "a"))
	_, err := b.Head(t.Context(), "a/b")
	require.NoError(t, err)
}
