// Package faults makes a metadata store fail on purpose, by a plan that can be
// printed, parsed and replayed.
//
// Chance is computed, not drawn: hash(seed, rule, operation, key, how many times
// this was asked before). So one seed strikes the same calls however the
// goroutines of a test are scheduled. Nth and Every count the matching calls of
// the whole store in the order of their arrival.
package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/faultplan"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// Store is a kv.Store over another one that fails as planned. Many may share
// one inner store, as many nodes share an etcd.
type Store struct {
	inner kv.Store

	life context.Context // of late transactions; ends at Close
	stop context.CancelFunc
	late sync.WaitGroup

	mu      sync.Mutex
	plan    Plan
	matched []int64          // per rule: calls it applied to
	struck  []int64          // per rule: calls it struck
	calls   map[string]int64 // per operation and key
}

var _ kv.Store = (*Store)(nil)

// New wraps inner, which stays the caller's. A plan without rules changes nothing.
func New(inner kv.Store, plan Plan) *Store {
	s := &Store{inner: inner, calls: make(map[string]int64)}
	s.life, s.stop = context.WithCancel(context.Background())
	s.Use(plan)
	return s
}

// Use replaces the plan and begins its counts anew: an outage starts, or ends.
// What is late already still comes.
func (s *Store) Use(plan Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = plan
	s.matched = make([]int64, len(plan.Rules))
	s.struck = make([]int64, len(plan.Rules))
	clear(s.calls)
}

// Struck says how often each rule of the plan has struck, so that a test can
// tell that what it survived really happened.
func (s *Store) Struck() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.struck)
}

// Close drops the late transactions that have not come yet. It leaves the inner
// store open.
func (s *Store) Close() error {
	s.stop()
	s.late.Wait()
	return nil
}

// Settle waits until every late transaction has come.
func (s *Store) Settle() { s.late.Wait() }

// fate is what the plan holds for one call.
type fate struct {
	wait   time.Duration
	effect Effect // empty: none
	late   time.Duration
}

func (s *Store) fate(op Op, keys ...string) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	site := string(op)
	if len(keys) > 0 {
		site += " " + keys[0]
	}
	call := s.calls[site]
	s.calls[site]++
	var f fate
	for i, r := range s.plan.Rules {
		if !matches(r, op, keys) {
			continue
		}
		s.matched[i]++
		if !r.Strikes(s.matched[i], faultplan.Hash(s.plan.Seed, uint64(i), site, uint64(call))) {
			continue
		}
		s.struck[i]++
		if r.Effect == Delay {
			f.wait += r.Wait
			continue
		}
		f.effect, f.late = r.Effect, r.Wait
		break
	}
	return f
}

func matches(r Rule, op Op, keys []string) bool {
	if r.Op != Any && r.Op != op {
		return false
	}
	return r.Name == "" || slices.ContainsFunc(keys, func(key string) bool { return strings.Contains(key, r.Name) })
}

// before waits and fails as planned for before the effect.
func (s *Store) before(ctx context.Context, op Op, keys ...string) (fate, error) {
	f := s.fate(op, keys...)
	if f.wait > 0 && !pause(ctx, f.wait) {
		return f, fmt.Errorf("%s: %w: %w", op, kv.ErrUnavailable, ctx.Err())
	}
	if f.effect == FailBefore {
		return f, fmt.Errorf("%s: injected %s: %w", op, f.effect, kv.ErrUnavailable)
	}
	return f, nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read runs a request without effect: to lose its answer is to fail.
func (s *Store) read(ctx context.Context, op Op, key string, request func() error) error {
	f, err := s.before(ctx, op, key)
	if err != nil {
		return err
	}
	if f.effect != "" && f.effect != Cut {
		return fmt.Errorf("%s %s: injected %s: %w", op, key, f.effect, kv.ErrUnavailable)
	}
	return request()
}

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, key string) (entry kv.Entry, ok bool, err error) {
	err = s.read(ctx, Get, key, func() (err error) {
		entry, ok, err = s.inner.Get(ctx, key)
		return err
	})
	return entry, ok, err
}

// Range implements kv.Store.
func (s *Store) Range(ctx context.Context, prefix string) (entries []kv.Entry, revision int64, err error) {
	err = s.read(ctx, Range, prefix, func() (err error) {
		entries, revision, err = s.inner.Range(ctx, prefix)
		return err
	})
	return entries, revision, err
}

// Txn implements kv.Store.
func (s *Store) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	if err := txn.Check(); err != nil {
		return kv.TxnResult{}, err
	}
	f, err := s.before(ctx, Txn, keysOf(txn)...)
	if err != nil {
		return kv.TxnResult{}, err
	}
	lost := fmt.Errorf("txn: injected %s: %w", f.effect, kv.ErrUnknownOutcome)
	switch f.effect {
	case Lose:
		return kv.TxnResult{}, lost
	case Late:
		s.late.Go(func() {
			if pause(s.life, f.late) {
				// Nobody waits for the answer: that is the point.
				_, _ = s.inner.Txn(s.life, txn)
			}
		})
		return kv.TxnResult{}, lost
	}
	result, err := s.inner.Txn(ctx, txn)
	if err == nil && f.effect == FailAfter {
		return kv.TxnResult{}, lost
	}
	return result, err
}

// keysOf lists what a transaction touches, what it writes first.
func keysOf(txn kv.Txn) []string {
	var keys []string
	for _, op := range txn.Then {
		keys = append(keys, op.Key)
	}
	for _, op := range txn.Else {
		keys = append(keys, op.Key)
	}
	for _, c := range txn.If {
		keys = append(keys, c.Key)
	}
	return append(keys, txn.Read...)
}

// Watch implements kv.Store. A watch that is cut ends with an error in place of
// what it had to say, as often as the plan strikes one of its values.
func (s *Store) Watch(ctx context.Context, prefix string, revision int64) <-chan kv.Changes {
	out := make(chan kv.Changes)
	ctx, cancel := context.WithCancel(ctx)
	inner := s.inner.Watch(ctx, prefix, revision)
	go func() {
		defer close(out)
		defer cancel()
		for changes := range inner {
			f := s.fate(Watch, prefix)
			if f.wait > 0 && !pause(ctx, f.wait) {
				return
			}
			if f.effect != "" {
				changes = kv.Changes{Err: fmt.Errorf("watch: injected %s: %w", f.effect, kv.ErrUnavailable)}
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
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (id kv.LeaseID, err error) {
	err = s.write(ctx, Grant, func() (err error) {
		id, err = s.inner.Grant(ctx, ttl)
		return err
	})
	return id, err
}

// KeepAlive implements kv.Store.
func (s *Store) KeepAlive(ctx context.Context, lease kv.LeaseID) error {
	return s.write(ctx, KeepAlive, func() error { return s.inner.KeepAlive(ctx, lease) })
}

// Revoke implements kv.Store.
func (s *Store) Revoke(ctx context.Context, lease kv.LeaseID) error {
	return s.write(ctx, Revoke, func() error { return s.inner.Revoke(ctx, lease) })
}

// write runs a request of a lease.
func (s *Store) write(ctx context.Context, op Op, request func() error) error {
	f, err := s.before(ctx, op)
	if err != nil {
		return err
	}
	lost := fmt.Errorf("%s: injected %s: %w", op, f.effect, kv.ErrUnknownOutcome)
	if f.effect == Lose || f.effect == Late {
		return lost
	}
	if err := request(); err != nil {
		return err
	}
	if f.effect == FailAfter {
		return lost
	}
	return nil
}
