package textindex

import (
	"encoding/binary"
	"math/bits"

	"github.com/chronik-stream/chronik/internal/format"
)

// A run is up to some hundreds of numbers that are read together: their least
// one, if that helps, and the distances from it in equally many bits; or, if a
// few large ones would cost the others too many bits, varints.
//
//	head: width (0 … 32) · runLeast if the least one follows; or runVarints
//	least u · bits     or     numbers u
const (
	runLeast   = 0x40
	runVarints = 0x7F
)

// appendRun appends numbers. The reader knows how many.
func appendRun(to []byte, values []uint32) []byte {
	least, most, plain := values[0], values[0], 0
	for _, v := range values {
		least, most = min(least, v), max(most, v)
		plain += uvarintBytes(v)
	}
	if bits.Len32(most-least) == bits.Len32(most) {
		least = 0 // it saves nothing
	}
	width := bits.Len32(most - least)
	size := bitsBytes(len(values), width)
	if least > 0 {
		size += uvarintBytes(least)
	}
	if plain < size {
		to = append(to, runVarints)
		for _, v := range values {
			to = binary.AppendUvarint(to, uint64(v))
		}
		return to
	}
	if least == 0 {
		to = append(to, byte(width))
	} else {
		to = binary.AppendUvarint(append(to, byte(width)|runLeast), uint64(least))
	}
	if width == 0 {
		return to
	}
	var word uint64
	used := 0
	for _, v := range values {
		word |= uint64(v-least) << used
		if used += width; used >= 32 {
			to = binary.LittleEndian.AppendUint32(to, uint32(word))
			word >>= 32
			used -= 32
		}
	}
	for ; used > 0; used -= 8 {
		to = append(to, byte(word))
		word >>= 8
	}
	return to
}

func uvarintBytes(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }

// readRun reads as many numbers as to has room for.
func readRun(d *format.Decoder, to []uint32) {
	head := d.Byte()
	if head == runVarints {
		for i := range to {
			to[i] = uint32(d.Uvarint(1<<32 - 1))
		}
		return
	}
	least, width := uint32(0), int(head&^runLeast)
	if width > 32 {
		d.Fail("width of %d bits", width)
		return
	}
	if head&runLeast != 0 {
		least = uint32(d.Uvarint(1<<32 - 1))
	}
	data := d.Bytes(bitsBytes(len(to), width))
	if width == 0 || d.Failed() {
		for i := range to {
			to[i] = least
		}
		return
	}
	mask := uint64(1)<<width - 1
	var word uint64
	have := 0
	for i := range to {
		if have < width {
			if len(data) >= 4 {
				word |= uint64(binary.LittleEndian.Uint32(data)) << have
				data = data[4:]
				have += 32
			} else {
				for ; len(data) > 0; data = data[1:] {
					word |= uint64(data[0]) << have
					have += 8
				}
			}
		}
		to[i] = least + uint32(word&mask)
		word >>= width
		have -= width
	}
}
