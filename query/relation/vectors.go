package relation

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/chronik-stream/chronik/internal/columnar"
)

// Vectors are the column of vectors of a table. Rows of files that have the column
// have theirs there; those of others are looked up in files of vectors alone, and
// null where these have none.
type Vectors struct {
	Dimensions int // 0: not known yet; then the column is of lists of any length
	Files      []VectorFile
}

// VectorFile is a local Parquet file with the vectors of some of a partition's
// records: _offset and _embedding. Those with offsets in [First, Next) count.
type VectorFile struct {
	Path        string
	Partition   int32
	First, Next int64
}

// typeName is DuckDB's name of the column's type.
func (v *Vectors) typeName() string {
	if v.Dimensions == 0 {
		return "FLOAT[]"
	}
	return fmt.Sprintf("FLOAT[%d]", v.Dimensions)
}

// arrowType is the column's type in answers: there the engine names the elements.
func (v *Vectors) arrowType() arrow.DataType {
	if v.Dimensions == 0 {
		return arrow.ListOfField(arrow.Field{Name: "l", Type: arrow.PrimitiveTypes.Float32, Nullable: true})
	}
	return arrow.FixedSizeListOfField(int32(v.Dimensions), arrow.Field{Type: arrow.PrimitiveTypes.Float32, Nullable: true})
}

func (v *Vectors) cast(expression string) string {
	return "CAST(" + expression + " AS " + v.typeName() + ")"
}

// join adds the column to a SELECT of rows. Neither side is sorted; the engine
// builds its hash table of the smaller one.
func (v *Vectors) join(rows string) string {
	if len(v.Files) == 0 {
		return "SELECT rows.*, " + v.cast("NULL") + " AS " + columnar.EmbeddingColumn + " FROM (" + rows + ") AS rows"
	}
	parts := make([]string, len(v.Files))
	for i, f := range v.Files {
		parts[i] = fmt.Sprintf("SELECT CAST(%d AS INTEGER) AS _partition, _offset, %s AS %s FROM %s WHERE _offset >= %d AND _offset < %d",
			f.Partition, v.cast(columnar.EmbeddingColumn), columnar.EmbeddingColumn, parquet([]string{f.Path}), f.First, f.Next)
	}
	return "SELECT rows.*, vectors." + columnar.EmbeddingColumn + " FROM (" + rows + ") AS rows LEFT JOIN (" + strings.Join(parts, " UNION ALL ") +
		") AS vectors ON rows._partition = vectors._partition AND rows._offset = vectors._offset"
}
