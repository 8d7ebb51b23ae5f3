package columnar

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/batch"
)

// fill walks all records a second time and writes them.
func fill(ctx context.Context, batches Batches, decoder *batch.Decoder, o Options, p *plan, create Create) ([]File, error) {
	if p.result.Records == 0 {
		return nil, nil
	}
	t := &table{
		options: o,
		plan:    p,
		create:  create,
		files:   make(map[int64]*output),
	}
	_, err := walk(ctx, batches, decoder, o.First, p.result.Next, func(r *batch.Record, appendTime bool) (bool, error) {
		return true, t.append(r, appendTime)
	})
	if err != nil {
		return nil, err
	}
	return t.close()
}

// table distributes records over the files of their time partitions.
type table struct {
	options Options
	plan    *plan
	create  Create
	files   map[int64]*output
	current *output
	bytes   int // in all row groups that are being filled
}

func (t *table) append(r *batch.Record, appendTime bool) error {
	number := t.options.Partitioning.number(r.Timestamp)
	if t.current == nil || t.current.number != number {
		f, err := t.file(number)
		if err != nil {
			return err
		}
		t.current = f
	}
	f := t.current
	if f.part.skip {
		return nil
	}
	t.bytes += f.append(r, appendTime)
	if from := t.options.Embeddings; from != nil {
		if err := f.vectors.append(len(f.offsets)-1, r.Offset, from); err != nil {
			return err
		}
	}
	if in := t.plan.fields; len(t.plan.columns) > 0 && in.object(r.Value) {
		f.appendFields(in)
	}
	switch {
	case len(f.offsets) >= t.options.RowGroupRows:
		return t.flush(f)
	case t.bytes >= t.options.RowGroupBytesMax:
		return t.flush(t.largest())
	}
	return nil
}

func (t *table) largest() *output {
	largest := t.current
	for _, f := range t.files {
		if f.bytes > largest.bytes {
			largest = f
		}
	}
	return largest
}

func (t *table) flush(f *output) error {
	t.bytes -= f.bytes
	if err := f.flush(); err != nil {
		return err
	}
	t.options.Pause()
	return nil
}

// file returns the file of a time partition, beginning it if need be.
func (t *table) file(number int64) (*output, error) {
	if f := t.files[number]; f != nil {
		return f, nil
	}
	p := t.plan.parts[number]
	if p == nil {
		return nil, fmt.Errorf("time partition %q came up in the second walk only: the batches changed", t.options.Partitioning.name(number))
	}
	f := &output{number: number, part: p, out: File{
		TimePartition: p.name,
		First:         math.MaxInt64,
		MinTimestamp:  math.MaxInt64,
		MaxTimestamp:  math.MinInt64,
		Columns:       t.plan.columns,
	}}
	if !p.skip {
		if err := f.begin(t.options, t.plan, t.create); err != nil {
			return nil, fmt.Errorf("begin file %q: %w", p.name, err)
		}
	}
	t.files[number] = f
	return f, nil
}

// close writes what is left and describes the files, in order of first row.
func (t *table) close() ([]File, error) {
	var out []File
	for _, f := range t.files {
		if f.part.skip {
			continue
		}
		if len(f.offsets) > 0 {
			if err := t.flush(f); err != nil {
				return nil, err
			}
		}
		if err := f.close(); err != nil {
			return nil, fmt.Errorf("close file %q: %w", f.part.name, err)
		}
		out = append(out, f.out)
	}
	slices.SortFunc(out, func(a, b File) int { return cmp.Compare(a.First, b.First) })
	return out, nil
}
