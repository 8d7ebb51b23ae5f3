package vectorindex

import (
	"encoding/binary"
	"math"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// A row's record: what is compared first, and what filters ask.
//
//	scale, bias, norm (float32 each) · copies (4) · offset (8) · timestamp (8) · code
const (
	atScale     = 0
	atBias      = 4
	atNorm      = 8
	atCopies    = 12
	atOffset    = 16
	atTimestamp = 24
	atCode      = 32
)

// space is what codes mean: they say how a vector differs from a mean, so that
// what all vectors share takes none of their few bits.
//
// Codes of bytes: residual ≈ scale × (byte − 128). Of bits: its signs, and scale
// is its length. The distance of a query q from a row, up to what all rows share,
// is bias − (1 or 2) × (q − mean)·residual: bias is |residual|², for the product
// −mean·residual.
type space struct {
	metric Metric
	bits   bool
	mean   []float32
	stride int
	cosine []float32 // of bits: by how many differ, the cosine of the angle
}

func newSpace(metric Metric, bits bool, mean []float32) *space {
	s := &space{metric: metric, bits: bits, mean: mean}
	code := len(mean)
	if bits {
		code = (code + 7) / 8
		s.cosine = make([]float32, 8*code+1) // damage may set bits that no dimension has
		for h := range s.cosine {
			s.cosine[h] = float32(math.Cos(math.Pi * float64(min(h, len(mean))) / float64(len(mean))))
		}
	}
	s.stride = (atCode + code + 7) / 8 * 8
	return s
}

// recordBytes is the stride of records before there is a mean.
func recordBytes(dimensions int, bits bool) int {
	if bits {
		dimensions = (dimensions + 7) / 8
	}
	return (atCode + dimensions + 7) / 8 * 8
}

// rows are records as kernels want them.
func (s *space) rows(data []byte) kernel.Rows {
	return kernel.Rows{Data: data, Stride: s.stride, At: atCode}
}

func (s *space) codeBytes() int {
	if s.bits {
		return (len(s.mean) + 7) / 8
	}
	return len(s.mean)
}

func getFloat(b []byte) float32    { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }
func putFloat(b []byte, v float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(v)) }

// length of a vector, added up in order so that it is the same everywhere.
func length(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// residual writes how a vector differs from the mean; for the cosine the vector
// is brought to length 1 first.
func (s *space) residual(to, v []float32, norm float64) {
	factor := 1.0
	if s.metric == Cosine {
		factor = 0
		if norm > 0 {
			factor = 1 / norm
		}
	}
	for i, x := range v {
		to[i] = float32(float64(x)*factor) - s.mean[i]
	}
}

// encode writes scale, bias, norm and code of a vector's record. scratch is as
// long as the vector.
func (s *space) encode(record []byte, v, scratch []float32) {
	norm := length(v)
	s.residual(scratch, v, norm)
	putFloat(record[atNorm:], float32(norm))
	s.encodeResidual(record, scratch)
}

// encodeResidual writes scale, bias and code.
func (s *space) encodeResidual(record []byte, r []float32) {
	square, product := 0.0, 0.0
	for i, x := range r {
		square += float64(x) * float64(x)
		product += float64(x) * float64(s.mean[i])
	}
	bias := square
	if s.metric == Dot {
		bias = -product
	}
	putFloat(record[atBias:], float32(bias))
	code := record[atCode : atCode+s.codeBytes()]
	if s.bits {
		putFloat(record[atScale:], float32(math.Sqrt(square)))
		signs(code, r)
		return
	}
	putFloat(record[atScale:], codesOf(code, r))
}

// codesOf writes numbers as bytes and returns the scale.
func codesOf(code []byte, v []float32) float32 {
	most := float32(0)
	for _, x := range v {
		most = max(most, x, -x)
	}
	scale := most / 127
	factor := float32(0)
	if scale > 0 {
		factor = 127 / most
	}
	for i, x := range v {
		code[i] = byte(int32(math.RoundToEven(float64(x*factor)))) + kernel.Zero
	}
	return scale
}

func signs(code []byte, v []float32) {
	clear(code)
	for i, x := range v {
		if x < 0 {
			code[i/8] |= 1 << (i % 8)
		}
	}
}

// addResidual adds a record's residual to sums.
func (s *space) addResidual(sums []float32, record []byte) {
	scale := getFloat(record[atScale:])
	for i, c := range record[atCode : atCode+len(sums)] {
		sums[i] += float32(scale * float32(int32(c)-kernel.Zero))
	}
}

// probe is a query made ready to be compared with records.
type probe struct {
	codes  []byte
	signs  []byte
	add    float32 // what all distances share
	factor float32 // of scale × product
}

// probe makes a query ready. For the cosine the query need not have length 1.
func (s *space) probe(q []float32) *probe {
	r, norm := make([]float32, len(q)), length(q)
	s.residual(r, q, norm)
	square, product := 0.0, 0.0
	for i, x := range r {
		square += float64(x) * float64(x)
		product += float64(x+s.mean[i]) * float64(s.mean[i])
	}
	p := &probe{add: float32(square), factor: -2}
	if s.metric == Dot {
		p.add, p.factor = float32(-product), -1
	}
	if s.bits {
		p.signs = make([]byte, s.codeBytes())
		signs(p.signs, r)
		p.factor *= float32(math.Sqrt(square))
		return p
	}
	p.codes = make([]byte, len(q))
	p.factor *= codesOf(p.codes, r)
	return p
}

// probeRecord makes a row of codes of bytes ready to be compared with others. The
// probe refers to the record.
func (s *space) probeRecord(p *probe, record []byte) {
	p.codes = record[atCode : atCode+len(s.mean)]
	p.factor = -2 * getFloat(record[atScale:])
	if s.metric == Dot {
		p.factor /= 2
	}
	p.add = getFloat(record[atBias:])
}

// distances estimates how far rows are from a query: squares for cosine and
// euclidean, negated products for dot. products is scratch of the same length.
func (s *space) distances(p *probe, rows kernel.Rows, ids []uint32, products []int32, out []float32) {
	if s.bits {
		kernel.Hamming(p.signs, rows, ids, products)
		for i, id := range ids {
			head := rows.Data[int(id)*rows.Stride:][:8]
			out[i] = p.add + getFloat(head[atBias:]) + float32(p.factor*getFloat(head[atScale:]))*s.cosine[products[i]]
		}
		return
	}
	kernel.DotI8(p.codes, rows, ids, products)
	for i, id := range ids {
		head := rows.Data[int(id)*rows.Stride:][:8]
		out[i] = p.add + getFloat(head[atBias:]) + float32(float32(p.factor*getFloat(head[atScale:]))*float32(products[i]))
	}
}

// candidate is a row and how far it is thought to be.
type candidate struct {
	distance float32
	row      uint32
}

// before orders candidates; of those at one distance the lower row comes first,
// so that a search has one answer.
func (c candidate) before(d candidate) bool {
	return c.distance < d.distance || c.distance == d.distance && c.row < d.row
}
