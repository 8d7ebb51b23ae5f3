package columnar

import (
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
