package embedder

import (
	"container/list"
	"context"
	"sync"
)

// cache keeps the vectors of texts that were searched for, the last used ones, and
// has each made once when several ask for it at a time.
type cache struct {
	bytesMax int64

	mu      sync.Mutex
	bytes   int64
	entries map[cacheKey]*list.Element // of cached
	recent  *list.List                 // the last used first
	making  map[cacheKey]*making
}

// cacheKey is a text, and who made its vector: names of models are what topics call
// them, and what one topic's endpoint answers is not another's.
type cacheKey struct {
	model    Model
	endpoint string
	text     string
}

type cached struct {
	key    cacheKey
	vector []float32
}

// size is about what an entry takes, maps and pointers with it; endpoints are shared.
func (c cached) size() int64 {
	return int64(len(c.key.text)) + 4*int64(len(c.vector)) + 256
}

// making is a vector under way. It is made for as long as anybody waits for it.
type making struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int
	vector  []float32
	err     error
}

func newCache(bytesMax int64) *cache {
	return &cache{bytesMax: bytesMax, entries: make(map[cacheKey]*list.Element), recent: list.New(), making: make(map[cacheKey]*making)}
}

// get returns the vector of a text, and whether it was there.
func (c *cache) get(ctx context.Context, key cacheKey, embed func(context.Context) ([]float32, error)) ([]float32, bool, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	if at, ok := c.entries[key]; ok {
		c.recent.MoveToFront(at)
		c.mu.Unlock()
		return at.Value.(cached).vector, true, nil
	}
	m := c.making[key]
	if m == nil {
		within, cancel := context.WithCancel(context.WithoutCancel(ctx))
		m = &making{done: make(chan struct{}), cancel: cancel}
		c.making[key] = m
		go func() {
			defer cancel()
			vector, err := embed(within)
			c.made(key, m, vector, err)
		}()
	}
	m.waiting++
	c.mu.Unlock()
	select {
	case <-m.done:
		return m.vector, false, m.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.waiting--; m.waiting == 0 {
		m.cancel()
		if c.making[key] == m {
			delete(c.making, key) // the next one begins anew
		}
	}
	return nil, false, context.Cause(ctx)
}

func (c *cache) made(key cacheKey, m *making, vector []float32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.vector, m.err = vector, err
	close(m.done)
	if c.making[key] == m {
		delete(c.making, key)
	}
	entry := cached{key, vector}
	if _, ok := c.entries[key]; ok || err != nil || entry.size() > c.bytesMax {
		return
	}
	c.entries[key] = c.recent.PushFront(entry)
	for c.bytes += entry.size(); c.bytes > c.bytesMax; {
		last := c.recent.Back()
		old := last.Value.(cached)
		c.recent.Remove(last)
		delete(c.entries, old.key)
		c.bytes -= old.size()
	}
}
