package columnar

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// CreatedBy names the layout and not the build, so that the same records give
// the same bytes. The form is the one that readers parse.
const CreatedBy = "chronik-columnar version 1.0.0"

// bloomFalsePositives is the share of look-ups of an absent key for which a
// filter says perhaps: at 1 % a distinct key costs 10 bits.
const bloomFalsePositives = 0.01

// compressions are the values of Options.Compression.
var compressions = map[string]compress.Compression{
	"zstd":   compress.Codecs.Zstd,
	"snappy": compress.Codecs.Snappy,
	"lz4":    compress.Codecs.Lz4Raw,
	"gzip":   compress.Codecs.Gzip,
	"none":   compress.Codecs.Uncompressed,
}

// dictionary says whether a column of text may be dictionary encoded.
func (o Options) dictionary(column string) bool {
	return !o.NoDictionary && (o.DictionaryColumns == nil || slices.Contains(o.DictionaryColumns, column))
}

// properties are the Parquet writer's settings for a file of so many records
// with values of so many bytes.
func properties(o Options, columns []Column, records, valueBytes int64) *parquet.WriterProperties {
	out := []parquet.WriterProperty{
		parquet.WithCreatedBy(CreatedBy),
		parquet.WithCompression(compressions[o.Compression]),
		parquet.WithDataPageSize(int64(o.PageBytes)),
		// The writer looks at a page's size only between batches of rows.
		parquet.WithBatchSize(max(64, min(8192, int64(o.PageBytes)/valueBytes))),
		parquet.WithDictionaryDefault(false),
		parquet.WithStats(o.Statistics != NoStatistics),
		parquet.WithPageIndexEnabled(o.Statistics == FullStatistics),
		parquet.WithSortingColumns([]parquet.SortingColumn{{ColumnIdx: offsetColumn}}),
		// Nobody looks for the least value, and it takes up to 4 KiB a page.
		parquet.WithStatsFor(colValue, false),
		parquet.WithPageIndexEnabledFor(colValue, false),
	}
	if o.Embeddings != nil {
		out = append(out, embeddingProperties()...)
	}
	if o.Compression == "zstd" {
		out = append(out, parquet.WithCompressionLevel(o.CompressionLevel))
	}
	// Numbers that lie close together: an eighth of plain for the offsets.
	delta := []string{colPartition, colOffset, colTimestamp, colTimestampType}
	texts := []string{colTopic, colKey}
	for _, c := range columns {
		switch c.Type {
		case Int64, Timestamp:
			delta = append(delta, c.Name)
		case Text:
			texts = append(texts, c.Name)
		}
	}
	for _, name := range delta {
		out = append(out, parquet.WithEncodingFor(name, parquet.Encodings.DeltaBinaryPacked))
	}
	for _, name := range texts {
		out = append(out, parquet.WithDictionaryFor(name, o.dictionary(name)))
	}
	distinct := min(records, int64(o.RowGroupRows))
	for _, name := range o.BloomColumns {
		if name != colHeaders && slices.Contains(SystemColumns(), name) || slices.ContainsFunc(columns, func(c Column) bool { return c.Name == name && c.Type != Bool }) {
			out = append(out,
				parquet.WithBloomFilterEnabledFor(name, true),
				parquet.WithBloomFilterFPPFor(name, bloomFalsePositives),
				parquet.WithBloomFilterNDVFor(name, distinct))
		}
	}
	return parquet.NewWriterProperties(out...)
}

// parquetFile writes a Parquet file.
type parquetFile struct {
	sink   *sink
	writer *file.Writer
}

func newParquetFile(out *sink, properties *parquet.WriterProperties, columns []Column, embeddings bool) (*parquetFile, error) {
	root, err := fileSchema(columns, embeddings)
	if err != nil {
		return nil, err
	}
	w, err := file.NewParquetWriterWithError(out, root, file.WithWriterProps(properties))
	if err != nil {
		return nil, fmt.Errorf("begin parquet file: %w", err)
	}
	return &parquetFile{out, w}, nil
}

func (p *parquetFile) rowGroup(f *output) error {
	group, err := p.writer.AppendRowGroupChecked()
	if err != nil {
		return fmt.Errorf("begin row group: %w", err)
	}
	w := groupWriter{group: group, sink: p.sink, rows: len(f.offsets), batch: int(p.writer.Properties().WriteBatchSize())}
	f.write(&w)
	if w.err != nil {
		return fmt.Errorf("write row group: %w", w.err)
	}
	if err := group.Close(); err != nil {
		return fmt.Errorf("close row group: %w", err)
	}
	return nil
}

func (p *parquetFile) close() error {
	place := placeholder(p.writer.NumRowGroups(), p.writer.NumColumns())
	if err := p.writer.AppendKeyValueMetadata(ChecksumsKey, place); err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	p.sink.holds = true
	if err := p.writer.Close(); err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	meta, err := p.writer.FileMetadata()
	if err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	return p.sink.release(meta, place)
}

// write hands over the columns in the order of the schema.
func (f *output) write(w *groupWriter) {
	f.topic.repeat(w.rows)
	w.texts(&f.topic, nil)
	w.int32s(repeat(f.partition, w.rows))
	w.int64s(f.offsets, nil)
	w.int64s(f.timestamps, nil)
	w.int32s(f.types)
	f.keyLevels.pad(w.rows)
	w.texts(&f.keys, f.keyLevels.all(&f.ones))
	f.valLevels.pad(w.rows)
	w.texts(&f.values, f.valLevels.all(&f.ones))
	keyDefs, valueDefs, reps := f.headers.levels()
	w.nested(&f.headers.keys, keyDefs, reps)
	w.nested(&f.headers.values, valueDefs, reps)
	if f.vectors.dimensions > 0 {
		w.embeddings(&f.vectors)
	}
	for i := range f.cells {
		c := &f.cells[i]
		c.levels.pad(w.rows)
		switch defs := c.levels.all(&f.ones); c.typ {
		case Bool:
			w.bools(c.bools, defs)
		case Int64, Timestamp:
			w.int64s(c.ints, defs)
		case Double:
			w.doubles(c.doubles, defs)
		default:
			w.texts(&c.texts, defs)
		}
	}
}

// groupWriter writes one row group, column after column. It keeps the first error.
type groupWriter struct {
	group file.SerialRowGroupWriter
	sink  *sink // nil: nobody wants its sums
	rows  int
	batch int // rows between two looks at the size of the page
	err   error
}

// next moves to the next column, which has to be written by a W.
func next[W file.ColumnChunkWriter](w *groupWriter) (column W, ok bool) {
	if w.err != nil {
		return column, false
	}
	c, err := w.group.NextColumn()
	if err != nil {
		w.err = err
		return column, false
	}
	if w.sink != nil {
		w.sink.mark() // the column before is written out
	}
	if column, ok = c.(W); !ok {
		w.err = fmt.Errorf("column %s is written by a %T, not a %T", c.Descr().Path(), c, column)
	}
	return column, ok
}

func (w *groupWriter) int32s(values []int32) {
	if c, ok := next[*file.Int32ColumnChunkWriter](w); ok {
		_, w.err = c.WriteBatch(values, nil, nil)
	}
}

func (w *groupWriter) int64s(values []int64, defs []int16) {
	if c, ok := next[*file.Int64ColumnChunkWriter](w); ok {
		_, w.err = c.WriteBatch(values, defs, nil)
	}
}

func (w *groupWriter) doubles(values []float64, defs []int16) {
	if c, ok := next[*file.Float64ColumnChunkWriter](w); ok {
		_, w.err = c.WriteBatch(values, defs, nil)
	}
}

func (w *groupWriter) bools(values []bool, defs []int16) {
	if c, ok := next[*file.BooleanColumnChunkWriter](w); ok {
		_, w.err = c.WriteBatch(values, defs, nil)
	}
}

// nested writes byte strings below a repeated group.
func (w *groupWriter) nested(values *blobs, defs, reps []int16) {
	if c, ok := next[*file.ByteArrayColumnChunkWriter](w); ok {
		_, w.err = c.WriteBatchArrow(values.data, values.offsets, defs, reps)
	}
}

// texts writes a column of byte strings; defs is nil when none may be null.
func (w *groupWriter) texts(t *texts, defs []int16) {
	c, ok := next[*file.ByteArrayColumnChunkWriter](w)
	if !ok {
		return
	}
	if t.plain || len(t.indices) == 0 {
		c.FallbackToPlain()
		_, w.err = c.WriteBatchArrow(t.values.data, t.values.offsets, defs, nil)
		return
	}
	w.err = w.dictionary(c, t, defs)
}

// dictionary hands over a dictionary and the indices into it as they are.
// Every page gets the bounds of the whole dictionary for its statistics: the
// writer would give them to the first page only, and leaves out empty strings.
func (w *groupWriter) dictionary(c *file.ByteArrayColumnChunkWriter, t *texts, defs []int16) error {
	encoder, ok := c.CurrentEncoder().(interface{ PutDictionary(arrow.Array) error })
	if !ok {
		return fmt.Errorf("column %s has no dictionary encoder but a %T", c.Descr().Path(), c.CurrentEncoder())
	}
	data := array.NewData(arrow.BinaryTypes.Binary, t.values.len(), []*memory.Buffer{nil, bytesOf(t.values.offsets), memory.NewBufferBytes(t.values.data)}, nil, 0, 0)
	entries := array.NewBinaryData(data)
	if err := encoder.PutDictionary(entries); err != nil {
		return err
	}
	least, greatest := t.values.bounds()
	indices, valid := spaced(t.indices, defs)
	for from := 0; from < w.rows; from += w.batch {
		to := min(from+w.batch, w.rows)
		var partDefs []int16
		nulls := 0
		if defs != nil {
			partDefs = defs[from:to]
			for _, def := range partDefs {
				nulls += 1 - int(def)
			}
		}
		part := array.NewInt32Data(array.NewData(arrow.PrimitiveTypes.Int32, to-from, []*memory.Buffer{valid, bytesOf(indices)}, nil, nulls, from))
		if bounds, ok := c.PageStatistics().(*metadata.ByteArrayStatistics); ok {
			bounds.IncNulls(int64(nulls))
			bounds.IncNumValues(int64(to - from - nulls))
			if nulls < to-from {
				bounds.SetMinMax(least, greatest)
			}
		}
		if err := c.WriteDictIndices(part, partDefs, nil); err != nil {
			return err
		}
	}
	return nil
}

// spaced puts the indices to their rows, with a validity bitmap, as the Parquet
// writer wants them.
func spaced(indices []int32, defs []int16) ([]int32, *memory.Buffer) {
	if len(indices) == len(defs) || defs == nil {
		return indices, nil
	}
	out, valid := make([]int32, len(defs)), make([]byte, (len(defs)+7)/8)
	at := 0
	for row, def := range defs {
		if def > 0 {
			out[row] = indices[at]
			valid[row/8] |= 1 << (row % 8)
			at++
		}
	}
	return out, memory.NewBufferBytes(valid)
}

// bytesOf gives the memory of numbers to Arrow.
func bytesOf(s []int32) *memory.Buffer {
	return memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(s))
}
