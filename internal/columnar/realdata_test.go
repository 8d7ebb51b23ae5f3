package columnar

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chronik-stream/chronik/internal/batch"
)

// TestRealEventsComeBackAsEncodingJSONReadsThem writes the wikiticker events and
// compares every column of every row with what encoding/json finds.
func TestRealEventsComeBackAsEncodingJSONReadsThem(t *testing.T) {
	dir := os.Getenv("CHRONIK_TESTDATA")
	if dir == "" {
		t.Skip("CHRONIK_TESTDATA is not set: no real events to read")
	}
	f, err := os.Open(filepath.Join(dir, "wikiticker", "wikiticker-2015-09-12-sampled.json.gz"))
	if err != nil {
		t.Skipf("no real events to read: %v", err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var recs []rec
	for lines := bufio.NewScanner(unpacked); lines.Scan(); {
		recs = append(recs, rec{offset: int64(len(recs)), ms: noon, value: append([]byte(nil), lines.Bytes()...)})
	}
	o := TableOptions("orders", testPartition)
	o.RowGroupRows = 10_000
	got := write(t, o, pack(t, recs, 500, batch.Zstd))
	if got.Records != int64(len(recs)) || got.Objects != got.Records || got.FieldsLost != 0 {
		t.Fatalf("%+v", got.Result)
	}
	types := map[string]Type{}
	for _, c := range got.Files[0].Columns {
		types[c.Name] = c.Type
	}
	rows := readArrow(t, got.bytes[0])
	for i, r := range recs {
		compareEvent(t, types, rows[i], r.value)
	}
	t.Logf("%d events, %d columns, %d bytes become %d", len(recs), len(types), 17_109_000, got.Files[0].Size)
}

func compareEvent(t *testing.T, types map[string]Type, got row, value []byte) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(value, &fields); err != nil {
		t.Fatal(err)
	}
	present := 0
	for name, v := range fields {
		column := ColumnName(name)
		if v == nil {
			continue
		}
		present++
		want := fmt.Sprint(v)
		switch v := v.(type) {
		case string:
			want = fmt.Sprintf("%q", v)
			if types[column] == Timestamp {
				micros, ok := parseTimestamp([]byte(v))
				if !ok {
					t.Fatalf("offset %d: %s is no timestamp: %q", got.offset, column, v)
				}
				want = fmt.Sprint(micros)
			}
		case float64:
			if types[column] == Int64 {
				want = fmt.Sprint(int64(v))
			}
		}
		if got.jsonByColumn[column] != want {
			t.Fatalf("offset %d: column %s is %s, want %s", got.offset, column, got.jsonByColumn[column], want)
		}
	}
	if present != len(got.jsonByColumn) {
		t.Fatalf("offset %d: %d columns have a value, %d fields do", got.offset, len(got.jsonByColumn), present)
	}
}
