package federated

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/answer"
	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// sql takes the rows of the statement, in their order, for the records that their
// _partition and _offset name.
func (b *backend) sql(ctx context.Context) (err error) {
	rows, err := b.searcher.SQL.Open(ctx, b.request.SQL, b.request.fresh(snapshot.Latest), b.request.Principal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if _, reads := rows.Coverage()[b.topic]; !reads {
		return envelope.Invalid("sql does not read topic %s: its rows cannot be records of it", b.topic)
	}
	columns, err := b.columns(rows.Schema())
	if err != nil {
		return err
	}
	bytes := cmp.Or(b.searcher.RowBytes, rowBytesMax)
	writer := answer.NewJSON(rows.Schema(), answer.Options{})
	for len(b.found) < b.max {
		batch, err := rows.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		err = b.take(batch, columns, writer, &bytes)
		batch.Release()
		if err != nil {
			return err
		}
	}
	b.cover(rows.Coverage())
	return nil
}

// columns are those of a statement's rows that say which records they are.
type columns struct {
	partition, offset, timestamp, value, topic int // −1: there is none
}

// columns finds them, by their long names or by the short ones.
func (b *backend) columns(schema *arrow.Schema) (columns, error) {
	find := func(names ...string) int {
		return slices.IndexFunc(schema.Fields(), func(f arrow.Field) bool { return slices.Contains(names, f.Name) })
	}
	c := columns{
		partition: find("_partition", "partition"), offset: find("_offset", "offset"), timestamp: find("_timestamp", "timestamp"),
		value: find("_value", "value"), topic: find("_topic", "topic"),
	}
	f := b.request.Filter
	switch {
	case c.partition < 0 || c.offset < 0:
		return c, envelope.Invalid("sql has to select _partition and _offset: its rows are ranked with other records; for other rows ask /_sql")
	case c.timestamp < 0 && (f.MinTimestamp != nil || f.MaxTimestamp != nil):
		return c, envelope.Invalid("sql has to select _timestamp where filters are of times")
	}
	return c, nil
}

// rowBytesMax bounds the rows of an answer, which is put together before it is sent.
const rowBytesMax = 256 << 20

// take adds a batch's rows, of which those that may be shown have so many bytes at
// most.
func (b *backend) take(batch arrow.RecordBatch, c columns, writer *answer.JSON, bytes *int) error {
	partitions, ok := batch.Column(c.partition).(*array.Int32)
	offsets, also := batch.Column(c.offset).(*array.Int64)
	if !ok || !also {
		return envelope.Invalid("sql has _partition as %s and _offset as %s: they have to be int32 and int64, as the table has them",
			batch.Column(c.partition).DataType(), batch.Column(c.offset).DataType())
	}
	for row := range int(batch.NumRows()) {
		if len(b.found) == b.max {
			break
		}
		if partitions.IsNull(row) || offsets.IsNull(row) {
			return envelope.Invalid("sql has a row whose _partition or _offset is null: it is no record")
		}
		if c.topic >= 0 {
			if names, ok := batch.Column(c.topic).(*array.String); ok && names.Value(row) != b.topic {
				return envelope.Invalid("sql has a row of topic %s, and is asked for records of topic %s", names.Value(row), b.topic)
			}
		}
		f := Found{Key: b.key(partitions.Value(row), offsets.Value(row))}
		timestamp, err := millisecondsAt(batch, c.timestamp, row)
		if err != nil {
			return err
		}
		if timestamp != nil {
			f.Timestamp = *timestamp
		}
		if !b.takes(f.Partition, timestamp) {
			continue
		}
		if c.value >= 0 {
			if values, ok := batch.Column(c.value).(*array.Binary); ok && values.IsValid(row) {
				f.Preview = hybrid.Preview(values.Value(row))
			}
		}
		if b.request.Grouped && len(b.found) < b.request.K {
			one := batch.NewSlice(int64(row), int64(row+1))
			f.Row = writer.Append(nil, one, ',')
			one.Release()
			if *bytes -= len(f.Row); *bytes < 0 {
				return envelope.New(http.StatusRequestEntityTooLarge, "TOO_LARGE", "QueryError", "the rows are larger than an answer can be: select fewer columns, or ask for fewer rows")
			}
		}
		b.found = append(b.found, f)
	}
	return nil
}

// millisecondsAt is a row's time; nil: it has none.
func millisecondsAt(batch arrow.RecordBatch, column, row int) (*int64, error) {
	if column < 0 || batch.Column(column).IsNull(row) {
		return nil, nil
	}
	times, ok := batch.Column(column).(*array.Timestamp)
	if !ok {
		return nil, envelope.Invalid("sql has _timestamp as %s: it has to be a timestamp, as the table has it", batch.Column(column).DataType())
	}
	unit := times.DataType().(*arrow.TimestampType).Unit
	ms := times.Value(row).ToTime(unit).UnixMilli()
	return &ms, nil
}
