// Package shardcache opens the vector shards of manifests, as package indexcache
// does: hot ones are mapped into memory and walked through their graph, of cold
// ones footers are in memory, and each search reads some lists and vectors.
package shardcache

import (
	"context"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/indexcache"
)

// listBytesMin is about what a list has at least: it may be near other questions
// too. Vectors are shorter, and few of them are read twice.
const listBytesMin = 16 << 10

// Options configure a Cache.
type Options = indexcache.Options

// Cache keeps shards open. All methods may be called at once.
type Cache struct {
	*indexcache.Cache[*opened]
}

// opened is a shard, and what is known of it.
type opened struct {
	*vectorindex.File
	hidden hidden
}

// Shard is an open shard that stays so until it is released.
type Shard struct {
	*vectorindex.File
	release func()
	hidden  *hidden
}

// Release lets the cache close the shard. It is called once.
func (s *Shard) Release() { s.release() }

// New returns a cache over the files of another.
func New(files *filecache.Cache, o Options) *Cache {
	if o.KeepBytesMin <= 0 {
		o.KeepBytesMin = listBytesMin
	}
	return &Cache{indexcache.New(files, open, o)}
}

func open(ctx context.Context, b blob.Blob, footer int64) (*opened, error) {
	file, err := vectorindex.Open(ctx, b, footer)
	if err != nil {
		return nil, err
	}
	return &opened{File: file}, nil
}

// Open returns a shard that a manifest lists.
func (c *Cache) Open(ctx context.Context, f manifest.File) (*Shard, error) {
	o, release, err := c.Cache.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	return &Shard{File: o.File, release: release, hidden: &o.hidden}, nil
}
