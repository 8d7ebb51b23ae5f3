package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/objstore"
)

// resumeBytes is how much a reader that lost its stream asks for at a time.
const resumeBytes = 4 << 20

// reader reads a stream and, when that breaks, the rest by ranges, each with all
// its attempts.
type reader struct {
	bucket *Bucket
	ctx    context.Context
	name   string

	at     int64
	stream io.ReadCloser // nil once broken
	size   int64         // known once broken
	rest   []byte        // read by range, not yet given out
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.stream != nil {
		n, err := r.stream.Read(p)
		r.at += int64(n)
		if !errors.Is(err, objstore.ErrUnavailable) || r.ctx.Err() != nil {
			return n, err
		}
		if err := r.resume(err); err != nil || n > 0 {
			return n, err
		}
	}
	if len(r.rest) == 0 {
		if r.at >= r.size {
			return 0, io.EOF
		}
		data, err := r.bucket.Get(r.ctx, r.name, r.at, min(resumeBytes, r.size-r.at))
		if err != nil {
			return 0, err
		}
		r.rest = data
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.at += int64(n)
	return n, nil
}

func (r *reader) resume(broken error) error {
	r.bucket.retries.WithLabelValues("open").Inc()
	r.bucket.o.Log.Warn("object stream broke, going on by ranges", "object", r.name, "at", r.at, "error", broken)
	_ = r.stream.Close() // it has failed already
	r.stream = nil
	a, err := r.bucket.Head(r.ctx, r.name)
	if err == nil && a.Size < r.at {
		err = fmt.Errorf("read %s: object shrank to %d bytes after %d were read", r.name, a.Size, r.at)
	}
	r.size = a.Size
	return err
}

func (r *reader) Close() error {
	if r.stream == nil {
		return nil
	}
	return r.stream.Close()
}

// open opens a stream that ends with ErrUnavailable when it is silent for longer
// than an attempt may take.
func (b *Bucket) open(ctx context.Context, name string) (io.ReadCloser, error) {
	streaming, cancel := context.WithCancel(ctx)
	w := &watched{ctx: ctx, cancel: cancel, limit: b.o.AttemptTimeout}
	w.timer = time.AfterFunc(w.limit, cancel)
	stream, err := b.bucket.Open(streaming, name)
	w.timer.Stop()
	if err != nil {
		cancel()
		return nil, timedOut(ctx, err)
	}
	w.stream = stream
	return w, nil
}

// watched is a stream with a limit on the time that each Read may take; the
// reader's own pauses do not count.
type watched struct {
	ctx    context.Context // the caller's
	stream io.ReadCloser
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelFunc
	once   sync.Once
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	n, err := w.stream.Read(p)
	w.timer.Stop()
	return n, timedOut(w.ctx, err)
}

func (w *watched) Close() (err error) {
	w.once.Do(func() {
		w.timer.Stop()
		w.cancel()
		err = w.stream.Close()
	})
	return err
}
