// Package kernel computes what a vector search spends its time on: products and
// distances of vectors, in the instructions that the processor has.
//
// A query is numbers, a row is bytes as they lie in a file, little-endian, at any
// address. Each kernel has a scalar twin, which is what other processors run and
// what the tests hold the others against. Kernels of integers give the same
// everywhere; those of floats add in an order of their own, so that the last
// digits depend on the processor. What is decided by them must bear that.
//
// A row that is too short is a mistake in the program, and panics as an index
// beyond a slice does.
package kernel

import "encoding/binary"

// DotF32 is the product of a query and a row of as many float32.
func DotF32(q []float32, row []byte) float32 {
	row = row[:4*len(q)]
	if len(q) == 0 {
		return 0
	}
	return dotF32(q, row)
}

// SquareF32 is the square of the distance between a query and a row of as many
// float32.
func SquareF32(q []float32, row []byte) float32 {
	row = row[:4*len(q)]
	if len(q) == 0 {
		return 0
	}
	return squareF32(q, row)
}

// DotF16 is DotF32 for a row of numbers of 16 bits, as IEEE 754 has them.
func DotF16(q []float32, row []byte) float32 {
	row = row[:2*len(q)]
	if len(q) == 0 {
		return 0
	}
	return dotF16(q, row)
}

// SquareF16 is SquareF32 for a row of numbers of 16 bits.
func SquareF16(q []float32, row []byte) float32 {
	row = row[:2*len(q)]
	if len(q) == 0 {
		return 0
	}
	return squareF16(q, row)
}

// Zero is the byte that stands for 0 in a row of codes: a code is the byte less
// Zero.
const Zero = 128

// Rows are rows of one width that lie in memory at equal distances: row n begins
// at byte n × Stride, and what is compared At bytes after that.
type Rows struct {
	Data   []byte
	Stride int
	At     int
}

// within panics if a row that is asked for does not lie in the data: the kernels
// do not look.
func (r Rows) within(ids []uint32, width int) {
	most := uint32(0)
	for _, id := range ids {
		most = max(most, id)
	}
	if r.Stride < r.At+width || len(r.Data)/r.Stride <= int(most) {
		panic("kernel: a row that is not there") // the caller's mistake, as an index beyond a slice
	}
}

// DotI8 computes the products of codes: out[i] is that of the query and row ids[i].
func DotI8(q []byte, rows Rows, ids []uint32, out []int32) {
	out = out[:len(ids)]
	if len(ids) == 0 {
		return
	}
	rows.within(ids, len(q))
	if len(q) == 0 {
		clear(out)
		return
	}
	dotI8(q, rows, ids, out)
}

// Hamming counts the bits in which a query differs from rows: out[i] is for row
// ids[i].
func Hamming(q []byte, rows Rows, ids []uint32, out []int32) {
	out = out[:len(ids)]
	if len(ids) == 0 {
		return
	}
	rows.within(ids, len(q))
	if len(q) == 0 {
		clear(out)
		return
	}
	hamming(q, rows, ids, out)
}

// F16 turns a number into 16 bits, to the nearest, to the even one of two; what is
// beyond their range becomes infinite.
func F16(v float32) uint16 { return toF16(v) }

// F32 is the number that 16 bits are.
func F32(h uint16) float32 { return fromF16(h) }

func halfAt(row []byte, i int) float32 { return fromF16(binary.LittleEndian.Uint16(row[2*i:])) }
