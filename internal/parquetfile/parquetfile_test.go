package parquetfile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
)

// written is a file of a table, with several row groups.
func written(t testing.TB, edit func(*columnar.Options)) []byte {
	t.Helper()
	var b batch.Builder
	b.Reset(batch.Options{})
	for i := range 950 {
		value := []byte(fmt.Sprintf(`{"x":%d,"city":"c%d","late":%v,"y":%d.5}`, i, i%7, i%2 == 0, i))
		if i%10 == 3 {
			value = nil
		}
		b.Append(1_700_000_000_000+int64(i), []byte(fmt.Sprintf("k%d", i)), value, batch.RecordHeader{Key: []byte("h"), Value: []byte{byte(i)}})
	}
	raw, err := b.Build(nil)
	require.NoError(t, err)
	o := columnar.TableOptions("orders", topic.Partition{})
	o.RowGroupRows, o.PageBytes = 100, 512
	o.BloomColumns = []string{"_key", "x"}
	if edit != nil {
		edit(&o)
	}
	var out bytes.Buffer
	_, err = columnar.Write(t.Context(), columnar.Of(raw), batch.NewDecoder(1<<20), o, func(string) (io.Writer, error) { return &out, nil })
	require.NoError(t, err)
	return out.Bytes()
}

func twoGroups(o *columnar.Options) { o.RowGroupRows, o.BloomColumns = 500, nil }

func parsed(t testing.TB, data []byte) *Footer {
	t.Helper()
	f, ok, err := Parse(data, int64(len(data)))
	require.NoError(t, err)
	require.True(t, ok)
	return f
}

// assembled is the file that a plan makes of another one.
func assembled(t testing.TB, data []byte, a Assembly) []byte {
	t.Helper()
	out := bytes.Clone(a.Head)
	for _, p := range a.Pieces {
		require.EqualValues(t, len(out), p.At)
		piece := data[p.Offset:p.End()]
		require.Equal(t, p.CRC, crc32.Checksum(piece, format.Castagnoli))
		out = append(out, piece...)
	}
	out = append(out, a.Tail...)
	require.EqualValues(t, a.Size, len(out))
	return out
}

// column reads a leaf of a row group with parquet-go.
func column(file *parquet.File, group, leaf int) (values []parquet.Value, err error) {
	pages := file.RowGroups()[group].ColumnChunks()[leaf].Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		buffer := make([]parquet.Value, page.NumValues())
		n, err := page.Values().ReadValues(buffer)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, v := range buffer[:n] {
			values = append(values, v.Clone())
		}
	}
}

func TestAnAssembledFileHasWhatWasChosenAndNothingElse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, compression := range []string{"zstd", "none"} {
		data := written(t, func(o *columnar.Options) { o.Compression = compression })
		f := parsed(t, data)
		require.Equal(t, 10, f.Groups())
		whole, err := parquet.OpenFile(bytes.NewReader(data), f.Size)
		require.NoError(t, err)
		for range 20 {
			var groups []int
			rows := int64(0)
			for g := range f.Groups() {
				if rng.IntN(2) == 0 {
					groups = append(groups, g)
					rows += f.Rows(g)
				}
			}
			leaves := make([]bool, len(f.Leaves))
			for i := range leaves {
				leaves[i] = rng.IntN(2) == 0
			}
			a := f.Assemble(groups, leaves)
			require.Equal(t, rows, a.Rows)
			made := assembled(t, data, a)
			file, err := parquet.OpenFile(bytes.NewReader(made), a.Size)
			require.NoError(t, err)
			require.Equal(t, rows, file.NumRows())
			require.Equal(t, whole.Schema().String(), file.Schema().String())
			for i, g := range groups {
				for leaf := range leaves {
					got, err := column(file, i, leaf)
					if !leaves[leaf] {
						require.Error(t, err, "%s was left out", f.Leaves[leaf].Path)
						continue
					}
					require.NoError(t, err)
					want, err := column(whole, g, leaf)
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
			}
		}
	}
}

func TestStatisticsSayWhatTheFileSays(t *testing.T) {
	f := parsed(t, written(t, nil))
	at := map[string]int{}
	for i, l := range f.Leaves {
		at[l.Path] = i
	}
	require.Equal(t, "_headers", f.Leaves[at["_headers.key_value.value"]].Top)
	for g := range f.Groups() {
		s, ok := f.Statistics(g, at["_offset"])
		require.True(t, ok)
		require.Equal(t, []byte{byte(g * 100), byte(g * 100 >> 8), 0, 0, 0, 0, 0, 0}, s.Min)
		require.EqualValues(t, f.Rows(g), s.Values)
		s, ok = f.Statistics(g, at["city"])
		require.True(t, ok)
		require.Equal(t, "c0", string(s.Min))
		require.Equal(t, "c6", string(s.Max))
		require.Equal(t, f.Rows(g)/10, s.Nulls)
		if s, ok := f.Statistics(g, at["_value"]); ok {
			require.False(t, s.HasMin || s.HasMax)
			require.NotZero(t, s.Nulls, "there are nulls: it is known, or not known to be 0")
		}
	}
	f = parsed(t, written(t, func(o *columnar.Options) { o.Statistics = columnar.NoStatistics }))
	_, ok := f.Statistics(0, at["_offset"])
	require.False(t, ok)
}

func TestABloomFilterHasWhatTheChunkHas(t *testing.T) {
	data := written(t, nil)
	f := parsed(t, data)
	for leaf, l := range f.Leaves {
		r, ok := f.Bloom(0, leaf)
		if !ok {
			require.NotEqual(t, "_key", l.Path)
			continue
		}
		part := data[r.Offset:r.End()]
		require.Equal(t, r.CRC, crc32.Checksum(part, format.Castagnoli))
		bloom, err := ParseBloom(part)
		require.NoError(t, err)
		if l.Path != "_key" {
			continue
		}
		absent := 0
		for i := range 950 {
			if has := bloom.Contains([]byte(fmt.Sprintf("k%d", i))); i < 100 {
				require.True(t, has)
			} else if !has {
				absent++
			}
		}
		require.Greater(t, absent, 800)
	}
}

func TestAFileWithoutChecksumsIsNotTrusted(t *testing.T) {
	var out bytes.Buffer
	w := parquet.NewGenericWriter[struct{ A int64 }](&out)
	_, err := w.Write([]struct{ A int64 }{{1}, {2}})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, ok, err := Parse(out.Bytes(), int64(out.Len()))
	require.NoError(t, err)
	require.False(t, ok)
}

func TestADamagedFooterIsNeverBelieved(t *testing.T) {
	data := written(t, twoGroups)
	length, err := Length(data, int64(len(data)))
	require.NoError(t, err)
	tail := data[int64(len(data))-length:]
	for i := range tail {
		damaged := bytes.Clone(tail)
		damaged[i] ^= 1 << (i % 8)
		_, ok, err := Parse(damaged, int64(len(data)))
		require.False(t, ok && err == nil, "byte %d", i)
	}
	for cut := range 64 {
		_, _, err := Parse(tail[len(tail)-cut:], int64(len(data)))
		require.ErrorIs(t, err, format.ErrCorrupt)
	}
}

func TestNeighboursAreFetchedTogether(t *testing.T) {
	piece := func(offset, length int64) Piece { return Piece{Range: Range{Offset: offset, Length: length}} }
	got := Fetches([]Piece{piece(5000, 100), piece(0, 1000), piece(1000, 1000), piece(2100, 1000), piece(4000, 10)}, 1000, 1<<20)
	var ranges [][2]int64
	for _, f := range got {
		ranges = append(ranges, [2]int64{f.Offset, f.Length})
	}
	require.Equal(t, [][2]int64{{0, 3100}, {4000, 10}, {5000, 100}}, ranges)
	require.Len(t, Fetches([]Piece{piece(0, 1000), piece(1000, 1000), piece(2000, 5000)}, 1000, 2000), 2)
}

// Whatever the bytes: no panic, and what is believed can be assembled.
func FuzzParse(f *testing.F) {
	data := written(f, twoGroups)
	length, err := Length(data, int64(len(data)))
	require.NoError(f, err)
	f.Add(data[int64(len(data))-length:], int64(len(data)))
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"), int64(12))
	f.Fuzz(func(t *testing.T, tail []byte, size int64) {
		if int64(len(tail)) > size {
			return
		}
		var all Footer
		all.Size = size
		_ = all.parse(tail) // the part before the checksum
		footer, ok, err := Parse(tail, size)
		if err != nil || !ok {
			return
		}
		groups := make([]int, footer.Groups())
		for i := range groups {
			groups[i] = i
		}
		footer.Assemble(groups, make([]bool, len(footer.Leaves)))
	})
}
