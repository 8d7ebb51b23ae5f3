package textindex

import (
	"encoding/binary"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// section is a part of the file.
type section struct{ at, length int64 }

// fileField is what the footer says of a field.
type fileField struct {
	Stats
	dict, column, postings, positions section
	blocks                            []termBlock
}

// footer is all that is needed to find the rest.
type footer struct {
	bounds   Bounds
	analyzer string
	overflow int64
	fields   []fileField
	sources  section // zstd frames of records; none: they are not kept
	sourceAt section // where each record is
	pages    []uint32
}

// append encodes the footer. u is an unsigned varint, v a zig-zag one.
//
//	documents u · first offset v · next − first u · least timestamp v · greatest − least u
//	analyzer: length u, name · overflow u
//	records: bytes of frames u, and if there are any bytes of their index u
//	fields u, for each:
//	    name: length u, name · kind · documents u · values u · terms u · least v · greatest − least u
//	    column u; Text, Keyword: dictionary u, postings u; Text: positions u (bytes of each)
//	    Text, Keyword: blocks u, for each: terms u · bytes u ·
//	        its first term, cut: shared with that of the block before u · rest: length u, bytes
//	pages u, CRC-32C of each (4)
func (f *footer) append(b []byte) []byte {
	u := func(v int64) { b = binary.AppendUvarint(b, uint64(v)) }
	v := func(v int64) { b = binary.AppendVarint(b, v) }
	u(int64(f.bounds.Documents))
	v(f.bounds.First)
	u(f.bounds.Next - f.bounds.First)
	v(f.bounds.TimestampMin)
	u(f.bounds.TimestampMax - f.bounds.TimestampMin)
	b = format.AppendString(b, f.analyzer)
	u(f.overflow)
	u(f.sources.length)
	if f.sources.length > 0 {
		u(f.sourceAt.length)
	}
	u(int64(len(f.fields)))
	for _, field := range f.fields {
		b = format.AppendString(b, field.Name)
		b = append(b, byte(field.Kind))
		u(field.Documents)
		u(field.Values)
		u(field.Terms)
		v(field.Least)
		u(field.Greatest - field.Least)
		u(field.column.length)
		if !field.Kind.HasTerms() {
			continue
		}
		u(field.dict.length)
		u(field.postings.length)
		if field.Kind == Text {
			u(field.positions.length)
		}
		u(int64(len(field.blocks)))
		var before []byte
		for _, block := range field.blocks {
			u(int64(block.entries))
			u(int64(block.length))
			shared := common(before, block.first)
			u(int64(shared))
			b = format.AppendString(b, block.first[shared:])
			before = block.first
		}
	}
	u(int64(len(f.pages)))
	for _, crc := range f.pages {
		b = binary.LittleEndian.AppendUint32(b, crc)
	}
	return b
}

// parseFooter decodes the footer of a file whose body has so many bytes.
func parseFooter(data []byte, body int64) (*footer, error) {
	d := format.NewDecoder(data)
	u := func() int64 { return int64(d.Uvarint(math.MaxInt64)) }
	f := &footer{}
	f.bounds.Documents = uint32(d.Uvarint(documentsMax))
	f.bounds.First = d.Varint()
	f.bounds.Next = f.bounds.First + u()
	f.bounds.TimestampMin = d.Varint()
	f.bounds.TimestampMax = f.bounds.TimestampMin + int64(d.Uvarint(math.MaxUint64))
	f.analyzer = d.String()
	f.overflow = u()

	at := int64(headerBytes)
	take := func(length int64) section {
		s := section{at, length}
		if length > body-at {
			d.Fail("a section of %d bytes at byte %d of %d", length, at, body)
			return section{}
		}
		at += length
		return s
	}
	sources, sourceAt := u(), int64(0)
	if sources > 0 {
		sourceAt = u()
	}
	for n := d.Count(); n > 0 && !d.Failed(); n-- {
		field := parseField(d, u, take)
		if field.Documents > int64(f.bounds.Documents) {
			d.Fail("%d of %d documents have field %s", field.Documents, f.bounds.Documents, field.Name)
		}
		if k := len(f.fields); k > 0 && f.fields[k-1].compare(field.Field) >= 0 {
			d.Fail("field %s after %s", field.Field, f.fields[k-1].Field)
		}
		f.fields = append(f.fields, field)
	}
	f.sources, f.sourceAt = take(sources), take(sourceAt)
	pages := d.Count()
	for range pages {
		crc := d.Bytes(4)
		if d.Failed() {
			break
		}
		f.pages = append(f.pages, binary.LittleEndian.Uint32(crc))
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	if at != body || int64(pages) != (body+pageBytes-1)/pageBytes {
		return nil, format.Corrupt(0, "sections end at byte %d, with %d pages; the body has %d bytes", at, pages, body)
	}
	return f, nil
}

func parseField(d *format.Decoder, u func() int64, take func(int64) section) fileField {
	var f fileField
	f.Name = d.String()
	if f.Kind = Kind(d.Byte()); !f.Kind.valid() {
		d.Fail("kind of field %d", f.Kind)
	}
	f.Documents, f.Values, f.Terms = u(), u(), u()
	f.Least = d.Varint()
	f.Greatest = f.Least + int64(d.Uvarint(math.MaxUint64))
	column := u()
	var dict, postings, positions int64
	if f.Kind.HasTerms() {
		dict, postings = u(), u()
		if f.Kind == Text {
			positions = u()
		}
		parseBlocks(d, &f, dict)
	}
	f.dict, f.column, f.postings, f.positions = take(dict), take(column), take(postings), take(positions)
	for i := range f.blocks {
		f.blocks[i].at += f.dict.at
	}
	return f
}

func parseBlocks(d *format.Decoder, f *fileField, dict int64) {
	var before []byte
	at, ordinal := int64(0), int64(0)
	for n := d.Count(); n > 0 && !d.Failed(); n-- {
		b := termBlock{entries: int(d.Uvarint(documentsMax)), length: int(d.Uvarint(math.MaxInt32)), at: at, ordinal: uint32(ordinal)}
		shared := int(d.Uvarint(uint64(len(before))))
		rest := d.Bytes(d.Count())
		b.first = append(append(make([]byte, 0, shared+len(rest)), before[:shared]...), rest...)
		before = b.first
		if at += int64(b.length); at > dict {
			d.Fail("blocks of %d bytes in a dictionary of %d", at, dict)
		}
		if ordinal += int64(b.entries); ordinal > documentsMax {
			d.Fail("%d terms", ordinal)
		}
		f.blocks = append(f.blocks, b)
	}
	f.Distinct = ordinal
	if at != dict && !d.Failed() {
		d.Fail("blocks of %d bytes in a dictionary of %d", at, dict)
	}
}
