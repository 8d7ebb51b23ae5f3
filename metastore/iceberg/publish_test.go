package iceberg

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
	objmemory "github.com/chronik-stream/chronik/objstore/memory"
)

// world is a topic of one partition, whose files a test makes by hand.
type world struct {
	t       testing.TB
	p       *Publisher
	topic   metastore.Topic
	section manifest.Section
	now     time.Time
}

func newWorld(t testing.TB, bucket objstore.Bucket, k kv.Store) *world {
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test", Seed: 1})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	w := &world{t: t, now: time.Now()}
	w.p = &Publisher{
		Bucket: bucket, Store: store, Location: "s3://b", Retention: time.Hour, Grace: time.Minute,
		Now: func() time.Time { return w.now }, NewID: ulid.Make,
	}
	w.topic, err = store.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 1})
	require.NoError(t, err)
	w.section = manifest.Section{Partition: topic.Partition{Topic: w.topic.ID}}
	return w
}

// file makes a data file of the offsets [first, next).
func (w *world) file(first, next int64) manifest.File {
	w.t.Helper()
	var b batch.Builder
	for o := first; o < next; o++ {
		b.Append(1_700_000_000_000+o, nil, fmt.Appendf(nil, `{"n":%d}`, o))
	}
	raw, err := b.Build(nil)
	require.NoError(w.t, err)
	batch.PatchOffset(raw, first, 0)
	var out bytes.Buffer
	options := columnar.TableOptions("t", w.section.Partition)
	options.Partitioning = columnar.Unpartitioned
	result, err := columnar.Write(w.t.Context(), columnar.Of(raw), batch.NewDecoder(1<<20), options,
		func(string) (io.Writer, error) { return &out, nil })
	require.NoError(w.t, err)
	require.Len(w.t, result.Files, 1)
	f := manifest.File{Object: objstore.ParquetName(w.section.Partition, ulid.Make()), First: first, Next: next, Format: "parquet",
		Records: next - first, Size: int64(out.Len())}
	_, err = w.p.Bucket.Put(w.t.Context(), f.Object, objstore.Bytes(out.Bytes()), objstore.Condition{IfAbsent: true})
	require.NoError(w.t, err)
	return f
}

func (w *world) source() Source {
	src := Source{Topic: &w.topic, Partitioning: "none", Sections: []manifest.Section{w.section}}
	require.NoError(w.t, w.p.Store.CatchUp(w.t.Context()))
	w.p.Store.Catalog().View(func(v *metastore.View) {
		src.Revision = v.Revision()
		src.Seen, _ = v.Iceberg(w.topic.ID)
	})
	return src
}

// publish brings the table up to date.
func (w *world) publish() Result {
	w.t.Helper()
	for {
		r, err := w.p.Publish(w.t.Context(), w.source())
		require.NoError(w.t, err)
		if !r.Created {
			return r
		}
	}
}

// read is the table as readers find it.
func (w *world) read() *commit {
	w.t.Helper()
	c := &commit{Publisher: w.p, src: w.source(), now: w.now, location: "s3://b/"}
	require.NoError(w.t, c.begin(w.t.Context()))
	return c
}

// check wants the table to have the section's files and rows, and all that its
// metadata names to be there.
func (w *world) check() *commit {
	w.t.Helper()
	c := w.read()
	rows := make(map[string]int64)
	for _, f := range c.live {
		rows[f.object] += f.rows()
	}
	want := make(map[string]int64)
	for _, f := range w.section.Columnar {
		want[f.Object] = f.Next - max(f.First, w.section.LogStart)
	}
	require.Equal(w.t, want, rows)
	require.NoError(w.t, Objects(w.t.Context(), w.p.Bucket, c.src.Seen.Object, func(object string) {
		_, err := w.p.Bucket.Head(w.t.Context(), object)
		require.NoError(w.t, err, object)
	}))
	return c
}

// tidy deletes what is marked, at once.
func (w *world) tidy() (deleted int) {
	marks, err := w.p.Store.Deletions(w.t.Context())
	require.NoError(w.t, err)
	for _, d := range marks {
		require.NoError(w.t, w.p.Bucket.Delete(w.t.Context(), d.Object))
	}
	require.NoError(w.t, w.p.Store.ForgetDeletions(w.t.Context(), marks...))
	return len(marks)
}

func TestManifestsAreMergedAndOldSnapshotsGo(t *testing.T) {
	w := newWorld(t, objmemory.New(), memory.New())
	for i := range int64(24) {
		w.section.Columnar = append(w.section.Columnar, w.file(10*i, 10*i+10))
		w.section.LogStart = min(i, 3) // within the first file: position deletes
		w.now = w.now.Add(time.Millisecond)
		w.publish()
		w.tidy()
		require.LessOrEqual(t, len(w.read().manifests), mergeFrom+3)
	}
	c := w.check()
	require.Equal(t, int64(24), c.totals.files)
	require.Greater(t, len(c.base.Snapshots()), 24)
	var merged int64
	for _, m := range c.manifests {
		if m.ManifestContent() == ice.ManifestContentData {
			merged = max(merged, int64(m.ExistingDataFiles()))
		}
	}
	require.GreaterOrEqual(t, merged, int64(mergeFrom))

	metadata, _, err := Metadata(t.Context(), w.p.Bucket, c.src.Seen.Object)
	require.NoError(t, err)
	metadata, err = OnlyReferenced(metadata)
	require.NoError(t, err)
	now, err := table.ParseMetadataBytes(metadata)
	require.NoError(t, err)
	require.Len(t, now.Snapshots(), 1)
	require.Equal(t, c.snapshot.SnapshotID, now.CurrentSnapshot().SnapshotID)

	oldest := c.src.Seen.Revision
	w.p.Retention, w.now = 0, w.now.Add(time.Second)
	r := w.publish()
	require.True(t, r.Changed)
	require.True(t, r.Expires.IsZero())
	require.Greater(t, w.tidy(), 24)
	c = w.check()
	require.Len(t, c.base.Snapshots(), 1)
	require.Greater(t, c.src.Seen.Revision, oldest, "what only old snapshots had is let go")
	require.False(t, w.publish().Changed)
}

// A commit of several snapshots: those on the way lack records, and have files that
// are gone by the revision that the last one shows.
func TestOnlyTheLastSnapshotOfACommitTellsOffsets(t *testing.T) {
	w := newWorld(t, objmemory.New(), memory.New())
	w.section.Columnar = []manifest.File{w.file(0, 10), w.file(10, 20)}
	w.section.Marks.Columnar = 20
	w.publish()
	first := w.read().src.Seen.Revision
	w.section.Columnar = []manifest.File{w.file(0, 20), w.file(20, 30)}
	w.section.Marks.Columnar, w.section.LogStart = 30, 5
	w.publish()
	var told [][3]string
	for _, s := range w.check().base.Snapshots() {
		p := s.Summary.Properties
		told = append(told, [3]string{string(s.Summary.Operation), p[summaryStart+"0"], p[summaryEnd+"0"]})
		if s.Summary.Operation == table.OpOverwrite {
			require.Equal(t, strconv.FormatInt(first, 10), p[summaryRevision])
		}
	}
	require.Equal(t, [][3]string{{"append", "0", "20"}, {"overwrite", "", ""}, {"append", "", ""}, {"delete", "5", "30"}}, told)
}

func TestAClockThatIsBehindDoesNotHoldATableUp(t *testing.T) {
	w := newWorld(t, objmemory.New(), memory.New())
	w.now = time.Now().Add(3 * time.Hour)
	w.section.Columnar = []manifest.File{w.file(0, 10)}
	w.publish()
	ahead := w.read().snapshot.TimestampMs
	w.now = time.Now()
	w.section.Columnar = append(w.section.Columnar, w.file(10, 20))
	w.publish()
	require.Equal(t, ahead+1, w.check().snapshot.TimestampMs)
	src := w.source()
	src.Fixed = map[string]string{"more": "int64"}
	r, err := w.p.Publish(t.Context(), src)
	require.NoError(t, err)
	require.False(t, r.Changed, "what is no snapshot waits until the clock has caught up")
	require.Equal(t, ahead+1, r.Expires.UnixMilli())
	w.now = time.Now().Add(-time.Hour)
	w.section.Columnar = append(w.section.Columnar, w.file(20, 30))
	w.publish()
	require.Equal(t, ahead+2, w.check().snapshot.TimestampMs)
}

func TestTheSummariesOfManyPartitionsAreShort(t *testing.T) {
	w := newWorld(t, objmemory.New(), memory.New())
	w.section.Columnar = []manifest.File{w.file(0, 10)}
	w.publish()
	src := w.source()
	for i := range int32(1000) {
		src.Sections = append(src.Sections, manifest.Section{Partition: topic.Partition{Topic: w.topic.ID, Index: i + 1}})
	}
	src.Sections[0].Columnar = append(src.Sections[0].Columnar, w.file(10, 20))
	_, err := w.p.Publish(t.Context(), src)
	require.NoError(t, err)
	require.Less(t, len(w.read().snapshot.Summary.Properties), 30)
}

func TestASnapshotIsKeptForItsTimeAfterItWasSuperseded(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	all := []table.Snapshot{{TimestampMs: at.UnixMilli()}, {TimestampMs: at.Add(time.Hour).UnixMilli()}, {TimestampMs: at.Add(2 * time.Hour).UnixMilli()}}
	for after, want := range map[time.Duration]int{0: 0, 90 * time.Minute: 0, 2 * time.Hour: 1, 150 * time.Minute: 1, 3 * time.Hour: 2, 99 * time.Hour: 2} {
		require.Equal(t, want, expired(all, at.Add(after), time.Hour), after.String())
	}
	require.Zero(t, expired(nil, at, 0))
}

func TestAPublishThatFailsAnywhereIsMadeGoodByTheNext(t *testing.T) {
	for _, where := range []string{"get * fail-before", "put * fail-before", "put * fail-after", "txn fail-before", "txn fail-after", "txn lose"} {
		for nth := 1; ; nth++ {
			bucket, store := faults.New(objmemory.New(), faults.Plan{}), kvfaults.New(memory.New(), kvfaults.Plan{})
			w := newWorld(t, bucket, store)
			first, second := w.file(0, 10), w.file(10, 20)
			w.section.Columnar = []manifest.File{first, second}
			w.publish()
			w.section.Columnar, w.section.LogStart = []manifest.File{w.file(0, 20), w.file(20, 25)}, 5
			src := w.source()
			struck := func() bool {
				if effect, ofStore := bytes.CutPrefix([]byte(where), []byte("txn ")); ofStore {
					plan, err := kvfaults.ParsePlan(fmt.Sprintf("txn /iceberg/ %s nth=%d", effect, nth))
					require.NoError(t, err)
					store.Use(plan)
					_, _ = w.p.Publish(t.Context(), src) // it may go well: a lost answer is settled
					struck := store.Struck()[0] > 0
					store.Use(kvfaults.Plan{})
					store.Settle()
					return struck
				}
				plan, err := faults.ParsePlan(fmt.Sprintf("%s nth=%d", where, nth))
				require.NoError(t, err)
				bucket.Use(plan)
				_, err = w.p.Publish(t.Context(), src)
				struck := bucket.Struck()[0] > 0
				require.Equal(t, struck, err != nil, "%s %d", where, nth)
				bucket.Use(faults.Plan{})
				return struck
			}()
			w.publish()
			w.check()
			w.tidy()
			w.check()
			if !struck {
				require.Greater(t, nth, 1, where)
				break
			}
		}
	}
}
