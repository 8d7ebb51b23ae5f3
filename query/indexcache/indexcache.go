// Package indexcache opens the index files of manifests, splits and shards. Their
// footers stay in memory. A file that is small, or was read much of, is kept as a
// local file and mapped into memory; of others each search reads the ranges that
// it needs.
//
// Whatever is read is held against checksums: of the whole object in package
// filecache, of its parts by who reads its format. Errors of reading a file are
// those of the bucket, and *format.Error where the bytes are not those that were
// written.
package indexcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/query/filecache"
)

const (
	// footerFactor: a footer in memory takes about that many of its bytes.
	footerFactor = 4
	// wholeBytes is the size up to which a file is fetched whole at once: a search
	// of a cold one takes some range requests one after the other.
	wholeBytes = 8 << 20
	// heat: when that part of a file's bytes was read by ranges it is fetched whole.
	heat = 4
	// awaitBytes is the size up to which who reads next waits until it is: one request
	// of all is sooner there than many of some. A larger one is fetched meanwhile.
	awaitBytes = 64 << 20
)

// Options configure a Cache.
type Options struct {
	MemoryBytesMax int64 // of footers, and of ranges that were read; default 256 MiB
	// MappedBytesMax bounds the local files that are mapped while nobody uses them;
	// default 4 GiB. The file cache cannot let go of them.
	MappedBytesMax int64
	WholeBytes     int64 // files up to this size are fetched whole; default 8 MiB
	// KeepBytesMin is how long a range has to be to stay in memory: shorter ones will
	// not be asked for again.
	KeepBytesMin int64
}

// Opener opens a file of a format, of which the footer has so many bytes.
type Opener[F any] func(ctx context.Context, b blob.Blob, footer int64) (F, error)

// Cache keeps files of one format open. All methods may be called at once.
type Cache[F any] struct {
	files   *filecache.Cache
	opener  Opener[F]
	options Options
	ctx     context.Context // of opening, which outlives the search that began it
	stop    context.CancelFunc
	opening sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry[F] // by object
	unused  *list.List           // of *entry[F] without users, the least recently used first
	memory  int64
	mapped  int64
}

// entry is a file that is open, or is being opened.
type entry[F any] struct {
	object  filecache.Object
	ready   chan struct{} // closed when the rest is set
	err     error
	file    F
	footer  int64
	local   *filecache.File // of one that was fetched whole
	mapping *disk.Mapping
	ranges  *ranges // else

	users   int
	element *list.Element // in unused
	gone    bool          // nobody finds it any more
}

// New returns a cache over the files of another.
func New[F any](files *filecache.Cache, opener Opener[F], o Options) *Cache[F] {
	if o.MemoryBytesMax <= 0 {
		o.MemoryBytesMax = 256 << 20
	}
	if o.MappedBytesMax <= 0 {
		o.MappedBytesMax = 4 << 30
	}
	if o.WholeBytes <= 0 {
		o.WholeBytes = wholeBytes
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Cache[F]{files: files, opener: opener, options: o, ctx: ctx, stop: stop, entries: map[string]*entry[F]{}, unused: list.New()}
}

// Open returns a file that a manifest lists. It stays open until it is released,
// once.
func (c *Cache[F]) Open(ctx context.Context, f manifest.File) (file F, release func(), err error) {
	object := filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC}
	e, fresh := c.entry(object)
	if fresh {
		c.opening.Go(func() { c.open(WithMeter(c.ctx, meterOf(ctx)), e, f.Footer) })
	}
	select {
	case <-e.ready:
		err = e.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.leave(e)
		return file, nil, fmt.Errorf("open %s: %w", f.Object, err)
	}
	return e.file, func() { c.leave(e) }, nil
}

// entry returns the entry of an object with one user more; fresh: it is to be
// opened. One that is read by ranges gives way when the whole is here.
func (c *Cache[F]) entry(object filecache.Object) (e *entry[F], fresh bool) {
	here := c.files.Here(object)
	c.mu.Lock()
	defer c.mu.Unlock()
	e = c.entries[object.Name]
	if e != nil && here && e.opened() && e.local == nil {
		c.drop(e)
		e = nil
	}
	if e == nil {
		e = &entry[F]{object: object, ready: make(chan struct{})}
		c.entries[object.Name] = e
		fresh = true
	}
	e.users++
	if e.element != nil {
		c.unused.Remove(e.element)
		e.element = nil
	}
	return e, fresh
}

func (e *entry[F]) opened() bool {
	select {
	case <-e.ready:
		return e.err == nil
	default:
		return false
	}
}

// open makes an entry ready.
func (c *Cache[F]) open(ctx context.Context, e *entry[F], footer int64) {
	err := c.openFile(ctx, e, footer)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil { // the next call tries again
		e.err = err
		c.drop(e)
	} else {
		e.footer = footerFactor * footer
		c.memory += e.footer
		if e.local != nil {
			c.mapped += e.object.Size
		}
	}
	close(e.ready)
	if e.users == 0 {
		c.idle(e)
	}
}

func (c *Cache[F]) openFile(ctx context.Context, e *entry[F], footer int64) (err error) {
	e.ranges = &ranges{shelf: c, object: e.object, kept: map[span][]byte{}}
	var b blob.Blob = e.ranges
	if here := c.files.Here(e.object); here || e.object.Size <= c.options.WholeBytes {
		if e.local, err = c.files.Acquire(ctx, e.object); err != nil {
			return err
		}
		if !here {
			meterOf(ctx).add(e.object.Size)
		}
		if e.mapping, err = disk.Map(e.local.Path); err != nil {
			return errors.Join(err, c.give(e))
		}
		b, e.ranges = blob.Bytes(e.mapping.Bytes()), nil
	}
	if e.file, err = c.opener(ctx, b, footer); err != nil {
		return errors.Join(err, c.give(e))
	}
	return nil
}

// keep implements shelf.
func (c *Cache[F]) keep(bytes int64) bool {
	if bytes < c.options.KeepBytesMin {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memory+bytes > c.options.MemoryBytesMax {
		return false
	}
	c.memory += bytes
	return true
}

// read implements shelf.
func (c *Cache[F]) read(ctx context.Context, o filecache.Object, offset, length int64) ([]byte, error) {
	b, err := c.files.Range(ctx, o, offset, length)
	if err == nil {
		meterOf(ctx).add(length)
	}
	return b, err
}

// whole implements shelf.
func (c *Cache[F]) whole(ctx context.Context, o filecache.Object) (*filecache.File, error) {
	if o.Size > c.options.MappedBytesMax {
		return nil, nil
	}
	if o.Size <= awaitBytes {
		if !c.files.Here(o) {
			meterOf(ctx).add(o.Size)
		}
		return c.files.Acquire(ctx, o)
	}
	if c.ctx.Err() == nil && !c.files.Whole(o) {
		c.opening.Go(func() {
			// Where it fails, ranges are read on, and a later read tries again.
			if local, err := c.files.Acquire(c.ctx, o); err == nil {
				local.Release()
			}
		})
	}
	return nil, nil
}

// give gives back what an entry holds that nobody reads.
func (c *Cache[F]) give(e *entry[F]) error {
	kept, err := e.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory -= kept
	return err
}

// close ends what an entry holds, and says how much memory was kept.
func (e *entry[F]) close() (kept int64, err error) {
	if e.ranges != nil {
		kept, err = e.ranges.close()
	}
	if e.mapping != nil {
		err = errors.Join(err, e.mapping.Close())
	}
	if e.local != nil {
		e.local.Release()
	}
	return kept, err
}

// leave ends one use.
func (c *Cache[F]) leave(e *entry[F]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.users--; e.users > 0 {
		return
	}
	select {
	case <-e.ready:
		c.idle(e)
	default: // it is being opened
	}
}

// idle keeps an entry without users, or closes it. Some memory stays free, for
// what is read of those that come: ranges go before footers do. The caller holds
// mu.
func (c *Cache[F]) idle(e *entry[F]) {
	if e.gone {
		c.remove(e)
		return
	}
	e.element = c.unused.PushBack(e)
	for at := c.unused.Front(); at != nil && c.memory > c.options.MemoryBytesMax/4*3; at = at.Next() {
		if old, _ := at.Value.(*entry[F]); old.ranges != nil {
			c.memory -= old.ranges.shed()
		}
	}
	for at := c.unused.Front(); at != nil && (c.memory > c.options.MemoryBytesMax/4*3 || c.mapped > c.options.MappedBytesMax); {
		old, _ := at.Value.(*entry[F])
		at = at.Next()
		c.drop(old)
	}
}

// Forget drops what is kept of an object, for a reader that found it damaged.
func (c *Cache[F]) Forget(object string) {
	c.mu.Lock()
	if e := c.entries[object]; e != nil {
		c.drop(e)
	}
	c.mu.Unlock()
	c.files.Forget(object)
}

// drop lets nobody find an entry any more; it is closed after its last user. The
// caller holds mu.
func (c *Cache[F]) drop(e *entry[F]) {
	if e.gone {
		return
	}
	e.gone = true
	if c.entries[e.object.Name] == e {
		delete(c.entries, e.object.Name)
	}
	if e.element != nil {
		c.unused.Remove(e.element)
		e.element = nil
	}
	if e.users == 0 && e.opened() {
		c.remove(e)
	}
}

// remove closes an entry that nobody uses or finds. The caller holds mu.
func (c *Cache[F]) remove(e *entry[F]) {
	if e.err != nil {
		return // it never was open
	}
	if e.local != nil {
		c.mapped -= e.object.Size
	}
	kept, _ := e.close() // what cannot be unmapped stays until the process ends
	c.memory -= e.footer + kept
}

// Close closes the files that nobody uses, and the others after their last use.
func (c *Cache[F]) Close() {
	c.stop()
	c.opening.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		c.drop(e)
	}
}

// Counts are what the cache holds now.
type Counts struct {
	Files, Mapped int
	MemoryBytes   int64 // of footers, and of ranges that were read
	MappedBytes   int64
}

// Counts returns what the cache holds now.
func (c *Cache[F]) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := Counts{MemoryBytes: c.memory, MappedBytes: c.mapped}
	for _, e := range c.entries {
		if !e.opened() {
			continue
		}
		n.Files++
		if e.local != nil {
			n.Mapped++
		}
	}
	return n
}
