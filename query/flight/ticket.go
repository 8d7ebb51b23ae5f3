package flight

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	pb "github.com/apache/arrow-go/v18/arrow/flight/gen/flight"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Tickets that clients write by hand, without Flight SQL's commands. They work
// as the command of a GetFlightInfo as well.
var (
	sqlTicket    = []byte("sql:")    // sql:<query>
	vectorTicket = []byte("vector:") // vector:<topic>:<JSON>
)

// plainTicket reads a ticket that was written by hand; ok is false for others.
func plainTicket(ticket []byte) (h handle, ok bool, err error) {
	switch {
	case bytes.HasPrefix(ticket, sqlTicket):
		h.SQL = string(ticket[len(sqlTicket):])
		if len(bytes.TrimSpace(ticket[len(sqlTicket):])) == 0 {
			return h, true, invalid("the ticket sql: has no query")
		}
		return h, true, nil
	case bytes.HasPrefix(ticket, vectorTicket):
		h.Nearest, err = nearestTicket(ticket[len(vectorTicket):])
		return h, true, err
	}
	return h, false, nil
}

// nearestTicket reads what follows vector: in a ticket. No topic has a colon in its
// name.
func nearestTicket(ticket []byte) (*Nearest, error) {
	topic, body, ok := bytes.Cut(ticket, []byte(":"))
	switch {
	case !ok || len(topic) == 0:
		return nil, invalid("the ticket is vector:<topic>:<JSON>, the JSON as the body of /_vector/<topic>/search or search_by_vector")
	case !json.Valid(body):
		return nil, invalid("what follows the topic in the ticket vector:%s: is not JSON", topic)
	}
	return &Nearest{Topic: string(topic), Body: bytes.Clone(body)}, nil
}

// GetFlightInfo describes the answer to a command.
func (w *wire) GetFlightInfo(ctx context.Context, d *flight.FlightDescriptor) (info *flight.FlightInfo, err error) {
	err = w.server.anywhere(ctx,
		func(ctx context.Context) (err error) {
			info, err = w.flightInfo(ctx, d)
			return err
		},
		w.server.call(func(ctx context.Context, client flight.FlightServiceClient) (err error) {
			info, err = client.GetFlightInfo(ctx, d)
			return err
		}))
	return info, err
}

func (w *wire) flightInfo(ctx context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	h, plain, err := plainTicket(d.GetCmd())
	switch {
	case err != nil:
		return nil, err
	case plain:
		return w.server.flightInfo(ctx, h, d)
	case d.GetType() == flight.DescriptorPATH:
		return nil, invalid("a flight is named by a Flight SQL command, by sql:<query> or vector:<topic>:<JSON>, not by a path")
	}
	return w.FlightServer.GetFlightInfo(ctx, d)
}

// GetSchema tells the columns of the answer to a command.
func (w *wire) GetSchema(ctx context.Context, d *flight.FlightDescriptor) (schema *flight.SchemaResult, err error) {
	err = w.server.anywhere(ctx,
		func(ctx context.Context) (err error) {
			schema, err = w.schema(ctx, d)
			return err
		},
		w.server.call(func(ctx context.Context, client flight.FlightServiceClient) (err error) {
			schema, err = client.GetSchema(ctx, d)
			return err
		}))
	return schema, err
}

func (w *wire) schema(ctx context.Context, d *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	h, plain, err := plainTicket(d.GetCmd())
	switch {
	case err != nil:
		return nil, err
	case plain:
		return w.server.schemaOf(ctx, h)
	}
	return w.FlightServer.GetSchema(ctx, d)
}

// DoGet streams an answer.
func (w *wire) DoGet(t *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	h, ok, err := statementTicket(t.GetTicket())
	if err != nil {
		return err
	}
	if !ok {
		return w.FlightServer.DoGet(t, stream)
	}
	if h, err = h.withOptions(stream.Context()); err != nil {
		return err
	}
	return w.server.stream(t, h, stream)
}

// statementTicket reads a ticket whose answer is that of a query; ok is false
// for those of Flight SQL's other commands.
func statementTicket(ticket []byte) (h handle, ok bool, err error) {
	if h, ok, err = plainTicket(ticket); ok {
		return h, ok, err
	}
	var wrapped anypb.Any
	if err := proto.Unmarshal(ticket, &wrapped); err != nil {
		return h, false, invalid("the ticket is none of Flight SQL, nor sql:<query> or vector:<topic>:<JSON>")
	}
	command, err := wrapped.UnmarshalNew()
	if err != nil {
		return h, false, invalid("the ticket is none of Flight SQL, nor sql:<query> or vector:<topic>:<JSON>")
	}
	switch c := command.(type) {
	case *pb.TicketStatementQuery:
		h, err = decodeHandle(c.GetStatementHandle())
		return h, true, err
	case *pb.CommandPreparedStatementQuery:
		h, err = decodeHandle(c.GetPreparedStatementHandle())
		return h, true, err
	}
	return h, false, nil
}

// newTicket is a ticket for the query of a handle.
func newTicket(h handle) (*flight.Ticket, error) {
	encoded, err := h.encode()
	if err != nil {
		return nil, err
	}
	ticket, err := flightsql.CreateStatementQueryTicket(encoded)
	if err != nil {
		return nil, err
	}
	return &flight.Ticket{Ticket: ticket}, nil
}
