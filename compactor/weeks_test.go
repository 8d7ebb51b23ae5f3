package compactor

import (
	"flag"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/embed"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
)

var flushes = flag.Int("flushes", 1600, "flushes of the test that etcd stays flat; one is 5 s of the cluster's life")

// TestEtcdStaysFlatOverManyFlushes lives through days of a broker that flushes
// every five seconds, with quiet topics, tables, topics that come and go under
// one name, groups that commit, retention, and compaction of etcd's history as
// an operator sets it; and wants keys, the database and the bucket to be as large
// at the end as they were early on.
func TestEtcdStaysFlatOverManyFlushes(t *testing.T) {
	server, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	k, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })

	w := newWorldOn(t, k)
	w.lean = true
	unowned := make(map[int]metastore.Slot)
	for n := range metastore.Slots {
		unowned[n] = metastore.Slot{}
	}
	slots, err := w.store.TakeSlots(t.Context(), w.session, unowned)
	require.NoError(t, err)
	const every, quiet, tables = 5 * time.Second, 40, 2
	life := min(time.Hour, time.Duration(*flushes)*every/5) // of a record
	keep := map[string]string{"retention.ms": fmt.Sprint(life.Milliseconds())}
	table := maps.Clone(keep)
	table["columnar.enabled"] = "true"
	w.topic("quiet", quiet, keep)
	w.topic("table", tables, table)
	c := w.start(Config{ID: "c", historyMax: 250, Policy: Policy{PlainAge: life / 3}, LookEvery: time.Millisecond, Workers: 1, FailurePauseMin: time.Hour, FailurePauseMax: time.Hour}, w.store, w.bucket)

	type sample struct {
		keys    map[string]int
		inUse   int64
		objects int
	}
	var samples []sample
	most := 0
	begun := time.Now()
	for n := range *flushes {
		if n%min(1000, *flushes/4) == 0 { // a topic is deleted and comes again under its name
			if n > 0 {
				require.NoError(t, w.store.DeleteTopic(t.Context(), "again"))
			}
			w.topic("again", 2, table)
		}
		var all []rows
		for _, tp := range w.store.Catalog().Topics() {
			for i := range tp.Partitions {
				if tp.Name != "quiet" || (n+int(i))%8 == 0 {
					all = append(all, rows{p: part(tp.ID, i), n: 2})
				}
			}
		}
		w.commit(all...)
		w.clock.Add(every.Milliseconds())
		if n%10 == 0 {
			offsets := map[topic.Partition]metastore.OffsetCommit{all[0].p: {Offset: int64(n)}, all[len(all)-1].p: {Offset: int64(n)}}
			group := fmt.Sprintf("group-%d", n/10%20)
			require.NoError(t, w.store.CommitOffsets(t.Context(), slots[metastore.SlotOf(group)], group, offsets))
		}
		if n%20 != 19 {
			continue
		}
		for worked := true; worked; {
			worked, _ = c.round(t.Context())
		}
		require.Empty(t, c.failures)
		require.NoError(t, c.deleteMarked(t.Context()))
		most = max(most, len(w.store.Catalog().Segments()))
		if n%200 == 199 {
			require.NoError(t, w.store.SweepTopics(t.Context()))
			require.NoError(t, c.lookAtHistory(t.Context()))
			require.InDelta(t, 1, testutil.ToFloat64(c.metrics.longHistory), 0)
			_, err = admin.Compact(t.Context(), w.store.Catalog().Revision()-50, clientv3.WithCompactPhysical())
			require.NoError(t, err)
			require.NoError(t, c.lookAtHistory(t.Context()))
			require.Zero(t, testutil.ToFloat64(c.metrics.longHistory))
			w.forget()
		}
		if n%(*flushes/10) == *flushes/10-1 {
			s := sample{keys: w.keys(), objects: len(w.objects())}
			status, err := admin.Status(t.Context(), server.Endpoint())
			require.NoError(t, err)
			s.inUse = status.DbSizeInUse
			samples = append(samples, s)
			t.Logf("%6d flushes, %5.1f h of life in %4.0f s: %d keys %v, database %d KiB in use of %d, %d objects",
				n+1, time.Until(w.now()).Hours(), time.Since(begun).Seconds(), s.keys[""], s.keys, s.inUse>>10, status.DbSize>>10, s.objects)
		}
	}
	w.check()
	early, last := samples[len(samples)/2-1], samples[len(samples)-1]
	require.Less(t, most, 80, "segments")
	require.LessOrEqual(t, last.keys[""], early.keys[""]*3/2+50, "keys")
	require.LessOrEqual(t, last.objects, early.objects*3/2+50, "objects")
	require.LessOrEqual(t, last.inUse, early.inUse*3/2+(256<<10), "database")
}

// keys counts the keys in the metadata store, by directory; all of them as "".
func (w *world) keys() map[string]int {
	counts := make(map[string]int)
	entries, _, err := w.kv.Range(w.t.Context(), "/chronik")
	require.NoError(w.t, err)
	for _, e := range entries {
		parts := strings.Split(e.Key, "/")
		counts[parts[3]]++
		counts[""]++
	}
	return counts
}

// forget drops what a test remembers of records that retention has taken.
func (w *world) forget() {
	for p, wrote := range w.wrote {
		view := w.store.Catalog().Partition(p)
		if view.Topic == nil {
			delete(w.wrote, p)
			continue
		}
		maps.DeleteFunc(wrote, func(offset int64, _ string) bool { return offset < view.Manifest.LogStart })
	}
	clear(w.producers)
}

var partitions = flag.Int("partitions", 300, "quiet partitions of the test of what they cost")

// TestQuietPartitionsCostFewObjects lives through eight hours of partitions that
// get a record every five minutes each, in flushes of five seconds.
func TestQuietPartitionsCostFewObjects(t *testing.T) {
	w := newWorld(t)
	w.lean = true
	const every, perRecord, hours = 5 * time.Second, 60, 8
	created := w.topic("quiet", int32(*partitions), map[string]string{"retention.ms": "-1"})
	c := w.start(Config{ID: "c", LookEvery: time.Millisecond, Workers: 1}, w.store, w.bucket)
	revision := w.store.Catalog().Revision()
	segments, ranges := 0, 0
	flushed := 0
	for n := range int(hours * time.Hour / every) {
		var all []rows
		for i := n % perRecord; i < *partitions; i += perRecord {
			all = append(all, rows{p: part(created.ID, int32(i)), n: 1})
		}
		w.commit(all...)
		flushed++
		w.clock.Add(every.Milliseconds())
		if n%12 == 0 {
			for worked := true; worked; {
				worked, _ = c.round(t.Context())
			}
		}
		if n%100 == 0 {
			require.NoError(t, c.deleteMarked(t.Context()))
			known := w.store.Catalog().Segments()
			segments = max(segments, len(known))
			sum := 0
			for _, s := range known {
				sum += len(s.Ranges)
			}
			ranges = max(ranges, sum)
		}
	}
	w.check()
	count := func(kind string) int { return int(testutil.ToFloat64(c.metrics.files.WithLabelValues(kind))) }
	bytes := func(kind string) int { return int(testutil.ToFloat64(c.metrics.bytesWritten.WithLabelValues(kind))) }
	logs, merged, manifests := count("log"), count("segment"), count("manifest")
	t.Logf("%d partitions, %d h: %d flushes; %d merged segments of %d KiB, %d log files of %d KiB, %d manifests; at most %d segments with %d ranges; %d revisions of the metadata",
		*partitions, hours, flushed, merged, bytes("segment")>>10, logs, bytes("log")>>10, manifests, segments, ranges, w.store.Catalog().Revision()-revision)
	require.LessOrEqual(t, logs, 2**partitions, "one in six hours, and a part of the second")
	require.Less(t, merged, flushed/6)
	require.Less(t, manifests, 2**partitions/32+hours*12)
	require.Less(t, segments, 60)
	require.Less(t, ranges, 12**partitions)
}
