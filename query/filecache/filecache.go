// Package filecache keeps objects of the bucket as local files, for an engine
// that reads files: whole ones, and of Parquet files the row groups and columns
// that queries need.
//
// Objects are immutable, so a file is right or it is damaged, never stale. A
// file appears under its name only when all its bytes are there and were
// checked, against the manifest or the footer; its name says its size and CRC-32C, and a file that a former process
// left is checked against them before its first use. Everything in the
// directory may be deleted at any moment while no process uses it; a process
// needs a directory of its own.
//
// Files in use are never evicted: the directory can outgrow its budget by what
// running queries read.
package filecache

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/parquetfile"
	"github.com/chronik-stream/chronik/objstore"
)

// downloadsMax is how many objects are fetched at once.
const downloadsMax = 8

// Object names what to fetch.
type Object struct {
	Name string
	Size int64
	CRC  uint32 // CRC-32C of all bytes; 0: unknown
	// Convert, when set, makes the local file out of the object's bytes, once.
	Convert func(ctx context.Context, in *os.File, out io.Writer) error
	// Form names what Convert makes of an object that is kept as it is as well.
	Form string
}

// key is what the cache knows the local file of an object by.
func (o Object) key() string {
	if o.Form == "" {
		return keyOf(o.Name)
	}
	return keyOf(o.Name + "\x00" + o.Form)
}

// Options configure a Cache.
type Options struct {
	Dir      string
	BytesMax int64 // default 8 GiB
	Log      *slog.Logger
}

// Cache is a directory of objects. All methods may be called at once.
type Cache struct {
	bucket  objstore.Bucket
	options Options
	slots   chan struct{}
	ctx     context.Context // of downloads, which outlive the query that began them
	stop    context.CancelFunc
	running sync.WaitGroup

	requests chan struct{} // range requests under way
	footers  *memo[*parquetfile.Footer]
	blooms   *memo[parquetfile.Bloom]

	mu        sync.Mutex
	entries   map[string]*entry   // by key
	assembled map[string][]*entry // of parts, by the object's key
	unused    *list.List          // of *entry without users, the least recently used first
	bytes     int64
	serial    int64 // of the last file: a forgotten file and its successor coexist
	counts    Counts
}

// Counts tell what a cache did.
type Counts struct {
	Hits, Misses, Evictions, Damaged int64
	BytesFetched                     int64
	Ranges                           int64 // that were read of objects, and not kept
	Bytes, Files                     int64 // now
}

// entry is a file, or one that is being fetched.
type entry struct {
	key      string
	path     string
	size     int64
	users    int
	element  *list.Element // in unused
	ready    chan struct{} // closed when path or err is set
	err      error
	checked  bool      // its CRC was checked by this process
	parts    *assembly // nil: the whole object, or parts that nobody asked for yet
	unwanted bool      // to be removed when its last user leaves
}

// Open takes over what a former process left in o.Dir.
func Open(bucket objstore.Bucket, o Options) (*Cache, error) {
	if o.BytesMax <= 0 {
		o.BytesMax = 8 << 30
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the file cache: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Cache{
		bucket: bucket, options: o, slots: make(chan struct{}, downloadsMax), ctx: ctx, stop: stop,
		requests: make(chan struct{}, requestsMax),
		entries:  map[string]*entry{}, assembled: map[string][]*entry{}, unused: list.New(),
	}
	c.footers = newMemo[*parquetfile.Footer](ctx, &c.running, footerBytesMax)
	c.blooms = newMemo[parquetfile.Bloom](ctx, &c.running, bloomBytesMax)
	if err := c.adopt(); err != nil {
		stop()
		return nil, fmt.Errorf("open the file cache: %w", err)
	}
	return c, nil
}

// adopt lists the directory: whole files are kept, to be checked at their first
// use, and everything else is removed.
func (c *Cache) adopt() error {
	names, err := os.ReadDir(c.options.Dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		path := filepath.Join(c.options.Dir, n.Name())
		key, size, _, serial, ok := parseName(n.Name())
		if info, err := n.Info(); !ok || err != nil || info.Size() != size {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			continue
		}
		e := &entry{key: key, path: path, size: size, ready: closed}
		c.serial = max(c.serial, serial)
		if c.entries[key] != nil { // a forgotten file that had a user until the end
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		e.element = c.unused.PushBack(e)
		c.entries[key] = e
		c.bytes += size
	}
	c.evict()
	return nil
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Close ends downloads. Files stay for the next process.
func (c *Cache) Close() {
	c.stop()
	c.running.Wait()
}

// File is a local copy that stays while it is not released.
type File struct {
	Path  string
	cache *Cache
	entry *entry
	once  sync.Once
}

// Release lets the cache evict the file. It may be called again.
func (f *File) Release() { f.once.Do(func() { f.cache.release(f.entry) }) }

// Acquire returns a local copy of o, fetched if need be. Calls for the same
// object share one download, which goes on when this call's context ends.
// Errors: those of the bucket; a *format.Error when the bytes are not those
// that o describes.
func (c *Cache) Acquire(ctx context.Context, o Object) (*File, error) {
	return c.present(func() (*File, error) { return c.await(ctx, o, c.entry(o)) })
}

// present gives up a file that somebody has deleted under us, and acquires it
// again.
func (c *Cache) present(acquire func() (*File, error)) (*File, error) {
	for {
		f, err := acquire()
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
			return f, nil
		}
		c.mu.Lock()
		c.drop(f.entry)
		c.mu.Unlock()
		f.Release()
	}
}

// await returns the file of an entry that is, or becomes, ready. It takes over
// the user that the entry has for it.
func (c *Cache) await(ctx context.Context, o Object, e *entry) (*File, error) {
	c.mu.Lock()
	ready := e.ready
	c.mu.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
		c.release(e)
		return nil, fmt.Errorf("fetch %s: %w", o.Name, ctx.Err())
	}
	if e.err != nil {
		err := e.err
		c.release(e)
		return nil, fmt.Errorf("fetch %s: %w", o.Name, err)
	}
	return &File{Path: e.path, cache: c, entry: e}, nil
}

// entry returns the entry of o with one user more, and starts what makes it
// ready.
func (c *Cache) entry(o Object) *entry {
	key := o.key()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		c.use(e)
		c.counts.Hits++
		if !e.checked && e.ready == closed {
			e.ready = make(chan struct{})
			c.start(e, func() error { return c.recheck(e, o, func() error { return c.fetch(e, o) }) })
		}
		return e
	}
	e := &entry{key: key, users: 1, ready: make(chan struct{})}
	c.entries[key] = e
	c.counts.Misses++
	c.start(e, func() error { return c.fetch(e, o) })
	return e
}

// use adds a user. The caller holds mu.
func (c *Cache) use(e *entry) {
	e.users++
	if e.element != nil {
		c.unused.Remove(e.element)
		e.element = nil
	}
}

// start runs work in the background and marks e ready. The caller holds mu.
func (c *Cache) start(e *entry, work func() error) {
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		var err error
		select {
		case c.slots <- struct{}{}:
			err = work()
			<-c.slots
		case <-c.ctx.Done():
			err = c.ctx.Err()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		e.err, e.checked = err, err == nil
		if err != nil {
			// The next call tries again.
			c.drop(e)
		} else if e.unwanted && e.users == 0 {
			c.remove(e)
		}
		close(e.ready)
		c.evict()
	}()
}

// fetch downloads o and puts it into place.
func (c *Cache) fetch(e *entry, o Object) error {
	crc, size, temp, err := c.download(o)
	if err != nil {
		return err
	}
	if err := checkSame(o, size, crc); err != nil {
		c.count(func(n *Counts) { n.Damaged++ })
		return errors.Join(err, os.Remove(temp))
	}
	c.count(func(n *Counts) { n.BytesFetched += size })
	if o.Convert != nil {
		if crc, size, temp, err = c.convert(o, temp); err != nil {
			return err
		}
	}
	if err := c.place(e, temp, size, crc); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// convert makes another temporary file of one, and removes that.
func (c *Cache) convert(o Object, path string) (crc uint32, size int64, temp string, err error) {
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	in, err := os.Open(path)
	if err != nil {
		return 0, 0, "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := c.temporary("fetch-*.tmp")
	if err != nil {
		return 0, 0, "", err
	}
	sum := crc32.New(format.Castagnoli)
	err = o.Convert(c.ctx, in, io.MultiWriter(out, sum))
	if err == nil {
		size, err = out.Seek(0, io.SeekEnd)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return 0, 0, "", errors.Join(fmt.Errorf("convert %s: %w", o.Name, err), os.Remove(out.Name()))
	}
	return sum.Sum32(), size, out.Name(), nil
}

// download streams the object into a temporary file beside its place.
func (c *Cache) download(o Object) (crc uint32, size int64, path string, err error) {
	in, err := c.bucket.Open(c.ctx, o.Name)
	if err != nil {
		return 0, 0, "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := c.temporary("fetch-*.tmp")
	if err != nil {
		return 0, 0, "", err
	}
	sum := crc32.New(format.Castagnoli)
	// One byte more than expected tells an object that is too long without
	// taking all of it.
	size, err = io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, o.Size+1))
	if err = errors.Join(err, out.Close()); err != nil {
		return 0, 0, "", errors.Join(err, os.Remove(out.Name()))
	}
	return sum.Sum32(), size, out.Name(), nil
}

// temporary makes a file beside the others, and their folder should that be gone.
func (c *Cache) temporary(pattern string) (*os.File, error) {
	f, err := os.CreateTemp(c.options.Dir, pattern)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if err := os.MkdirAll(c.options.Dir, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(c.options.Dir, pattern)
}

// recheck reads a file of a former process; a damaged one is made again.
func (c *Cache) recheck(e *entry, o Object, again func() error) error {
	_, size, crc, _, _ := parseName(filepath.Base(e.path))
	if o.Convert != nil {
		o.Size, o.CRC = size, crc // those of the object say nothing about this file
	}
	if err := checkFile(e.path, size, crc); err == nil && checkSame(o, size, crc) == nil {
		return nil
	} else if c.options.Log != nil {
		c.options.Log.Warn("a cached file was damaged and is fetched again", "object", o.Name, "file", e.path, "err", err)
	}
	err := os.Remove(e.path)
	c.mu.Lock()
	c.bytes -= e.size
	e.path, e.size = "", 0
	c.counts.Damaged++
	c.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return again()
}

func checkFile(path string, size int64, crc uint32) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := crc32.New(format.Castagnoli)
	n, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	return checkSame(Object{Size: size, CRC: crc}, n, sum.Sum32())
}

// checkSame compares what arrived with what was announced.
func checkSame(o Object, size int64, crc uint32) error {
	switch {
	case size != o.Size:
		return format.In(o.Name, format.Corrupt(min(size, o.Size), "%d bytes, the manifest says %d", size, o.Size))
	case o.CRC != 0 && crc != o.CRC:
		return format.In(o.Name, format.Corrupt(0, "CRC-32C %08x, the manifest says %08x", crc, o.CRC))
	}
	return nil
}

// Here reports whether the cache has an object whole.
func (c *Cache) Here(o Object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[o.key()]
	if e == nil {
		return false
	}
	select {
	case <-e.ready:
		return e.err == nil
	default:
		return false
	}
}

// Range returns a part of an object, which the cache does not keep. Whoever asks
// has checksums of its parts.
func (c *Cache) Range(ctx context.Context, o Object, offset, length int64) ([]byte, error) {
	b, err := c.get(ctx, o.Name, offset, length)
	if err == nil {
		c.count(func(n *Counts) { n.Ranges++ })
	}
	return b, c.named("read", o, err)
}

// Forget drops what the cache has of an object, so that the next Acquire fetches
// it: for a reader that finds it damaged. So it does with what was made of it in
// these forms.
func (c *Cache) Forget(object string, forms ...string) {
	c.footers.forget(object)
	c.mu.Lock()
	defer c.mu.Unlock()
	key := keyOf(object)
	for _, form := range append(forms, "") {
		if e := c.entries[Object{Name: object, Form: form}.key()]; e != nil {
			c.counts.Damaged++
			c.drop(e)
		}
	}
	for _, e := range slices.Clone(c.assembled[key]) {
		c.counts.Damaged++
		c.drop(e)
	}
}

// drop takes e out of the cache; its file goes with its last user. The caller
// holds mu.
func (c *Cache) drop(e *entry) {
	c.unlist(e)
	e.unwanted = true
	if e.users == 0 {
		c.remove(e)
	}
}

// unlist makes sure that nobody finds e any more. The caller holds mu.
func (c *Cache) unlist(e *entry) {
	if c.entries[e.key] == e {
		delete(c.entries, e.key)
	}
	if e.parts == nil {
		return
	}
	object := e.parts.object
	c.assembled[object] = slices.DeleteFunc(c.assembled[object], func(other *entry) bool { return other == e })
	if len(c.assembled[object]) == 0 {
		delete(c.assembled, object)
	}
}

func (c *Cache) release(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.users--; e.users > 0 {
		return
	}
	if e.unwanted {
		c.remove(e)
		return
	}
	e.element = c.unused.PushBack(e)
	c.evict()
}

// evict removes unused files until the budget holds. The caller holds mu.
func (c *Cache) evict() {
	for at := c.unused.Front(); at != nil && c.bytes > c.options.BytesMax; {
		e, next := at.Value.(*entry), at.Next()
		select {
		case <-e.ready:
			c.unlist(e)
			c.counts.Evictions++
			c.remove(e)
		default: // still on its way, although nobody waits any more
		}
		at = next
	}
}

// remove deletes the file of an entry that nobody uses or finds any more. The
// caller holds mu.
func (c *Cache) remove(e *entry) {
	if e.element != nil {
		c.unused.Remove(e.element)
		e.element = nil
	}
	if e.path == "" {
		return
	}
	c.bytes -= e.size
	if err := os.Remove(e.path); err != nil && !errors.Is(err, os.ErrNotExist) && c.options.Log != nil {
		c.options.Log.Warn("a cached file could not be removed", "file", e.path, "err", err)
	}
	e.path, e.size = "", 0
}

func (c *Cache) count(f func(*Counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.counts)
}

// Counts returns what happened since Open.
func (c *Cache) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	counts.Bytes, counts.Files = c.bytes, int64(len(c.entries))
	return counts
}

// keyOf turns an object's name into one that any file system takes.
func keyOf(object string) string {
	sum := sha256.Sum256([]byte(object))
	return hex.EncodeToString(sum[:16])
}

const suffix = ".parquet"

func fileName(key string, size int64, crc uint32, serial int64) string {
	return fmt.Sprintf("%s-%d-%08x-%d%s", key, size, crc, serial, suffix)
}

func parseName(name string) (key string, size int64, crc uint32, serial int64, ok bool) {
	base, ok := strings.CutSuffix(name, suffix)
	if !ok || len(base) < 32 {
		return "", 0, 0, 0, false
	}
	key = base[:32]
	if _, err := fmt.Sscanf(base[32:], "-%d-%08x-%d", &size, &crc, &serial); err != nil {
		return "", 0, 0, 0, false
	}
	return key, size, crc, serial, fileName(key, size, crc, serial) == name
}
