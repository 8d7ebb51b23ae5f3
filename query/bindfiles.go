package query

import (
	"context"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/parquetfile"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/relation"
)

// stats are about the files that a query was bound to: Parquet files of the
// bucket, and those of the tail.
type stats struct {
	FilesTotal  int   `json:"files_total"`
	FilesPruned int   `json:"files_pruned"` // of these, that were not opened
	BytesRead   int64 `json:"bytes_read"`   // that the others hold for the query, in the bucket or in the cache
	RowsScanned int64 `json:"rows_scanned"` // in them
	// CachedResults is 1 when the same question was answered from the same files
	// before, and its rows had been kept.
	CachedResults int `json:"cached_results,omitempty"`
}

func (s *stats) add(t stats) {
	s.FilesTotal += t.FilesTotal
	s.FilesPruned += t.FilesPruned
	s.BytesRead += t.BytesRead
	s.RowsScanned += t.RowsScanned
}

// readFile is a file of the bucket that the query reads.
type readFile struct {
	Object    string `json:"object"`
	Topic     string `json:"topic"`
	Size      int64  `json:"size"`
	Bytes     int64  `json:"bytes"` // of these, that the query needs
	Rows      int64  `json:"rows"`
	RowGroups []int  `json:"row_groups,omitempty"` // without them: the whole file
}

// prunedFile is a file that the query can do without.
type prunedFile struct {
	Object string `json:"object"`
	Topic  string `json:"topic"`
	Why    string `json:"why"`
}

// source is a file of the manifests that a query may read.
type source struct {
	file   manifest.File
	object filecache.Object
	facts  *prune.FileFacts // nil for a mask
	index  int32            // of its partition

	// It has a column of vectors, and that is the one that the table shows.
	vectors, shown bool
	cut            *relation.Cut
	masks          []int // of sources
	skip           bool  // other files have rows enough

	// What of a shard is in a file of the query's own, and how that is given up.
	path string
	done func()

	// What becomes of it.
	local  *filecache.File // nil: it is pruned, because of why
	why    string
	bytes  int64
	rows   int64
	groups []int // nil: all
}

// bindFiles makes those of the manifests' files local that the query needs, or
// what it needs of them.
func (n *Node) bindFiles(ctx context.Context, b *bound, states []partitionState, want parts, wanted *vectorindex.Settings) error {
	table := prune.NewTable(b.topic.Name, b.columns)
	want.need = table.Sound(want.need)
	sources := b.sources(states, table, want.need, wanted)
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range sources {
		group.Go(func() error { return n.fetch(inner, &sources[i], want) })
	}
	err := group.Wait()
	for i := range sources {
		if src := &sources[i]; src.local != nil {
			b.release = append(b.release, src.local.Release)
			b.objects[src.local.Path] = src.file.Object
			b.stats.BytesRead += src.bytes
			b.stats.RowsScanned += src.rows
			if src.facts != nil {
				b.read = append(b.read, readFile{src.file.Object, b.topic.Name, src.file.Size, src.bytes, src.rows, src.groups})
			}
		}
	}
	if err != nil {
		return err
	}
	for _, src := range sources {
		if src.facts == nil {
			continue
		}
		if src.local == nil {
			b.prune(src.file.Object, src.why)
			continue
		}
		bound := relation.File{Path: src.local.Path, Columns: columnsOf(src.file.Columns), Cut: src.cut, Vectors: src.shown && want.need.Vectors}
		if !src.shown {
			b.without = append(b.without, withoutVectors{src.index, src.file.First, src.file.Next})
		}
		for _, m := range src.masks {
			bound.Masks = append(bound.Masks, sources[m].local.Path)
		}
		b.cold = append(b.cold, bound)
	}
	if !want.planOnly {
		n.metrics.addFiles(b.stats)
	}
	return nil
}

// prune notes that the query can do without a file.
func (b *bound) prune(object, why string) {
	b.stats.FilesPruned++
	b.pruned = append(b.pruned, prunedFile{object, b.topic.Name, why})
}

// wholeBytes is the size up to which a file is fetched whole, by one request: to
// choose takes one or two more, one after the other. Measured at 20 ms and 80 MB/s
// a request, where one column of ten is read.
const wholeBytes = 2 << 20

// acquire makes a file local, or as much of it as the query needs, or nothing
// when it turns out that it has no row that matters.
func (n *Node) acquire(ctx context.Context, src *source, want parts) error {
	if src.skip {
		src.why = "other files have the first rows"
		return nil
	}
	all := want.need.All && (want.need.Vectors || !src.vectors)
	whole := src.facts == nil || src.object.Convert != nil || src.file.Size <= n.config.wholeBytes || all && want.need.Where == nil && want.need.First.Rows == 0 && !want.planOnly || n.cache.Whole(src.object)
	if !whole {
		footer, err := n.cache.Footer(ctx, src.object)
		if err != nil {
			return err
		}
		if footer != nil {
			return n.acquireParts(ctx, src, footer, want)
		}
	}
	local, err := n.cache.Acquire(ctx, src.object)
	if err != nil {
		return err
	}
	src.local, src.bytes, src.rows = local, src.file.Size, src.file.Records
	if src.facts == nil {
		src.rows = 0
	}
	return nil
}

// acquireParts is acquire for a file that is read by row group and column.
func (n *Node) acquireParts(ctx context.Context, src *source, footer *parquetfile.Footer, want parts) (err error) {
	need := want.need
	need.Vectors = need.Vectors && src.shown
	parts := filecache.Parts{Footer: footer, Leaves: src.facts.Leaves(footer, need, src.cut != nil || len(src.masks) > 0)}
	for g := range footer.Groups() {
		parts.Groups = append(parts.Groups, g)
	}
	parts.Groups, src.why = src.facts.Groups(footer, parts.Groups, nil, need)
	for _, leaf := range src.facts.Filters(footer, need) {
		if filterBytes(footer, leaf, parts.Groups) > parts.Bytes()/filterShare {
			continue // to look costs more than it can save
		}
		filters, err := n.cache.Blooms(ctx, src.object, footer, leaf, parts.Groups)
		if err != nil {
			return err
		}
		parts.Groups, src.why = src.facts.Groups(footer, parts.Groups, prune.Blooms{leaf: filters}, need)
	}
	if len(parts.Groups) == 0 {
		return nil
	}
	if src.cut == nil && src.file.Masked == 0 {
		parts.Groups = src.facts.First(footer, parts.Groups, need.First)
	}
	src.bytes, src.rows, src.groups = parts.Bytes(), parts.Rows(), parts.Groups
	if want.planOnly {
		clear(parts.Leaves)
	} else if src.bytes > src.file.Size/4*3 {
		src.local, err = n.cache.Acquire(ctx, src.object)
		return err
	}
	src.local, err = n.cache.AcquireParts(ctx, src.object, parts)
	return err
}

// filterShare: bloom filters are fetched when they take less than that share of
// what they may save.
const filterShare = 2

func filterBytes(footer *parquetfile.Footer, leaf int, groups []int) (bytes int64) {
	for _, g := range groups {
		if r, ok := footer.Bloom(g, leaf); ok {
			bytes += r.Length
		}
	}
	return bytes
}

func newSource(f manifest.File) source {
	object := filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC}
	if f.Format == "arrow" {
		object.Convert = func(ctx context.Context, in *os.File, out io.Writer) error { return columnar.FromArrow(ctx, in, out) }
	}
	return source{file: f, object: object}
}

// sources are the files that may have rows that matter, each behind its masks;
// the others are put on the list of pruned ones.
func (b *bound) sources(states []partitionState, table prune.Table, need prune.Need, wanted *vectorindex.Settings) []source {
	var sources []source
	for _, s := range states {
		start := s.Start
		masks := map[string]int{}
		for _, f := range s.Section.Columnar {
			if f.Next <= start || f.First >= s.Mark {
				continue
			}
			b.stats.FilesTotal++
			facts := table.File(f, columnsOf(f.Columns), s.Index, start, s.Mark)
			if !prune.May(need.Where, need.Values, facts) {
				b.prune(f.Object, prune.Why(need.Where, need.Values, facts))
				continue
			}
			src := newSource(f)
			src.facts, src.index = facts, s.Index
			src.vectors, src.shown = hasVectors(f), wanted != nil && showsVectors(f, *wanted)
			if f.First < start || f.Next > s.Mark {
				src.cut = &relation.Cut{First: start, Next: s.Mark}
			}
			for _, m := range s.Section.Masks {
				if f.Masked == 0 || m.Next <= f.First || m.First >= f.Next {
					continue
				}
				if _, known := masks[m.Object]; !known {
					masks[m.Object] = len(sources)
					sources = append(sources, newSource(m))
				}
				src.masks = append(src.masks, masks[m.Object])
			}
			sources = append(sources, src)
		}
	}
	return b.first(sources, need)
}

// first leaves of the sources those that hold the first rows, where a query wants
// no more than these. Masks stay, in their places.
func (b *bound) first(sources []source, need prune.Need) []source {
	if need.First.Rows == 0 {
		return sources
	}
	var files []prune.Some
	for _, src := range sources {
		if src.facts != nil {
			files = append(files, prune.Some{Facts: src.facts, Rows: src.sureRows()})
		}
	}
	kept := need.First.Enough(files)
	file := 0
	for i := range sources {
		if sources[i].facts == nil {
			continue
		}
		if sources[i].skip = len(kept) == 0 || kept[0] != file; !sources[i].skip {
			kept = kept[1:]
		}
		file++
	}
	return sources
}

// sureRows is how many rows of a file surely belong to the table.
func (src *source) sureRows() int64 {
	if src.cut != nil {
		return 0
	}
	return src.file.Records - src.file.Masked
}
