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
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

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
	client *clientv3.Client
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
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            opts.Endpoints,
		TLS:                  opts.TLS,
		Username:             opts.Username,
		Password:             opts.Password,
		DialTimeout:          opts.DialTimeout,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		DialOptions:          []grpc.DialOption{grpc.WithConnectParams(reconnect(opts.DialTimeout))},
		Logger:               zap.NewNop(), // what it has to say comes back as errors
	})
	if err != nil { // of a user it asks for a token already
		return nil, fmt.Errorf("connect to etcd at %v: %w", opts.Endpoints, readError(ctx, err))
	}
	s := &Store{client: client}
	if _, _, err := s.Get(ctx, "/chronik"); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to etcd at %v: %w", opts.Endpoints, err), s.Close())
	}
	return s, nil
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
	resp, err := s.client.Txn(clientv3.WithRequireLeader(ctx)).
		If(compares(txn.If)...).
		Then(append(operations(txn.Then), reads...)...).
		Else(append(operations(txn.Else), reads...)...).
		Commit()
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

// Grant implements kv.Store. etcd counts in seconds, and has a minimum of about
// one and a half election timeouts: the lease may live longer than asked for.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	if ttl <= 0 {
		return 0, errors.New("grant a lease: its ttl must be above zero")
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	resp, err := s.client.Grant(clientv3.WithRequireLeader(ctx), int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, writeError(ctx, err)
	}
	return kv.LeaseID(resp.ID), nil
}

// KeepAlive implements kv.Store.
func (s *Store) KeepAlive(ctx context.Context, id kv.LeaseID) error {
	if _, err := s.client.KeepAliveOnce(clientv3.WithRequireLeader(ctx), clientv3.LeaseID(id)); err != nil {
		return fmt.Errorf("keep lease %x alive: %w", int64(id), readError(ctx, err))
	}
	return nil
}

// Revoke implements kv.Store.
func (s *Store) Revoke(ctx context.Context, id kv.LeaseID) error {
	if _, err := s.client.Revoke(clientv3.WithRequireLeader(ctx), clientv3.LeaseID(id)); err != nil {
		return fmt.Errorf("revoke lease %x: %w", int64(id), writeError(ctx, err))
	}
	return nil
}
