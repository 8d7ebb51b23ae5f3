package textindex

import (
	"encoding/binary"
	"math/bits"
	"sort"

	"github.com/chronik-stream/chronik/internal/format"
)

// packBlock is how many integers share a base and a width.
const packBlock = 512

// packTail is what lies after packed bits, so that any of them can be read as
// part of eight bytes.
const packTail = 8

// appendPacked appends integers so that each can be read alone: in blocks, each
// integer as its distance from the block's least in as many bits as the block's
// range has.
//
//	count u · for each block: least − that of the block before v · range u
//	bits of all blocks, each beginning at a byte · 8 bytes 0
func appendPacked(to []byte, values []int64) []byte {
	to = binary.AppendUvarint(to, uint64(len(values)))
	before := int64(0)
	for first := 0; first < len(values); first += packBlock {
		least, spread := span(values[first:min(first+packBlock, len(values))])
		to = binary.AppendVarint(to, least-before)
		to = binary.AppendUvarint(to, spread)
		before = least
	}
	for first := 0; first < len(values); first += packBlock {
		block := values[first:min(first+packBlock, len(values))]
		least, spread := span(block)
		to = appendBits(to, block, least, bits.Len64(spread))
	}
	return append(to, make([]byte, packTail)...)
}

func span(values []int64) (least int64, spread uint64) {
	least, most := values[0], values[0]
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	return least, uint64(most) - uint64(least)
}

// appendBits appends values less a base in width bits each, lowest bit first.
func appendBits(to []byte, values []int64, base int64, width int) []byte {
	if width == 0 {
		return to
	}
	var word uint64
	used := 0
	for _, v := range values {
		d := uint64(v) - uint64(base)
		word |= d << used
		if used += width; used >= 64 {
			to = binary.LittleEndian.AppendUint64(to, word)
			used -= 64
			word = d >> (width - used) // of a shift by 64, nothing is left
		}
	}
	for ; used > 0; used -= 8 {
		to = append(to, byte(word))
		word >>= 8
	}
	return to
}

// bitsBytes is how many bytes appendBits needs.
func bitsBytes(count, width int) int { return (count*width + 7) / 8 }

// packed is what appendPacked wrote. It refers to those bytes.
type packed struct {
	count  int
	least  []int64
	spread []uint64
	starts []int // of each block in bits
	bits   []byte
}

// parsePacked reads the head and takes the bits from the rest of what d has.
func parsePacked(d *format.Decoder, most int) *packed {
	p := &packed{count: int(d.Uvarint(uint64(most)))}
	blocks := (p.count + packBlock - 1) / packBlock
	before, at := int64(0), 0
	for b := range blocks {
		if d.Failed() {
			return p
		}
		before += d.Varint()
		spread := d.Uvarint(1<<64 - 1)
		p.least, p.spread, p.starts = append(p.least, before), append(p.spread, spread), append(p.starts, at)
		at += bitsBytes(min(p.count-b*packBlock, packBlock), bits.Len64(spread))
	}
	p.bits = d.Bytes(at + packTail)
	return p
}

// at returns integer i.
func (p *packed) at(i int) int64 {
	b := i / packBlock
	width := bits.Len64(p.spread[b])
	return p.least[b] + int64(extract(p.bits[p.starts[b]:], i%packBlock, width))
}

// extract reads integer i of those that have a width.
func extract(b []byte, i, width int) uint64 {
	bit := i * width
	b = b[bit>>3:]
	shift := bit & 7
	v := binary.LittleEndian.Uint64(b) >> shift
	if width+shift > 64 {
		v |= uint64(b[8]) << (64 - shift)
	}
	return v & (1<<width - 1)
}

// block decodes a block into to, and returns how many there are.
func (p *packed) block(to *[packBlock]int64, b int) int {
	n := min(p.count-b*packBlock, packBlock)
	width := bits.Len64(p.spread[b])
	least, data := p.least[b], p.bits[p.starts[b]:]
	for i := range n {
		to[i] = least + int64(extract(data, i, width))
	}
	return n
}

// greatest of a block.
func (p *packed) greatest(b int) int64 { return p.least[b] + int64(p.spread[b]) }

// search returns the first place of a rising array whose integer is at least v.
func (p *packed) search(v int64) int {
	b := sort.Search(len(p.least), func(b int) bool { return p.greatest(b) >= v })
	if b == len(p.least) {
		return p.count
	}
	first := b * packBlock
	n := min(p.count-first, packBlock)
	return first + sort.Search(n, func(i int) bool { return p.at(first+i) >= v })
}
