package vectorindex

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// stored is how vectors are kept: what decides among the best candidates.
type stored struct {
	encoding   Encoding
	dimensions int
}

// bytes of a vector.
func (s stored) bytes() int {
	switch s.encoding {
	case F32:
		return 4 * s.dimensions
	case F16:
		return 2 * s.dimensions
	}
	return 4 + s.dimensions // scale, codes
}

// encode writes a vector, and puts into v what it is when it is read again.
func (s stored) encode(to []byte, v []float32) error {
	switch s.encoding {
	case F32:
		for i, x := range v {
			putFloat(to[4*i:], x)
		}
	case F16:
		for i, x := range v {
			h := kernel.F16(x)
			if h&0x7c00 == 0x7c00 {
				return fmt.Errorf("%v does not fit in 16 bits: %w", x, ErrVector)
			}
			binary.LittleEndian.PutUint16(to[2*i:], h)
			v[i] = kernel.F32(h)
		}
	default:
		putFloat(to, codesOf(to[4:], v))
		s.decode(v, to)
	}
	return nil
}

// decode reads a vector.
func (s stored) decode(v []float32, from []byte) {
	switch s.encoding {
	case F32:
		for i := range v {
			v[i] = getFloat(from[4*i:])
		}
	case F16:
		for i := range v {
			v[i] = kernel.F32(binary.LittleEndian.Uint16(from[2*i:]))
		}
	default:
		decodeCodes(v, getFloat(from), from[4:])
	}
}

func decodeCodes(v []float32, scale float32, codes []byte) {
	for i := range v {
		v[i] = scale * float32(int32(codes[i])-kernel.Zero)
	}
}

// judge measures the distances of one query from stored vectors.
type judge struct {
	stored
	metric Metric
	q      []float32
	norm   float64
	// Of codes: the query as two digits of a byte each.
	high, low []byte
	step      float64
}

func newJudge(s stored, metric Metric, q []float32) *judge {
	j := &judge{stored: s, metric: metric, q: q, norm: length(q)}
	if s.encoding == F32 || s.encoding == F16 {
		return j
	}
	j.high, j.low = make([]byte, len(q)), make([]byte, len(q))
	for _, x := range q {
		j.step = max(j.step, math.Abs(float64(x))/127)
	}
	for i, x := range q {
		digits := 0.0
		if j.step > 0 {
			digits = float64(x) / j.step
		}
		high := math.RoundToEven(digits)
		j.high[i], j.low[i] = byte(int(high)+kernel.Zero), byte(int(math.RoundToEven((digits-high)*254))+kernel.Zero)
	}
	return j
}

// distance is that of a stored vector, whose length is norm.
func (j *judge) distance(vector []byte, norm float32) float32 {
	var dot float64
	switch {
	case j.encoding == F32 && j.metric == Euclidean:
		return float32(math.Sqrt(float64(kernel.SquareF32(j.q, vector))))
	case j.encoding == F16 && j.metric == Euclidean:
		return float32(math.Sqrt(float64(kernel.SquareF16(j.q, vector))))
	case j.encoding == F32:
		dot = float64(kernel.DotF32(j.q, vector))
	case j.encoding == F16:
		dot = float64(kernel.DotF16(j.q, vector))
	default:
		dot = float64(getFloat(vector)) * j.product(vector, 4)
	}
	return j.of(dot, norm)
}

// record is distance for a row whose record has all that is kept of it.
func (j *judge) record(record []byte) float32 {
	norm := getFloat(record[atNorm:])
	return j.of(float64(getFloat(record[atScale:]))*factorOf(j.metric, norm)*j.product(record, atCode), norm)
}

// factorOf is what a record's scale is to be multiplied with, to give the vector
// as it came: for the cosine it was brought to length 1.
func factorOf(m Metric, norm float32) float64 {
	if m == Cosine {
		return float64(norm)
	}
	return 1
}

// product is that of the query and codes at a place, both without their scales.
func (j *judge) product(data []byte, at int) float64 {
	var high, low [1]int32
	row := kernel.Rows{Data: data, Stride: len(data), At: at}
	kernel.DotI8(j.high, row, []uint32{0}, high[:])
	kernel.DotI8(j.low, row, []uint32{0}, low[:])
	return j.step * (float64(high[0]) + float64(low[0])/254)
}

// of makes a distance of a product.
func (j *judge) of(dot float64, norm float32) float32 {
	switch j.metric {
	case Dot:
		return float32(-dot)
	case Euclidean:
		n := float64(norm)
		return float32(math.Sqrt(max(0, j.norm*j.norm-2*dot+n*n)))
	}
	if j.norm == 0 || norm == 0 {
		return 1
	}
	return float32(max(0, min(2, 1-dot/(j.norm*float64(norm)))))
}
