package compactor

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
)

// openSplit opens a split as a query node does.
func (w *world) openSplit(f manifest.File) *textindex.File {
	w.t.Helper()
	data, err := w.bucket.Get(w.t.Context(), f.Object, 0, -1)
	require.NoError(w.t, err)
	require.Len(w.t, data, int(f.Size))
	split, err := textindex.Open(w.t.Context(), textindex.Bytes(data), f.Footer)
	require.NoError(w.t, err)
	return split
}

// readSplits reads the records of all splits, by offset, but for those that masks
// take away. Each is found in the index too, by its offset.
func (w *world) readSplits(section manifest.Section) map[int64]string {
	w.t.Helper()
	hidden := map[int64]bool{}
	for _, m := range section.Masks {
		for _, offset := range w.readMask(m) {
			hidden[offset] = true
		}
	}
	got := make(map[int64]string)
	for _, f := range section.Text {
		split := w.openSplit(f)
		bounds := split.Bounds()
		require.EqualValues(w.t, f.Records, bounds.Documents)
		require.Equal(w.t, "split", f.Format)
		require.LessOrEqual(w.t, f.Next, section.Marks.Text)
		docs := make([]uint32, bounds.Documents)
		for i := range docs {
			docs[i] = uint32(i)
		}
		sources, kept, err := split.Source(w.t.Context(), docs)
		require.NoError(w.t, err)
		require.True(w.t, kept)
		offsets, err := split.Column(w.t.Context(), textindex.FieldOffset)
		require.NoError(w.t, err)
		masked := int64(0)
		for i, d := range docs {
			values := offsets.Append(nil, d)
			require.Len(w.t, values, 1)
			offset := values[0]
			require.NotContains(w.t, got, offset, "a record twice in splits")
			require.True(w.t, f.First <= offset && offset < f.Next)
			if hidden[offset] {
				masked++
				continue
			}
			got[offset] = string(sources[i].Value)
		}
		require.Equal(w.t, f.Masked, masked, "records of %s that are masked", f.Object)
	}
	return got
}

// checkSplits wants splits to have what the log has below their mark.
func (w *world) checkSplits(snap snapshot, log map[int64]string) {
	w.t.Helper()
	mark := max(snap.section.Marks.Text, snap.view.Manifest.LogStart)
	below := maps.Clone(log)
	maps.DeleteFunc(below, func(offset int64, _ string) bool { return offset >= mark })
	if len(snap.section.Text) > 0 {
		w.same(snap.view.Partition, "splits", below, w.readSplits(snap.section))
	}
}

var searchableForEver = map[string]string{"searchable": "true", "retention.ms": "-1"}

// texts commits segments of some records, and keeps them as they are indexed.
type texts struct {
	*world
	p       topic.Partition
	random  *rand.Rand
	records []textindex.Record
}

func newTexts(w *world, config map[string]string) *texts {
	return &texts{world: w, p: part(w.topic("texts", 1, config).ID, 0), random: rand.New(rand.NewPCG(7, 8))}
}

// value is JSON with words of a small language, numbers and dates; now and then
// it is none, or null.
func (x *texts) value() []byte {
	word := func() string { return fmt.Sprintf("w%d", x.random.IntN(1+x.random.IntN(60))) }
	words := make([]string, x.random.IntN(12))
	for i := range words {
		words[i] = word()
	}
	body := strings.Join(words, " ")
	switch x.random.IntN(20) {
	case 0:
		return nil
	case 1:
		return []byte(body)
	}
	return fmt.Appendf(nil, `{"body":%q,"level":%q,"n":%d,"price":%g,"at":"2026-11-%02dT10:00:00Z"}`, body, word(), x.random.IntN(50), x.random.Float64(), 1+x.random.IntN(28))
}

// write commits one segment of n records in batches of values that make returns.
func (x *texts) write(n int, value func() []byte) {
	x.t.Helper()
	var raws [][]byte
	for n > 0 {
		var b batch.Builder
		b.Reset(batch.Options{Codec: batch.Codec(x.random.IntN(5))})
		first := int64(len(x.records))
		for range min(n, 1+x.random.IntN(80)) {
			r := textindex.Record{Offset: int64(len(x.records)), Timestamp: 1_795_435_200_000 + int64(len(x.records)), Key: fmt.Appendf(nil, "k%d", x.random.IntN(9)), Value: value()}
			b.Append(r.Timestamp, r.Key, r.Value)
			x.records = append(x.records, r)
			n--
		}
		raw, err := b.Build(nil)
		require.NoError(x.t, err)
		batch.PatchOffset(raw, first, 0)
		raws = append(raws, raw)
	}
	x.next[x.p] = int64(len(x.records))
	x.commitRaw(x.p, raws, nil)
}

// searcher searches the partition's splits.
func (x *texts) searcher() (*textsearch.Searcher, manifest.Section) {
	x.t.Helper()
	section, _ := x.section(x.p)
	s := &textsearch.Searcher{}
	for _, f := range section.Text {
		split := x.openSplit(f)
		analyzer, err := analysis.ByName(split.Analyzer())
		require.NoError(x.t, err)
		s.Parts = append(s.Parts, textsearch.Part{Topic: "texts", Split: split, Analyzer: analyzer})
	}
	return s, section
}

// atOnce indexes all records at once, in memory.
func (x *texts) atOnce(analyzer string, fields ...string) *textsearch.Searcher {
	x.t.Helper()
	o, err := textindex.TopicOptions(analyzer, fields, nil)
	require.NoError(x.t, err)
	m := textindex.NewMemory(o)
	for _, r := range x.records {
		require.NoError(x.t, m.Append(r))
	}
	return &textsearch.Searcher{Parts: []textsearch.Part{{Topic: "texts", Split: m.Snapshot(), Analyzer: o.Analyzer}}}
}

// same wants both to find the same, with the same scores, and show the same.
func (x *texts) same(want, got *textsearch.Searcher) {
	x.t.Helper()
	for _, query := range []string{
		`{"query":{"match":{"body":"w1 w7 w30"}},"size":100}`,
		`{"query":{"match_phrase":{"body":"w0 w1"}},"size":100}`,
		`{"query":{"bool":{"must":{"match":{"_all":"w2 w3"}},"filter":{"range":{"n":{"gte":10,"lt":30}}}}},"size":100}`,
		`{"query":{"term":{"_key":"k3"}},"sort":[{"price":"desc"},"_offset"],"size":100}`,
		`{"query":{"match":{"_value":"w4"}},"size":100}`,
		`{"query":{"wildcard":{"level":"w1*"}},"sort":[{"at":"asc"},"_offset"],"size":100}`,
		`{"size":0,"aggs":{"levels":{"terms":{"field":"level","size":100},"aggs":{"n":{"sum":{"field":"n"}}}}}}`,
	} {
		request, err := textquery.Parse([]byte(query))
		require.NoError(x.t, err)
		request.Total = textquery.Total{Exact: true}
		one, err := want.Search(x.t.Context(), request)
		require.NoError(x.t, err)
		other, err := got.Search(x.t.Context(), request)
		require.NoError(x.t, err)
		require.NotZero(x.t, one.Total, query)
		require.Equal(x.t, one.Total, other.Total, query)
		require.Equal(x.t, one.Aggs, other.Aggs, query)
		require.Len(x.t, other.Hits, len(one.Hits))
		for i, h := range one.Hits {
			o := other.Hits[i]
			require.Equal(x.t, []any{h.Offset, h.Score, h.Sort, h.Key, h.Value, h.Timestamp}, []any{o.Offset, o.Score, o.Sort, o.Key, o.Value, o.Timestamp}, query)
		}
	}
}

// What goes through segments, splits and merges is found as if it had been indexed
// at once: the same hits, to the last digit of their scores.
func TestTheWholeWayFindsWhatIndexingAtOnceFinds(t *testing.T) {
	w := newWorld(t)
	x := newTexts(w, searchableForEver)
	config := w.quick()
	config.Policy.IndexBytesMax, config.Policy.FileBytesMax = 20_000, 400_000
	c := w.start(config, w.store, w.bucket)
	for range 25 {
		x.write(20+x.random.IntN(300), x.value)
		w.settle(c)
	}
	got, section := x.searcher()
	require.Equal(t, int64(len(x.records)), section.Marks.Text)
	require.NotZero(t, testutil.ToFloat64(c.metrics.merges.WithLabelValues("text")))
	require.Less(t, len(section.Text), 25)
	require.Greater(t, len(section.Text), 1)
	x.same(x.atOnce("standard", "value"), got)
	log := map[int64]string{}
	for _, r := range x.records {
		log[r.Offset] = string(r.Value)
	}
	require.Equal(t, log, w.readSplits(section))
	w.sweep(c)
}

// Much at once, as when a topic with a long log becomes searchable, is cut into
// splits that fit the memory.
func TestMuchAtOnceIsCutIntoSplits(t *testing.T) {
	for name, bounds := range map[string]Policy{"by bytes": {IndexBytesMax: 10_000}, "by documents": {DocumentsMax: 100}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			x := newTexts(w, searchableForEver)
			config := w.quick()
			config.Policy.MergeFiles = 100
			config.Policy.IndexBytesMax, config.Policy.DocumentsMax = bounds.IndexBytesMax, bounds.DocumentsMax
			x.write(1000, x.value)
			w.settle(w.start(config, w.store, w.bucket))
			section, _ := w.section(x.p)
			require.Greater(t, len(section.Text), 5)
			at := int64(0)
			for _, f := range section.Text {
				require.Equal(t, at, f.First, "no offset lies between splits")
				at = f.Next
				require.LessOrEqual(t, f.Records, int64(300))
			}
			require.Equal(t, section.Marks.Text, at)
			got, _ := x.searcher()
			x.same(x.atOnce("standard", "value"), got)
		})
	}
}

func TestSearchIsTurnedOnLateAndOff(t *testing.T) {
	w := newWorld(t)
	x := newTexts(w, map[string]string{"retention.ms": "-1"})
	config := w.quick()
	config.Policy.PassBytesMax = 5000 // one pass does not do
	c := w.start(config, w.store, w.bucket)
	for range 4 {
		x.write(200, x.value)
		w.settle(c)
	}
	section, _ := w.section(x.p)
	require.Empty(t, section.Text)
	_, err := w.store.SetLogStart(t.Context(), x.p, 150)
	require.NoError(t, err)
	require.NoError(t, w.update("texts", "searchable", "true"))
	w.settle(c)
	section, _ = w.section(x.p)
	require.Equal(t, int64(800), section.Marks.Text)
	require.Equal(t, int64(150), section.Text[0].First, "from the log start on")
	require.Equal(t, int64(650), left(section.Text))

	require.NoError(t, w.update("texts", "searchable", "false"))
	w.settle(c)
	section, _ = w.section(x.p)
	require.Empty(t, section.Text)
	require.Equal(t, int64(150), section.Marks.Text, "to begin anew there")
	w.sweep(c)
	require.False(t, slices.ContainsFunc(w.objects(), func(name string) bool { return strings.HasSuffix(name, ".split") }))

	require.NoError(t, w.update("texts", "searchable", "true"))
	x.write(10, x.value)
	w.settle(c)
	section, _ = w.section(x.p)
	require.Equal(t, int64(660), left(section.Text))
}

// Splits that cannot be stored hold up neither the log nor the table.
func TestSplitsThatFailStopNothingElse(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	plan, err := faults.ParsePlan("put " + objstore.PartitionPrefix(p) + "split/ fail-before p=1")
	require.NoError(t, err)
	bucket := faults.New(w.bucket, plan)
	c := w.start(w.quick(), w.store, bucket)
	for range 3 {
		w.commit(rows{p: p, n: 20})
		require.NoError(t, c.catalogCaughtUp(w))
		c.round(t.Context())
	}
	section, _ := w.section(p)
	require.Equal(t, []int64{60, 60, 0}, []int64{section.Marks.Log, section.Marks.Columnar, section.Marks.Text})
	require.NotZero(t, testutil.ToFloat64(c.metrics.failures.WithLabelValues("text")))
	require.Zero(t, testutil.ToFloat64(c.metrics.failures.WithLabelValues("columnar")))
	c.measure(c.snapshots(t.Context()), w.now())
	require.InDelta(t, 60, testutil.ToFloat64(c.metrics.lagRecords.WithLabelValues("text")), 0)

	bucket.Use(faults.Plan{})
	w.settle(c)
	section, _ = w.section(p)
	require.Equal(t, int64(60), section.Marks.Text)
	w.check()
	w.sweep(c)
}

func TestADamagedSplitIsMadeAgain(t *testing.T) {
	for what, damage := range damages {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			x := newTexts(w, searchableForEver)
			config := w.quick()
			config.Policy.MergeFiles = 6
			c := w.start(config, w.store, w.bucket)
			for range 5 {
				x.write(50, x.value)
				w.settle(c)
			}
			before, _ := w.section(x.p)
			require.Len(t, before.Text, 5)
			hit := before.Text[2]
			damage(w, hit.Object)
			w.report(hit.Object)
			w.settle(c)
			require.Empty(t, w.reports())
			require.InDelta(t, 1, testutil.ToFloat64(c.metrics.rebuilt), 0)
			after, _ := w.section(x.p)
			made := after.Text[2]
			require.NotEqual(t, hit.Object, made.Object)
			require.Equal(t, []int64{hit.First, hit.Next, hit.Records, hit.Size, int64(hit.CRC)},
				[]int64{made.First, made.Next, made.Records, made.Size, int64(made.CRC)}, "the same records make the same split")
			got, _ := x.searcher()
			x.same(x.atOnce("standard", "value"), got)

			// A merge that meets damage nobody has reported has it made again.
			damage(w, after.Text[1].Object)
			x.write(50, x.value)
			w.settle(c)
			require.Empty(t, w.reports())
			merged, _ := w.section(x.p)
			require.NotContains(t, merged.Text, after.Text[1])
			got, _ = x.searcher()
			x.same(x.atOnce("standard", "value"), got)
			w.sweep(c)
		})
	}
}

// Other settings are those of new splits at once, and of old ones in time.
func TestSplitsAreIndexedAgainWithOtherSettings(t *testing.T) {
	w := newWorld(t)
	x := newTexts(w, searchableForEver)
	config := w.quick()
	config.Policy.PassBytesMax = 5000
	c := w.start(config, w.store, w.bucket)
	for range 6 {
		x.write(100, x.value)
		w.settle(c)
	}
	require.NoError(t, w.update("texts", "search.analyzer", "simple"))
	w.settle(c)
	_, section := x.searcher()
	for _, f := range section.Text {
		require.Equal(t, "simple value", f.Settings)
	}
	require.Equal(t, int64(600), left(section.Text))

	require.NoError(t, w.update("texts", "search.analyzer", "standard"))
	require.NoError(t, w.update("texts", "search.fields", "$.body,level"))
	x.write(100, x.value)
	w.settle(c)
	_, section = x.searcher()
	require.Equal(t, "standard body,level", section.Text[0].Settings)
	require.Equal(t, int64(700), left(section.Text))
	fields := map[string]bool{}
	for _, f := range section.Text {
		for _, stats := range w.openSplit(f).Fields() {
			fields[stats.Name] = true
		}
	}
	require.Equal(t, map[string]bool{"_key": true, "_offset": true, "_timestamp": true, "body": true, "level": true}, fields)

	require.NoError(t, w.update("texts", "search.fields", "value"))
	w.settle(c)
	got, _ := x.searcher()
	x.same(x.atOnce("standard", "value"), got)
	w.sweep(c)
}

// Where the log lacks what a split has, the split stays as it was indexed.
func TestASplitThatTheLogDoesNotHaveKeepsItsSettings(t *testing.T) {
	w := newWorld(t)
	x := newTexts(w, searchableForEver)
	config := w.quick()
	config.Policy.MergeFiles = 10
	c := w.start(config, w.store, w.bucket)
	for range 3 {
		x.write(50, x.value)
		w.settle(c)
	}
	before, _ := w.section(x.p)
	w.spoil(before.Log[1].Object, flip(200))
	c.source = newSource(w.bucket)
	c.damaged[before.Log[1].Object] = w.now().Add(damagedFor) // as after mendAfter failures
	require.NoError(t, w.update("texts", "search.analyzer", "simple"))
	w.settle(c)
	section, _ := w.section(x.p)
	var settings []string
	for _, f := range section.Text {
		settings = append(settings, f.Settings)
	}
	require.Equal(t, []string{"simple value", "standard value", "simple value"}, settings)
	require.Equal(t, int64(150), left(section.Text))
}

// Splits that have too many fields together are not merged as they are.
func TestSplitsOfTooManyFieldsAreIndexedAgain(t *testing.T) {
	w := newWorld(t)
	x := newTexts(w, searchableForEver)
	config := w.quick()
	config.Policy.FieldsMax = 1500
	c := w.start(config, w.store, w.bucket)
	n := 0
	for range 4 {
		x.write(4, func() []byte {
			var members []string
			for range 120 {
				n++
				members = append(members, fmt.Sprintf(`"f%d":"w%d"`, n, n%10))
			}
			return []byte("{" + strings.Join(members, ",") + "}")
		})
		w.settle(c)
	}
	section, _ := w.section(x.p)
	require.Len(t, section.Text, 1)
	split := w.openSplit(section.Text[0])
	require.EqualValues(t, 16, split.Bounds().Documents)
	require.EqualValues(t, 16*120-textindex.FieldsMaxDefault, split.Overflow())
	require.InDelta(t, float64(split.Overflow()), testutil.ToFloat64(c.metrics.overflow), 0)
	all, ok := split.Field(textindex.FieldAll)
	require.True(t, ok)
	require.Equal(t, split.Overflow(), all.Terms)
}

func TestSplitsAreMergedWithinTheirBounds(t *testing.T) {
	file := func(first int64, records int64, settings string) manifest.File {
		return manifest.File{Object: fmt.Sprint("split/", first), First: first, Next: first + 10, Size: 100, Records: records, Settings: settings}
	}
	s := snapshot{}
	s.config.Search.Enabled, s.config.Search.Analyzer, s.config.Search.Fields = true, "standard", []string{"value"}
	for first := int64(0); first < 100; first += 10 {
		s.section.Text = append(s.section.Text, file(first, 10, "standard value"))
	}
	planned := func(p Policy) (merge, reindex []int64) {
		var out plan
		p.withDefaults().planSplits(s, &out)
		for _, f := range out.mergeText {
			merge = append(merge, f.First)
		}
		for _, f := range out.reindex {
			reindex = append(reindex, f.First)
		}
		return merge, reindex
	}
	merge, _ := planned(Policy{MergeFiles: 4})
	require.Len(t, merge, 10)
	merge, _ = planned(Policy{MergeFiles: 4, DocumentsMax: 50})
	require.Equal(t, []int64{0, 10, 20, 30, 40}, merge)
	merge, _ = planned(Policy{MergeFiles: 4, DocumentsMax: 30})
	require.Empty(t, merge)
	s.section.Text[4].Settings = "simple value"
	merge, reindex := planned(Policy{MergeFiles: 5})
	require.Equal(t, []int64{50, 60, 70, 80, 90}, merge, "not across another's settings")
	require.Empty(t, reindex)
	merge, reindex = planned(Policy{MergeFiles: 6})
	require.Empty(t, merge)
	require.Equal(t, []int64{40}, reindex, "once there is nothing to merge")
	s.damaged = map[string]bool{s.section.Text[4].Object: true}
	_, reindex = planned(Policy{MergeFiles: 6})
	require.Empty(t, reindex, "it is left alone for a while")
}
