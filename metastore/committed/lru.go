package committed

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// lru keeps values that never change, least recently used out first, within a
// cost. A value that is asked for by many at once is loaded by one of them.
type lru[K comparable, V any] struct {
	costMax int64

	mu      sync.Mutex
	entries map[K]*list.Element // of *lruEntry[K, V]
	recent  list.List           // the front is the most recent
	cost    int64
	loading map[K]*load[V]
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
	cost  int64
}

type load[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newLRU[K comparable, V any](costMax int64) *lru[K, V] {
	return &lru[K, V]{costMax: costMax, entries: map[K]*list.Element{}, loading: map[K]*load[V]{}}
}

// get returns the value of key, loaded if need be. An error is not kept.
func (c *lru[K, V]) get(ctx context.Context, key K, fetch func(context.Context) (value V, cost int64, err error)) (V, error) {
	for {
		c.mu.Lock()
		if e, ok := c.entries[key]; ok {
			c.recent.MoveToFront(e)
			value := e.Value.(*lruEntry[K, V]).value
			c.mu.Unlock()
			return value, nil
		}
		l, ok := c.loading[key]
		if !ok {
			l = &load[V]{done: make(chan struct{})}
			c.loading[key] = l
			c.mu.Unlock()
			return c.load(ctx, key, l, fetch)
		}
		c.mu.Unlock()
		select {
		case <-l.done:
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
		// The one who loaded may have given up; that is not our affair.
		if !errors.Is(l.err, context.Canceled) && !errors.Is(l.err, context.DeadlineExceeded) {
			return l.value, l.err
		}
	}
}

func (c *lru[K, V]) load(ctx context.Context, key K, l *load[V], fetch func(context.Context) (V, int64, error)) (V, error) {
	var cost int64
	l.value, cost, l.err = fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.loading, key)
	close(l.done)
	if l.err == nil && cost <= c.costMax {
		c.entries[key] = c.recent.PushFront(&lruEntry[K, V]{key: key, value: l.value, cost: cost})
		c.cost += cost
		for c.cost > c.costMax {
			last := c.recent.Back()
			e := c.recent.Remove(last).(*lruEntry[K, V])
			delete(c.entries, e.key)
			c.cost -= e.cost
		}
	}
	return l.value, l.err
}
