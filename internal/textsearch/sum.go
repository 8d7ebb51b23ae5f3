package textsearch

import (
	"math"

	"github.com/axiomhq/hyperloglog"
)

// exactSum adds floating point numbers without losing anything, so that the sum
// is the same in whatever order and in whatever portions they come. It keeps
// numbers that do not overlap and together are the sum (Shewchuk).
type exactSum struct {
	parts  []float64 // by magnitude, the least first
	beyond float64   // what became infinite, or is no number
}

func (s *exactSum) add(x float64) {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		s.beyond += x
		return
	}
	n := 0
	for _, y := range s.parts {
		if math.Abs(x) < math.Abs(y) {
			x, y = y, x
		}
		high := x + y
		if low := y - (high - x); low != 0 {
			s.parts[n] = low
			n++
		}
		x = high
	}
	if math.IsInf(x, 0) { // the sum left the range of numbers
		s.parts, s.beyond = s.parts[:0], s.beyond+x
		return
	}
	s.parts = append(s.parts[:n], x)
}

func (s *exactSum) merge(other *exactSum) {
	s.beyond += other.beyond
	for _, x := range other.parts {
		s.add(x)
	}
}

// value is the number nearest to the sum; of two that are equally near, the even
// one.
func (s *exactSum) value() float64 {
	if s.beyond != 0 {
		return s.beyond
	}
	n := len(s.parts)
	if n == 0 {
		return 0
	}
	n--
	sum, low := s.parts[n], 0.0
	for n > 0 && low == 0 {
		n--
		x, y := sum, s.parts[n]
		sum = x + y
		low = y - (sum - x)
	}
	if n > 0 && ((low < 0 && s.parts[n-1] < 0) || (low > 0 && s.parts[n-1] > 0)) {
		if twice := low * 2; twice == (sum+twice)-sum {
			sum += twice
		}
	}
	return sum
}

// distinct counts different values by their hashes: exactly up to distinctExact,
// and beyond that by HyperLogLog, which is the same however they were gathered.
type distinct struct {
	exact  map[uint64]struct{}
	sketch *hyperloglog.Sketch
}

// distinctExact is the most that Elasticsearch can be asked to count exactly.
const distinctExact = 40_000

func newDistinct() *distinct { return &distinct{exact: map[uint64]struct{}{}} }

func (d *distinct) add(hash uint64) {
	if d.sketch != nil {
		d.sketch.InsertHash(hash)
		return
	}
	d.exact[hash] = struct{}{}
	if len(d.exact) > distinctExact {
		d.estimate()
	}
}

// estimate goes over to a sketch.
func (d *distinct) estimate() {
	d.sketch = hyperloglog.New16NoSparse()
	for hash := range d.exact {
		d.sketch.InsertHash(hash)
	}
	d.exact = nil
}

func (d *distinct) merge(other *distinct) error {
	if other.sketch == nil {
		for hash := range other.exact {
			d.add(hash)
		}
		return nil
	}
	if d.sketch == nil {
		d.estimate()
	}
	return d.sketch.Merge(other.sketch)
}

func (d *distinct) count() int64 {
	if d.sketch != nil {
		return int64(d.sketch.Estimate())
	}
	return int64(len(d.exact))
}

// mix spreads the bits of a value, as the last step of MurmurHash3 does.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
