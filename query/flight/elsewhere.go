package flight

import (
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/metadata"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/peers"
)

// Calls that are about a topic are answered by the query node that is likely to
// have it at hand: the Backend says *peers.Elsewhere, and the call goes there as
// it came. When that does not work, it is answered here.

type hereKey struct{}

// stayHere makes a call be answered by this node.
func stayHere(ctx context.Context) context.Context { return context.WithValue(ctx, hereKey{}, true) }

// placeOf says where a call may be answered.
func (s *server) placeOf(ctx context.Context) peers.Place {
	headers, _ := metadata.FromIncomingContext(ctx)
	switch {
	case len(headers.Get(peers.HopHeader)) > 0:
		return peers.HandedOn
	case s.peers == nil || ctx.Value(hereKey{}) != nil:
		return peers.Here
	}
	return peers.Anywhere
}

// anywhere answers a call, here or by ask at the node that the Backend names. A
// call that has begun to answer names none.
func (s *server) anywhere(ctx context.Context, answer func(context.Context) error, ask func(context.Context, metastore.Member) (answered bool, err error)) error {
	err := answer(ctx)
	var elsewhere *peers.Elsewhere
	if !errors.As(err, &elsewhere) {
		return err
	}
	if answered, err := ask(ctx, elsewhere.Member); answered {
		return err
	}
	return answer(stayHere(ctx))
}

// call is an ask for calls with one answer.
func (s *server) call(do func(context.Context, flight.FlightServiceClient) error) func(context.Context, metastore.Member) (bool, error) {
	return func(ctx context.Context, m metastore.Member) (bool, error) {
		return s.peers.Call(ctx, m, func(ctx context.Context, client flight.FlightServiceClient) (bool, error) {
			return false, do(ctx, client)
		})
	}
}
