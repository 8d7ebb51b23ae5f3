package admin

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

// dialRPC serves a surface's gRPC and returns a connection.
func dialRPC(t *testing.T, s *Surface) *grpc.ClientConn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.RPC().Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		s.RPC().Stop()
		require.NoError(t, <-ended)
	})
	return conn
}

// slow is a role whose DoGet waits until it is ended, and tells why.
type slow struct {
	flight.BaseFlightServer
	entered chan struct{}
}

func (s *slow) DoGet(_ *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	s.entered <- struct{}{}
	<-stream.Context().Done()
	return context.Cause(stream.Context())
}

func (s *slow) GetFlightInfo(context.Context, *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return &flight.FlightInfo{TotalRecords: 7}, nil
}

func TestFlightGoesToTheRoleThatIsAttached(t *testing.T) {
	c := serve(t, Options{Roles: []string{"query"}})
	conn := dialRPC(t, c.s)
	client := flight.NewFlightServiceClient(conn)
	_, err := client.GetFlightInfo(t.Context(), &flight.FlightDescriptor{})
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)

	role := &slow{entered: make(chan struct{}, 1)}
	c.s.Attach(http.NotFoundHandler(), role, true)
	info, err := client.GetFlightInfo(t.Context(), &flight.FlightDescriptor{})
	require.NoError(t, err)
	require.EqualValues(t, 7, info.TotalRecords)

	// A stream that outlasts the stop of the role is ended, with the reason.
	stream, err := client.DoGet(t.Context(), &flight.Ticket{})
	require.NoError(t, err)
	<-role.entered
	over, cancel := context.WithCancel(t.Context())
	cancel()
	c.s.Detach(over)
	_, err = stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "stopping")
}

func TestAProcessWithoutQueryRoleRefusesFlight(t *testing.T) {
	c := serve(t, Options{Roles: []string{"broker"}})
	client := flight.NewFlightServiceClient(dialRPC(t, c.s))
	stream, err := client.DoGet(t.Context(), &flight.Ticket{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "no query role")
}

func TestHealthOverGRPCIsThatOfReadiness(t *testing.T) {
	reasons := make(chan []string, 1)
	reasons <- nil
	c := serve(t, Options{Roles: []string{"query"}, Reasons: func() []string {
		now := <-reasons
		reasons <- now
		return now
	}})
	is := func(now ...string) { <-reasons; reasons <- now }
	client := grpc_health_v1.NewHealthClient(dialRPC(t, c.s))
	check := func(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
		r, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		return r.Status
	}
	const serving, not = grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING
	require.Equal(t, serving, check(""))
	require.Equal(t, not, check(flightService), "no role is attached")
	c.s.Attach(http.NotFoundHandler(), &slow{}, true)
	require.Equal(t, serving, check(flightService))
	_, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "else"})
	require.Equal(t, codes.NotFound, status.Code(err))
	all, err := client.List(t.Context(), &grpc_health_v1.HealthListRequest{})
	require.NoError(t, err)
	require.Len(t, all.Statuses, 2)

	watch, err := client.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	next := func() grpc_health_v1.HealthCheckResponse_ServingStatus {
		r, err := watch.Recv()
		require.NoError(t, err)
		return r.Status
	}
	require.Equal(t, serving, next())
	is("draining")
	require.Equal(t, not, next())
	require.Equal(t, not, check(""))
	is()
	require.Equal(t, serving, next())
}

func TestReflectionListsTheServices(t *testing.T) {
	c := serve(t, Options{Roles: []string{"query"}})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(dialRPC(t, c.s)).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}))
	r, err := stream.Recv()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, s := range r.GetListServicesResponse().GetService() {
		names[s.Name] = true
	}
	require.True(t, names[flightService] && names["grpc.health.v1.Health"], names)
}
