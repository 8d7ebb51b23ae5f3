package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	queryflight "github.com/chronik-stream/chronik/query/flight"
)

// Limits of gRPC. Messages that come in are queries and their parameters: they
// may be as large as a body over HTTP.
const (
	rpcMessageBytesMax = 16 << 20
	rpcHeaderBytesMax  = 64 << 10
	rpcCallsMax        = 256 // of one connection, at once
	rpcHelloWithin     = 10 * time.Second
	rpcPingEvery       = 30 * time.Second // of connections that are silent
	rpcPingsAtMost     = 10 * time.Second // clients that ping more often are cut off
	rpcHealthEvery     = time.Second
)

// newRPC makes the gRPC server of a surface: Arrow Flight for the role that is
// attached, health, and reflection.
func (s *Surface) newRPC() *grpc.Server {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(rpcMessageBytesMax), grpc.MaxHeaderListSize(rpcHeaderBytesMax),
		grpc.MaxConcurrentStreams(rpcCallsMax), grpc.ConnectionTimeout(rpcHelloWithin),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: rpcPingEvery, Timeout: rpcPingEvery}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: rpcPingsAtMost, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(s.aroundCall), grpc.StreamInterceptor(s.aroundStream),
	)
	flight.RegisterFlightServiceServer(server, door{})
	grpc_health_v1.RegisterHealthServer(server, &rpcHealth{surface: s})
	reflection.Register(server)
	return server
}

// RPC returns the process's gRPC server, which answers as long as the surface.
func (s *Surface) RPC() *grpc.Server { return s.rpc }

// flightService is the name by which Flight's methods and health begin.
const flightService = "arrow.flight.protocol.FlightService"

type flightKey struct{}

// into counts a call of the role in, unless there is none, and ends it when it
// outlasts the role's stop.
func (s *Surface) into(ctx context.Context, method string) (inner context.Context, leave func(), err error) {
	a := s.enter()
	if a == nil {
		return nil, nil, queryflight.StatusOf(ctx, s.nobody(method))
	}
	inner, cancel := context.WithCancelCause(context.WithValue(ctx, flightKey{}, a.flight))
	stop := context.AfterFunc(a.ended, func() { cancel(status.Error(codes.Unavailable, stopping)) })
	return inner, func() {
		stop()
		cancel(nil)
		a.under.Done()
	}, nil
}

func (s *Surface) aroundCall(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !strings.HasPrefix(info.FullMethod, "/"+flightService+"/") {
		return handler(ctx, request)
	}
	ctx, leave, err := s.into(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer leave()
	return handler(ctx, request)
}

func (s *Surface) aroundStream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, "/"+flightService+"/") {
		return handler(service, stream)
	}
	ctx, leave, err := s.into(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer leave()
	return handler(service, enteredStream{stream, ctx})
}

type enteredStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (e enteredStream) Context() context.Context { return e.ctx }

// door hands Flight's calls to the role that was attached when they came.
type door struct{ flight.BaseFlightServer }

func role(ctx context.Context) flight.FlightServer {
	return ctx.Value(flightKey{}).(flight.FlightServer) // set by into, or the call did not come here
}

func (door) Handshake(s flight.FlightService_HandshakeServer) error {
	return role(s.Context()).Handshake(s)
}

func (door) ListFlights(c *flight.Criteria, s flight.FlightService_ListFlightsServer) error {
	return role(s.Context()).ListFlights(c, s)
}

func (door) GetFlightInfo(ctx context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return role(ctx).GetFlightInfo(ctx, d)
}

func (door) PollFlightInfo(ctx context.Context, d *flight.FlightDescriptor) (*flight.PollInfo, error) {
	return role(ctx).PollFlightInfo(ctx, d)
}

func (door) GetSchema(ctx context.Context, d *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	return role(ctx).GetSchema(ctx, d)
}

func (door) DoGet(t *flight.Ticket, s flight.FlightService_DoGetServer) error {
	return role(s.Context()).DoGet(t, s)
}

func (door) DoPut(s flight.FlightService_DoPutServer) error { return role(s.Context()).DoPut(s) }

func (door) DoExchange(s flight.FlightService_DoExchangeServer) error {
	return role(s.Context()).DoExchange(s)
}

func (door) DoAction(a *flight.Action, s flight.FlightService_DoActionServer) error {
	return role(s.Context()).DoAction(a, s)
}

func (door) ListActions(e *flight.Empty, s flight.FlightService_ListActionsServer) error {
	return role(s.Context()).ListActions(e, s)
}

// rpcHealth says over gRPC what /health/ready says over HTTP.
type rpcHealth struct {
	grpc_health_v1.UnimplementedHealthServer
	surface *Surface
}

// services are those whose health can be asked for; "" is the process.
var services = []string{"", flightService}

func (h *rpcHealth) of(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	h.surface.mu.Lock()
	attached := h.surface.attached != nil
	h.surface.mu.Unlock()
	switch {
	case !slices.Contains(services, service):
		return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
	case len(h.surface.o.Reasons()) > 0 || service != "" && !attached:
		return grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return grpc_health_v1.HealthCheckResponse_SERVING
}

// Check implements grpc_health_v1.HealthServer.
func (h *rpcHealth) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	is := h.of(r.GetService())
	if is == grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "there is no service %q", r.GetService())
	}
	return &grpc_health_v1.HealthCheckResponse{Status: is}, nil
}

// List implements grpc_health_v1.HealthServer.
func (h *rpcHealth) List(context.Context, *grpc_health_v1.HealthListRequest) (*grpc_health_v1.HealthListResponse, error) {
	out := &grpc_health_v1.HealthListResponse{Statuses: map[string]*grpc_health_v1.HealthCheckResponse{}}
	for _, service := range services {
		out.Statuses[service] = &grpc_health_v1.HealthCheckResponse{Status: h.of(service)}
	}
	return out, nil
}

// Watch implements grpc_health_v1.HealthServer: what is, and then each change.
func (h *rpcHealth) Watch(r *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	tick := time.NewTicker(rpcHealthEvery)
	defer tick.Stop()
	last := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for {
		if is := h.of(r.GetService()); is != last {
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: is}); err != nil {
				return err
			}
			last = is
		}
		select {
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-tick.C:
		}
	}
}
