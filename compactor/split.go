package compactor

import (
	"context"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/objstore"
)

// Splits, the full-text index of a topic, are written as columnar files are, out
// of the same read of the log, but have no time partitions.

// formatSplit is what the manifest calls the format of splits.
const formatSplit = "split"

// indexBytesMax is the memory for records that are being indexed and are not in
// a run yet: see textindex.Builder.
const indexBytesMax = 64 << 20

// indexOptions are what a topic's configuration asks for.
func indexOptions(c topicconfig.Search) (textindex.Options, error) {
	return textindex.TopicOptions(c.Analyzer, c.Fields, c.Mapping)
}

// splitWriter writes one split after another.
type splitWriter struct {
	*pass
	options textindex.Options
	builder *textindex.Builder // nil: no record has come since the last split
	first   int64              // of the current split
	records int64              // in it
	bytes   int64              // of their keys and values
	out     written
}

// writeSplits makes splits of a span and stores them: one, or several where it
// holds more than fits the memory for it.
func (p *pass) writeSplits(ctx context.Context, in *input, sp span, _ *string) (written, error) {
	w := &splitWriter{pass: p, first: sp.first}
	var err error
	if w.options, err = indexOptions(p.snap.config.Search); err != nil {
		return written{}, err
	}
	r, err := p.open(ctx, in)
	if err != nil {
		return written{}, err
	}
	lost, err := columnar.Walk(ctx, r.batches(ctx), p.decoder, sp.first, sp.next, func(record *batch.Record) error { return w.add(ctx, record) })
	if err != nil {
		return written{}, err
	}
	w.out.unreadable = lost
	if err := w.finish(ctx, sp.next); err != nil {
		return written{}, err
	}
	w.out.next = sp.next
	return w.out, nil
}

// add indexes a record, in a new split when the current one has enough.
func (w *splitWriter) add(ctx context.Context, r *batch.Record) error {
	if w.bytes >= w.policy.IndexBytesMax || w.records >= w.policy.DocumentsMax {
		if err := w.finish(ctx, r.Offset); err != nil {
			return err
		}
	}
	if w.builder == nil {
		w.builder = textindex.NewBuilder(w.options, textindex.BuilderBounds{MemoryBytesMax: indexBytesMax})
	}
	w.records++
	w.bytes += int64(len(r.Key) + len(r.Value))
	return w.builder.Append(textindex.Record{Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value})
}

// finish stores the current split, which ends before next.
func (w *splitWriter) finish(ctx context.Context, next int64) error {
	if w.builder == nil {
		return nil
	}
	o := &object{id: w.newID()}
	result, err := w.builder.Write(ctx, o)
	if err != nil {
		return err
	}
	file, err := w.storeSplit(ctx, o, result, w.options.Settings(), span{w.first, next})
	if err != nil {
		return err
	}
	w.metrics.overflow.Add(float64(result.Overflow))
	w.out.files = append(w.out.files, file)
	w.out.records += w.records
	w.builder, w.records, w.bytes, w.first = nil, 0, 0, next
	return nil
}

// storeSplit stores a split that covers a span.
func (p *pass) storeSplit(ctx context.Context, o *object, result textindex.Result, settings string, sp span) (manifest.File, error) {
	out := manifest.File{
		Object:       objstore.SplitName(p.section.Partition, o.id),
		First:        sp.first,
		Next:         sp.next,
		Records:      int64(result.Documents),
		MinTimestamp: result.TimestampMin,
		MaxTimestamp: result.TimestampMax,
		Format:       formatSplit,
		CreatedAt:    p.now.UnixMilli(),
		Footer:       result.Footer,
		Settings:     settings,
	}
	var err error
	out.Size, out.CRC, err = p.put(ctx, textName, out.Object, o.parts)
	return out, err
}
