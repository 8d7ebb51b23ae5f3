// Package metrics counts what a bucket is asked and how it answers: operations
// by outcome, their duration, bytes, and calls in flight. Placed beneath retry
// it sees every attempt, which is what the object store bills.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/objstore"
)

// Bucket is an objstore.Bucket that counts.
type Bucket struct {
	bucket     objstore.Bucket
	operations *prometheus.CounterVec   // op, outcome
	duration   *prometheus.HistogramVec // op
	bytes      *prometheus.CounterVec   // op
	inFlight   *prometheus.GaugeVec     // op
}

// New wraps bucket. Several buckets may share one registry: their counts add up.
func New(bucket objstore.Bucket, r prometheus.Registerer) (*Bucket, error) {
	b := &Bucket{bucket: bucket}
	var errs [4]error
	op := []string{"op"}
	b.operations, errs[0] = objstore.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_objstore_operations_total",
		Help: "Object store calls, by operation and outcome; retries count.",
	}, []string{"op", "outcome"}))
	b.duration, errs[1] = objstore.Register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "chronik_objstore_operation_duration_seconds",
		Help:    "Duration of object store calls; of open until its reader is closed, of list until it ends.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, op))
	b.bytes, errs[2] = objstore.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_objstore_bytes_total",
		Help: "Bytes of objects put (op put) and read (ops get and open).",
	}, op))
	b.inFlight, errs[3] = objstore.Register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "chronik_objstore_in_flight",
		Help: "Object store calls under way.",
	}, op))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("object store metrics: %w", err)
	}
	return b, nil
}

// begin counts a call in; the returned function counts it out, once.
func (b *Bucket) begin(op string) (end func(error)) {
	start := time.Now()
	inFlight := b.inFlight.WithLabelValues(op)
	inFlight.Inc()
	return func(err error) {
		inFlight.Dec()
		b.duration.WithLabelValues(op).Observe(time.Since(start).Seconds())
		b.operations.WithLabelValues(op, outcome(err)).Inc()
	}
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	for _, o := range []struct {
		kind error
		name string
	}{
		{objstore.ErrNotFound, "not_found"},
		{objstore.ErrExists, "exists"},
		{objstore.ErrChanged, "changed"},
		{objstore.ErrRange, "range"},
		{objstore.ErrUnavailable, "unavailable"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "timeout"},
	} {
		if errors.Is(err, o.kind) {
			return o.name
		}
	}
	return "error"
}

// Put implements objstore.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	end := b.begin("put")
	a, err := b.bucket.Put(ctx, name, body, cond)
	end(err)
	if err == nil {
		b.bytes.WithLabelValues("put").Add(float64(body.Size))
	}
	return a, err
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	end := b.begin("get")
	data, err := b.bucket.Get(ctx, name, offset, length)
	end(err)
	b.bytes.WithLabelValues("get").Add(float64(len(data)))
	return data, err
}

// Open implements objstore.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	end := b.begin("open")
	r, err := b.bucket.Open(ctx, name)
	if err != nil {
		end(err)
		return nil, err
	}
	return &reader{ReadCloser: r, bytes: b.bytes.WithLabelValues("open"), end: end}, nil
}

// reader counts what it gives out, and its end when it is closed.
type reader struct {
	io.ReadCloser
	bytes  prometheus.Counter
	end    func(error)
	failed error
	once   sync.Once
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.bytes.Add(float64(n))
	if err != nil && err != io.EOF {
		r.failed = err
	}
	return n, err
}

func (r *reader) Close() error {
	err := r.ReadCloser.Close()
	r.once.Do(func() { r.end(errors.Join(r.failed, err)) })
	return err
}

// Head implements objstore.Bucket.
func (b *Bucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	end := b.begin("head")
	a, err := b.bucket.Head(ctx, name)
	end(err)
	return a, err
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	end := b.begin("delete")
	err := b.bucket.Delete(ctx, name)
	end(err)
	return err
}

// List implements objstore.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		end := b.begin("list")
		var failed error
		defer func() { end(failed) }()
		for a, err := range b.bucket.List(ctx, prefix) {
			failed = err
			if !yield(a, err) {
				return
			}
		}
	}
}
