package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"github.com/minio/minio-go/v7"
	thanos "github.com/thanos-io/objstore"

	"github.com/chronik-stream/chronik/objstore"
)

// Put implements objstore.Bucket. Modified is this machine's time: S3 does not
// tell its own.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	if err := objstore.ValidateName(name); err != nil {
		return objstore.Attributes{}, fmt.Errorf("put: %w", err)
	}
	opts := minio.PutObjectOptions{
		ContentType: "application/octet-stream",
		PartSize:    uint64(b.partBytes),
	}
	switch {
	case cond.IfAbsent:
		opts.SetMatchETagExcept("*")
	case cond.IfMatch != "":
		opts.SetMatchETag(cond.IfMatch)
	}
	content := &bodyReader{ReadSeeker: body.Open()}
	info, err := b.client.PutObject(ctx, b.name, name, content, body.Size, opts)
	if err != nil {
		return objstore.Attributes{}, explainPut(ctx, name, cond, content.failed, err)
	}
	return objstore.Attributes{Name: name, Size: body.Size, ETag: info.ETag, Modified: time.Now()}, nil
}

// bodyReader remembers that it was the body, and not the store, that failed.
type bodyReader struct {
	io.ReadSeeker
	failed error
}

func (r *bodyReader) Read(p []byte) (int, error) {
	n, err := r.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		r.failed = err
	}
	return n, err
}

func explainPut(ctx context.Context, name string, cond objstore.Condition, body, err error) error {
	if body != nil {
		return fmt.Errorf("put %s: read body: %w", name, body)
	}
	err = explain(ctx, "put", name, err)
	switch {
	case errors.Is(err, errPrecondition) && cond.IfAbsent:
		return fmt.Errorf("put %s: %w", name, objstore.ErrExists)
	case errors.Is(err, errPrecondition), cond.IfMatch != "" && errors.Is(err, objstore.ErrNotFound):
		return fmt.Errorf("put %s: %w", name, objstore.ErrChanged)
	}
	return err
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	if err := objstore.ValidateName(name); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	// S3 has no empty ranges, and these others are wrong for objects of any size.
	if length == 0 || offset < 0 || length < -1 || offset > math.MaxInt64-max(0, length) {
		return b.judge(ctx, name, offset, length)
	}
	r, err := b.provider.GetRange(ctx, name, offset, length)
	if err == io.EOF { // the provider's answer for an empty object
		return b.judge(ctx, name, offset, length)
	}
	if err = explain(ctx, "get", name, err); errors.Is(err, objstore.ErrRange) {
		return b.judge(ctx, name, offset, length) // an empty rest is no error for us
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readRange(ctx, r, name, length)
}

// judge answers where the answer depends on the object's size: an empty range,
// or an error.
func (b *Bucket) judge(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	a, err := b.Head(ctx, name)
	if err != nil {
		return nil, err
	}
	if length, err = objstore.Within(a.Size, offset, length); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	if length > 0 { // it grew between two requests
		return nil, fmt.Errorf("get %s: %w: object was replaced meanwhile", name, objstore.ErrUnavailable)
	}
	return []byte{}, nil
}

// readRange reads an answer whole. What it allocates the store has announced.
func readRange(ctx context.Context, r io.ReadCloser, name string, length int64) ([]byte, error) {
	sized, ok := r.(thanos.ObjectSizer)
	if !ok {
		return nil, fmt.Errorf("get %s: the provider does not tell the answer's size", name)
	}
	size, err := sized.ObjectSize()
	if err != nil {
		return nil, explain(ctx, "get", name, err)
	}
	switch {
	case length >= 0 && size < length:
		return nil, fmt.Errorf("get %s: %w: %d bytes of it, of %d asked for", name, objstore.ErrRange, size, length)
	case length >= 0 && size > length, size < 0:
		return nil, fmt.Errorf("get %s: the store sends %d bytes for a range of %d", name, size, length)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, explain(ctx, "get", name, err)
	}
	return data, nil
}

// Open implements objstore.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := objstore.ValidateName(name); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	r, err := b.provider.Get(ctx, name)
	if err == io.EOF { // the provider's answer for an empty object
		_, err = b.judge(ctx, name, 0, -1)
		return io.NopCloser(bytes.NewReader(nil)), err
	}
	if err != nil {
		return nil, explain(ctx, "open", name, err)
	}
	return &reader{ReadCloser: r, ctx: ctx, name: name}, nil
}

// reader gives errors in the middle of a stream the meaning of ours.
type reader struct {
	io.ReadCloser
	ctx  context.Context
	name string
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == io.EOF {
		return n, err
	}
	return n, explain(r.ctx, "read", r.name, err)
}

// Head implements objstore.Bucket.
func (b *Bucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	if err := objstore.ValidateName(name); err != nil {
		return objstore.Attributes{}, fmt.Errorf("head: %w", err)
	}
	info, err := b.client.StatObject(ctx, b.name, name, minio.StatObjectOptions{})
	if err != nil {
		return objstore.Attributes{}, explain(ctx, "head", name, err)
	}
	return attributes(info), nil
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := objstore.ValidateName(name); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	err := explain(ctx, "delete", name, b.provider.Delete(ctx, name))
	if errors.Is(err, objstore.ErrNotFound) { // some stores do say so
		return nil
	}
	return err
}

// List implements objstore.Bucket, a page of up to 1,000 objects at a time.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		for info := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
			if info.Err != nil {
				yield(objstore.Attributes{}, explain(ctx, "list", prefix, info.Err))
				return
			}
			if !yield(attributes(info), nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil { // the library just stops
			yield(objstore.Attributes{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

func attributes(info minio.ObjectInfo) objstore.Attributes {
	return objstore.Attributes{Name: info.Key, Size: info.Size, ETag: info.ETag, Modified: info.LastModified}
}
