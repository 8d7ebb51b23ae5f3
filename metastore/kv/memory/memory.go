// Package memory is a kv.Store in this process: for unit tests, for simulation
// and as the executable statement of what package kv promises.
//
// It keeps nothing over a restart. Its clock is package time's, so that inside
// a testing/synctest bubble leases expire in virtual time. One Store may serve
// many users, as one etcd serves many nodes; Close ends it for all of them.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// historyMax bounds the events that a watch may go back to; past it the older
// half is compacted away, as an etcd with auto-compaction does by time.
const historyMax = 1 << 17

var errClosed = fmt.Errorf("%w: store is closed", kv.ErrUnavailable)

// Store implements kv.Store.
type Store struct {
	mu        sync.Mutex
	entries   map[string]kv.Entry
	revision  int64      // of the last change; an empty store is at 1, as etcd's is
	compacted int64      // events up to and including this revision are gone
	history   []kv.Event // after compacted, ModRevision never falls
	leases    map[kv.LeaseID]*lease
	lastLease kv.LeaseID
	changed   chan struct{} // closed and replaced at every change
	closed    chan struct{}
}

type lease struct {
	ttl     time.Duration
	expires time.Time
	timer   *time.Timer
	keys    map[string]struct{}
}

var _ kv.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{
		entries:  make(map[string]kv.Entry),
		revision: 1,
		leases:   make(map[kv.LeaseID]*lease),
		changed:  make(chan struct{}),
		closed:   make(chan struct{}),
	}
}

// Close implements kv.Store: it stops the clocks of all leases and ends all watches.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		return nil
	}
	close(s.closed)
	for _, l := range s.leases {
		l.timer.Stop()
	}
	return nil
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// enter locks the store for one request, or says why the request cannot be.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	s.mu.Lock()
	if s.isClosed() {
		s.mu.Unlock()
		return errClosed
	}
	return nil
}

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, key string) (kv.Entry, bool, error) {
	if err := s.enter(ctx); err != nil {
		return kv.Entry{}, false, err
	}
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	return e, ok, nil
}

// Range implements kv.Store. It looks at every key of the store: ranges are
// rare where this implementation is used.
func (s *Store) Range(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	if err := s.enter(ctx); err != nil {
		return nil, 0, err
	}
	defer s.mu.Unlock()
	var found []kv.Entry
	for key, e := range s.entries {
		if strings.HasPrefix(key, prefix) {
			found = append(found, e)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Key < found[j].Key })
	return found, s.revision, nil
}

// Txn implements kv.Store. Its outcome is always known.
func (s *Store) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	if err := txn.Check(); err != nil {
		return kv.TxnResult{}, err
	}
	if err := s.enter(ctx); err != nil {
		return kv.TxnResult{}, err
	}
	defer s.mu.Unlock()

	result := kv.TxnResult{Succeeded: true}
	for _, c := range txn.If {
		if !c.Holds(s.entries[c.Key].ModRevision) {
			result.Succeeded = false
			break
		}
	}
	ops := txn.Then
	if !result.Succeeded {
		ops = txn.Else
	}
	if err := s.apply(ops); err != nil {
		return kv.TxnResult{}, err
	}

	result.Revision = s.revision
	result.Read = make(map[string]kv.Entry, len(txn.Read))
	for _, key := range txn.Read {
		if e, ok := s.entries[key]; ok {
			result.Read[key] = e
		}
	}
	return result, nil
}

// apply makes the changes of one transaction in one revision. It does nothing
// if one of them cannot be made.
func (s *Store) apply(ops []kv.Op) error {
	for _, op := range ops {
		if op.Lease != 0 && !op.Delete && s.leases[op.Lease] == nil {
			return fmt.Errorf("put %q: %w", op.Key, kv.ErrLeaseNotFound)
		}
	}
	revision := s.revision + 1
	var events []kv.Event
	for _, op := range ops {
		old, existed := s.entries[op.Key]
		if op.Delete && !existed {
			continue
		}
		if l := s.leases[old.Lease]; l != nil {
			delete(l.keys, op.Key)
		}
		if op.Delete {
			delete(s.entries, op.Key)
			events = append(events, kv.Event{Entry: kv.Entry{Key: op.Key, ModRevision: revision}, Deleted: true})
			continue
		}
		e := kv.Entry{
			Key:            op.Key,
			Value:          append([]byte(nil), op.Value...),
			CreateRevision: revision,
			ModRevision:    revision,
			Lease:          op.Lease,
		}
		if existed {
			e.CreateRevision = old.CreateRevision
		}
		if l := s.leases[op.Lease]; l != nil {
			l.keys[op.Key] = struct{}{}
		}
		s.entries[op.Key] = e
		events = append(events, kv.Event{Entry: e})
	}
	if len(events) > 0 {
		s.revision = revision
		s.record(events)
	}
	return nil
}

// record appends the events of one new revision and wakes the watches.
func (s *Store) record(events []kv.Event) {
	s.history = append(s.history, events...)
	if len(s.history) > historyMax {
		s.compact(s.history[len(s.history)/2].ModRevision)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Compact forgets the history up to and including revision: a watch from there
// ends with kv.ErrCompacted.
func (s *Store) Compact(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compact(min(revision, s.revision))
}

func (s *Store) compact(revision int64) {
	if revision <= s.compacted {
		return
	}
	s.compacted = revision
	// A copy, so that watches may go on reading the slice they hold.
	s.history = append([]kv.Event(nil), s.since(revision+1)...)
}

// since returns the events of revision and later.
func (s *Store) since(revision int64) []kv.Event {
	i := sort.Search(len(s.history), func(i int) bool { return s.history[i].ModRevision >= revision })
	return s.history[i:]
}

// Watch implements kv.Store. Every change outside the prefix shows as progress.
func (s *Store) Watch(ctx context.Context, prefix string, revision int64) <-chan kv.Changes {
	out := make(chan kv.Changes)
	go func() {
		defer close(out)
		next := max(revision, 1)
		for {
			changes, changed := s.collect(prefix, next)
			if changes.Err == nil && changes.Revision < next {
				select {
				case <-changed:
				case <-s.closed:
				case <-ctx.Done():
					return
				}
				continue
			}
			select {
			case out <- changes:
			case <-ctx.Done():
				return
			}
			if changes.Err != nil {
				return
			}
			next = changes.Revision + 1
		}
	}()
	return out
}

// collect returns what happened under prefix from revision on, and the channel
// that is closed at the next change.
func (s *Store) collect(prefix string, revision int64) (kv.Changes, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isClosed():
		return kv.Changes{Err: errClosed}, nil
	case revision <= s.compacted:
		return kv.Changes{Err: fmt.Errorf("watch from revision %d: %w", revision, kv.ErrCompacted)}, nil
	}
	changes := kv.Changes{Revision: s.revision}
	for _, e := range s.since(revision) {
		if strings.HasPrefix(e.Key, prefix) {
			changes.Events = append(changes.Events, e)
		}
	}
	return changes, s.changed
}

// Grant implements kv.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	if ttl <= 0 {
		return 0, errors.New("grant a lease: its ttl must be above zero")
	}
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	s.lastLease++
	id := s.lastLease
	s.leases[id] = &lease{
		ttl:     ttl,
		expires: time.Now().Add(ttl),
		timer:   time.AfterFunc(ttl, func() { s.expire(id) }),
		keys:    make(map[string]struct{}),
	}
	return id, nil
}

// expire ends a lease whose time is over. A timer that fired while the lease
// was being renewed finds that it is not, and is set again.
func (s *Store) expire(id kv.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil || s.isClosed() {
		return
	}
	if left := time.Until(l.expires); left > 0 {
		l.timer.Reset(left)
		return
	}
	s.end(id, l)
}

// end deletes a lease's keys in one revision.
func (s *Store) end(id kv.LeaseID, l *lease) {
	l.timer.Stop()
	ops := make([]kv.Op, 0, len(l.keys))
	for key := range l.keys {
		ops = append(ops, kv.Delete(key))
	}
	sort.Slice(ops, func(i, j int) bool { return ops[i].Key < ops[j].Key })
	delete(s.leases, id)
	// Deletes alone cannot fail.
	_ = s.apply(ops)
}

// KeepAlive implements kv.Store.
func (s *Store) KeepAlive(ctx context.Context, id kv.LeaseID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return fmt.Errorf("keep lease %d alive: %w", id, kv.ErrLeaseNotFound)
	}
	l.expires = time.Now().Add(l.ttl)
	l.timer.Reset(l.ttl)
	return nil
}

// Revoke implements kv.Store.
func (s *Store) Revoke(ctx context.Context, id kv.LeaseID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return fmt.Errorf("revoke lease %d: %w", id, kv.ErrLeaseNotFound)
	}
	s.end(id, l)
	return nil
}
