package compactor

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// quiet is a configuration under which plain topics wait for their log files,
// and segments are merged at once.
func (w *world) quiet() Config {
	c := w.quick()
	c.Policy.PlainAge = 6 * time.Hour
	return c
}

func TestSegmentsOfQuietPartitionsAreMergedUntilTheirLogFilesAreDue(t *testing.T) {
	w := newWorld(t)
	const partitions, flushes = 30, 200
	created := w.topic("quiet", partitions, map[string]string{"retention.ms": "-1"})
	c := w.start(w.quiet(), w.store, w.bucket)
	most, written := 0, 0
	for range flushes {
		var all []rows
		for i := range int32(partitions) {
			if (w.sequence+int64(i))%3 != 0 {
				all = append(all, rows{p: part(created.ID, i), n: 2})
			}
		}
		w.commit(all...)
		w.settle(c)
		segments := w.store.Catalog().Segments()
		most = max(most, len(segments))
	}
	w.check()
	for _, s := range w.store.Catalog().Segments() {
		written += len(s.Ranges)
	}
	require.Less(t, most, 25, "of %d flushes", flushes)
	require.Less(t, written, 12*partitions, "ranges of one partition become one")
	for i := range int32(partitions) {
		_, view := w.section(part(created.ID, i))
		require.Empty(t, view.Manifest.Object, "no files of its own yet")
	}

	// What merges replaced goes after its grace.
	w.clock.Add(2 * c.config.DeletionGrace.Milliseconds())
	require.NoError(t, c.deleteMarked(t.Context()))
	require.Len(t, w.objects(), len(w.store.Catalog().Segments()))
	w.check()

	w.clock.Add((6 * time.Hour).Milliseconds())
	w.settle(c)
	w.finished()
	for i := range int32(partitions) {
		section, _ := w.section(part(created.ID, i))
		require.Len(t, section.Log, 1, "one file, however many flushes")
	}
	w.check()
	w.sweep(c)
}

func TestMergedSegmentsKeepTheAgeOfTheOldest(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("quiet", 1, map[string]string{"retention.ms": "-1"}).ID, 0)
	c := w.start(w.quiet(), w.store, w.bucket)
	for range 20 { // 5 h
		w.commit(rows{p: p, n: 2})
		w.settle(c)
		w.clock.Add((15 * time.Minute).Milliseconds())
	}
	_, view := w.section(p)
	require.Empty(t, view.Manifest.Object)
	w.clock.Add((61 * time.Minute).Milliseconds())
	w.settle(c)
	w.finished()
	w.check()
}

func TestMergedSegmentsKeepHolesEpochsAndProducers(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("quiet", 1, map[string]string{"retention.ms": "-1"}).ID, 0)
	c := w.start(w.quiet(), w.store, w.bucket)
	for i := range 8 {
		r := rows{p: p, n: 5, epoch: int32(i / 3)}
		if i == 4 {
			r.skip = 7
		}
		w.commit(r)
	}
	w.settle(c)
	w.check()
	_, view := w.section(p)
	var got [][3]int64
	for _, r := range view.Ranges {
		require.Equal(t, view.Ranges[0].Segment, r.Segment)
		got = append(got, [3]int64{int64(r.Epoch), r.First, r.Next})
	}
	require.Equal(t, [][3]int64{{0, 0, 15}, {1, 15, 20}, {1, 27, 37}, {2, 37, 47}}, got)
	name, err := objstore.ParseName(view.Ranges[0].Segment.Object)
	require.NoError(t, err)
	require.True(t, name.Merged)
	footer, err := c.source.footer(t.Context(), view.Ranges[0].Segment.Object, view.Ranges[0].Segment.Size)
	require.NoError(t, err)
	require.Len(t, footer.Ranges[0].Producers, 4, "the one of all segments, and one of each of three")
	w.clock.Add((7 * time.Hour).Milliseconds())
	w.settle(c)
	w.finished()
	w.check()
}

// TestALogMarkMayCutAMergedRange merges segments while a pass over some of them
// is under way.
func TestALogMarkMayCutAMergedRange(t *testing.T) {
	for _, config := range []map[string]string{{"retention.ms": "-1"}, asTableForEver} {
		t.Run(fmt.Sprint(config), func(t *testing.T) {
			w := newWorld(t)
			p := part(w.topic("t", 1, config).ID, 0)
			one, two := w.start(w.quick(), w.store, w.bucket), w.start(w.quiet(), w.open(w.kv), w.bucket)
			for range 4 {
				w.commit(rows{p: p, n: 10})
			}
			passes := one.snapshots(t.Context())
			plan, _ := one.policy.decide(passes[0], one.now())
			done, err := one.pass(t.Context(), task{snap: passes[0], plan: plan})
			require.NoError(t, err)
			for range 4 {
				w.commit(rows{p: p, n: 10})
			}
			require.NoError(t, two.catalogCaughtUp(w))
			require.True(t, two.mergeSegments(t.Context()))
			require.NoError(t, one.catalogCaughtUp(w))
			require.NoError(t, one.commit(t.Context(), []*pass{done}))

			_, view := w.section(p)
			require.Equal(t, int64(40), view.Manifest.Marks.Log)
			require.Len(t, view.Ranges, 1)
			require.Zero(t, view.Ranges[0].First)
			w.check()
			w.settle(one)
			w.finished()
			w.check()
			section, _ := w.section(p)
			require.Equal(t, int64(80), section.Log[len(section.Log)-1].Next)
			w.sweep(one)
		})
	}
}

func TestADamagedSegmentDoesNotKeepOthersFromBeingMerged(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("quiet", 1, map[string]string{"retention.ms": "-1"}).ID, 0)
	config := w.quiet()
	config.FailurePauseMin, config.FailurePauseMax = time.Hour, time.Hour
	c := w.start(config, w.store, w.bucket)
	var bad metastore.Segment
	for i := range 9 {
		if s := w.commit(rows{p: p, n: 10}); i == 3 {
			bad = s
		}
	}
	whole, err := w.bucket.Get(t.Context(), bad.Object, 0, -1)
	require.NoError(t, err)
	spoiled := slices.Clone(whole)
	spoiled[bad.Ranges[0].Position+70] ^= 1
	_, err = w.bucket.Put(t.Context(), bad.Object, objstore.Bytes(spoiled), objstore.Condition{})
	require.NoError(t, err)
	worked, _ := c.round(t.Context())
	require.False(t, worked)
	require.Len(t, c.segmentFailures, 1)
	require.Contains(t, c.segmentFailures, bad.ID)
	w.settle(c)
	require.Len(t, w.store.Catalog().Segments(), 2)
	_, err = w.bucket.Put(t.Context(), bad.Object, objstore.Bytes(whole), objstore.Condition{})
	require.NoError(t, err)
	w.check()
}

func TestWhichSegmentsAreMerged(t *testing.T) {
	policy := Policy{PassBytesMax: 64 << 10, MergeFiles: 4}.withDefaults()
	candidates := func(sizes ...int64) []candidate {
		var all []candidate
		for i, bytes := range sizes {
			r := metastore.SegmentRange{Partition: topic.Partition{Topic: topic.ID{1}, Index: int32(i % 2)}}
			all = append(all, candidate{segment: &metastore.Segment{ID: fmt.Sprint(i)}, left: []metastore.SegmentRange{r}, bytes: bytes})
		}
		return all
	}
	for _, c := range []struct {
		sizes       []int64
		first, next int
	}{
		{[]int64{100, 100, 100}, 0, 0},
		{[]int64{100, 100, 100, 100}, 0, 4},
		{[]int64{20000, 100, 20000, 100, 100, 100}, 0, 0}, // the large ones do not count, nor stand between; see below
		{[]int64{9000, 100, 100, 100, 100}, 1, 5},
		{slices.Repeat([]int64{10}, 100), 0, 40},
	} {
		run := policy.mergeSegments(candidates(c.sizes...))
		if c.sizes[0] == 20000 {
			require.Len(t, run, 4)
			continue
		}
		require.Len(t, run, c.next-c.first, "%v", c.sizes)
		if len(run) > 0 {
			require.Equal(t, fmt.Sprint(c.first), run[0].segment.ID)
		}
	}

	// As many ranges as fit a transaction; none where hardly any would meet.
	wide := func(segments, ranges, step int) []candidate {
		all := candidates(slices.Repeat([]int64{10}, segments)...)
		for i := range all {
			all[i].left = nil
			for r := range ranges {
				all[i].left = append(all[i].left, metastore.SegmentRange{Partition: topic.Partition{Topic: topic.ID{1}, Index: int32(i*step + r)}})
			}
			all[i].segment = &metastore.Segment{ID: fmt.Sprint(i), Ranges: all[i].left}
		}
		return all
	}
	require.Len(t, policy.mergeSegments(wide(40, 6000, 0)), 20, "their old keys are two each")
	require.Len(t, policy.mergeSegments(wide(10, 4000, 1000)), 10)
	require.Nil(t, policy.mergeSegments(wide(10, 6500, 6500)))
}

func TestManyPiecesMakeALogFileDue(t *testing.T) {
	policy := Policy{FirstBytes: 1 << 20, FirstAge: time.Second, RangesMax: 5, PlainAge: time.Hour}.withDefaults()
	s := partitionWith(nil, 0, 1, 1, 1, 1, 1, 1)
	got, again := policy.decide(s, epoch.Add(13*time.Second)) // four of them are ten seconds old
	require.True(t, got.log.empty())
	require.False(t, again.IsZero())
	got, _ = policy.decide(s, epoch.Add(14*time.Second))
	require.Equal(t, span{0, 60}, got.log)
}
