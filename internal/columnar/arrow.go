package columnar

import (
	"context"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// arrowCompressions are the values of Options.Compression that Arrow knows. The
// library that writes chooses zstd's level.
var arrowCompressions = map[string][]ipc.Option{
	"zstd": {ipc.WithZstd(), ipc.WithCompressConcurrency(1)},
	"lz4":  {ipc.WithLZ4(), ipc.WithCompressConcurrency(1)},
	"none": nil,
}

// arrowFile writes an Arrow IPC file: each row group is a record batch.
type arrowFile struct {
	schema *arrow.Schema
	ipc    *ipc.FileWriter
}

func newArrowFile(out *sink, o Options, columns []Column) (*arrowFile, error) {
	fields, err := arrowSchema(columns, o.Embeddings != nil)
	if err != nil {
		return nil, err
	}
	w, err := ipc.NewFileWriter(out, append([]ipc.Option{ipc.WithSchema(fields)}, arrowCompressions[o.Compression]...)...)
	if err != nil {
		return nil, fmt.Errorf("begin arrow file: %w", err)
	}
	return &arrowFile{fields, w}, nil
}

// arrowSchema is the Parquet schema in Arrow's words. The fields keep their ids,
// under the key by which Arrow's own Parquet writers know them.
func arrowSchema(columns []Column, embeddings bool) (*arrow.Schema, error) {
	root, err := fileSchema(columns, embeddings)
	if err != nil {
		return nil, err
	}
	out, err := pqarrow.FromParquet(schema.NewSchema(root), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("build arrow schema: %w", err)
	}
	return out, nil
}

// rowGroup writes the rows of f as a record batch.
func (a *arrowFile) rowGroup(f *output) error {
	rows := len(f.offsets)
	columns := make([]arrow.Array, 0, a.schema.NumFields())
	add := func(defs []int16, buffers ...*memory.Buffer) {
		typ := a.schema.Field(len(columns)).Type
		valid, nulls := validity(defs)
		columns = append(columns, array.MakeFromData(array.NewData(typ, rows, append([]*memory.Buffer{valid}, buffers...), nil, nulls, 0)))
	}
	addTexts := func(t *texts, defs []int16) {
		offsets, data := t.spread(rows, defs)
		add(defs, bytesOf(offsets), memory.NewBufferBytes(data))
	}
	types := make([]int8, rows)
	for i, t := range f.types {
		types[i] = int8(t)
	}

	f.topic.repeat(rows)
	addTexts(&f.topic, nil)
	add(nil, bytesOf(repeat(f.partition, rows)))
	add(nil, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(f.offsets)))
	add(nil, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(f.timestamps)))
	add(nil, memory.NewBufferBytes(arrow.Int8Traits.CastToBytes(types)))
	f.keyLevels.pad(rows)
	addTexts(&f.keys, f.keyLevels.all(&f.ones))
	f.valLevels.pad(rows)
	addTexts(&f.values, f.valLevels.all(&f.ones))
	columns = append(columns, f.headers.array(a.schema.Field(len(columns)).Type))
	if f.vectors.dimensions > 0 {
		columns = append(columns, f.vectors.array(a.schema.Field(len(columns)).Type, rows))
	}
	for i := range f.cells {
		c := &f.cells[i]
		c.levels.pad(rows)
		switch defs := c.levels.all(&f.ones); c.typ {
		case Bool:
			add(defs, memory.NewBufferBytes(bitmap(spread(c.bools, defs))))
		case Int64, Timestamp:
			add(defs, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(spread(c.ints, defs))))
		case Double:
			add(defs, memory.NewBufferBytes(arrow.Float64Traits.CastToBytes(spread(c.doubles, defs))))
		default:
			addTexts(&c.texts, defs)
		}
	}
	if err := a.ipc.Write(array.NewRecordBatch(a.schema, columns, int64(rows))); err != nil {
		return fmt.Errorf("write record batch: %w", err)
	}
	return nil
}

func (a *arrowFile) close() error {
	if err := a.ipc.Close(); err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	return nil
}

// validity is Arrow's bitmap of levels; nil when nothing is null.
func validity(defs []int16) (valid *memory.Buffer, nulls int) {
	bitmap := make([]byte, bitutil.BytesForBits(int64(len(defs))))
	for i, def := range defs {
		if def > 0 {
			bitutil.SetBit(bitmap, i)
		} else {
			nulls++
		}
	}
	if nulls == 0 {
		return nil, 0
	}
	return memory.NewBufferBytes(bitmap), nulls
}

// spread puts values to their rows.
func spread[T any](values []T, defs []int16) []T {
	out := make([]T, len(defs))
	at := 0
	for row, def := range defs {
		if def > 0 {
			out[row] = values[at]
			at++
		}
	}
	return out
}

func bitmap(values []bool) []byte {
	out := make([]byte, bitutil.BytesForBits(int64(len(values))))
	for i, v := range values {
		bitutil.SetBitTo(out, i, v)
	}
	return out
}

// spread returns the texts in Arrow's layout, one for each row; defs is nil when
// none is null.
func (t *texts) spread(rows int, defs []int16) (offsets []int32, data []byte) {
	if !t.plain {
		var all blobs
		all.reset()
		for _, i := range t.indices {
			all.append(t.values.at(int(i)))
		}
		offsets, data = all.offsets, all.data
	} else {
		offsets, data = t.values.offsets, t.values.data
	}
	if defs == nil || len(offsets) == rows+1 {
		return offsets, data
	}
	out := make([]int32, 1, rows+1)
	at := 0
	for _, def := range defs {
		at += int(def)
		out = append(out, offsets[at])
	}
	return out, data
}

// array returns the headers as a map column.
func (h *headers) array(typ arrow.DataType) arrow.Array {
	entries := make([]int32, 1, len(h.counts)+1)
	for _, count := range h.counts {
		entries = append(entries, entries[len(entries)-1]+count)
	}
	defs := make([]int16, len(h.nulls))
	for i, null := range h.nulls {
		if !null {
			defs[i] = 1
		}
	}
	values := texts{plain: true, values: h.values}
	offsets, data := values.spread(len(defs), defs)
	valid, nulls := validity(defs)
	pair := typ.(*arrow.MapType).Elem().(*arrow.StructType) // by fileSchema
	keys := array.NewData(pair.Field(0).Type, len(defs), []*memory.Buffer{nil, bytesOf(h.keys.offsets), memory.NewBufferBytes(h.keys.data)}, nil, 0, 0)
	items := array.NewData(pair.Field(1).Type, len(defs), []*memory.Buffer{valid, bytesOf(offsets), memory.NewBufferBytes(data)}, nil, nulls, 0)
	pairs := array.NewData(pair, len(defs), []*memory.Buffer{nil}, []arrow.ArrayData{keys, items}, 0, 0)
	return array.NewMapData(array.NewData(typ, len(h.counts), []*memory.Buffer{nil, bytesOf(entries)}, []arrow.ArrayData{pairs}, 0, 0))
}

// FromArrow writes the Arrow IPC file that Write made as a Parquet file of the
// same columns, for an engine that reads no other: quick to write, not small.
func FromArrow(ctx context.Context, in ipc.ReadAtSeeker, out io.Writer) error {
	r, err := ipc.NewFileReader(in)
	if err != nil {
		return fmt.Errorf("open arrow file: %w", err)
	}
	defer r.Close()
	properties := parquet.NewWriterProperties(
		parquet.WithCreatedBy(CreatedBy),
		parquet.WithCompression(compressions["snappy"]),
		parquet.WithDictionaryDefault(false),
		parquet.WithPageIndexEnabled(true),
		parquet.WithStatsFor(colValue, false),
		parquet.WithSortingColumns([]parquet.SortingColumn{{ColumnIdx: offsetColumn}}),
	)
	w, err := pqarrow.NewFileWriter(r.Schema(), struct{ io.Writer }{out}, properties, pqarrow.NewArrowWriterProperties())
	if err != nil {
		return fmt.Errorf("begin parquet file: %w", err)
	}
	for i := range r.NumRecords() {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, err := r.RecordBatch(i)
		if err != nil {
			return fmt.Errorf("read arrow file: record batch %d: %w", i, err)
		}
		err = w.Write(batch)
		batch.Release()
		if err != nil {
			return fmt.Errorf("write parquet file: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write parquet file: %w", err)
	}
	return nil
}
