package retry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/chronik-stream/chronik/objstore"
)

// Put implements objstore.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	t := tries{bucket: b, op: "put", name: name}
	for {
		var a objstore.Attributes
		err := b.attempt(ctx, t.op, body.Size, func(ctx context.Context) (err error) {
			a, err = b.bucket.Put(ctx, name, body, cond)
			return err
		})
		switch {
		case err == nil:
			return a, nil
		case t.failed > 0 && errors.Is(err, objstore.ErrExists):
			return b.look(ctx, name, body, err)
		case t.failed > 0 && errors.Is(err, objstore.ErrChanged):
			// Changed by an earlier attempt or by a rival: the bytes cannot
			// tell, as two rivals may well write the same next value.
			return objstore.Attributes{}, fmt.Errorf("put %s: outcome unknown: %w: then refused: %v", name, objstore.ErrUnavailable, err)
		}
		if err := t.again(ctx, err); err != nil {
			return objstore.Attributes{}, err
		}
	}
}

// look decides whether the object that refused a put is its own, stored by an
// earlier attempt whose outcome was unknown.
func (b *Bucket) look(ctx context.Context, name string, body objstore.Body, refused error) (objstore.Attributes, error) {
	a, err := b.Head(ctx, name)
	own := false
	if err == nil && a.Size == body.Size {
		own, err = b.holds(ctx, name, body)
	}
	switch {
	case own:
		return a, nil
	case err == nil, errors.Is(err, objstore.ErrNotFound):
		return objstore.Attributes{}, refused
	default:
		return objstore.Attributes{}, fmt.Errorf("put %s: outcome unknown: %w: look: %w", name, objstore.ErrUnavailable, err)
	}
}

// holds compares an object with a body, a piece at a time.
func (b *Bucket) holds(ctx context.Context, name string, body objstore.Body) (bool, error) {
	stored, err := b.Open(ctx, name)
	if err != nil {
		return false, err
	}
	defer stored.Close()
	mine := body.Open()
	var left, right [32 << 10]byte
	for at := int64(0); at < body.Size; {
		n := min(int64(len(left)), body.Size-at)
		if _, err := io.ReadFull(mine, left[:n]); err != nil {
			return false, fmt.Errorf("read body: %w", err)
		}
		if _, err := io.ReadFull(stored, right[:n]); err != nil {
			return false, fmt.Errorf("read stored object: %w", err)
		}
		if !bytes.Equal(left[:n], right[:n]) {
			return false, nil
		}
		at += n
	}
	return true, nil
}
