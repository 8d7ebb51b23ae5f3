//go:build nosql

package engine

import (
	"context"

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

// Run fails with ErrDisabled.
func (*Engine) Run(context.Context, Query) (*Answer, error) { return nil, ErrDisabled }

// Evaluate fails with ErrDisabled.
func (*Engine) Evaluate(context.Context, string) ([]prune.Value, error) { return nil, ErrDisabled }

// Explain fails with ErrDisabled.
func (*Engine) Explain(context.Context, Query, bool) (*Explained, error) { return nil, ErrDisabled }
