//go:build nosql

package engine

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/chronik-stream/chronik/query/prune"
)

// Enabled says that this binary can run SQL.
const Enabled = false

// Engine of a build without DuckDB cannot be opened.
type Engine struct{}

// Open fails with ErrDisabled.
func Open(context.Context, Options) (*Engine, error) { return nil, ErrDisabled }

// Close does nothing.
func (*Engine) Close() error { return nil }

// Serialize fails with ErrDisabled.
func (*Engine) Serialize(context.Context, string) ([]byte, error) { return nil, ErrDisabled }

// Deserialize fails with ErrDisabled.
func (*Engine) Deserialize(context.Context, []byte) (string, error) { return "", ErrDisabled }

// Evaluate fails with ErrDisabled.
func (*Engine) Evaluate(context.Context, string) ([]prune.Value, error) { return nil, ErrDisabled }

// Explain fails with ErrDisabled.
func (*Engine) Explain(context.Context, Query, bool) (*Explained, error) { return nil, ErrDisabled }

// Describe fails with ErrDisabled.
func (*Engine) Describe(context.Context, Query) (*Description, error) { return nil, ErrDisabled }

// Stream fails with ErrDisabled.
func (*Engine) Stream(context.Context, Query) (*Rows, error) { return nil, ErrDisabled }

// Rows of a build without DuckDB do not exist.
type Rows struct{}

// Schema describes nothing.
func (*Rows) Schema() *arrow.Schema { return nil }

// Truncated says nothing.
func (*Rows) Truncated() bool { return false }

// Next fails with ErrDisabled.
func (*Rows) Next() (arrow.RecordBatch, error) { return nil, ErrDisabled }

// Close does nothing.
func (*Rows) Close() error { return nil }
