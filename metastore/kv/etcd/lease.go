package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/chronik-stream/chronik/metastore/kv"
)

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
	select {
	case s.renewals.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("keep lease %x alive: %w: %w", int64(id), kv.ErrUnavailable, ctx.Err())
	}
	defer func() { <-s.renewals.turn }()
	kept := s.renewals.stream != nil
	err := s.renew(ctx, id)
	if kept && err != nil && s.renewals.stream == nil && ctx.Err() == nil {
		err = s.renew(ctx, id) // the stream had ended since the last time
	}
	if err != nil {
		return fmt.Errorf("keep lease %x alive: %w", int64(id), readError(ctx, err))
	}
	return nil
}

// renewals are sent over one stream that is kept: for each new one etcd's client
// sends the user's password again, and checking that is meant to cost a server a
// tenth of a second, which it takes one after the other.
type renewals struct {
	turn   chan struct{} // held by who uses the rest
	stream pb.Lease_LeaseKeepAliveClient
	end    context.CancelFunc
}

// renew sends one renewal and takes its answer. A stream on which either failed
// is not used again: the answer to this one must not be taken for the next one's.
func (s *Store) renew(ctx context.Context, id kv.LeaseID) error {
	r := &s.renewals
	if r.stream == nil {
		var lifetime context.Context
		lifetime, r.end = context.WithCancel(clientv3.WithRequireLeader(s.client.Ctx()))
		stop := context.AfterFunc(ctx, r.end)
		stream, err := pb.NewLeaseClient(s.client.ActiveConnection()).LeaseKeepAlive(lifetime)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			r.end()
			return clientv3.ContextError(ctx, err)
		}
		r.stream = stream
	}
	stop := context.AfterFunc(ctx, r.end)
	answer, err := r.ask(id)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		r.end()
		r.stream = nil
		return clientv3.ContextError(ctx, err)
	}
	if answer.GetTTL() <= 0 {
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

func (r *renewals) ask(id kv.LeaseID) (*pb.LeaseKeepAliveResponse, error) {
	// What ended the stream is what Recv says; Send only says that it has ended.
	_ = r.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)})
	answer, err := r.stream.Recv()
	if err == nil && answer.GetID() != int64(id) {
		return nil, fmt.Errorf("etcd answered for lease %x", answer.GetID())
	}
	return answer, err
}

// Revoke implements kv.Store.
func (s *Store) Revoke(ctx context.Context, id kv.LeaseID) error {
	if _, err := s.client.Revoke(clientv3.WithRequireLeader(ctx), clientv3.LeaseID(id)); err != nil {
		return fmt.Errorf("revoke lease %x: %w", int64(id), writeError(ctx, err))
	}
	return nil
}
