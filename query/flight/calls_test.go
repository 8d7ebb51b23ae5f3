package flight_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	pb "github.com/apache/arrow-go/v18/arrow/flight/gen/flight"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	chronikflight "github.com/chronik-stream/chronik/query/flight"
)

// command is a message as Flight SQL wraps it.
func command(m proto.Message) []byte {
	wrapped, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	text, err := proto.Marshal(wrapped)
	if err != nil {
		panic(err)
	}
	return text
}

// receive reads a stream to its end.
func receive[T any](stream interface{ Recv() (T, error) }, err error) error {
	for err == nil {
		_, err = stream.Recv()
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// calls is every call of the service, by name.
func calls(client flight.Client) map[string]func(context.Context) error {
	query := &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: command(&pb.CommandStatementQuery{Query: "rows 1 1"})}
	tables := command(&pb.CommandGetTables{IncludeSchema: true})
	all := map[string]func(context.Context) error{
		"ListFlights": func(ctx context.Context) error { return receive(client.ListFlights(ctx, &flight.Criteria{})) },
		"ListActions": func(ctx context.Context) error { return receive(client.ListActions(ctx, &flight.Empty{})) },
		"GetFlightInfo": func(ctx context.Context) error {
			_, err := client.GetFlightInfo(ctx, query)
			return err
		},
		"GetFlightInfo of tables": func(ctx context.Context) error {
			_, err := client.GetFlightInfo(ctx, &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: tables})
			return err
		},
		"PollFlightInfo": func(ctx context.Context) error {
			_, err := client.PollFlightInfo(ctx, query)
			return err
		},
		"GetSchema": func(ctx context.Context) error {
			_, err := client.GetSchema(ctx, query)
			return err
		},
		"DoGet": func(ctx context.Context) error {
			return receive(client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:rows 1 1")}))
		},
		"DoGet of tables": func(ctx context.Context) error {
			return receive(client.DoGet(ctx, &flight.Ticket{Ticket: tables}))
		},
		"DoPut": func(ctx context.Context) error {
			stream, err := client.DoPut(ctx)
			if err != nil {
				return err
			}
			_ = stream.Send(&flight.FlightData{FlightDescriptor: query}) // the answer says why it was not taken
			_ = stream.CloseSend()
			return receive(stream, nil)
		},
		"DoExchange": func(ctx context.Context) error { return receive(client.DoExchange(ctx)) },
	}
	for name, body := range map[string]proto.Message{
		flightsql.CreatePreparedStatementActionType: &pb.ActionCreatePreparedStatementRequest{Query: "rows 1 1"},
		flightsql.ClosePreparedStatementActionType:  &pb.ActionClosePreparedStatementRequest{},
		flightsql.BeginTransactionActionType:        &pb.ActionBeginTransactionRequest{},
		flightsql.CancelQueryActionType:             nil,
		flight.CancelFlightInfoActionType:           nil,
		flight.GetSessionOptionsActionType:          nil,
		flight.SetSessionOptionsActionType:          nil,
		flight.CloseSessionActionType:               nil,
		"nothing of the kind":                       nil,
	} {
		action := &flight.Action{Type: name}
		if body != nil {
			action.Body = command(body)
		}
		all["DoAction "+name] = func(ctx context.Context) error { return receive(client.DoAction(ctx, action)) }
	}
	return all
}

func TestEveryCallIsOfSomebodyWhoIsKnown(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b, Auth: users{}})
	known := metadata.AppendToOutgoingContext(withTimeout(t), "authorization", "Bearer token-of-ann")
	for name, call := range calls(client.Client) {
		for _, shown := range []string{"", "Bearer token-of-eve", "Digest x"} {
			ctx := withTimeout(t)
			if shown != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", shown)
			}
			err := call(ctx)
			require.Equal(t, codes.Unauthenticated, status.Code(err), "%s, shown %q: %v", name, shown, err)
		}
		require.Empty(t, b.who, name)
		require.NotEqual(t, codes.Unauthenticated, status.Code(call(known)), name)
		for _, who := range b.who {
			require.Equal(t, "ann", who, name)
		}
		b.who = nil
	}
	for _, name := range []string{"GetFlightInfo", "GetSchema", "DoGet", "DoGet of tables", "DoAction " + flightsql.CreatePreparedStatementActionType} {
		b.who = nil
		require.NoError(t, calls(client.Client)[name](known), name)
		require.Equal(t, []string{"ann"}, b.who, "%s asks for somebody", name)
	}
}

// taken is a stream of a call without a network.
type taken[In, Out any] struct {
	grpc.ServerStream
	ctx  context.Context
	come []In
}

func (s *taken[In, Out]) Context() context.Context     { return s.ctx }
func (s *taken[In, Out]) Send(Out) error               { return nil }
func (s *taken[In, Out]) SendHeader(metadata.MD) error { return nil }
func (s *taken[In, Out]) SetTrailer(metadata.MD)       {}
func (s *taken[In, Out]) Recv() (next In, err error) {
	if len(s.come) == 0 {
		return next, io.EOF
	}
	next, s.come = s.come[0], s.come[1:]
	return next, nil
}

// FuzzWhatComesIsAnsweredOrRefused: no bytes in a ticket, a command, a handle, an
// action's body or the message of parameters are a mistake of the server's.
func FuzzWhatComesIsAnsweredOrRefused(f *testing.F) {
	handle := []byte(`{"v":1,"id":"x","sql":"rows 1 1","parameters":"AAAA"}`)
	for _, seed := range [][]byte{
		[]byte("sql:SELECT 1"), []byte("vector:t:{}"), {}, []byte("\x0a\x04sql:"), handle, bytes.Repeat([]byte{0xff}, 20),
		command(&pb.CommandStatementQuery{Query: "rows 1 1"}), command(&pb.TicketStatementQuery{StatementHandle: handle}),
		command(&pb.CommandPreparedStatementQuery{PreparedStatementHandle: handle}), command(&pb.CommandGetTables{IncludeSchema: true}),
		command(&pb.CommandGetDbSchemas{}), command(&pb.CommandGetSqlInfo{Info: []uint32{1, 99999}}), command(&pb.CommandGetXdbcTypeInfo{}),
		command(&pb.ActionCreatePreparedStatementRequest{Query: "rows 1 1"}), command(&pb.ActionClosePreparedStatementRequest{PreparedStatementHandle: handle}),
		append([]byte("\x0aFtype.googleapis.com/arrow.flight.protocol.sql.ActionCancelQueryRequest\x12\x37\x0a\x35"), handle...),
		command(&pb.CommandStatementIngest{}), command(&pb.CommandStatementUpdate{}),
	} {
		f.Add(seed)
	}
	service := chronikflight.New(chronikflight.Options{Backend: busyBackend{newBackend()}, Version: "1"})
	actions := []string{
		flightsql.CreatePreparedStatementActionType, flightsql.ClosePreparedStatementActionType, flightsql.CancelQueryActionType,
		flight.CancelFlightInfoActionType, flight.SetSessionOptionsActionType, "else",
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		check := func(call string, err error) {
			if code := status.Code(err); code == codes.Internal || code == codes.Unknown {
				t.Fatalf("%s of %q: %v", call, text, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		descriptor := &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: text}
		_, err := service.GetFlightInfo(ctx, descriptor)
		check("GetFlightInfo", err)
		_, err = service.GetSchema(ctx, descriptor)
		check("GetSchema", err)
		get := &taken[flight.Empty, *flight.FlightData]{ctx: ctx}
		check("DoGet", service.DoGet(&flight.Ticket{Ticket: text}, get))
		for _, action := range actions {
			do := &taken[flight.Empty, *flight.Result]{ctx: ctx}
			check("DoAction "+action, service.DoAction(&flight.Action{Type: action, Body: text}, do))
		}
		put := &taken[*flight.FlightData, *flight.PutResult]{ctx: ctx, come: []*flight.FlightData{{FlightDescriptor: descriptor, DataHeader: text, DataBody: text}}}
		check("DoPut", service.DoPut(put))
		shake := &taken[*flight.HandshakeRequest, *flight.HandshakeResponse]{ctx: ctx, come: []*flight.HandshakeRequest{{Payload: text}}}
		check("Handshake", service.Handshake(shake))
	})
}
