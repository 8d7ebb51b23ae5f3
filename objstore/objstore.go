// Package objstore is Chronik's view of a bucket: immutable objects, put under
// a condition, read by range.
//
// The interface is small on purpose. Everything Chronik keeps in a bucket is
// written once under a name of its own and never changed, so there is no
// append, no rename and no multi-object operation. Implementations live in
// sub-packages (memory, dir, s3); wrappers (retry, metrics, cache, faults) take
// a Bucket and are one. All of them pass the suite in objstore/objtest.
package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Errors of every implementation, to be tested with errors.Is.
var (
	// ErrNotFound: the object does not exist.
	ErrNotFound = errors.New("object not found")
	// ErrExists: a put with IfAbsent found an object of that name. The object
	// may be the caller's own, stored by an attempt whose answer was lost.
	ErrExists = errors.New("object already exists")
	// ErrChanged: a put with IfMatch found another ETag, or no object.
	ErrChanged = errors.New("object changed")
	// ErrRange: the asked range does not lie within the object.
	ErrRange = errors.New("range outside the object")
	// ErrUnavailable: the store did not do it, or may not have (a timeout, a
	// 5xx, a cut connection): the outcome is unknown, trying again is sensible.
	ErrUnavailable = errors.New("object store unavailable")
)

// Attributes describe a stored object.
type Attributes struct {
	Name     string
	Size     int64
	ETag     string // opaque, without quotes; changes whenever the bytes do
	Modified time.Time
}

// Condition guards a Put. The zero value writes always.
type Condition struct {
	IfAbsent bool   // write only when no object has that name
	IfMatch  string // write only over the object with this ETag
}

// Body is what Put uploads: of known size, and readable again for a retry.
type Body struct {
	Size int64
	// Open returns a new reader over all Size bytes. It may be called many
	// times; the bytes must not change while a Put is under way.
	Open func() io.ReadSeeker
}

// Bytes is a Body over b.
func Bytes(b []byte) Body {
	return Body{Size: int64(len(b)), Open: func() io.ReadSeeker { return bytes.NewReader(b) }}
}

// Buffers is a Body over the concatenation of parts, which are not copied.
func Buffers(parts [][]byte) Body {
	var size int64
	for _, p := range parts {
		size += int64(len(p))
	}
	return Body{Size: size, Open: func() io.ReadSeeker { return &buffersReader{parts: parts, size: size} }}
}

// Bucket is a flat namespace of objects. All methods may be called at once from
// many goroutines. A method returns when ctx ends, with an error that wraps
// ctx's; the effect of a Put or Delete so cut short is unknown.
type Bucket interface {
	// Put stores body under name and returns what it stored. The object
	// appears whole or not at all, and is durable when Put returns nil.
	// Errors: ErrExists, ErrChanged, ErrUnavailable (effect unknown).
	Put(ctx context.Context, name string, body Body, cond Condition) (Attributes, error)

	// Get returns length bytes from offset; length −1 means to the end. The
	// returned slice is the caller's. Errors: ErrNotFound, ErrRange.
	Get(ctx context.Context, name string, offset, length int64) ([]byte, error)

	// Open streams a whole object. The caller closes it.
	Open(ctx context.Context, name string) (io.ReadCloser, error)

	// Head returns the attributes, or ErrNotFound.
	Head(ctx context.Context, name string) (Attributes, error)

	// Delete removes an object; one that is absent is no error.
	Delete(ctx context.Context, name string) error

	// List yields the objects whose names begin with prefix, in the order of
	// their names. Objects put or deleted meanwhile may be seen or not. After
	// an error the sequence ends.
	List(ctx context.Context, prefix string) iter.Seq2[Attributes, error]
}

// buffersReader reads a list of slices as one.
type buffersReader struct {
	parts [][]byte
	size  int64
	at    int64 // position in the whole
	part  int   // index of the part that holds at
	skip  int   // bytes of that part already read
}

func (r *buffersReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && r.part < len(r.parts) {
		c := copy(p[n:], r.parts[r.part][r.skip:])
		n += c
		r.skip += c
		if r.skip == len(r.parts[r.part]) {
			r.part++
			r.skip = 0
		}
	}
	r.at += int64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *buffersReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: before the start", offset)
	}
	r.at, r.part, r.skip = offset, 0, 0
	for r.part < len(r.parts) && offset >= int64(len(r.parts[r.part])) {
		offset -= int64(len(r.parts[r.part]))
		r.part++
	}
	if r.part < len(r.parts) {
		r.skip = int(offset)
	}
	return r.at, nil
}
