package wire

import (
	"context"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Frames are read into buffers of a power of two, from 4 KiB to 4 MiB; larger
// ones have their exact size and are left to the garbage collector: they are rare.
const (
	bufferBitsMin = 12
	bufferBitsMax = 22
)

// memory lends buffers to frames, and bounds the bytes lent to all of them.
type memory struct {
	free     [bufferBitsMax - bufferBitsMin + 1]sync.Pool
	bytes    *semaphore.Weighted
	bytesMax int64        // of all that is lent
	lent     atomic.Int64 // what is acquired of bytes
	waitMax  time.Duration
	waited   func() // called when a loan has to wait; may be nil

	shortage *shortage // told while a loan waits; may be nil
}

// buffer is lent memory. len(data) is what it counts for.
type buffer struct {
	data []byte
}

func newMemory(bytesMax int64, waitMax time.Duration) *memory {
	return &memory{bytes: semaphore.NewWeighted(bytesMax), bytesMax: bytesMax, waitMax: waitMax}
}

// bufferClass returns the index of the pool for n bytes and the size of its buffers.
func bufferClass(n int) (class, size int) {
	exponent := max(bits.Len(uint(n-1)), bufferBitsMin)
	if exponent > bufferBitsMax {
		return -1, n
	}
	return exponent - bufferBitsMin, 1 << exponent
}

// lend returns a buffer of at least n bytes, waiting for others to be returned
// when the bound is reached. The wait ends, in an error, even when ctx does not:
// frames that arrived in part and wait for each other must not do so for ever.
func (m *memory) lend(ctx context.Context, n int) (*buffer, error) {
	class, size := bufferClass(n)
	if !m.bytes.TryAcquire(int64(size)) {
		if m.waited != nil {
			m.waited()
		}
		if m.shortage != nil {
			m.shortage.begin()
			defer m.shortage.end()
		}
		ctx, cancel := context.WithTimeout(ctx, m.waitMax)
		defer cancel()
		if err := m.bytes.Acquire(ctx, int64(size)); err != nil {
			return nil, fmt.Errorf("%w: waiting for %d bytes: %w", errMemory, size, err)
		}
	}
	m.lent.Add(int64(size))
	if class < 0 {
		return &buffer{make([]byte, size)}, nil
	}
	if b, ok := m.free[class].Get().(*buffer); ok {
		return b, nil
	}
	return &buffer{make([]byte, size)}, nil
}

// giveBack ends a loan; nil is allowed.
func (m *memory) giveBack(b *buffer) {
	if b == nil {
		return
	}
	if class, size := bufferClass(len(b.data)); class >= 0 && size == len(b.data) {
		m.free[class].Put(b)
	}
	m.lent.Add(-int64(len(b.data)))
	m.bytes.Release(int64(len(b.data)))
}
