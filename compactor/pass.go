package compactor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/objstore"
)

// pass is one attempt at one plan. It writes objects under names of its own and
// changes nothing else: what it makes comes to life with the swap of the
// manifest, and without it is left to the orphan sweep.
type pass struct {
	*Compactor
	snap    snapshot
	plan    plan
	now     time.Time
	section manifest.Section // as it will be
	gone    []manifest.File  // no longer in it
	changed bool
	decoder *batch.Decoder
}

// run carries the plan out, each part on its own: one that fails is reported
// and does not keep the others from coming into the manifest.
func (p *pass) run(ctx context.Context) error {
	p.begin()
	var failed []error
	try := func(what string, part func(context.Context) error) {
		if err := part(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s of %s: %w", what, partitionOf(p.snap), err))
			return
		}
		p.changed = true
	}
	in := &input{span: p.plan.log, keepMax: 2 * p.policy.PassBytesMax}
	if !p.plan.log.empty() {
		try("log file", func(ctx context.Context) error { return p.advanceLog(ctx, in) })
	}
	if !p.plan.columnar.empty() {
		try("columnar files", func(ctx context.Context) error { return p.advanceColumnar(ctx, in) })
	}
	if p.plan.dropColumnar {
		p.gone = append(p.gone, p.section.Columnar...)
		p.section.Columnar, p.section.Marks.Columnar = nil, p.plan.logStart
		p.changed = true
	}
	if len(p.plan.mergeLog) > 0 {
		try("merge of log files", p.mergeLog)
	}
	if len(p.plan.mergeColumnar) > 0 {
		try("merge of columnar files", p.mergeColumnar)
	}
	p.expire()
	return errors.Join(failed...)
}

// begin copies the old section and makes it the next version.
func (p *pass) begin() {
	ref := p.snap.view.Manifest
	p.section = p.snap.section
	p.section.Partition = p.snap.view.Partition
	p.section.Topic = p.snap.view.Topic.Name
	p.section.Version = ref.Version + 1
	p.section.LogStart = p.plan.logStart
	p.section.Marks = manifest.Marks(ref.Marks)
	p.section.Log = slices.Clone(p.section.Log)
	p.section.Columnar = slices.Clone(p.section.Columnar)
	p.changed = p.plan.logStart > ref.LogStart
}

// expire takes the files below the log start out of the section.
func (p *pass) expire() {
	for _, files := range []*[]manifest.File{&p.section.Log, &p.section.Columnar} {
		gone := expired(*files, p.section.LogStart)
		if len(gone) == 0 {
			continue
		}
		p.gone = append(p.gone, gone...)
		*files = slices.DeleteFunc(*files, func(f manifest.File) bool { return f.Next <= p.section.LogStart })
		p.changed = true
	}
}

// input is a span to be read, opened at its first use: one read feeds the log
// file and what is derived from it.
type input struct {
	span    span
	keepMax int64
	opened  *reading
}

func (p *pass) open(ctx context.Context, in *input) (*reading, error) {
	if in.opened == nil {
		extents, err := p.source.extents(ctx, p.snap, in.span)
		if err != nil {
			return nil, err
		}
		in.opened = p.source.reading(extents, in.span, in.keepMax, p.metrics)
	}
	return in.opened, nil
}

// advanceLog rewrites the planned span of segments into a log file.
func (p *pass) advanceLog(ctx context.Context, in *input) error {
	r, err := p.open(ctx, in)
	if err != nil {
		return err
	}
	for _, g := range gaps(r.extents, in.span) {
		p.metrics.holes.Inc()
		p.log.Error("offsets were never committed: the log file leaves them out", "partition", partitionOf(p.snap), "first", g.first, "next", g.next)
	}
	file, err := p.writeLog(ctx, r)
	if err != nil {
		return err
	}
	if file != nil {
		p.section.Log = append(p.section.Log, *file)
	}
	p.section.Marks.Log = in.span.next
	p.section.Producers = p.producers(r.extents)
	return nil
}

// producers is the snapshot at the end of the extents, which are those behind
// the old one.
func (p *pass) producers(extents []extent) []producer.State {
	states := p.section.Producers
	for _, e := range extents {
		states = producer.Merge(states, e.Producers)
	}
	table := producer.NewTable(states)
	table.Expire(p.now.Add(-p.config.ProducerExpiry).UnixMilli())
	return table.Snapshot()
}

// writeLog writes what is read as a log file; nil when that is nothing.
func (p *pass) writeLog(ctx context.Context, r *reading) (*manifest.File, error) {
	id := p.newID()
	w := segment.NewWriter(segment.Meta{Kind: segment.KindLog, ID: id.String(), Broker: -1, CreatedAt: p.now.UnixMilli()})
	var open *extent // the last one of the range that is being written
	var states []producer.State
	for i := range r.extents {
		e := &r.extents[i]
		if e.Next <= p.section.LogStart {
			continue
		}
		if open != nil && (e.Epoch != open.Epoch || e.First != open.Next) {
			w.End(states)
			open = nil
		}
		if open == nil {
			w.Begin(e.Partition, e.Epoch)
			states = nil
		}
		if err := r.each(ctx, i, w.Append); err != nil {
			return nil, err
		}
		states = producer.Merge(states, e.Producers)
		open = e
	}
	if open == nil {
		return nil, nil
	}
	w.End(states)
	parts, footer, err := w.Finish()
	if err != nil {
		return nil, err
	}
	file := logFile(footer)
	file.Object = objstore.LogFileName(p.section.Partition, id)
	file.CreatedAt = p.now.UnixMilli()
	file.Size, file.CRC, err = p.put(ctx, "log", file.Object, parts)
	if err != nil {
		return nil, err
	}
	p.metrics.records.WithLabelValues("log").Add(float64(file.Records))
	return &file, nil
}

// logFile describes a log file by its footer.
func logFile(f *segment.Footer) manifest.File {
	first, last := f.Ranges[0], f.Ranges[len(f.Ranges)-1]
	out := manifest.File{First: first.First, Next: last.Next, MinTimestamp: first.MinTimestamp, MaxTimestamp: first.MaxTimestamp}
	for _, r := range f.Ranges {
		out.Records += r.Records
		out.MinTimestamp = min(out.MinTimestamp, r.MinTimestamp)
		out.MaxTimestamp = max(out.MaxTimestamp, r.MaxTimestamp)
	}
	return out
}

// put stores an object under a fresh name and returns its size and CRC-32C.
func (p *pass) put(ctx context.Context, kind, name string, parts [][]byte) (size int64, crc uint32, err error) {
	body := objstore.Buffers(parts)
	for _, part := range parts {
		crc = crc32.Update(crc, format.Castagnoli, part)
	}
	if _, err := p.bucket.Put(ctx, name, body, objstore.Condition{IfAbsent: true}); err != nil {
		return 0, 0, fmt.Errorf("store %s: %w", name, err)
	}
	p.metrics.wrote(kind, body.Size)
	return body.Size, crc, nil
}

// mergeLog makes one log file of neighbours.
func (p *pass) mergeLog(ctx context.Context) error {
	run := p.plan.mergeLog
	in := &input{span: span{run[0].First, run[len(run)-1].Next}}
	r, err := p.open(ctx, in)
	if err != nil {
		return err
	}
	file, err := p.writeLog(ctx, r)
	if err != nil {
		return err
	}
	if file == nil {
		return errors.New("the files hold nothing above the log start")
	}
	p.section.Log = p.replace(p.section.Log, run, []manifest.File{*file})
	p.metrics.merges.WithLabelValues("log").Inc()
	return nil
}

// replace takes the files of run out and puts others in.
func (p *pass) replace(files, run, others []manifest.File) []manifest.File {
	p.gone = append(p.gone, run...)
	files = slices.DeleteFunc(files, func(f manifest.File) bool {
		return slices.ContainsFunc(run, func(r manifest.File) bool { return r.Object == f.Object })
	})
	files = append(files, others...)
	slices.SortFunc(files, func(a, b manifest.File) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.TimePartition, b.TimePartition))
	})
	return files
}
