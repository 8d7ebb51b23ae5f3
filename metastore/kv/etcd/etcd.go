// Package etcd is the kv.Store over an etcd cluster, 3.5 or newer.
//
// It adds nothing to etcd but the promises of package kv: snapshots however
// many pages a range takes, watches that survive lost connections, and errors
// that tell a write that was not done from one whose answer was lost. It never
// sends a write twice.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Options say how to reach the cluster.
type Options struct {
	Endpoints []string // host:port or URL, of one or more members
	TLS       *tls.Config
	Username  string
	Password  string

	DialTimeout time.Duration // of a connection to one member; default 5 s
}

// Store implements kv.Store.
type Store struct {
	client   *clientv3.Client
	renewals renewals
}

var _ kv.Store = (*Store)(nil)

const (
	// Pings find a connection that is dead without being closed. etcd refuses
	// clients that ping more often than every five seconds.
	pingEvery   = 10 * time.Second
	pingTimeout = 3 * time.Second
	dialTimeout = 5 * time.Second
	// reconnectMax bounds the pause between tries to connect: gRPC's own two
	// minutes would outlast any lease.
	reconnectMax = time.Second
)

// Open connects to a cluster and makes sure that it answers.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = dialTimeout
	}
	var last failure
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            opts.Endpoints,
		TLS:                  opts.TLS,
		Username:             opts.Username,
		Password:             opts.Password,
		DialTimeout:          opts.DialTimeout,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		DialOptions:          []grpc.DialOption{grpc.WithConnectParams(reconnect(opts.DialTimeout)), grpc.WithChainUnaryInterceptor(last.note)},
		Logger:               zap.NewNop(), // what it has to say comes back as errors
	})
	if err != nil { // of a user it asks for a token already
		return nil, fmt.Errorf("connect to etcd at %v: %w", opts.Endpoints, last.explain(readError(ctx, err)))
	}
	s := &Store{client: client, renewals: renewals{turn: make(chan struct{}, 1)}}
	if _, _, err := s.Get(ctx, "/chronik"); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to etcd at %v: %w", opts.Endpoints, last.explain(err)), s.Close())
	}
	return s, nil
}

// failure is why the latest attempt of a request failed. The client tries again
// for as long as it may, and then says only that its time is over.
type failure struct{ text atomic.Pointer[string] }

func (f *failure) note(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, conn, opts...)
	switch e, _ := status.FromError(err); e.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		text := e.Message()
		f.text.Store(&text)
	}
	return err
}

// explain adds it to an error that says only that time is over.
func (f *failure) explain(err error) error {
	text := f.text.Load()
	if text == nil || *text == context.DeadlineExceeded.Error() || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %s", err, *text)
}

func reconnect(dialTimeout time.Duration) grpc.ConnectParams {
	pauses := backoff.DefaultConfig
	pauses.BaseDelay = 50 * time.Millisecond
	pauses.MaxDelay = reconnectMax
	return grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: dialTimeout}
}

// Close implements kv.Store.
func (s *Store) Close() error {
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the connection to etcd: %w", err)
	}
	return nil
}

// Requests ask for a member that has a leader: one that is cut off from the
// others says so at once, and the next try reaches another one.

// Txn implements kv.Store.
func (s *Store) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	if err := txn.Check(); err != nil {
		return kv.TxnResult{}, err
	}
	if err := ctx.Err(); err != nil {
		return kv.TxnResult{}, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	reads := make([]clientv3.Op, len(txn.Read))
	for i, key := range txn.Read {
		reads[i] = clientv3.OpGet(key)
	}
	then, otherwise := append(operations(txn.Then), reads...), append(operations(txn.Else), reads...)
	if len(then)+len(otherwise) == 0 && len(txn.If) > 0 {
		// etcd takes a transaction without operations for one that any member may
		// answer by what it has seen so far. One read makes it ask the leader.
		then = []clientv3.Op{clientv3.OpGet(txn.If[0].Key, clientv3.WithCountOnly())}
		otherwise = then
	}
	resp, err := s.client.Txn(clientv3.WithRequireLeader(ctx)).If(compares(txn.If)...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		return kv.TxnResult{}, writeError(ctx, err)
	}
	result := kv.TxnResult{
		Succeeded: resp.Succeeded,
		Revision:  resp.Header.Revision,
		Read:      make(map[string]kv.Entry, len(reads)),
	}
	for _, r := range resp.Responses[len(resp.Responses)-len(reads):] {
		for _, pair := range r.GetResponseRange().Kvs {
			e := entry(pair)
			result.Read[e.Key] = e
		}
	}
	return result, nil
}

func compares(conditions []kv.Compare) []clientv3.Cmp {
	cmps := make([]clientv3.Cmp, len(conditions))
	for i, c := range conditions {
		if c.Exists {
			cmps[i] = clientv3.Compare(clientv3.ModRevision(c.Key), ">", 0)
		} else {
			cmps[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.ModRevision)
		}
	}
	return cmps
}

func operations(ops []kv.Op) []clientv3.Op {
	out := make([]clientv3.Op, len(ops))
	for i, op := range ops {
		if op.Delete {
			out[i] = clientv3.OpDelete(op.Key)
		} else {
			out[i] = clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
		}
	}
	return out
}
