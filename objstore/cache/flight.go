package cache

import (
	"bytes"
	"context"
	"fmt"
)

// flight is one chunk on its way. Whoever wants the chunk meanwhile waits for it
// instead of fetching it again.
type flight struct {
	run  *run
	done chan struct{} // closed when data and err are set
	data []byte
	err  error
}

// run is a row of chunks that one goroutine loads, in as few requests as can be.
// It goes on as long as somebody waits for any of them.
type run struct {
	object  *object
	first   int64 // chunk
	flights []*flight
	waiters int // guarded by Bucket.mu
	ctx     context.Context
	cancel  context.CancelFunc
}

func (r *run) key(i int) chunkKey { return chunkKey{r.object.key, r.first + int64(i)} }

// piece is a chunk at hand, or one on its way.
type piece struct {
	data   []byte
	flight *flight
}

// join returns chunks [first, next) of o, and starts loading those that neither
// are in memory nor on their way. Each piece must be waited for once. The caller
// holds the lock.
func (b *Bucket) join(o *object, first, next int64) []piece {
	pieces := make([]piece, 0, next-first)
	for c := first; c < next; c++ {
		k := chunkKey{o.key, c}
		if data, ok := b.memory.get(k); ok {
			b.requests.WithLabelValues("memory").Inc()
			pieces = append(pieces, piece{data: data})
			continue
		}
		f, ok := b.flights[k]
		if ok {
			b.requests.WithLabelValues("joined").Inc()
		} else {
			f = b.depart(o, c)
		}
		f.run.waiters++
		pieces = append(pieces, piece{flight: f})
	}
	b.start()
	return pieces
}

// depart adds a chunk to the run that is being put together, or to a new one.
func (b *Bucket) depart(o *object, chunk int64) *flight {
	r := b.preparing
	if r == nil || r.object != o || chunk != r.first+int64(len(r.flights)) || len(r.flights) >= b.runChunksMax {
		b.start()
		r = &run{object: o, first: chunk}
		r.ctx, r.cancel = context.WithCancel(b.ctx)
		b.preparing = r
	}
	f := &flight{run: r, done: make(chan struct{})}
	r.flights = append(r.flights, f)
	b.flights[chunkKey{o.key, chunk}] = f
	return f
}

// start sends the run that is being put together on its way.
func (b *Bucket) start() {
	if r := b.preparing; r != nil {
		b.preparing = nil
		b.running.Add(1)
		go func() {
			defer b.running.Done()
			defer r.cancel()
			b.load(r)
		}()
	}
}

// wait returns a piece's chunk and leaves its flight.
func (b *Bucket) wait(ctx context.Context, p piece) ([]byte, error) {
	if p.flight == nil {
		return p.data, nil
	}
	defer b.leave(p.flight)
	select {
	case <-p.flight.done:
		return p.flight.data, p.flight.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// leave ends one's interest in a flight. A run that nobody waits for is broken
// off, and its flights are taken off the board at once, so that whoever comes
// now is not told of a cancellation that was not his.
func (b *Bucket) leave(f *flight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := f.run
	if r.waiters--; r.waiters > 0 {
		return
	}
	left := 0
	for i, f := range r.flights {
		if b.flights[r.key(i)] == f {
			delete(b.flights, r.key(i))
			left++
		}
	}
	if left > 0 {
		r.cancel()
	}
}

// load brings the chunks of a run in, from disk where that has them, else from
// the bucket in one request for each row of missing ones.
func (b *Bucket) load(r *run) {
	for i := 0; i < len(r.flights); {
		if data := b.fromDisk(r.key(i), r.object.chunkSize(b, r.first+int64(i))); data != nil {
			b.requests.WithLabelValues("disk").Inc()
			b.land(r, i, data, nil)
			i++
			continue
		}
		next := i + 1
		for next < len(r.flights) && !b.onDisk(r.key(next)) {
			next++
		}
		if err := b.fetch(r, i, next); err != nil {
			for ; i < len(r.flights); i++ {
				b.land(r, i, nil, err)
			}
			return
		}
		i = next
	}
}

func (b *Bucket) fetch(r *run, i, next int) error {
	begin := (r.first + int64(i)) * b.o.ChunkBytes
	end := min((r.first+int64(next))*b.o.ChunkBytes, r.object.size)
	b.requests.WithLabelValues("miss").Add(float64(next - i))
	data, err := b.bucket.Get(r.ctx, r.object.name, begin, end-begin)
	if err == nil && int64(len(data)) != end-begin {
		err = fmt.Errorf("get %s: %d bytes from %d, asked for %d", r.object.name, len(data), begin, end-begin)
	}
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	if err != nil {
		return err
	}
	row := next-i > 1
	for ; i < next; i++ {
		size := r.object.chunkSize(b, r.first+int64(i))
		chunk := data[:size]
		data = data[size:]
		if row || len(chunk) != cap(chunk) {
			chunk = bytes.Clone(chunk) // else one chunk kept keeps the whole row, the last one too
		}
		b.land(r, i, chunk, nil)
		b.toDisk(r.key(i), chunk)
	}
	return nil
}

// land ends a flight.
func (b *Bucket) land(r *run, i int, data []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := r.flights[i]
	if b.flights[r.key(i)] == f {
		delete(b.flights, r.key(i))
	}
	if err == nil {
		b.memory.add(r.key(i), data, int64(len(data)))
	}
	f.data, f.err = data, err
	close(f.done)
}

func (b *Bucket) onDisk(k chunkKey) bool { return b.disk != nil && b.disk.has(k) }

func (b *Bucket) fromDisk(k chunkKey, size int64) []byte {
	if b.disk == nil {
		return nil
	}
	data, err := b.disk.read(k, size)
	if err != nil {
		b.damaged.Inc()
		b.o.Log.Warn("cached chunk is damaged, fetching it again", "error", err)
	}
	return data
}

// toDisk keeps a chunk, unless the disk is behind already: then memory would
// grow by what waits for it.
func (b *Bucket) toDisk(k chunkKey, data []byte) {
	if b.disk == nil {
		return
	}
	select {
	case b.writing <- struct{}{}:
		defer func() { <-b.writing }()
	default:
		return
	}
	if err := b.disk.write(k, data); err != nil {
		b.o.Log.Warn("chunk stays uncached on disk", "error", err)
	}
}
