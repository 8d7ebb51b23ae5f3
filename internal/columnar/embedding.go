package columnar

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// EmbeddingColumn is the column of the records' vectors, in files that have one:
// a list of floats, null for a record without a vector. Its elements are split by
// byte, which compresses floats where plain ones do not: the bytes with the
// exponents are alike.
const EmbeddingColumn = "_embedding"

// EmbeddingType is how a manifest writes the type of EmbeddingColumn.
func EmbeddingType(dimensions int) string { return fmt.Sprintf("float32[%d]", dimensions) }

// The field ids of EmbeddingColumn and of its elements.
const (
	EmbeddingID        = int32(11)
	EmbeddingElementID = int32(12)
)

// embeddingElement is the path of the one leaf of EmbeddingColumn.
const embeddingElement = EmbeddingColumn + ".list.element"

// embeddingGroupRows are the rows of a row group with embeddings, by default: of
// 384 dimensions 30 MB, of 1536 the 128 MiB of RowGroupBytesMax come before.
const embeddingGroupRows = 20_000

// embeddingLevelRows are the rows whose levels are in memory at once.
const embeddingLevelRows = 64

// Embeddings are the vectors of records.
type Embeddings struct {
	Dimensions int
	// Of returns the vector of the record at an offset, nil when it has none. Write
	// copies it.
	Of func(offset int64) ([]float32, error)
}

// vectors are the embeddings of a row group.
type vectors struct {
	dimensions int
	values     []float32 // of all rows that have one
	levels     levels
}

func (v *vectors) reset() {
	v.values = v.values[:0]
	v.levels.reset()
}

// append adds the vector of a row, if it has one.
func (v *vectors) append(row int, offset int64, from *Embeddings) error {
	vector, err := from.Of(offset)
	if err != nil {
		return fmt.Errorf("embedding of offset %d: %w", offset, err)
	}
	if vector == nil {
		return nil
	}
	if len(vector) != v.dimensions {
		return fmt.Errorf("embedding of offset %d: %d dimensions, want %d", offset, len(vector), v.dimensions)
	}
	v.levels.pad(row)
	v.levels.value()
	v.values = append(v.values, vector...)
	return nil
}

// embeddings writes the column, some rows at a time: its levels take as much as
// half of its values.
func (w *groupWriter) embeddings(v *vectors) {
	c, ok := next[*file.Float32ColumnChunkWriter](w)
	if !ok {
		return
	}
	v.levels.pad(w.rows)
	var ones []int16
	all := v.levels.all(&ones)
	values := v.values
	var defs, reps []int16
	for len(all) > 0 && w.err == nil {
		rows := all[:min(len(all), embeddingLevelRows)]
		all = all[len(rows):]
		defs, reps = defs[:0], reps[:0]
		n := 0
		for _, def := range rows {
			if def == 0 {
				defs, reps = append(defs, 0), append(reps, 0)
				continue
			}
			for i := range v.dimensions {
				defs, reps = append(defs, 2), append(reps, min(1, int16(i)))
			}
			n += v.dimensions
		}
		_, w.err = c.WriteBatch(values[:n], defs, reps)
		values = values[n:]
	}
}

// addEmbedding adds the column to a schema.
func (b *schemaBuilder) addEmbedding() {
	element := b.leaf("element", false, parquet.Types.Float, schema.NoLogicalType{}, EmbeddingElementID)
	list, err := schema.NewGroupNode("list", parquet.Repetitions.Repeated, schema.FieldList{element}, -1)
	if err == nil {
		var node *schema.GroupNode
		node, err = schema.NewGroupNodeLogical(EmbeddingColumn, parquet.Repetitions.Optional, schema.FieldList{list}, schema.NewListLogicalType(), EmbeddingID)
		b.nodes = append(b.nodes, node)
	}
	if err != nil && b.err == nil {
		b.err = err
	}
}

// embeddingProperties are the settings of the column.
func embeddingProperties() []parquet.WriterProperty {
	return []parquet.WriterProperty{
		parquet.WithEncodingFor(embeddingElement, parquet.Encodings.ByteStreamSplit),
		// The least of all floats of all vectors says nothing.
		parquet.WithStatsFor(embeddingElement, false),
		parquet.WithPageIndexEnabledFor(embeddingElement, false),
	}
}

// array returns the vectors as a list column.
func (v *vectors) array(typ arrow.DataType, rows int) arrow.Array {
	v.levels.pad(rows)
	var ones []int16
	defs := v.levels.all(&ones)
	offsets := make([]int32, 1, rows+1)
	for _, def := range defs {
		offsets = append(offsets, offsets[len(offsets)-1]+int32(def)*int32(v.dimensions))
	}
	valid, nulls := validity(defs)
	elements := array.NewData(arrow.PrimitiveTypes.Float32, len(v.values),
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Float32Traits.CastToBytes(v.values))}, nil, 0, 0)
	return array.NewListData(array.NewData(typ, rows, []*memory.Buffer{valid, bytesOf(offsets)}, []arrow.ArrayData{elements}, nulls, 0))
}
