package columnar

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/chronik-stream/chronik/internal/batch"
)

// asParquet is what a query node makes of an Arrow file.
func asParquet(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := FromArrow(context.Background(), bytes.NewReader(data), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnArrowFileHasTheRowsOfTheParquetFile(t *testing.T) {
	recs := randomRecords(3, 3_500, noon)
	for i := range recs {
		switch i % 7 {
		case 1:
			recs[i].value = nil
		case 2:
			recs[i].key = nil
		case 3:
			recs[i].key, recs[i].value = []byte{}, []byte{}
		case 4:
			recs[i].headers = []batch.RecordHeader{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a"), Value: nil}, {Key: []byte("b"), Value: []byte{}}}
		}
	}
	data := pack(t, recs, 100, batch.LZ4)
	o := TableOptions("orders", testPartition)
	o.RowGroupRows = 1000
	want := readArrow(t, write(t, o, data).bytes[0])
	o.Format = "arrow"
	for _, compression := range []string{"zstd", "lz4", "none"} {
		o.Compression = compression
		got := write(t, o, data)
		f := got.Files[0]
		if f.Size != int64(len(got.bytes[0])) || f.Records != int64(len(recs)) || f.First != 0 || f.Next != int64(len(recs)) {
			t.Errorf("%s: file is described as %+v", compression, f)
		}
		r, err := ipc.NewFileReader(bytes.NewReader(got.bytes[0]))
		if err != nil {
			t.Fatal(err)
		}
		if r.NumRecords() != 4 {
			t.Errorf("%s: %d record batches, want one for each row group", compression, r.NumRecords())
		}
		parquet := asParquet(t, got.bytes[0])
		checkRows(t, parquet, want)
		checkAgainst(t, readArrow(t, parquet), recs)
	}
	for _, compression := range []string{"gzip", "snappy"} {
		o.Compression = compression
		if _, err := tryWrite(o, data); err == nil {
			t.Errorf("an Arrow file is written with %s", compression)
		}
	}
}

func TestAnArrowFileHasTheContractsSchema(t *testing.T) {
	o := TableOptions("orders", testPartition)
	o.Format = "arrow"
	got := write(t, o, pack(t, []rec{{offset: 0, ms: noon, value: []byte(`{"b":true,"i":1,"d":1.5,"t":"2026-11-23T12:00:00Z","s":"x"}`)}}, 1, batch.None))
	r, err := ipc.NewFileReader(bytes.NewReader(got.bytes[0]))
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, f := range r.Schema().Fields() {
		text += fmt.Sprintf("%s %s %v\n", f.Name, f.Type, f.Nullable)
	}
	want := `_topic utf8 false
_partition int32 false
_offset int64 false
_timestamp timestamp[us, tz=UTC] false
_timestamp_type int8 false
_key binary true
_value binary true
_headers map<utf8, binary, items_nullable> false
b bool true
i int64 true
d float64 true
t timestamp[us, tz=UTC] true
s utf8 true
`
	if text != want {
		t.Errorf("schema\n%s\nwant\n%s", text, want)
	}
}

// The same field ids, so that a file that was Arrow is the same table.
func TestAParquetFileMadeOfArrowHasTheSameFields(t *testing.T) {
	recs := pack(t, randomRecords(3, 100, noon), 100, batch.None)
	o := TableOptions("orders", testPartition)
	fields := func(data []byte) string {
		text := ""
		root := openSchema(t, data)
		for i := range root.NumFields() {
			f := root.Field(i)
			text += fmt.Sprintf("%d %s %s %s\n", f.FieldID(), f.Name(), f.RepetitionType(), f.LogicalType())
		}
		return text
	}
	want := fields(write(t, o, recs).bytes[0])
	o.Format = "arrow"
	if got := fields(asParquet(t, write(t, o, recs).bytes[0])); got != want {
		t.Errorf("schema\n%s\nwant\n%s", got, want)
	}
}

func openSchema(t *testing.T, data []byte) *schema.GroupNode {
	t.Helper()
	r, err := pqfile.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return r.MetaData().Schema.Root()
}
