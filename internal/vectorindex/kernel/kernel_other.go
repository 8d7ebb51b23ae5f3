//go:build !amd64

package kernel

// Set names the instructions that are used here.
func Set() string { return "scalar" }

func dotF32(q []float32, row []byte) float32    { return dotF32Scalar(q, row) }
func squareF32(q []float32, row []byte) float32 { return squareF32Scalar(q, row) }
func dotF16(q []float32, row []byte) float32    { return dotF16Scalar(q, row) }
func squareF16(q []float32, row []byte) float32 { return squareF16Scalar(q, row) }

func dotI8(q []byte, rows Rows, ids []uint32, out []int32) { dotI8Scalar(q, rows, ids, out) }

func hamming(q []byte, rows Rows, ids []uint32, out []int32) { hammingScalar(q, rows, ids, out) }
