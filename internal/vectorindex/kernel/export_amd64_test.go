package kernel

// Kernels are those of one set of instructions.
type Kernels struct {
	Name                                 string
	DotF32, SquareF32, DotF16, SquareF16 func(q []float32, row []byte) float32
	DotI8                                func(q []byte, rows Rows, ids []uint32, out []int32)
	Hamming                              func(q []byte, rows Rows, ids []uint32, out []int32)
}

// Sets are all that this processor can run, the scalar twins first.
func Sets() []Kernels {
	all := []Kernels{{"scalar", dotF32Scalar, squareF32Scalar, dotF16Scalar, squareF16Scalar, dotI8Scalar, hammingScalar}}
	if has >= avx2 {
		whole := func(k func(*float32, *byte, int) float32, rest func([]float32, []byte) float32, size int) func([]float32, []byte) float32 {
			return func(q []float32, row []byte) float32 {
				n := len(q) &^ (group - 1)
				return k(&q[0], &row[0], n) + rest(q[n:], row[size*n:])
			}
		}
		all = append(all, Kernels{"AVX2",
			whole(dotF32AVX2, dotF32Scalar, 4), whole(squareF32AVX2, squareF32Scalar, 4),
			whole(dotF16AVX2, dotF16Scalar, 2), whole(squareF16AVX2, squareF16Scalar, 2),
			dotI8AVX2Whole, hammingScalar})
	}
	if has >= avx512 {
		masked := func(k func(*float32, *byte, int) float32) func([]float32, []byte) float32 {
			return func(q []float32, row []byte) float32 { return k(&q[0], &row[0], len(q)) }
		}
		all = append(all, Kernels{"AVX-512", masked(dotF32AVX512), masked(squareF32AVX512), masked(dotF16AVX512), masked(squareF16AVX512), dotI8, hamming})
	}
	return all
}
