package bench

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is less than two percent of
// what is in them, from nanoseconds to centuries, in memory that does not grow.
type histogram struct {
	counts [(64 - fineBits) << fineBits]int64
	n      int64
	max    time.Duration
}

// fineBits are the bits behind the leading one that buckets tell apart.
const fineBits = 6

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// quantile is a duration that a part q of all did not exceed; 0 where there is
// none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(q * float64(h.n))
	for i, n := range h.counts {
		if rank -= n; rank < 0 {
			return min(lastOf(i), h.max)
		}
	}
	return h.max
}

func bucketOf(d uint64) int {
	shift := max(bits.Len64(d)-fineBits-1, 0)
	return shift<<fineBits + int(d>>shift)
}

// lastOf is the longest duration of a bucket.
func lastOf(bucket int) time.Duration {
	if bucket < 2<<fineBits {
		return time.Duration(bucket)
	}
	shift := bucket>>fineBits - 1
	return time.Duration((bucket-shift<<fineBits+1)<<shift - 1)
}
