package manifest_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

func partition(n int32) topic.Partition {
	return topic.Partition{Topic: topic.ID{0: 9, 6: 0x40, 8: 0x80, 15: 1}, Index: n}
}

func logFile(first, next int64) manifest.File {
	return manifest.File{
		Object: fmt.Sprintf("log/%d-%d", first, next), Size: 100, First: first, Next: next, Records: next - first,
		MinTimestamp: 1_760_000_000_000 + first, MaxTimestamp: 1_760_000_000_000 + next, CreatedAt: 1_760_000_100_000,
	}
}

func parquet(first, next int64, day string, columns ...manifest.Column) manifest.File {
	f := logFile(first, next)
	f.Object, f.TimePartition, f.Columns, f.Format = fmt.Sprintf("parquet/%s/%d-%d", day, first, next), day, columns, "parquet"
	return f
}

func split(first, next int64) manifest.File {
	f := logFile(first, next)
	f.Object, f.Format, f.Footer, f.Settings = fmt.Sprintf("split/%d-%d", first, next), "split", 40, "standard value"
	return f
}

// searchable is cleaned with splits.
func searchable(index int32) manifest.Section {
	s := cleaned(index)
	s.Marks.Text, s.Text = 30, []manifest.File{split(0, 10), split(10, 30)}
	s.Text[1].Masked = 1
	s.Masks = append(s.Masks, mask(15, 25))
	return s
}

func shard(first, next int64) manifest.File {
	f := logFile(first, next)
	f.Object, f.Format, f.Footer, f.Settings = fmt.Sprintf("shard/%d-%d", first, next), "shard", 50, `{"model":"m"}`
	return f
}

// embedded is searchable with shards.
func embedded(index int32) manifest.Section {
	s := searchable(index)
	s.Marks.Vector = 40
	s.Vector = []manifest.File{shard(0, 10), shard(10, 40)}
	s.Vector[0].Masked = 3
	s.Collections = []manifest.Collection{
		{Name: "new", Settings: `{"model":"m"}`, Incarnation: "01K", Ranges: []manifest.Range{{0, 10}, {15, 40}}, Start: 5, Masks: []string{"mask/15-25"}},
		{Name: "old", Settings: `{"model":"l"}`},
	}
	return s
}

// running is embedded with a producer that has gone on for long.
func running(index int32) manifest.Section {
	s := embedded(index)
	s.Producers[0].Run, s.Producers[0].Past = 40, []producer.Run{{Epoch: 0, Last: 11, N: 12}, {Epoch: 1, Last: 5, N: 3}}
	return s
}

func mask(first, next int64) manifest.File {
	return manifest.File{Object: fmt.Sprintf("mask/%d-%d", first, next), Size: 100, First: first, Next: next, Records: 1}
}

var columns = []manifest.Column{{Name: "page", Type: "text"}, {Name: "added", Type: "int64"}}

// sample is the manifest of one partition, its third.
func sample(index int32) manifest.Section {
	return manifest.Section{
		Partition: partition(index), Topic: "wikipedia", Version: 3, LogStart: 5,
		Marks: manifest.Marks{Log: 30, Columnar: 20, Text: 5, Vector: 5},
		Log:   []manifest.File{logFile(0, 10), logFile(10, 18), logFile(20, 30)},
		Columnar: []manifest.File{
			parquet(0, 10, "2026-11-22", columns...), parquet(0, 10, "2026-11-23", columns...),
			parquet(10, 20, "2026-11-23", columns[:1]...), parquet(10, 20, "2026-11-24"),
		},
		Producers: []producer.State{
			{ID: 4000, Epoch: 2, LastUsed: 1_760_000_000_000, Batches: []producer.Batch{{FirstSequence: 7, LastSequence: 9, First: 20, Timestamp: -1}}},
			{ID: 4001},
		},
	}
}

func TestSectionsStandOnTheirOwn(t *testing.T) {
	written := []manifest.Section{sample(0), cleaned(1), {Partition: partition(2), Version: 1}, searchable(3), embedded(4), running(5)}
	object, places, err := manifest.Encode(written)
	require.NoError(t, err)
	all, err := manifest.DecodeAll(object)
	require.NoError(t, err)
	require.Equal(t, written, all)
	for i, place := range places {
		one, err := manifest.Decode(object[place.Position : place.Position+place.Length])
		require.NoError(t, err)
		require.Equal(t, written[i], one)
	}
	require.Equal(t, int64(len(object)), places[5].Position+places[5].Length)
	require.Same(t, &all[0].Columnar[0].Columns[0], &all[0].Columnar[1].Columns[0], "files of one schema share it")
}

func TestGoldenManifest(t *testing.T) {
	for version, section := range map[byte]manifest.Section{2: cleaned(0), 3: searchable(0), 4: embedded(0), 5: running(0)} {
		name := fmt.Sprintf("v%d.manifest", version)
		object, places, err := manifest.Encode([]manifest.Section{section, {Partition: partition(1), Topic: "wikipedia", Version: 1}})
		require.NoError(t, err)
		require.Equal(t, string(golden(t, name, object)), string(object), "a version that stands is never changed: make a new one")
		require.Equal(t, version, object[4])
		require.Equal(t, byte(2), object[places[1].Position+4], "the oldest version that can say it")
		var text bytes.Buffer
		require.NoError(t, manifest.Dump(&text, name, object))
		require.Equal(t, string(golden(t, name+".txt", text.Bytes())), text.String())
	}
}

func TestVersionTwoHasNothingOfSplits(t *testing.T) {
	object, _, err := manifest.Encode([]manifest.Section{searchable(0)})
	require.NoError(t, err)
	_, err = manifest.Decode(framed(2, string(object[manifest.FrameSize:])))
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, "version 2 knows nothing of masked splits")
}

func TestVersionThreeHasNothingOfShards(t *testing.T) {
	object, _, err := manifest.Encode([]manifest.Section{embedded(0)})
	require.NoError(t, err)
	_, err = manifest.Decode(framed(3, string(object[manifest.FrameSize:])))
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, "version 3 knows nothing of collections, of masked shards")

	s := sample(0)
	s.Columnar[0].Settings = `{"model":"m"}`
	object, _, err = manifest.Encode([]manifest.Section{s})
	require.NoError(t, err)
	require.Equal(t, byte(4), object[4])
	_, err = manifest.Decode(framed(3, string(object[manifest.FrameSize:])))
	require.ErrorContains(t, err, "or of the vectors in tables")
}

func TestVersionFourHasNothingOfRuns(t *testing.T) {
	object, _, err := manifest.Encode([]manifest.Section{running(0)})
	require.NoError(t, err)
	_, err = manifest.Decode(framed(4, string(object[manifest.FrameSize:])))
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, "version 4 knows nothing of runs")
}

// cleaned is sample after compaction by key has begun.
func cleaned(index int32) manifest.Section {
	s := sample(index)
	s.Clean = manifest.Clean{Next: 10, Through: 20, At: 18, Horizon: 1_760_000_200_000}
	s.Columnar[0].Masked = 2
	s.Masks = []manifest.File{{Object: "mask/0-10", Size: 100, CRC: 7, First: 0, Next: 10, Records: 2, CreatedAt: 1_760_000_100_000}}
	return s
}

func TestTheFirstVersionIsStillRead(t *testing.T) {
	object := golden(t, "v1.manifest", nil)
	all, err := manifest.DecodeAll(object)
	require.NoError(t, err)
	require.Equal(t, []manifest.Section{sample(0), {Partition: partition(1), Topic: "wikipedia", Version: 1}}, all)
	var text bytes.Buffer
	require.NoError(t, manifest.Dump(&text, "v1.manifest", object))
	require.Equal(t, string(golden(t, "v1.manifest.txt", nil)), text.String())
}

func TestObjectsAreAllThatASectionNames(t *testing.T) {
	s := cleaned(0)
	s.Text, s.Vector = []manifest.File{logFile(0, 1)}, []manifest.File{logFile(0, 2)}
	var names []string
	s.Objects(func(name string) bool { names = append(names, name); return true })
	require.Equal(t, []string{"log/0-10", "log/10-18", "log/20-30", "parquet/2026-11-22/0-10", "parquet/2026-11-23/0-10",
		"parquet/2026-11-23/10-20", "parquet/2026-11-24/10-20", "log/0-1", "log/0-2", "mask/0-10"}, names)
	s.Objects(func(string) bool { names = nil; return false })
	require.Nil(t, names)
}

// golden reads a golden file. With -update one that does not exist is made; one
// that does is left alone.
func golden(t *testing.T, name string, made []byte) []byte {
	t.Helper()
	name = filepath.Join("testdata", name)
	if _, err := os.Stat(name); *update && os.IsNotExist(err) {
		require.NoError(t, os.WriteFile(name, made, 0o644))
	}
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

func TestOneFlippedBitIsAlwaysDetected(t *testing.T) {
	object, places, err := manifest.Encode([]manifest.Section{cleaned(0)})
	require.NoError(t, err)
	require.Len(t, places, 1)
	for bit := range len(object) * 8 {
		object[bit/8] ^= 1 << (bit % 8)
		_, err := manifest.Decode(object)
		require.ErrorIs(t, err, format.ErrCorrupt, "bit %d", bit)
		object[bit/8] ^= 1 << (bit % 8)
	}
}

func TestCutAndForeignBytesAreRefused(t *testing.T) {
	object, places, err := manifest.Encode([]manifest.Section{sample(0), sample(1)})
	require.NoError(t, err)
	for n := range object {
		if int64(n) == places[1].Position {
			continue // the first section is whole
		}
		_, err := manifest.DecodeAll(object[:n])
		require.ErrorIs(t, err, format.ErrCorrupt, "%d bytes", n)
	}
	_, err = manifest.Decode(object)
	require.ErrorContains(t, err, "after the section")

	object[places[1].Position+30] ^= 1
	var text strings.Builder
	err = manifest.Dump(&text, "manifests/x", object)
	require.ErrorContains(t, err, fmt.Sprintf("manifests/x: corrupt at byte %d: section CRC", places[1].Position))
	require.Contains(t, text.String(), partition(0).String(), "what is intact is shown")
}

// framed puts a payload into a section with a right CRC.
func framed(version byte, payload string) []byte {
	b := append([]byte("CHMF"), version, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	crc := crc32.Update(crc32.Checksum(b, format.Castagnoli), format.Castagnoli, []byte(payload))
	return append(binary.LittleEndian.AppendUint32(b, crc), payload...)
}

func TestANewerVersionIsNotCalledCorrupt(t *testing.T) {
	_, err := manifest.Decode(framed(manifest.Version+1, `{"anything": true}`))
	require.ErrorIs(t, err, format.ErrVersion)
	require.NotErrorIs(t, err, format.ErrCorrupt)
}

func TestPayloadsThatAreNoSectionAreRefused(t *testing.T) {
	head := `{"topic_id":"09000000-0000-4000-8000-000000000001","partition":0,"topic":"t","version":1,"log_start":0,"marks":{"log":9,"columnar":9,"text":0,"vector":0}`
	_, err := manifest.Decode(framed(1, head+`}`))
	require.NoError(t, err)
	for payload, reason := range map[string]string{
		``:                     "EOF",
		`{`:                    "unexpected EOF",
		`{}`:                   "partition",
		head + `,"color":1}`:   "unknown field",
		head + `}{}`:           "more than one value",
		head + `,"log":[{}]}`:  "has no name",
		head + `,"log":"all"}`: "cannot unmarshal",
		head + `,"columnar":[{"object":"a","size":1,"first":0,"next":1,"schema":1}]}`:        "schema 1 of 0",
		head + `,"producers":[{"id":1,"batches":[[4294967296,0,0,0]]}]}`:                     "sequences 4294967296",
		head + `,"clean":{"next":1}}`:                                                        "version 1 knows nothing",
		head + `,"masks":[]}`:                                                                "version 1 knows nothing",
		head + `,"log":[{"object":"a","size":1,"first":0,"next":1,"records":1,"masked":1}]}`: "version 1 knows nothing",
	} {
		_, err := manifest.Decode(framed(1, payload))
		require.ErrorIs(t, err, format.ErrCorrupt, payload)
		require.ErrorContains(t, err, reason, payload)
	}
}

func TestCheckHoldsTheInvariants(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(next *manifest.Section)
		reason string // empty: allowed
	}{
		{"nothing but the version", func(n *manifest.Section) {}, ""},
		{"a log file more", func(n *manifest.Section) { n.Log, n.Marks.Log = append(n.Log, logFile(30, 40)), 40 }, ""},
		{"a hole", func(n *manifest.Section) { n.Log, n.Marks.Log = append(n.Log, logFile(35, 40)), 40 }, ""},
		{"files merged", func(n *manifest.Section) { n.Log = []manifest.File{logFile(0, 18), logFile(20, 30)} }, ""},
		{"files below the log start dropped", func(n *manifest.Section) { n.LogStart, n.Log = 10, n.Log[1:] }, ""},
		{"a derived kind turned off", func(n *manifest.Section) { n.Columnar, n.Marks.Columnar = nil, 5 }, ""},
		{"same version", func(n *manifest.Section) { n.Version = 3 }, "do not follow"},
		{"a version left out", func(n *manifest.Section) { n.Version = 5 }, "do not follow"},
		{"another partition", func(n *manifest.Section) { n.Partition.Index = 1 }, "the manifest of"},
		{"log start goes back", func(n *manifest.Section) { n.LogStart = 4 }, "log start 4 after 5"},
		{"log mark goes back", func(n *manifest.Section) { n.Marks.Log = 29; n.Log = n.Log[:2] }, "log mark 29 after 30"},
		{"log mark goes back with all files", func(n *manifest.Section) { n.Marks.Log = 0; n.Log = nil }, "log mark 0 after 30"},
		{"columnar mark goes back with files left", func(n *manifest.Section) { n.Marks.Columnar = 10; n.Columnar = n.Columnar[:2] }, "columnar mark 10 after 20"},
		{"a log file lost", func(n *manifest.Section) { n.Log = append(n.Log[:1:1], n.Log[2]) }, "no longer cover offset 10"},
		{"all log files lost", func(n *manifest.Section) { n.Log = nil }, "no longer cover offset 5"},
		{"the end of a merge lost", func(n *manifest.Section) { n.Log[2] = logFile(20, 29) }, "no longer cover offset 29"},
		{"a columnar file lost", func(n *manifest.Section) { n.Columnar = n.Columnar[:2] }, "columnar files no longer cover offset 10"},
		{"above the mark", func(n *manifest.Section) { n.Log = append(n.Log, logFile(30, 40)) }, "the mark is 30"},
		{"overlap", func(n *manifest.Section) { n.Log = []manifest.File{logFile(0, 10), logFile(9, 30)} }, "begins at offset 9"},
		{"out of order", func(n *manifest.Section) { n.Log[0], n.Log[1] = n.Log[1], n.Log[0] }, "out of order"},
		{"columnar overlap in one day", func(n *manifest.Section) { n.Columnar[2] = parquet(5, 20, "2026-11-23") }, "begins at offset 5"},
		{"named twice", func(n *manifest.Section) { n.Log[1].Object = n.Log[0].Object }, "named twice"},
		{"no name", func(n *manifest.Section) { n.Log[1].Object = "" }, "has no name"},
		{"empty object", func(n *manifest.Section) { n.Log[1].Size = 0 }, "has 0 bytes"},
		{"empty range", func(n *manifest.Section) { n.Log[1].Next = n.Log[1].First }, "covers [10,10)"},
		{"more records than offsets", func(n *manifest.Section) { n.Log[1].Records = 9 }, "9 records in 8 offsets"},
		{"producers out of order", func(n *manifest.Section) { n.Producers[1].ID = 3999 }, "producer 3999 after 4000"},
		{"cleaning begins", func(n *manifest.Section) { n.Clean = manifest.Clean{Through: 20, At: 10} }, ""},
		{"a columnar file that cleaning left nothing of", func(n *manifest.Section) { n.Clean.Next, n.Columnar = 20, n.Columnar[:2] }, ""},
		{"the same while it is under way", func(n *manifest.Section) { n.Clean, n.Columnar = manifest.Clean{Through: 20, At: 20}, n.Columnar[:2] }, ""},
		{"a columnar file lost above", func(n *manifest.Section) { n.Clean.Next, n.Columnar = 15, n.Columnar[:2] }, "columnar files no longer cover offset 15"},
		{"a log file lost where it has been", func(n *manifest.Section) { n.Clean.Next, n.Log = 20, append(n.Log[:1:1], n.Log[2]) }, "no longer cover offset 10"},
		{"cleaning above the mark", func(n *manifest.Section) { n.Clean.Next = 31 }, "clean up to 31"},
		{"cleaning on the way to nowhere", func(n *manifest.Section) { n.Clean.At = 10 }, "at 10 on the way to 0"},
		{"a mask of splits alone", func(n *manifest.Section) { n.Masks = []manifest.File{mask(10, 21)} }, ""},
		{"a mask above the log mark", func(n *manifest.Section) { n.Masks = []manifest.File{mask(10, 31)} }, "mask mask/10-31"},
		{"splits", func(n *manifest.Section) { n.Marks.Text, n.Text = 30, []manifest.File{split(5, 30)} }, ""},
		{"a masked split", func(n *manifest.Section) {
			n.Marks.Text, n.Text = 30, []manifest.File{split(5, 30)}
			n.Text[0].Masked = 1
		}, ""},
		{"a split above its mark", func(n *manifest.Section) { n.Text = []manifest.File{split(5, 10)} }, "the mark is 5"},
		{"splits that overlap", func(n *manifest.Section) { n.Marks.Text, n.Text = 30, []manifest.File{split(5, 10), split(9, 20)} }, "begins at offset 9"},
		{"a footer larger than its split", func(n *manifest.Section) {
			n.Marks.Text, n.Text = 30, []manifest.File{split(5, 10)}
			n.Text[0].Footer = 101
		}, "a footer of 101 of 100 bytes"},
		{"shards above the log mark", func(n *manifest.Section) { n.Marks.Vector, n.Vector = 35, []manifest.File{shard(5, 35)} }, ""},
		{"a shard above its mark", func(n *manifest.Section) { n.Vector = []manifest.File{shard(5, 10)} }, "the mark is 5"},
		{"a table with vectors", func(n *manifest.Section) { n.Columnar[0].Settings = `{"model":"m"}` }, ""},
		{"settings of a log file", func(n *manifest.Section) { n.Log[0].Settings = "standard" }, `the settings "standard"`},
		{"masks out of order", func(n *manifest.Section) { n.Masks = []manifest.File{mask(10, 20), mask(0, 10)} }, "out of order"},
		{"a mask twice", func(n *manifest.Section) { n.Masks = []manifest.File{mask(0, 10), mask(0, 10)} }, "has the name"},
		{"more masked than there is", func(n *manifest.Section) { n.Columnar[0].Masked = 11 }, "11 of 10 records masked"},
		{"a masked log file", func(n *manifest.Section) { n.Log[0].Masked = 1 }, "1 of 10 records masked"},
		{"too many batches", func(n *manifest.Section) { n.Producers[0].Batches = make([]producer.Batch, 6) }, "has 6 batches"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := sample(0)
			next.Version = 4
			c.change(&next)
			err := manifest.Check(sample(0), next)
			if c.reason == "" {
				require.NoError(t, err)
				_, _, err = manifest.Encode([]manifest.Section{next})
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, manifest.ErrInvariant)
			require.ErrorContains(t, err, c.reason)
		})
	}
	back := sample(0)
	back.Version = 4
	require.ErrorContains(t, manifest.Check(cleaned(0), back), "clean up to 0 after 10")
	fewer := searchable(0)
	fewer.Version, fewer.Text = 4, fewer.Text[:1]
	require.ErrorContains(t, manifest.Check(searchable(0), fewer), "text files no longer cover offset 18")
	off := searchable(0)
	off.Version, off.Text, off.Marks.Text = 4, nil, off.LogStart
	require.NoError(t, manifest.Check(searchable(0), off))
	first := sample(0)
	first.Version = 1
	require.NoError(t, manifest.Check(manifest.Section{}, first))
}

// A merge or a loss of random files, judged by Check, against a plain set of
// offsets.
func TestCheckFindsEveryLostOffset(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		old, next := randomFiles(r), randomFiles(r)
		start := r.Int64N(20)
		a := manifest.Section{Partition: partition(0), Version: 1, Marks: manifest.Marks{Log: 200}, Log: old}
		b := a
		b.Version, b.LogStart, b.Log = 2, start, next
		want := int64(-1)
		for offset := start; offset < 200 && want < 0; offset++ {
			if covers(old, offset) && !covers(next, offset) {
				want = offset
			}
		}
		err := manifest.Check(a, b)
		if want < 0 {
			require.NoError(t, err, "seed %d", seed)
			continue
		}
		require.ErrorContains(t, err, fmt.Sprintf("no longer cover offset %d", want), "seed %d", seed)
	}
}

func randomFiles(r *rand.Rand) []manifest.File {
	var files []manifest.File
	at := r.Int64N(5)
	for range r.IntN(6) {
		next := at + 1 + r.Int64N(12)
		files = append(files, logFile(at, next))
		at = next
		if r.IntN(4) == 0 {
			at += r.Int64N(4)
		}
	}
	return files
}

func covers(files []manifest.File, offset int64) bool {
	for _, f := range files {
		if f.First <= offset && offset < f.Next {
			return true
		}
	}
	return false
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	_, _, err := manifest.Encode(nil)
	require.Error(t, err)
	_, _, err = manifest.Encode(make([]manifest.Section, 65))
	require.Error(t, err)
	bad := sample(0)
	bad.Log[0].Next = 100
	_, _, err = manifest.Encode([]manifest.Section{bad})
	require.ErrorContains(t, err, "log file log/0-10 covers [0,100)")
}

// What Decode accepts survives Encode and Decode unchanged and may follow its
// own predecessor; no bytes make it panic.
func FuzzDecode(f *testing.F) {
	for _, s := range []manifest.Section{cleaned(0), searchable(0), embedded(0)} {
		object, _, err := manifest.Encode([]manifest.Section{s})
		require.NoError(f, err)
		f.Add(object, string(object[manifest.FrameSize:]))
	}
	f.Fuzz(func(t *testing.T, b []byte, payload string) {
		_, _ = manifest.DecodeAll(b)
		s, err := manifest.Decode(framed(manifest.Version, payload))
		if err != nil {
			require.ErrorIs(t, err, format.ErrCorrupt)
			return
		}
		again, _, err := manifest.Encode([]manifest.Section{s})
		require.NoError(t, err)
		back, err := manifest.Decode(again)
		require.NoError(t, err)
		require.Equal(t, s, back)
		s.Version++
		if s.Version > back.Version {
			require.NoError(t, manifest.Check(back, s))
		}
	})
}

// large is a partition of 100 GiB: 800 log files and a Parquet file for each.
func large() manifest.Section {
	s := manifest.Section{Partition: partition(0), Topic: "t", Version: 1}
	for i := range int64(800) {
		first, next := i*100_000, (i+1)*100_000
		s.Log = append(s.Log, logFile(first, next))
		s.Columnar = append(s.Columnar, parquet(first, next, "2026-11-23", columns...))
		s.Marks.Log, s.Marks.Columnar = next, next
	}
	return s
}

func BenchmarkDecode1600Files(b *testing.B) {
	object, _, err := manifest.Encode([]manifest.Section{large()})
	require.NoError(b, err)
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := manifest.Decode(object); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFilesKeepTheirCRC(t *testing.T) {
	s := sample(0)
	s.Columnar[0].CRC = 0xdeadbeef
	object, places, err := manifest.Encode([]manifest.Section{s})
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.Decode(object[places[0].Position:][:places[0].Length])
	if err != nil || got.Columnar[0].CRC != 0xdeadbeef || got.Log[0].CRC != 0 {
		t.Errorf("%+v, %v", got.Columnar, err)
	}
}

func TestRangesOfACollectionGrowTogether(t *testing.T) {
	var ranges []manifest.Range
	for _, r := range []manifest.Range{{20, 30}, {0, 5}, {7, 7}, {40, 50}, {30, 35}, {4, 10}, {34, 41}} {
		ranges = manifest.Add(ranges, r)
	}
	require.Equal(t, []manifest.Range{{0, 10}, {20, 50}}, ranges)
	require.Equal(t, []manifest.Range{{0, 3}, {40, 50}}, manifest.Cut(ranges, manifest.Range{First: 3, Next: 40}))
	for whole, want := range map[manifest.Range][]manifest.Range{
		{0, 60}: {{10, 20}, {50, 60}}, {5, 15}: {{10, 15}}, {25, 45}: nil, {12, 18}: {{12, 18}}, {50, 51}: {{50, 51}},
	} {
		require.Equal(t, want, whole.Without(ranges), whole)
	}
}

func TestCollectionsAreChecked(t *testing.T) {
	for name, spoil := range map[string]func(*manifest.Section){
		"has the name":             func(s *manifest.Section) { s.Collections[1].Name = "new" },
		"starts at -1":             func(s *manifest.Section) { s.Collections[0].Start = -1 },
		"range [10,10)":            func(s *manifest.Section) { s.Collections[0].Ranges[0] = manifest.Range{First: 10, Next: 10} },
		"ranges that touch or are": func(s *manifest.Section) { s.Collections[0].Ranges[0].Next = 15 },
	} {
		s := embedded(0)
		spoil(&s)
		_, _, err := manifest.Encode([]manifest.Section{s})
		require.ErrorContains(t, err, name)
	}
	c := embedded(0).Collections[0]
	require.False(t, c.Needs(mask(15, 25)), "it has done without these records")
	require.True(t, c.Needs(mask(9, 12)))
	require.False(t, c.Needs(mask(10, 15)), "it has none of them")
}
