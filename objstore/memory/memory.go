// Package memory is a bucket in memory, for tests and simulation.
//
// It keeps the whole contract of objstore.Bucket but durability: its objects
// live as long as the Bucket does. ETags are hashes of the contents, as S3's
// are, so putting the same bytes again gives the same ETag.
package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/objstore"
)

// Bucket is an objstore.Bucket.
type Bucket struct {
	mu      sync.RWMutex
	objects map[string]object
}

type object struct {
	attributes objstore.Attributes
	data       []byte // never changed once stored
}

// New returns an empty bucket.
func New() *Bucket { return &Bucket{objects: map[string]object{}} }

// Put implements objstore.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	if err := check(ctx, "put", name); err != nil {
		return objstore.Attributes{}, err
	}
	data, err := io.ReadAll(body.Open())
	if err == nil && int64(len(data)) != body.Size {
		err = fmt.Errorf("body holds %d bytes, announced %d", len(data), body.Size)
	}
	if err != nil {
		return objstore.Attributes{}, fmt.Errorf("put %s: %w", name, err)
	}
	sum := sha256.Sum256(data)
	stored := object{data: data, attributes: objstore.Attributes{
		Name: name, Size: body.Size, ETag: hex.EncodeToString(sum[:16]), Modified: time.Now(),
	}}

	b.mu.Lock()
	defer b.mu.Unlock()
	old, exists := b.objects[name]
	switch {
	case cond.IfAbsent && exists:
		return objstore.Attributes{}, fmt.Errorf("put %s: %w", name, objstore.ErrExists)
	case cond.IfMatch != "" && old.attributes.ETag != cond.IfMatch:
		return objstore.Attributes{}, fmt.Errorf("put %s: %w", name, objstore.ErrChanged)
	}
	b.objects[name] = stored
	return stored.attributes, nil
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	o, err := b.find(ctx, "get", name)
	if err != nil {
		return nil, err
	}
	length, err = objstore.Within(o.attributes.Size, offset, length)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return bytes.Clone(o.data[offset : offset+length]), nil
}

// Open implements objstore.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := b.find(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(o.data)), nil
}

// Head implements objstore.Bucket.
func (b *Bucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	o, err := b.find(ctx, "head", name)
	return o.attributes, err
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := check(ctx, "delete", name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, name)
	return nil
}

// List implements objstore.Bucket: it yields what the bucket held when it began.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		for _, a := range b.matching(prefix) {
			if err := ctx.Err(); err != nil {
				yield(objstore.Attributes{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

func (b *Bucket) matching(prefix string) []objstore.Attributes {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var found []objstore.Attributes
	for name, o := range b.objects {
		if strings.HasPrefix(name, prefix) {
			found = append(found, o.attributes)
		}
	}
	slices.SortFunc(found, func(x, y objstore.Attributes) int { return strings.Compare(x.Name, y.Name) })
	return found
}

func (b *Bucket) find(ctx context.Context, op, name string) (object, error) {
	if err := check(ctx, op, name); err != nil {
		return object{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	o, ok := b.objects[name]
	if !ok {
		return object{}, fmt.Errorf("%s %s: %w", op, name, objstore.ErrNotFound)
	}
	return o, nil
}

func check(ctx context.Context, op, name string) error {
	err := ctx.Err()
	if err == nil {
		err = objstore.ValidateName(name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}
