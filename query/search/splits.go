package search

import (
	"context"
	"errors"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textsearch"
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
		names, offsets, err := s.config.Masks.Over(ctx, f, masks)
		if err != nil {
			return nil, err
		}
		return split.Hidden(ctx, start, names, offsets)
	}
}
