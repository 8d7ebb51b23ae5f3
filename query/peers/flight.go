package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/metastore"
)

// AgentHeader carries the client's own user-agent along a call that was handed
// on, whose user-agent is this node's.
const AgentHeader = "X-Chronik-Agent"

// flightIdle is how long a connection to a node that nothing is asked of stays.
const flightIdle = 30 * time.Second

// links are the connections over which Flight's calls are handed on, one to each
// address.
type links struct {
	mu     sync.Mutex
	links  map[string]*link
	closed bool
}

// link is a connection and the calls that are made over it.
type link struct {
	*grpc.ClientConn
	calls int
}

// linkTo returns the connection to a node, which the first call makes, and stays
// until who got it says that it is done.
func (p *Peers) linkTo(m metastore.Member) (_ *grpc.ClientConn, done func(), err error) {
	l := &p.links
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, errors.New("the node is closed")
	}
	to := l.links[m.Address]
	if to == nil {
		if to, err = p.newLink(m); err != nil {
			return nil, nil, err
		}
	}
	to.calls++
	return to.ClientConn, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		to.calls--
	}, nil
}

// newLink makes a connection, and closes those to nodes that are gone. The lock is
// held.
func (p *Peers) newLink(m metastore.Member) (*link, error) {
	l := &p.links
	live := map[string]bool{m.Address: true}
	for _, other := range p.options.Members() {
		live[other.Address] = true
	}
	l.keep(live)
	conn, err := grpc.NewClient("passthrough:///"+m.Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(flightIdle),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: dialWithin / 4, Multiplier: 2, MaxDelay: avoidedFor / 2}, MinConnectTimeout: dialWithin}),
		// What a node sends it may send on: a row that is larger than a message of
		// gRPC is by default, too.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, err
	}
	if l.links == nil {
		l.links = map[string]*link{}
	}
	made := &link{ClientConn: conn}
	l.links[m.Address] = made
	return made, nil
}

// keep closes the connections to all other addresses but those that are used: a
// node that is about to stop sends the rest of its answers. The lock is held.
func (l *links) keep(addresses map[string]bool) {
	for address, link := range l.links {
		if !addresses[address] && link.calls == 0 {
			delete(l.links, address)
			_ = link.Close() // nobody is there
		}
	}
}

func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, link := range l.links {
		_ = link.Close() // what is under way ends with the node
	}
	l.links = nil
}

// Call has m answer a call of Arrow Flight, whose context is ctx, and returns
// true when it did, or when it is too late for anybody else to: err is then how
// the call ended. False: nothing reached the client, and somebody else has to
// answer.
//
// The call has to change nothing, since it may be answered twice. ask makes it,
// and tells whether anything has reached the client.
func (p *Peers) Call(ctx context.Context, m metastore.Member, ask func(context.Context, flight.FlightServiceClient) (begun bool, err error)) (answered bool, err error) {
	link, done, err := p.linkTo(m)
	if err != nil {
		return false, nil
	}
	defer done()
	inner, cancel := context.WithCancelCause(metadata.NewOutgoingContext(ctx, p.headers(ctx)))
	defer cancel(nil)
	enough := p.watch(inner, cancel, m)
	begun, err := ask(inner, flight.NewFlightServiceClient(link))
	enough()
	gone := context.Cause(inner) // nil, but when the watch has ended the call, or the client
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = context.Cause(ctx) // the client is gone, or its time is over
	case begun:
		p.options.Log.Debug("an answer of another query node broke off", "node", m.ID, "err", err)
		if spoke(err) == nil {
			err = status.Errorf(codes.Unavailable, "query node %s, which answered, is gone", m.ID)
		}
	case gone != nil:
		p.declined.Add(1)
		p.Avoid(m, gone)
		return false, nil
	case status.Code(err) == codes.Unavailable:
		p.declined.Add(1)
		if spoke(err) == nil {
			p.Avoid(m, err)
		} // else it has enough to do, or is about to stop
		return false, nil
	}
	p.forwarded.Add(1)
	return true, err
}

// spoke returns an error that a node has answered, and nil for one of the way to
// it: nodes say details.
func spoke(err error) *status.Status {
	if s, ok := status.FromError(err); ok && len(s.Details()) > 0 {
		return s
	}
	return nil
}

// headers are those of a client's call, to be sent along.
func (p *Peers) headers(ctx context.Context) metadata.MD {
	came, _ := metadata.FromIncomingContext(ctx)
	sent := metadata.MD{}
	for name, values := range came {
		switch {
		case strings.HasPrefix(name, ":"), strings.HasPrefix(name, "grpc-"), name == "content-type", name == "te":
		case name == "user-agent":
			sent.Set(AgentHeader, values...)
		default:
			sent[name] = values
		}
	}
	sent.Set(HopHeader, p.options.Self)
	return sent
}

// Get has m answer a DoGet, as Call does.
func (p *Peers) Get(ctx context.Context, m metastore.Member, ticket *flight.Ticket, to sender[*flight.FlightData]) (answered bool, err error) {
	return p.Call(ctx, m, func(ctx context.Context, client flight.FlightServiceClient) (begun bool, err error) {
		from, err := client.DoGet(ctx, ticket)
		if err != nil {
			return false, err
		}
		return pass(from, to)
	})
}

// Do has m answer a DoAction, as Call does.
func (p *Peers) Do(ctx context.Context, m metastore.Member, action *flight.Action, to sender[*flight.Result]) (answered bool, err error) {
	return p.Call(ctx, m, func(ctx context.Context, client flight.FlightServiceClient) (begun bool, err error) {
		from, err := client.DoAction(ctx, action)
		if err != nil {
			return false, err
		}
		return pass(from, to)
	})
}

type sender[T any] interface{ Send(T) error }

// pass sends messages on as they come, no faster than they are taken.
func pass[T any](from interface{ Recv() (T, error) }, to sender[T]) (begun bool, err error) {
	for {
		message, err := from.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return begun, nil
		case err != nil:
			return begun, err
		}
		begun = true
		if err := to.Send(message); err != nil {
			return begun, fmt.Errorf("send what another query node answers: %w", err)
		}
	}
}
