// Package splitcache opens the text splits of manifests. Their footers stay in
// memory. A split that is small, or was read much of, is kept as a local file and
// mapped into memory; of others each search reads the ranges that it needs.
//
// Whatever is read is held against checksums: of the whole object in package
// filecache, of its pages in internal/textindex. Errors of reading a Split are
// those of the bucket, and *format.Error where the bytes are not those that were
// written.
package splitcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/query/filecache"
)

const (
	// footerFactor: a footer in memory takes about that many of its bytes.
	footerFactor = 4
	// wholeBytes is the size up to which a split is fetched whole at once: a search
	// of a cold one takes some range requests one after the other.
	wholeBytes = 8 << 20
)

// Options configure a Cache.
type Options struct {
	MemoryBytesMax int64 // of footers, and of ranges that were read; default 256 MiB
	// MappedBytesMax bounds the local files that are mapped while nobody uses them;
	// default 4 GiB. The file cache cannot let go of them.
	MappedBytesMax int64
	WholeBytes     int64 // splits up to this size are fetched whole; default 8 MiB
}

// Cache keeps splits open. All methods may be called at once.
type Cache struct {
	files   *filecache.Cache
	options Options
	ctx     context.Context // of opening, which outlives the search that began it
	stop    context.CancelFunc
	opening sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry // by object
	unused  *list.List        // of *entry without users, the least recently used first
	memory  int64
	mapped  int64
}

// Split is an open split that stays so until it is released.
type Split struct {
	*textindex.File
	Analyzer *analysis.Analyzer // of its texts
	release  func()
	hidden   *hidden
}

// Release lets the cache close the split. It is called once.
func (s *Split) Release() { s.release() }

// entry is a split that is open, or is being opened.
type entry struct {
	object   filecache.Object
	ready    chan struct{} // closed when the rest is set
	err      error
	file     *textindex.File
	analyzer *analysis.Analyzer
	footer   int64
	local    *filecache.File // of one that was fetched whole
	mapping  *disk.Mapping
	ranges   *ranges // else
	hidden   hidden

	users   int
	element *list.Element // in unused
	gone    bool          // nobody finds it any more
}

// New returns a cache over the files of another.
func New(files *filecache.Cache, o Options) *Cache {
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
	return &Cache{files: files, options: o, ctx: ctx, stop: stop, entries: map[string]*entry{}, unused: list.New()}
}

// Open returns a split that a manifest lists.
func (c *Cache) Open(ctx context.Context, f manifest.File) (*Split, error) {
	object := filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC}
	e, fresh := c.entry(object)
	if fresh {
		c.opening.Go(func() { c.open(c.ctx, e, f.Footer) })
	}
	select {
	case <-e.ready:
	case <-ctx.Done():
		c.leave(e)
		return nil, fmt.Errorf("open %s: %w", f.Object, ctx.Err())
	}
	if e.err != nil {
		err := e.err
		c.leave(e)
		return nil, fmt.Errorf("open %s: %w", f.Object, err)
	}
	return &Split{File: e.file, Analyzer: e.analyzer, release: func() { c.leave(e) }, hidden: &e.hidden}, nil
}

// entry returns the entry of an object with one user more; fresh: it is to be
// opened. One that is read by ranges gives way when the whole is here.
func (c *Cache) entry(object filecache.Object) (e *entry, fresh bool) {
	here := c.files.Here(object)
	c.mu.Lock()
	defer c.mu.Unlock()
	e = c.entries[object.Name]
	if e != nil && here && e.opened() && e.local == nil {
		c.drop(e)
		e = nil
	}
	if e == nil {
		e = &entry{object: object, ready: make(chan struct{})}
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

func (e *entry) opened() bool {
	select {
	case <-e.ready:
		return e.err == nil
	default:
		return false
	}
}

// open makes an entry ready.
func (c *Cache) open(ctx context.Context, e *entry, footer int64) {
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

func (c *Cache) openFile(ctx context.Context, e *entry, footer int64) (err error) {
	e.ranges = &ranges{cache: c, object: e.object, kept: map[span][]byte{}}
	var blob textindex.Blob = e.ranges
	if e.object.Size <= c.options.WholeBytes || c.files.Here(e.object) {
		if e.local, err = c.files.Acquire(ctx, e.object); err != nil {
			return err
		}
		if e.mapping, err = disk.Map(e.local.Path); err != nil {
			return errors.Join(err, c.give(e))
		}
		blob, e.ranges = textindex.Bytes(e.mapping.Bytes()), nil
	}
	if e.file, err = textindex.Open(ctx, blob, footer); err != nil {
		return errors.Join(err, c.give(e))
	}
	if e.analyzer, err = analysis.ByName(e.file.Analyzer()); err != nil {
		return errors.Join(err, c.give(e))
	}
	return nil
}

// keep counts bytes that are kept in memory, if there is room.
func (c *Cache) keep(bytes int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memory+bytes > c.options.MemoryBytesMax {
		return false
	}
	c.memory += bytes
	return true
}

// give gives back what an entry holds that nobody reads.
func (c *Cache) give(e *entry) error {
	kept, err := e.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory -= kept
	return err
}

// close ends what an entry holds, and says how much memory was kept.
func (e *entry) close() (kept int64, err error) {
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
func (c *Cache) leave(e *entry) {
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
// what is read of those that come. The caller holds mu.
func (c *Cache) idle(e *entry) {
	if e.gone {
		c.remove(e)
		return
	}
	e.element = c.unused.PushBack(e)
	for at := c.unused.Front(); at != nil && (c.memory > c.options.MemoryBytesMax/4*3 || c.mapped > c.options.MappedBytesMax); {
		old, _ := at.Value.(*entry)
		at = at.Next()
		c.drop(old)
	}
}

// Forget drops what is kept of an object, for a reader that found it damaged.
func (c *Cache) Forget(object string) {
	c.mu.Lock()
	if e := c.entries[object]; e != nil {
		c.drop(e)
	}
	c.mu.Unlock()
	c.files.Forget(object)
}

// drop lets nobody find an entry any more; it is closed after its last user. The
// caller holds mu.
func (c *Cache) drop(e *entry) {
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
func (c *Cache) remove(e *entry) {
	if e.err != nil {
		return // it never was open
	}
	if e.local != nil {
		c.mapped -= e.object.Size
	}
	kept, _ := e.close() // what cannot be unmapped stays until the process ends
	c.memory -= e.footer + kept
}

// Close closes the splits that nobody uses, and the others after their last use.
func (c *Cache) Close() {
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
	Splits, Mapped int
	MemoryBytes    int64 // of footers, and of ranges that were read
	MappedBytes    int64
}

// Counts returns what the cache holds now.
func (c *Cache) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := Counts{MemoryBytes: c.memory, MappedBytes: c.mapped}
	for _, e := range c.entries {
		if !e.opened() {
			continue
		}
		n.Splits++
		if e.local != nil {
			n.Mapped++
		}
	}
	return n
}
