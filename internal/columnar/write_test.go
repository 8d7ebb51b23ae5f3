package columnar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	second "github.com/parquet-go/parquet-go"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
)

var testPartition = topic.Partition{Topic: topic.ID{1, 2, 3}, Index: 7}

// rec is a record to write, and how it is expected back.
type rec struct {
	offset, ms int64
	key, value []byte
	headers    []batch.RecordHeader
	appendTime bool
}

// pack makes batches of up to perBatch records each; offsets must be dense
// within a batch and may have holes in between.
func pack(t testing.TB, recs []rec, perBatch int, codec batch.Codec) []byte {
	t.Helper()
	var out []byte
	var b batch.Builder
	for i := 0; i < len(recs); {
		b.Reset(batch.Options{Codec: codec})
		first := i
		for ; i < len(recs) && i-first < perBatch && recs[i].offset == recs[first].offset+int64(i-first) && recs[i].appendTime == recs[first].appendTime; i++ {
			b.Append(recs[i].ms, recs[i].key, recs[i].value, recs[i].headers...)
		}
		at := len(out)
		var err error
		if out, err = b.Build(out); err != nil {
			t.Fatal(err)
		}
		if recs[first].appendTime {
			batch.PatchLogAppendTime(out[at:], recs[first].ms)
		}
		batch.PatchOffset(out[at:], recs[first].offset, 3)
	}
	return out
}

type written struct {
	Result
	bytes [][]byte // of Result.Files
}

func write(t testing.TB, o Options, chunks ...[]byte) written {
	t.Helper()
	w, err := tryWrite(o, chunks...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func tryWrite(o Options, chunks ...[]byte) (written, error) {
	result, err := Write(context.Background(), Of(chunks...), batch.NewDecoder(64<<20), o, func(string) (io.Writer, error) { return &bytes.Buffer{}, nil })
	w := written{Result: result}
	for _, f := range result.Files {
		w.bytes = append(w.bytes, f.Writer.(*bytes.Buffer).Bytes())
	}
	return w, err
}

// row is a row of a file in plain Go values, so that two readers and the
// expectation can be compared as text.
type row struct {
	topic        string
	partition    int32
	offset       int64
	micros       int64
	typ          int64
	key, value   string // %q, or "null"
	headers      string
	jsonByColumn map[string]string
}

func quote(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

func (r rec) row() row {
	var h []string
	for _, x := range r.headers {
		h = append(h, fmt.Sprintf("%q=%s", x.Key, quote(x.Value)))
	}
	typ := int64(0)
	if r.appendTime {
		typ = 1
	}
	return row{topic: "orders", partition: 7, offset: r.offset, micros: r.ms * 1000, typ: typ, key: quote(r.key), value: quote(r.value), headers: strings.Join(h, ","), jsonByColumn: map[string]string{}}
}

// readArrow reads a file with arrow-go.
func readArrow(t testing.TB, data []byte) []row {
	t.Helper()
	r, err := pqfile.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 1000}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := reader.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	batches := array.NewTableReader(table, 0)
	for batches.Next() {
		rec := batches.RecordBatch()
		col := func(i int) string { return rec.Schema().Field(i).Name }
		for i := range int(rec.NumRows()) {
			blob := func(c int) string {
				b := rec.Column(c).(*array.Binary)
				if b.IsNull(i) {
					return "null"
				}
				return quote(b.Value(i))
			}
			out := row{
				topic:     rec.Column(0).(*array.String).Value(i),
				partition: rec.Column(1).(*array.Int32).Value(i),
				offset:    rec.Column(2).(*array.Int64).Value(i),
				micros:    int64(rec.Column(3).(*array.Timestamp).Value(i)),
				typ:       int64(rec.Column(4).(*array.Int8).Value(i)),
				key:       blob(5), value: blob(6), jsonByColumn: map[string]string{},
			}
			m := rec.Column(7).(*array.Map)
			from, to := m.ValueOffsets(i)
			var h []string
			for j := int(from); j < int(to); j++ {
				v := m.Items().(*array.Binary)
				text := "null"
				if v.IsValid(j) {
					text = quote(v.Value(j))
				}
				h = append(h, fmt.Sprintf("%q=%s", m.Keys().(*array.String).Value(j), text))
			}
			out.headers = strings.Join(h, ",")
			for c := 8; c < int(rec.NumCols()); c++ {
				if rec.Column(c).IsValid(i) {
					out.jsonByColumn[col(c)] = arrowCell(rec.Column(c), i)
				}
			}
			rows = append(rows, out)
		}
	}
	return rows
}

func arrowCell(c any, i int) string {
	switch c := c.(type) {
	case *array.Int64:
		return fmt.Sprint(c.Value(i))
	case *array.Float64:
		return fmt.Sprint(c.Value(i))
	case *array.Boolean:
		return fmt.Sprint(c.Value(i))
	case *array.Timestamp:
		return fmt.Sprint(int64(c.Value(i)))
	case *array.String:
		return fmt.Sprintf("%q", c.Value(i))
	}
	return fmt.Sprintf("%T", c)
}

// readSecond reads a file with parquet-go, by leaf columns.
func readSecond(t testing.TB, data []byte) []row {
	t.Helper()
	f, err := second.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	paths := f.Schema().Columns()
	var rows []row
	for _, group := range f.RowGroups() {
		r := group.Rows()
		buffer := make([]second.Row, 100)
		for {
			n, err := r.ReadRows(buffer)
			for _, values := range buffer[:n] {
				rows = append(rows, secondRow(f, paths, values))
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

func secondRow(f *second.File, paths [][]string, values second.Row) row {
	out := row{jsonByColumn: map[string]string{}}
	blob := func(v second.Value) string {
		if v.IsNull() {
			return "null"
		}
		return quote(v.ByteArray())
	}
	var keys, headers []string
	for _, v := range values {
		path := paths[v.Column()]
		switch path[0] {
		case colTopic:
			out.topic = string(v.ByteArray())
		case colPartition:
			out.partition = v.Int32()
		case colOffset:
			out.offset = v.Int64()
		case colTimestamp:
			out.micros = v.Int64()
		case colTimestampType:
			out.typ = int64(v.Int32())
		case colKey:
			out.key = blob(v)
		case colValue:
			out.value = blob(v)
		case colHeaders:
			switch {
			case path[2] == "key" && !v.IsNull():
				keys = append(keys, fmt.Sprintf("%q", v.ByteArray()))
			case path[2] == "value" && len(headers) < len(keys):
				headers = append(headers, keys[len(headers)]+"="+blob(v))
			}
		default:
			if v.IsNull() {
				continue
			}
			switch v.Kind() {
			case second.Boolean:
				out.jsonByColumn[path[0]] = fmt.Sprint(v.Boolean())
			case second.Int64:
				out.jsonByColumn[path[0]] = fmt.Sprint(v.Int64())
			case second.Double:
				out.jsonByColumn[path[0]] = fmt.Sprint(v.Double())
			default:
				out.jsonByColumn[path[0]] = fmt.Sprintf("%q", v.ByteArray())
			}
		}
	}
	out.headers = strings.Join(headers, ",")
	return out
}

// checkRows compares a file, as both readers see it, with what was written.
func checkRows(t *testing.T, data []byte, want []row) {
	t.Helper()
	for name, got := range map[string][]row{"arrow-go": readArrow(t, data), "parquet-go": readSecond(t, data)} {
		if len(got) != len(want) {
			t.Fatalf("%s: %d rows, want %d", name, len(got), len(want))
		}
		for i := range got {
			if g, w := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", want[i]); g != w {
				t.Fatalf("%s: row %d is\n%s, want\n%s", name, i, g, w)
			}
		}
	}
}

const noon = int64(1_795_435_200_000) // 2026-11-23T12:00:00Z

func TestEveryFieldOfARecordComesBack(t *testing.T) {
	recs := []rec{
		{offset: 10, ms: noon, key: []byte("k"), value: []byte(`{"city":"Köln","amount":1,"ok":true,"at":"2026-11-23T14:05:06.5Z","deep":{"x":1}}`)},
		{offset: 11, ms: noon + 1, key: nil, value: nil},
		{offset: 12, ms: noon + 2, key: []byte{}, value: []byte{}},
		{offset: 13, ms: noon + 3, key: []byte{0xff, 0}, value: []byte{0xfe, '{'}, headers: []batch.RecordHeader{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a"), Value: nil}, {Key: []byte("b"), Value: []byte{}}}},
		{offset: 20, ms: noon + 4, key: []byte("k"), value: []byte(` { "amount" : -2.5e1 , "city" : null, "timestamp":"x\ty", "AMOUNT": 3 } `)},
		{offset: 21, ms: noon + 5, key: []byte("k"), value: []byte(`{"amount":12345678901234567890,"ok":"yes","city":"a","city":"b"}`), headers: []batch.RecordHeader{{Key: []byte("z"), Value: []byte("9")}}},
		{offset: 22, ms: noon + 6, value: []byte(`{"amount":1e999,"at":"tomorrow"}`), appendTime: true},
	}
	var want []row
	for _, r := range recs {
		want = append(want, r.row())
	}
	want[0].jsonByColumn = map[string]string{"city": `"Köln"`, "amount": "1", "ok": `"true"`, "at": `"2026-11-23T14:05:06.5Z"`}
	want[4].jsonByColumn = map[string]string{"amount": "-25", "json_timestamp": `"x\ty"`}
	want[5].jsonByColumn = map[string]string{"amount": "1.2345678901234567e+19", "ok": `"yes"`, "city": `"a"`}
	want[6].jsonByColumn = map[string]string{"at": `"tomorrow"`}

	for codec := batch.None; codec <= batch.Zstd; codec++ {
		got := write(t, TableOptions("orders", testPartition), pack(t, recs, 3, codec))
		if len(got.Files) != 1 {
			t.Fatalf("%d files", len(got.Files))
		}
		f := got.Files[0]
		if f.First != 10 || f.Next != 23 || f.Records != 7 || f.MinTimestamp != noon || f.MaxTimestamp != noon+6 || f.TimePartition != "2026-11-23" {
			t.Errorf("file is described as %+v", f)
		}
		if f.Size != int64(len(got.bytes[0])) || f.CRC != crc32.Checksum(got.bytes[0], format.Castagnoli) {
			t.Errorf("size %d, CRC %08x of %d bytes", f.Size, f.CRC, len(got.bytes[0]))
		}
		if got.Next != 23 || got.Records != 7 || got.Objects != 4 || got.FieldsLost != 1 || len(got.Unreadable) != 0 {
			t.Errorf("result %+v", got.Result)
		}
		checkRows(t, got.bytes[0], want)
	}
}

func TestEveryCompressionAndStatisticIsReadable(t *testing.T) {
	recs := randomRecords(1, 3_000, noon)
	for _, compression := range []string{"zstd", "snappy", "lz4", "gzip", "none"} {
		for _, statistics := range []Statistics{FullStatistics, ChunkStatistics, NoStatistics} {
			o := TableOptions("orders", testPartition)
			o.Compression, o.Statistics, o.RowGroupRows, o.PageBytes = compression, statistics, 1_000, 4096
			got := write(t, o, pack(t, recs, 100, batch.None))
			if compression == "lz4" {
				// parquet-go 0.32.0 loses an LZ4_RAW page that its codec decodes
				// into a buffer of its own (Column.decompress).
				checkAgainst(t, readArrow(t, got.bytes[0]), recs)
				continue
			}
			compareReaders(t, got.bytes[0], len(recs))
			checkAgainst(t, readArrow(t, got.bytes[0]), recs)
		}
	}
	got := write(t, TailOptions("orders", testPartition), pack(t, recs, 100, batch.None))
	compareReaders(t, got.bytes[0], len(recs))
}

func compareReaders(t *testing.T, data []byte, rows int) {
	t.Helper()
	a, b := readArrow(t, data), readSecond(t, data)
	if len(a) != rows || len(b) != rows {
		t.Fatalf("%d and %d rows, want %d", len(a), len(b), rows)
	}
	for i := range a {
		if x, y := fmt.Sprintf("%+v", a[i]), fmt.Sprintf("%+v", b[i]); x != y {
			t.Fatalf("row %d: arrow-go reads\n%s, parquet-go\n%s", i, x, y)
		}
	}
}

// checkAgainst compares the system columns with what was written.
func checkAgainst(t *testing.T, rows []row, recs []rec) {
	t.Helper()
	if len(rows) != len(recs) {
		t.Fatalf("%d rows, want %d", len(rows), len(recs))
	}
	for i, got := range rows {
		want := recs[i].row()
		want.jsonByColumn = got.jsonByColumn
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Fatalf("row %d is\n%s, want\n%s", i, g, w)
		}
	}
}

func randomRecords(seed uint64, n int, ms int64) []rec {
	r := rand.New(rand.NewPCG(seed, 2))
	cities := []string{"Köln", "Paris", "Oslo", "São Paulo"}
	recs := make([]rec, n)
	for i := range recs {
		value := fmt.Sprintf(`{"id":%d,"city":%q,"amount":%.2f,"ok":%v,"at":%q}`, r.Int64(), cities[r.IntN(4)], r.Float64()*100, r.IntN(2) == 0,
			time.UnixMilli(ms+int64(i)).UTC().Format(time.RFC3339Nano))
		if r.IntN(20) == 0 {
			value = `{"id":null,"extra":1}`
		}
		recs[i] = rec{offset: int64(i), ms: ms + int64(i), key: fmt.Appendf(nil, "user-%d", r.IntN(n)), value: []byte(value)}
		if r.IntN(10) == 0 {
			recs[i].headers = []batch.RecordHeader{{Key: []byte("trace"), Value: fmt.Appendf(nil, "%x", r.Uint64())}}
		}
	}
	return recs
}

// The property that queries rest on: whatever the cut of batches, chunks,
// codecs, partitions and row groups, each record is in one row of one file.
func TestEachRecordIsOneRowOfOneFile(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		recs := randomRecords(seed, 1+r.IntN(2_000), noon)
		next := r.Int64N(100)
		for i := range recs {
			recs[i].offset = next
			recs[i].ms = noon + r.Int64N(5*24*3600*1000)
			if next++; r.IntN(50) == 0 {
				next += r.Int64N(10) // a hole
			}
		}
		o := TableOptions("orders", testPartition)
		o.Partitioning = Partitioning(r.IntN(3))
		o.RowGroupRows = 1 + r.IntN(700)
		o.RowGroupBytesMax = 1 + r.IntN(100_000)
		o.PartsMax = 1_000
		o.First = r.Int64N(200)
		o.Next = o.First + 1 + r.Int64N(2_000)
		got := write(t, o, pack(t, recs, 1+r.IntN(200), batch.Codec(r.IntN(5))))

		var rows []row
		for i, data := range got.bytes {
			f := got.Files[i]
			in := readArrow(t, data)
			if !slices.IsSortedFunc(in, func(a, b row) int { return int(a.offset - b.offset) }) {
				t.Fatalf("seed %d: rows of file %d are not in order", seed, i)
			}
			if int64(len(in)) != f.Records || in[0].offset != f.First || in[len(in)-1].offset != f.Next-1 {
				t.Fatalf("seed %d: file %d is not as described", seed, i)
			}
			for _, x := range in {
				if o.Partitioning.name(o.Partitioning.number(x.micros/1000)) != f.TimePartition {
					t.Fatalf("seed %d: %d is in file of %s", seed, x.micros, f.TimePartition)
				}
			}
			rows = append(rows, in...)
		}
		slices.SortFunc(rows, func(a, b row) int { return int(a.offset - b.offset) })
		i := 0
		for _, want := range recs {
			if want.offset < o.First || want.offset >= o.Next {
				continue
			}
			if i == len(rows) || rows[i].offset != want.offset || rows[i].value != quote(want.value) || rows[i].key != quote(want.key) || rows[i].micros != want.ms*1000 {
				t.Fatalf("seed %d: row %d is not record %d", seed, i, want.offset)
			}
			i++
		}
		if i != len(rows) {
			t.Fatalf("seed %d: %d rows too many", seed, len(rows)-i)
		}
	}
}

func TestTooManyTimePartitionsWaitForTheNextCall(t *testing.T) {
	var recs []rec
	for i := range 100 {
		recs = append(recs, rec{offset: int64(i), ms: noon + int64(i/5)*24*3600*1000, value: []byte("x")})
	}
	data := pack(t, recs, 7, batch.None)
	o := TableOptions("orders", testPartition)
	o.PartsMax = 8
	first := write(t, o, data)
	if len(first.Files) != 8 || first.Next != 40 || first.Records != 40 {
		t.Fatalf("%d files up to %d with %d records", len(first.Files), first.Next, first.Records)
	}
	o.First, o.PartsMax = first.Next, 64
	rest := write(t, o, data)
	if len(rest.Files) != 12 || rest.Next != 100 || rest.Records != 60 {
		t.Fatalf("%d files up to %d with %d records", len(rest.Files), rest.Next, rest.Records)
	}
}

func TestOnlyOneTimePartitionIsWrittenWhenAsked(t *testing.T) {
	var recs []rec
	for i := range 300 {
		recs = append(recs, rec{offset: int64(i), ms: noon + int64(i%3)*24*3600*1000, value: fmt.Appendf(nil, `{"d%d":1}`, i%3)})
	}
	o := TableOptions("orders", testPartition)
	o.PartsMax = 1
	day := "2026-11-24"
	o.Only = &day
	got := write(t, o, pack(t, recs, 10, batch.None))
	if len(got.Files) != 1 || got.Files[0].TimePartition != day || got.Files[0].Records != 100 || got.Next != 300 {
		t.Fatalf("%+v", got.Result)
	}
	if c := got.Files[0].Columns; len(c) != 1 || c[0].Name != "d1" {
		t.Errorf("columns %v come from records that are not in the file", c)
	}
}

func TestTransactionMarkersAreNoRows(t *testing.T) {
	data := pack(t, []rec{{offset: 0, ms: noon, value: []byte("a")}}, 1, batch.None)
	var b batch.Builder
	b.Reset(batch.Options{Flags: batch.Control | batch.Transactional})
	b.Append(noon, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 0})
	marker, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	batch.PatchOffset(marker, 1, 0)
	got := write(t, TableOptions("orders", testPartition), data, marker)
	if got.Records != 1 || got.Next != 2 {
		t.Errorf("%d records up to %d", got.Records, got.Next)
	}
	if got = write(t, TableOptions("orders", testPartition), marker); len(got.Files) != 0 || got.Next != 2 {
		t.Errorf("a marker alone gives %d files up to %d", len(got.Files), got.Next)
	}
}

func TestAnUndecodableBatchCostsNoOtherRecord(t *testing.T) {
	var recs []rec
	for i := range 30 {
		recs = append(recs, rec{offset: int64(i), ms: noon, value: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	good := pack(t, recs, 10, batch.None)
	var chunks [][]byte
	if err := batch.Each(good, func(_ batch.Header, raw []byte) error {
		chunks = append(chunks, slices.Clone(raw))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	last := len(chunks[1]) - (len(chunks[1])-batch.HeaderSize)/10
	chunks[1][last] = 0x7e // the length of its last record
	got := write(t, TableOptions("orders", testPartition), chunks...)
	if got.Records != 29 || got.Next != 30 {
		t.Errorf("%d records up to %d", got.Records, got.Next)
	}
	if len(got.Unreadable) != 1 || got.Unreadable[0].First != 19 || got.Unreadable[0].Next != 20 || !errors.Is(got.Unreadable[0].Err, format.ErrCorrupt) {
		t.Errorf("unreadable: %+v", got.Unreadable)
	}
	checkOffsets(t, got, 0, 19, 20, 30)
}

// checkOffsets wants the rows of the files to be those ranges of offsets.
func checkOffsets(t *testing.T, got written, ranges ...int64) {
	t.Helper()
	var offsets []int64
	for _, data := range got.bytes {
		for _, r := range readArrow(t, data) {
			offsets = append(offsets, r.offset)
		}
	}
	var want []int64
	for i := 0; i < len(ranges); i += 2 {
		for o := ranges[i]; o < ranges[i+1]; o++ {
			want = append(want, o)
		}
	}
	if !slices.Equal(offsets, want) {
		t.Errorf("offsets %v, want %v", offsets, want)
	}
}

func TestExtremeTimestampsStayWithinWhatReadersHold(t *testing.T) {
	recs := []rec{{offset: 0, ms: math.MaxInt64 / 2, value: []byte("a")}, {offset: 1, ms: -1, value: []byte("b")}, {offset: 2, ms: math.MinInt64 / 2, value: []byte("c")}}
	o := TableOptions("orders", testPartition)
	got := write(t, o, pack(t, recs, 1, batch.None))
	var names []string
	for i, f := range got.Files {
		names = append(names, f.TimePartition)
		ms := readArrow(t, got.bytes[i])[0].micros / 1000
		if y := time.UnixMilli(ms).UTC().Year(); y < 1 || y > 9999 {
			t.Errorf("year %d", y)
		}
	}
	if !slices.Equal(names, []string{"9999-12-31", "1969-12-31", "0001-01-01"}) {
		t.Errorf("time partitions %v", names)
	}
}

func TestFixedColumnsAreThereAndHoldOnlyWhatFits(t *testing.T) {
	o := TableOptions("orders", testPartition)
	o.Fixed = []Column{{Field: "n", Type: Int64}, {Field: "t", Type: Timestamp}, {Field: "x", Type: Text}, {Field: "b", Type: Bool}, {Field: "d", Type: Double}}
	recs := []rec{
		{offset: 0, ms: noon, value: []byte(`{"n":1,"t":"1970-01-01T00:00:01Z","x":7.50,"b":false,"d":2}`)},
		{offset: 1, ms: noon, value: []byte(`{"n":1.5,"t":"noon","x":[1],"b":0,"d":"2"}`)},
	}
	got := write(t, o, pack(t, recs, 2, batch.None))
	want := []row{recs[0].row(), recs[1].row()}
	want[0].jsonByColumn = map[string]string{"n": "1", "t": "1000000", "x": `"7.50"`, "b": "false", "d": "2"}
	checkRows(t, got.bytes[0], want)
	if got = write(t, o, pack(t, []rec{{offset: 0, ms: noon}}, 1, batch.None)); len(got.Files[0].Columns) != 5 {
		t.Errorf("columns %v", got.Files[0].Columns)
	}
}

func TestTheSchemaIsTheContracts(t *testing.T) {
	got := write(t, TableOptions("orders", testPartition), pack(t, []rec{{offset: 0, ms: noon, value: []byte(`{"b":true,"i":1,"d":1.5,"t":"2026-11-23T12:00:00Z","s":"x"}`)}}, 1, batch.None))
	r, err := pqfile.NewParquetReader(bytes.NewReader(got.bytes[0]))
	if err != nil {
		t.Fatal(err)
	}
	root := r.MetaData().Schema.Root()
	var lines []string
	ids := map[int32]bool{}
	for i := range root.NumFields() {
		f := root.Field(i)
		id := fmt.Sprint(f.FieldID())
		if f.FieldID() >= idJSONFirst {
			id = "json"
		}
		if ids[f.FieldID()] {
			t.Errorf("field id %d is given twice", f.FieldID())
		}
		ids[f.FieldID()] = true
		lines = append(lines, strings.ToLower(fmt.Sprintf("%s %s %s %s", id, f.Name(), f.RepetitionType(), f.LogicalType())))
	}
	want := `1 _topic required string
2 _partition required int(bitwidth=32, issigned=true)
3 _offset required int(bitwidth=64, issigned=true)
4 _timestamp required timestamp(isadjustedtoutc=true, timeunit=microseconds, is_from_converted_type=false, force_set_converted_type=false)
5 _timestamp_type required int(bitwidth=8, issigned=true)
6 _key optional none
7 _value optional none
8 _headers required map
json b optional none
json i optional int(bitwidth=64, issigned=true)
json d optional none
json t optional timestamp(isadjustedtoutc=true, timeunit=microseconds, is_from_converted_type=false, force_set_converted_type=false)
json s optional string`
	if g := strings.Join(lines, "\n"); g != want {
		t.Errorf("schema\n%s\nwant\n%s", g, want)
	}
}

func TestFieldIDsAreTheSameInEveryFile(t *testing.T) {
	text, integer := Column{Name: "b", Type: Text}, Column{Name: "b", Type: Int64}
	if jsonFieldID(text) == jsonFieldID(integer) {
		t.Error("columns of two types share a field id")
	}
	a, err := fileSchema([]Column{{Name: "a", Type: Text}, integer}, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := fileSchema([]Column{integer}, false)
	if err != nil {
		t.Fatal(err)
	}
	if a.Field(9).FieldID() != b.Field(8).FieldID() {
		t.Error("one column has two field ids")
	}
}

func TestFilesCanBePruned(t *testing.T) {
	recs := randomRecords(4, 5_000, noon)
	o := TableOptions("orders", testPartition)
	o.RowGroupRows = 1_000
	o.BloomColumns = []string{"_key", "city", "no such column"}
	got := write(t, o, pack(t, recs, 100, batch.None))
	f, err := second.OpenFile(bytes.NewReader(got.bytes[0]), int64(len(got.bytes[0])))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.RowGroups()) != 5 {
		t.Fatalf("%d row groups", len(f.RowGroups()))
	}
	for g, group := range f.RowGroups() {
		for c, chunk := range group.ColumnChunks() {
			name := strings.Join(f.Schema().Columns()[c], ".")
			if index, err := chunk.ColumnIndex(); name == colOffset {
				if err != nil || index.MinValue(0).Int64() != int64(g*1000) || index.MaxValue(index.NumPages()-1).Int64() != int64(g*1000+999) {
					t.Errorf("page index of %s in group %d: %v", name, g, err)
				}
			}
			bloom := chunk.BloomFilter()
			if (name == colKey || name == "city") != (bloom != nil) {
				t.Errorf("%s: bloom filter is there: %v", name, bloom != nil)
			}
			if name == colKey {
				checkBloom(t, bloom, recs[g*1000:g*1000+1000])
			}
		}
	}
	m := f.Metadata().RowGroups[0].Columns[2].MetaData
	if !strings.Contains(fmt.Sprint(m.Encoding), "DELTA_BINARY_PACKED") {
		t.Errorf("encodings of _offset: %v", m.Encoding)
	}
}

func checkBloom(t *testing.T, bloom second.BloomFilter, recs []rec) {
	t.Helper()
	for _, r := range recs {
		if ok, err := bloom.Check(second.ValueOf(r.key)); !ok || err != nil {
			t.Fatalf("the filter denies key %s: %v", r.key, err)
		}
	}
	perhaps := 0
	for i := range 1_000 {
		if ok, _ := bloom.Check(second.ValueOf(fmt.Appendf(nil, "absent-%d", i))); ok {
			perhaps++
		}
	}
	if perhaps > 50 {
		t.Errorf("the filter says perhaps to %d of 1000 absent keys", perhaps)
	}
}

func TestTheSameRecordsGiveTheSameBytes(t *testing.T) {
	data := pack(t, randomRecords(5, 2_000, noon), 100, batch.LZ4)
	a, b := write(t, TableOptions("orders", testPartition), data), write(t, TableOptions("orders", testPartition), data)
	if !bytes.Equal(a.bytes[0], b.bytes[0]) {
		t.Error("two writes of the same records differ")
	}
}

func TestAFailingWriterIsAnError(t *testing.T) {
	data := pack(t, randomRecords(6, 500, noon), 100, batch.None)
	for limit := 0; limit < 20_000; limit += 997 {
		_, err := Write(context.Background(), Of(data), batch.NewDecoder(1<<20), TableOptions("orders", testPartition),
			func(string) (io.Writer, error) { return &limited{left: limit}, nil })
		if err == nil {
			t.Fatalf("after %d bytes: no error", limit)
		}
	}
}

// limited takes so many bytes and then fails.
type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, io.ErrShortWrite
	}
	l.left -= len(p)
	return len(p), nil
}

func TestWriteStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Write(ctx, Of(pack(t, randomRecords(7, 10, noon), 5, batch.None)), batch.NewDecoder(1<<20), TailOptions("orders", testPartition), func(string) (io.Writer, error) { return io.Discard, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestASourceThatFailsIsAnError(t *testing.T) {
	broken := errors.New("broken")
	source := Batches(func(yield func(Batch, error) bool) { yield(Batch{}, broken) })
	if _, err := Write(context.Background(), source, batch.NewDecoder(1), TailOptions("orders", testPartition), nil); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if _, err := tryWrite(TailOptions("orders", testPartition), []byte("no batch at all")); !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}
