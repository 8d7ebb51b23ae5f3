package textindex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
)

// ErrMerge means that splits cannot be merged: not what they contain is wrong,
// but what was asked.
var ErrMerge = errors.New("splits do not go together")

// MergeOptions say what of the splits is kept.
type MergeOptions struct {
	// First is where the log starts: documents below it are left out.
	First int64
	// Keep reports whether the record of an offset is kept; nil: all are.
	Keep func(offset int64) bool
	// FieldsMax bounds the fields of the result, each name and kind counted. 0: no bound.
	FieldsMax int
}

// Merge writes one split of several, whose offsets rise from one to the next. The
// records are not analysed again: terms, postings and columns are brought
// together as they are, field by field, so that the memory which it takes is that
// of the largest field.
func Merge(ctx context.Context, out io.Writer, files []*File, o MergeOptions) (Result, error) {
	if len(files) == 0 {
		return Result{}, fmt.Errorf("%w: there are none", ErrMerge)
	}
	before := files[0]
	for _, f := range files[1:] {
		if f.Analyzer() == before.Analyzer() && f.Bounds().Documents == 0 {
			continue // it need not know where it lies
		}
		if f.Bounds().First < before.Bounds().Next || f.Analyzer() != before.Analyzer() {
			return Result{}, fmt.Errorf("%w: [%d,%d) by analyzer %s, and then [%d,%d) by %s", ErrMerge, before.Bounds().First, before.Bounds().Next,
				before.Analyzer(), f.Bounds().First, f.Bounds().Next, f.Analyzer())
		}
		before = f
	}
	w, err := newFileWriter(out)
	if err != nil {
		return Result{}, err
	}
	m := &merge{w: w, files: files}
	if err := m.number(ctx, o); err != nil {
		return Result{}, err
	}
	fields := m.fields()
	if o.FieldsMax > 0 && len(fields) > o.FieldsMax {
		return Result{}, fmt.Errorf("%w: they have %d fields, at most %d are allowed", ErrMerge, len(fields), o.FieldsMax)
	}
	for _, f := range fields {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		if err := m.field(ctx, f); err != nil {
			return Result{}, fmt.Errorf("merge field %s: %w", f, err)
		}
	}
	if err := m.sources(ctx); err != nil {
		return Result{}, err
	}
	return w.finish()
}

type merge struct {
	w     *fileWriter
	files []*File
	// numbers are, for each file, those that its documents get; Done: left out.
	numbers [][]uint32
	lengths []uint32 // of the current field, by new number
	list    list
	scratch postingsScratch
}

// number decides which documents are kept.
func (m *merge) number(ctx context.Context, o MergeOptions) error {
	next := uint64(0)
	b := Bounds{TimestampMin: math.MaxInt64, TimestampMax: math.MinInt64}
	for _, f := range m.files {
		offsets, err := f.column(ctx, FieldOffset)
		if err != nil {
			return err
		}
		timestamps, err := f.column(ctx, FieldTimestamp)
		if err != nil {
			return err
		}
		n := f.Bounds().Documents
		if offsets.values.count != int(n) || timestamps.values.count != int(n) {
			return format.Corrupt(0, "%d documents have %d offsets and %d timestamps", n, offsets.values.count, timestamps.values.count)
		}
		numbers := make([]uint32, n)
		for doc := range numbers {
			offset := offsets.value(doc)
			if offset < o.First || o.Keep != nil && !o.Keep(offset) {
				numbers[doc] = Done
				continue
			}
			numbers[doc] = uint32(next)
			next++
			ms := timestamps.value(doc)
			b.TimestampMin, b.TimestampMax = min(b.TimestampMin, ms), max(b.TimestampMax, ms)
		}
		m.numbers = append(m.numbers, numbers)
		m.w.footer.overflow += f.Overflow()
	}
	if next > documentsMax {
		return fmt.Errorf("%w: they have %d documents", ErrMerge, next)
	}
	if next == 0 {
		b.TimestampMin, b.TimestampMax = 0, 0
	}
	b.Documents = uint32(next)
	b.First = max(m.files[0].Bounds().First, o.First)
	b.Next = b.First
	for _, f := range m.files {
		b.Next = max(b.Next, f.Bounds().Next)
	}
	m.w.footer.bounds = b
	m.w.footer.analyzer = m.files[0].Analyzer()
	return nil
}

// fields lists those of all files. Numbers at one path are Double if any are.
func (m *merge) fields() []Field {
	there := make(map[Field]bool)
	for _, file := range m.files {
		for _, f := range file.footer.fields {
			there[f.Field] = true
		}
	}
	var all []Field
	for f := range there {
		if f.Kind != Long || !there[Field{f.Name, Double}] {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, Field.compare)
	return all
}

// field writes a field.
func (m *merge) field(ctx context.Context, name Field) error {
	m.w.terms.reset(name.Kind)
	var ordinals [][]int64 // for each file, those that its terms get
	docs, values, err := m.column(ctx, name)
	if err != nil {
		return err
	}
	if name.Kind == Text {
		m.lengths = slices.Grow(m.lengths[:0], int(m.w.footer.bounds.Documents))[:m.w.footer.bounds.Documents]
		clear(m.lengths)
		for i, d := range docs {
			m.lengths[d] = uint32(values[i])
		}
	}
	if name.Kind.HasTerms() {
		if ordinals, err = m.terms(ctx, name); err != nil {
			return err
		}
	}
	if name.Kind == Keyword {
		if docs, values, err = m.ordinals(ctx, name, ordinals); err != nil {
			return err
		}
	}
	if len(docs) > 0 {
		m.w.field(statsOf(name, docs, values), docs, values)
	}
	return nil
}

func statsOf(name Field, docs []uint32, values []int64) Stats {
	s := Stats{Field: name, Values: int64(len(values)), Least: math.MaxInt64, Greatest: math.MinInt64}
	for i, v := range values {
		if i == 0 || docs[i] != docs[i-1] {
			s.Documents++
		}
		s.Least, s.Greatest = min(s.Least, v), max(s.Greatest, v)
		if name.Kind == Text {
			s.Terms += v
		}
	}
	return s
}

// column brings the values of a field together; of Keyword none.
func (m *merge) column(ctx context.Context, name Field) (docs []uint32, values []int64, err error) {
	for i, file := range m.files {
		for _, f := range file.footer.fields {
			widened := name.Kind == Double && f.Kind == Long
			if f.Name != name.Name || f.Kind != name.Kind && !widened || f.Kind == Keyword {
				continue
			}
			c, err := file.column(ctx, f.Field)
			if err != nil {
				return nil, nil, err
			}
			theirs, these := c.all()
			for k, d := range theirs {
				if n := m.numbers[i][d]; n != Done {
					v := these[k]
					if widened {
						v = SortableDouble(float64(v))
					}
					docs, values = append(docs, n), append(values, v)
				}
			}
		}
	}
	return docs, values, nil
}

// ordinals is column for Keyword, whose values change with the terms.
func (m *merge) ordinals(ctx context.Context, name Field, renamed [][]int64) (docs []uint32, values []int64, err error) {
	for i, file := range m.files {
		if file.field(name) == nil {
			continue
		}
		c, err := file.column(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		theirs, these := c.all()
		for k, d := range theirs {
			if these[k] < 0 || these[k] >= int64(len(renamed[i])) {
				return nil, nil, format.Corrupt(0, "ordinal %d of %d", these[k], len(renamed[i]))
			}
			if n := m.numbers[i][d]; n != Done {
				docs, values = append(docs, n), append(values, renamed[i][these[k]])
			}
		}
	}
	return docs, values, nil
}

// terms merges the terms of a field and their postings. It returns, for each
// file, the ordinals that its terms get.
func (m *merge) terms(ctx context.Context, name Field) ([][]int64, error) {
	renamed := make([][]int64, len(m.files))
	var streams []*termStream
	for i, file := range m.files {
		f := file.field(name)
		if f == nil {
			continue
		}
		s, err := newTermStream(ctx, file, f, i)
		if err != nil {
			return nil, err
		}
		renamed[i] = make([]int64, f.Distinct)
		if s.next(ctx) {
			streams = append(streams, s)
		} else if s.err != nil {
			return nil, s.err
		}
	}
	for len(streams) > 0 {
		least := streams[0].cursor.term
		for _, s := range streams[1:] {
			if bytes.Compare(s.cursor.term, least) < 0 {
				least = s.cursor.term
			}
		}
		m.list.clear()
		for _, s := range streams {
			if s.has = bytes.Equal(s.cursor.term, least); !s.has {
				continue
			}
			renamed[s.file][s.cursor.ordinal] = m.w.terms.count
			if err := m.scratch.read(&m.list, s, m.numbers[s.file]); err != nil {
				return nil, err
			}
		}
		m.list.end()
		if len(m.list.docs) > 0 {
			if name.Kind == Text && len(m.list.docs) > 1 {
				m.list.bind(func(doc uint32) uint32 { return m.lengths[doc] })
			}
			m.w.terms.add(least, &m.list)
		}
		kept := streams[:0]
		for _, s := range streams {
			if !s.has || s.next(ctx) {
				kept = append(kept, s)
			} else if s.err != nil {
				return nil, s.err
			}
		}
		streams = kept
	}
	return renamed, nil
}

// sources writes the records, if all files have them.
func (m *merge) sources(ctx context.Context) error {
	for _, f := range m.files {
		if f.footer.sources.length == 0 && f.Bounds().Documents > 0 {
			return nil
		}
	}
	s := sourceWriter{w: m.w}
	for i, f := range m.files {
		if f.Bounds().Documents == 0 {
			continue
		}
		frames, err := f.sourceFrames(ctx)
		if err != nil {
			return err
		}
		first := uint32(0)
		for _, fr := range frames {
			records, err := f.records(ctx, fr, first)
			if err != nil {
				return err
			}
			for n, r := range records {
				if m.numbers[i][first+uint32(n)] != Done {
					s.add(r)
				}
			}
			first = fr.next
		}
	}
	s.finish()
	return nil
}
