package columnar

import (
	"hash/fnv"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
)

// The system columns, in the order of every file. Their Parquet field ids are
// fixed for good: table formats know columns by them.
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
	_ // 11 and 12 are kept for _embedding and its element
	_

	idJSONFirst = 1 << 10 // JSON columns have ids from here on
)

var (
	timestampType = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	topicType     = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	headerKey     = arrow.Field{Type: arrow.BinaryTypes.String, Metadata: fieldID(idHeaderKey)}
	headerValue   = arrow.Field{Type: arrow.BinaryTypes.Binary, Nullable: true, Metadata: fieldID(idHeaderValue)}
	headersType   = arrow.MapOfFields(headerKey, headerValue)
)

func fieldID(id int) arrow.Metadata {
	return arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{strconv.Itoa(id)})
}

func arrowType(t Type) arrow.DataType {
	switch t {
	case Bool:
		return arrow.FixedWidthTypes.Boolean
	case Int64:
		return arrow.PrimitiveTypes.Int64
	case Double:
		return arrow.PrimitiveTypes.Float64
	case Timestamp:
		return timestampType
	}
	return arrow.BinaryTypes.String
}

// arrowSchema is the schema of a file with these JSON columns. _topic is handed
// over as a dictionary; in the file it is plain text.
func arrowSchema(columns []Column) *arrow.Schema {
	fields := []arrow.Field{
		{Name: colTopic, Type: topicType, Metadata: fieldID(idTopic)},
		{Name: colPartition, Type: arrow.PrimitiveTypes.Int32, Metadata: fieldID(idPartition)},
		{Name: colOffset, Type: arrow.PrimitiveTypes.Int64, Metadata: fieldID(idOffset)},
		{Name: colTimestamp, Type: timestampType, Metadata: fieldID(idTimestamp)},
		{Name: colTimestampType, Type: arrow.PrimitiveTypes.Int8, Metadata: fieldID(idTimestampType)},
		{Name: colKey, Type: arrow.BinaryTypes.Binary, Nullable: true, Metadata: fieldID(idKey)},
		{Name: colValue, Type: arrow.BinaryTypes.Binary, Nullable: true, Metadata: fieldID(idValue)},
		{Name: colHeaders, Type: headersType, Metadata: fieldID(idHeaders)},
	}
	used := make(map[int]bool)
	for _, c := range columns {
		id := jsonFieldID(c)
		for used[id] {
			id++
		}
		used[id] = true
		fields = append(fields, arrow.Field{Name: c.Name, Type: arrowType(c.Type), Nullable: true, Metadata: fieldID(id)})
	}
	return arrow.NewSchema(fields, nil)
}

// jsonFieldID gives the same id to the same column in every file, without a
// registry: it hashes name and type. A table that has published the column with
// one type then finds null in files where it has another, and not other bytes.
func jsonFieldID(c Column) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.Name + "\x00" + c.Type.String())) // never fails
	return idJSONFirst + int(h.Sum32()&(1<<30-1))
}

// SystemColumns are the columns that every file has, by name.
func SystemColumns() []string {
	return []string{colTopic, colPartition, colOffset, colTimestamp, colTimestampType, colKey, colValue, colHeaders}
}
