package search

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/splitcache"
)

// splitsAtOnce is how many splits of a topic are opened at once.
const splitsAtOnce = 16

// bindSplits adds the splits that manifests list, each with what of it is hidden. All
// are opened, also where no document can match: what they know of terms counts in
// scores, and footers are in memory mostly.
func (s *Searcher) bindSplits(ctx context.Context, b *bound, topic string, partitions []snapshot.Partition, sc scope) error {
	var parts []part
	for _, p := range partitions {
		for _, f := range p.Section.Text {
			if f.Next <= p.Start || f.First >= p.Mark {
				continue
			}
			b.bytes[topic] += f.Size
			if !sc.has(p.Index, f.First, f.Next) {
				continue
			}
			parts = append(parts, part{
				Part: textsearch.Part{Topic: topic, Partition: p.Index}, object: f.Object, file: f, hide: s.hide(f, p.Section.Masks, p.Start),
			})
		}
	}
	var mu sync.Mutex // for what is held
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(splitsAtOnce)
	for i := range parts {
		group.Go(func() error {
			release, err := s.open(inner, &parts[i])
			if release != nil {
				mu.Lock()
				b.held = append(b.held, release)
				mu.Unlock()
			}
			return err
		})
	}
	err := group.Wait()
	b.parts = append(parts, b.parts...)
	return err
}

// open opens the split of a part, once more where it is damaged: that may have
// happened on the way, or here.
func (s *Searcher) open(ctx context.Context, p *part) (release func(), err error) {
	release, err = s.openOnce(ctx, p)
	if errors.Is(err, format.ErrCorrupt) {
		s.config.Splits.Forget(p.object)
		release, err = s.openOnce(ctx, p)
	}
	return release, snapshot.OfFile(p.object, err)
}

func (s *Searcher) openOnce(ctx context.Context, p *part) (release func(), err error) {
	split, err := s.config.Splits.Open(ctx, p.file)
	if err != nil {
		return nil, err
	}
	p.Split, p.Analyzer = split, split.Analyzer
	if p.Hidden, err = p.hide(ctx, split); err != nil {
		split.Release()
		return nil, err
	}
	return split.Release, nil
}

// reopen replaces the split of a part that was found damaged.
func (s *Searcher) reopen(ctx context.Context, b *bound, p *part) error {
	release, err := s.open(ctx, p)
	if release != nil {
		b.held = append(b.held, release)
	}
	return err
}

// hide finds which documents of a split are not part of the log.
func (s *Searcher) hide(f manifest.File, masks []manifest.File, start int64) func(context.Context, *splitcache.Split) (*roaring.Bitmap, error) {
	return func(ctx context.Context, split *splitcache.Split) (*roaring.Bitmap, error) {
		var names []string
		var offsets [][]int64
		for _, m := range masks {
			if f.Masked == 0 || m.Next <= f.First || m.First >= f.Next {
				continue
			}
			of, err := s.masks.offsets(ctx, s.config.Files, m)
			if err != nil {
				return nil, snapshot.OfFile(m.Object, err)
			}
			names, offsets = append(names, m.Object), append(offsets, of)
		}
		return split.Hidden(ctx, start, names, offsets)
	}
}

// masksMax bounds the offsets of masks that are kept in memory.
const masksMax = 16 << 20

// masks are the offsets in masks that were read.
type masks struct {
	mu      sync.Mutex
	of      map[string][]int64 // by object
	objects []string           // the oldest first
	total   int
}

// offsets returns those of a mask.
func (m *masks) offsets(ctx context.Context, files *filecache.Cache, f manifest.File) ([]int64, error) {
	m.mu.Lock()
	offsets, known := m.of[f.Object]
	m.mu.Unlock()
	if known {
		return offsets, nil
	}
	offsets, err := readMask(ctx, files, f)
	if errors.Is(err, format.ErrCorrupt) {
		files.Forget(f.Object)
		offsets, err = readMask(ctx, files, f)
	}
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.of[f.Object]; known {
		return offsets, nil
	}
	if m.of == nil {
		m.of = map[string][]int64{}
	}
	m.of[f.Object] = offsets
	m.objects = append(m.objects, f.Object)
	m.total += len(offsets)
	for m.total > masksMax && len(m.objects) > 1 {
		m.total -= len(m.of[m.objects[0]])
		delete(m.of, m.objects[0])
		m.objects = m.objects[1:]
	}
	return offsets, nil
}

func readMask(ctx context.Context, files *filecache.Cache, f manifest.File) (offsets []int64, err error) {
	local, err := files.Acquire(ctx, filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC})
	if err != nil {
		return nil, err
	}
	defer local.Release()
	file, err := os.Open(local.Path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	offsets, err = columnar.ReadOffsets(file)
	if err != nil {
		return nil, format.In(f.Object, format.Corrupt(0, "%v", err))
	}
	slices.Sort(offsets)
	return offsets, nil
}
