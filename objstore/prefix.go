package objstore

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
)

// WithPrefix shows the objects of b whose names begin with prefix, without it.
// It is how several clusters share a bucket. The prefix is a directory: a
// missing slash at its end is added; an empty one gives b itself.
func WithPrefix(b Bucket, prefix string) (Bucket, error) {
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return b, nil
	}
	if err := ValidateName(prefix); err != nil {
		return nil, fmt.Errorf("bucket prefix: %w", err)
	}
	return &prefixed{bucket: b, prefix: prefix + "/"}, nil
}

// Available returns nil, or why the store under b is held to be away: then reads
// fail at once, and puts wait. It is for those who tell of it; whoever needs an
// object asks for it.
func Available(b Bucket) error {
	for {
		switch w := b.(type) {
		case interface{ Available() error }:
			return w.Available()
		case interface{ Unwrap() Bucket }:
			b = w.Unwrap()
		default:
			return nil
		}
	}
}

type prefixed struct {
	bucket Bucket
	prefix string
}

// Unwrap is the whole bucket.
func (p *prefixed) Unwrap() Bucket { return p.bucket }

func (p *prefixed) strip(a Attributes) Attributes {
	a.Name = strings.TrimPrefix(a.Name, p.prefix)
	return a
}

// Every method checks the name before it joins it, so that no name can climb
// out of the prefix whatever the bucket beneath makes of it.

func (p *prefixed) Put(ctx context.Context, name string, body Body, cond Condition) (Attributes, error) {
	if err := ValidateName(name); err != nil {
		return Attributes{}, err
	}
	a, err := p.bucket.Put(ctx, p.prefix+name, body, cond)
	return p.strip(a), err
}

func (p *prefixed) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	if err := ValidateName(name); err != nil {
		return nil, err
	}
	return p.bucket.Get(ctx, p.prefix+name, offset, length)
}

func (p *prefixed) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := ValidateName(name); err != nil {
		return nil, err
	}
	return p.bucket.Open(ctx, p.prefix+name)
}

func (p *prefixed) Head(ctx context.Context, name string) (Attributes, error) {
	if err := ValidateName(name); err != nil {
		return Attributes{}, err
	}
	a, err := p.bucket.Head(ctx, p.prefix+name)
	return p.strip(a), err
}

func (p *prefixed) Delete(ctx context.Context, name string) error {
	if err := ValidateName(name); err != nil {
		return err
	}
	return p.bucket.Delete(ctx, p.prefix+name)
}

func (p *prefixed) List(ctx context.Context, prefix string) iter.Seq2[Attributes, error] {
	return func(yield func(Attributes, error) bool) {
		for a, err := range p.bucket.List(ctx, p.prefix+prefix) {
			if !yield(p.strip(a), err) {
				return
			}
		}
	}
}
