package indexcache

import (
	"context"
	"sync"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/query/filecache"
)

// shelf is what ranges need of a cache.
type shelf interface {
	// keep counts bytes that are kept in memory, if there is room.
	keep(bytes int64) bool
	// read fetches a range.
	read(ctx context.Context, o filecache.Object, offset, length int64) ([]byte, error)
	// whole fetches the whole; nil: it is not here yet, and ranges are to be read.
	whole(ctx context.Context, o filecache.Object) (*filecache.File, error)
}

// ranges reads a file where it lies, and keeps what it has read while there is
// room: the columns and dictionaries of a field are read by most searches of it,
// and the lists of a shard by those that ask for alike things.
type ranges struct {
	shelf  shelf
	object filecache.Object

	mu      sync.Mutex
	kept    map[span][]byte
	read    int64
	local   *filecache.File // once it was read much of
	mapping *disk.Mapping
}

type span struct{ offset, length int64 }

// Size implements blob.Blob.
func (r *ranges) Size() int64 { return r.object.Size }

// Read implements blob.Blob.
func (r *ranges) Read(ctx context.Context, offset, length int64) ([]byte, error) {
	at := span{offset, length}
	r.mu.Lock()
	b, known := r.kept[at]
	mapping, hot := r.mapping, r.read >= r.object.Size/heat
	r.mu.Unlock()
	if known {
		return b, nil
	}
	if mapping == nil && hot {
		var err error
		if mapping, err = r.fetch(ctx); err != nil {
			return nil, err
		}
	}
	if mapping != nil {
		return blob.Bytes(mapping.Bytes()).Read(ctx, offset, length)
	}
	b, err := r.shelf.read(ctx, r.object, offset, length)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read += length
	if _, known := r.kept[at]; !known && r.shelf.keep(length) {
		r.kept[at] = b
	}
	return b, nil
}

// fetch maps the local file, if the whole is here.
func (r *ranges) fetch(ctx context.Context) (*disk.Mapping, error) {
	local, err := r.shelf.whole(ctx, r.object)
	if local == nil || err != nil {
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

// shed lets go of what is kept in memory, and says how much that was. Nobody
// reads.
func (r *ranges) shed() (kept int64) {
	for at := range r.kept {
		kept += at.length
	}
	clear(r.kept)
	return kept
}

// close gives back what it holds, when nobody reads any more, and says how much
// memory that was.
func (r *ranges) close() (kept int64, err error) {
	kept = r.shed()
	if r.mapping != nil {
		err = r.mapping.Close()
		r.local.Release()
	}
	return kept, err
}
