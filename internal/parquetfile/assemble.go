package parquetfile

import (
	"encoding/binary"
	"slices"
)

// head begins an assembled file. Behind the magic there is nothing that could be
// a page: chunks that were left out are said to be there, so that a reader that
// wants one after all fails.
const head = magic + "\x00\x00\x00\x00\x00\x00\x00\x00"

// Piece is a column chunk and its place in an assembled file.
type Piece struct {
	Group, Leaf int
	Range
	At int64
}

// Assembly is a plan for a file with some of the row groups and column chunks of
// another one: Head, then the pieces without gaps, then Tail. Readers find all
// columns in it, and fail at the values of those that were left out.
type Assembly struct {
	Head, Tail []byte
	Pieces     []Piece
	Size, Rows int64
}

// Assemble plans a file of some row groups, in order, with some leaves, by their
// places in Leaves.
func (f *Footer) Assemble(groups []int, leaves []bool) Assembly {
	a := Assembly{Head: []byte(head)}
	at := int64(len(head))
	var encoded [][]byte
	for i, g := range groups {
		from := &f.groups[g]
		a.Rows += from.rows
		begin := at
		columns := make([][]byte, len(from.chunks))
		for leaf := range columns {
			c := &from.chunks[leaf]
			position, shift := int64(len(magic)), int64(0)
			if leaves[leaf] {
				shift = at - c.begin
				position = at
				a.Pieces = append(a.Pieces, Piece{g, leaf, f.Chunk(g, leaf), at})
				at += c.length
			}
			columns[leaf] = c.moved(leaves[leaf], position, shift).append(nil)
		}
		moved := from.record.with(groupColumns, thriftList, encodedRecords(columns))
		if _, ok := moved.find(groupOffset); ok {
			moved = moved.with(groupOffset, thriftI64, encodedInt(begin))
		}
		if _, ok := moved.find(groupCompressed); ok {
			moved = moved.with(groupCompressed, thriftI64, encodedInt(at-begin))
		}
		if _, ok := moved.find(groupOrdinal); ok {
			moved = moved.with(groupOrdinal, thriftI16, encodedInt(int64(i)))
		}
		encoded = append(encoded, moved.append(nil))
	}
	meta := f.meta.without(metaKeyValues).
		with(metaRows, thriftI64, encodedInt(a.Rows)).
		with(metaGroups, thriftList, encodedRecords(encoded))
	a.Tail = meta.append(nil)
	a.Tail = binary.LittleEndian.AppendUint32(a.Tail, uint32(len(a.Tail)))
	a.Tail = append(a.Tail, magic...)
	a.Size = at + int64(len(a.Tail))
	return a
}

// moved is a column chunk's entry for its new place. Filters and indexes stay
// behind.
func (c *chunk) moved(present bool, position, shift int64) record {
	meta := c.meta.without(columnBloom, columnBloomLength, columnIndexPage)
	if present {
		data, _ := meta.int(columnData)
		meta = meta.with(columnData, thriftI64, encodedInt(data+shift))
		if dictionary, ok := meta.int(columnDictionary); ok && dictionary > 0 {
			meta = meta.with(columnDictionary, thriftI64, encodedInt(dictionary+shift))
		}
	} else {
		meta = meta.without(columnDictionary).with(columnData, thriftI64, encodedInt(position)).
			with(columnCompressed, thriftI64, encodedInt(int64(len(head)-len(magic))))
	}
	outer := c.outer.without(chunkOffsetIndex, chunkOffsetIndexLength, chunkColumnIndex, chunkColumnIndexLength)
	if _, ok := outer.find(chunkOffset); ok {
		outer = outer.with(chunkOffset, thriftI64, encodedInt(position))
	}
	return outer.with(chunkMeta, thriftStruct, meta.append(nil))
}

// Fetch is one request for bytes of a file, which hold some pieces.
type Fetch struct {
	Offset, Length int64
	Pieces         []Piece // by Offset
}

// Fetches puts pieces together that lie close to each other: a request costs as
// much as some bytes do. What lies between them is at most a tenth of the two
// sides of a gap, and gapMax. No request is longer than lengthMax but for a piece
// that is.
func Fetches(pieces []Piece, gapMax, lengthMax int64) []Fetch {
	pieces = slices.Clone(pieces)
	slices.SortFunc(pieces, func(a, b Piece) int { return int(min(1, max(-1, a.Offset-b.Offset))) })
	var out []Fetch
	for _, p := range pieces {
		if n := len(out) - 1; n >= 0 {
			last := &out[n]
			gap := p.Offset - (last.Offset + last.Length)
			if gap >= 0 && gap <= min(gapMax, (last.Length+p.Length)/10) && p.End()-last.Offset <= lengthMax {
				last.Length = p.End() - last.Offset
				last.Pieces = append(last.Pieces, p)
				continue
			}
		}
		out = append(out, Fetch{p.Offset, p.Length, []Piece{p}})
	}
	return out
}
