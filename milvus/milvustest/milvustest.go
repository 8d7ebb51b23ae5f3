// Package milvustest is a Milvus for tests: its gRPC service, as far as Chronik
// uses it, over rows in memory that are compared one by one. It is strict where
// a real one is lenient: what is not loaded or has no index is not searched, and
// who does not ask for strong consistency sees nothing.
//
// Faults are planned by method. What it was asked is counted.
package milvustest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Server is a Milvus.
type Server struct {
	// Address is where it listens: host:port.
	Address string

	grpc *grpc.Server
	done chan struct{}

	mu          sync.Mutex
	collections map[string]*collection
	plan        func(method string) Fault
	calls       map[string]int
	token       string
	database    string

	milvuspb.UnimplementedMilvusServiceServer
}

type collection struct {
	schema *schemapb.CollectionSchema
	index  map[string]string
	loaded bool
	rows   map[string]row // by key
}

type row struct {
	numbers map[string]int64
	vector  []float32
}

// Start listens on a free port of this machine.
func Start() (*Server, error) { return StartAt("127.0.0.1:0") }

// StartAt is Start at an address: a Milvus that comes back.
func StartAt(address string) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening as a Milvus: %w", err)
	}
	s := &Server{
		Address: listener.Addr().String(), done: make(chan struct{}),
		collections: map[string]*collection{}, calls: map[string]int{},
	}
	s.grpc = grpc.NewServer(grpc.UnaryInterceptor(s.intercept), grpc.MaxRecvMsgSize(64<<20))
	milvuspb.RegisterMilvusServiceServer(s.grpc, s)
	go func() {
		defer close(s.done)
		_ = s.grpc.Serve(listener) // it ends when Close says so
	}()
	return s, nil
}

// Close ends it, and what is under way.
func (s *Server) Close() {
	s.grpc.Stop()
	<-s.done
}

// Fault is what goes wrong with a call.
type Fault int

const (
	None Fault = iota
	// Away: the call does not arrive.
	Away
	// LostAnswer: it does what it was asked, and the answer does not arrive.
	LostAnswer
	// Silence: nothing happens until the caller gives up.
	Silence
	// RateLimited: Milvus says that it is asked too much.
	RateLimited
	// Denied: Milvus does not let the user.
	Denied
	// Broken: Milvus says that something went wrong within.
	Broken
)

// Plan says what goes wrong from now on; nil: nothing. It is called for each
// call, one at a time.
func (s *Server) Plan(plan func(method string) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = plan
}

// Require makes it want a token, and a database.
func (s *Server) Require(token, database string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.database = token, database
}

// Calls is how often a method was called.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Names are the collections.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.collections))
}

// Keys are those of a collection's rows.
func (s *Server) Keys(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.collections[name]; c != nil {
		return slices.Sorted(maps.Keys(c.rows))
	}
	return nil
}

// Vector is that of a row; nil: there is none of that key.
func (s *Server) Vector(name, key string) []float32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.collections[name]; c != nil {
		return slices.Clone(c.rows[key].vector)
	}
	return nil
}

// Index is what a collection was asked to be indexed with.
func (s *Server) Index(name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.collections[name]; c != nil {
		return maps.Clone(c.index)
	}
	return nil
}

// Lose forgets a collection, as somebody does who drops it behind Chronik's back.
func (s *Server) Lose(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.collections, name)
}

func (s *Server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	fault, err := s.admit(ctx, method)
	if err != nil {
		return nil, err
	}
	switch fault {
	case Away:
		return nil, status.Error(codes.Unavailable, "planned: it is away")
	case Silence:
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case RateLimited, Denied, Broken:
		return refuse(method, fault), nil
	}
	answer, err := handle(ctx, req)
	if fault == LostAnswer {
		return nil, status.Error(codes.Unavailable, "planned: the answer is lost")
	}
	return answer, err
}

// admit counts a call, checks who calls, and asks the plan.
func (s *Server) admit(ctx context.Context, method string) (Fault, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
	from, _ := metadata.FromIncomingContext(ctx)
	if s.token != "" && !slices.Contains(from.Get("authorization"), s.token) {
		return None, status.Error(codes.Unauthenticated, "auth check failure, please check api key is correct")
	}
	if s.database != "" && !slices.Contains(from.Get("dbname"), s.database) {
		return None, status.Error(codes.InvalidArgument, "another database")
	}
	if s.plan == nil {
		return None, nil
	}
	return s.plan(method), nil
}
