package vector

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// truth are the nearest records to a text, compared one by one.
func truth(records []logged, text string, k int, pass func(logged) bool) []Hit {
	q := embeddertest.Vector(text, dimensions)
	var all []Hit
	for _, r := range records {
		if pass == nil || pass(r) {
			all = append(all, Hit{Partition: r.partition, Offset: r.offset, Timestamp: r.timestamp, Distance: float32(vectorindex.Cosine.Distance(q, r.vector))})
		}
	}
	slices.SortStableFunc(all, func(x, y Hit) int { return cmp.Compare(x.Distance, y.Distance) })
	return all[:min(k, len(all))]
}

// near compares what was found with the truth: those at the distance of the last are
// as good as it.
func near(t *testing.T, want, got []Hit) {
	t.Helper()
	require.Len(t, got, len(want))
	seen := map[[2]int64]bool{}
	for i, h := range got {
		require.InDelta(t, want[i].Distance, h.Distance, 1e-5, "hit %d", i)
		require.InDelta(t, 1-h.Distance/2, h.Score, 1e-6)
		seen[[2]int64{int64(h.Partition), h.Offset}] = true
	}
	require.Len(t, seen, len(got), "each once")
}

func TestTheNearestOfAllPartitionsAreFound(t *testing.T) {
	const partitions = 3
	n := newNode(t, partitions)
	var all []logged
	for p := range partitions {
		for i := range 4 {
			n.say(p, 100, i)
			if i%2 == 1 {
				n.index(p, int64(100*i+100))
			}
		}
		all = append(all, n.logged(p, 0, 400)...)
	}
	require.Positive(t, n.config.Shards.Counts().Mapped+1)
	middle := all[600].timestamp
	filters := map[string]struct {
		filter Filter
		pass   func(logged) bool
	}{
		"none":         {Filter{}, nil},
		"partitions":   {Filter{Partitions: []int32{0, 2, 9}}, func(r logged) bool { return r.partition != 1 }},
		"no partition": {Filter{Partitions: []int32{}}, func(logged) bool { return false }},
		"offsets":      {Filter{MinOffset: pointer(int64(150)), MaxOffset: pointer(int64(160))}, func(r logged) bool { return r.offset >= 150 && r.offset <= 160 }},
		"one offset":   {Filter{MinOffset: pointer(int64(399)), MaxOffset: pointer(int64(399)), Partitions: []int32{1}}, func(r logged) bool { return r.offset == 399 && r.partition == 1 }},
		"from":         {Filter{MinTimestamp: &middle}, func(r logged) bool { return r.timestamp >= middle }},
		"to":           {Filter{MaxTimestamp: &middle}, func(r logged) bool { return r.timestamp <= middle }},
		"nothing":      {Filter{MinOffset: pointer(int64(1000))}, func(logged) bool { return false }},
		"upside down":  {Filter{MinOffset: pointer(int64(20)), MaxOffset: pointer(int64(10))}, func(logged) bool { return false }},
	}
	for round := range 3 {
		for name, f := range filters {
			t.Run(fmt.Sprint(name, round), func(t *testing.T) {
				for _, k := range []int{1, 10, 250, 2000} {
					text := sentence(round*10_000 + 1000 + k)
					want := truth(all, text, k, f.pass)
					a := n.ask(Request{Text: text, K: k, Filter: f.filter})
					near(t, want, a.Hits)
					require.EqualValues(t, 1200, a.TotalVectors)
					require.Empty(t, a.Warnings)
					require.Zero(t, a.Coverage.LagRecords)
					given := n.ask(Request{Vector: embeddertest.Vector(text, dimensions), K: k, Filter: f.filter, Bare: true})
					near(t, want, given.Hits)
				}
			})
		}
	}
	a := n.ask(Request{Text: all[777].text, K: 3, Values: true, Embeddings: true})
	require.Equal(t, Hit{
		Topic: "logs", Partition: 1, Offset: 377, Timestamp: all[777].timestamp, Distance: a.Hits[0].Distance, Score: a.Hits[0].Score,
		Preview: all[777].text, Key: []byte("k377"), Value: []byte(all[777].text), Embedding: embeddertest.Vector(all[777].text, dimensions),
	}, a.Hits[0])
	require.InDelta(t, 0, a.Hits[0].Distance, 1e-5)
	require.Equal(t, snapshot.PartitionCoverage{From: 0, To: 400, HighWatermark: 400}, a.Coverage.Partitions[2])
	for _, h := range a.Hits {
		require.Len(t, h.Embedding, dimensions)
	}
	require.Empty(t, n.ask(Request{Text: "x", Bare: true}).Hits[0].Preview)
}

// While small shards are made and merged, every record is found once, however often
// its shard is another one, and none that was deleted.
func TestEveryVectorIsFoundOnceWhileShardsAreMerged(t *testing.T) {
	const batches, each = 40, 10
	n := newNode(t, 2)
	for i := range batches {
		for p := range 2 {
			n.say(p, each, i)
		}
	}
	n.index(0, each)
	n.index(1, each)
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		for i := 2; i <= batches; i++ {
			for p := range 2 {
				n.index(p, int64(i)*each)
				if i%4 == p {
					n.merge(p)
				}
			}
		}
	}()
	for running, reads := true, 0; running || reads < 50; reads++ {
		select {
		case <-done:
			running = false
		default:
		}
		a := n.ask(Request{Text: sentence(reads), K: 2000, Bare: reads%2 == 0})
		found := offsets(a.Hits)
		for p := range int32(2) {
			require.Equal(t, sequence(0, a.Coverage.Partitions[p].To), found[p])
		}
		require.EqualValues(t, len(a.Hits), a.TotalVectors)
	}
	require.Len(t, n.ask(Request{Text: "t1", K: 2000}).Hits, 2*batches*each)
}

func TestWhatIsDeletedIsNotFound(t *testing.T) {
	n := newNode(t, 1)
	for i := range 5 {
		n.say(0, 10, i)
	}
	n.index(0, 30)
	n.index(0, 40)
	found := func() []int64 { return offsets(n.ask(Request{Text: "t3", K: 100}).Hits)[0] }
	require.Equal(t, sequence(0, 40), found())

	// Compaction by key took some records out of the log.
	section, seen := n.section(0)
	var mask bytes.Buffer
	require.NoError(t, columnar.WriteOffsets(&mask, []int64{3, 7, 31, 32}))
	name := objstore.ParquetName(n.partition(0), ulid.Make())
	n.put(name, mask.Bytes())
	section.Masks = []manifest.File{{Object: name, Size: int64(mask.Len()), CRC: crc32.Checksum(mask.Bytes(), format.Castagnoli), First: 3, Next: 33, Records: 4, Format: "parquet"}}
	section.Vector[0].Masked, section.Vector[1].Masked = 2, 2
	n.swap(section, seen)
	want := slices.DeleteFunc(sequence(0, 40), func(o int64) bool { return slices.Contains([]int64{3, 7, 31, 32}, o) })
	require.Equal(t, want, found())
	stats, err := n.Stats(t.Context(), "logs")
	require.NoError(t, err)
	require.EqualValues(t, 36, stats.Vectors)
	require.EqualValues(t, 36, n.ask(Request{Text: "t3"}).TotalVectors)
	topics, err := n.Topics(t.Context())
	require.NoError(t, err)
	require.Equal(t, []TopicVectors{{Name: "logs", Vectors: 36, Dimensions: dimensions, Provider: "openai", Model: "bag-of-words"}}, topics)

	// DeleteRecords: the log's start moves within the second shard.
	section, seen = n.section(0)
	section.LogStart = 35
	n.swap(section, seen)
	require.Equal(t, sequence(35, 40), found())
	a := n.ask(Request{Text: "t3"})
	require.EqualValues(t, 5, a.TotalVectors)
	require.Equal(t, snapshot.PartitionCoverage{From: 35, To: 40, HighWatermark: 50}, a.Coverage.Partitions[0])
	require.EqualValues(t, 10, a.Coverage.LagRecords)
}

// A shard counts for what its manifest says it covers, not for what is in it.
func TestAShardCountsForWhatItsManifestSays(t *testing.T) {
	n := newNode(t, 1)
	n.say(0, 40, 1)
	n.index(0, 40)
	section, seen := n.section(0)
	front := n.shard(0, 0, 25, n.logged(0, 0, 25))
	section.Vector[0].First, section.Vector[0].Records = 25, 15
	section.Vector = []manifest.File{front, section.Vector[0]}
	n.swap(section, seen)
	require.Equal(t, map[int32][]int64{0: sequence(0, 40)}, offsets(n.ask(Request{Text: "t3", K: 100}).Hits))

	// One without records stands for a span where nothing has a vector.
	n.say(0, 10, 2)
	section, seen = n.section(0)
	n.storeLog(0, &section, 50)
	section.Vector = append(section.Vector, manifest.File{Object: objstore.ShardName(n.partition(0), ulid.Make()), Size: 5, First: 40, Next: 50, CreatedAt: 1, Settings: n.settings.String()})
	section.Marks.Vector = 50
	n.swap(section, seen)
	a := n.ask(Request{Text: "t3", K: 100})
	require.Len(t, a.Hits, 40)
	require.Zero(t, a.Coverage.LagRecords)
}

// A topic of the same name is another one: nothing of its predecessor is found.
func TestATopicThatIsMadeAgainBeginsEmpty(t *testing.T) {
	n := newNode(t, 1)
	n.say(0, 20, 1)
	n.index(0, 20)
	require.Len(t, n.ask(Request{Text: "t1"}).Hits, 10)
	require.NoError(t, n.store.DeleteTopic(t.Context(), "logs"))
	require.NoError(t, n.store.CatchUp(t.Context()))
	_, err := n.try(Request{Text: "t1"})
	var unknown *UnknownTopicError
	require.ErrorAs(t, err, &unknown)
	n.create(nil)
	n.broker.StartAt(0, 0)
	require.Empty(t, n.ask(Request{Text: "t1"}).Hits)
	n.say(0, 5, 2)
	n.index(0, 5)
	require.Len(t, n.ask(Request{Text: "t1"}).Hits, 5)
}

func TestADamagedShardIsReportedAndNeverPassedOver(t *testing.T) {
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
		for _, size := range []int{10, 300} { // fetched whole, and read by ranges
			t.Run(fmt.Sprint(what, size), func(t *testing.T) {
				n := newNode(t, 1)
				n.say(0, size, 1)
				f := n.index(0, int64(size))
				sound, err := n.bucket.Get(t.Context(), f.Object, 0, -1)
				require.NoError(t, err)
				if size == 300 { // its footer is known
					_, err := n.Stats(t.Context(), "logs")
					require.NoError(t, err)
				}
				require.NoError(t, damage(n, f.Object, bytes.Clone(sound)))
				for range 2 {
					_, err = n.try(Request{Text: "t1"})
					var damaged *DamagedError
					require.ErrorAs(t, err, &damaged)
					require.Equal(t, "logs", damaged.Topic)
					require.Equal(t, f.Object, damaged.Object)
					require.True(t, damaged.Reported)
				}
				reports := n.store.Catalog().Partition(n.partition(0)).Damaged
				require.Len(t, reports, 1)
				require.Equal(t, f.Object, reports[0].Object)
				topics, err := n.Topics(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, size, topics[0].Vectors)

				n.put(f.Object, sound)
				require.Len(t, n.ask(Request{Text: "t1"}).Hits, 10, "once it is back, it is read")
			})
		}
	}
}

// Filters by chance, with masks and a log start, over shards of both kinds.
func TestFiltersAreExact(t *testing.T) {
	n := newNode(t, 2)
	for p := range 2 {
		for i := range 3 {
			n.say(p, 120, i)
			n.index(p, int64(i+1)*120)
		}
	}
	var hidden []int64
	for o := int64(5); o < 360; o += 7 {
		hidden = append(hidden, o)
	}
	for p := range 2 {
		section, seen := n.section(p)
		var mask bytes.Buffer
		require.NoError(t, columnar.WriteOffsets(&mask, hidden))
		name := objstore.ParquetName(n.partition(p), ulid.Make())
		n.put(name, mask.Bytes())
		section.Masks = []manifest.File{{Object: name, Size: int64(mask.Len()), First: 5, Next: 360, Records: int64(len(hidden)), Format: "parquet"}}
		for i := range section.Vector {
			section.Vector[i].Masked = 20
		}
		section.LogStart = 50
		n.swap(section, seen)
	}
	all := append(n.logged(0, 50, 360), n.logged(1, 50, 360)...)
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var f Filter
		if r.IntN(2) == 0 {
			f.MinOffset = pointer(r.Int64N(360))
		}
		if r.IntN(2) == 0 {
			f.MaxOffset = pointer(r.Int64N(360))
		}
		if r.IntN(2) == 0 {
			f.MinTimestamp = pointer(all[r.IntN(len(all))].timestamp)
		}
		if r.IntN(2) == 0 {
			f.Partitions = []int32{r.Int32N(2)}
		}
		text := sentence(r.IntN(1000))
		k := 1 + r.IntN(100)
		near(t, truth(all, text, k, func(x logged) bool {
			return !slices.Contains(hidden, x.offset) && (f.MinOffset == nil || x.offset >= *f.MinOffset) && (f.MaxOffset == nil || x.offset <= *f.MaxOffset) &&
				(f.MinTimestamp == nil || x.timestamp >= *f.MinTimestamp) && (f.Partitions == nil || x.partition == f.Partitions[0])
		}), n.ask(Request{Text: text, K: k, Filter: f}).Hits)
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	n := newNode(t, 1)
	for _, r := range []Request{
		{Topic: "logs", Text: "x"}, {Topic: "logs", Text: "x", K: CandidatesMax + 1}, {Topic: "logs", K: 1}, {Topic: "logs", K: 1, Text: "x", Vector: []float32{1}},
		{Topic: "logs", K: 1, Vector: []float32{1, 2}}, {Topic: "logs", K: 1, Vector: []float32{}}, {Topic: "logs", K: 1, Text: "x", Recall: 1.1},
		{Topic: "logs", K: 1, Text: "x", Ef: -1}, {Topic: "logs", K: 1, Text: "x", Freshness: "soon"},
	} {
		_, err := n.Search(t.Context(), r)
		var wrong *RequestError
		require.ErrorAs(t, err, &wrong, "%+v", r)
	}
	_, err := n.Search(t.Context(), Request{Topic: "plain", K: 1, Text: "x"})
	var off *NotEnabledError
	require.ErrorAs(t, err, &off)
	require.False(t, off.Dropped)
	_, err = n.Stats(t.Context(), "nobody")
	var unknown *UnknownTopicError
	require.ErrorAs(t, err, &unknown)
}

// What was dropped is neither searched nor waited for.
func TestADroppedIndexIsNoIndex(t *testing.T) {
	n := newNode(t, 1)
	n.say(0, 20, 1)
	n.index(0, 20)
	require.NoError(t, n.store.DropVectors(t.Context(), n.topic.ID))
	require.NoError(t, n.store.CatchUp(t.Context()))
	_, err := n.try(Request{Text: "x"})
	var off *NotEnabledError
	require.ErrorAs(t, err, &off)
	require.True(t, off.Dropped)
	stats, err := n.Stats(t.Context(), "logs")
	require.NoError(t, err)
	require.Zero(t, stats.Vectors)
	topics, err := n.Topics(t.Context())
	require.NoError(t, err)
	require.Empty(t, topics)
	require.NoError(t, n.store.RebuildVectors(t.Context(), n.topic.ID))
	require.NoError(t, n.store.CatchUp(t.Context()))
	require.Len(t, n.ask(Request{Text: "x"}).Hits, 10, "those that are there are served until they are replaced")
}

// Latest waits for the vectors of what was acknowledged, and says who is late.
func TestLatestWaitsForVectors(t *testing.T) {
	n := newNode(t, 2)
	n.say(0, 10, 1)
	n.say(1, 10, 1)
	n.index(0, 10)
	_, err := n.try(Request{Text: "t1", Freshness: "latest", Timeout: 200 * time.Millisecond})
	var late *LaggingError
	require.ErrorAs(t, err, &late)
	require.Len(t, late.Partitions, 1)
	require.EqualValues(t, 1, late.Partitions[0].Partition)
	require.EqualValues(t, 10, late.Partitions[0].Target)
	require.Len(t, n.ask(Request{Text: "t1", Freshness: "cold", K: 100}).Hits, 10)

	type result struct {
		answer *Answer
		err    error
	}
	came := make(chan result, 1)
	go func() {
		a, err := n.Search(context.WithoutCancel(t.Context()), Request{Topic: "logs", Text: "t1", Freshness: "latest", K: 100, Timeout: time.Minute})
		came <- result{a, err}
	}()
	n.index(1, 10)
	got := <-came
	require.NoError(t, got.err)
	require.Len(t, got.answer.Hits, 20)
	require.Zero(t, got.answer.Coverage.LagRecords)
}

func TestPreviewsAreOfTheEmbeddedText(t *testing.T) {
	n := newNode(t, 1)
	long := strings.Repeat("ä", 150)
	n.produce(0, long, `{"a":{"b":"inner text"}}`, "plain")
	n.index(0, 3)
	previews := func() map[int64]string {
		all := map[int64]string{}
		for _, h := range n.ask(Request{Text: "x"}).Hits {
			all[h.Offset] = h.Preview
		}
		return all
	}
	require.Equal(t, map[int64]string{0: strings.Repeat("ä", 100), 1: `{"a":{"b":"inner text"}}`, 2: "plain"}, previews())
	n.set(map[string]string{"vector.field": "$.a.b"})
	require.Equal(t, map[int64]string{0: strings.Repeat("ä", 100), 1: "inner text", 2: "plain"}, previews())
	n.set(map[string]string{"vector.field": "key"})
	require.Equal(t, map[int64]string{0: "k0", 1: "k1", 2: "k2"}, previews())
}

// Records are read for hits of other searches too, of any topic.
func TestRecordsAreReadByOffset(t *testing.T) {
	n := newNode(t, 2, func(c *Config) { c.RecordBytes = 3000 })
	for p := range 2 {
		for i := range 10 {
			n.say(p, 10, i)
		}
		n.index(p, 100)
	}
	for range 2 {
		var hits []Hit
		for o := range int64(101) {
			hits = append(hits, Hit{Partition: int32(o) % 2, Offset: o * 37 % 101})
		}
		require.NoError(t, n.Records(t.Context(), "logs", hits, true))
		for _, h := range hits {
			if h.Offset == 100 {
				require.Empty(t, h.Preview, "there is none")
				continue
			}
			want := n.logged(int(h.Partition), h.Offset, h.Offset+1)[0].text
			require.Equal(t, want, h.Preview)
			require.Equal(t, want, string(h.Value))
			require.Equal(t, fmt.Sprint("k", h.Offset), string(h.Key))
		}
		require.LessOrEqual(t, n.records.bytes, int64(3000))
	}
	require.NoError(t, n.Records(t.Context(), "plain", []Hit{{Offset: 3}}, false))
	var unknown *UnknownTopicError
	require.ErrorAs(t, n.Records(t.Context(), "nobody", nil, false), &unknown)
}

// Where the log itself is damaged hits come without preview, and the answer says so.
func TestADamagedLogCostsPreviews(t *testing.T) {
	n := newNode(t, 1)
	n.say(0, 20, 1)
	n.index(0, 20)
	section, _ := n.section(0)
	b, err := n.bucket.Get(t.Context(), section.Log[0].Object, 0, -1)
	require.NoError(t, err)
	for i := 100; i < 400; i++ {
		b[i] ^= 1
	}
	n.put(section.Log[0].Object, b)
	a := n.ask(Request{Text: "t1"})
	require.Len(t, a.Hits, 10)
	require.Len(t, a.Warnings, 1)
	require.Contains(t, a.Warnings[0], section.Log[0].Object)
}

func TestStatsSayWhatThereIs(t *testing.T) {
	n := newNode(t, 2)
	n.say(0, 300, 1)
	n.say(0, 10, 2)
	n.say(1, 5, 3)
	first := n.index(0, 300)
	second := n.index(0, 310)
	stats, err := n.Stats(t.Context(), "logs")
	require.NoError(t, err)
	require.GreaterOrEqual(t, stats.RecallAt10, 0.95)
	stats.RecallAt10 = 0
	require.Equal(t, &Stats{
		Topic: "logs", Vectors: 310, Dimensions: dimensions, IndexType: "hnsw", Metric: "cosine", Provider: "openai", Model: "bag-of-words",
		Quantization: "f32", Backend: "native", Shards: 2, Bytes: first.Size + second.Size, LagRecords: 5, RecallTarget: 0.95, RecallRecords: 310,
		Partitions: []PartitionStats{{Partition: 0, Vectors: 310, LastOffset: 309, Shards: 2}, {Partition: 1, LastOffset: -1}},
	}, stats)
}

func TestAnAnswerHasSoManyBytesOfValues(t *testing.T) {
	n := newNode(t, 1, func(c *Config) { c.ValueBytes = 100 })
	n.produce(0, strings.Repeat("a", 60), strings.Repeat("a", 50), "b")
	n.index(0, 3)
	var large *TooLargeError
	_, err := n.try(Request{Text: "a", K: 3, Values: true})
	require.ErrorAs(t, err, &large)
	require.Len(t, n.ask(Request{Text: "a", K: 3}).Hits, 3, "previews are short")
	require.Len(t, n.ask(Request{Text: "a", K: 3, Values: true, Filter: Filter{MinOffset: pointer(int64(1))}}).Hits, 2)
}
