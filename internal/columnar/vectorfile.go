package columnar

import (
	"context"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// WriteVectors writes vectors as a Parquet file of two columns, _offset and
// EmbeddingColumn, for an engine that joins them to rows: quick to write and to
// read, not small. each hands over vectors of so many dimensions, by rising offset;
// they are copied.
func WriteVectors(ctx context.Context, out io.Writer, dimensions int, each func(take func(offset int64, vector []float32) error) error) error {
	var b schemaBuilder
	b.add(colOffset, false, parquet.Types.Int64, schema.NewIntLogicalType(64, true), idOffset)
	b.addEmbedding()
	if b.err != nil {
		return fmt.Errorf("build schema: %w", b.err)
	}
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, b.nodes, -1)
	if err != nil {
		return fmt.Errorf("build schema: %w", err)
	}
	properties := parquet.NewWriterProperties(
		parquet.WithCreatedBy(CreatedBy),
		parquet.WithDictionaryDefault(false),
		parquet.WithStatsFor(embeddingElement, false),
		parquet.WithSortingColumns([]parquet.SortingColumn{{ColumnIdx: 0}}),
		parquet.WithDataPageSize(1<<20),
		parquet.WithBatchSize(embeddingLevelRows),
	)
	w := &vectorWriter{vectors: vectors{dimensions: dimensions}}
	if w.file, err = file.NewParquetWriterWithError(struct{ io.Writer }{out}, root, file.WithWriterProps(properties)); err != nil {
		return fmt.Errorf("begin parquet file: %w", err)
	}
	err = each(func(offset int64, vector []float32) error {
		if len(vector) != dimensions {
			return fmt.Errorf("vector of offset %d: %d dimensions, want %d", offset, len(vector), dimensions)
		}
		w.offsets = append(w.offsets, offset)
		w.vectors.levels.value()
		w.vectors.values = append(w.vectors.values, vector...)
		if len(w.vectors.values) < vectorGroupValues {
			return nil
		}
		return w.flush(ctx)
	})
	if err == nil && len(w.offsets) > 0 {
		err = w.flush(ctx)
	}
	if err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	return nil
}

// vectorGroupValues are the numbers in a row group of vectors alone: 16 MB.
const vectorGroupValues = 4 << 20

// vectorWriter collects a row group.
type vectorWriter struct {
	file    *file.Writer
	offsets []int64
	vectors vectors
}

func (w *vectorWriter) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	group, err := w.file.AppendRowGroupChecked()
	if err != nil {
		return fmt.Errorf("begin row group: %w", err)
	}
	g := groupWriter{group: group, rows: len(w.offsets), batch: len(w.offsets)}
	g.int64s(w.offsets, nil)
	g.embeddings(&w.vectors)
	if g.err != nil {
		return fmt.Errorf("write row group: %w", g.err)
	}
	if err := group.Close(); err != nil {
		return fmt.Errorf("close row group: %w", err)
	}
	w.offsets = w.offsets[:0]
	w.vectors.reset()
	return nil
}
