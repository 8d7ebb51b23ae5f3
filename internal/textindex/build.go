package textindex

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
)

// Write writes the records of a Memory as a file: docs/formats/split.md. Nothing
// is appended to it meanwhile.
func (m *Memory) Write(out io.Writer) (Result, error) {
	m.mu.Lock() // order changes what snapshots share
	defer m.mu.Unlock()
	w, err := newFileWriter(out)
	if err != nil {
		return Result{}, err
	}
	w.footer.bounds = m.bounds
	w.footer.bounds.Documents = m.documents
	w.footer.analyzer = m.options.Analyzer.Name()
	w.footer.overflow = m.overflow

	fields := make([]*field, 0, len(m.fields))
	for _, f := range m.fields {
		if f.Documents > 0 {
			fields = append(fields, f)
		}
	}
	slices.SortFunc(fields, func(a, b *field) int { return a.Field.compare(b.Field) })
	b := &build{Memory: m, w: w}
	for _, f := range fields {
		b.field(f)
	}
	if m.options.Source {
		s := sourceWriter{w: w}
		for n := range m.documents {
			s.add(m.sources.get(n))
		}
		s.finish()
	}
	return w.finish()
}

// build writes the fields of a Memory.
type build struct {
	*Memory
	w       *fileWriter
	raw     []byte
	list    list
	lengths []uint32 // of the current field, by document
}

func (b *build) field(f *field) {
	stats, values := f.Stats, f.values
	if f.terms != nil {
		f.order = f.terms.sorted(f.order, f.terms.count())
		b.w.terms.reset(f.Kind)
		if f.Kind == Text {
			b.measure(f)
		}
		for _, n := range f.order {
			b.term(f, n)
		}
	}
	if f.Kind == Keyword {
		stats.Least, stats.Greatest = 0, stats.Distinct-1
		values = f.ordinals()
	}
	b.w.field(stats, f.docs, values)
}

// measure fills lengths.
func (b *build) measure(f *field) {
	b.lengths = slices.Grow(b.lengths[:0], int(b.documents))[:b.documents]
	for i, d := range f.docs {
		b.lengths[d] = uint32(f.values[i])
	}
}

func (b *build) term(f *field, n uint32) {
	b.raw = b.arena.read(b.raw[:0], f.terms.lists[n].chain)
	b.list.read(b.raw, f.Kind, Positions, math.MaxUint32)
	if f.Kind == Text && len(b.list.docs) > 1 {
		b.list.bind(func(doc uint32) uint32 { return b.lengths[doc] })
	}
	b.w.terms.add(f.terms.term(n), &b.list)
}

// ordinals returns the column of a keyword field with ordinals for its terms'
// numbers. The field's terms are in order.
func (f *field) ordinals() []int64 {
	ranks := make([]int64, len(f.order))
	for i, n := range f.order {
		ranks[n] = int64(i)
	}
	values := make([]int64, len(f.docs))
	for i := range f.docs {
		values[i] = ranks[f.values[i]]
	}
	sortByDocument(f.docs, values)
	return values
}

// sortByDocument sorts the values of each document.
func sortByDocument(docs []uint32, values []int64) {
	for first := 0; first < len(docs); {
		next := first + 1
		for next < len(docs) && docs[next] == docs[first] {
			next++
		}
		if next-first > 1 {
			slices.Sort(values[first:next])
		}
		first = next
	}
}

// sourceWriter writes records in frames of zstd, and where each is.
//
//	index: frames u, for each: records u · bytes of the frame u · of its content u
//	content, for each record: key length + 1 u, or 0 for null · value length + 1 u, or 0 · key · value
type sourceWriter struct {
	w       *fileWriter
	content []byte
	frame   []byte
	records int
	frames  int
	index   []byte
	bytes   int64
}

func (s *sourceWriter) add(r Source) {
	for _, b := range [][]byte{r.Key, r.Value} {
		n := uint64(0)
		if b != nil {
			n = uint64(len(b)) + 1
		}
		s.content = binary.AppendUvarint(s.content, n)
	}
	s.content = append(append(s.content, r.Key...), r.Value...)
	if s.records++; len(s.content) >= sourceBytes {
		s.flush()
	}
}

func (s *sourceWriter) flush() {
	if s.records == 0 {
		return
	}
	s.frame = s.w.terms.encoder.EncodeAll(s.content, s.frame[:0])
	s.w.write(s.frame)
	s.bytes += int64(len(s.frame))
	s.index = binary.AppendUvarint(s.index, uint64(s.records))
	s.index = binary.AppendUvarint(s.index, uint64(len(s.frame)))
	s.index = binary.AppendUvarint(s.index, uint64(len(s.content)))
	s.frames++
	s.content, s.records = s.content[:0], 0
}

func (s *sourceWriter) finish() {
	s.flush()
	s.w.footer.sources.length = s.bytes
	if s.bytes > 0 {
		s.w.footer.sourceAt = s.w.write(append(binary.AppendUvarint(nil, uint64(s.frames)), s.index...))
	}
}
