package kernel

import "golang.org/x/sys/cpu"

// set is what the processor has, best last.
type set int

const (
	scalar set = iota
	avx2
	avx512
)

// has is what this processor has. It is looked at once: it does not change.
var has = detect()

func detect() set {
	x := &cpu.X86
	switch {
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ && x.HasAVX512VNNI && x.HasAVX512VPOPCNTDQ:
		return avx512
	case x.HasAVX2 && x.HasFMA && x.HasF16C:
		return avx2
	}
	return scalar
}

// Set names the instructions that are used here.
func Set() string { return [...]string{"scalar", "AVX2", "AVX-512"}[has] }

// Those of AVX2 take whole groups of numbers; what is left over is for the scalar
// twin. Those of AVX-512 mask it.

//go:noescape
func dotF32AVX2(q *float32, row *byte, n int) float32

//go:noescape
func squareF32AVX2(q *float32, row *byte, n int) float32

//go:noescape
func dotF16AVX2(q *float32, row *byte, n int) float32

//go:noescape
func squareF16AVX2(q *float32, row *byte, n int) float32

//go:noescape
func dotI8AVX2(q *byte, base *byte, stride int, ids *uint32, count int, n int, out *int32)

//go:noescape
func dotF32AVX512(q *float32, row *byte, n int) float32

//go:noescape
func squareF32AVX512(q *float32, row *byte, n int) float32

//go:noescape
func dotF16AVX512(q *float32, row *byte, n int) float32

//go:noescape
func squareF16AVX512(q *float32, row *byte, n int) float32

//go:noescape
func dotI8AVX512(q *byte, base *byte, stride int, ids *uint32, count int, n int, out *int32)

//go:noescape
func hammingAVX512(q *byte, base *byte, stride int, ids *uint32, count int, n int, out *int32)

// group is how many numbers those of AVX2 take at a time.
const group = 8

func dotF32(q []float32, row []byte) float32 {
	switch has {
	case avx512:
		return dotF32AVX512(&q[0], &row[0], len(q))
	case avx2:
		n := len(q) &^ (group - 1)
		return dotF32AVX2(&q[0], &row[0], n) + dotF32Scalar(q[n:], row[4*n:])
	}
	return dotF32Scalar(q, row)
}

func squareF32(q []float32, row []byte) float32 {
	switch has {
	case avx512:
		return squareF32AVX512(&q[0], &row[0], len(q))
	case avx2:
		n := len(q) &^ (group - 1)
		return squareF32AVX2(&q[0], &row[0], n) + squareF32Scalar(q[n:], row[4*n:])
	}
	return squareF32Scalar(q, row)
}

func dotF16(q []float32, row []byte) float32 {
	switch has {
	case avx512:
		return dotF16AVX512(&q[0], &row[0], len(q))
	case avx2:
		n := len(q) &^ (group - 1)
		return dotF16AVX2(&q[0], &row[0], n) + dotF16Scalar(q[n:], row[2*n:])
	}
	return dotF16Scalar(q, row)
}

func squareF16(q []float32, row []byte) float32 {
	switch has {
	case avx512:
		return squareF16AVX512(&q[0], &row[0], len(q))
	case avx2:
		n := len(q) &^ (group - 1)
		return squareF16AVX2(&q[0], &row[0], n) + squareF16Scalar(q[n:], row[2*n:])
	}
	return squareF16Scalar(q, row)
}

func dotI8(q []byte, rows Rows, ids []uint32, out []int32) {
	switch has {
	case avx512:
		dotI8AVX512(&q[0], &rows.Data[rows.At], rows.Stride, &ids[0], len(ids), len(q), &out[0])
	case avx2:
		dotI8AVX2Whole(q, rows, ids, out)
	default:
		dotI8Scalar(q, rows, ids, out)
	}
}

// dotI8AVX2Whole is dotI8AVX2 and the codes that it leaves over.
func dotI8AVX2Whole(q []byte, rows Rows, ids []uint32, out []int32) {
	n := len(q) &^ 15
	dotI8AVX2(&q[0], &rows.Data[rows.At], rows.Stride, &ids[0], len(ids), n, &out[0])
	if n == len(q) {
		return
	}
	for i, id := range ids {
		row := rows.Data[int(id)*rows.Stride+rows.At:]
		for j := n; j < len(q); j++ {
			out[i] += (int32(q[j]) - Zero) * (int32(row[j]) - Zero)
		}
	}
}

func hamming(q []byte, rows Rows, ids []uint32, out []int32) {
	if has == avx512 {
		hammingAVX512(&q[0], &rows.Data[rows.At], rows.Stride, &ids[0], len(ids), len(q), &out[0])
		return
	}
	hammingScalar(q, rows, ids, out)
}
