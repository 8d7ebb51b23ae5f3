package textindex_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
)

// pieces writes records as so many splits of different lengths.
func pieces(t testing.TB, records []textindex.Record, n int) []*textindex.File {
	t.Helper()
	var files []*textindex.File
	for n > 0 {
		k := len(records) / n
		if n > 1 {
			k = k/2 + 1
		}
		files = append(files, open(t, written(t, index(t, records[:k]))))
		records, n = records[k:], n-1
	}
	return files
}

func merged(t testing.TB, files []*textindex.File, o textindex.MergeOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	result, err := textindex.Merge(context.Background(), &out, files, o)
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), result.Size)
	return out.Bytes()
}

func TestMergingGivesTheBytesOfIndexingAtOnce(t *testing.T) {
	records := randomRecords(3, 2500)
	want := written(t, index(t, records))
	for _, n := range []int{1, 2, 5, 17} {
		got := merged(t, pieces(t, records, n), textindex.MergeOptions{})
		require.True(t, bytes.Equal(want, got), "%d pieces", n)
	}
}

func TestMergingTwiceGivesTheBytesOfMergingOnce(t *testing.T) {
	files := pieces(t, randomRecords(4, 1200), 6)
	left, right := merged(t, files[:2], textindex.MergeOptions{}), merged(t, files[2:], textindex.MergeOptions{})
	require.True(t, bytes.Equal(merged(t, files, textindex.MergeOptions{}), merged(t, []*textindex.File{open(t, left), open(t, right)}, textindex.MergeOptions{})))
}

func TestMergingLeavesOutWhatIsNotKept(t *testing.T) {
	records := randomRecords(5, 800)
	first := records[300].Offset
	keep := func(offset int64) bool { return offset%3 != 0 }
	got := open(t, merged(t, pieces(t, records, 4), textindex.MergeOptions{First: first, Keep: keep}))
	records = slices.DeleteFunc(records, func(r textindex.Record) bool { return r.Offset < first || !keep(r.Offset) })
	want := open(t, written(t, index(t, records)))
	require.Equal(t, first, got.Bounds().First)
	for _, stats := range want.Fields() {
		requireEqualTermsAndColumns(t, want, got, stats)
	}
	require.Equal(t, want.Fields(), got.Fields())
	nothing := open(t, merged(t, []*textindex.File{want}, textindex.MergeOptions{First: 1 << 40}))
	require.Empty(t, nothing.Fields())
	require.Zero(t, nothing.Bounds().Documents)
}

func TestWhatDoesNotGoTogetherIsNotMerged(t *testing.T) {
	files := pieces(t, randomRecords(6, 100), 2)
	ctx := context.Background()
	for name, of := range map[string][]*textindex.File{
		"nothing":       nil,
		"wrong order":   {files[1], files[0]},
		"twice":         {files[0], files[0]},
		"two analyzers": {files[0], other(t)},
	} {
		_, err := textindex.Merge(ctx, &bytes.Buffer{}, of, textindex.MergeOptions{})
		require.ErrorIs(t, err, textindex.ErrMerge, name)
	}
	_, err := textindex.Merge(ctx, &bytes.Buffer{}, files, textindex.MergeOptions{FieldsMax: 3})
	require.ErrorIs(t, err, textindex.ErrMerge)
}

// other is a split by another analyzer.
func other(t testing.TB) *textindex.File {
	t.Helper()
	a, err := analysis.ByName("en")
	require.NoError(t, err)
	m := textindex.NewMemory(textindex.Options{Analyzer: a})
	require.NoError(t, m.Append(textindex.Record{Offset: 1 << 40, Value: []byte("running")}))
	return open(t, written(t, m))
}

// A stretch of the log that had nothing but markers of transactions is a split too.
func TestMergingSplitsWithoutDocuments(t *testing.T) {
	records := randomRecords(6, 300)
	empty := func() *textindex.File { return open(t, written(t, index(t, nil))) }
	files := pieces(t, records, 2)
	want := written(t, index(t, records))
	require.True(t, bytes.Equal(want, merged(t, []*textindex.File{files[0], empty(), files[1], empty()}, textindex.MergeOptions{})))
	_, err := textindex.Merge(t.Context(), io.Discard, []*textindex.File{files[1], empty(), files[0]}, textindex.MergeOptions{})
	require.ErrorIs(t, err, textindex.ErrMerge)
}
