package query

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/chronik-stream/chronik/query/flight"
	"github.com/chronik-stream/chronik/query/peers"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/vector"
)

// warningsKey is where the schema of a stream has what the HTTP answer has under
// "warnings", as JSON.
const warningsKey = "chronik.warnings"

// nearestRequest is the search that a ticket asks for. What its call's headers say
// counts where the ticket itself says nothing.
func (b flightBackend) nearestRequest(s flight.Statement) (vector.Request, error) {
	within := b.node.config.Timeout
	if s.Timeout > 0 {
		within = min(s.Timeout, timeoutMax)
	}
	r, err := semantic.Request(s.Nearest.Topic, s.Nearest.Body, within)
	if err != nil {
		return r, err
	}
	if r.Freshness == "" && s.Freshness != "" {
		if r.Freshness = s.Freshness; !freshness(s.Freshness).Known() {
			return r, badRequest(fmt.Sprintf("freshness is %q, it must be latest, available or cold", s.Freshness))
		}
	}
	return r, nil
}

// nearestSchema are the columns of an answer.
func nearestSchema(r vector.Request) *arrow.Schema {
	required := func(name string, t arrow.DataType) arrow.Field { return arrow.Field{Name: name, Type: t} }
	fields := []arrow.Field{
		required("topic", arrow.BinaryTypes.String), required("partition", arrow.PrimitiveTypes.Int32), required("offset", arrow.PrimitiveTypes.Int64),
		required("timestamp", arrow.FixedWidthTypes.Timestamp_ms), required("score", arrow.PrimitiveTypes.Float32), required("distance", arrow.PrimitiveTypes.Float32),
		required("text_preview", arrow.BinaryTypes.String),
	}
	if r.Values {
		fields = append(fields, arrow.Field{Name: "key", Type: arrow.BinaryTypes.Binary, Nullable: true}, arrow.Field{Name: "value", Type: arrow.BinaryTypes.Binary, Nullable: true})
	}
	if r.Embeddings { // while a topic changes its model they may be of two lengths
		fields = append(fields, arrow.Field{Name: "embedding", Type: arrow.ListOfNonNullable(arrow.PrimitiveTypes.Float32), Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// describeNearest implements flight.Backend for a search.
func (b flightBackend) describeNearest(s flight.Statement) (*flight.Description, error) {
	r, err := b.nearestRequest(s)
	if err != nil {
		return nil, err
	}
	t, ok := b.node.config.Catalog.Topic(r.Topic)
	switch {
	case !ok:
		return nil, failureOf(&vector.UnknownTopicError{Topic: r.Topic})
	case !b.node.embeds(t):
		return nil, failureOf(&vector.NotEnabledError{Topic: r.Topic})
	}
	return &flight.Description{Schema: nearestSchema(r)}, nil
}

// nearest implements flight.Backend for a search.
func (b flightBackend) nearest(ctx context.Context, s flight.Statement) (flight.Cursor, error) {
	r, err := b.nearestRequest(s)
	if err != nil {
		return nil, err
	}
	if err := b.node.elsewhereFor(r.Topic, s.Place); err != nil {
		return nil, err
	}
	if s.Place == peers.HandedOn {
		ctx = places.Hurried(ctx, handedOnSearchWait)
	}
	found, err := b.node.vectors.Search(ctx, r)
	if err != nil {
		return nil, timeoutNamed(endedBy(ctx, err), r.Timeout)
	}
	schema, err := nearestMetadata(nearestSchema(r), r.Topic, found)
	if err != nil {
		return nil, err
	}
	b.node.metrics.addRows(len(found.Hits))
	return &nearestCursor{schema: schema, batch: nearestBatch(schema, r, found.Hits)}, nil
}

// nearestMetadata is a schema with what the answer says besides its hits.
func nearestMetadata(s *arrow.Schema, topic string, found *vector.Answer) (*arrow.Schema, error) {
	s, err := withCoverage(s, map[string]topicCoverage{topic: found.Coverage})
	if err != nil || len(found.Warnings) == 0 {
		return s, err
	}
	text, err := json.Marshal(found.Warnings)
	if err != nil {
		return nil, fmt.Errorf("write the warnings: %w", err)
	}
	metadata := arrow.NewMetadata(append(s.Metadata().Keys(), warningsKey), append(s.Metadata().Values(), string(text)))
	return arrow.NewSchema(s.Fields(), &metadata), nil
}

// nearestBatch are the hits, the nearest first.
func nearestBatch(schema *arrow.Schema, r vector.Request, hits []vector.Hit) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, h := range hits {
		values := []any{h.Topic, h.Partition, h.Offset, arrow.Timestamp(h.Timestamp), h.Score, h.Distance, h.Preview}
		if r.Values {
			values = append(values, h.Key, h.Value)
		}
		if r.Embeddings {
			values = append(values, h.Embedding)
		}
		for i, v := range values {
			appendValue(b.Field(i), v)
		}
	}
	return b.NewRecordBatch()
}

// appendValue adds a value of a hit to its column.
func appendValue(to array.Builder, v any) {
	switch to := to.(type) {
	case *array.StringBuilder:
		to.Append(v.(string))
	case *array.Int32Builder:
		to.Append(v.(int32))
	case *array.Int64Builder:
		to.Append(v.(int64))
	case *array.TimestampBuilder:
		to.Append(v.(arrow.Timestamp))
	case *array.Float32Builder:
		to.Append(v.(float32))
	case *array.BinaryBuilder:
		if b := v.([]byte); b == nil {
			to.AppendNull()
		} else {
			to.Append(b)
		}
	case *array.ListBuilder:
		numbers := v.([]float32)
		to.Append(numbers != nil)
		to.ValueBuilder().(*array.Float32Builder).AppendValues(numbers, nil)
	}
}

// nearestCursor is the answer of a search, which is one batch.
type nearestCursor struct {
	schema *arrow.Schema
	batch  arrow.RecordBatch // nil when it is out
}

// Schema implements flight.Cursor.
func (c *nearestCursor) Schema() *arrow.Schema { return c.schema }

// Next implements flight.Cursor.
func (c *nearestCursor) Next() (arrow.RecordBatch, error) {
	batch := c.batch
	if c.batch = nil; batch == nil || batch.NumRows() == 0 {
		return nil, io.EOF
	}
	return batch, nil
}

// Close implements flight.Cursor.
func (c *nearestCursor) Close() error {
	if c.batch != nil {
		c.batch.Release()
		c.batch = nil
	}
	return nil
}
