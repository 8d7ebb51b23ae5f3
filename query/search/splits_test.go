package search

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/snapshot"
)

var standard = func() textindex.Options {
	o, err := textindex.TopicOptions("standard", []string{"value"}, nil)
	if err != nil {
		panic(err) // the analyzer is one that there is
	}
	return o
}()

func (n *node) partition(index int) topic.Partition {
	return topic.Partition{Topic: n.topic.ID, Index: int32(index)}
}

// section is a partition's manifest, to be changed.
func (n *node) section(index int) (manifest.Section, metastore.ManifestRef) {
	p := n.partition(index)
	seen := n.store.Catalog().Partition(p).Manifest
	if seen.Object == "" {
		return manifest.Section{Partition: p, Topic: "logs"}, seen
	}
	s, err := n.config.Sources.Manifests.FetchManifest(context.Background(), seen, p)
	require.NoError(n.t, err)
	s.Text, s.Masks = slices.Clone(s.Text), slices.Clone(s.Masks)
	return s, seen
}

// swap puts a changed manifest in the place of another.
func (n *node) swap(section manifest.Section, seen metastore.ManifestRef) {
	ctx := context.Background()
	section.Version++
	object, places, err := manifest.Encode([]manifest.Section{section})
	require.NoError(n.t, err)
	name := objstore.ManifestName(ulid.Make())
	_, err = n.bucket.Put(ctx, name, objstore.Bytes(object), objstore.Condition{IfAbsent: true})
	require.NoError(n.t, err)
	ref := metastore.ManifestRef{
		Object: name, Position: places[0].Position, Length: places[0].Length, Version: section.Version,
		LogStart: section.LogStart, Marks: metastore.Marks(section.Marks),
	}
	require.NoError(n.t, n.store.SwapManifests(ctx, []metastore.ManifestSwap{{Partition: section.Partition, Seen: seen, New: ref}}, nil))
	require.NoError(n.t, n.store.CatchUp(ctx))
	// What query.Node does when the catalog has news.
	for _, key := range n.tails.Active() {
		marks, ok := n.config.Sources.Marks(key.ID, snapshot.Text)
		require.True(n.t, ok)
		n.tails.Trim(key, marks)
	}
}

// records are what is in a partition's log.
func (n *node) records(index int, first, next int64) (all []textindex.Record) {
	_, err := columnar.Walk(context.Background(), columnar.Of(n.broker.Batches(index, 0, next)), batch.NewDecoder(1<<20), first, next, func(r *batch.Record) error {
		all = append(all, textindex.Record{Offset: r.Offset, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
		return nil
	})
	require.NoError(n.t, err)
	return all
}

// put stores a split.
func (n *node) put(index int, first, next int64, content []byte, r textindex.Result) manifest.File {
	f := manifest.File{
		Object: objstore.SplitName(n.partition(index), ulid.Make()), Size: r.Size, CRC: crc32.Checksum(content, format.Castagnoli), First: first, Next: next,
		Records: int64(r.Documents), MinTimestamp: r.TimestampMin, MaxTimestamp: r.TimestampMax, Format: "split", CreatedAt: 1,
		Footer: r.Footer, Settings: standard.Settings(),
	}
	_, err := n.bucket.Put(context.Background(), f.Object, objstore.Bytes(content), objstore.Condition{IfAbsent: true})
	require.NoError(n.t, err)
	return f
}

// compact makes a split of the records from the text mark to next.
func (n *node) compact(index int, next int64) manifest.File {
	section, seen := n.section(index)
	first := max(section.Marks.Text, section.LogStart)
	m := textindex.NewMemory(standard)
	for _, r := range n.records(index, first, next) {
		require.NoError(n.t, m.Append(r))
	}
	var out bytes.Buffer
	r, err := m.Write(&out)
	require.NoError(n.t, err)
	f := n.put(index, first, next, out.Bytes(), r)
	section.Text = append(section.Text, f)
	section.Marks.Text = next
	n.swap(section, seen)
	return f
}

// merge makes one split of all splits of a partition.
func (n *node) merge(index int) {
	section, seen := n.section(index)
	var files []*textindex.File
	for _, f := range section.Text {
		content, err := n.bucket.Get(context.Background(), f.Object, 0, -1)
		require.NoError(n.t, err)
		file, err := textindex.Open(context.Background(), textindex.Bytes(content), f.Footer)
		require.NoError(n.t, err)
		files = append(files, file)
	}
	var out bytes.Buffer
	r, err := textindex.Merge(context.Background(), &out, files, textindex.MergeOptions{First: section.LogStart})
	require.NoError(n.t, err)
	merged := n.put(index, section.Text[0].First, section.Text[len(section.Text)-1].Next, out.Bytes(), r)
	old := section.Text
	section.Text = []manifest.File{merged}
	n.swap(section, seen)
	for _, f := range old {
		require.NoError(n.t, n.bucket.Delete(context.Background(), f.Object), "sooner than a compactor does")
	}
}

func (n *node) produce(index, count int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(index)))
	values := make([]string, count)
	for i := range values {
		var words []string
		for range 3 + rng.IntN(20) {
			words = append(words, fmt.Sprintf("w%d", int(rng.ExpFloat64()*20)))
		}
		value, err := json.Marshal(map[string]any{"body": strings.Join(words, " "), "level": fmt.Sprintf("l%d", rng.IntN(4)), "n": rng.IntN(1000)})
		require.NoError(n.t, err)
		values[i] = string(value)
	}
	n.broker.Produce(n.t, index, 0, values...)
}

// questions of all kinds, whose answers say everything.
var questions = []string{
	`{"query":{"match":{"body":"w1 w7 w30"}},"size":20,"track_total_hits":true}`,
	`{"query":{"match_phrase":{"body":"w0 w1"}},"size":20,"track_total_hits":true}`,
	`{"query":{"bool":{"must":{"match":{"body":"w3"}},"filter":{"range":{"n":{"gte":200}}}}},"size":20,"track_total_hits":true}`,
	`{"query":{"wildcard":{"body":"w1*"}},"sort":[{"n":"desc"},"_timestamp"],"size":20,"track_total_hits":true}`,
	`{"size":0,"track_total_hits":true,"aggs":{"level":{"terms":{"field":"level"},"aggs":{"n":{"stats":{"field":"n"}}}},"d":{"cardinality":{"field":"body.keyword"}}}}`,
	`{"query":{"multi_match":{"query":"w5 l2","fields":["body","level"]}},"size":15,"track_total_hits":true}`,
}

// digits is an answer with all of its digits, but for what it took.
func digits(t testing.TB, r textsearch.Result) string {
	r.PartsTotal, r.PartsSkipped = 0, 0
	text, err := json.Marshal(r)
	require.NoError(t, err)
	return string(text)
}

// whole is what a search answers over one split of each partition.
func (n *node) whole(body string, partitions int, next int64) string {
	var s textsearch.Searcher
	for p := range partitions {
		m := textindex.NewMemory(standard)
		for _, r := range n.records(p, 0, next) {
			require.NoError(n.t, m.Append(r))
		}
		s.Parts = append(s.Parts, textsearch.Part{Topic: "logs", Partition: int32(p), Split: m.Snapshot(), Analyzer: standard.Analyzer})
	}
	r, err := textquery.Parse([]byte(body))
	require.NoError(n.t, err)
	result, err := s.Search(context.Background(), r)
	require.NoError(n.t, err)
	return digits(n.t, *result)
}

// While splits take over the tail, piece by piece, and are merged, each answer is
// the same to the last digit.
func TestAnswersAreTheSameWhileSplitsTakeOverTheTail(t *testing.T) {
	const partitions, batches, each = 2, 30, 40
	n := newNode(t, partitions)
	for i := range batches {
		for p := range partitions {
			n.produce(p, each, uint64(i))
		}
	}
	var expected []string
	for _, q := range questions {
		expected = append(expected, n.whole(q, partitions, batches*each))
	}
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		for i := range batches {
			for p := range partitions {
				n.compact(p, int64(i+1)*each-int64(7*p)%each)
				if i%5 == 4 {
					n.merge(p)
				}
			}
		}
	}()
	reads := 0
	for running := true; running || reads < 500; reads++ {
		select {
		case <-done:
			running = false
		default:
		}
		q := reads % len(questions)
		a := n.ask(questions[q])
		require.Equal(t, expected[q], digits(t, a.Result), questions[q])
		for p := range int32(partitions) {
			require.Equal(t, snapshot.PartitionCoverage{From: 0, To: batches * each, HighWatermark: batches * each}, a.Coverage["logs"].Partitions[p])
		}
	}
	t.Logf("%d reads", reads)
	require.EqualValues(t, batches*each, n.ask(`{"track_total_hits":true,"query":{"term":{"_partition":"0"}}}`, Options{Freshness: "cold"}).Total)
}

// Each record is there once, and from its acknowledgement on, while records come,
// splits are made and merged.
func TestEveryRecordIsFoundOnceWhileRecordsCome(t *testing.T) {
	n := newNode(t, 1)
	const rounds, each = 60, 10
	for i := range rounds {
		n.produce(0, each, uint64(i))
		a := n.ask(`{"size":1000,"sort":["_offset"],"track_total_hits":true}`)
		require.Len(t, a.Hits, (i+1)*each)
		for o, h := range a.Hits {
			require.EqualValues(t, o, h.Offset)
		}
		if i%3 == 2 {
			n.compact(0, int64(i)*each-3)
		}
		if i%12 == 11 {
			n.merge(0)
		}
	}
	require.Eventually(t, func() bool { return n.tails.Bytes() < 1<<20 }, 10*time.Second, time.Millisecond, "what splits have is let go")
}

func TestWhatIsDeletedIsNotFound(t *testing.T) {
	n := newNode(t, 1)
	n.produce(0, 50, 1)
	n.compact(0, 30)
	n.compact(0, 40)
	ids := func(o Options) (offsets []int64) {
		for _, h := range n.ask(`{"size":100,"sort":["_offset"]}`, o).Hits {
			offsets = append(offsets, h.Offset)
		}
		return offsets
	}
	require.Len(t, ids(Options{}), 50)

	// Compaction by key took some records out of the log.
	section, seen := n.section(0)
	var mask bytes.Buffer
	require.NoError(t, columnar.WriteOffsets(&mask, []int64{3, 7, 31, 32}))
	name := objstore.ParquetName(n.partition(0), ulid.Make())
	_, err := n.bucket.Put(t.Context(), name, objstore.Bytes(mask.Bytes()), objstore.Condition{})
	require.NoError(t, err)
	section.Masks = []manifest.File{{Object: name, Size: int64(mask.Len()), CRC: crc32.Checksum(mask.Bytes(), format.Castagnoli), First: 3, Next: 33, Records: 4, Format: "parquet"}}
	section.Text[0].Masked, section.Text[1].Masked = 2, 2
	section.Marks.Log = 40
	n.swap(section, seen)
	want := slices.DeleteFunc(sequence(0, 50), func(o int64) bool { return slices.Contains([]int64{3, 7, 31, 32}, o) })
	require.Equal(t, want, ids(Options{}))
	hit, err := n.Doc(t.Context(), "logs", 0, 31, Options{})
	require.NoError(t, err)
	require.Nil(t, hit)
	counts, err := n.Counts(t.Context(), []string{"logs"})
	require.NoError(t, err)
	require.Equal(t, Counts{Documents: 46, Deleted: 4, Bytes: section.Text[0].Size + section.Text[1].Size}, counts["logs"])

	// DeleteRecords: the brokers know of it first, and then the catalog.
	n.broker.StartAt(0, 50)
	n.produce(0, 1, 2)
	require.Equal(t, []int64{50}, ids(Options{}))
	section, seen = n.section(0)
	section.LogStart = 35
	n.swap(section, seen)
	require.Equal(t, sequence(35, 40), ids(Options{Freshness: "cold"}))
	hit, err = n.Doc(t.Context(), "logs", 0, 34, Options{Freshness: "cold"})
	require.NoError(t, err)
	require.Nil(t, hit)
}

func sequence(first, next int64) (all []int64) {
	for o := first; o < next; o++ {
		all = append(all, o)
	}
	return all
}

// A topic of the same name is another one: nothing of its predecessor is found.
func TestATopicThatIsMadeAgainBeginsEmpty(t *testing.T) {
	n := newNode(t, 1)
	n.produce(0, 20, 1)
	n.compact(0, 10)
	require.Len(t, n.ask(`{"size":100}`).Hits, 20)
	require.NoError(t, n.store.DeleteTopic(t.Context(), "logs"))
	var err error
	n.topic, err = n.store.CreateTopic(t.Context(), metastore.Topic{Name: "logs", Partitions: 1, Config: map[string]string{"searchable": "true"}})
	require.NoError(t, err)
	n.broker.StartAt(0, 0)
	require.Empty(t, n.ask(`{"size":100}`).Hits)
	n.produce(0, 3, 2)
	require.Len(t, n.ask(`{"size":100}`).Hits, 3)
}

// No compactor can make a manifest again: the answer names it, and reports nothing.
func TestADamagedManifestIsNamedAndNeverPassedOver(t *testing.T) {
	for _, what := range []string{"damaged", "missing"} {
		t.Run(what, func(t *testing.T) {
			n := newNode(t, 1)
			n.produce(0, 5, 1)
			n.compact(0, 5)
			ref := n.store.Catalog().Partition(n.partition(0)).Manifest
			sound, err := n.bucket.Get(t.Context(), ref.Object, 0, -1)
			require.NoError(t, err)
			if what == "missing" {
				require.NoError(t, n.bucket.Delete(t.Context(), ref.Object))
			} else {
				flipped := bytes.Clone(sound)
				flipped[ref.Position+40] ^= 1
				_, err = n.bucket.Put(t.Context(), ref.Object, objstore.Bytes(flipped), objstore.Condition{})
				require.NoError(t, err)
			}
			for range 2 {
				_, err = n.try(questions[0], Options{})
				var damaged *DamagedError
				require.ErrorAs(t, err, &damaged)
				require.Equal(t, "logs", damaged.Topic)
				require.Equal(t, ref.Object, damaged.Object)
				require.Equal(t, what == "missing", damaged.Missing)
				require.False(t, damaged.Reported)
				require.ErrorContains(t, err, "cannot be made again")
			}
			_, err = n.bucket.Put(t.Context(), ref.Object, objstore.Bytes(sound), objstore.Condition{})
			require.NoError(t, err)
			require.Len(t, n.ask(`{"size":1000}`).Hits, 5, "once it is back, it is read")
		})
	}
}

func TestADamagedSplitIsReportedAndNeverPassedOver(t *testing.T) {
	for what, damage := range map[string]func(n *node, object string, b []byte) error{
		"missing": func(n *node, object string, _ []byte) error { return n.bucket.Delete(t.Context(), object) },
		"truncated": func(n *node, object string, b []byte) error {
			_, err := n.bucket.Put(t.Context(), object, objstore.Bytes(b[:len(b)/2]), objstore.Condition{})
			return err
		},
		"flipped": func(n *node, object string, b []byte) error {
			for i := 8; i < len(b); i += 50 {
				b[i] ^= 1
			}
			_, err := n.bucket.Put(t.Context(), object, objstore.Bytes(b), objstore.Condition{})
			return err
		},
	} {
		for _, size := range []int{5, 300} { // fetched whole, and read by ranges
			t.Run(fmt.Sprint(what, size), func(t *testing.T) {
				n := newNode(t, 1)
				n.produce(0, size, 1)
				f := n.compact(0, int64(size))
				n.produce(0, size, 2)
				sound, err := n.bucket.Get(t.Context(), f.Object, 0, -1)
				require.NoError(t, err)
				if size == 300 {
					n.ask(`{"size":0}`) // its footer is known
				}
				require.NoError(t, damage(n, f.Object, bytes.Clone(sound)))
				for range 2 {
					_, err = n.try(questions[0], Options{})
					var damaged *DamagedError
					require.ErrorAs(t, err, &damaged)
					require.Equal(t, "logs", damaged.Topic)
					require.Equal(t, f.Object, damaged.Object)
					require.True(t, damaged.Reported)
				}
				reports := n.store.Catalog().Partition(n.partition(0)).Damaged
				require.Len(t, reports, 1)
				require.Equal(t, f.Object, reports[0].Object)

				_, err = n.bucket.Put(t.Context(), f.Object, objstore.Bytes(sound), objstore.Condition{})
				require.NoError(t, err)
				require.Len(t, n.ask(`{"size":1000}`).Hits, 2*size, "once it is back, it is read")
			})
		}
	}
}

// What cannot match is not read, and goes on to count in scores.
func TestSplitsThatCannotMatchAreSkipped(t *testing.T) {
	n := newNode(t, 1)
	for i := range 6 {
		n.produce(0, 100, uint64(i))
		n.compact(0, int64(i+1)*100)
	}
	const query = `{"query":{"bool":{"must":{"match":{"body":"w1 w2"}},"filter":{"range":{"_timestamp":{"gte":%d,"lt":%d}}}}},"size":20,"track_total_hits":true}`
	body := fmt.Sprintf(query, 1_700_000_000_200, 1_700_000_000_300)
	a := n.ask(body)
	require.Equal(t, 5, a.PartsSkipped)
	require.NotEmpty(t, a.Hits)
	require.Equal(t, n.whole(body, 1, 600), digits(t, a.Result))
	require.Equal(t, 6, n.ask(`{"query":{"term":{"level":"nowhere"}}}`).PartsSkipped)
	a = n.ask(`{"size":0,"query":{"range":{"_timestamp":{"gte":1700000000599}}},"aggs":{"n":{"max":{"field":"n"}}},"track_total_hits":true}`)
	require.EqualValues(t, 1, a.Total)
	require.Equal(t, 5, a.PartsSkipped)
}

func TestARequestsOwnTimeoutMakesAPartialAnswer(t *testing.T) {
	n := newNode(t, 1)
	n.produce(0, 300, 1)
	n.compact(0, 200)
	a := n.ask(`{"timeout":"1nanos","track_total_hits":true}`)
	require.True(t, a.TimedOut)
	require.Less(t, a.Total, int64(300))
	require.False(t, n.ask(`{"timeout":"1m"}`).TimedOut)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := n.Search(ctx, []string{"logs"}, textquery.NewRequest(), Options{})
	require.ErrorIs(t, err, context.Canceled)
}
