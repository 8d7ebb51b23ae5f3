package resultcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// Those who ask the same question at the same time share one run.
//
// The first of them has its rows as they come. The others wait for the whole
// answer, and if it turns out to be too large to be kept, or fails, each asks by
// itself. A run is ahead of its first reader by no more than an answer that is
// kept, so nobody waits for somebody who reads slowly; and it ends when the last
// of them is gone, not when the first is.

// start starts a run of the engine, until ctx ends.
type start func(ctx context.Context) (Rows, error)

// Ask returns the answer of a question: the one that is kept, that of a run that
// somebody else began, or its own, which is kept if it is small enough. Shared
// reports that nothing ran for it alone.
//
// What a run reads has to stay as long as the Rows of any that asked are open.
func (c *Cache) Ask(ctx context.Context, key Key, begin start) (rows Rows, shared bool, err error) {
	if c.options.BytesMax == 0 {
		rows, err = begin(ctx)
		return rows, false, err
	}
	if kept, ok := c.get(key); ok {
		rows, err = kept.play()
		return rows, true, err
	}
	r, first := c.join(ctx, key, begin)
	if first {
		rows, err = r.first(ctx)
		return rows, false, err
	}
	kept, err := r.wait(ctx)
	switch {
	case err != nil:
		return nil, false, err
	case kept != nil:
		rows, err = kept.play()
		return rows, true, err
	}
	rows, err = begin(ctx)
	return rows, false, err
}

// join enters the run of a question, which begins if there is none.
func (c *Cache) join(ctx context.Context, key Key, begin start) (r *run, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.runs[key]; r != nil {
		r.waiting++
		c.counts.Joined++
		return r, false
	}
	r = &run{cache: c, key: key, waiting: 1, more: make(chan struct{}), settled: make(chan struct{}), ended: make(chan struct{})}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	c.runs[key] = r
	go r.read(inner, begin)
	return r, true
}

// run is one run of a question. Its fields are guarded by the cache's lock, but
// for rows and err, which are written before the channel closes that tells of them.
type run struct {
	cache  *Cache
	key    Key
	cancel context.CancelFunc

	waiting   int  // who asked and did not go
	firstGone bool // its batches are nobody's

	batches []arrow.RecordBatch // that the first one did not take yet
	more    chan struct{}       // closed, and made anew, when there is something for it

	schema  *arrow.Schema // nil: the engine has not begun to answer
	rows    Rows          // the engine's, for the first one to read on; nil: it is at its end
	answer  *answer       // the whole one
	err     error         // why there is none
	done    bool          // it is settled
	settled chan struct{} // closed when it is known whether there is a whole answer
	ended   chan struct{} // closed when the run does not read any more
}

// read runs the question until it is settled.
func (r *run) read(ctx context.Context, begin start) {
	defer close(r.ended)
	var rows Rows
	defer func() {
		if cause := recover(); cause != nil {
			err := fmt.Errorf("a query panicked: %v", cause)
			if rows != nil {
				err = errors.Join(err, rows.Close())
			}
			r.settle(nil, nil, err)
		}
	}()
	rows, err := begin(ctx)
	if err != nil {
		r.settle(nil, nil, err)
		return
	}
	r.publish(rows.Schema(), nil)
	var body bytes.Buffer
	writer := ipc.NewWriter(&body, ipc.WithSchema(rows.Schema()))
	for {
		batch, err := rows.Next()
		switch {
		case errors.Is(err, io.EOF):
			truncated := rows.Truncated()
			if err := errors.Join(writer.Close(), rows.Close()); err != nil {
				r.settle(nil, nil, fmt.Errorf("keep an answer: %w", err))
				return
			}
			r.settle(r.cache.put(r.key, bytes.Clone(body.Bytes()), truncated), nil, nil)
			return
		case err != nil:
			r.settle(nil, nil, errors.Join(err, rows.Close()))
			return
		}
		// A batch that is far too large is not written to see that it is.
		fits := r.cache.fits(int64(body.Len())+batchBytes(batch)) && writer.Write(batch) == nil && r.cache.fits(int64(body.Len()))
		r.publish(rows.Schema(), batch)
		if !fits {
			_ = writer.Close() // what it would still write is not wanted
			r.settle(nil, rows, errTooLarge)
			return
		}
	}
}

var errTooLarge = errors.New("the answer is too large to be kept")

// publish hands a batch to the first one.
func (r *run) publish(schema *arrow.Schema, batch arrow.RecordBatch) {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	r.schema = schema
	switch {
	case batch == nil:
	case r.firstGone:
		batch.Release()
	default:
		r.batches = append(r.batches, batch)
	}
	r.wake()
}

func (r *run) wake() {
	close(r.more)
	r.more = make(chan struct{})
}

// settle says how the run ended: with a whole answer, with rows that the first
// one is to read on, or with an error.
func (r *run) settle(whole *answer, rows Rows, err error) {
	r.cache.mu.Lock()
	r.answer, r.err, r.done = whole, err, true
	if !r.firstGone {
		r.rows, rows = rows, nil
	}
	r.forget()
	r.wake()
	close(r.settled)
	r.cache.mu.Unlock()
	if rows != nil {
		_ = rows.Close() // nobody reads them
	}
}

// forget makes whoever asks from now on begin anew. The lock is held.
func (r *run) forget() {
	if r.cache.runs[r.key] == r {
		delete(r.cache.runs, r.key)
	}
}

// leave is the end of one that asked. When it was the last one the run ends, and
// has ended when leave returns. The first one gets what it has to close.
func (r *run) leave(first bool) (rest Rows, last bool) {
	r.cache.mu.Lock()
	r.waiting--
	last = r.waiting == 0
	if first {
		r.firstGone = true
		rest, r.rows = r.rows, nil
		for _, batch := range r.batches {
			batch.Release()
		}
		r.batches = nil
	}
	if last {
		r.forget()
		r.cancel()
	}
	r.cache.mu.Unlock()
	if last {
		<-r.ended
	}
	return rest, last
}

// failure is why the run failed, if it has.
func (r *run) failure() error {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	if errors.Is(r.err, errTooLarge) {
		return nil
	}
	return r.err
}

// wait returns the whole answer, or nil when there is none. The last one to go
// is told how the run ended: it may still use what it was to use.
func (r *run) wait(ctx context.Context) (*answer, error) {
	select {
	case <-r.settled:
		r.leave(false)
		return r.answer, nil
	case <-ctx.Done():
	}
	err := ctx.Err()
	if _, last := r.leave(false); last {
		err = errors.Join(err, r.failure())
	}
	return nil, err
}

// first returns the rows of the one that began the run, when there are any or
// none are to come.
func (r *run) first(ctx context.Context) (Rows, error) {
	f := &first{run: r, ctx: ctx}
	for {
		r.cache.mu.Lock()
		more, schema, done, err := r.more, r.schema, r.done, r.err
		r.cache.mu.Unlock()
		switch {
		case schema != nil:
			f.schema = schema
			return f, nil
		case done:
			f.told = true
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}

// first reads what a run reads ahead, and then what it left.
type first struct {
	run       *run
	ctx       context.Context
	schema    *arrow.Schema
	rest      Rows // the engine's rows, from where the run left them
	unwatch   func() bool
	truncated bool
	told      bool // of the run's failure
	closed    bool
}

// Schema implements Rows.
func (f *first) Schema() *arrow.Schema { return f.schema }

// Truncated implements Rows.
func (f *first) Truncated() bool {
	if f.rest != nil {
		return f.rest.Truncated()
	}
	return f.truncated
}

// Next implements Rows.
func (f *first) Next() (arrow.RecordBatch, error) {
	for f.rest == nil {
		if f.closed {
			return nil, io.ErrClosedPipe
		}
		batch, more, err := f.take()
		if batch != nil || err != nil {
			return batch, err
		}
		if more == nil {
			break
		}
		select {
		case <-more:
		case <-f.ctx.Done():
			return nil, f.ctx.Err()
		}
	}
	batch, err := f.rest.Next()
	if err != nil && !errors.Is(err, io.EOF) && f.ctx.Err() != nil {
		err = f.ctx.Err()
	}
	return batch, err
}

// take takes what there is: a batch, an error, or neither. Then more is closed
// when there may be something, or nil when the rest is to be read.
func (f *first) take() (batch arrow.RecordBatch, more chan struct{}, err error) {
	r := f.run
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	switch {
	case len(r.batches) > 0:
		batch, r.batches = r.batches[0], r.batches[1:]
		return batch, nil, nil
	case !r.done:
		return nil, r.more, nil
	case r.answer != nil:
		f.truncated = r.answer.truncated
		return nil, nil, io.EOF
	case r.rows != nil:
		f.rest, r.rows = r.rows, nil
		// From here on nobody else has a part in it.
		f.unwatch = context.AfterFunc(f.ctx, r.cancel)
		return nil, nil, nil
	}
	f.told = true
	return nil, nil, r.err
}

// Close implements Rows. It answers a failure of the run that Next has not: who
// asked may have gone before, and what failed may still use what it was to use.
func (f *first) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	r := f.run
	rest, _ := r.leave(true)
	if f.rest != nil {
		rest = f.rest
	}
	var err error
	if rest != nil {
		err = rest.Close()
		r.cancel()
	}
	if !f.told {
		err = errors.Join(err, r.failure())
	}
	if f.unwatch != nil {
		f.unwatch()
	}
	return err
}
