package kernel_test

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// guard is what lies before and behind all that kernels are given: numbers that
// would be seen in any sum.
const guard = 64

// f32Row lays numbers down at an address that is shift bytes off.
func f32Row(v []float32, shift int) []byte {
	data := make([]byte, guard+shift, 2*guard+shift+4*len(v))
	for i := range data {
		data[i] = 0x7e
	}
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	end := len(data)
	for range guard {
		data = append(data, 0x7e)
	}
	return data[guard+shift : end : end]
}

func f16Row(v []float32, shift int) []byte {
	data := make([]byte, guard+shift)
	for _, x := range v {
		data = binary.LittleEndian.AppendUint16(data, kernel.F16(x))
	}
	end := len(data)
	for range guard {
		data = append(data, 0x7b)
	}
	return data[guard+shift : end : end]
}

func randomFloats(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// requireFloats holds the float kernels of all sets against sums in float64.
func requireFloats(t *testing.T, q, x []float32, shift int) {
	t.Helper()
	half := make([]float32, len(x))
	for i, v := range x {
		half[i] = kernel.F32(kernel.F16(v))
	}
	exact := func(x []float32) (dot, square, scale float64) {
		for i := range q {
			p, d := float64(q[i])*float64(x[i]), float64(q[i])-float64(x[i])
			dot, square, scale = dot+p, square+d*d, scale+math.Abs(p)+d*d
		}
		return dot, square, scale
	}
	r32, r16 := f32Row(x, shift), f16Row(x, shift)
	dot32, square32, scale32 := exact(x)
	dot16, square16, scale16 := exact(half)
	for _, set := range kernel.Sets() {
		near := func(want, scale float64, got float32, of string) {
			t.Helper()
			// Each of n sums and products is off by half a digit of what is summed.
			require.InDelta(t, want, float64(got), scale*float64(len(q)+4)*0x1p-23+1e-30, "%s of %s: %d numbers at %d", of, set.Name, len(q), shift)
		}
		near(dot32, scale32, set.DotF32(q, r32), "dot of f32")
		near(square32, scale32, set.SquareF32(q, r32), "square of f32")
		near(dot16, scale16, set.DotF16(q, r16), "dot of f16")
		near(square16, scale16, set.SquareF16(q, r16), "square of f16")
	}
}

// requireCodes holds the kernels of integers against each other, and against plain
// sums.
func requireCodes(t *testing.T, r *rand.Rand, n, at, pad, count int) {
	t.Helper()
	rows := kernel.Rows{Data: make([]byte, (count+3)*(at+n+pad)), Stride: at + n + pad, At: at}
	for i := range rows.Data {
		rows.Data[i] = byte(r.Uint32())
	}
	q := make([]byte, n)
	for i := range q {
		q[i] = byte(r.Uint32())
	}
	ids := make([]uint32, count)
	for i := range ids {
		ids[i] = uint32(r.IntN(count + 3))
	}
	products, distances := make([]int32, count), make([]int32, count)
	for i, id := range ids {
		row := rows.Data[int(id)*rows.Stride+at:][:n]
		for j := range q {
			products[i] += (int32(q[j]) - kernel.Zero) * (int32(row[j]) - kernel.Zero)
			distances[i] += int32(bits.OnesCount8(q[j] ^ row[j]))
		}
	}
	out := make([]int32, count+1)
	for _, set := range kernel.Sets() {
		out[count] = 77
		set.DotI8(q, rows, ids, out[:count])
		for i := range ids {
			require.Equal(t, products[i], out[i], "dot of %s: %d codes, row %d of %d", set.Name, n, i, count)
		}
		set.Hamming(q, rows, ids, out[:count])
		require.Equal(t, distances, out[:count], "bits of %s: %d bytes", set.Name, n)
		require.EqualValues(t, 77, out[count], "written beyond the end")
	}
	kernel.DotI8(q, rows, ids, out)
	require.Equal(t, products, out[:count])
	kernel.Hamming(q, rows, ids, out)
	require.Equal(t, distances, out[:count])
}

func TestAllSetsGiveTheSameAtEveryLength(t *testing.T) {
	t.Logf("this processor has %s", kernel.Set())
	r := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= 200; n++ {
		requireFloats(t, randomFloats(r, n), randomFloats(r, n), n%5)
		requireCodes(t, r, n, n%9, n%3, n%11+1)
	}
	for _, n := range []int{384, 768, 1000, 1536, 4096} {
		requireFloats(t, randomFloats(r, n), randomFloats(r, n), 3)
		requireCodes(t, r, n, 32, 0, 9)
	}
}

// Codes at the ends of their range overflow whatever is too narrow.
func TestCodesAtTheEndsOfTheirRangeDoNotOverflow(t *testing.T) {
	const n = 4096
	rows := kernel.Rows{Data: make([]byte, 2*n), Stride: n}
	q := make([]byte, n)
	for i := range q {
		q[i], rows.Data[i], rows.Data[n+i] = 0, 255, 0
	}
	for _, set := range kernel.Sets() {
		out := make([]int32, 2)
		set.DotI8(q, rows, []uint32{0, 1}, out)
		require.Equal(t, []int32{-128 * 127 * n, 128 * 128 * n}, out, set.Name)
	}
}

func TestNothingGivesZero(t *testing.T) {
	require.Zero(t, kernel.DotF32(nil, nil))
	require.Zero(t, kernel.SquareF32(nil, nil))
	require.Zero(t, kernel.DotF16(nil, nil))
	require.Zero(t, kernel.SquareF16(nil, nil))
	out := []int32{5}
	kernel.DotI8(nil, kernel.Rows{Data: []byte{1}, Stride: 1}, []uint32{0}, out)
	require.Zero(t, out[0])
	kernel.DotI8(nil, kernel.Rows{}, nil, nil)
}

func TestARowThatIsNotThereIsAPanic(t *testing.T) {
	q := make([]byte, 10)
	rows := kernel.Rows{Data: make([]byte, 36), Stride: 12, At: 2}
	out := make([]int32, 1)
	kernel.DotI8(q, rows, []uint32{2}, out)
	require.Panics(t, func() { kernel.DotI8(q, rows, []uint32{3}, out) })
	rows.At = 3
	require.Panics(t, func() { kernel.DotI8(q, rows, []uint32{0}, out) }, "it ends in the next row")
	require.Panics(t, func() { kernel.DotF32([]float32{1, 2}, make([]byte, 7)) })
}

// Every one of the 65536 there and back; and what lies between two of them.
func TestHalfNumbersAreRoundedToTheNearest(t *testing.T) {
	for h := range uint32(1 << 16) {
		v := kernel.F32(uint16(h))
		if v != v {
			require.True(t, math.IsNaN(float64(kernel.F32(kernel.F16(v)))))
			continue
		}
		require.Equal(t, uint16(h), kernel.F16(v), "%v", v)
		if h&0x7fff >= 0x7bff {
			continue
		}
		next := kernel.F32(uint16(h + 1))
		middle := (v + next) / 2
		even := uint16(h + h&1)
		require.Equal(t, even, kernel.F16(middle), "between %v and %v", v, next)
		require.Equal(t, uint16(h), kernel.F16(math.Nextafter32(middle, v)))
		require.Equal(t, uint16(h+1), kernel.F16(math.Nextafter32(middle, next)))
	}
	require.Equal(t, uint16(0x7c00), kernel.F16(1e6))
	require.Equal(t, uint16(0x7bff), kernel.F16(65519))
	require.Equal(t, uint16(0x7c00), kernel.F16(65520))
	require.Equal(t, uint16(0), kernel.F16(1e-20))
}

// FuzzKernels: whatever the lengths and addresses, all sets give the same.
func FuzzKernels(f *testing.F) {
	f.Add(uint64(1), uint16(384), uint8(0), uint8(4))
	f.Add(uint64(2), uint16(33), uint8(63), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, length uint16, shift, count uint8) {
		r := rand.New(rand.NewPCG(seed, 2))
		n := int(length)%4096 + 1
		requireFloats(t, randomFloats(r, n), randomFloats(r, n), int(shift))
		requireCodes(t, r, n, int(shift), int(seed%17), int(count)%40+1)
	})
}

func BenchmarkKernels(b *testing.B) {
	const n, count = 384, 64
	r := rand.New(rand.NewPCG(3, 3))
	q, codes := randomFloats(r, n), make([]byte, n)
	f32, f16 := f32Row(randomFloats(r, n), 0), f16Row(randomFloats(r, n), 0)
	rows := kernel.Rows{Data: make([]byte, count*(n+32)), Stride: n + 32, At: 32}
	ids, out := make([]uint32, count), make([]int32, count)
	for i := range ids {
		ids[i] = uint32(i * 37 % count)
	}
	sum := float32(0)
	for _, set := range kernel.Sets() {
		for name, k := range map[string]func([]float32, []byte) float32{"dot f32": set.DotF32, "square f32": set.SquareF32} {
			b.Run(set.Name+" "+name, func(b *testing.B) {
				for b.Loop() {
					sum += k(q, f32)
				}
			})
		}
		for name, k := range map[string]func([]float32, []byte) float32{"dot f16": set.DotF16, "square f16": set.SquareF16} {
			b.Run(set.Name+" "+name, func(b *testing.B) {
				for b.Loop() {
					sum += k(q, f16)
				}
			})
		}
		b.Run(set.Name+" dot int8", func(b *testing.B) {
			for b.Loop() {
				set.DotI8(codes, rows, ids, out)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/row")
		})
		b.Run(set.Name+" bits", func(b *testing.B) {
			for b.Loop() {
				set.Hamming(rows.Data[:n/8], rows, ids, out)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/row")
		})
	}
	_ = sum
}
