package compactor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

func TestObjectsOfADeletedTopicGoAfterTheGrace(t *testing.T) {
	w := newWorld(t)
	gone, stays := w.topic("gone", 3, asTable), w.topic("stays", 1, asTable)
	config := w.quick()
	config.DeletionGrace = 2 * time.Minute
	c := w.start(config, w.store, w.bucket)
	for range 3 {
		w.commit(rows{p: part(gone.ID, 0), n: 10}, rows{p: part(gone.ID, 2), n: 10}, rows{p: part(stays.ID, 0), n: 10})
		w.settle(c)
	}
	left := func() (n int) {
		for _, name := range w.objects() {
			if strings.Contains(name, gone.ID.String()) {
				n++
			}
		}
		return n
	}
	require.NotZero(t, left())
	require.NoError(t, w.store.DeleteTopic(t.Context(), "gone"))
	before := left()
	w.clock.Add(time.Minute.Milliseconds())
	require.NoError(t, c.deleteMarked(t.Context()))
	require.Equal(t, before, left(), "who reads it has some time left")
	w.clock.Add(time.Minute.Milliseconds())
	require.NoError(t, c.deleteMarked(t.Context()))
	require.Zero(t, left())
	w.check()
	marked, err := w.store.Deletions(t.Context())
	require.NoError(t, err)
	for _, d := range marked {
		require.NotContains(t, d.Object, gone.ID.String())
	}
}

func TestATopicInUseIsNotDeletedByAMark(t *testing.T) {
	w := newWorld(t)
	created := w.topic("t", 1, asTable)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: part(created.ID, 0), n: 10})
	w.settle(c)
	before := len(w.objects())
	for _, wrong := range []string{objstore.PrefixOfTopic(created.ID), "topics/", "topics/" + created.ID.String() + "/0/", "/"} {
		require.NoError(t, w.store.SwapManifests(t.Context(), nil, []metastore.Deletion{{Object: wrong}}))
	}
	require.NoError(t, c.deleteMarked(t.Context()))
	require.Len(t, w.objects(), before)
	left, err := w.store.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1, "that of the segment")
}

// stubborn does not delete some objects.
type stubborn struct {
	objstore.Bucket
	keeps string
}

func (b stubborn) Delete(ctx context.Context, name string) error {
	if strings.Contains(name, b.keeps) {
		return errors.New("no")
	}
	return b.Bucket.Delete(ctx, name)
}

func TestWhatCannotBeDeletedKeepsItsMarkAndNobodyWaits(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, nil).ID, 0)
	var all []metastore.Segment
	for range 200 {
		all = append(all, w.commit(rows{p: p, n: 1}))
	}
	c := w.start(w.quick(), w.store, stubborn{w.bucket, all[100].Object})
	w.settle(c)
	w.clock.Add(c.config.DeletionGrace.Milliseconds() + 1000)
	require.ErrorContains(t, c.deleteMarked(t.Context()), all[100].Object)
	left, err := w.store.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, all[100].Object, left[0].Object)
	require.Contains(t, w.objects(), all[100].Object)
	w.check()
}

func TestADamagedManifestShieldsItsPartitionFromTheSweepAndNoOther(t *testing.T) {
	w := newWorld(t)
	created := w.topic("t", 2, asTableForEver)
	bad, good := part(created.ID, 0), part(created.ID, 1)
	config := w.quick()
	config.sweepAtOnce = 3
	c := w.start(config, w.store, w.bucket)
	for _, p := range []rows{{p: bad, n: 10}, {p: good, n: 10}} { // a manifest object each
		w.commit(p)
		w.settle(c)
	}
	_, view := w.section(bad)
	orphans := map[string]bool{objstore.LogFileName(bad, c.newID()): true, objstore.LogFileName(good, c.newID()): false, objstore.ManifestName(c.newID()): false}
	for name := range orphans {
		_, err := w.bucket.Put(t.Context(), name, objstore.Bytes([]byte("x")), objstore.Condition{})
		require.NoError(t, err)
	}
	manifest, err := w.bucket.Get(t.Context(), view.Manifest.Object, 0, -1)
	require.NoError(t, err)
	manifest[view.Manifest.Position+40] ^= 1
	_, err = w.bucket.Put(t.Context(), view.Manifest.Object, objstore.Bytes(manifest), objstore.Condition{})
	require.NoError(t, err)

	before := w.objects()
	w.clock.Add((48 * time.Hour).Milliseconds())
	require.ErrorContains(t, c.sweepOrphans(t.Context()), "read the manifest of")
	for name, stays := range orphans {
		require.Equal(t, stays, strings.Contains(strings.Join(w.objects(), " "), name), name)
	}
	require.Len(t, w.objects(), len(before)-2, "nothing else goes")
}
