package flight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/oklog/ulid/v2"
	"google.golang.org/grpc/metadata"

	"github.com/chronik-stream/chronik/query/peers"
)

// flightInfo describes the answer to a query and gives the ticket for it. The
// query is checked and planned; it runs when the ticket is shown.
func (s *server) flightInfo(ctx context.Context, h handle, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	h, err := h.withOptions(ctx)
	if err != nil {
		return nil, err
	}
	schema, err := s.describe(ctx, h)
	if err != nil {
		return nil, err
	}
	h.ID = ulid.Make().String()
	ticket, err := newTicket(h)
	if err != nil {
		return nil, fmt.Errorf("make a ticket: %w", err)
	}
	return &flight.FlightInfo{
		Schema:           flight.SerializeSchema(schema.Schema, memory.DefaultAllocator),
		FlightDescriptor: d,
		// No location: the ticket is good wherever this answer came from.
		Endpoint:     []*flight.FlightEndpoint{{Ticket: ticket}},
		TotalRecords: -1,
		TotalBytes:   -1,
	}, nil
}

func (s *server) describe(ctx context.Context, h handle) (*Description, error) {
	statement, err := h.statement(ctx)
	if err != nil {
		return nil, err
	}
	statement.Place = s.placeOf(ctx)
	ctx, end := s.within(ctx, statement)
	defer end()
	return s.backend.Describe(ctx, statement)
}

func (s *server) schemaOf(ctx context.Context, h handle) (*flight.SchemaResult, error) {
	h, err := h.withOptions(ctx)
	if err != nil {
		return nil, err
	}
	description, err := s.describe(ctx, h)
	if err != nil {
		return nil, err
	}
	return &flight.SchemaResult{Schema: flight.SerializeSchema(description.Schema, memory.DefaultAllocator)}, nil
}

// errTransaction answers whatever names a transaction: none was ever begun.
var errTransaction = invalid("there is no such transaction: a query only reads, and transactions are not available")

// GetFlightInfoStatement implements flightsql.Server.
func (s *server) GetFlightInfoStatement(ctx context.Context, q flightsql.StatementQuery, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	if len(q.GetTransactionId()) > 0 {
		return nil, errTransaction
	}
	return s.flightInfo(ctx, handle{SQL: q.GetQuery()}, d)
}

// GetSchemaStatement implements flightsql.Server.
func (s *server) GetSchemaStatement(ctx context.Context, q flightsql.StatementQuery, _ *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	if len(q.GetTransactionId()) > 0 {
		return nil, errTransaction
	}
	return s.schemaOf(ctx, handle{SQL: q.GetQuery()})
}

// CreatePreparedStatement implements flightsql.Server. The handle is the
// statement, so there is nothing to close and nothing to lose.
func (s *server) CreatePreparedStatement(ctx context.Context, r flightsql.ActionCreatePreparedStatementRequest) (out flightsql.ActionCreatePreparedStatementResult, err error) {
	if len(r.GetTransactionId()) > 0 {
		return out, errTransaction
	}
	h, err := handle{SQL: r.GetQuery()}.withOptions(ctx)
	if err != nil {
		return out, err
	}
	description, err := s.describe(ctx, h)
	if err != nil {
		return out, err
	}
	if out.Handle, err = h.encode(); err != nil {
		return out, fmt.Errorf("make a handle: %w", err)
	}
	update := false
	out.IsUpdate, out.DatasetSchema = &update, description.Schema
	fields := make([]arrow.Field, len(description.Parameters))
	for i, t := range description.Parameters {
		if moment, ok := t.(*arrow.TimestampType); ok && isJava(ctx) {
			t = &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: moment.TimeZone}
		}
		fields[i] = arrow.Field{Name: fmt.Sprintf("$%d", i+1), Type: t, Nullable: true}
	}
	out.ParameterSchema = arrow.NewSchema(fields, nil)
	return out, nil
}

// isJava reports whether the client is Java's, by which JDBC's driver speaks: it
// writes milliseconds into timestamps of any unit (as of 18.3), so those are what
// it is told to write.
func isJava(ctx context.Context) bool {
	headers, _ := metadata.FromIncomingContext(ctx)
	agents := append(headers.Get("user-agent"), headers.Get(peers.AgentHeader)...)
	return strings.Contains(strings.Join(agents, " "), "grpc-java")
}

// DoPutPreparedStatementQuery implements flightsql.Server: the parameters become
// part of a new handle, which the client uses from now on.
func (s *server) DoPutPreparedStatementQuery(_ context.Context, q flightsql.PreparedStatementQuery, values flight.MessageReader, _ flight.MetadataWriter) ([]byte, error) {
	h, err := decodeHandle(q.GetPreparedStatementHandle())
	if err != nil {
		return nil, err
	}
	if h.Parameters, err = encodeParameters(values); err != nil {
		return nil, err
	}
	if _, err := decodeParameters(h.Parameters); err != nil {
		return nil, err // a type that cannot be one: said now, and not when it runs
	}
	return h.encode()
}

// GetFlightInfoPreparedStatement implements flightsql.Server.
func (s *server) GetFlightInfoPreparedStatement(ctx context.Context, q flightsql.PreparedStatementQuery, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	h, err := decodeHandle(q.GetPreparedStatementHandle())
	if err != nil {
		return nil, err
	}
	return s.flightInfo(ctx, h, d)
}

// GetSchemaPreparedStatement implements flightsql.Server.
func (s *server) GetSchemaPreparedStatement(ctx context.Context, q flightsql.PreparedStatementQuery, _ *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	h, err := decodeHandle(q.GetPreparedStatementHandle())
	if err != nil {
		return nil, err
	}
	return s.schemaOf(ctx, h)
}

// ClosePreparedStatement implements flightsql.Server. Nothing was kept.
func (s *server) ClosePreparedStatement(_ context.Context, r flightsql.ActionClosePreparedStatementRequest) error {
	_, err := decodeHandle(r.GetPreparedStatementHandle())
	return err
}

// encodeParameters keeps the one row of values that a client binds.
func encodeParameters(values flight.MessageReader) ([]byte, error) {
	var out bytes.Buffer
	var w *ipc.Writer
	rows := int64(0)
	for values.Next() {
		batch := values.RecordBatch()
		if rows += batch.NumRows(); rows > 1 {
			return nil, invalid("%d or more rows of parameters were bound, a query runs with one", rows)
		}
		if batch.NumRows() == 0 {
			continue
		}
		w = ipc.NewWriter(&out, ipc.WithSchema(batch.Schema()))
		if err := errors.Join(w.Write(batch), w.Close()); err != nil {
			return nil, fmt.Errorf("keep the parameters: %w", err)
		}
	}
	if err := values.Err(); err != nil {
		return nil, invalid("the parameters cannot be read: %s", err)
	}
	return out.Bytes(), nil
}
