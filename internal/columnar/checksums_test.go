package columnar

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	second "github.com/parquet-go/parquet-go"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
)

// footerOf is the Thrift bytes of a file's metadata.
func footerOf(data []byte) []byte {
	n := len(data)
	return data[n-8-int(binary.LittleEndian.Uint32(data[n-8:])) : n-8]
}

func TestEveryPartOfAFileHasItsChecksum(t *testing.T) {
	o := TableOptions("orders", testPartition)
	o.RowGroupRows, o.PageBytes = 1000, 4096
	o.BloomColumns = []string{"_key", "a"}
	w := write(t, o, pack(t, randomRecords(7, 3500, noon), 50, batch.LZ4))
	for _, data := range w.bytes {
		f, err := second.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		value, ok := f.Lookup(ChecksumsKey)
		if !ok {
			t.Fatal("the footer has no checksums")
		}
		groups := f.Metadata().RowGroups
		leaves := len(f.Schema().Columns())
		sums, err := ParseChecksums(value, footerOf(data), len(groups), leaves)
		if err != nil {
			t.Fatal(err)
		}
		checked := map[Part]int{}
		for g := range groups {
			for i, c := range groups[g].Columns {
				begin := c.MetaData.DataPageOffset
				if d := c.MetaData.DictionaryPageOffset; d > 0 {
					begin = min(begin, d)
				}
				for part, place := range map[Part][2]int64{
					Chunk:       {begin, c.MetaData.TotalCompressedSize},
					BloomFilter: {c.MetaData.BloomFilterOffset, int64(c.MetaData.BloomFilterLength)},
					ColumnIndex: {c.ColumnIndexOffset, int64(c.ColumnIndexLength)},
					OffsetIndex: {c.OffsetIndexOffset, int64(c.OffsetIndexLength)},
				} {
					want := crc32.Checksum(data[place[0]:][:place[1]], format.Castagnoli)
					if got := sums.Of(g, i, part); got != want {
						t.Errorf("row group %d, column %d, part %d: %08x, want %08x", g, i, part, got, want)
					}
					if place[1] > 0 {
						checked[part]++
					}
				}
			}
		}
		if checked[Chunk] != len(groups)*leaves || checked[BloomFilter] < len(groups) || checked[ColumnIndex] == 0 || checked[OffsetIndex] == 0 {
			t.Errorf("parts of the file: %v", checked)
		}
	}
}

func TestStatisticsThatLookLikeTheChecksumsPlaceStay(t *testing.T) {
	zeros := `{"a":"` + strings.Repeat("0", 3000) + `"}`
	w := write(t, TableOptions("orders", testPartition), pack(t, []rec{{offset: 0, ms: noon, value: []byte(zeros)}}, 1, batch.None))
	compareReaders(t, w.bytes[0], 1)
	f, err := second.OpenFile(bytes.NewReader(w.bytes[0]), int64(len(w.bytes[0])))
	if err != nil {
		t.Fatal(err)
	}
	columns := f.Metadata().RowGroups[0].Columns
	if got := string(columns[len(columns)-1].MetaData.Statistics.MaxValue); strings.Trim(got, "0") != "" || got == "" {
		t.Errorf("the greatest value is %.40q", got)
	}
	value, _ := f.Lookup(ChecksumsKey)
	if _, err := ParseChecksums(value, footerOf(w.bytes[0]), 1, len(columns)); err != nil {
		t.Error(err)
	}
}

func TestAFlippedBitInTheFooterIsFound(t *testing.T) {
	w := write(t, TableOptions("orders", testPartition), pack(t, randomRecords(7, 30, noon), 50, batch.None))
	data := w.bytes[0]
	f, err := second.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	value, _ := f.Lookup(ChecksumsKey)
	leaves := len(f.Schema().Columns())
	footer := footerOf(data)
	for i := range footer {
		damaged := bytes.Clone(footer)
		damaged[i] ^= 1
		if _, err := ParseChecksums(value, damaged, 1, leaves); err == nil {
			t.Fatalf("byte %d of %d of the footer is another, and nobody noticed", i, len(footer))
		}
	}
	if _, err := ParseChecksums(value, footer, 2, leaves); err == nil {
		t.Error("checksums of one row group pass for two")
	}
}
