package compactor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
)

func part(t topic.ID, i int32) topic.Partition { return topic.Partition{Topic: t, Index: i} }

func TestAManifestNamesTheColumnOfVectors(t *testing.T) {
	f := columnar.File{Columns: []columnar.Column{{Name: "a", Type: columnar.Int64}}}
	require.Equal(t, []manifest.Column{{Name: "a", Type: "int64"}}, columnsOf(f))
	f.Dimensions = 384
	require.Equal(t, []manifest.Column{{Name: "_embedding", Type: "float32[384]"}, {Name: "a", Type: "int64"}}, columnsOf(f))
}

func TestSegmentsBecomeLogFilesAndTables(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 3, asTable)
	plain := w.topic("plain", 1, nil)
	for i := range 3 {
		w.commit(rows{p: part(orders.ID, 0), n: 25}, rows{p: part(orders.ID, 1), n: 7}, rows{p: part(plain.ID, 0), n: 100, epoch: int32(i / 2)})
	}
	c := w.start(w.quick(), w.store, w.bucket)
	w.settle(c)
	w.check()

	section, view := w.section(part(orders.ID, 0))
	require.Equal(t, int64(75), section.Marks.Log)
	require.Equal(t, int64(75), section.Marks.Columnar)
	require.Len(t, section.Log, 1)
	require.Len(t, section.Columnar, 1)
	require.Equal(t, int64(1), view.Manifest.Version)
	require.Len(t, section.Producers, 4)
	require.Equal(t, int64(50), section.Producers[0].Batches[0].First)
	require.Equal(t, "parquet", section.Columnar[0].Format)
	var columns []string
	for _, col := range section.Columnar[0].Columns {
		columns = append(columns, col.Name+" "+col.Type)
	}
	require.Equal(t, []string{"json_partition int64", "n int64", "pad text"}, columns)

	section, _ = w.section(part(plain.ID, 0))
	require.Empty(t, section.Columnar)
	require.Empty(t, w.store.Catalog().Segments(), "segments whose ranges are all rewritten are dropped")
	object, _ := w.section(part(orders.ID, 1))
	require.NotEmpty(t, object.Log)
	_, a := w.section(part(orders.ID, 0))
	_, b := w.section(part(plain.ID, 0))
	require.Equal(t, a.Manifest.Object, b.Manifest.Object, "the passes of a round share a manifest object")
	_, untouched := w.section(part(orders.ID, 2))
	require.Empty(t, untouched.Manifest.Object)

	w.sweep(c)
	w.check()
}

func TestLogFilesKeepTheirEpochs(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, nil).ID, 0)
	w.commit(rows{p: p, n: 10, epoch: 0})
	w.commit(rows{p: p, n: 10, epoch: 0})
	w.commit(rows{p: p, n: 10, epoch: 3})
	w.commit(rows{p: p, n: 10, epoch: 3, skip: 5}) // offsets that were never committed
	c := w.start(w.quick(), w.store, w.bucket)
	w.settle(c)
	w.check()
	section, _ := w.section(p)
	footer, err := c.source.footer(t.Context(), section.Log[0].Object, section.Log[0].Size)
	require.NoError(t, err)
	var got [][3]int64
	for _, r := range footer.Ranges {
		got = append(got, [3]int64{int64(r.Epoch), r.First, r.Next})
	}
	require.Equal(t, [][3]int64{{0, 0, 20}, {3, 20, 30}}, got)
	require.Len(t, section.Log, 2, "one file for each run of offsets")
	require.Equal(t, int64(35), section.Log[1].First)
}

func TestManySmallFilesAreMergedFewTimes(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTable).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 40 {
		w.commit(rows{p: p, n: 3})
		w.settle(c)
	}
	w.check()
	section, _ := w.section(p)
	require.Less(t, len(section.Log), 10)
	require.Less(t, len(section.Columnar), 10)
	require.Equal(t, int64(120), section.Marks.Columnar)

	// What merges replaced is marked, and does not wait for the sweep.
	w.clock.Add(2 * c.config.DeletionGrace.Milliseconds())
	require.NoError(t, c.deleteMarked(t.Context()))
	used, err := c.namedObjects(t.Context())
	require.NoError(t, err)
	require.Len(t, w.objects(), len(used))
	w.check()
}

func TestTablesArePartedByTime(t *testing.T) {
	w := newWorld(t)
	day := (24 * time.Hour).Milliseconds()
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli()
	for range 5 {
		w.commit(rows{p: p, n: 20, ms: noon, step: day / 10})
		w.settle(c)
	}
	w.check()
	section, _ := w.section(p)
	var parts []string
	for _, f := range section.Columnar {
		parts = append(parts, f.TimePartition)
	}
	slices.Sort(parts)
	require.Equal(t, []string{"2026-11-23", "2026-11-24", "2026-11-25"}, slices.Compact(parts))
	require.Less(t, len(section.Columnar), 15, "files of one day are merged")
}

func TestMoreTimePartitionsThanAPassTakesAreAllDone(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	w.commit(rows{p: p, n: 150, ms: 1, step: (24 * time.Hour).Milliseconds()})
	c := w.start(w.quick(), w.store, w.bucket)
	w.settle(c)
	w.check()
	section, _ := w.section(p)
	require.Equal(t, int64(150), section.Marks.Columnar)
	require.Len(t, section.Columnar, 150)
}

func TestATableThatIsTurnedOnLaterHasTheWholeLog(t *testing.T) {
	w := newWorld(t)
	created := w.topic("t", 1, nil)
	p := part(created.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 3 {
		w.commit(rows{p: p, n: 20})
		w.settle(c)
	}
	turn := func(on string) {
		t.Helper()
		require.NoError(t, w.update("t", "columnar.enabled", on))
		require.NoError(t, c.catalogCaughtUp(w))
		w.settle(c)
		w.check()
	}
	turn("true")
	section, _ := w.section(p)
	require.Equal(t, int64(60), section.Marks.Columnar)
	require.NotEmpty(t, section.Columnar)

	turn("false")
	object := section.Columnar[0].Object
	section, _ = w.section(p)
	require.Empty(t, section.Columnar)
	require.NoError(t, c.deleteMarked(t.Context()))
	require.Contains(t, w.objects(), object, "queries may still read it")
	w.clock.Add(c.config.DeletionGrace.Milliseconds() + 1)
	require.NoError(t, c.deleteMarked(t.Context()))
	require.NotContains(t, w.objects(), object)

	w.commit(rows{p: p, n: 20})
	turn("true")
	section, _ = w.section(p)
	require.Equal(t, int64(80), section.Marks.Columnar)
	w.sweep(c)
}

func TestRetentionDropsWholeFilesFromTheOldestOn(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, map[string]string{"columnar.enabled": "true", "retention.ms": "3600000"}).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	now := w.now().UnixMilli()
	w.commit(rows{p: p, n: 10, ms: now - 7_200_000})
	w.settle(c)
	w.commit(rows{p: p, n: 10, ms: now - 60_000})
	w.settle(c)
	section, view := w.section(p)
	require.Equal(t, int64(10), view.Manifest.LogStart)
	require.Len(t, section.Log, 1)
	w.check()

	w.clock.Add(7_200_000)
	w.settle(c)
	section, view = w.section(p)
	require.Equal(t, int64(20), view.Manifest.LogStart)
	require.Empty(t, section.Log)
	require.Empty(t, section.Columnar)
	w.check()
	w.sweep(c)
}

func TestRetentionSetOnAllBrokersHoldsForTopicsThatDoNotSay(t *testing.T) {
	w := newWorld(t)
	silent := part(w.topic("silent", 1, nil).ID, 0)
	says := part(w.topic("says", 1, map[string]string{"retention.ms": "604800000"}).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for _, p := range []topic.Partition{silent, says} {
		w.commit(rows{p: p, n: 10, ms: w.now().UnixMilli() - 7_200_000})
	}
	w.settle(c)
	_, view := w.section(silent)
	require.Zero(t, view.Manifest.LogStart)
	_, err := w.store.UpdateConfig(t.Context(), metastore.ConfigResource{Kind: metastore.ConfigBrokers}, func(map[string]string) (map[string]string, error) {
		return map[string]string{"log.retention.ms": "3600000"}, nil
	})
	require.NoError(t, err)
	w.settle(c)
	_, view = w.section(silent)
	require.Equal(t, int64(10), view.Manifest.LogStart)
	_, view = w.section(says)
	require.Zero(t, view.Manifest.LogStart)
	w.check()
}

func TestDeletedRecordsLeaveTheTableAndTheBucket(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTable).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 3 {
		w.commit(rows{p: p, n: 10})
		w.settle(c)
	}
	_, err := w.store.SetLogStart(t.Context(), p, 15)
	require.NoError(t, err)
	w.settle(c)
	section, _ := w.section(p)
	require.Len(t, section.Log, 2)
	require.Len(t, section.Columnar, 2)
	w.check()

	w.commit(rows{p: p, n: 10})
	_, err = w.store.SetLogStart(t.Context(), p, 40) // past what is in log files
	require.NoError(t, err)
	w.settle(c)
	section, _ = w.section(p)
	require.Empty(t, section.Log)
	require.Equal(t, int64(40), section.Marks.Log)
	require.Equal(t, int64(30), section.Producers[0].Batches[0].First, "producers outlive their records")
	require.Empty(t, w.store.Catalog().Segments())
	w.check()
}

func TestDeletedTopicsLeaveNothingBehind(t *testing.T) {
	w := newWorld(t)
	gone, stays := w.topic("gone", 2, asTable), w.topic("stays", 1, asTable)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: part(gone.ID, 0), n: 10}, rows{p: part(gone.ID, 1), n: 10}, rows{p: part(stays.ID, 0), n: 10})
	w.settle(c)
	w.commit(rows{p: part(gone.ID, 0), n: 10}, rows{p: part(stays.ID, 0), n: 10})
	require.NoError(t, w.store.DeleteTopic(t.Context(), "gone"))
	w.settle(c)
	require.Empty(t, w.store.Catalog().Segments(), "ranges of deleted topics count as rewritten")
	w.sweep(c)
	for _, name := range w.objects() {
		require.NotContains(t, name, gone.ID.String())
	}
	w.check()
}

func TestNothingIsDeletedBeforeItsGrace(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTable).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	segment := w.commit(rows{p: p, n: 10})
	w.settle(c)
	require.NoError(t, c.deleteMarked(t.Context()))
	require.Contains(t, w.objects(), segment.Object)
	w.clock.Add(c.config.DeletionGrace.Milliseconds() - 1000)
	require.NoError(t, c.deleteMarked(t.Context()))
	require.Contains(t, w.objects(), segment.Object)
	w.clock.Add(2000)
	require.NoError(t, c.deleteMarked(t.Context()))
	require.NotContains(t, w.objects(), segment.Object)
	left, err := w.store.Deletions(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTheSweepLeavesTheYoungAndTheUnknownAlone(t *testing.T) {
	w := newWorld(t)
	c := w.start(w.quick(), w.store, w.bucket)
	young := objstore.ManifestName(c.newID())
	old := func() string {
		w.clock.Add(-(72 * time.Hour).Milliseconds())
		defer w.clock.Add((72 * time.Hour).Milliseconds())
		return objstore.ManifestName(c.newID())
	}()
	for _, name := range []string{young, old, "somebody/elses.thing"} {
		_, err := w.bucket.Put(t.Context(), name, objstore.Bytes([]byte("x")), objstore.Condition{})
		require.NoError(t, err)
	}
	require.NoError(t, c.sweepOrphans(t.Context()))
	require.Contains(t, w.objects(), old, "old by its name, young by the bucket's clock")
	w.clock.Add((25 * time.Hour).Milliseconds())
	require.NoError(t, c.sweepOrphans(t.Context()))
	require.ElementsMatch(t, []string{"somebody/elses.thing"}, w.objects())
}

func TestAPassThatTakesTooLongIsGivenUpAndLeftAlone(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTable).ID, 0)
	w.commit(rows{p: p, n: 10})
	plan, err := faults.ParsePlan("put * delay=1m every=1")
	require.NoError(t, err)
	bucket := faults.New(w.bucket, plan)
	config := w.quick()
	config.PassTimeout, config.FailurePauseMin, config.FailurePauseMax = 10*time.Millisecond, time.Hour, time.Hour
	c := w.start(config, w.store, bucket)
	worked, _ := c.round(t.Context())
	require.False(t, worked)
	require.Len(t, c.failures, 1)
	_, again := c.round(t.Context())
	require.False(t, again.IsZero(), "it is tried again in its time")
	w.check()
	require.Equal(t, time.Hour/4, Config{PassTimeout: 2 * time.Hour, OrphanAge: time.Hour}.withDefaults().PassTimeout)
}

func TestRunWorksOnItsOwnAndStops(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTable).ID, 0)
	config := w.quick()
	config.DeletionGrace, config.DeletionEvery = time.Millisecond, time.Millisecond
	registry := prometheus.NewRegistry()
	c, err := New(config, Deps{Store: w.store, Bucket: w.bucket, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Registerer: registry})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for range 5 {
		w.commit(rows{p: p, n: 10})
		require.Eventually(t, func() bool {
			view := w.store.Catalog().Partition(p)
			return view.Manifest.Marks.Columnar == w.next[p] && len(w.store.Catalog().Segments()) == 0
		}, patience, time.Millisecond)
	}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(w.objects(), func(name string) bool {
			parsed, err := objstore.ParseName(name)
			return err == nil && parsed.Kind == objstore.KindSegment
		})
	}, patience, time.Millisecond, "marked segments are deleted")
	families, err := registry.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	cancel()
	require.NoError(t, <-ended)
	require.Eventually(t, func() bool { return len(w.store.Catalog().Compactors()) == 0 }, patience, time.Millisecond)
	w.check()
	families, err = registry.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}

func TestCompactorsShareThePartitions(t *testing.T) {
	w := newWorld(t)
	created := w.topic("t", 20, nil)
	one := w.quick()
	two := w.quick()
	two.ID = "d"
	c, d := w.start(one, w.store, w.bucket), w.start(two, w.store, w.bucket)
	require.NoError(t, c.catalogCaughtUp(w))
	a, b := c.snapshots(t.Context()), d.snapshots(t.Context())
	require.Len(t, slices.Concat(a, b), 20)
	require.NotEmpty(t, a)
	require.NotEmpty(t, b)
	require.Equal(t, created.ID, a[0].view.Partition.Topic)
}

func TestNewRefusesToWorkWithoutItsParts(t *testing.T) {
	_, err := New(Config{}, Deps{})
	require.Error(t, err)
	require.False(t, errors.Is(err, context.Canceled))
}
