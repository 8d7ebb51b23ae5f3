package columnar

import (
	"fmt"
	"hash/fnv"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// The system columns, in the order of every file.
const (
	colTopic         = "_topic"
	colPartition     = "_partition"
	colOffset        = "_offset"
	colTimestamp     = "_timestamp"
	colTimestampType = "_timestamp_type"
	colKey           = "_key"
	colValue         = "_value"
	colHeaders       = "_headers"
)

// The Parquet field ids of the system columns, fixed for good: table formats
// know columns by them.
const (
	idTopic = iota + 1
	idPartition
	idOffset
	idTimestamp
	idTimestampType
	idKey
	idValue
	idHeaders
	idHeaderKey
	idHeaderValue
	_ // EmbeddingID
	_ // EmbeddingElementID

	idJSONFirst = 1 << 10 // JSON columns have ids from here on
)

// SystemColumns are the columns that every file has, by name.
func SystemColumns() []string {
	return []string{colTopic, colPartition, colOffset, colTimestamp, colTimestampType, colKey, colValue, colHeaders}
}

// offsetColumn is the index of _offset among the leaves: rows are sorted by it.
const offsetColumn = 2

// columnType is how a JSON column's type is written down.
func columnType(t Type) (parquet.Type, schema.LogicalType) {
	switch t {
	case Bool:
		return parquet.Types.Boolean, schema.NoLogicalType{}
	case Int64:
		return parquet.Types.Int64, schema.NewIntLogicalType(64, true)
	case Double:
		return parquet.Types.Double, schema.NoLogicalType{}
	case Timestamp:
		return parquet.Types.Int64, schema.NewTimestampLogicalType(true, schema.TimeUnitMicros)
	}
	return parquet.Types.ByteArray, schema.StringLogicalType{}
}

// fileSchema is the schema of a file with these JSON columns.
func fileSchema(columns []Column, embeddings bool) (*schema.GroupNode, error) {
	const required, optional = false, true
	var b schemaBuilder
	b.add(colTopic, required, parquet.Types.ByteArray, schema.StringLogicalType{}, idTopic)
	b.add(colPartition, required, parquet.Types.Int32, schema.NewIntLogicalType(32, true), idPartition)
	b.add(colOffset, required, parquet.Types.Int64, schema.NewIntLogicalType(64, true), idOffset)
	b.add(colTimestamp, required, parquet.Types.Int64, schema.NewTimestampLogicalType(true, schema.TimeUnitMicros), idTimestamp)
	b.add(colTimestampType, required, parquet.Types.Int32, schema.NewIntLogicalType(8, true), idTimestampType)
	b.add(colKey, optional, parquet.Types.ByteArray, schema.NoLogicalType{}, idKey)
	b.add(colValue, optional, parquet.Types.ByteArray, schema.NoLogicalType{}, idValue)
	b.addHeaders()
	if embeddings {
		b.addEmbedding()
	}
	ids := FieldIDs(columns)
	for i, c := range columns {
		physical, logical := columnType(c.Type)
		b.add(c.Name, optional, physical, logical, ids[i])
	}
	if b.err != nil {
		return nil, fmt.Errorf("build schema: %w", b.err)
	}
	return schema.NewGroupNode("schema", parquet.Repetitions.Required, b.nodes, -1)
}

// FieldIDs are the Parquet field ids of a file's JSON columns, given in the
// order in which the file has them.
func FieldIDs(columns []Column) []int32 {
	used := make(map[int32]bool)
	ids := make([]int32, len(columns))
	for i, c := range columns {
		id := jsonFieldID(c)
		for used[id] {
			id++
		}
		used[id] = true
		ids[i] = id
	}
	return ids
}

// schemaBuilder keeps the first error, so that a schema reads as a table.
type schemaBuilder struct {
	nodes schema.FieldList
	err   error
}

func (b *schemaBuilder) leaf(name string, optional bool, physical parquet.Type, logical schema.LogicalType, id int32) schema.Node {
	repetition := parquet.Repetitions.Required
	if optional {
		repetition = parquet.Repetitions.Optional
	}
	node, err := schema.NewPrimitiveNodeLogical(name, repetition, logical, physical, -1, id)
	if err != nil && b.err == nil {
		b.err = err
	}
	return node
}

func (b *schemaBuilder) add(name string, optional bool, physical parquet.Type, logical schema.LogicalType, id int32) {
	b.nodes = append(b.nodes, b.leaf(name, optional, physical, logical, id))
}

func (b *schemaBuilder) addHeaders() {
	key := b.leaf("key", false, parquet.Types.ByteArray, schema.StringLogicalType{}, idHeaderKey)
	value := b.leaf("value", true, parquet.Types.ByteArray, schema.NoLogicalType{}, idHeaderValue)
	node, err := schema.MapOf(colHeaders, key, value, parquet.Repetitions.Required, idHeaders)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.nodes = append(b.nodes, node)
}

// jsonFieldID gives the same id to the same column in every file, without a
// registry: it hashes name and type. A table that has published the column with
// one type then finds null in files where it has another, and not other bytes.
func jsonFieldID(c Column) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.Name + "\x00" + c.Type.String())) // never fails
	return idJSONFirst + int32(h.Sum32()&(1<<30-1))
}
