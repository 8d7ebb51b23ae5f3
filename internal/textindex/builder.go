package textindex

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
)

// Builder writes one split of any number of records within a bound of memory:
// what fills a part of it is written as a run, beside the records that come next,
// and the runs are merged at the end. It is for one goroutine; it uses others for
// the runs, unless Workers is 0.
type Builder struct {
	options Options
	bounds  BuilderBounds
	current *Memory
	sized   int // records since the memory of current was last looked at
	bytes   int // of these
	writing *errgroup.Group
	runs    []*bytes.Buffer
}

// BuilderBounds say how much a Builder takes.
type BuilderBounds struct {
	MemoryBytesMax int64 // of records that are not in a run; the runs, some 0.3 of the records, come on top
	Workers        int   // that write runs, beside the caller; each holds a part of the memory
}

// NewBuilder returns a Builder without records.
func NewBuilder(o Options, b BuilderBounds) *Builder {
	w := &Builder{options: o, bounds: b, writing: &errgroup.Group{}}
	if b.Workers > 0 {
		w.writing.SetLimit(b.Workers)
	}
	return w
}

// How much is appended between two looks at the memory: so many records, or so
// many bytes of them.
const (
	sizedEvery = 256
	sizedBytes = 1 << 20
)

// Append indexes a record. Offsets rise. After an error the Builder is of no use.
func (b *Builder) Append(r Record) error {
	if b.current == nil {
		b.current, b.sized, b.bytes = NewMemory(b.options), 0, 0
	}
	if err := b.current.Append(r); err != nil {
		return err
	}
	b.sized, b.bytes = b.sized+1, b.bytes+len(r.Value)
	if b.sized < sizedEvery && b.bytes < sizedBytes {
		return nil
	}
	b.sized, b.bytes = 0, 0
	if b.current.Bytes() > b.bounds.MemoryBytesMax/int64(b.bounds.Workers+1) {
		return b.flush()
	}
	return nil
}

// flush hands the current records to a worker, and waits if all have something.
func (b *Builder) flush() error {
	m, run := b.current, &bytes.Buffer{}
	b.current = nil
	b.runs = append(b.runs, run)
	if b.bounds.Workers == 0 {
		_, err := m.Write(run)
		return err
	}
	b.writing.Go(func() error {
		_, err := m.Write(run)
		return err
	})
	return nil
}

// Write writes the split of all records, of which there is one at least. Nothing
// is appended afterwards.
func (b *Builder) Write(ctx context.Context, out io.Writer) (Result, error) {
	if len(b.runs) == 0 && b.current != nil {
		return b.current.Write(out)
	}
	if b.current != nil {
		if err := b.flush(); err != nil {
			return Result{}, err
		}
	}
	if err := b.writing.Wait(); err != nil {
		return Result{}, err
	}
	files := make([]*File, len(b.runs))
	for i, run := range b.runs {
		var err error
		if files[i], err = Open(ctx, Bytes(run.Bytes()), 0); err != nil {
			return Result{}, fmt.Errorf("open a run that was just written: %w", err)
		}
	}
	return Merge(ctx, out, files, MergeOptions{})
}
