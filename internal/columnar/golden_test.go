package columnar

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/batch"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

// golden reads a golden file. With -update one that does not exist is made; one
// that does is left as it is: readers meet such files for ever.
func golden(t *testing.T, name string, made []byte) []byte {
	t.Helper()
	name = filepath.Join("testdata", name)
	if _, err := os.Stat(name); *update && os.IsNotExist(err) {
		if err := os.WriteFile(name, made, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// small are the records of the golden files: every column, type and kind of null.
func small() ([]rec, []row) {
	recs := []rec{
		{offset: 10, ms: noon, key: []byte("k"), value: []byte(`{"city":"Köln","amount":1,"price":0.5,"ok":true,"at":"2026-11-23T14:05:06.5Z","key":"x"}`)},
		{offset: 11, ms: noon + 1},
		{offset: 12, ms: noon + 2, key: []byte{}, value: []byte{}, headers: []batch.RecordHeader{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a")}, {Key: []byte("b"), Value: []byte{}}}},
		{offset: 20, ms: noon + 3, key: []byte{0xff, 0}, value: []byte(`{"city":"","amount":-7,"price":2,"ok":false}`), appendTime: true},
	}
	var rows []row
	for _, r := range recs {
		rows = append(rows, r.row())
	}
	rows[0].jsonByColumn = map[string]string{"city": `"Köln"`, "amount": "1", "price": "0.5", "ok": "true", "at": "1795442706500000", "json_key": `"x"`}
	rows[3].jsonByColumn = map[string]string{"city": `""`, "amount": "-7", "price": "2", "ok": "false"}
	return recs, rows
}

// Files of the first layout are read as they were meant, and are what is written
// today, byte for byte. Their values are not compressed: what a codec makes of
// them is the codec's business.
func TestGoldenFilesAreReadAndWritten(t *testing.T) {
	recs, rows := small()
	data := pack(t, recs, 2, batch.None)
	for name, set := range map[string]func(*Options){
		"v1.parquet":         func(*Options) {},
		"v1.arrow":           func(o *Options) { o.Format = "arrow" },
		"v1-vectors.parquet": func(o *Options) { o.Embeddings = vectorsOf(3) },
		"v1-vectors.arrow":   func(o *Options) { o.Format, o.Embeddings = "arrow", vectorsOf(3) },
	} {
		o := TableOptions("orders", testPartition)
		o.Compression, o.BloomColumns = "none", []string{"_key", "city"}
		set(&o)
		w := write(t, o, data)
		stands := golden(t, name, w.bytes[0])
		if !bytes.Equal(stands, w.bytes[0]) {
			t.Errorf("%s is not what is written today: a layout that stands is never changed, make a new one", name)
		}
		if o.Format == "arrow" {
			var text bytes.Buffer
			if err := DumpArrow(&text, name, bytes.NewReader(stands), int64(len(stands)), true); err != nil {
				t.Error(err)
			}
			if want := golden(t, name+".txt", text.Bytes()); text.String() != string(want) {
				t.Errorf("dump of %s:\n%s", name, text.String())
			}
			stands = asParquet(t, stands)
		}
		if o.Embeddings == nil {
			checkRows(t, stands, rows)
			continue
		}
		for offset, got := range secondVectors(t, stands) {
			if want, _ := o.Embeddings.Of(offset); !slices.Equal(got, want) {
				t.Errorf("%s: offset %d has vector %v, want %v", name, offset, got, want)
			}
		}
	}
}

func TestADamagedArrowFileIsAnErrorOfItsDump(t *testing.T) {
	stands := golden(t, "v1.arrow", nil)
	for _, data := range [][]byte{nil, []byte("ARROW1"), stands[:len(stands)/2], stands[:len(stands)-1]} {
		var text strings.Builder
		err := DumpArrow(&text, "the file", bytes.NewReader(data), int64(len(data)), true)
		if err == nil || !strings.Contains(err.Error(), "the file") {
			t.Errorf("%d bytes: %v", len(data), err)
		}
	}
}

// Whatever a footer says: no panic, and only a footer with the right checksum is
// believed.
func FuzzChecksums(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "v1.parquet"))
	if err != nil {
		f.Fatal(err)
	}
	footer := footerOf(data)
	at := bytes.Index(footer, []byte(ChecksumsKey)) + len(ChecksumsKey)
	f.Add(string(footer[at:]), footer, 1, 16)
	f.Add("00000000", []byte("00000000"), 0, 0)
	f.Fuzz(func(t *testing.T, value string, footer []byte, groups, leaves int) {
		if groups < 0 || leaves < 0 || groups > 1<<20 || leaves > 1<<20 {
			return
		}
		sums, err := ParseChecksums(value, footer, groups, leaves)
		if err != nil {
			return
		}
		if !bytes.Contains(footer, []byte(value)) {
			t.Error("checksums that the footer does not have")
		}
		if groups > 0 && leaves > 0 {
			sums.Of(groups-1, leaves-1, OffsetIndex)
		}
	})
}
