package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
)

// derived is a kind of files that are made of the log: each kind advances along
// it at its own pace, and whatever becomes of one of its files, the file can be
// made again while the log has the records.
type derived struct {
	name string // in metrics
	file string // what one is called

	files func(*manifest.Section) *[]manifest.File
	mark  func(*manifest.Section) *int64

	// write makes and stores files of the records of a span; with only, of those
	// in that time partition. What it finds nothing for gets no file.
	write func(p *pass, ctx context.Context, in *input, sp span, only *string) (written, error)
}

// written says what was made of a span.
type written struct {
	files      []manifest.File
	next       int64 // everything of the span below it is in files
	records    int64
	unreadable []columnar.Unreadable
}

// Their names in metrics.
const (
	columnarName = "columnar"
	textName     = "text"
)

// The kinds of files that are derived.
var (
	tables = &derived{
		name: columnarName, file: "columnar file",
		files: func(s *manifest.Section) *[]manifest.File { return &s.Columnar },
		mark:  func(s *manifest.Section) *int64 { return &s.Marks.Columnar },
		write: (*pass).writeTable,
	}
	splits = &derived{
		name: textName, file: "split",
		files: func(s *manifest.Section) *[]manifest.File { return &s.Text },
		mark:  func(s *manifest.Section) *int64 { return &s.Marks.Text },
		write: (*pass).writeSplits,
	}
)

// errOtherRecords: the log has more or fewer of the records than the files had
// that are to be made of it.
var errOtherRecords = errors.New("other records than before")

// advance makes files of the planned span, out of what is read for the log file
// where that has it.
func (p *pass) advance(ctx context.Context, kind *derived, in *input, sp span) error {
	if in.span.empty() || sp.first < in.span.first {
		in = &input{span: sp, keepMax: 2 * p.policy.PassBytesMax, mends: p.mends}
	}
	out, err := p.derive(ctx, kind, in, sp, nil)
	if err != nil {
		return err
	}
	p.replace(kind, nil, out.files)
	*kind.mark(&p.section) = out.next
	return nil
}

// drop takes all files of a kind out, so that it may begin anew some day.
func (p *pass) drop(kind *derived) {
	files := kind.files(&p.section)
	p.gone = append(p.gone, *files...)
	*files, *kind.mark(&p.section) = nil, p.plan.logStart
	p.changed = true
}

// remakeFiles puts new files, made of the log, in the place of neighbours in a
// time partition.
func (p *pass) remakeFiles(ctx context.Context, kind *derived, run []manifest.File) error {
	sp := span{run[0].First, run[len(run)-1].Next}
	records := left(run)
	if records == 0 {
		p.replace(kind, run, nil)
		return nil
	}
	// Merges are large: what does not fit is read again for the second walk.
	in := &input{span: sp, keepMax: p.policy.PassBytesMax}
	out, err := p.derive(ctx, kind, in, sp, &run[0].TimePartition)
	if err != nil {
		return err
	}
	if out.next != sp.next || out.records != records {
		return fmt.Errorf("%w: %d records up to %d came of %d %ss with %d records up to %d, which stay as they are",
			errOtherRecords, out.records, out.next, len(run), kind.file, records, sp.next)
	}
	p.replace(kind, run, widened(out.files, sp))
	return nil
}

// left counts the records of files that no mask takes away.
func left(files []manifest.File) (records int64) {
	for _, f := range files {
		records += f.Records - f.Masked
	}
	return records
}

// widened makes files, of which there is one, cover a span from end to end.
func widened(files []manifest.File, sp span) []manifest.File {
	files[0].First, files[len(files)-1].Next = sp.first, sp.next
	return files
}

// remakeCut is remakeFiles for a file that has records below the log start, which
// the log may not have any more. How many are left is not known, so the log must
// have every offset that compaction by key cannot have taken.
func (p *pass) remakeCut(ctx context.Context, kind *derived, f manifest.File) error {
	sp := span{p.section.LogStart, f.Next}
	in := &input{span: sp, keepMax: p.policy.PassBytesMax}
	r, err := p.open(ctx, in)
	if err != nil {
		return err
	}
	for _, g := range gaps(r.extents, sp) {
		if g.next > p.section.Clean.Next {
			return fmt.Errorf("%w: the offsets [%d,%d) are missing", errOtherRecords, g.first, g.next)
		}
	}
	out, err := p.derive(ctx, kind, in, sp, &f.TimePartition)
	if err != nil {
		return err
	}
	if out.next != sp.next || out.records > f.Records {
		return fmt.Errorf("%w: %d records up to %d came of one %s with %d up to %d", errOtherRecords, out.records, out.next, kind.file, f.Records, sp.next)
	}
	if len(out.files) > 0 {
		out.files = widened(out.files, sp)
	}
	next := p.section
	files := kind.files(&next)
	*files = slices.DeleteFunc(slices.Clone(*files), func(o manifest.File) bool { return o.Object == f.Object })
	if len(out.files) == 0 && manifest.Check(p.snap.section, next) != nil {
		return fmt.Errorf("%w: none above the log start", errOtherRecords)
	}
	p.replace(kind, []manifest.File{f}, out.files)
	return nil
}

// replace takes the files of run out of a kind and puts others in.
func (p *pass) replace(kind *derived, run, others []manifest.File) {
	files := kind.files(&p.section)
	*files = p.replaced(*files, run, others)
}

// derive makes files of a kind, and says which batches are missing in them.
func (p *pass) derive(ctx context.Context, kind *derived, in *input, sp span, only *string) (written, error) {
	out, err := kind.write(p, ctx, in, sp, only)
	if err != nil {
		return written{}, err
	}
	for _, u := range out.unreadable {
		p.metrics.unreadable.Inc()
		p.log.Error("a batch cannot be decoded: its records are in the log but in no "+kind.file,
			"partition", partitionOf(p.snap), "first", u.First, "next", u.Next, "err", u.Err)
	}
	p.metrics.records.WithLabelValues(kind.name).Add(float64(out.records))
	return out, nil
}
