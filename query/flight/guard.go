package flight

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/chronik-stream/chronik/query/auth"
)

// guard stands before every call: it learns who asks, turns errors into
// statuses and panics into errors, and tells what happened. It implements the
// handshake itself, by which a client turns what it shows into a token.
type guard struct {
	flight.BaseFlightServer
	inner flight.FlightServer
	o     Options
}

// Headers with credentials. The second is that of Flight's older handshake,
// whose credentials are in the messages.
const (
	authHeader  = "authorization"
	tokenHeader = "auth-token-bin"
)

// call runs one call for a known principal.
func (g *guard) call(ctx context.Context, method string, do func(ctx context.Context) error) (err error) {
	began := time.Now()
	defer func() {
		if cause := recover(); cause != nil {
			g.o.Log.Error("a Flight call panicked", "method", method, "cause", cause, "stack", string(debug.Stack()))
			err = errors.New("internal error")
		}
		err = StatusOf(ctx, err)
		took, code := time.Since(began), status.Code(err)
		if g.o.Observe != nil {
			g.o.Observe(method, code.String(), took)
		}
		g.o.Log.Debug("flight call", "method", method, "code", code, "took", took, "err", err)
	}()
	shown, err := credentials(ctx)
	if err != nil {
		return err
	}
	principal, err := g.o.Auth.Authenticate(ctx, shown)
	if err != nil {
		return err
	}
	return do(context.WithValue(ctx, principalKey{}, principal))
}

type principalKey struct{}

func principalOf(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey{}).(auth.Principal)
	return p
}

// credentials are those of a call's headers.
func credentials(ctx context.Context) (auth.Credentials, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	if tokens := headers.Get(tokenHeader); len(tokens) > 0 {
		return auth.Credentials{Token: tokens[0]}, nil
	}
	if values := headers.Get(authHeader); len(values) > 0 {
		return auth.ParseHeader(values[0])
	}
	return auth.Credentials{}, nil
}

// Handshake answers credentials with a bearer token, in the way in which they
// came: headers (Basic or Bearer) with a header, messages with a message.
func (g *guard) Handshake(stream flight.FlightService_HandshakeServer) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(first.GetPayload()) > 0 {
		return g.handshakeByMessage(stream, first)
	}
	return g.call(stream.Context(), "Handshake", func(ctx context.Context) error {
		token, err := g.o.Auth.Token(ctx, principalOf(ctx))
		if err != nil {
			return err
		}
		bearer := metadata.Pairs(authHeader, "Bearer "+token)
		// Some drivers look for it before the messages, some after.
		if err := stream.SendHeader(bearer); err != nil {
			return err
		}
		stream.SetTrailer(bearer)
		return stream.Send(&flight.HandshakeResponse{})
	})
}

// handshakeByMessage is the older handshake: a BasicAuth as payload, and the
// token as the answer's.
func (g *guard) handshakeByMessage(stream flight.FlightService_HandshakeServer, first *flight.HandshakeRequest) error {
	var basic flight.BasicAuth
	if err := proto.Unmarshal(first.GetPayload(), &basic); err != nil {
		return StatusOf(stream.Context(), &auth.Refusal{Message: "the handshake's payload is no BasicAuth"})
	}
	ctx := stream.Context()
	principal, err := g.o.Auth.Authenticate(ctx, auth.Credentials{User: basic.Username, Password: basic.Password})
	if err != nil {
		return StatusOf(ctx, err)
	}
	token, err := g.o.Auth.Token(ctx, principal)
	if err != nil {
		return StatusOf(ctx, err)
	}
	return stream.Send(&flight.HandshakeResponse{Payload: []byte(token)})
}

// The streams of the calls, with the context that knows the principal.
type (
	listing struct {
		flight.FlightService_ListFlightsServer
		ctx context.Context
	}
	getting struct {
		flight.FlightService_DoGetServer
		ctx context.Context
	}
	putting struct {
		flight.FlightService_DoPutServer
		ctx context.Context
	}
	acting struct {
		flight.FlightService_DoActionServer
		ctx context.Context
	}
)

func (s listing) Context() context.Context { return s.ctx }
func (s getting) Context() context.Context { return s.ctx }
func (s putting) Context() context.Context { return s.ctx }
func (s acting) Context() context.Context  { return s.ctx }

func (g *guard) ListFlights(c *flight.Criteria, stream flight.FlightService_ListFlightsServer) error {
	return g.call(stream.Context(), "ListFlights", func(ctx context.Context) error {
		return g.inner.ListFlights(c, listing{stream, ctx})
	})
}

func (g *guard) GetFlightInfo(ctx context.Context, d *flight.FlightDescriptor) (info *flight.FlightInfo, err error) {
	err = g.call(ctx, "GetFlightInfo", func(ctx context.Context) (err error) {
		info, err = g.inner.GetFlightInfo(ctx, d)
		return err
	})
	return info, err
}

func (g *guard) PollFlightInfo(ctx context.Context, d *flight.FlightDescriptor) (info *flight.PollInfo, err error) {
	err = g.call(ctx, "PollFlightInfo", func(ctx context.Context) (err error) {
		info, err = g.inner.PollFlightInfo(ctx, d)
		return err
	})
	return info, err
}

func (g *guard) GetSchema(ctx context.Context, d *flight.FlightDescriptor) (schema *flight.SchemaResult, err error) {
	err = g.call(ctx, "GetSchema", func(ctx context.Context) (err error) {
		schema, err = g.inner.GetSchema(ctx, d)
		return err
	})
	return schema, err
}

func (g *guard) DoGet(t *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	return g.call(stream.Context(), "DoGet", func(ctx context.Context) error {
		return g.inner.DoGet(t, getting{stream, ctx})
	})
}

func (g *guard) DoPut(stream flight.FlightService_DoPutServer) error {
	return g.call(stream.Context(), "DoPut", func(ctx context.Context) error {
		return g.inner.DoPut(putting{stream, ctx})
	})
}

func (g *guard) DoExchange(stream flight.FlightService_DoExchangeServer) error {
	return g.call(stream.Context(), "DoExchange", func(context.Context) error {
		return disabled("exchanging data both ways is not available: a query only reads")
	})
}

func (g *guard) DoAction(a *flight.Action, stream flight.FlightService_DoActionServer) error {
	return g.call(stream.Context(), "DoAction", func(ctx context.Context) error {
		return g.inner.DoAction(a, acting{stream, ctx})
	})
}

func (g *guard) ListActions(e *flight.Empty, stream flight.FlightService_ListActionsServer) error {
	return g.call(stream.Context(), "ListActions", func(context.Context) error {
		return g.inner.ListActions(e, stream)
	})
}
