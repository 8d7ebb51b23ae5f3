package indexcache

import (
	"context"
	"sync/atomic"
)

// Meter counts what was fetched from the bucket for one search. A whole file that
// several wait for may count at each of them, or at the first.
type Meter struct {
	requests, bytes atomic.Int64
}

// Requests is how many requests there were.
func (m *Meter) Requests() int64 { return m.requests.Load() }

// Bytes is how many bytes were fetched.
func (m *Meter) Bytes() int64 { return m.bytes.Load() }

func (m *Meter) add(bytes int64) {
	if m != nil {
		m.requests.Add(1)
		m.bytes.Add(bytes)
	}
}

type meterKey struct{}

// WithMeter returns a context whose reads m counts.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// meterOf is the meter of a context; nil: it has none.
func meterOf(ctx context.Context) *Meter {
	m, _ := ctx.Value(meterKey{}).(*Meter)
	return m
}
