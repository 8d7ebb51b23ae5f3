package compactor

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	second "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// tableVectors reads the column of vectors: of files that have it, and which have not.
func (w *world) tableVectors(section manifest.Section) (vectors map[int64][]float32, without []manifest.File) {
	w.t.Helper()
	vectors = make(map[int64][]float32)
	for _, f := range section.Columnar {
		has := len(f.Columns) > 0 && f.Columns[0].Name == columnar.EmbeddingColumn
		require.Equal(w.t, has, f.Settings != "", "a file says which vectors it has")
		if !has {
			without = append(without, f)
			continue
		}
		data, err := w.bucket.Get(w.t.Context(), f.Object, 0, -1)
		require.NoError(w.t, err)
		type row struct {
			Offset    int64     `parquet:"_offset"`
			Embedding []float32 `parquet:"_embedding,list,optional"`
		}
		rows, err := second.Read[row](bytes.NewReader(data), int64(len(data)))
		require.NoError(w.t, err)
		for _, r := range rows {
			vectors[r.Offset] = r.Embedding
		}
	}
	return vectors, without
}

// checkTableVectors wants every record's vector in its file.
func (w *world) checkTableVectors(p topic.Partition) {
	w.t.Helper()
	section, view := w.section(p)
	got, without := w.tableVectors(section)
	require.Empty(w.t, without)
	want := w.readShards(section)
	for offset := range w.readLog(snapshot{view: view, section: section}) {
		require.Equal(w.t, want[offset], got[offset], "offset %d", offset)
		delete(got, offset)
	}
	require.Empty(w.t, got)
}

func TestTablesHaveVectorsOnceTheirRecordsAreEmbedded(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	// A provider that does not answer holds up no table.
	w.provider.set(func(context.Context, []string) int { return http.StatusUnauthorized })
	notes := w.topic("notes", 1, embeddedBy("a", "columnar.enabled", "true"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 30})
	for len(w.pausedJobs(c)) == 0 {
		c.round(t.Context())
	}
	section, _ := w.section(p)
	require.EqualValues(t, 30, section.Marks.Columnar)
	_, without := w.tableVectors(section)
	require.NotEmpty(t, without)

	// Files are merged when all of their records are embedded, and not in a race with that.
	w.provider.set(nil)
	merge := c.policy.MergeFiles
	c.policy.MergeFiles = 1000
	for range 12 {
		w.commit(rows{p: p, n: 30})
		w.settle(c)
	}
	c.policy.MergeFiles = merge
	w.settle(c)
	w.check()
	section = w.checkShards(p, "a")
	vectors, without := w.tableVectors(section)
	require.Greater(t, len(vectors), 30*8, "merges fill in what was not there")
	for _, f := range without {
		require.Empty(t, f.Settings)
	}
	for offset, v := range w.readShards(section) {
		if got, there := vectors[offset]; there {
			require.Equal(t, v, got, "offset %d", offset)
		}
	}
}

func TestVectorsInTablesAreThoseOfTheTopicsModel(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a", "columnar.enabled", "true"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 40})
	w.settle(c)
	section, _ := w.section(p)
	shards := section.Vector
	require.NotEmpty(t, shards)

	snap := snapshot{section: section}
	for _, s := range c.snapshots(t.Context()) {
		if s.view.Partition == p {
			snap = s
		}
	}
	all := span{0, 40}
	_, ok := covering(snap.current(&snap.section), all, 0)
	require.True(t, ok)
	_, ok = covering(snap.current(&snap.section), span{0, 41}, 0)
	require.False(t, ok, "not all of it is embedded")
	made, err := vectorindex.ParseSettings(shards[0].Settings)
	require.NoError(t, err)
	for what, change := range map[string]func(*vectorindex.Settings){
		"model": func(s *vectorindex.Settings) { s.Model = "old" }, "field": func(s *vectorindex.Settings) { s.Field = "key" },
		"dimensions": func(s *vectorindex.Settings) { s.Dimensions++ },
	} {
		other := made
		change(&other)
		changed := snap.section
		changed.Vector = append([]manifest.File(nil), shards...)
		changed.Vector[0].Settings = other.String()
		_, ok = covering(snap.current(&changed), all, 0)
		require.False(t, ok, what)
	}
	index := made
	index.Index, index.Generation = "ivf", 3
	changed := snap.section
	changed.Vector = append([]manifest.File(nil), shards...)
	changed.Vector[0].Settings = index.String()
	_, ok = covering(snap.current(&changed), all, 0)
	require.True(t, ok, "how they are indexed does not matter")
	snap.config.Vector.Enabled = false
	require.Empty(t, snap.current(&snap.section))
}

// remade loses the files of a table and has them made again.
func (w *world) remade(c *Compactor, p topic.Partition) {
	w.t.Helper()
	section, _ := w.section(p)
	require.NotEmpty(w.t, section.Columnar)
	for _, f := range section.Columnar {
		require.NoError(w.t, w.bucket.Delete(w.t.Context(), f.Object))
		require.NoError(w.t, w.store.ReportDamage(w.t.Context(), f.Object, "lost by a test"))
	}
	require.NoError(w.t, c.catalogCaughtUp(w))
	w.settle(c)
}

func TestTablesThatAreMadeAgainHaveAllVectors(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a", "columnar.enabled", "true"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 3 {
		w.commit(rows{p: p, n: 25})
		w.settle(c)
	}
	w.remade(c, p)
	w.checkTableVectors(p)

	// Another model: then these are its.
	require.NoError(t, w.update("notes", "vector.embedding.endpoint", "http://models/b"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	w.checkShards(p, "b")
	w.remade(c, p)
	w.checkTableVectors(p)

	// What is kept in fewer bits is that in tables, too.
	require.NoError(t, w.update("notes", "vector.index.quantization", "int8"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	w.remade(c, p)
	w.checkTableVectors(p)
	w.check()
}

func TestATableIsMadeWithoutVectorsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a", "columnar.enabled", "true"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 25})
	w.settle(c)
	section, _ := w.section(p)
	// The provider is away: a shard that is lost stays so.
	w.provider.set(func(context.Context, []string) int { return http.StatusUnauthorized })
	for _, f := range section.Vector {
		require.NoError(t, w.bucket.Delete(t.Context(), f.Object))
	}
	for _, f := range section.Columnar {
		require.NoError(t, w.bucket.Delete(t.Context(), f.Object))
		require.NoError(t, w.store.ReportDamage(t.Context(), f.Object, "lost by a test"))
	}
	require.NoError(t, c.catalogCaughtUp(w))
	for len(w.pausedJobs(c)) == 0 { // the report of the shard has come to the job that embeds it again
		c.round(t.Context())
	}
	section, _ = w.section(p)
	_, without := w.tableVectors(section)
	require.Len(t, without, len(section.Columnar))
	w.provider.set(nil)
	w.settle(c)
	w.check()
	w.checkShards(p, "a")
	w.remade(c, p)
	w.checkTableVectors(p)
}

func TestATableHasNoVectorsThatMakeItsFileTooLarge(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a", "columnar.enabled", "true"))
	p := part(notes.ID, 0)
	config := w.quick()
	config.Policy.FileBytesMax = 25*4*dimensionsOfTests - 1
	c := w.start(config, w.store, w.bucket)
	w.commit(rows{p: p, n: 25})
	w.settle(c)
	w.remade(c, p)
	section, _ := w.section(p)
	vectors, without := w.tableVectors(section)
	require.Empty(t, vectors)
	require.Len(t, without, 1)
}
