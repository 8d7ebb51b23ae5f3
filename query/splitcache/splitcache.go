// Package splitcache opens the text splits of manifests, as package indexcache
// does, and knows which of their documents are not part of the log any more.
package splitcache

import (
	"context"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/indexcache"
)

// Options configure a Cache.
type Options = indexcache.Options

// Cache keeps splits open. All methods may be called at once.
type Cache struct {
	*indexcache.Cache[*opened]
}

// opened is a split, and what is known of it.
type opened struct {
	*textindex.File
	analyzer *analysis.Analyzer
	hidden   hidden
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

// New returns a cache over the files of another.
func New(files *filecache.Cache, o Options) *Cache {
	return &Cache{indexcache.New(files, open, o)}
}

func open(ctx context.Context, b blob.Blob, footer int64) (*opened, error) {
	file, err := textindex.Open(ctx, b, footer)
	if err != nil {
		return nil, err
	}
	analyzer, err := analysis.ByName(file.Analyzer())
	if err != nil {
		return nil, err
	}
	return &opened{File: file, analyzer: analyzer}, nil
}

// Open returns a split that a manifest lists.
func (c *Cache) Open(ctx context.Context, f manifest.File) (*Split, error) {
	o, release, err := c.Cache.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	return &Split{File: o.File, Analyzer: o.analyzer, release: release, hidden: &o.hidden}, nil
}
