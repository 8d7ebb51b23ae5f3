package splitcache

import (
	"context"
	"sync"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/query/filecache"
)

// heat: when that part of a split's bytes was read by ranges it is fetched whole,
// by who reads next: one request of all is sooner there than many of some.
const heat = 4

// ranges reads a split where it lies, and keeps what it has read while there is
// room: the columns and dictionaries of a field are read by most searches of it.
type ranges struct {
	cache  *Cache
	object filecache.Object

	mu      sync.Mutex
	kept    map[span][]byte
	read    int64
	local   *filecache.File // once it was read much of
	mapping *disk.Mapping
}

type span struct{ offset, length int64 }

// Size implements textindex.Blob.
func (r *ranges) Size() int64 { return r.object.Size }

// Read implements textindex.Blob.
func (r *ranges) Read(ctx context.Context, offset, length int64) ([]byte, error) {
	at := span{offset, length}
	r.mu.Lock()
	b, known := r.kept[at]
	hot := r.read >= r.object.Size/heat
	r.mu.Unlock()
	switch {
	case known:
		return b, nil
	case hot:
		return r.readLocal(ctx, at)
	}
	b, err := r.cache.files.Range(ctx, r.object, offset, length)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read += length
	if _, known := r.kept[at]; !known && r.cache.keep(length) {
		r.kept[at] = b
	}
	return b, nil
}

// readLocal reads the local file, which it fetches first.
func (r *ranges) readLocal(ctx context.Context, at span) ([]byte, error) {
	r.mu.Lock()
	mapping := r.mapping
	r.mu.Unlock()
	if mapping == nil {
		var err error
		if mapping, err = r.fetch(ctx); err != nil {
			return nil, err
		}
	}
	return textindex.Bytes(mapping.Bytes()).Read(ctx, at.offset, at.length)
}

// fetch maps the local file.
func (r *ranges) fetch(ctx context.Context) (*disk.Mapping, error) {
	local, err := r.cache.files.Acquire(ctx, r.object)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mapping != nil {
		local.Release()
		return r.mapping, nil
	}
	if r.mapping, err = disk.Map(local.Path); err != nil {
		local.Release()
		return nil, err
	}
	r.local = local
	return r.mapping, nil
}

// close gives back what it holds, when nobody reads any more, and says how much
// memory that was.
func (r *ranges) close() (kept int64, err error) {
	for at := range r.kept {
		kept += at.length
	}
	r.kept = nil
	if r.mapping != nil {
		err = r.mapping.Close()
		r.local.Release()
	}
	return kept, err
}
