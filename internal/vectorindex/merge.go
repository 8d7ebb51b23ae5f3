package vectorindex

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
)

// ErrMerge means that shards cannot become one.
var ErrMerge = errors.New("these shards do not merge")

// Span is a range of offsets, from First up to but without Next.
type Span struct{ First, Next int64 }

// MergeOptions say what a merge makes.
type MergeOptions struct {
	// First is the first offset that is kept.
	First int64
	// Spans are, for each of the shards, the offsets that are kept of it; nil: all.
	Spans []Span
	// Keep says which documents are kept; nil: all.
	Keep func(offset int64) bool
	// Unfit is called for each document that is left out since Encoding cannot hold
	// its vector; nil: such a vector ends the merge, with ErrVector.
	Unfit func(offset int64)
	// Metric and Encoding are those of the new shard; 0: those that all the shards
	// have. Vectors that are kept otherwise are written anew, of what is kept of them.
	Metric   Metric
	Encoding Encoding
	// Kind, M, EfConstruction, FlatMax, ListRows, Seed and Workers are as for a
	// Builder; the rest is that of the shards.
	Kind              Kind
	M, EfConstruction int
	FlatMax, ListRows int
	Seed              uint64
	Workers           int
}

// Merge writes one shard of several, or of one, of the same model and dimensions,
// whose offsets do not overlap. Nothing is embedded again.
//
// If the largest of those with the new metric and encoding has lists, they stay:
// its rows keep their codes, the others' are given to the lists that they are
// nearest to, and lists that have grown too long are split. Else lists are made of
// all. What it holds in memory is about MergeBytes for each vector. It ends soon after its context
// does.
func Merge(ctx context.Context, out io.Writer, files []*File, o MergeOptions) (Result, error) {
	m, err := newMerger(files, o)
	if err != nil {
		return Result{}, err
	}
	rows := 0
	for _, f := range files {
		rows += f.footer.rows
	}
	m.in.table = make([]byte, 0, rows*recordBytes(m.stored.dimensions, false))
	for i := range files {
		if err := m.read(ctx, i); err != nil {
			return Result{}, err
		}
	}
	if len(m.in.documents) == 0 {
		return Result{}, ErrEmpty
	}
	slices.SortFunc(m.in.documents, func(a, b document) int { return cmp.Compare(a.offset, b.offset) })
	for i := 1; i < len(m.in.documents); i++ {
		if a := m.in.documents[i]; a.offset == m.in.documents[i-1].offset {
			return Result{}, fmt.Errorf("offset %d is there twice: %w", a.offset, ErrMerge)
		}
	}
	m.same = nil
	m.encode(ctx)
	m.in.firsts()
	s, err := build(ctx, &m.in)
	if err != nil {
		return Result{}, err
	}
	return s.write(out)
}

// merger collects the rows of shards.
type merger struct {
	in      input
	options MergeOptions
	files   []*File
	base    int // the shard whose mean and lists stay; −1: none
	stored  stored
	rows    joined
	same    map[uint64]uint32
	seed    maphash.Seed
	// moved are rows whose codes are to be made: those of other shards than base.
	moved []uint32
	sums  []float64
}

// MergeBytes is about how much memory a merge into such a shard takes for each
// vector, but for a few megabytes that writing takes: its record, its place in the
// graph, and the vector as shards that are not Bytes have it.
func (o Options) MergeBytes() int64 {
	s := stored{o.Encoding, o.Dimensions}
	n := recordBytes(o.Dimensions, false) + s.bytes() + crcBytes + perMergedRow + perDocument
	if o.Encoding == Binary {
		n += recordBytes(o.Dimensions, true)
	}
	if o.Kind == HNSW {
		n += 12 * o.M
	}
	return int64(n)
}

// perMergedRow is what a row takes in the lists, maps and orders of a merge.
const perMergedRow = 80

// joined are vectors of several shards.
type joined struct {
	size  int
	parts [][]byte // of each shard, with CRCs
	of    []place
}

// place is where a row was.
type place struct {
	file int
	row  uint32
}

func (j *joined) vector(row uint32) ([]byte, error) {
	p := j.of[row]
	return j.parts[p.file][int(p.row)*(j.size+crcBytes):][:j.size:j.size], nil
}

func newMerger(files []*File, o MergeOptions) (*merger, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("no shards: %w", ErrMerge)
	}
	if o.Spans != nil && len(o.Spans) != len(files) {
		return nil, fmt.Errorf("%d spans of %d shards: %w", len(o.Spans), len(files), ErrMerge)
	}
	first := files[0].footer.options
	for _, f := range files {
		t := f.footer.options
		if t.Model != first.Model || t.Dimensions != first.Dimensions || o.Metric == 0 && t.Metric != first.Metric || o.Encoding == 0 && t.Encoding != first.Encoding {
			return nil, fmt.Errorf("%q, %d dimensions, %s, %s and %q, %d dimensions, %s, %s: %w", first.Model, first.Dimensions, first.Metric, first.Encoding, t.Model, t.Dimensions, t.Metric, t.Encoding, ErrMerge)
		}
	}
	first.Metric, first.Encoding = cmp.Or(o.Metric, first.Metric), cmp.Or(o.Encoding, first.Encoding)
	m := &merger{options: o, files: files, base: -1, same: make(map[uint64]uint32), seed: maphash.MakeSeed()}
	first.Kind, first.M, first.EfConstruction, first.FlatMax, first.ListRows, first.Seed, first.Workers = o.Kind, o.M, o.EfConstruction, o.FlatMax, o.ListRows, o.Seed, o.Workers
	var err error
	if m.in.options, err = first.withDefaults(); err != nil {
		return nil, err
	}
	m.stored = stored{first.Encoding, first.Dimensions}
	m.rows = joined{size: m.stored.bytes(), parts: make([][]byte, len(files))}
	m.in.vectors, m.sums = &m.rows, make([]float64, first.Dimensions)
	rows := 0
	for i, f := range files {
		rows += f.footer.rows
		if f.footer.kind != Flat && m.asKept(f) && f.space.metric == first.Metric && (m.base < 0 || f.footer.rows > files[m.base].footer.rows) {
			m.base = i
		}
	}
	// Lists of a few rows say little of many: they are made anew.
	if m.base >= 0 {
		if files[m.base].footer.rows*baseShare < rows {
			m.base = -1
		}
	}
	return m, nil
}

// baseShare is what part of all rows the largest shard has at least, if its lists
// are to stay: one of so many.
const baseShare = 3

// asKept reports whether a shard keeps vectors as the new one will.
func (m *merger) asKept(f *File) bool { return f.stored == m.stored }

// read takes the rows of a shard of which a document is kept.
func (m *merger) read(ctx context.Context, n int) error {
	f := m.files[n]
	var err error
	if m.rows.parts[n], err = m.readVectors(ctx, f); err != nil {
		return err
	}
	was := m.rows.parts[n] // as the shard has them
	if !m.asKept(f) || f.stored.encoding == Int8 {
		m.rows.parts[n] = make([]byte, f.footer.rows*(m.rows.size+crcBytes))
	}
	stride := recordBytes(f.stored.dimensions, false)
	v := make([]float32, f.stored.dimensions)
	for i := range f.footer.lists {
		if err := ctx.Err(); err != nil {
			return err
		}
		tables, err := f.tables(ctx, []uint32{uint32(i)})
		if err != nil {
			return err
		}
		t := tables[0]
		for row := t.first; row < t.next; row++ {
			record := t.record(f.space, row)
			before := len(m.in.documents)
			m.document(n, documentOf(record, row))
			for _, d := range t.copies[row] {
				m.document(n, d)
			}
			if before == len(m.in.documents) {
				continue
			}
			err := m.vector(n, was, record, row, v)
			if errors.Is(err, ErrVector) && m.options.Unfit != nil {
				for _, d := range m.in.documents[before:] {
					m.options.Unfit(d.offset)
				}
				m.in.documents = m.in.documents[:before]
				continue
			}
			if err != nil {
				return err
			}
			to, known := m.row(place{n, row})
			for j := before; j < len(m.in.documents); j++ {
				m.in.documents[j].row = to
			}
			if known {
				continue
			}
			m.in.table = append(m.in.table, make([]byte, stride)...)
			if n == m.base && !f.space.bits {
				copy(m.in.table[int(to)*stride:], record)
				continue
			}
			m.moved = append(m.moved, to)
			vector, _ := m.rows.vector(to) // of one in memory: has no errors
			m.stored.decode(v, vector)
			addTo(m.sums, m.in.options.Metric, v)
		}
	}
	return nil
}

// document takes one of a shard, if it is kept.
func (m *merger) document(n int, d document) {
	if m.options.Spans != nil && (d.offset < m.options.Spans[n].First || d.offset >= m.options.Spans[n].Next) {
		return
	}
	if d.offset >= m.options.First && (m.options.Keep == nil || m.options.Keep(d.offset)) {
		m.in.documents = append(m.in.documents, d)
	}
}

// readVectors returns a shard's section of vectors; nil of one whose records have
// it all.
func (m *merger) readVectors(ctx context.Context, f *File) ([]byte, error) {
	if f.stored.encoding == Int8 {
		return nil, nil
	}
	return f.bytes(ctx, f.footer.vectors)
}

// vector checks the vector of a row, and puts into its place what is kept of it,
// where that is not as it was. v is scratch.
func (m *merger) vector(n int, was, record []byte, row uint32, v []float32) error {
	f := m.files[n]
	size := m.rows.size + crcBytes
	to := m.rows.parts[n][int(row)*size:][:m.rows.size]
	if f.stored.encoding == Int8 {
		if m.asKept(f) {
			putFloat(to, f.scaleOf(record))
			copy(to[4:], record[atCode:atCode+f.stored.dimensions])
			return nil
		}
		f.decodeRecord(v, record)
		return m.stored.encode(to, v)
	}
	old := f.stored.bytes() + crcBytes
	vector, err := f.vectorOf(row, was[int(row)*old:][:old])
	if err != nil || m.asKept(f) {
		return err
	}
	f.stored.decode(v, vector)
	return m.stored.encode(to, v)
}

// row returns the new row of a vector, and whether it was there already.
func (m *merger) row(p place) (uint32, bool) {
	to := uint32(len(m.rows.of))
	m.rows.of = append(m.rows.of, p)
	vector, _ := m.rows.vector(to) // of one in memory: has no errors
	hash := maphash.Bytes(m.seed, vector)
	if row, ok := m.same[hash]; ok {
		if other, _ := m.rows.vector(row); string(other) == string(vector) { // as above
			m.rows.of = m.rows.of[:to]
			return row, true
		}
	}
	m.same[hash] = to
	return to, false
}

// encode makes the codes of all rows that do not keep theirs, while its context lasts.
func (m *merger) encode(ctx context.Context) {
	in := &m.in
	in.rows = len(m.rows.of)
	in.mean = meanOf(in.options, m.sums, max(len(m.moved), 1))
	if m.base >= 0 {
		base := m.files[m.base]
		middles := base.middles // a copy: clustering adds to it
		in.mean, in.middles = base.footer.mean, &middles
	}
	of := newSpace(in.options.Metric, false, in.mean)
	parallel(in.options.Workers, len(m.moved), func(first, next int) {
		v, scratch := make([]float32, m.stored.dimensions), make([]float32, m.stored.dimensions)
		for i, row := range m.moved[first:next] {
			if i%looksEvery == 0 && ctx.Err() != nil {
				return
			}
			vector, _ := m.rows.vector(row) // of one in memory: has no errors
			m.stored.decode(v, vector)
			of.encode(in.table[int(row)*of.stride:][:of.stride], v, scratch)
		}
	})
	// Copies are counted anew.
	for row := range in.rows {
		binary.LittleEndian.PutUint32(in.table[row*of.stride+atCopies:], 0)
	}
}
