// Package cache keeps the ranges of immutable objects near: in memory, then on
// disk, in chunks of one size, each budgeted in bytes and left least recently
// used first.
//
// Many readers of one chunk cause one request, a read over several missing
// chunks causes one request for the row of them, and a reader that goes forward
// finds the next chunks on their way. What is on disk carries a CRC, is used
// again after a restart, and may be deleted at any moment.
//
// It is for objects that are never replaced under their name. Replacing or
// deleting one through this Bucket is seen at once; done elsewhere it is not,
// and Get may go on giving the old bytes. Head, Open and List are not cached.
//
// A directory belongs to one Bucket at a time: two would each count only their
// own bytes.
package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/objstore"
)

// Options size the cache. Zero values take the defaults, but a zero budget
// leaves its tier out.
type Options struct {
	ChunkBytes     int64 // default 1 MiB
	MemoryBytesMax int64
	DiskBytesMax   int64
	Dir            string // of the disk tier; empty leaves it out
	// ReadaheadChunks is how many chunks a reader that goes forward finds
	// fetched before it asks; default 0, none.
	ReadaheadChunks int

	Log        *slog.Logger          // default: none
	Registerer prometheus.Registerer // may be nil
}

const (
	// objectsMax bounds the objects whose size is remembered.
	objectsMax = 1 << 16
	// runBytesMax bounds one request.
	runBytesMax = 8 << 20
	// writersMax bounds the rows of chunks that wait for the disk.
	writersMax = 4
	// readaheadMax bounds the readers whose readahead is fetched at once.
	readaheadMax = 8
)

// Bucket is an objstore.Bucket that caches Get.
type Bucket struct {
	bucket       objstore.Bucket
	o            Options
	runChunksMax int
	disk         *disk // nil: no disk tier

	requests *prometheus.CounterVec // result
	damaged  prometheus.Counter

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	running   sync.WaitGroup
	writing   chan struct{}
	readahead chan struct{}

	mu        sync.Mutex
	closed    bool
	objects   *lru[string, *object]
	changes   int64          // counts forget
	changing  map[string]int // Puts and Deletes under way: such names are not remembered
	memory    *lru[chunkKey, []byte]
	flights   map[chunkKey]*flight
	preparing *run // being put together, under the lock
}

// object is what is known of one object: its chunks' key stands for its name,
// ETag and size together, so that another object of that name shares none.
type object struct {
	name    string
	key     objectKey
	size    int64
	readers readers // guarded by Bucket.mu
}

type objectKey [16]byte

type chunkKey struct {
	object objectKey
	chunk  int64
}

func (o *object) chunkSize(b *Bucket, chunk int64) int64 {
	return min(b.o.ChunkBytes, o.size-chunk*b.o.ChunkBytes)
}

// Open wraps bucket, and takes over what the directory holds.
func Open(bucket objstore.Bucket, o Options) (*Bucket, error) {
	if o.ChunkBytes <= 0 {
		o.ChunkBytes = 1 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bucket{
		bucket: bucket, o: o,
		runChunksMax: int(max(1, runBytesMax/o.ChunkBytes)),
		writing:      make(chan struct{}, writersMax),
		readahead:    make(chan struct{}, readaheadMax),
		objects:      newLRU[string, *object](objectsMax),
		memory:       newLRU[chunkKey, []byte](o.MemoryBytesMax),
		flights:      map[chunkKey]*flight{},
		changing:     map[string]int{},
	}
	var err error
	if o.Dir != "" && o.DiskBytesMax > 0 {
		if b.disk, err = openDisk(o.Dir, o.DiskBytesMax); err != nil {
			return nil, err
		}
	}
	if err := b.register(o.Registerer); err != nil {
		return nil, fmt.Errorf("cache metrics: %w", err)
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

func (b *Bucket) register(r prometheus.Registerer) (err error) {
	b.requests, err = objstore.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_objstore_cache_chunks_total",
		Help: "Chunks asked of the cache, by where they came from: memory, disk, joined (on their way already), miss.",
	}, []string{"result"}))
	if err != nil {
		return err
	}
	b.damaged, err = objstore.Register(r, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "chronik_objstore_cache_damaged_total",
		Help: "Chunks on the cache's disk that failed their check and were fetched again.",
	}))
	return err
}

// Close ends what is under way and waits for it. Get fails from then on.
func (b *Bucket) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
	return nil
}

// ErrClosed is what Get returns after Close.
var ErrClosed = errors.New("cache is closed")

// Get implements objstore.Bucket. Ranges of more than a quarter of the whole
// budget are read past the cache.
func (b *Bucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	data, err := b.get(ctx, name, offset, length)
	if err != nil && ctx.Err() == nil {
		// Perhaps it is another object by now: look again next time.
		b.forget(name)
	}
	return data, err
}

func (b *Bucket) get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	o, err := b.object(ctx, name)
	if err != nil {
		return nil, err
	}
	if length, err = objstore.Within(o.size, offset, length); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	switch {
	case length == 0:
		return []byte{}, nil
	case length > max(b.o.MemoryBytesMax, b.o.DiskBytesMax)/4:
		return b.bucket.Get(ctx, name, offset, length)
	}
	return b.assemble(ctx, o, offset, length)
}

// assemble puts a range together from chunks.
func (b *Bucket) assemble(ctx context.Context, o *object, offset, length int64) ([]byte, error) {
	first, next := offset/b.o.ChunkBytes, (offset+length-1)/b.o.ChunkBytes+1
	pieces, err := b.plan(o, offset, length, first, next)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", o.name, err)
	}
	out := make([]byte, 0, length)
	for i, p := range pieces {
		// All are waited for, also after a failure: each must be left.
		chunk, failed := b.wait(ctx, p)
		if err == nil {
			err = failed
		}
		if err != nil {
			continue
		}
		begin := max(0, offset-(first+int64(i))*b.o.ChunkBytes)
		end := min(int64(len(chunk)), offset+length-(first+int64(i))*b.o.ChunkBytes)
		out = append(out, chunk[begin:end]...)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", o.name, err)
	}
	return out, nil
}

func (b *Bucket) plan(o *object, offset, length, first, next int64) ([]piece, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	pieces := b.join(o, first, next)
	b.lookAhead(o, offset, offset+length, next)
	return pieces, nil
}

// object returns what is known of an object, or looks it up.
func (b *Bucket) object(ctx context.Context, name string) (*object, error) {
	b.mu.Lock()
	o, ok := b.objects.get(name)
	changes := b.changes
	b.mu.Unlock()
	if ok {
		return o, nil
	}
	a, err := b.bucket.Head(ctx, name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d", name, a.ETag, a.Size, b.o.ChunkBytes))
	o = &object{name: name, size: a.Size}
	copy(o.key[:], sum[:])

	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.objects.get(name); ok && known.key == o.key {
		return known, nil
	}
	if b.changes == changes && b.changing[name] == 0 { // else it may be what was there before the change
		b.objects.add(name, o, 1)
	}
	return o, nil
}

func (b *Bucket) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	b.objects.remove(name)
}

// change forgets an object until its Put or Delete, of any outcome, is done and
// the returned function called: in between the bucket already has the new one,
// which Head would show, and Get must not give the old.
func (b *Bucket) change(name string) (done func()) {
	b.mu.Lock()
	b.changing[name]++
	b.mu.Unlock()
	b.forget(name)
	return func() {
		b.forget(name)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.changing[name]--; b.changing[name] == 0 {
			delete(b.changing, name)
		}
	}
}

// Put implements objstore.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	defer b.change(name)()
	return b.bucket.Put(ctx, name, body, cond)
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	defer b.change(name)()
	return b.bucket.Delete(ctx, name)
}

// Open implements objstore.Bucket, past the cache.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return b.bucket.Open(ctx, name)
}

// Head implements objstore.Bucket, past the cache.
func (b *Bucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	return b.bucket.Head(ctx, name)
}

// List implements objstore.Bucket, past the cache.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return b.bucket.List(ctx, prefix)
}
