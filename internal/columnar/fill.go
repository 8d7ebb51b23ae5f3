package columnar

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
)

// fill walks all records a second time and writes them.
func fill(ctx context.Context, batches Batches, decoder *batch.Decoder, o Options, p *plan, create func(string) (io.Writer, error)) ([]File, error) {
	if p.result.Records == 0 {
		return nil, nil
	}
	t := &table{
		options: o,
		plan:    p,
		create:  create,
		files:   make(map[int64]*file),
	}
	_, err := walk(ctx, batches, decoder, o.First, p.result.Next, func(r *batch.Record, appendTime bool) (bool, error) {
		return true, t.append(r, appendTime)
	})
	if err != nil {
		return nil, err
	}
	return t.close()
}

// table distributes records over the files of their time partitions.
type table struct {
	options Options
	plan    *plan
	create  func(string) (io.Writer, error)
	scan    scanner
	files   map[int64]*file
	current *file
	bytes   int // in all row groups that are being filled
}

func (t *table) append(r *batch.Record, appendTime bool) error {
	number := t.options.Partitioning.number(r.Timestamp)
	if t.current == nil || t.current.number != number {
		f, err := t.file(number)
		if err != nil {
			return err
		}
		t.current = f
	}
	f := t.current
	if f.part.skip {
		return nil
	}
	t.bytes += f.append(r, appendTime)
	if len(t.plan.columns) > 0 && t.scan.object(r.Value) {
		f.appendFields(t.plan.fields, t.scan.fields)
	}
	switch {
	case len(f.offsets) >= t.options.RowGroupRows:
		return t.flush(f)
	case t.bytes >= t.options.RowGroupBytesMax:
		return t.flush(t.largest())
	}
	return nil
}

func (t *table) largest() *file {
	largest := t.current
	for _, f := range t.files {
		if f.bytes > largest.bytes {
			largest = f
		}
	}
	return largest
}

func (t *table) flush(f *file) error {
	t.bytes -= f.bytes
	if err := f.flush(t.options); err != nil {
		return err
	}
	t.options.Pause()
	return nil
}

// file returns the file of a time partition, beginning it if need be.
func (t *table) file(number int64) (*file, error) {
	if f := t.files[number]; f != nil {
		return f, nil
	}
	p := t.plan.parts[number]
	if p == nil {
		return nil, fmt.Errorf("time partition %q came up in the second walk only: the batches changed", t.options.Partitioning.name(number))
	}
	f := &file{number: number, part: p, out: File{
		TimePartition: p.name,
		First:         math.MaxInt64,
		MinTimestamp:  math.MaxInt64,
		MaxTimestamp:  math.MinInt64,
		Columns:       t.plan.columns,
	}}
	if !p.skip {
		if err := f.begin(t.options, t.create); err != nil {
			return nil, err
		}
	}
	t.files[number] = f
	return f, nil
}

// close writes what is left and describes the files, in order of first row.
func (t *table) close() ([]File, error) {
	var out []File
	for _, f := range t.files {
		if f.part.skip {
			continue
		}
		if len(f.offsets) > 0 {
			if err := t.flush(f); err != nil {
				return nil, err
			}
		}
		if err := f.parquet.Close(); err != nil {
			return nil, fmt.Errorf("close file %q: %w", f.part.name, err)
		}
		f.out.Size, f.out.CRC = f.sink.size, f.sink.crc
		out = append(out, f.out)
	}
	slices.SortFunc(out, func(a, b File) int { return cmp.Compare(a.First, b.First) })
	return out, nil
}

// file is a Parquet file that is being written, with its current row group.
type file struct {
	number  int64
	part    *part
	out     File
	sink    *sink
	schema  *arrow.Schema
	parquet *pqarrow.FileWriter
	bytes   int // an upper estimate of what the row group takes
	perRow  int // what a row takes besides its bytes

	offsets    []int64
	timestamps []int64 // µs
	types      []int8  // of the timestamps
	keys       blobs
	values     blobs
	headers    headers
	cells      []cells

	zeros      []int32 // indices into the dictionary of _topic
	partitions []int32
}

func (f *file) begin(o Options, create func(string) (io.Writer, error)) error {
	out, err := create(f.part.name)
	if err != nil {
		return fmt.Errorf("create file %q: %w", f.part.name, err)
	}
	f.out.Writer = out
	f.sink = &sink{out: out}
	f.schema = arrowSchema(f.out.Columns)
	f.parquet, err = pqarrow.NewFileWriter(f.schema, f.sink, properties(o, f.out.Columns, f.part.records), pqarrow.DefaultWriterProps())
	if err != nil {
		return fmt.Errorf("begin file %q: %w", f.part.name, err)
	}
	f.cells = make([]cells, len(f.out.Columns))
	f.perRow = 8 + 8 + 1 + 4 + 4 + 4
	for i := range f.cells {
		f.cells[i].typ = f.out.Columns[i].Type
		f.perRow += 8
	}
	f.reset()
	return nil
}

func (f *file) reset() {
	f.bytes = 0
	f.offsets, f.timestamps, f.types = f.offsets[:0], f.timestamps[:0], f.types[:0]
	f.keys.reset()
	f.values.reset()
	f.headers.reset()
	for i := range f.cells {
		f.cells[i].reset()
	}
}

// append adds the system columns of a record. It returns by how much the row
// group grew; text columns are counted as if they took the whole value.
func (f *file) append(r *batch.Record, appendTime bool) int {
	f.offsets = append(f.offsets, r.Offset)
	f.timestamps = append(f.timestamps, clampMs(r.Timestamp)*1000)
	f.types = append(f.types, 0)
	if appendTime {
		f.types[len(f.types)-1] = 1
	}
	f.keys.append(r.Key)
	f.values.append(r.Value)
	grown := f.perRow + len(r.Key) + 2*len(r.Value) + f.headers.append(r.Headers)
	f.bytes += grown

	f.out.Records++
	f.out.First = min(f.out.First, r.Offset)
	f.out.Next = max(f.out.Next, r.Offset+1)
	f.out.MinTimestamp = min(f.out.MinTimestamp, r.Timestamp)
	f.out.MaxTimestamp = max(f.out.MaxTimestamp, r.Timestamp)
	return grown
}

// appendFields adds the JSON fields of the record that append added last.
// Of a name that occurs twice the first counts, as in the engine's functions.
func (f *file) appendFields(in *inference, fields []field) {
	row := len(f.offsets) - 1
	guess := &in.first
	for j := range fields {
		i := in.find(&fields[j], guess)
		if i < 0 {
			continue
		}
		known := &in.fields[i]
		guess = &known.after
		if known.slot < 0 {
			continue
		}
		c := &f.cells[known.slot]
		if c.rows > row {
			continue
		}
		c.pad(row)
		c.append(&fields[j])
	}
}

// flush writes the current row group.
func (f *file) flush(o Options) error {
	rows := len(f.offsets)
	record := f.record(o, rows)
	defer record.Release()
	if err := f.parquet.Write(record); err != nil {
		return fmt.Errorf("write row group of file %q: %w", f.part.name, err)
	}
	f.reset()
	return nil
}

// record hands the buffers to Arrow.
func (f *file) record(o Options, rows int) arrow.RecordBatch {
	for len(f.zeros) < rows {
		f.zeros = append(f.zeros, 0)
		f.partitions = append(f.partitions, o.Partition.Index)
	}
	plain := func(t arrow.DataType, values *memory.Buffer) arrow.ArrayData {
		return array.NewData(t, rows, []*memory.Buffer{nil, values}, nil, 0, 0)
	}
	datas := []arrow.ArrayData{
		topics(o.Topic, f.zeros[:rows]),
		plain(arrow.PrimitiveTypes.Int32, bytesOf(f.partitions[:rows])),
		plain(arrow.PrimitiveTypes.Int64, bytesOf(f.offsets)),
		plain(timestampType, bytesOf(f.timestamps)),
		plain(arrow.PrimitiveTypes.Int8, bytesOf(f.types)),
		f.keys.arrow(arrow.BinaryTypes.Binary),
		f.values.arrow(arrow.BinaryTypes.Binary),
		f.headers.arrow(rows),
	}
	for i := range f.cells {
		f.cells[i].pad(rows)
		datas = append(datas, f.cells[i].arrow())
	}
	arrays := make([]arrow.Array, len(datas))
	for i, data := range datas {
		arrays[i] = array.MakeFromData(data)
		defer arrays[i].Release() // the record keeps its own reference
		data.Release()
	}
	return array.NewRecordBatch(f.schema, arrays, int64(rows))
}

// topics is a column with one value throughout.
func topics(name string, zeros []int32) arrow.ArrayData {
	var dictionary blobs
	dictionary.reset()
	dictionary.append([]byte(name))
	values := array.NewData(arrow.BinaryTypes.String, 1, []*memory.Buffer{nil, bytesOf(dictionary.offsets), memory.NewBufferBytes(dictionary.data)}, nil, 0, 0)
	defer values.Release()
	return array.NewDataWithDictionary(topicType, len(zeros), []*memory.Buffer{nil, bytesOf(zeros)}, 0, 0, values)
}

// headers is the column of the records' headers.
type headers struct {
	offsets []int32 // rows + 1 of them, into keys and values
	keys    blobs
	values  blobs
}

func (h *headers) reset() {
	h.offsets = append(h.offsets[:0], 0)
	h.keys.reset()
	h.values.reset()
}

// append adds the headers of a record and returns how many bytes that took. A
// key that is not UTF-8, which Kafka's own clients cannot make, is mended.
func (h *headers) append(from batch.Headers) int {
	before := len(h.keys.data) + len(h.values.data) + 8*h.keys.rows
	if from.Len() > 0 {
		from.Each(func(key, value []byte) {
			if !utf8.Valid(key) {
				key = []byte(string([]rune(string(key))))
			}
			h.keys.data = append(h.keys.data, key...)
			h.keys.end(true)
			h.values.append(value)
		})
	}
	h.offsets = append(h.offsets, int32(h.keys.rows))
	return len(h.keys.data) + len(h.values.data) + 8*h.keys.rows - before
}

func (h *headers) arrow(rows int) arrow.ArrayData {
	keys, values := h.keys.arrow(arrow.BinaryTypes.String), h.values.arrow(arrow.BinaryTypes.Binary)
	entries := array.NewData(headersType.Elem(), h.keys.rows, []*memory.Buffer{nil}, []arrow.ArrayData{keys, values}, 0, 0)
	return array.NewData(headersType, rows, []*memory.Buffer{nil, bytesOf(h.offsets)}, []arrow.ArrayData{entries}, 0, 0)
}

// sink counts and sums the file, and keeps the Parquet writer from closing what
// is below it.
type sink struct {
	out  io.Writer
	size int64
	crc  uint32
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	s.size += int64(n)
	s.crc = crc32.Update(s.crc, format.Castagnoli, p[:n])
	return n, err
}
