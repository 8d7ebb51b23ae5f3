//go:build !amd64

package kernel

// Kernels are those of one set of instructions.
type Kernels struct {
	Name                                 string
	DotF32, SquareF32, DotF16, SquareF16 func(q []float32, row []byte) float32
	DotI8                                func(q []byte, rows Rows, ids []uint32, out []int32)
	Hamming                              func(q []byte, rows Rows, ids []uint32, out []int32)
}

// Sets are all that this processor can run: the scalar twins.
func Sets() []Kernels {
	return []Kernels{{"scalar", dotF32Scalar, squareF32Scalar, dotF16Scalar, squareF16Scalar, dotI8Scalar, hammingScalar}}
}
