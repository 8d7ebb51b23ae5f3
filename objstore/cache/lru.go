package cache

import "container/list"

// lru is a map with a budget: entries used least recently leave first. It has no
// lock of its own.
type lru[K comparable, V any] struct {
	max    int64
	weight int64
	order  *list.List // front: used last
	index  map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

func newLRU[K comparable, V any](max int64) *lru[K, V] {
	return &lru[K, V]{max: max, order: list.New(), index: map[K]*list.Element{}}
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	e, ok := l.index[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

func (l *lru[K, V]) has(key K) bool {
	_, ok := l.index[key]
	return ok
}

// add puts an entry in, in place of one with its key, and returns the keys that
// had to leave for it: its own, when it alone is over the budget.
func (l *lru[K, V]) add(key K, value V, weight int64) (evicted []K) {
	l.remove(key)
	l.index[key] = l.order.PushFront(&entry[K, V]{key, value, weight})
	l.weight += weight
	for l.weight > l.max {
		oldest := l.order.Back().Value.(*entry[K, V]).key
		l.remove(oldest)
		evicted = append(evicted, oldest)
	}
	return evicted
}

func (l *lru[K, V]) remove(key K) {
	if e, ok := l.index[key]; ok {
		l.order.Remove(e)
		delete(l.index, key)
		l.weight -= e.Value.(*entry[K, V]).weight
	}
}
