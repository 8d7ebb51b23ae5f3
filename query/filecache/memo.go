package filecache

import (
	"container/list"
	"context"
	"sync"
)

// memo keeps what was read of objects in memory, the least recently used thrown
// away first. Calls for the same thing share one read.
type memo[V any] struct {
	bytesMax int64
	ctx      context.Context // of reads, which outlive the query that began them
	running  *sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*memoEntry[V]
	used    *list.List // of *memoEntry, the least recently used first
	bytes   int64
}

type memoEntry[V any] struct {
	key     string
	value   V
	err     error
	bytes   int64
	ready   chan struct{}
	element *list.Element // nil while it is read
}

func newMemo[V any](ctx context.Context, running *sync.WaitGroup, bytesMax int64) *memo[V] {
	return &memo[V]{bytesMax: bytesMax, ctx: ctx, running: running, entries: map[string]*memoEntry[V]{}, used: list.New()}
}

// get returns what read returned for the key, now or before. An error is not kept.
func (m *memo[V]) get(ctx context.Context, key string, read func(context.Context) (V, int64, error)) (value V, err error) {
	m.mu.Lock()
	e := m.entries[key]
	if e == nil {
		e = &memoEntry[V]{key: key, ready: make(chan struct{})}
		m.entries[key] = e
		m.running.Add(1)
		go m.fill(e, read)
	} else if e.element != nil {
		m.used.MoveToBack(e.element)
	}
	m.mu.Unlock()
	select {
	case <-e.ready:
		return e.value, e.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

func (m *memo[V]) fill(e *memoEntry[V], read func(context.Context) (V, int64, error)) {
	defer m.running.Done()
	value, bytes, err := read(m.ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	e.value, e.bytes, e.err = value, bytes, err
	close(e.ready)
	if err != nil {
		delete(m.entries, e.key)
		return
	}
	e.element = m.used.PushBack(e)
	m.bytes += bytes
	for m.bytes > m.bytesMax && m.used.Len() > 1 {
		old, _ := m.used.Remove(m.used.Front()).(*memoEntry[V])
		delete(m.entries, old.key)
		m.bytes -= old.bytes
	}
}

// forget drops what is kept for a key.
func (m *memo[V]) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; e != nil && e.element != nil {
		m.used.Remove(e.element)
		delete(m.entries, key)
		m.bytes -= e.bytes
	}
}
