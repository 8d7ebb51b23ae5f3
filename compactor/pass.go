package compactor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

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
	mends   bool     // what is damaged is left out of new files
	lost    []lost   // what that was
	rebuilt int      // derived files that were made again
	stuck   []string // derived files that could not be made anew, to be left alone for a while
	adopted []ended  // what jobs have made

	cleaning *cleaning    // what is remembered between the steps of one
	more     bool         // there is more to do, although nothing has changed
	cleaned  bool         // the step was the last of a cleaning
	filtered filterCounts // what it left out
}

// run carries the plan out, each part on its own: one that fails is reported
// and does not keep the others from coming into the manifest.
func (p *pass) run(ctx context.Context) error {
	p.begin()
	var failed []error
	note := func(kind, what string, err error) {
		if err != nil {
			p.metrics.failures.WithLabelValues(kind).Inc()
			failed = append(failed, fmt.Errorf("%s of %s: %w", what, partitionOf(p.snap), err))
		}
	}
	try := func(kind, what string, part func(context.Context) error) {
		err := part(ctx)
		note(kind, what, err)
		p.changed = p.changed || err == nil
	}
	note(vectorName, "adoption of what jobs have made", p.adopt(ctx))
	in := &input{span: p.plan.log, keepMax: 2 * p.policy.PassBytesMax, mends: p.mends}
	if !p.plan.log.empty() {
		try("log", "log file", func(ctx context.Context) error { return p.advanceLog(ctx, in) })
	}
	if !p.plan.columnar.empty() {
		try(tables.name, "columnar files", func(ctx context.Context) error { return p.advance(ctx, tables, in, p.plan.columnar) })
	}
	if !p.plan.text.empty() {
		try(splits.name, "splits", func(ctx context.Context) error { return p.advance(ctx, splits, in, p.plan.text) })
	}
	if p.plan.dropColumnar {
		p.drop(tables)
	}
	if p.plan.dropText {
		p.drop(splits)
	}
	if p.plan.dropVector {
		p.drop(shards)
	}
	if p.plan.dropCollections {
		p.section.Collections, p.changed = nil, true // they go when nothing names them
	}
	if len(p.plan.mergeLog) > 0 {
		try("log", "merge of log files", p.mergeLog)
	}
	if len(p.plan.mergeColumnar) > 0 {
		try(tables.name, "merge of columnar files", p.mergeTable)
	}
	if len(p.plan.mergeText) > 0 {
		try(splits.name, "merge of splits", p.mergeSplits)
	}
	if len(p.plan.reindex) > 0 {
		try(splits.name, "indexing again", p.reindex)
	}
	if p.plan.rebuild != nil {
		note(p.plan.rebuild.kind.name, "rebuild", p.rebuild(ctx))
	}
	if p.plan.clean.due() {
		note("log", "cleaning", p.clean(ctx))
	}
	p.expire()
	p.expireMasks()
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
	p.section.Clean = p.snap.cleaned()
	p.section.Marks = manifest.Marks(ref.Marks)
	p.section.Log = slices.Clone(p.section.Log)
	p.section.Columnar = slices.Clone(p.section.Columnar)
	p.section.Text = slices.Clone(p.section.Text)
	p.section.Vector = slices.Clone(p.section.Vector)
	p.section.Masks = slices.Clone(p.section.Masks)
	p.changed = p.plan.logStart > ref.LogStart
}

// expire takes the files below the log start out of the section.
func (p *pass) expire() {
	for _, files := range []*[]manifest.File{&p.section.Log, &p.section.Columnar, &p.section.Text, &p.section.Vector} {
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
	mends   bool
	opened  *reading
}

func (p *pass) open(ctx context.Context, in *input) (*reading, error) {
	if in.opened == nil {
		find := func() ([]extent, error) { return p.source.extents(ctx, p.snap, in.span) }
		if in.mends {
			find = func() ([]extent, error) { return p.mendedExtents(ctx, in.span) }
		}
		extents, err := find()
		if err != nil {
			return nil, err
		}
		in.opened = p.source.reading(extents, in.span, in.keepMax, p.metrics)
	}
	return in.opened, nil
}

// advanceLog rewrites the planned span of segments into a log file, or into one
// for each run of offsets where some are missing.
func (p *pass) advanceLog(ctx context.Context, in *input) error {
	r, err := p.open(ctx, in)
	if err != nil {
		return err
	}
	for _, g := range gaps(r.extents, in.span) {
		p.metrics.holes.Inc()
		if !slices.ContainsFunc(p.lost, func(l lost) bool { return l.first < g.next && l.next > g.first }) {
			p.log.Error("offsets were never committed: the log files leave them out", "partition", partitionOf(p.snap), "first", g.first, "next", g.next)
		}
	}
	var files []manifest.File
	for first := 0; first < len(r.extents); {
		next := first + 1
		for next < len(r.extents) && r.extents[next].First == r.extents[next-1].Next {
			next++
		}
		file, err := p.writeLog(ctx, r, first, next, false)
		if err != nil {
			return err
		}
		if file != nil {
			files = append(files, *file)
		}
		first = next
	}
	p.section.Log = append(p.section.Log, files...)
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

// writeLog writes the extents from first to next of what is read as a log file;
// nil when that is nothing. With holes, offsets that are missing in between do
// not end a range of it.
func (p *pass) writeLog(ctx context.Context, r *reading, first, next int, holes bool) (*manifest.File, error) {
	w := p.newLogWriter()
	for i := first; i < next; i++ {
		e := &r.extents[i]
		if e.Next <= p.section.LogStart || e.First == e.Next {
			continue
		}
		w.begin(e, holes)
		if err := r.each(ctx, i, w.Append); err != nil {
			return nil, err
		}
	}
	if w.open == nil {
		return nil, nil
	}
	return w.finish(ctx)
}

// logWriter writes a log file out of extents.
type logWriter struct {
	*segment.Writer
	pass   *pass
	id     ulid.ULID
	open   *extent // the last one of the range that is being written
	states []producer.State
}

func (p *pass) newLogWriter() *logWriter {
	id := p.newID()
	meta := segment.Meta{Kind: segment.KindLog, ID: id.String(), Broker: -1, CreatedAt: p.now.UnixMilli()}
	return &logWriter{Writer: segment.NewWriter(meta), pass: p, id: id}
}

// begin says that what comes is of an extent, in order of offset.
func (w *logWriter) begin(e *extent, holes bool) {
	if w.open != nil && (e.Epoch != w.open.Epoch || e.First != w.open.Next && !holes) {
		w.End(w.states)
		w.open = nil
	}
	if w.open == nil {
		w.Begin(e.Partition, e.Epoch)
		w.states = nil
	}
	w.states = producer.Merge(w.states, e.Producers)
	w.open = e
}

// finish stores the file. At least one extent was begun, and has a batch.
func (w *logWriter) finish(ctx context.Context) (*manifest.File, error) {
	w.End(w.states)
	parts, footer, err := w.Finish()
	if err != nil {
		return nil, err
	}
	file := logFile(footer)
	file.Object = objstore.LogFileName(w.pass.section.Partition, w.id)
	file.CreatedAt = w.pass.now.UnixMilli()
	file.Size, file.CRC, err = w.pass.put(ctx, "log", file.Object, parts)
	if err != nil {
		return nil, err
	}
	w.pass.metrics.records.WithLabelValues("log").Add(float64(file.Records))
	return &file, nil
}

// logFile describes a log file by its footer.
func logFile(f *segment.Footer) manifest.File {
	first, last := f.Ranges[0], f.Ranges[len(f.Ranges)-1]
	out := manifest.File{First: first.First, Next: last.Next, MinTimestamp: -1, MaxTimestamp: -1}
	for _, r := range f.Ranges {
		if r.Records == 0 {
			continue // batches that hold a place have no time
		}
		if out.Records == 0 {
			out.MinTimestamp, out.MaxTimestamp = r.MinTimestamp, r.MaxTimestamp
		}
		out.Records += r.Records
		out.MinTimestamp = min(out.MinTimestamp, r.MinTimestamp)
		out.MaxTimestamp = max(out.MaxTimestamp, r.MaxTimestamp)
	}
	return out
}

// put stores an object under a fresh name and returns its size and CRC-32C.
func (c *Compactor) put(ctx context.Context, kind, name string, parts [][]byte) (size int64, crc uint32, err error) {
	body := objstore.Buffers(parts)
	for _, part := range parts {
		crc = crc32.Update(crc, format.Castagnoli, part)
	}
	if _, err := c.bucket.Put(ctx, name, body, objstore.Condition{IfAbsent: true}); err != nil {
		return 0, 0, fmt.Errorf("store %s: %w", name, err)
	}
	c.metrics.wrote(kind, body.Size)
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
	next := run[len(run)-1].Next
	file, err := p.writeLog(ctx, r, 0, len(r.extents), next <= p.section.Clean.Next)
	if err != nil {
		return err
	}
	if file == nil {
		return errors.New("the files hold nothing above the log start")
	}
	file.First, file.Next = run[0].First, next // cleaning may have left nothing at the edges
	p.section.Log = p.replaced(p.section.Log, run, []manifest.File{*file})
	p.metrics.merges.WithLabelValues("log").Inc()
	return nil
}

// replaced returns the files without those of run, which go, and with others.
func (p *pass) replaced(files, run, others []manifest.File) []manifest.File {
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
