package vectorindex

import (
	"context"
	"slices"
	"sort"
)

// Bounds of what Vectors holds at once.
const (
	readWaveBytes = 8 << 20
	pickedMax     = 1 << 16 // documents
	pickedShare   = 8       // of a shard's documents, up to one of so many
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
	r := &vectorReader{File: f, sieve: s, take: take, v: make([]float32, f.stored.dimensions)}
	if !s.all {
		documents, ok, err := f.few(ctx, s, int(min(pickedMax, f.footer.documents/pickedShare)))
		if err != nil {
			return err
		}
		if ok {
			return r.picked(ctx, documents)
		}
	}
	return r.lists(ctx)
}

// vectorReader is one reading of vectors.
type vectorReader struct {
	*File
	sieve *sieve
	take  func(int64, []float32) error
	v     []float32
}

// wave is how many vectors are read at once.
func (r *vectorReader) wave() int { return max(1, readWaveBytes/(r.stored.bytes()+crcBytes)) }

// picked reads the vectors of some documents.
func (r *vectorReader) picked(ctx context.Context, documents []document) error {
	slices.SortStableFunc(documents, func(a, b document) int { return int(int64(a.row) - int64(b.row)) })
	if r.stored.encoding == Int8 {
		return r.pickedCodes(ctx, documents)
	}
	for len(documents) > 0 {
		var rows []uint32
		n := 0
		for ; n < len(documents); n++ {
			if row := documents[n].row; len(rows) == 0 || rows[len(rows)-1] != row {
				if len(rows) == r.wave() {
					break
				}
				rows = append(rows, row)
			}
		}
		vectors, err := r.exact(ctx, rows)
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
		n := sort.Search(len(r.footer.lists), func(i int) bool { return r.footer.lists[i].next > documents[0].row })
		tables, err := r.tables(ctx, []uint32{uint32(n)})
		if err != nil {
			return err
		}
		for t := tables[0]; len(documents) > 0 && documents[0].row < t.next; documents = documents[1:] {
			r.decodeRecord(r.v, t.record(r.space, documents[0].row))
			if err := r.take(documents[0].offset, r.v); err != nil {
				return err
			}
		}
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
	scale := float32(float64(getFloat(record[atScale:])) * factorOf(f.space.metric, getFloat(record[atNorm:])))
	decodeCodes(v, scale, record[atCode:])
}
