package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/chronik-stream/chronik/objstore"
)

// seamBucket is the bucket as one process reaches it.
type seamedBucket struct {
	l     *life
	inner objstore.Bucket
}

// ask runs one request.
func ask[T any](ctx context.Context, b *seamedBucket, what, name string, request func(context.Context) (T, error)) (T, error) {
	var r struct {
		value T
		err   error
	}
	o, err := b.l.do(ctx, seamBucket, what+" "+normal(name), func() { r.value, r.err = request(context.Background()) })
	if o != done {
		var none T
		if ctx.Err() != nil {
			return none, fmt.Errorf("%s %s: %w", what, name, ctx.Err())
		}
		return none, fmt.Errorf("%s %s: %w: %w", what, name, objstore.ErrUnavailable, err)
	}
	return r.value, r.err
}

// Put implements objstore.Bucket.
func (b *seamedBucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	data, err := io.ReadAll(body.Open()) // it may be stored when the caller has given up
	if err != nil {
		return objstore.Attributes{}, err
	}
	return ask(ctx, b, "put", name, func(ctx context.Context) (objstore.Attributes, error) {
		return b.inner.Put(ctx, name, objstore.Bytes(data), cond)
	})
}

// Get implements objstore.Bucket.
func (b *seamedBucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	what := fmt.Sprintf("get %d+%d of", offset, length)
	return ask(ctx, b, what, name, func(ctx context.Context) ([]byte, error) { return b.inner.Get(ctx, name, offset, length) })
}

// Open implements objstore.Bucket.
func (b *seamedBucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	data, err := ask(ctx, b, "open", name, func(ctx context.Context) ([]byte, error) { return b.inner.Get(ctx, name, 0, -1) })
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Head implements objstore.Bucket.
func (b *seamedBucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	return ask(ctx, b, "head", name, func(ctx context.Context) (objstore.Attributes, error) { return b.inner.Head(ctx, name) })
}

// Delete implements objstore.Bucket.
func (b *seamedBucket) Delete(ctx context.Context, name string) error {
	_, err := ask(ctx, b, "delete", name, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.inner.Delete(ctx, name) })
	return err
}

// List implements objstore.Bucket.
func (b *seamedBucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		found, err := ask(ctx, b, "list", prefix, func(ctx context.Context) (all []objstore.Attributes, err error) {
			for a, err := range b.inner.List(ctx, prefix) {
				if err != nil {
					return nil, err
				}
				all = append(all, a)
			}
			return all, nil
		})
		if err != nil {
			yield(objstore.Attributes{}, err)
			return
		}
		for _, a := range found {
			if !yield(a, nil) {
				return
			}
		}
	}
}
