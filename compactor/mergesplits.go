package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/objstore"
)

// Splits are merged out of each other, unlike columnar files, which are made of
// the log again: no text is analysed twice, and records that a mask names stay
// behind. Only splits with the same settings go together. Those with other ones,
// of before somebody changed what is indexed and how, are searched as they are
// until they have been made again of the log (reindex).

// mergeSplits makes one split of neighbours.
//
// Each of them has its first 1,000 paths as fields, and they may be others in each:
// where more than FieldsMax come together, the records are indexed again, so that
// what is beyond the first 1,000 is searched in _all.
func (p *pass) mergeSplits(ctx context.Context) error {
	run := p.plan.mergeText
	p.metrics.merges.WithLabelValues(splits.name).Inc()
	records := left(run)
	if records == 0 {
		p.replace(splits, run, nil)
		return nil
	}
	o := &object{id: p.newID()}
	result, err := p.mergeInto(ctx, o, run)
	switch {
	case errors.Is(err, textindex.ErrMerge):
		p.log.Info("splits are indexed again instead of merged", "partition", partitionOf(p.snap), "splits", len(run), "reason", err)
		return p.reindexRun(ctx, run)
	case err != nil:
		return p.suspect(ctx, run, err)
	case int64(result.Documents) != records:
		p.leave(run)
		return fmt.Errorf("%w: %d records came of %d splits with %d, which stay as they are", errOtherRecords, result.Documents, len(run), records)
	}
	merged, err := p.storeSplit(ctx, o, result, run[0].Settings, span{run[0].First, run[len(run)-1].Next})
	if err != nil {
		return err
	}
	p.replace(splits, run, []manifest.File{merged})
	return nil
}

// mergeInto merges splits without the records that masks name.
func (p *pass) mergeInto(ctx context.Context, o *object, run []manifest.File) (textindex.Result, error) {
	hidden, err := p.masked(ctx, p.section.Masks, run)
	if err != nil {
		return textindex.Result{}, err
	}
	files := make([]*textindex.File, len(run))
	for i, f := range run {
		if files[i], err = textindex.Open(ctx, &blob{Compactor: p.Compactor, file: f}, f.Footer); err != nil {
			return textindex.Result{}, format.In(f.Object, err)
		}
	}
	options := textindex.MergeOptions{FieldsMax: p.policy.FieldsMax}
	if len(hidden) > 0 {
		options.Keep = func(offset int64) bool { return !hidden[offset] }
	}
	return textindex.Merge(ctx, o, files, options)
}

// suspect looks at what could not be merged, and reports what of it is damaged or
// missing: the next pass makes that again. An error that has another cause is
// returned, and what it is about left alone for a while.
func (p *pass) suspect(ctx context.Context, run []manifest.File, failed error) error {
	if !errors.Is(failed, format.ErrCorrupt) && !errors.Is(failed, objstore.ErrNotFound) {
		return failed
	}
	for _, m := range p.section.Masks {
		if slices.ContainsFunc(run, func(f manifest.File) bool { return masks(m, f) }) {
			run = append(run[:len(run):len(run)], m)
		}
	}
	for _, f := range run {
		damage, err := p.inspect(ctx, f)
		if err != nil {
			return err
		}
		if damage == nil {
			continue
		}
		if err := p.store.ReportDamage(ctx, f.Object, damage.Error()); err != nil {
			return err
		}
		p.more = true
	}
	if p.more {
		p.log.Warn("a merge of splits met damage", "partition", partitionOf(p.snap), "err", failed)
		return nil
	}
	p.leave(run)
	return fmt.Errorf("splits that are as they were written: %v", failed)
}

// reindex makes splits of the log in the place of those with other settings than
// the topic's.
func (p *pass) reindex(ctx context.Context) error { return p.reindexRun(ctx, p.plan.reindex) }

// reindexRun is remakeFiles for splits. Where the log does not have the same
// records any more, they are not tried again for a while.
func (p *pass) reindexRun(ctx context.Context, run []manifest.File) error {
	err := p.remakeFiles(ctx, splits, run)
	if errors.Is(err, errOtherRecords) {
		p.leave(run)
	}
	return err
}

// leave leaves files alone for a while.
func (p *pass) leave(run []manifest.File) {
	for _, f := range run {
		p.stuck = append(p.stuck, f.Object)
	}
}

// blobBlock is how much of a split is read at once.
const blobBlock = 2 << 20

// blob is a split in the bucket. A merge goes through it field by field, nearly in
// the order in which it lies there, so the last two blocks are what it comes back to.
type blob struct {
	*Compactor
	file   manifest.File
	blocks [2]struct {
		at   int64
		data []byte
	}
}

// Size implements textindex.Blob.
func (b *blob) Size() int64 { return b.file.Size }

// Read implements textindex.Blob. It is for one goroutine.
func (b *blob) Read(ctx context.Context, offset, length int64) ([]byte, error) {
	first := offset / blobBlock * blobBlock
	if offset+length > first+blobBlock {
		return b.get(ctx, offset, length)
	}
	for i := range b.blocks {
		if k := &b.blocks[i]; k.data != nil && k.at == first {
			return k.data[offset-first:][:length:length], nil
		}
	}
	data, err := b.get(ctx, first, min(blobBlock, b.file.Size-first))
	if err != nil {
		return nil, err
	}
	b.blocks[0] = b.blocks[1]
	b.blocks[1].at, b.blocks[1].data = first, data
	return data[offset-first:][:length:length], nil
}

func (b *blob) get(ctx context.Context, offset, length int64) ([]byte, error) {
	data, err := b.source.get(ctx, b.file.Object, offset, length)
	b.metrics.read(len(data))
	return data, err
}
