package kernel

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The scalar twins. They add in order; the conversions keep a compiler from fusing
// a product and a sum, which rounds otherwise.

func floatAt(row []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:]))
}

func dotF32Scalar(q []float32, row []byte) (sum float32) {
	for i, v := range q {
		sum += float32(v * floatAt(row, i))
	}
	return sum
}

func squareF32Scalar(q []float32, row []byte) (sum float32) {
	for i, v := range q {
		d := v - floatAt(row, i)
		sum += float32(d * d)
	}
	return sum
}

func dotF16Scalar(q []float32, row []byte) (sum float32) {
	for i, v := range q {
		sum += float32(v * halfAt(row, i))
	}
	return sum
}

func squareF16Scalar(q []float32, row []byte) (sum float32) {
	for i, v := range q {
		d := v - halfAt(row, i)
		sum += float32(d * d)
	}
	return sum
}

func dotI8Scalar(q []byte, rows Rows, ids []uint32, out []int32) {
	for n, id := range ids {
		row := rows.Data[int(id)*rows.Stride+rows.At:][:len(q)]
		sum := int32(0)
		for i, c := range q {
			sum += (int32(c) - Zero) * (int32(row[i]) - Zero)
		}
		out[n] = sum
	}
}

// hammingScalar needs no twin on most processors: they count the bits of a word
// with one instruction.
func hammingScalar(q []byte, rows Rows, ids []uint32, out []int32) {
	for n, id := range ids {
		row := rows.Data[int(id)*rows.Stride+rows.At:][:len(q)]
		sum, i := 0, 0
		for ; i+8 <= len(q); i += 8 {
			sum += bits.OnesCount64(binary.LittleEndian.Uint64(q[i:]) ^ binary.LittleEndian.Uint64(row[i:]))
		}
		for ; i < len(q); i++ {
			sum += bits.OnesCount8(q[i] ^ row[i])
		}
		out[n] = int32(sum)
	}
}

func toF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b >> 16 & 0x8000)
	exponent, fraction := int(b>>23&0xff)-127, b&0x7fffff
	switch {
	case exponent == 128: // infinite, or not a number
		if fraction != 0 {
			return sign | 0x7e00 | uint16(fraction>>13)
		}
		return sign | 0x7c00
	case exponent > 15:
		return sign | 0x7c00
	case exponent >= -14:
		return sign + uint16(exponent+15)<<10 + uint16(nearest(fraction, 13))
	case exponent >= -25: // a denormal number, or rounded up to the least of them
		return sign + uint16(nearest(fraction|1<<23, -exponent-1))
	}
	return sign
}

// nearest divides by a power of two and rounds to the nearest, to the even one of
// two. What overflows into the exponent is right there.
func nearest(v uint32, shift int) uint32 {
	half := uint32(1) << (shift - 1)
	rest := v & (half<<1 - 1)
	v >>= shift
	if rest > half || rest == half && v&1 == 1 {
		v++
	}
	return v
}

func fromF16(h uint16) float32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exponent == 0x1f:
		if fraction != 0 {
			fraction |= 0x200 // a quiet NaN, as processors give
		}
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case exponent == 0: // 0 or a denormal number: fraction × 2⁻²⁴, exact
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}
