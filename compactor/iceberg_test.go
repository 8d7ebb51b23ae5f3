package compactor

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/iceberg"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
)

// icebergMetadata is the part of a metadata file that tests look at.
type icebergMetadata struct {
	Version   int `json:"format-version"`
	Snapshots []struct {
		ID      int64             `json:"snapshot-id"`
		Summary map[string]string `json:"summary"`
	} `json:"snapshots"`
	Current int64 `json:"current-snapshot-id"`
	Schemas []struct {
		Fields []struct {
			ID   int    `json:"id"`
			Name string `json:"name"`
		} `json:"fields"`
	} `json:"schemas"`
}

// published is a topic's table as its key names it.
func (w *world) published(id topic.ID) (icebergMetadata, metastore.IcebergTable) {
	var table metastore.IcebergTable
	w.store.Catalog().View(func(v *metastore.View) { table, _ = v.Iceberg(id) })
	require.NotEmpty(w.t, table.Object)
	data, location, err := iceberg.Metadata(w.t.Context(), w.bucket, table.Object)
	require.NoError(w.t, err)
	require.Equal(w.t, "s3://b/"+table.Object, location)
	var m icebergMetadata
	require.NoError(w.t, json.Unmarshal(data, &m))
	require.Equal(w.t, 2, m.Version)
	return m, table
}

// publish brings a topic's table up to date, as a compactor does that knows p.
func (w *world) publish(c *Compactor, id topic.ID, p *published) {
	w.t.Helper()
	for {
		task, ok := c.icebergTask(id)
		require.True(w.t, ok)
		require.False(w.t, task.drop)
		require.NoError(w.t, c.publish(w.t.Context(), task, p))
		if !p.result.Created {
			return
		}
	}
}

func TestTablesOfIcebergFollowTheManifests(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 2, asTable)
	w.topic("plain", 1, nil)
	config := w.quick()
	config.IcebergRetention = time.Hour
	c := w.start(config, w.store, w.bucket)
	c.config.IcebergLocation = "s3://b" // published by the test, step by step
	require.Equal(t, []topic.ID{orders.ID}, c.icebergTopics(), "what is no table is not published")
	var p published
	publish := func() icebergMetadata {
		t.Helper()
		w.publish(c, orders.ID, &p)
		m, _ := w.published(orders.ID)
		return m
	}
	require.Empty(t, publish().Snapshots, "a table without records has a schema and no snapshot")

	w.commit(rows{p: part(orders.ID, 0), n: 25}, rows{p: part(orders.ID, 1), n: 7})
	w.settle(c)
	stale, _ := c.icebergTask(orders.ID)
	m := publish()
	require.Len(t, m.Snapshots, 1)
	first := m.Snapshots[0].Summary
	require.Equal(t, "append", first["operation"])
	require.Equal(t, "32", first["total-records"])
	require.Equal(t, "25", first["kafka.end-offset.0"])
	require.ErrorIs(t, c.publish(t.Context(), stale, &published{}), metastore.ErrConflict, "of two at once one wins")

	before, _ := w.published(orders.ID)
	require.Equal(t, before, publish(), "what is published is not published again")
	p = published{}
	require.Equal(t, before, publish(), "nor after a restart")

	object := func() string { s, _ := w.section(part(orders.ID, 0)); return s.Columnar[0].Object }
	live := object()
	require.True(t, c.heldByIceberg(metastore.Deletion{Object: live, ModRevision: w.store.Catalog().Revision() + 1}),
		"a mark that comes after all snapshots is held by them")
	require.False(t, c.heldByIceberg(metastore.Deletion{Object: live, ModRevision: 1}))

	require.NoError(t, w.update("orders", "columnar.iceberg", "false"))
	w.sync()
	require.Len(t, c.icebergTopics(), 1)
	c.iceberg(t.Context(), orders.ID, &p)
	require.Empty(t, c.icebergTopics())
	require.False(t, c.heldByIceberg(metastore.Deletion{Object: live, ModRevision: w.store.Catalog().Revision() + 1}))
}

// A merge takes in what the table has: so it replaces files, and readers that follow
// the table see nothing but new rows.
func TestFilesAreMergedWhenTheTableHasThem(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 1, asTable)
	p := part(orders.ID, 0)
	config := w.quick()
	config.Policy.MergeFiles = 3
	config.IcebergRetention = 24 * time.Hour
	c := w.start(config, w.store, w.bucket)
	c.config.IcebergLocation = "s3://b"
	var known published
	files := func() int { s, _ := w.section(p); return len(s.Columnar) }
	w.commit(rows{p: p, n: 20})
	w.settle(c)
	w.publish(c, orders.ID, &known)
	for range 4 {
		w.commit(rows{p: p, n: 20})
		w.settle(c)
	}
	require.Equal(t, 5, files(), "four files wait for the table")
	w.publish(c, orders.ID, &known)
	w.settle(c)
	require.Less(t, files(), 5)
	w.publish(c, orders.ID, &known)
	m, _ := w.published(orders.ID)
	var operations []string
	for _, s := range m.Snapshots {
		operations = append(operations, s.Summary["operation"])
	}
	require.Equal(t, []string{"append", "append", "replace"}, operations)

	// Commits that fail do not end merging.
	for range 4 {
		w.commit(rows{p: p, n: 20})
		w.settle(c)
	}
	before := files()
	w.clock.Add(tableWait.Milliseconds())
	w.settle(c)
	require.Less(t, files(), before)
}

func TestObjectsOfTablesAreNoOrphans(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 1, asTable)
	w.commit(rows{p: part(orders.ID, 0), n: 25})
	c := w.start(w.quick(), w.store, w.bucket)
	w.settle(c)
	c.config.IcebergLocation = "s3://b"
	w.publish(c, orders.ID, &published{})
	var names []objstore.Name
	for a, err := range w.bucket.List(t.Context(), objstore.PrefixOfTopic(orders.ID)) {
		require.NoError(t, err)
		n, err := objstore.ParseName(a.Name)
		require.NoError(t, err)
		if n.OfIceberg() {
			names = append(names, n)
		}
	}
	require.Len(t, names, 4, "metadata of now and before, a list and a manifest")
	_, table := w.published(orders.ID)
	names = slices.DeleteFunc(names, func(n objstore.Name) bool {
		return n.Kind == objstore.KindIcebergMetadata && n.String() != table.Object
	})
	named, broken, err := c.icebergObjects(t.Context(), names)
	require.NoError(t, err)
	require.Empty(t, broken)
	for _, n := range names {
		require.True(t, named[n.String()], n.String())
	}
}

func TestRowsBelowTheLogStartAreInPositionDeletes(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 1, asTable)
	p := part(orders.ID, 0)
	w.commit(rows{p: p, n: 25})
	c := w.start(w.quick(), w.store, w.bucket)
	w.settle(c)
	c.config.IcebergLocation = "s3://b"
	var known published
	for _, start := range []int64{0, 10, 12} {
		_, err := w.store.SetLogStart(t.Context(), p, start)
		require.NoError(t, err)
		w.sync()
		w.publish(c, orders.ID, &known)
	}
	m, _ := w.published(orders.ID)
	require.Len(t, m.Snapshots, 3)
	for i, want := range []string{"0", "10", "12"} {
		require.Equal(t, want, m.Snapshots[i].Summary["total-position-deletes"])
	}
	last := m.Snapshots[2].Summary
	require.Equal(t, "delete", last["operation"])
	require.Equal(t, "1", last["total-delete-files"], "a file of deletes takes the place of the one before")
	require.Equal(t, "25", last["total-records"])
}

func TestATableThatIsUpToDateCostsNothing(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 1, asTable)
	p := part(orders.ID, 0)
	bucket := faults.New(w.bucket, faults.Plan{})
	config := w.quick()
	config.IcebergRetention = time.Hour
	c := w.start(config, w.store, bucket)
	c.config.IcebergLocation = "s3://b"
	var known published
	for range 2 {
		w.commit(rows{p: p, n: 25})
		w.settle(c)
		w.publish(c, orders.ID, &known)
	}
	m, _ := w.published(orders.ID)
	require.Len(t, m.Snapshots, 2)

	broken, err := faults.ParsePlan("* * fail-before every=1")
	require.NoError(t, err)
	bucket.Use(broken)
	w.publish(c, orders.ID, &known)
	w.clock.Add(time.Hour.Milliseconds() + 1000)
	task, _ := c.icebergTask(orders.ID)
	require.Error(t, c.publish(t.Context(), task, &known), "a snapshot is to go")
	bucket.Use(faults.Plan{})
	w.publish(c, orders.ID, &known)
	m, _ = w.published(orders.ID)
	require.Len(t, m.Snapshots, 1)
	bucket.Use(broken)
	w.publish(c, orders.ID, &known)

	require.NoError(t, w.update("orders", "columnar.partitioning", "hourly"))
	w.sync()
	task, _ = c.icebergTask(orders.ID)
	require.Error(t, c.publish(t.Context(), task, &known), "the settings are others")
}

func TestFilesOfTheFirstCommitAreHeldFromTheTableOn(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 1, asTable)
	w.commit(rows{p: part(orders.ID, 0), n: 25})
	c := w.start(w.quick(), w.store, w.bucket)
	c.config.IcebergLocation = "s3://b"
	w.settle(c)
	var known published
	task, _ := c.icebergTask(orders.ID)
	require.NoError(t, c.publish(t.Context(), task, &known))
	require.True(t, known.result.Created)
	m, _ := w.published(orders.ID)
	require.Empty(t, m.Snapshots)

	// The files of this source lose their names before it is committed.
	task, _ = c.icebergTask(orders.ID)
	section, _ := w.section(part(orders.ID, 0))
	task.src.Sections = append(task.src.Sections, section)
	_, err := w.store.SetLogStart(t.Context(), part(orders.ID, 0), 25)
	require.NoError(t, err)
	w.sync()
	w.settle(c)
	w.clock.Add(24 * time.Hour.Milliseconds())
	require.NoError(t, c.deleteMarked(t.Context()))
	_, err = c.publisher().Publish(t.Context(), task.src)
	require.NoError(t, err)
	left, _ := w.section(part(orders.ID, 0))
	require.Empty(t, left.Columnar)
	for _, f := range section.Columnar {
		_, err := w.bucket.Head(t.Context(), f.Object)
		require.NoError(t, err, "a snapshot has it")
	}
}
