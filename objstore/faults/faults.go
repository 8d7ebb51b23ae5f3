// Package faults makes a bucket fail on purpose, by a plan that can be printed,
// parsed and replayed.
//
// Chance is not drawn but computed: hash(seed, rule, operation, name, how many
// times this name was asked this before). So one seed strikes the same calls
// however the goroutines of a test are scheduled. Nth and Every count the
// matching calls of the whole bucket in the order of their arrival, which is
// only repeatable where that order is.
package faults

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/faultplan"
	"github.com/chronik-stream/chronik/objstore"
)

// Bucket is an objstore.Bucket over another one that fails as planned.
type Bucket struct {
	bucket objstore.Bucket

	mu      sync.Mutex
	plan    Plan
	matched []int64          // per rule: calls it applied to
	struck  []int64          // per rule: calls it struck
	calls   map[string]int64 // per operation and name
}

// New wraps bucket. A plan without rules changes nothing.
func New(bucket objstore.Bucket, plan Plan) *Bucket {
	b := &Bucket{bucket: bucket, calls: map[string]int64{}}
	b.Use(plan)
	return b
}

// Use replaces the plan and begins its counts anew: an outage starts, or ends.
func (b *Bucket) Use(plan Plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plan = plan
	b.matched = make([]int64, len(plan.Rules))
	b.struck = make([]int64, len(plan.Rules))
	clear(b.calls)
}

// Struck says how often each rule of the plan has struck, so that a test can
// tell that what it survived really happened.
func (b *Bucket) Struck() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]int64(nil), b.struck...)
}

// fate is what the plan holds for one call.
type fate struct {
	wait   time.Duration
	effect Effect // empty: none
	where  uint64 // chance for the position of a Cut or Flip
}

func (b *Bucket) fate(op Op, name string) fate {
	b.mu.Lock()
	defer b.mu.Unlock()
	site := string(op) + " " + name
	call := b.calls[site]
	b.calls[site]++
	var f fate
	for i, r := range b.plan.Rules {
		if (r.Op != Any && r.Op != op) || !strings.HasPrefix(name, r.Name) {
			continue
		}
		b.matched[i]++
		chance := faultplan.Hash(b.plan.Seed, uint64(i), site, uint64(call))
		if !r.Strikes(b.matched[i], chance) {
			continue
		}
		b.struck[i]++
		if r.Effect == Delay {
			f.wait += r.Wait
			continue
		}
		f.effect, f.where = r.Effect, faultplan.Hash(chance, 0, site, 0)
		break
	}
	return f
}

// begin waits and fails as planned for before the effect.
func (b *Bucket) begin(ctx context.Context, op Op, name string) (fate, error) {
	if err := ctx.Err(); err != nil {
		return fate{}, fmt.Errorf("%s %s: %w", op, name, err)
	}
	f := b.fate(op, name)
	if f.wait > 0 {
		timer := time.NewTimer(f.wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return f, fmt.Errorf("%s %s: %w", op, name, ctx.Err())
		}
	}
	if f.effect == FailBefore {
		return f, failed(op, name, f.effect)
	}
	return f, nil
}

func failed(op Op, name string, effect Effect) error {
	return fmt.Errorf("%s %s: injected %s: %w", op, name, effect, objstore.ErrUnavailable)
}

// end fails as planned for after the effect.
func (f fate) end(op Op, name string) error {
	if f.effect == FailAfter || f.effect == Cut {
		return failed(op, name, f.effect)
	}
	return nil
}

// Put implements objstore.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	f, err := b.begin(ctx, Put, name)
	if err != nil {
		return objstore.Attributes{}, err
	}
	switch {
	case f.effect == Cut:
		// The store never saw the end, so it stores nothing. That the store
		// beneath would notice is its suite's concern, not this one's.
		return objstore.Attributes{}, failed(Put, name, f.effect)
	case f.effect == Flip && body.Size > 0:
		body = flipBody(body, f.where)
	}
	a, err := b.bucket.Put(ctx, name, body, cond)
	if err == nil {
		err = f.end(Put, name)
	}
	if err != nil {
		return objstore.Attributes{}, err
	}
	return a, nil
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	f, err := b.begin(ctx, Get, name)
	if err != nil {
		return nil, err
	}
	data, err := b.bucket.Get(ctx, name, offset, length)
	if err == nil {
		err = f.end(Get, name)
	}
	if err != nil {
		return nil, err
	}
	if f.effect == Flip && len(data) > 0 {
		bit := f.where % (uint64(len(data)) * 8)
		data[bit/8] ^= 1 << (bit % 8)
	}
	return data, nil
}

// Open implements objstore.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	f, err := b.begin(ctx, Open, name)
	if err == nil && f.effect == FailAfter { // an answer that was lost gives no reader
		err = failed(Open, name, f.effect)
	}
	if err != nil {
		return nil, err
	}
	if f.effect != Cut && f.effect != Flip {
		return b.bucket.Open(ctx, name)
	}
	a, err := b.bucket.Head(ctx, name) // where to strike depends on the size
	if err != nil {
		return nil, err
	}
	r, err := b.bucket.Open(ctx, name)
	if err != nil || a.Size == 0 {
		return r, err
	}
	if f.effect == Flip {
		return &flipped{Reader: r, Closer: r, bit: int64(f.where % (uint64(a.Size) * 8))}, nil
	}
	return &cut{ReadCloser: r, name: name, left: int64(f.where % uint64(a.Size))}, nil
}

// Head implements objstore.Bucket.
func (b *Bucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	f, err := b.begin(ctx, Head, name)
	if err != nil {
		return objstore.Attributes{}, err
	}
	a, err := b.bucket.Head(ctx, name)
	if err == nil {
		err = f.end(Head, name)
	}
	if err != nil {
		return objstore.Attributes{}, err
	}
	return a, nil
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	f, err := b.begin(ctx, Delete, name)
	if err != nil {
		return err
	}
	if f.effect == Cut {
		return failed(Delete, name, f.effect)
	}
	if err := b.bucket.Delete(ctx, name); err != nil {
		return err
	}
	return f.end(Delete, name)
}

// List implements objstore.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		f, err := b.begin(ctx, List, prefix)
		left := -1
		switch {
		case err != nil:
		case f.effect == FailAfter:
			err = failed(List, prefix, f.effect)
		case f.effect == Cut:
			left = int(f.where % 8) // early enough to strike in short lists too
		}
		if err != nil {
			yield(objstore.Attributes{}, err)
			return
		}
		for a, err := range b.bucket.List(ctx, prefix) {
			if left == 0 {
				yield(objstore.Attributes{}, failed(List, prefix, f.effect))
				return
			}
			left--
			if !yield(a, err) {
				return
			}
		}
	}
}
