package compactor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
)

func TestManifestsOfLongLogsArePaged(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, map[string]string{"retention.ms": "-1"}).ID, 0)
	config := w.quick()
	config.Policy.MergeFiles = 10_000 // every file stays
	c := w.start(config, w.store, w.bucket)
	const files = 1100
	for range files {
		w.commit(rows{p: p, n: 1})
		w.settle(c)
	}
	section, view := w.section(p)
	require.Len(t, section.Log, files)
	require.NotEmpty(t, section.Pages)
	require.Less(t, view.Manifest.Length, int64(300<<10))
	reader := committed.NewReader(w.store.Catalog(), w.bucket, committed.Options{})
	chunk, err := reader.Read(t.Context(), p, 3, 1)
	require.NoError(t, err)
	require.Equal(t, int64(3), chunk.First)

	// Another compactor, which has none of this in memory, goes on; retention
	// takes part of a page, and then whole ones.
	second := w.start(config, w.open(w.kv), w.bucket)
	for _, start := range []int64{100, 700} {
		_, err = w.store.SetLogStart(t.Context(), p, start)
		require.NoError(t, err)
		w.commit(rows{p: p, n: 1})
		require.NoError(t, second.catalogCaughtUp(w))
		w.settle(second)
		section, _ = w.section(p)
		require.Equal(t, start, section.Log[0].First)
	}
	require.Equal(t, 700-512, section.Pages[0].Skip, "the third page, of which the first files are gone")
	w.sweep(second)
	pages := 0
	for _, name := range w.objects() {
		if parsed, err := objstore.ParseName(name); err == nil && parsed.Kind == objstore.KindPage {
			pages++
		}
	}
	require.Equal(t, len(section.Pages), pages, "pages go with their files")
	w.check()
}
