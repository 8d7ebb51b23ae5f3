package objstore

import "fmt"

// Within resolves a range as Bucket.Get takes it against an object's size: it
// returns how many bytes the range has, or ErrRange. Implementations call it
// before they allocate, so that no caller's number becomes memory unchecked.
func Within(size, offset, length int64) (int64, error) {
	if length == -1 {
		length = size - offset
	}
	// Written so that no sum can overflow.
	if offset < 0 || length < 0 || offset > size || length > size-offset {
		return 0, fmt.Errorf("%w: %d bytes from %d, of %d", ErrRange, length, offset, size)
	}
	return length, nil
}
