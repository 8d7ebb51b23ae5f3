package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// seamStore is the metadata store as one process reaches it.
type seamStore struct {
	l     *life
	inner kv.Store
}

func storeError(what string, o outcome, err error) error {
	if o == doubtful {
		return fmt.Errorf("%s: %w: %w", what, kv.ErrUnknownOutcome, err)
	}
	return fmt.Errorf("%s: %w: %w", what, kv.ErrUnavailable, err)
}

// short is a key without the cluster's prefix.
func short(key string) string {
	key = strings.TrimPrefix(key, "/chronik/"+cluster+"/")
	return normal(strings.TrimPrefix(key, "/chronik-groups/"+cluster+"/"))
}

func shortAll(txn kv.Txn) string {
	var keys []string
	for _, op := range txn.Then {
		sign := "+"
		if op.Delete {
			sign = "-"
		}
		keys = append(keys, sign+short(op.Key))
	}
	if len(keys) == 0 {
		for _, key := range txn.Read {
			keys = append(keys, "?"+short(key))
		}
	}
	slices.Sort(keys)
	if len(keys) > 4 {
		keys = append(keys[:4], fmt.Sprintf("and %d more", len(keys)-4))
	}
	return strings.Join(keys, " ")
}

// Get implements kv.Store.
func (s *seamStore) Get(ctx context.Context, key string) (entry kv.Entry, ok bool, err error) {
	type result struct {
		entry kv.Entry
		ok    bool
		err   error
	}
	var r result
	o, err := s.l.do(ctx, seamKV, "get "+short(key), func() { r.entry, r.ok, r.err = s.inner.Get(context.Background(), key) })
	if o != done {
		return kv.Entry{}, false, storeError("get", refused, err) // to lose the answer is to fail
	}
	return r.entry, r.ok, r.err
}

// Range implements kv.Store.
func (s *seamStore) Range(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	var r struct {
		entries  []kv.Entry
		revision int64
		err      error
	}
	o, err := s.l.do(ctx, seamKV, "range "+short(prefix), func() { r.entries, r.revision, r.err = s.inner.Range(context.Background(), prefix) })
	if o != done {
		return nil, 0, storeError("range", refused, err)
	}
	return r.entries, r.revision, r.err
}

// Txn implements kv.Store.
func (s *seamStore) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	if err := txn.Check(); err != nil {
		return kv.TxnResult{}, err
	}
	var r struct {
		result kv.TxnResult
		err    error
	}
	o, err := s.l.do(ctx, seamKV, "txn "+shortAll(txn), func() { r.result, r.err = s.inner.Txn(context.Background(), txn) })
	if o != done {
		return kv.TxnResult{}, storeError("txn", o, err)
	}
	return r.result, r.err
}

// Watch implements kv.Store. What happens comes in order, each a while later.
func (s *seamStore) Watch(ctx context.Context, prefix string, revision int64) <-chan kv.Changes {
	out := make(chan kv.Changes)
	ctx, cancel := context.WithCancel(ctx)
	inner := s.inner.Watch(ctx, prefix, revision)
	go func() {
		defer close(out)
		defer cancel()
		for changes := range inner {
			if o, err := s.l.do(ctx, seamKV, "watch "+short(prefix), func() {}); o != done {
				changes = kv.Changes{Err: storeError("watch", refused, err)}
			}
			select {
			case out <- changes:
			case <-ctx.Done():
				return
			}
			if changes.Err != nil {
				return
			}
		}
	}()
	return out
}

// Grant implements kv.Store.
func (s *seamStore) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	var r struct {
		id  kv.LeaseID
		err error
	}
	o, err := s.l.do(ctx, seamKV, "grant", func() { r.id, r.err = s.inner.Grant(context.Background(), ttl) })
	if o != done {
		return 0, storeError("grant", o, err)
	}
	return r.id, r.err
}

// KeepAlive implements kv.Store.
func (s *seamStore) KeepAlive(ctx context.Context, lease kv.LeaseID) error {
	var failed error
	o, err := s.l.do(ctx, seamKV, "keepalive", func() { failed = s.inner.KeepAlive(context.Background(), lease) })
	if o != done {
		return storeError("keepalive", o, err)
	}
	return failed
}

// Revoke implements kv.Store.
func (s *seamStore) Revoke(ctx context.Context, lease kv.LeaseID) error {
	var failed error
	o, err := s.l.do(ctx, seamKV, "revoke", func() { failed = s.inner.Revoke(context.Background(), lease) })
	if o != done {
		return storeError("revoke", o, err)
	}
	return failed
}

// Close implements kv.Store.
func (s *seamStore) Close() error { return nil }
