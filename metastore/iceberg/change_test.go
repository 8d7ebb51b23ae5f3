package iceberg

import (
	"testing"

	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
)

func want(object string, first, next, records int64) file {
	return file{File: manifest.File{Object: object, First: first, Next: next, Records: records}}
}

func has(object string, first, next, records int64) liveFile {
	return liveFile{object: object, first: first, next: next, records: records}
}

func operations(steps []step) []table.Operation {
	var out []table.Operation
	for _, s := range steps {
		out = append(out, s.operation)
	}
	return out
}

func TestEachChangeIsTheSnapshotThatItMeans(t *testing.T) {
	live := []liveFile{has("a", 0, 10, 10), has("b", 10, 20, 10), has("c", 20, 30, 10)}
	for name, c := range map[string]struct {
		wanted []file
		want   []table.Operation
	}{
		"nothing":                      {[]file{want("a", 0, 10, 10), want("b", 10, 20, 10), want("c", 20, 30, 10)}, nil},
		"new":                          {[]file{want("a", 0, 10, 10), want("b", 10, 20, 10), want("c", 20, 30, 10), want("d", 30, 31, 1)}, []table.Operation{table.OpAppend}},
		"retention":                    {[]file{want("b", 10, 20, 10), want("c", 20, 30, 10)}, []table.Operation{table.OpDelete}},
		"merge":                        {[]file{want("ab", 0, 20, 20), want("c", 20, 30, 10)}, []table.Operation{table.OpReplace}},
		"merge with what was not seen": {[]file{want("a", 0, 10, 10), want("b", 10, 20, 10), want("cd", 20, 40, 20)}, []table.Operation{table.OpOverwrite}},
		"all at once":                  {[]file{want("bc", 10, 30, 20), want("d", 30, 40, 10)}, []table.Operation{table.OpDelete, table.OpReplace, table.OpAppend}},
	} {
		require.Equal(t, c.want, operations(changes(live, c.wanted)), name)
	}
	masked := want("a", 0, 10, 10)
	masked.Masked = 2
	steps := changes(live[:1], []file{masked})
	require.Equal(t, []table.Operation{table.OpDelete}, operations(steps))
	require.Len(t, steps[0].redo, 1)

	// Deletes never come with the file that they are of: see changes.
	steps = changes(nil, []file{masked})
	require.Equal(t, []table.Operation{table.OpAppend, table.OpDelete}, operations(steps))
	require.Empty(t, steps[0].redo)
	require.Equal(t, steps[0].add, steps[1].redo)
}

func TestColumnsKeepTheirNames(t *testing.T) {
	of := func(columns ...manifest.Column) file { return file{File: manifest.File{Records: 10, Columns: columns}} }
	number, text := manifest.Column{Name: "n", Type: "int64"}, manifest.Column{Name: "n", Type: "text"}
	one := schemaOf(tableColumns([]file{of(number)}, nil), nil)
	two := schemaOf(tableColumns([]file{of(number), of(text), of(text)}, nil), one)
	for _, s := range []struct {
		name string
		kind string
	}{{"n", "long"}, {"n_text", "string"}} {
		f, ok := two.FindFieldByName(s.name)
		require.True(t, ok, s.name)
		require.Equal(t, s.kind, f.Type.String())
	}
	fixed := schemaOf(tableColumns([]file{of(number), of(text)}, map[string]string{"n": "text"}), two)
	f, _ := fixed.FindFieldByName("n")
	require.Equal(t, "string", f.Type.String(), "columnar.json_schema gives the plain name")
}

func TestVectorsAreAColumnOfATableWhoseFilesHaveThem(t *testing.T) {
	of := func(columns ...manifest.Column) file { return file{File: manifest.File{Records: 10, Columns: columns}} }
	number := manifest.Column{Name: "n", Type: "int64"}
	vectors := func(dimensions int) manifest.Column {
		return manifest.Column{Name: columnar.EmbeddingColumn, Type: columnar.EmbeddingType(dimensions)}
	}
	before := schemaOf(tableColumns([]file{of(number)}, nil), nil)
	_, ok := before.FindFieldByName("_embedding")
	require.False(t, ok)

	// Other vectors than those of before are of the same column.
	after := schemaOf(tableColumns([]file{of(number), of(vectors(3), number), of(number, vectors(4))}, nil), before)
	f, ok := after.FindFieldByName("_embedding")
	require.True(t, ok)
	require.Equal(t, 11, f.ID)
	require.False(t, f.Required)
	list, ok := f.Type.(*ice.ListType)
	require.True(t, ok, "%v", f.Type)
	require.Equal(t, &ice.ListType{ElementID: 12, Element: types.Float32, ElementRequired: true}, list)
	n, ok := after.FindFieldByName("n")
	require.True(t, ok)
	was, _ := before.FindFieldByName("n")
	require.Equal(t, was.ID, n.ID)
	require.Equal(t, len(before.Fields())+1, len(after.Fields()))

	// A type of a later build hides the JSON columns, whose ids depend on it, and not the vectors.
	require.Equal(t, map[column]int{{"_embedding", kindEmbedding}: 11},
		columnsOf(&manifest.File{Columns: []manifest.Column{number, {Name: "x", Type: "decimal"}, vectors(3)}}))
}

func TestBoundsOfTextsAreShortAndHold(t *testing.T) {
	require.Equal(t, "abcdefghijklmnop", string(cutText([]byte("abcdefghijklmnopq"))))
	require.Equal(t, "b", string(nextText([]byte("a\U0010FFFF"))))
	require.Equal(t, "\uE000", string(nextText([]byte("\uD7FF"))))
	require.Nil(t, nextText([]byte("\U0010FFFF")))
	require.Equal(t, []byte{2}, nextBinary([]byte{1, 255}))
	require.Nil(t, nextBinary([]byte{255}))
}
