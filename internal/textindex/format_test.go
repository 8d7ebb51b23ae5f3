package textindex_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/textindex"
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

// small is the split of the golden file: a bit of everything.
func small(t testing.TB) []byte {
	t.Helper()
	records := randomRecords(1, 300)
	return written(t, index(t, records))
}

func TestGoldenSplit(t *testing.T) {
	data := small(t)
	require.True(t, bytes.Equal(golden(t, "v1.split", data), data), "a version that stands is never changed: make a new one")
	var text bytes.Buffer
	require.NoError(t, textindex.Dump(context.Background(), &text, "v1.split", textindex.Bytes(data), true))
	require.Equal(t, string(golden(t, "v1.split.txt", text.Bytes())), text.String())
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	data := written(t, index(t, randomRecords(2, 40)))
	ctx := context.Background()
	for i := range data {
		data[i] ^= 0x10
		f, err := textindex.Open(ctx, textindex.Bytes(data), 0)
		if err == nil {
			damage := f.Verify(ctx)
			require.NotEmpty(t, damage, "byte %d of %d", i, len(data))
			err = damage[0]
		}
		require.True(t, isDamage(err), "byte %d: %v", i, err)
		data[i] ^= 0x10
	}
	for n := range len(data) {
		_, err := textindex.Open(ctx, textindex.Bytes(data[:n]), 0)
		require.ErrorIs(t, err, format.ErrCorrupt, "cut at %d", n)
	}
}

func TestANewerSplitIsNotCalledCorrupt(t *testing.T) {
	data := written(t, index(t, randomRecords(2, 40)))
	data[len(data)-16]++ // the version in the trailer
	_, err := textindex.Open(context.Background(), textindex.Bytes(data), 0)
	require.ErrorIs(t, err, format.ErrVersion)
	require.NotErrorIs(t, err, format.ErrCorrupt)
}

// FuzzOpen: whatever a file is, and with CRCs that are right, reading all of it
// ends with the content or with damage.
func FuzzOpen(f *testing.F) {
	data := written(f, index(f, randomRecords(8, 9)))
	f.Add(data, uint(0), byte(0))
	for i := range uint(40) {
		f.Add(data, uint(len(data))*i/40, byte(i+1))
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint, flip byte) {
		if len(data) == 0 {
			return
		}
		data = bytes.Clone(data)
		data[at%uint(len(data))] ^= flip
		textindex.Seal(data)
		ctx := context.Background()
		file, err := textindex.Open(ctx, textindex.Bytes(data), 0)
		if err != nil {
			require.True(t, isDamage(err), "%v", err)
			return
		}
		for _, err := range file.Verify(ctx) {
			require.True(t, isDamage(err), "%v", err)
		}
		var out bytes.Buffer
		if _, err := textindex.Merge(ctx, &out, []*textindex.File{file, open(t, written(t, index(t, []textindex.Record{{Offset: 1 << 50, Value: []byte("x")}})))}, textindex.MergeOptions{}); err != nil {
			require.True(t, isDamage(err) || bytes.Contains([]byte(err.Error()), []byte(textindex.ErrMerge.Error())), "%v", err)
		}
	})
}

func isDamage(err error) bool {
	return errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrVersion)
}
