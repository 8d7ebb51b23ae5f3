package textindex

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/format"
)

// File is a split at rest. It keeps its footer; all else is read when it is asked
// for, from where the file lies.
type File struct {
	pages  *pages
	footer *footer
	size   int64

	decoder func() (*zstd.Decoder, error)

	mu      sync.Mutex
	columns map[Field]*fileColumn // of a blob in memory
	frames  []frame               // of records, once they were asked for
}

// Open reads the footer of a file, which has so many bytes with its trailer, as
// Result.Footer said; 0 if that is not known.
func Open(ctx context.Context, b Blob, footerBytes int64) (*File, error) {
	size := b.Size()
	if size < headerBytes+trailerBytes {
		return nil, format.Corrupt(0, "a split of %d bytes", size)
	}
	if footerBytes <= 0 {
		footerBytes = footerGuess
	}
	footerBytes = min(max(footerBytes, trailerBytes), size-headerBytes)
	tail, err := blob.Footer(ctx, b, footerBytes, func(end []byte) (int64, error) { return parseTrailer(end, size) })
	if err != nil {
		return nil, err
	}
	length := int64(len(tail))
	body := size - length
	crc := binary.LittleEndian.Uint32(tail[length-12:])
	if crc32.Checksum(tail[:length-12], format.Castagnoli) != crc {
		return nil, format.Corrupt(body, "CRC of the footer")
	}
	f := &File{size: size, columns: make(map[Field]*fileColumn)}
	if f.footer, err = parseFooter(tail[:length-trailerBytes], body); err != nil {
		return nil, format.At("", body, err)
	}
	f.pages = newPages(b, body, f.footer.pages)
	f.decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(1<<30))
	})
	return f, nil
}

// parseTrailer returns the length of footer and trailer of a file, given its end.
func parseTrailer(tail []byte, size int64) (int64, error) {
	at := size - trailerBytes
	t := tail[len(tail)-trailerBytes:]
	if string(t[trailerBytes-len(magic):]) != magic {
		return 0, format.Corrupt(at, "no split ends here")
	}
	if t[4] != version {
		return 0, format.Version(at, int(t[4]), version)
	}
	length := int64(binary.LittleEndian.Uint32(t)) + trailerBytes
	if length > size-headerBytes {
		return 0, format.Corrupt(at, "a footer of %d bytes in a split of %d", length, size)
	}
	return length, nil
}

// Bounds implements Split.
func (f *File) Bounds() Bounds { return f.footer.bounds }

// Size is the length of the file.
func (f *File) Size() int64 { return f.size }

// Analyzer is the name of what made the terms of its text fields.
func (f *File) Analyzer() string { return f.footer.analyzer }

// Overflow counts the values that were left to FieldAll, by the limit of fields
// or since they do not fit their mapping.
func (f *File) Overflow() int64 { return f.footer.overflow }

// Fields implements Split.
func (f *File) Fields() []Stats {
	all := make([]Stats, len(f.footer.fields))
	for i := range all {
		all[i] = f.footer.fields[i].Stats
	}
	return all
}

func (f *File) field(name Field) *fileField {
	i, ok := slices.BinarySearchFunc(f.footer.fields, name, func(a fileField, b Field) int { return a.compare(b) })
	if !ok {
		return nil
	}
	return &f.footer.fields[i]
}

// Field implements Split.
func (f *File) Field(name Field) (Stats, bool) {
	if field := f.field(name); field != nil {
		return field.Stats, true
	}
	return Stats{Field: name}, false
}

// Column implements Split.
func (f *File) Column(ctx context.Context, name Field) (Column, error) {
	c, err := f.column(ctx, name)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (f *File) column(ctx context.Context, name Field) (*fileColumn, error) {
	field := f.field(name)
	if field == nil {
		return noValues(f.footer.bounds.Documents), nil
	}
	f.mu.Lock()
	c := f.columns[name]
	f.mu.Unlock()
	if c != nil {
		return c, nil
	}
	data, err := f.pages.read(ctx, field.column)
	if err != nil {
		return nil, err
	}
	c, err = parseColumn(data, f.footer.bounds.Documents)
	if err == nil && int64(c.there.count) != field.Documents {
		err = format.Corrupt(0, "%d documents have field %s, the footer says %d", c.there.count, name, field.Documents)
	}
	if err != nil {
		return nil, format.At("", field.column.at, err)
	}
	if f.pages.checked != nil { // it refers to the blob, and costs little
		f.mu.Lock()
		f.columns[name] = c
		f.mu.Unlock()
	}
	return c, nil
}

// noValues is the column of a field that no document has.
func noValues(documents uint32) *fileColumn {
	empty := &packed{}
	return &fileColumn{there: &presence{documents: documents, form: formList, list: empty}, values: empty, scale: scale{decimals: -1, factor: 1}}
}

// blockOf returns the block that has a term, if any has; −1 if it is below all.
func (f *fileField) blockOf(term []byte) int {
	i, found := slices.BinarySearchFunc(f.blocks, term, func(b termBlock, t []byte) int { return bytes.Compare(b.first, t) })
	if found {
		return i
	}
	return i - 1
}

// Lookup implements Split.
func (f *File) Lookup(ctx context.Context, name Field, wanted ...[]byte) ([]Term, error) {
	found := make([]Term, len(wanted))
	for i, w := range wanted {
		found[i] = Term{Field: name, Bytes: w}
	}
	field := f.field(name)
	if field == nil || len(field.blocks) == 0 {
		return found, nil
	}
	order := make([]int, len(wanted))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(wanted[a], wanted[b]) })
	blocks := f.blockReader(field)
	for _, i := range order {
		b := field.blockOf(wanted[i])
		if b < 0 {
			continue
		}
		cursor, err := blocks.open(ctx, b)
		if err != nil {
			return nil, err
		}
		for cursor.next() {
			if c := bytes.Compare(cursor.term, wanted[i]); c == 0 {
				found[i] = cursor.result(name)
				found[i].Ordinal = 0
				break
			} else if c > 0 {
				break
			}
		}
		if cursor.err != nil {
			return nil, cursor.err
		}
	}
	return found, nil
}

// TermsAt implements Split.
func (f *File) TermsAt(ctx context.Context, name Field, ordinals []uint32) iter.Seq2[Term, error] {
	return func(yield func(Term, error) bool) {
		field := f.field(name)
		if field == nil {
			return
		}
		blocks := f.blockReader(field)
		at, cursor := -1, &termCursor{}
		for _, o := range ordinals {
			if int64(o) >= field.Distinct {
				return
			}
			b, found := slices.BinarySearchFunc(field.blocks, o, func(b termBlock, o uint32) int { return cmp.Compare(b.ordinal, o) })
			if !found {
				b--
			}
			if b != at {
				var err error
				if cursor, err = blocks.open(ctx, b); err != nil {
					yield(Term{}, err)
					return
				}
				at = b
			}
			for (!cursor.begun || cursor.ordinal < o) && cursor.next() {
			}
			if cursor.err != nil {
				yield(Term{}, cursor.err)
				return
			}
			if !yield(cursor.shown(name), nil) {
				return
			}
		}
	}
}

// Terms implements Split.
func (f *File) Terms(ctx context.Context, name Field, a Automaton) iter.Seq2[Term, error] {
	return func(yield func(Term, error) bool) {
		field := f.field(name)
		if field == nil {
			return
		}
		if err := f.walk(ctx, field, a, func(t Term) bool { return yield(t, nil) }); err != nil {
			yield(Term{}, err)
		}
	}
}

// walk hands over the terms that an automaton accepts until it is told to stop.
func (f *File) walk(ctx context.Context, field *fileField, a Automaton, take func(Term) bool) error {
	blocks := f.blockReader(field)
	blocks.ahead = true
	w := newAutomatonWalk(a)
	for b := 0; b < len(field.blocks); {
		cursor, err := blocks.open(ctx, b)
		if err != nil {
			return err
		}
		skipped := -1
		for cursor.next() {
			accepted, beyond := w.step(cursor.term)
			if accepted && !take(cursor.shown(field.Field)) {
				return nil
			}
			if beyond == nil {
				continue
			}
			// No term below beyond is accepted: go on in the block that can have it.
			if len(beyond) == 0 {
				return nil
			}
			if skipped = field.blockOf(beyond); skipped > b {
				break
			}
		}
		if cursor.err != nil {
			return cursor.err
		}
		b = max(b+1, skipped)
	}
	return nil
}

// Postings implements Split.
func (f *File) Postings(ctx context.Context, t Term, need Need) (*Postings, error) {
	if t.Documents == 0 {
		return newPostings(&list{}), nil
	}
	if t.Documents == 1 {
		l := &list{}
		if err := l.readInline(t.inline, t.Field.Kind); err != nil {
			return nil, err
		}
		if l.docs[0] >= f.footer.bounds.Documents {
			return nil, format.Corrupt(0, "term %q is in document %d of %d", t.Bytes, l.docs[0], f.footer.bounds.Documents)
		}
		return newPostings(l), nil
	}
	data, err := f.pages.read(ctx, t.postings)
	if err != nil {
		return nil, err
	}
	p := &filePostings{kind: t.Field.Kind, need: need, count: int(t.Documents), limit: f.footer.bounds.Documents, positioned: -1}
	if need == Positions && t.Field.Kind == Text {
		if p.places, err = f.pages.read(ctx, t.positions); err != nil {
			return nil, err
		}
	}
	if err := p.parse(data); err != nil {
		return nil, format.At("", t.postings.at, err)
	}
	return newPostings(p), nil
}

// zstd returns the content of a frame.
func (f *File) zstd(frame []byte, length int) ([]byte, error) {
	decoder, err := f.decoder()
	if err != nil {
		return nil, fmt.Errorf("make a zstd decoder: %w", err)
	}
	content, err := decoder.DecodeAll(frame, make([]byte, 0, length))
	if err != nil || len(content) != length {
		return nil, format.Corrupt(0, "a frame of zstd has %d bytes instead of %d: %v", len(content), length, err)
	}
	return content, nil
}
