package compactor

import (
	"maps"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
)

// openSplit opens a split as a query node does.
func (w *world) openSplit(f manifest.File) *textindex.File {
	w.t.Helper()
	data, err := w.bucket.Get(w.t.Context(), f.Object, 0, -1)
	require.NoError(w.t, err)
	require.Len(w.t, data, int(f.Size))
	split, err := textindex.Open(w.t.Context(), textindex.Bytes(data), f.Footer)
	require.NoError(w.t, err)
	return split
}

// readSplits reads the records of all splits, by offset, but for those that masks
// take away. Each is found in the index too, by its offset.
func (w *world) readSplits(section manifest.Section) map[int64]string {
	w.t.Helper()
	hidden := map[int64]bool{}
	for _, m := range section.Masks {
		for _, offset := range w.readMask(m) {
			hidden[offset] = true
		}
	}
	got := make(map[int64]string)
	for _, f := range section.Text {
		split := w.openSplit(f)
		bounds := split.Bounds()
		require.EqualValues(w.t, f.Records, bounds.Documents)
		require.Equal(w.t, "split", f.Format)
		require.LessOrEqual(w.t, f.Next, section.Marks.Text)
		docs := make([]uint32, bounds.Documents)
		for i := range docs {
			docs[i] = uint32(i)
		}
		sources, kept, err := split.Source(w.t.Context(), docs)
		require.NoError(w.t, err)
		require.True(w.t, kept)
		offsets, err := split.Column(w.t.Context(), textindex.FieldOffset)
		require.NoError(w.t, err)
		masked := int64(0)
		for i, d := range docs {
			values := offsets.Append(nil, d)
			require.Len(w.t, values, 1)
			offset := values[0]
			require.NotContains(w.t, got, offset, "a record twice in splits")
			require.True(w.t, f.First <= offset && offset < f.Next)
			if hidden[offset] {
				masked++
				continue
			}
			got[offset] = string(sources[i].Value)
		}
		require.Equal(w.t, f.Masked, masked, "records of %s that are masked", f.Object)
	}
	return got
}

// checkSplits wants splits to have what the log has below their mark.
func (w *world) checkSplits(snap snapshot, log map[int64]string) {
	w.t.Helper()
	mark := max(snap.section.Marks.Text, snap.view.Manifest.LogStart)
	below := maps.Clone(log)
	maps.DeleteFunc(below, func(offset int64, _ string) bool { return offset >= mark })
	if len(snap.section.Text) > 0 {
		w.same(snap.view.Partition, "splits", below, w.readSplits(snap.section))
	}
}
