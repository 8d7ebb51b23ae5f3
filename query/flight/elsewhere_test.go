package flight_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/auth"
	chronikflight "github.com/chronik-stream/chronik/query/flight"
	"github.com/chronik-stream/chronik/query/peers"
)

// entry is the backend of a node for which another one is preferred.
type entry struct {
	*backend
	member metastore.Member
}

func (e *entry) Query(ctx context.Context, s chronikflight.Statement) (chronikflight.Cursor, error) {
	if s.Place == peers.Anywhere {
		return nil, &peers.Elsewhere{Member: e.member}
	}
	return e.backend.Query(ctx, s)
}

func (e *entry) Describe(ctx context.Context, s chronikflight.Statement) (*chronikflight.Description, error) {
	if s.Place == peers.Anywhere {
		return nil, &peers.Elsewhere{Member: e.member}
	}
	return e.backend.Describe(ctx, s)
}

// serveEntry returns a client of a node that hands everything on to address.
func serveEntry(t *testing.T, address string, a auth.Authenticator) (*flightsql.Client, *entry, *peers.Peers) {
	e := &entry{newBackend(), metastore.Member{ID: "b", Address: address}}
	p := peers.New(peers.Options{Self: "a", Members: func() []metastore.Member { return []metastore.Member{{ID: "a"}, e.member} }})
	t.Cleanup(p.Close)
	client, _ := serve(t, chronikflight.Options{Backend: e, Peers: p, Auth: a})
	return client, e, p
}

func TestAnotherNodeAnswersAsThisOneWould(t *testing.T) {
	b := newBackend()
	address, _ := serveWhole(t, chronikflight.Options{Backend: b, Auth: users{}})
	client, e, p := serveEntry(t, address, users{})
	ctx := metadata.AppendToOutgoingContext(withTimeout(t), "authorization", "Bearer token-of-ann", "x-chronik-freshness", "cold", "x-chronik-timeout-secs", "7")
	info, err := client.Execute(ctx, "rows 3000 2000")
	require.NoError(t, err)
	r, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	rows, texts := read(t, r)
	require.EqualValues(t, 3000, rows)
	require.Len(t, texts[2999], 2000)
	s := b.lastStatement()
	require.Equal(t, peers.HandedOn, s.Place)
	require.Equal(t, auth.Principal{Name: "ann"}, s.Principal, "who asks is who asked")
	require.Equal(t, "cold", s.Freshness)
	require.Equal(t, 7*time.Second, s.Timeout)

	_, err = client.GetExecuteSchema(ctx, "rows 1 1")
	require.NoError(t, err)
	prepared, err := client.Prepare(ctx, "parameters ?")
	require.NoError(t, err)
	require.Equal(t, 1, prepared.ParameterSchema().NumFields())
	require.EqualValues(t, 4, p.Forwarded())
	require.Empty(t, e.lastStatement().SQL, "nothing ran here")

	// Refusals come back as they are, with their details, and are no reason to ask again.
	_, err = client.Execute(ctx, "bad")
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.Equal(t, "INVALID_QUERY", reasonOf(err))
	r, err = client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:fail 2")})
	require.NoError(t, err)
	for r.Next() {
	}
	require.Equal(t, "INTERNAL_ERROR", reasonOf(r.Err()))
	r.Release()
	require.Zero(t, p.Declined())
}

func TestThisNodeAnswersWhenTheOtherDoesNot(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	require.NoError(t, err)
	defer silent.Close()
	busy, _ := serveWhole(t, chronikflight.Options{Backend: busyBackend{newBackend()}})
	for what, address := range map[string]string{"nobody is there": "127.0.0.1:1", "it is silent": silent.Addr().String(), "it is busy": busy} {
		client, e, p := serveEntry(t, address, nil)
		r, err := client.DoGet(withTimeout(t), &flight.Ticket{Ticket: []byte("sql:rows 4 1")})
		require.NoError(t, err, what)
		rows, _ := read(t, r)
		require.EqualValues(t, 4, rows, what)
		require.Equal(t, peers.Here, e.lastStatement().Place, what)
		require.EqualValues(t, 1, p.Declined(), what)
		require.Zero(t, p.Forwarded(), what)
		_, err = client.Prepare(withTimeout(t), "rows 1 1")
		require.NoError(t, err, what)
	}
}

// busyBackend has enough to do.
type busyBackend struct{ *backend }

func (busyBackend) Query(context.Context, chronikflight.Statement) (chronikflight.Cursor, error) {
	return nil, errBusy
}

func (busyBackend) Describe(context.Context, chronikflight.Statement) (*chronikflight.Description, error) {
	return nil, errBusy
}

var errBusy = envelope.New(503, "UNAVAILABLE", "ServiceUnavailable", "busy")

func TestHalfAnAnswerOfAnotherNodeIsNoWholeOne(t *testing.T) {
	b := newBackend()
	address, kill := serveWhole(t, chronikflight.Options{Backend: b})
	client, e, _ := serveEntry(t, address, nil)
	r, err := client.DoGet(withTimeout(t), &flight.Ticket{Ticket: []byte("sql:forever")})
	require.NoError(t, err)
	defer r.Release()
	require.True(t, r.Next())
	kill()
	for r.Next() {
	}
	require.Equal(t, codes.Unavailable, status.Code(r.Err()), "%v", r.Err())
	require.Empty(t, e.lastStatement().SQL, "it is not begun anew")
}

func TestAClientThatGoesEndsItsQueryOnTheOtherNode(t *testing.T) {
	b := newBackend()
	address, _ := serveWhole(t, chronikflight.Options{Backend: b})
	client, _, p := serveEntry(t, address, nil)
	ctx, cancel := context.WithCancel(withTimeout(t))
	r, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:forever")})
	require.NoError(t, err)
	require.True(t, r.Next())
	cancel()
	<-b.ended
	r.Release()

	// By another call, to the node that the client knows.
	info, err := client.Execute(withTimeout(t), "forever")
	require.NoError(t, err)
	r, err = client.DoGet(withTimeout(t), info.Endpoint[0].Ticket)
	require.NoError(t, err)
	defer r.Release()
	require.True(t, r.Next())
	result, err := client.CancelFlightInfo(withTimeout(t), &flight.CancelFlightInfoRequest{Info: info})
	require.NoError(t, err)
	require.Equal(t, flight.CancelStatusCancelled, result.Status)
	<-b.ended
	for r.Next() {
	}
	require.Equal(t, codes.Canceled, status.Code(r.Err()), "%v", r.Err())
	require.Zero(t, p.Declined(), "the client's end is not the node's fault")
}

func TestAClientThatDoesNotReadHoldsItsQueryNoLongerThanItsTimeout(t *testing.T) {
	far := newBackend()
	address, _ := serveWhole(t, chronikflight.Options{Backend: far})
	near := newBackend()
	direct, _ := serve(t, chronikflight.Options{Backend: near, Timeout: 100 * time.Millisecond})
	handing, _, _ := serveEntry(t, address, nil)
	for _, c := range []struct {
		client *flightsql.Client
		b      *backend
	}{{direct, near}, {handing, far}} {
		ctx := withTimeout(t)
		if c.b == far {
			ctx = metadata.AppendToOutgoingContext(ctx, "x-chronik-timeout-secs", "0.1")
		}
		stream, err := c.client.Client.DoGet(context.WithoutCancel(ctx), &flight.Ticket{Ticket: []byte("sql:forever")})
		require.NoError(t, err)
		<-c.b.ended // though nothing was read
		for err == nil {
			_, err = stream.Recv()
		}
		require.Equal(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
		require.Equal(t, "TIMEOUT", reasonOf(err))
	}
}
