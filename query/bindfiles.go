package query

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/manifest"
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
}

func (s *stats) add(t stats) {
	s.FilesTotal += t.FilesTotal
	s.FilesPruned += t.FilesPruned
	s.BytesRead += t.BytesRead
	s.RowsScanned += t.RowsScanned
}

// prunedFile is a file that the query can do without.
type prunedFile struct {
	object string
	why    string
}

// source is a file of the manifests that a query reads.
type source struct {
	file  manifest.File
	cut   *relation.Cut
	masks []int // of sources
	mask  bool
}

// bindFiles makes those of the manifests' files local that the query needs.
func (n *Node) bindFiles(ctx context.Context, b *bound, states []partitionState, need prune.Need) error {
	sources := b.sources(states, need)
	local := make([]*filecache.File, len(sources))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, src := range sources {
		group.Go(func() (err error) {
			local[i], err = n.cache.Acquire(inner, filecache.Object{Name: src.file.Object, Size: src.file.Size, CRC: src.file.CRC})
			return err
		})
	}
	err := group.Wait()
	for i, file := range local {
		if file == nil {
			continue
		}
		src := &sources[i]
		b.release = append(b.release, file.Release)
		b.objects[file.Path] = src.file.Object
		b.stats.BytesRead += src.file.Size
		if src.mask || err != nil {
			continue
		}
		bound := relation.File{Path: file.Path, Columns: columnsOf(src.file.Columns), Cut: src.cut}
		for _, m := range src.masks {
			bound.Masks = append(bound.Masks, local[m].Path)
		}
		b.cold = append(b.cold, bound)
		b.stats.RowsScanned += src.file.Records
	}
	return err
}

// sources are the files that may have rows that matter, each behind its masks;
// the others are put on the list of pruned ones.
func (b *bound) sources(states []partitionState, need prune.Need) (sources []source) {
	table := prune.NewTable(b.topic.Name, b.columns)
	for _, s := range states {
		start := s.view.Manifest.LogStart
		masks := map[string]int{}
		for _, f := range s.section.Columnar {
			if f.Next <= start || f.First >= s.mark {
				continue
			}
			b.stats.FilesTotal++
			if facts := table.File(f, columnsOf(f.Columns), s.index, start, s.mark); !prune.May(need.Where, need.Values, facts) {
				b.stats.FilesPruned++
				b.pruned = append(b.pruned, prunedFile{f.Object, prune.Why(need.Where, need.Values, facts)})
				continue
			}
			src := source{file: f}
			if f.First < start || f.Next > s.mark {
				src.cut = &relation.Cut{First: start, Next: s.mark}
			}
			for _, m := range s.section.Masks {
				if f.Masked == 0 || m.Next <= f.First || m.First >= f.Next {
					continue
				}
				if _, known := masks[m.Object]; !known {
					masks[m.Object] = len(sources)
					sources = append(sources, source{file: m, mask: true})
				}
				src.masks = append(src.masks, masks[m.Object])
			}
			sources = append(sources, src)
		}
	}
	return sources
}
