package compactor

import (
	"bytes"
	"testing"
	"time"

	second "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
)

// table makes a topic with these settings, gives it 2,500 records over two days,
// and returns its files as a reader that is not the writer's sees them.
func (w *world) table(name string, set map[string]string) (topic.Partition, []*second.File) {
	w.t.Helper()
	config := map[string]string{"columnar.enabled": "true", "retention.ms": "-1"}
	for key, value := range set {
		config[key] = value
	}
	p := part(w.topic(name, 1, config).ID, 0)
	midnight := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).UnixMilli()
	w.commit(rows{p: p, n: 2500, ms: midnight - (2 * time.Hour).Milliseconds() + 1, step: 4 * time.Hour.Milliseconds() / 2500})
	w.settle(w.start(w.quick(), w.store, w.bucket))
	w.check()
	section, _ := w.section(p)
	var files []*second.File
	for _, f := range section.Columnar {
		data := w.parquet(f)
		opened, err := second.OpenFile(bytes.NewReader(data), int64(len(data)))
		require.NoError(w.t, err)
		files = append(files, opened)
	}
	return p, files
}

// chunk is a column's first chunk.
func chunk(t *testing.T, f *second.File, column string) format.ColumnChunk {
	t.Helper()
	for i, path := range f.Schema().Columns() {
		if path[0] == column {
			return f.Metadata().RowGroups[0].Columns[i]
		}
	}
	require.Fail(t, "no column", column)
	return format.ColumnChunk{}
}

func (w *world) sizes(p topic.Partition) (sum int64) {
	section, _ := w.section(p)
	for _, f := range section.Columnar {
		sum += f.Size
	}
	return sum
}

func TestEverySettingIsSeenInTheFiles(t *testing.T) {
	set := func(pairs ...string) map[string]string {
		out := map[string]string{"columnar.partitioning": "none"}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = pairs[i+1]
		}
		return out
	}
	codec := func(want format.CompressionCodec) func(*testing.T, *second.File) {
		return func(t *testing.T, f *second.File) {
			for _, group := range f.Metadata().RowGroups {
				for _, c := range group.Columns {
					require.Equal(t, want, c.MetaData.Codec, "column %v", c.MetaData.PathInSchema)
				}
			}
		}
	}
	blooms := func(want ...string) func(*testing.T, *second.File) {
		return func(t *testing.T, f *second.File) {
			var got []string
			for i, path := range f.Schema().Columns() {
				if filter := f.RowGroups()[0].ColumnChunks()[i].BloomFilter(); filter != nil {
					got = append(got, path[0])
				}
			}
			require.ElementsMatch(t, want, got)
		}
	}
	dictionaries := func(want ...string) func(*testing.T, *second.File) {
		return func(t *testing.T, f *second.File) {
			var got []string
			for i, c := range f.Metadata().RowGroups[0].Columns {
				if c.MetaData.DictionaryPageOffset > 0 {
					got = append(got, f.Schema().Columns()[i][0])
				}
			}
			require.ElementsMatch(t, want, got)
		}
	}
	statistics := func(chunks, pages bool) func(*testing.T, *second.File) {
		return func(t *testing.T, f *second.File) {
			for _, column := range []string{"_offset", "_key", "n"} {
				c := chunk(t, f, column)
				require.Equal(t, chunks, len(c.MetaData.Statistics.MinValue) > 0, column)
				require.Equal(t, pages, c.ColumnIndexLength > 0, column)
			}
		}
	}
	for _, c := range []struct {
		name  string
		set   map[string]string
		check func(*testing.T, *second.File)
	}{
		{"zstd", set(), codec(format.Zstd)},
		{"snappy", set("columnar.compression", "snappy"), codec(format.Snappy)},
		{"lz4", set("columnar.compression", "lz4"), codec(format.Lz4Raw)},
		{"gzip", set("columnar.compression", "gzip"), codec(format.Gzip)},
		{"none", set("columnar.compression", "none"), codec(format.Uncompressed)},
		{"row groups", set("columnar.row_group_size", "1000"), func(t *testing.T, f *second.File) {
			var rows []int64
			for _, group := range f.Metadata().RowGroups {
				rows = append(rows, group.NumRows)
			}
			require.Equal(t, []int64{1000, 1000, 500}, rows)
		}},
		{"pages", set("columnar.page_size", "1024", "columnar.dictionary", "false"), func(t *testing.T, f *second.File) {
			for i, path := range f.Schema().Columns() {
				if path[0] != "_value" && path[0] != "pad" {
					continue
				}
				pages := f.RowGroups()[0].ColumnChunks()[i].Pages()
				most := int64(0)
				for page, err := pages.ReadPage(); err == nil; page, err = pages.ReadPage() {
					most = max(most, page.NumRows())
				}
				require.NoError(t, pages.Close())
				require.LessOrEqual(t, most, int64(128), "a page of %s has rows of a hundred bytes", path[0])
			}
		}},
		{"bloom filter", set(), blooms("_key")},
		{"bloom filters", set("columnar.bloom_filter.columns", "key,n,_value"), blooms("_key", "n", "_value")},
		{"no bloom filter", set("columnar.bloom_filter", "false"), blooms()},
		{"dictionaries", set(), dictionaries("_topic", "pad")},
		{"dictionary", set("columnar.dictionary.columns", "topic"), dictionaries("_topic")},
		{"no dictionary", set("columnar.dictionary", "false"), dictionaries()},
		{"full statistics", set(), statistics(true, true)},
		{"chunk statistics", set("columnar.statistics", "chunk"), statistics(true, false)},
		{"no statistics", set("columnar.statistics", "none"), statistics(false, false)},
		{"json schema", set("columnar.json_schema", `{"n":"text","later":"timestamp"}`), func(t *testing.T, f *second.File) {
			require.Equal(t, format.ByteArray, chunk(t, f, "n").MetaData.Type)
			later := chunk(t, f, "later").MetaData
			require.Equal(t, format.Int64, later.Type)
			require.Equal(t, int64(2500), later.Statistics.NullCount)
		}},
		{"arrow", set("columnar.format", "arrow", "columnar.row_group_size", "1000"), func(t *testing.T, f *second.File) {
			require.Len(t, f.RowGroups(), 3)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p, files := w.table("orders", c.set)
			require.Len(t, files, 1)
			c.check(t, files[0])
			section, _ := w.section(p)
			want := "parquet"
			if c.name == "arrow" {
				want = "arrow"
			}
			require.Equal(t, want, section.Columnar[0].Format)
			require.Contains(t, section.Columnar[0].Object, "/"+want+"/")
			w.sweep(w.start(Config{ID: "janitor"}, w.store, w.bucket))
			w.check()
		})
	}
}

func TestAHigherLevelGivesSmallerFiles(t *testing.T) {
	w := newWorld(t)
	low, _ := w.table("low", map[string]string{"columnar.compression.level": "1"})
	high, _ := w.table("high", map[string]string{"columnar.compression.level": "19"})
	require.Less(t, w.sizes(high), w.sizes(low))
}

func TestTimePartitionsAreThoseOfTheSetting(t *testing.T) {
	for setting, want := range map[string][]string{
		"none":   {""},
		"daily":  {"2026-11-22", "2026-11-23"},
		"hourly": {"2026-11-22T22", "2026-11-22T23", "2026-11-23T00", "2026-11-23T01"},
	} {
		w := newWorld(t)
		p, _ := w.table("orders", map[string]string{"columnar.partitioning": setting})
		section, _ := w.section(p)
		var got []string
		for _, f := range section.Columnar {
			got = append(got, f.TimePartition)
		}
		require.Equal(t, want, got, setting)
	}
}

// Settings may change while a table is in use: new files are by the new ones, and
// a merge makes all of them so.
func TestChangedSettingsHoldForNewFilesAndMerges(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 1, map[string]string{"columnar.enabled": "true", "retention.ms": "-1"})
	p := part(orders.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	formats := func() (out []string) {
		section, _ := w.section(p)
		for _, f := range section.Columnar {
			out = append(out, f.Format)
		}
		return out
	}
	step := func(key, value string) {
		require.NoError(t, w.update("orders", key, value))
		w.commit(rows{p: p, n: 20})
		w.settle(c)
		w.check()
	}
	step("columnar.compression", "lz4")
	step("columnar.format", "arrow")
	require.Equal(t, []string{"parquet", "arrow"}, formats())
	step("columnar.json_schema", `{"n":"text"}`)
	step("columnar.statistics", "none")
	require.Equal(t, []string{"arrow"}, formats(), "four files are merged into one by the latest settings")
	section, _ := w.section(p)
	require.Contains(t, section.Columnar[0].Columns, manifest.Column{Name: "n", Type: "text"})
	step("columnar.format", "parquet")
	require.Equal(t, []string{"arrow", "parquet"}, formats())
}
