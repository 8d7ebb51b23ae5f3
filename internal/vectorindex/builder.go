package vectorindex

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
)

// ErrFull means that a Builder has reached its bound: write it, and begin another.
var ErrFull = errors.New("the builder is full")

// ErrEmpty means that there is nothing to write.
var ErrEmpty = errors.New("no vectors")

// Builder collects vectors and writes a shard of them. It is for one goroutine.
type Builder struct {
	options   Options
	limit     int64
	stored    stored
	data      []byte // stored vectors
	rows      int
	documents []document
	sums      []float64 // of the vectors, for the mean
	same      map[uint64]uint32
	seed      maphash.Seed
	v         []float32
	one       []byte
}

// NewBuilder returns a Builder that takes about so many bytes of memory until
// Write is done; larger shards are made by Merge.
func NewBuilder(o Options, memoryBytesMax int64) (*Builder, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := stored{o.Encoding, o.Dimensions}
	return &Builder{
		options: o, limit: memoryBytesMax, stored: s, sums: make([]float64, o.Dimensions), same: make(map[uint64]uint32),
		seed: maphash.MakeSeed(), v: make([]float32, o.Dimensions), one: make([]byte, s.bytes()),
	}, nil
}

// perDocument is what a document takes, and its place in maps.
const perDocument = 64

// Bytes is about how much memory writing will have taken.
func (b *Builder) Bytes() int64 {
	row := 2*int64(recordBytes(b.options.Dimensions, false)) + 12*int64(b.options.M)
	return int64(len(b.data)) + int64(b.rows)*row + int64(len(b.documents))*perDocument
}

// Rows is how many different vectors there are.
func (b *Builder) Rows() int { return b.rows }

// Append adds the vector of a record. Offsets rise. A vector that is not one for
// this index is ErrVector and changes nothing; so is ErrFull, once there are
// vectors. The vector stays the caller's.
func (b *Builder) Append(offset, timestamp int64, vector []float32) error {
	if err := Check(vector, b.options.Dimensions); err != nil {
		return err
	}
	last := int64(-1)
	if n := len(b.documents); n > 0 {
		last = b.documents[n-1].offset
	}
	if offset <= last {
		return fmt.Errorf("offset %d after %d: %w", offset, last, ErrOptions)
	}
	if len(b.documents) > 0 && b.Bytes() >= b.limit || len(b.documents) >= DocumentsMax {
		return ErrFull
	}
	copy(b.v, vector)
	if err := b.stored.encode(b.one, b.v); err != nil {
		return err
	}
	b.documents = append(b.documents, document{offset, timestamp, b.row()})
	return nil
}

// row returns the row of the vector in b.one; a new one, if it is the first.
func (b *Builder) row() uint32 {
	hash := maphash.Bytes(b.seed, b.one)
	size := len(b.one)
	if row, ok := b.same[hash]; ok && bytes.Equal(b.data[int(row)*size:][:size], b.one) {
		return row
	}
	row := uint32(b.rows)
	b.same[hash] = row
	b.data = append(b.data, b.one...)
	b.rows++
	addTo(b.sums, b.options.Metric, b.v)
	return row
}

// addTo adds a vector, of length 1 for the cosine.
func addTo(sums []float64, m Metric, v []float32) {
	factor := 1.0
	if m == Cosine {
		if norm := length(v); norm > 0 {
			factor = 1 / norm
		}
	}
	for i, x := range v {
		sums[i] += float64(x) * factor
	}
}

// meanOf is what codes are relative to. Codes that are all that is kept are
// relative to nothing, so that a merge, which may have another mean, keeps them.
func meanOf(o Options, sums []float64, rows int) []float32 {
	mean := make([]float32, len(sums))
	if o.Encoding == Int8 {
		return mean
	}
	for i, x := range sums {
		mean[i] = float32(x / float64(rows))
	}
	return mean
}

// Write writes the shard: what is to be given up on the way is a merge. The Builder is of no use afterwards.
func (b *Builder) Write(out io.Writer) (Result, error) {
	if b.rows == 0 {
		return Result{}, ErrEmpty
	}
	in := &input{options: b.options, mean: meanOf(b.options, b.sums, b.rows), rows: b.rows, documents: b.documents, vectors: &memory{b.data, b.stored.bytes()}}
	b.same = nil
	in.table = make([]byte, b.rows*recordBytes(b.options.Dimensions, false))
	of := newSpace(b.options.Metric, false, in.mean)
	parallel(b.options.Workers, b.rows, func(first, next int) {
		v, scratch := make([]float32, b.options.Dimensions), make([]float32, b.options.Dimensions)
		for row := first; row < next; row++ {
			b.stored.decode(v, b.data[row*b.stored.bytes():])
			of.encode(in.table[row*of.stride:][:of.stride], v, scratch)
		}
	})
	in.firsts()
	s, err := build(context.Background(), in)
	if err != nil {
		return Result{}, err
	}
	return s.write(out)
}

// firsts notes in each record its first document.
func (in *input) firsts() {
	stride := recordBytes(in.options.Dimensions, false)
	for i := len(in.documents) - 1; i >= 0; i-- {
		d := in.documents[i]
		record := in.table[int(d.row)*stride:]
		binary.LittleEndian.PutUint64(record[atOffset:], uint64(d.offset))
		binary.LittleEndian.PutUint64(record[atTimestamp:], uint64(d.timestamp))
	}
}
