package embed

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// bridge is a zap core that hands etcd's errors to a slog.Logger. What is less
// than an error is left out, and so is everything while the server stops, when
// each broken connection is one.
type bridge struct {
	log   *slog.Logger
	quiet *atomic.Bool
	with  []zapcore.Field
}

// Enabled implements zapcore.Core.
func (b *bridge) Enabled(level zapcore.Level) bool {
	return b.log != nil && level >= zapcore.ErrorLevel && !b.quiet.Load()
}

// With implements zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{log: b.log, quiet: b.quiet, with: append(b.with[:len(b.with):len(b.with)], fields...)}
}

// unripe is an error that etcd reports once in the life of a new directory,
// whose schema version it can only write after its first snapshot.
const unripe = "failed to update storage version"

// Check implements zapcore.Core.
func (b *bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) && e.Message != unripe {
		return c.AddCore(e, b)
	}
	return c
}

// Write implements zapcore.Core.
func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range append(b.with[:len(b.with):len(b.with)], fields...) {
		f.AddTo(encoder)
	}
	attrs := make([]slog.Attr, 0, len(encoder.Fields))
	for key, value := range encoder.Fields {
		attrs = append(attrs, slog.Any(key, value))
	}
	b.log.LogAttrs(context.Background(), slog.LevelError, "etcd: "+e.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (b *bridge) Sync() error { return nil }
