package history

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strconv"
)

// ID names a record for ever: whose it is, and the how-manieth of that writer.
type ID struct {
	Writer string
	Number int64
}

// String is how a record is named in witnesses.
func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Writer, id.Number) }

// ValueSizeMin is the size of the smallest value; smaller ones grow to it.
const ValueSizeMin = 48

// Value returns the bytes of a record: its name, and filling that follows from
// the name, so that whoever reads it knows each byte that has to be there.
func Value(id ID, size int) []byte {
	size = max(size, ValueSizeMin)
	b := make([]byte, 0, size+8)
	b = append(b, id.Writer...)
	b = append(b, '/')
	b = strconv.AppendInt(b, id.Number, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(size), 10)
	b = append(b, '/')
	h := fnv.New64a()
	_, _ = h.Write(b) // a hash never fails
	const digits = "0123456789abcdef"
	for x := h.Sum64() | 1; len(b) < size; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = append(b, digits[x>>60], digits[x>>56&15], digits[x>>52&15], digits[x>>48&15])
	}
	return b[:size]
}

// Parse returns the name of the record that has this value. An error says that
// the bytes are not those of any record.
func Parse(value []byte) (ID, error) {
	parts := bytes.SplitN(value, []byte("/"), 4)
	if len(parts) != 4 || len(value) < ValueSizeMin {
		return ID{}, fmt.Errorf("%d bytes %.24q are no record's", len(value), value)
	}
	number, err := strconv.ParseInt(string(parts[1]), 10, 64)
	if err != nil {
		return ID{}, fmt.Errorf("%d bytes %.24q are no record's: %w", len(value), value, err)
	}
	id := ID{Writer: string(parts[0]), Number: number}
	if !bytes.Equal(Value(id, len(value)), value) {
		return ID{}, fmt.Errorf("the %d bytes that are named %s are not those of that record", len(value), id)
	}
	return id, nil
}
