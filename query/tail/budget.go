package tail

import "sync"

// budget counts the bytes that all tails hold: files, records that are in none yet,
// and what clients have fetched ahead.
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

// fits reports whether more may be read by one of whose bytes so many are no tail
// yet, and else what is closed when bytes were given back.
func (b *budget) fits(buffered int64) (room bool, freed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes-buffered < b.max, b.freed
}
