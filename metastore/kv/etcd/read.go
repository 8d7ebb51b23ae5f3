package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, key string) (kv.Entry, bool, error) {
	resp, err := s.client.Get(clientv3.WithRequireLeader(ctx), key)
	if err != nil {
		return kv.Entry{}, false, readError(ctx, err)
	}
	if len(resp.Kvs) == 0 {
		return kv.Entry{}, false, nil
	}
	return entry(resp.Kvs[0]), true, nil
}

const (
	// pageBytes is about how much one page of a range holds, judged by the
	// pages before it.
	pageBytes   = 4 << 20
	pageKeysMin = 100 // of up to 400 KiB each
	pageKeysMax = 20_000
)

// Range implements kv.Store: the pages after the first are read at the revision
// of the first. If that is compacted away meanwhile it begins again.
func (s *Store) Range(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	for {
		entries, revision, err := s.pages(ctx, prefix)
		if err != nil && errors.Is(err, kv.ErrCompacted) && ctx.Err() == nil {
			continue
		}
		return entries, revision, err
	}
}

func (s *Store) pages(ctx context.Context, prefix string) (entries []kv.Entry, revision int64, err error) {
	from, end, limit := prefix, clientv3.GetPrefixRangeEnd(prefix), int64(pageKeysMin)
	if prefix == "" {
		from = "\x00"
	}
	for {
		resp, err := s.client.Get(clientv3.WithRequireLeader(ctx), from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(revision))
		if err != nil {
			return nil, 0, readError(ctx, err)
		}
		if revision == 0 {
			revision = resp.Header.Revision
		}
		bytes := 1
		for _, pair := range resp.Kvs {
			entries = append(entries, entry(pair))
			bytes += len(pair.Key) + len(pair.Value)
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return entries, revision, nil
		}
		from = entries[len(entries)-1].Key + "\x00"
		limit = min(max(pageBytes*int64(len(resp.Kvs))/int64(bytes), pageKeysMin), pageKeysMax)
	}
}

// Compacted implements kv.Historian.
func (s *Store) Compacted(ctx context.Context, key string, revision int64) (bool, error) {
	_, err := s.client.Get(clientv3.WithRequireLeader(ctx), key, clientv3.WithRev(revision), clientv3.WithKeysOnly())
	if err == nil {
		return false, nil
	}
	if err = readError(ctx, err); errors.Is(err, kv.ErrCompacted) {
		return true, nil
	}
	return false, err
}

func entry(pair *mvccpb.KeyValue) kv.Entry {
	return kv.Entry{
		Key:            string(pair.Key),
		Value:          pair.Value,
		CreateRevision: pair.CreateRevision,
		ModRevision:    pair.ModRevision,
		Lease:          kv.LeaseID(pair.Lease),
	}
}

// watchAgainAfter is the pause before a watch that ended is begun again.
const watchAgainAfter = 100 * time.Millisecond

// Watch implements kv.Store. Progress comes as often as the server is set to
// send it, which is every ten minutes unless configured.
func (s *Store) Watch(ctx context.Context, prefix string, revision int64) <-chan kv.Changes {
	out := make(chan kv.Changes)
	go func() {
		defer close(out)
		next := max(revision, 1)
		for ctx.Err() == nil {
			err := s.watch(ctx, prefix, &next, out)
			if err != nil && ctx.Err() == nil {
				send(ctx, out, kv.Changes{Err: err})
				return
			}
			select {
			case <-time.After(watchAgainAfter):
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// watch runs one watch of etcd and keeps next, the first revision not sent yet.
// It returns nil if the watch may be begun again from there.
func (s *Store) watch(ctx context.Context, prefix string, next *int64, out chan<- kv.Changes) error {
	// A member cut off from its leader ends the watch instead of leaving it
	// silent; the next one may reach another member.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for resp := range s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(*next), clientv3.WithProgressNotify()) {
		if err := resp.Err(); err != nil {
			if err = readError(ctx, err); errors.Is(err, kv.ErrCompacted) || isRefusal(err) {
				return err
			}
			return nil
		}
		changes := kv.Changes{Revision: resp.Header.Revision, Events: make([]kv.Event, len(resp.Events))}
		for i, e := range resp.Events {
			changes.Events[i] = kv.Event{Entry: entry(e.Kv), Deleted: e.Type == clientv3.EventTypeDelete}
		}
		if n := len(resp.Events); n > 0 {
			// The header may be ahead of what is still to come; etcd sends
			// whole revisions, so the last event's is complete.
			changes.Revision = resp.Events[n-1].Kv.ModRevision
		}
		if changes.Revision < *next {
			continue
		}
		if !send(ctx, out, changes) {
			return nil
		}
		*next = changes.Revision + 1
	}
	return nil
}

func send(ctx context.Context, out chan<- kv.Changes, c kv.Changes) bool {
	select {
	case out <- c:
		return true
	case <-ctx.Done():
		return false
	}
}
