package vectorindex

import (
	"context"
	"slices"
	"sort"
)

// Bounds of what is held at once.
const (
	readWaveBytes = 8 << 20
	pickedMax     = 1 << 16 // documents that Vectors finds by their offsets

	// Of more vectors than a search judges, a request takes longer than what lies
	// between them.
	manyVectors   = 2000
	manyVectorGap = 64 << 10
)

// Vectors hands over the vectors of all documents that pass a filter, as they are
// kept: in the order in which they lie in the shard, which is that of offsets in
// none but the smallest. Documents with the same vector are handed over one after
// another. What take gets is its own only until it returns.
//
// It is read in waves of a few megabytes; vectors that lie near one another are
// read at once. Few of many documents are found by their offsets, else the lists
// are gone through.
func (f *File) Vectors(ctx context.Context, filter Filter, take func(offset int64, vector []float32) error) error {
	s := f.sieve(filter)
	if s.none {
		return nil
	}
	r := f.vectorReader(s, take)
	if !s.all {
		documents, ok, err := f.few(ctx, s, pickedMax)
		if err != nil {
			return err
		}
		if ok {
			return r.picked(ctx, documents)
		}
	}
	return r.lists(ctx)
}

// VectorsInOrder is Vectors in the order of offsets. It is for shards that are
// mapped: of lists, what is at hand of one offset is nowhere near that of the next.
func (f *File) VectorsInOrder(ctx context.Context, filter Filter, take func(offset int64, vector []float32) error) error {
	s := f.sieve(filter)
	for i := range f.footer.blocks {
		k := &f.footer.blocks[i]
		if !s.overlaps(k.bounds) {
			continue
		}
		data, err := f.read(ctx, k.part)
		if err != nil {
			return err
		}
		var documents []document
		err = f.documents(k, data, func(d document) {
			if s.passes(d) {
				documents = append(documents, d)
			}
		})
		if err != nil {
			return err
		}
		for len(documents) > 0 {
			r := f.vectorReader(s, take)
			n := min(len(documents), r.wave())
			if err := r.ordered(ctx, documents[:n]); err != nil {
				return err
			}
			documents = documents[n:]
		}
	}
	return nil
}

// ordered hands over some documents in the order of their offsets, in which they
// come.
func (r *vectorReader) ordered(ctx context.Context, documents []document) error {
	place := make(map[int64]int, len(documents))
	for i, d := range documents {
		place[d.offset] = i
	}
	size := len(r.v)
	all := make([]float32, len(documents)*size)
	take := r.take
	r.take = func(offset int64, vector []float32) error {
		copy(all[place[offset]*size:], vector)
		return nil
	}
	if err := r.picked(ctx, slices.Clone(documents)); err != nil {
		return err
	}
	for i, d := range documents {
		if err := take(d.offset, all[i*size:][:size:size]); err != nil {
			return err
		}
	}
	return nil
}

// vectorReader is one reading of vectors.
type vectorReader struct {
	*File
	sieve *sieve
	take  func(int64, []float32) error
	v     []float32
}

func (f *File) vectorReader(s *sieve, take func(int64, []float32) error) *vectorReader {
	return &vectorReader{File: f, sieve: s, take: take, v: make([]float32, f.stored.dimensions)}
}

// wave is how many vectors are read at once.
func (r *vectorReader) wave() int { return max(1, readWaveBytes/(r.stored.bytes()+crcBytes)) }

// picked reads the vectors of some documents.
func (r *vectorReader) picked(ctx context.Context, documents []document) error {
	slices.SortStableFunc(documents, func(a, b document) int { return int(int64(a.row) - int64(b.row)) })
	if r.stored.encoding == Int8 {
		return r.pickedCodes(ctx, documents)
	}
	gap := int64(vectorGap)
	if len(documents) > manyVectors {
		gap = manyVectorGap
	}
	size := int64(r.stored.bytes() + crcBytes)
	for len(documents) > 0 {
		var rows []uint32
		n, bytes := 0, int64(0)
		for ; n < len(documents); n++ {
			row := documents[n].row
			if last := len(rows) - 1; last >= 0 && rows[last] == row {
				continue
			} else if last >= 0 {
				bytes += min(int64(row-rows[last])*size, gap)
			}
			if bytes > readWaveBytes {
				break
			}
			rows, bytes = append(rows, row), bytes+size
		}
		vectors, err := r.exactly(ctx, rows, gap)
		if err != nil {
			return err
		}
		wave := documents[:n]
		for i, row := range rows {
			r.stored.decode(r.v, vectors[i])
			for len(wave) > 0 && wave[0].row == row {
				if err := r.take(wave[0].offset, r.v); err != nil {
					return err
				}
				wave = wave[1:]
			}
		}
		documents = documents[n:]
	}
	return nil
}

// pickedCodes is picked for a shard that has nothing but records.
func (r *vectorReader) pickedCodes(ctx context.Context, documents []document) error {
	for len(documents) > 0 {
		var wave []uint32
		bytes, n := int64(0), 0
		for ; n < len(documents); n++ {
			row, lists := documents[n].row, r.footer.lists
			if len(wave) > 0 && row < lists[wave[len(wave)-1]].next {
				continue
			}
			if bytes > readWaveBytes {
				break
			}
			list := sort.Search(len(lists), func(i int) bool { return lists[i].next > row })
			wave, bytes = append(wave, uint32(list)), bytes+lists[list].rows.length
		}
		tables, err := r.tables(ctx, wave)
		if err != nil {
			return err
		}
		for _, d := range documents[:n] {
			for d.row >= tables[0].next {
				tables = tables[1:]
			}
			r.decodeRecord(r.v, tables[0].record(r.space, d.row))
			if err := r.take(d.offset, r.v); err != nil {
				return err
			}
		}
		documents = documents[n:]
	}
	return nil
}

// lists goes through all lists of which a document may pass.
func (r *vectorReader) lists(ctx context.Context) error {
	var wave []uint32
	bytes := int64(0)
	for n := range r.footer.lists {
		l := &r.footer.lists[n]
		if !r.sieve.overlaps(l.bounds) {
			continue
		}
		if bytes += l.rows.length + l.copies.length; len(wave) > 0 && bytes > readWaveBytes {
			if err := r.list(ctx, wave); err != nil {
				return err
			}
			wave, bytes = wave[:0], l.rows.length+l.copies.length
		}
		wave = append(wave, uint32(n))
	}
	return r.list(ctx, wave)
}

// list goes through some lists.
func (r *vectorReader) list(ctx context.Context, lists []uint32) error {
	tables, err := r.tables(ctx, lists)
	if err != nil {
		return err
	}
	rows := make([]uint32, 0, r.wave())
	for i, t := range tables {
		for row := t.first; row < t.next; row++ {
			if r.sieve.row(t, r.space, row) {
				rows = append(rows, row)
			}
			if last := i == len(tables)-1 && row == t.next-1; len(rows) == cap(rows) || last && len(rows) > 0 {
				if err := r.rows(ctx, tables, rows); err != nil {
					return err
				}
				rows = rows[:0]
			}
		}
	}
	return ctx.Err()
}

// rows hands over the documents of rows, which rise and are in these tables.
func (r *vectorReader) rows(ctx context.Context, tables []*table, rows []uint32) error {
	vectors, err := r.exact(ctx, rows)
	if err != nil {
		return err
	}
	for i, row := range rows {
		for row >= tables[0].next {
			tables = tables[1:]
		}
		t := tables[0]
		record := t.record(r.space, row)
		if vectors == nil {
			r.decodeRecord(r.v, record)
		} else {
			r.stored.decode(r.v, vectors[i])
		}
		if d := documentOf(record, row); r.sieve.passes(d) {
			if err := r.take(d.offset, r.v); err != nil {
				return err
			}
		}
		for _, d := range t.copies[row] {
			if !r.sieve.passes(d) {
				continue
			}
			if err := r.take(d.offset, r.v); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeRecord makes a vector of a record, of a shard that has nothing else.
func (f *File) decodeRecord(v []float32, record []byte) {
	decodeCodes(v, f.scaleOf(record), record[atCode:])
}

// scaleOf is what a record's codes are to be multiplied with.
func (f *File) scaleOf(record []byte) float32 {
	return float32(float64(getFloat(record[atScale:])) * factorOf(f.space.metric, getFloat(record[atNorm:])))
}
