package parquetfile

import (
	"github.com/parquet-go/parquet-go/bloom"

	"github.com/chronik-stream/chronik/internal/format"
)

// Bloom is a split-block bloom filter.
type Bloom struct{ filter bloom.SplitBlockFilter }

// ParseBloom reads a filter with its header, as it lies in a file.
func ParseBloom(b []byte) (Bloom, error) {
	header, n, err := readRecord(b)
	if err != nil {
		return Bloom{}, err
	}
	size, _ := header.int(1)
	if size <= 0 || size%bloom.BlockSize != 0 || size != int64(len(b)-n) {
		return Bloom{}, format.Corrupt(0, "a bloom filter of %d bytes in %d", size, len(b)-n)
	}
	// Algorithm, hash and compression are unions with one member that this
	// package knows, each the first: blocks, XXH64, none.
	for _, union := range []int16{2, 3, 4} {
		choice, err := header.record(union)
		if err != nil {
			return Bloom{}, err
		}
		if _, ok := choice.find(1); !ok {
			return Bloom{}, format.Corrupt(0, "a bloom filter of an unknown kind")
		}
	}
	filter := make(bloom.SplitBlockFilter, size/bloom.BlockSize)
	copy(filter.Bytes(), b[n:])
	return Bloom{filter}, nil
}

// Contains reports whether a value may be in the column chunk; it is given in
// plain encoding, without the length of a byte array.
func (f Bloom) Contains(plain []byte) bool {
	return f.filter.Check(bloom.XXH64{}.Sum64(plain))
}
