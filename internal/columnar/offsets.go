package columnar

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// offsetsRowGroup is how many offsets a row group holds: a byte or two each.
const offsetsRowGroup = 1 << 20

// WriteOffsets writes offsets, which rise, as a Parquet file of the one column
// _offset: a mask over the rows of other files.
func WriteOffsets(out io.Writer, offsets []int64) error {
	var b schemaBuilder
	b.add(colOffset, false, parquet.Types.Int64, schema.NewIntLogicalType(64, true), idOffset)
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, b.nodes, -1)
	if err != nil {
		return fmt.Errorf("write offsets: %w", err)
	}
	w, err := file.NewParquetWriterWithError(out, root, file.WithWriterProps(parquet.NewWriterProperties(
		parquet.WithCreatedBy(CreatedBy),
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithDictionaryDefault(false),
		parquet.WithEncodingFor(colOffset, parquet.Encodings.DeltaBinaryPacked),
		parquet.WithSortingColumns([]parquet.SortingColumn{{ColumnIdx: 0}}),
	)))
	if err != nil {
		return fmt.Errorf("write offsets: %w", err)
	}
	for len(offsets) > 0 {
		n := min(len(offsets), offsetsRowGroup)
		group, err := w.AppendRowGroupChecked()
		if err != nil {
			return fmt.Errorf("write offsets: %w", err)
		}
		g := groupWriter{group: group, rows: n}
		g.int64s(offsets[:n], nil)
		if g.err != nil {
			return fmt.Errorf("write offsets: %w", g.err)
		}
		if err := group.Close(); err != nil {
			return fmt.Errorf("write offsets: %w", err)
		}
		offsets = offsets[n:]
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write offsets: %w", err)
	}
	return nil
}

// ReadOffsets reads the column _offset of a file: all that a mask has.
func ReadOffsets(from parquet.ReaderAtSeeker) ([]int64, error) {
	r, err := file.NewParquetReader(from)
	if err != nil {
		return nil, fmt.Errorf("read offsets: %w", err)
	}
	root := r.MetaData().Schema
	at := -1
	for i := range root.NumColumns() {
		if root.Column(i).SchemaNode().FieldID() == idOffset {
			at = i
		}
	}
	if at < 0 {
		return nil, errors.New("read offsets: there is no column of them")
	}
	var all []int64
	for g := range r.NumRowGroups() {
		chunk, err := r.RowGroup(g).Column(at)
		if err != nil {
			return nil, fmt.Errorf("read offsets: %w", err)
		}
		offsets, ok := chunk.(*file.Int64ColumnChunkReader)
		if !ok {
			return nil, fmt.Errorf("read offsets: they are read by a %T", chunk)
		}
		rows := make([]int64, r.RowGroup(g).NumRows())
		for have := 0; have < len(rows); {
			_, n, err := offsets.ReadBatch(int64(len(rows)-have), rows[have:], nil, nil)
			if err != nil {
				return nil, fmt.Errorf("read offsets: %w", err)
			}
			if n == 0 {
				return nil, fmt.Errorf("read offsets: %w", io.ErrUnexpectedEOF)
			}
			have += n
		}
		all = append(all, rows...)
	}
	return all, nil
}
