package compactor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// partitionWith is a partition with ranges of 10 offsets, each so many bytes and
// committed a second after the other, above log files of 10 offsets each.
func partitionWith(config map[string]string, logged int, pending ...int64) snapshot {
	p := topic.Partition{Topic: topic.ID{1}, Index: 0}
	s := snapshot{config: topicconfig.Resolve(config, nil)}
	s.view.Partition, s.view.Topic = p, &metastore.Topic{Name: "t", ID: p.Topic, Partitions: 1}
	for i := range logged {
		s.section.Log = append(s.section.Log, manifest.File{Object: fmt.Sprint(i), Size: 100, First: int64(i) * 10, Next: int64(i+1) * 10, MaxTimestamp: epoch.UnixMilli()})
	}
	mark := int64(logged) * 10
	s.view.Manifest.Marks.Log = mark
	s.section.Marks.Log = mark
	for i, bytes := range pending {
		id := ulid.MustNew(ulid.Timestamp(epoch.Add(time.Duration(i)*time.Second)), nil)
		first := mark + int64(i)*10
		s.view.Ranges = append(s.view.Ranges, metastore.RangeRef{
			SegmentRange: metastore.SegmentRange{Partition: p, First: first, Next: first + 10, Length: bytes, MaxTimestamp: epoch.UnixMilli()},
			Segment:      &metastore.Segment{ID: id.String()},
		})
	}
	return s
}

func TestDecide(t *testing.T) {
	policy := Policy{FirstBytes: 1000, FirstAge: time.Minute, PlainAge: time.Hour, PassBytesMax: 3000}.withDefaults()
	columnar := map[string]string{"columnar.enabled": "true"}
	for _, c := range []struct {
		name          string
		snap          snapshot
		marked        int64 // columnar
		logStart      int64
		after         time.Duration
		log, columnar span
		again         time.Duration // 0: none
	}{
		{name: "nothing is committed", snap: partitionWith(columnar, 0)},
		{name: "young and small", snap: partitionWith(columnar, 0, 100, 100), after: 59 * time.Second, again: time.Minute},
		{name: "old enough", snap: partitionWith(columnar, 0, 100, 100), after: time.Minute, log: span{0, 20}, columnar: span{0, 20}},
		{name: "large enough", snap: partitionWith(columnar, 0, 500, 500), log: span{0, 20}, columnar: span{0, 20}},
		{name: "nobody waits for a plain one", snap: partitionWith(nil, 0, 500), after: time.Minute, again: time.Hour},
		{name: "not for ever", snap: partitionWith(nil, 0, 500), after: time.Hour, log: span{0, 10}},
		{name: "no more than a pass takes", snap: partitionWith(columnar, 0, 1000, 1000, 1000, 1000, 1000), log: span{0, 30}, columnar: span{0, 30}},
		{name: "after log files", snap: partitionWith(columnar, 2, 1000), marked: 20, log: span{20, 30}, columnar: span{20, 30}},
		{name: "the table is behind", snap: partitionWith(columnar, 2, 10), marked: 5, columnar: span{5, 20}, again: time.Minute},
		{name: "the table is behind and there is more", snap: partitionWith(columnar, 2, 1000), marked: 5, log: span{20, 30}, columnar: span{5, 30}},
		{name: "the table begins at the log start", snap: partitionWith(columnar, 2), logStart: 15, columnar: span{15, 20}},
		{name: "the table is ahead", snap: partitionWith(columnar, 0, 1000, 1000), marked: 10, log: span{0, 20}, columnar: span{10, 20}},
	} {
		c.snap.view.Manifest.Marks.Columnar, c.snap.view.Manifest.LogStart = c.marked, c.logStart
		got, again := policy.decide(c.snap, epoch.Add(c.after))
		if got.log != c.log || got.columnar != c.columnar {
			t.Errorf("%s: log %v, columnar %v; want %v, %v", c.name, got.log, got.columnar, c.log, c.columnar)
		}
		if c.again == 0 != again.IsZero() || c.again != 0 && !again.Equal(epoch.Add(c.again)) {
			t.Errorf("%s: again %v, want %v later", c.name, again, c.again)
		}
	}
}

func TestRetention(t *testing.T) {
	for _, c := range []struct {
		config map[string]string
		after  time.Duration
		want   int64
	}{
		{nil, 24 * time.Hour, 0},
		{nil, 8 * 24 * time.Hour, 50}, // Kafka's default is 7 days
		{map[string]string{"retention.ms": "-1"}, 1000 * 24 * time.Hour, 0},
		{map[string]string{"retention.ms": "1000"}, 999 * time.Millisecond, 0},
		{map[string]string{"retention.ms": "1000"}, 1001 * time.Millisecond, 50},
		{map[string]string{"retention.bytes": "250"}, 0, 20}, // 300 bytes are the least that is not below 250
		{map[string]string{"retention.bytes": "0"}, 0, 50},
		{map[string]string{"retention.bytes": "250", "cleanup.policy": "compact"}, 0, 0},
		{map[string]string{"retention.bytes": "250", "cleanup.policy": "compact,delete"}, 0, 20},
	} {
		policy := Policy{}.withDefaults()
		if got := policy.retained(partitionWith(c.config, 5), epoch.Add(c.after)); got != c.want {
			t.Errorf("%v after %v: log start %d, want %d", c.config, c.after, got, c.want)
		}
	}
}

// What waits in segments counts for retention as what is in log files does, and
// goes without having been written anew.
func TestRetentionReachesIntoSegments(t *testing.T) {
	policy := Policy{FirstBytes: 10_000}.withDefaults()
	for _, c := range []struct {
		name     string
		config   map[string]string
		after    time.Duration
		logStart int64
		log      span
	}{
		{"young", map[string]string{"retention.ms": "3600000"}, 59 * time.Minute, 0, span{}},
		{"old", map[string]string{"retention.ms": "3600000"}, 61 * time.Minute, 50, span{20, 50}},
		{"old for its topic and written only now", map[string]string{"retention.ms": "1000"}, 50 * time.Second, 20, span{}},
		{"old for its topic and written a while ago", map[string]string{"retention.ms": "1000"}, 61 * time.Second, 40, span{20, 40}},
		{"too much", map[string]string{"retention.bytes": "250"}, 59 * time.Second, 20, span{}},
		{"too much for a while", map[string]string{"retention.bytes": "250"}, time.Hour, 20, span{}}, // 300 bytes are left
		{"far too much", map[string]string{"retention.bytes": "100"}, time.Hour, 40, span{20, 40}},
		{"only compacted", map[string]string{"cleanup.policy": "compact", "retention.ms": "1000"}, time.Hour, 0, span{}},
	} {
		got, _ := policy.decide(partitionWith(c.config, 2, 100, 100, 100), epoch.Add(c.after))
		if got.logStart != c.logStart || got.log != c.log {
			t.Errorf("%s: log start %d, log %v; want %d, %v", c.name, got.logStart, got.log, c.logStart, c.log)
		}
	}
}

// While a range is written anew, its segment may be merged with earlier ones: what
// is in log files already counts once.
func TestRetentionCountsNothingTwice(t *testing.T) {
	policy := Policy{}.withDefaults()
	s := partitionWith(map[string]string{"retention.bytes": "250"}, 3, 100)
	require.Equal(t, int64(10), policy.retained(s, epoch), "300 bytes are left")
	s.view.Ranges[0].First, s.view.Ranges[0].Length = 0, 400
	require.Equal(t, int64(0), policy.retained(s, epoch), "200 bytes would be left for sure")
	s.config.RetentionBytes = 200
	require.Equal(t, int64(10), policy.retained(s, epoch))
}

func TestAMergeSpansNoMoreThanAnEighthOfTheRetention(t *testing.T) {
	policy := Policy{MergeFiles: 2}.withDefaults()
	s := partitionWith(map[string]string{"retention.ms": "8000"}, 10)
	for i := range s.section.Log {
		s.section.Log[i].MinTimestamp = epoch.UnixMilli() + int64(i)*300
		s.section.Log[i].MaxTimestamp = epoch.UnixMilli() + int64(i)*300 + 299
	}
	got, _ := policy.decide(s, epoch)
	require.Len(t, got.mergeLog, 3, "900 ms, and not 1200")
	s.config.RetentionMs = -1
	got, _ = policy.decide(s, epoch)
	require.Len(t, got.mergeLog, 10)
}

func TestMergesTakeNeighboursOfOneSize(t *testing.T) {
	policy := Policy{FileBytesMax: 64 << 10, MergeFiles: 4}.withDefaults()
	for _, c := range []struct {
		sizes       []int64
		first, next int // indices
	}{
		{[]int64{100, 100, 100}, 0, 0},
		{[]int64{100, 100, 100, 100}, 0, 4},
		{[]int64{9000, 100, 100, 100, 100}, 1, 5},
		{[]int64{100, 100, 9000, 100, 100}, 0, 0}, // it would be rewritten for next to nothing
		{[]int64{5000, 9000, 5000, 5000, 300}, 0, 5},
		{[]int64{20000, 20000, 20000, 20000}, 0, 0},                 // large enough
		{[]int64{16000, 16000, 16000, 16000}, 0, 4},                 // as large as a file may be
		{[]int64{100, 100, 20000, 100, 100}, 0, 0},                  // no neighbours
		{[]int64{900, 900, 900, 900, 5000, 5000, 5000, 5000}, 0, 4}, // the small ones first
	} {
		var files []manifest.File
		for i, size := range c.sizes {
			files = append(files, manifest.File{Size: size, First: int64(i), Next: int64(i + 1)})
		}
		run := policy.merge(files, 0, 0, math.MaxInt64)
		if len(run) != c.next-c.first || len(run) > 0 && run[0].First != int64(c.first) {
			t.Errorf("%v: merges %v", c.sizes, run)
		}
	}
}

// Whatever arrives, merging stays cheap and leaves few files.
func TestMergesRewriteAByteFewTimes(t *testing.T) {
	policy := Policy{}.withDefaults()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		scale := int64(1) << (10 + r.IntN(14))
		var files []manifest.File
		var arrived, rewritten int64
		for i := range int64(2000) {
			size := 1 + r.Int64N(scale)
			files = append(files, manifest.File{Size: size, First: i, Next: i + 1})
			arrived += size
			for run := policy.merge(files, 0, 0, math.MaxInt64); run != nil; run = policy.merge(files, 0, 0, math.MaxInt64) {
				merged := manifest.File{First: run[0].First, Next: run[len(run)-1].Next}
				for _, f := range run {
					merged.Size += f.Size
				}
				require.LessOrEqual(t, merged.Size, policy.FileBytesMax)
				rewritten += merged.Size
				var left []manifest.File
				for _, f := range files {
					switch {
					case f.First == merged.First:
						left = append(left, merged)
					case f.First < merged.First || f.First >= merged.Next:
						left = append(left, f)
					}
				}
				files = left
			}
		}
		grown := math.Log(float64(policy.FileBytesMax)/float64(scale/2)) / math.Log(float64(policy.MergeFiles)/2)
		require.Less(t, float64(rewritten)/float64(arrived), grown+1, "seed %d: files up to %d bytes", seed, scale)
		t.Logf("files of up to %d bytes: %d of them make %d, each byte was rewritten %.1f times", scale, 2000, len(files), float64(rewritten)/float64(arrived))
		require.Less(t, len(files), 60+int(2*arrived/(policy.FileBytesMax/int64(policy.MergeFiles))), "seed %d", seed)
	}
}

// Of columnar files no two neighbours are left that would make one file of a
// good size, and that costs one rewriting more at most.
func TestColumnarFilesGrowToHalfOfTheirBoundAtLeast(t *testing.T) {
	policy := Policy{}.withDefaults()
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 2))
		var files []manifest.File
		var arrived, rewritten int64
		for i := range int64(3000) {
			size := 1<<20 + r.Int64N(7<<20)
			files = append(files, manifest.File{Size: size, First: i, Next: i + 1})
			arrived += size
			for run := policy.mergeParts(files, none, 0, 0); run != nil; run = policy.mergeParts(files, none, 0, 0) {
				merged := manifest.File{First: run[0].First, Next: run[len(run)-1].Next}
				for _, f := range run {
					merged.Size += f.Size
				}
				require.LessOrEqual(t, merged.Size, policy.FileBytesMax)
				rewritten += merged.Size
				files = slices.DeleteFunc(slices.Clone(files), func(f manifest.File) bool { return f.First > merged.First && f.First < merged.Next })
				files[slices.IndexFunc(files, func(f manifest.File) bool { return f.First == merged.First })] = merged
			}
		}
		var large int64
		for _, f := range files {
			if f.Size >= policy.FileBytesMax/2 {
				large += f.Size
			}
		}
		amplification := float64(rewritten) / float64(arrived)
		t.Logf("%d files, %.1f %% of the bytes in large ones, each byte rewritten %.1f times", len(files), 100*float64(large)/float64(arrived), amplification)
		require.Greater(t, float64(large)/float64(arrived), 0.9)
		require.Less(t, amplification, 3.0)
	}
}

// none of the files is to be left out.
func none(manifest.File) bool { return false }

func TestColumnarFilesOfTwoPartitioningsAreNotMerged(t *testing.T) {
	policy := Policy{MergeFiles: 3}.withDefaults()
	file := func(first int64, part string) manifest.File {
		return manifest.File{Size: 1, First: first, Next: first + 10, TimePartition: part}
	}
	days := []manifest.File{file(0, "2026-11-23"), file(10, "2026-11-23"), file(30, "2026-11-23")}
	require.Len(t, policy.mergeParts(days, none, 0, 0), 3)
	require.Nil(t, policy.mergeParts(days, none, 5, 0), "what is cut by the log start stays")
	require.Nil(t, policy.mergeParts(append(days, file(20, "2026-11-23T07")), none, 0, 0))
	require.Len(t, policy.mergeParts(append(days, file(40, "2026-11-23T07")), none, 0, 0), 3)
	require.Len(t, policy.mergeParts(append(days, file(20, "2026-11-24")), none, 0, 0), 3)
}
