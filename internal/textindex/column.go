package textindex

import (
	"math"

	"github.com/RoaringBitmap/roaring/v2"
)

// Column holds the values of a field by document. It is immutable, and may be
// used at once. The values of one document rise.
type Column interface {
	// Documents of the split, whether they have a value or not.
	Documents() uint32
	// Single reports that no document has more than one value.
	Single() bool
	// Value returns the least value of a document; false if it has none.
	Value(doc uint32) (int64, bool)
	// Append appends all values of a document.
	Append(to []int64, doc uint32) []int64
	// Exists returns the documents that have a value. The bitmap is the caller's.
	Exists() *roaring.Bitmap
	// Match returns the documents that have a value from least to greatest, both
	// included. The bitmap is the caller's.
	Match(least, greatest int64) *roaring.Bitmap
}

// SortableDouble maps doubles to integers of the same order. −0 is below 0; NaN
// is not for columns.
func SortableDouble(v float64) int64 {
	b := int64(math.Float64bits(v))
	return b ^ b>>63&math.MaxInt64
}

// DoubleOf is the inverse of SortableDouble.
func DoubleOf(v int64) float64 {
	return math.Float64frombits(uint64(v ^ v>>63&math.MaxInt64))
}
