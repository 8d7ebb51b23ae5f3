package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/chronik-stream/chronik/objstore"
)

const contentType = "application/octet-stream"

// Put implements objstore.Bucket. Modified is this machine's time: S3 does not
// tell its own.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	if err := objstore.ValidateName(name); err != nil {
		return objstore.Attributes{}, fmt.Errorf("put: %w", err)
	}
	var etag string
	var read, err error
	if body.Size > b.partBytes {
		etag, read, err = b.putParts(ctx, name, body, cond)
	} else {
		etag, read, err = b.putWhole(ctx, name, body, cond)
	}
	if err != nil {
		return objstore.Attributes{}, b.explainPut(ctx, name, cond, read, err)
	}
	return objstore.Attributes{Name: name, Size: body.Size, ETag: etag, Modified: time.Now()}, nil
}

func (b *Bucket) putWhole(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (etag string, read, err error) {
	content := &section{whole: body.Open(), size: body.Size}
	in := &s3.PutObjectInput{
		Bucket: &b.name, Key: &name, Body: content, ContentLength: &body.Size, ContentType: sdk.String(contentType),
	}
	in.IfNoneMatch, in.IfMatch = conditions(cond)
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		return "", content.failed, err
	}
	return unquoted(out.ETag), nil, nil
}

// conditions are the headers of a condition. An ETag goes to the store as it came
// from there: in quotes.
func conditions(cond objstore.Condition) (ifNoneMatch, ifMatch *string) {
	switch {
	case cond.IfAbsent:
		return sdk.String("*"), nil
	case cond.IfMatch != "":
		return nil, sdk.String(`"` + cond.IfMatch + `"`)
	}
	return nil, nil
}

func unquoted(etag *string) string { return strings.Trim(sdk.ToString(etag), `"`) }

// explainPut is explain for a put. read is the error of the body, which says that
// it was not the store that failed.
func (b *Bucket) explainPut(ctx context.Context, name string, cond objstore.Condition, read, err error) error {
	if read != nil {
		return fmt.Errorf("put %s: read body: %w", name, read)
	}
	err = b.explain(ctx, "put", name, err)
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
	in := &s3.GetObjectInput{Bucket: &b.name, Key: &name}
	switch {
	case length > 0:
		in.Range = sdk.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		in.Range = sdk.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := b.client.GetObject(ctx, in)
	if err = b.explain(ctx, "get", name, err); errors.Is(err, objstore.ErrRange) {
		return b.judge(ctx, name, offset, length) // an empty rest is no error for us
	}
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return b.readRange(ctx, out, name, length)
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
func (b *Bucket) readRange(ctx context.Context, out *s3.GetObjectOutput, name string, length int64) ([]byte, error) {
	if out.ContentLength == nil {
		return nil, fmt.Errorf("get %s: the store does not tell the answer's size", name)
	}
	size := *out.ContentLength
	switch {
	case length >= 0 && size < length:
		return nil, fmt.Errorf("get %s: %w: %d bytes of it, of %d asked for", name, objstore.ErrRange, size, length)
	case length >= 0 && size > length, size < 0:
		return nil, fmt.Errorf("get %s: the store sends %d bytes for a range of %d", name, size, length)
	}
	data := make([]byte, size)
	_, err := io.ReadFull(out.Body, data)
	if err == nil {
		// The SDK compares checksums when it sees the end.
		var more [1]byte
		if _, err = io.ReadFull(out.Body, more[:]); err == io.EOF {
			return data, nil
		}
	}
	if err == nil {
		return nil, fmt.Errorf("get %s: the store sends more than the %d bytes that it announced", name, size)
	}
	return nil, b.explain(ctx, "get", name, err)
}

// Open implements objstore.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := objstore.ValidateName(name); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &name})
	if err != nil {
		return nil, b.explain(ctx, "open", name, err)
	}
	return &reader{ReadCloser: out.Body, bucket: b, ctx: ctx, name: name}, nil
}

// reader gives errors in the middle of a stream the meaning of ours.
type reader struct {
	io.ReadCloser
	bucket *Bucket
	ctx    context.Context
	name   string
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == io.EOF {
		return n, err
	}
	return n, r.bucket.explain(r.ctx, "read", r.name, err)
}

// Head implements objstore.Bucket.
func (b *Bucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	if err := objstore.ValidateName(name); err != nil {
		return objstore.Attributes{}, fmt.Errorf("head: %w", err)
	}
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &name})
	if err != nil {
		return objstore.Attributes{}, b.explain(ctx, "head", name, err)
	}
	return objstore.Attributes{
		Name: name, Size: sdk.ToInt64(out.ContentLength), ETag: unquoted(out.ETag), Modified: sdk.ToTime(out.LastModified),
	}, nil
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := objstore.ValidateName(name); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &name})
	if err = b.explain(ctx, "delete", name, err); errors.Is(err, objstore.ErrNotFound) { // some stores do say so
		return nil
	}
	return err
}

// List implements objstore.Bucket, a page of up to 1,000 objects at a time.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(objstore.Attributes{}, b.explain(ctx, "list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				a := objstore.Attributes{
					Name: sdk.ToString(o.Key), Size: sdk.ToInt64(o.Size), ETag: unquoted(o.ETag), Modified: sdk.ToTime(o.LastModified),
				}
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}
