package metastore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Membership makes a compactor or a query node known to the others for as long
// as it lives. Unlike a broker's session it fences nothing, so it heals itself:
// a lapsed one is registered again until Close.
type Membership struct {
	store  *Store
	key    string
	value  []byte
	ttl    time.Duration
	cancel context.CancelFunc

	mu      sync.Mutex
	current *lease
	stopped chan struct{}
}

// RegisterCompactor makes m known as a live compactor.
func (s *Store) RegisterCompactor(ctx context.Context, m Member, ttl time.Duration) (*Membership, error) {
	return s.join(ctx, "compactor", s.keys.compactor(m.ID), m, ttl)
}

// RegisterQuery makes m known as a live query node.
func (s *Store) RegisterQuery(ctx context.Context, m Member, ttl time.Duration) (*Membership, error) {
	return s.join(ctx, "query", s.keys.query(m.ID), m, ttl)
}

func (s *Store) join(ctx context.Context, kind, key string, m Member, ttl time.Duration) (*Membership, error) {
	if m.ID == "" || ttl <= 0 {
		return nil, fmt.Errorf("register %s %q for %v: %w", kind, m.ID, ttl, ErrInvalid)
	}
	ms := &Membership{store: s, key: key, value: encode(m), ttl: ttl, stopped: make(chan struct{})}
	if err := ms.enter(ctx, kind); err != nil {
		return nil, fmt.Errorf("register %s %s: %w", kind, m.ID, err)
	}
	var staying context.Context
	staying, ms.cancel = context.WithCancel(s.life)
	s.tasks.Go(func() { ms.stay(staying, kind) })
	return ms, nil
}

// enter writes the key under a new lease, whatever it holds: the newest wins. It
// does so under a compare, or a put that got lost could come late and hang the
// key on a lease that nobody renews.
func (ms *Membership) enter(ctx context.Context, kind string) error {
	l, err := ms.store.lease(ctx, kind, ms.ttl)
	if err != nil {
		return err
	}
	result, _, err := ms.store.settle(ctx, "register", kv.Txn{Read: []string{ms.key}})
	for err == nil && result.Read[ms.key].Lease != l.id {
		result, _, err = ms.store.settle(ctx, "register", kv.Txn{
			If:   []kv.Compare{{Key: ms.key, ModRevision: result.Read[ms.key].ModRevision}},
			Then: []kv.Op{kv.PutLeased(ms.key, ms.value, l.id)},
			Read: []string{ms.key},
		})
	}
	if err != nil {
		l.lose(ErrClosed)
		return err
	}
	ms.mu.Lock()
	ms.current = l
	ms.mu.Unlock()
	ms.store.caughtUp(ctx, result.Revision)
	return nil
}

// stay enters again whenever the lease is over.
func (ms *Membership) stay(ctx context.Context, kind string) {
	defer close(ms.stopped)
	pause := ms.store.newBackoff()
	for {
		select {
		case <-ms.lease().Done():
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			err := ms.enter(ctx, kind)
			if err == nil {
				pause.reset()
				break
			}
			ms.store.log.Warn("membership could not be renewed yet", "kind", kind, "err", err)
			if pause.wait(ctx) != nil {
				return
			}
		}
	}
}

func (ms *Membership) lease() *lease {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.current
}

// Close takes the member off the list.
func (ms *Membership) Close(ctx context.Context) error {
	ms.cancel()
	<-ms.stopped
	return ms.lease().close(ctx)
}

// Lock is a lease that one node of the cluster holds at a time. It keeps work
// from being done twice; it fences nothing, so what is done under it must be
// harmless when another does it at once.
type Lock struct {
	*lease
	name string
}

// Lock waits until it holds the lock of that name, for example "janitor".
// It is held until Unlock, or until Done says that it was lost.
func (s *Store) Lock(ctx context.Context, name string, ttl time.Duration) (*Lock, error) {
	what := fmt.Sprintf("lock %s", name)
	key := s.keys.lock(name)
	if dir, _ := s.keys.split(key); dir != "" || name == "" || name == nameProducerIDs || ttl <= 0 {
		return nil, fmt.Errorf("%s for %v: %w", what, ttl, ErrInvalid)
	}
	l, err := s.lease(ctx, "lock", ttl)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := s.acquire(ctx, what, key, l); err != nil {
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), ttl)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("%s: %w", what, err), l.close(cleaning))
	}
	return &Lock{lease: l, name: name}, nil
}

// acquire puts the key when nobody holds it. It looks again at each change of
// the metadata, since a lock's release is one.
func (s *Store) acquire(ctx context.Context, what, key string, l *lease) error {
	for {
		changed := s.catalog.Changed()
		result, _, err := s.settle(ctx, what, kv.Txn{
			If:   []kv.Compare{{Key: key}},
			Then: []kv.Op{kv.PutLeased(key, nil, l.id)},
			Read: []string{key},
		})
		switch {
		case err != nil:
			return err
		case result.Read[key].Lease == l.id:
			return nil
		}
		select {
		case <-changed:
		case <-l.Done():
			return l.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock gives the lock to the next one.
func (l *Lock) Unlock(ctx context.Context) error {
	if err := l.close(ctx); err != nil {
		return fmt.Errorf("unlock %s: %w", l.name, err)
	}
	return nil
}
