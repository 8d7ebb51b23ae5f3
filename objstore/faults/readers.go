package faults

import (
	"io"

	"github.com/chronik-stream/chronik/objstore"
)

// flipBody is body with one bit turned over.
func flipBody(body objstore.Body, where uint64) objstore.Body {
	bit := int64(where % (uint64(body.Size) * 8))
	return objstore.Body{Size: body.Size, Open: func() io.ReadSeeker {
		r := body.Open()
		return &flipped{Reader: r, Seeker: r, bit: bit}
	}}
}

// flipped turns over one bit of what passes. Of Closer and Seeker it has the one
// that its reader has.
type flipped struct {
	io.Reader
	io.Closer
	io.Seeker
	at  int64 // bytes read
	bit int64
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if at := f.bit/8 - f.at; at >= 0 && at < int64(n) {
		p[at] ^= 1 << (f.bit % 8)
	}
	f.at += int64(n)
	return n, err
}

func (f *flipped) Seek(offset int64, whence int) (int64, error) {
	at, err := f.Seeker.Seek(offset, whence)
	if err == nil {
		f.at = at
	}
	return at, err
}

// cut fails after some bytes.
type cut struct {
	io.ReadCloser
	name string
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, failed(Open, c.name, Cut)
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
