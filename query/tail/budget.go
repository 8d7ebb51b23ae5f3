package tail

import (
	"context"
	"sync"
)

// budget counts the bytes that all tails hold.
type budget struct {
	mu    sync.Mutex
	bytes int64
	max   int64
	freed chan struct{} // closed and replaced when bytes were given back
}

func newBudget(bytesMax int64) *budget { return &budget{max: bytesMax, freed: make(chan struct{})} }

// add counts bytes more, or fewer.
func (b *budget) add(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += bytes
	if bytes < 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

func (b *budget) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes >= b.max
}

// wait returns when there is room, or with ctx's error.
func (b *budget) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		room, freed := b.bytes < b.max, b.freed
		b.mu.Unlock()
		if room {
			return ctx.Err()
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
