//go:build !nosql

package engine

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/chronik-stream/chronik/query/prune"
)

// Bounds of an evaluation. Constants that need more than that are computed by the
// query itself, which has bounds of its own.
const (
	evaluateWithin   = time.Second
	evaluateBytesMax = 64 << 20
)

// Evaluate runs a query that answers one row of constants, such as
// gate.Constants.SQL, and nothing else.
func (e *Engine) Evaluate(ctx context.Context, query string) ([]prune.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluateWithin)
	defer cancel() // here, and not when it is done: what it answers must come first
	select {
	case e.evaluating <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := e.begin(); err != nil {
		<-e.evaluating
		return nil, err
	}
	type outcome struct {
		row []prune.Value
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		defer e.running.Done()
		defer func() { <-e.evaluating }()
		var o outcome
		o.err = e.guard(func() (err error) {
			o.row, err = e.evaluate(ctx, query)
			return err
		})
		done <- o
	}()
	// DuckDB cannot be interrupted within a step: it may go on when nobody waits.
	select {
	case o := <-done:
		return o.row, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) evaluate(ctx context.Context, query string) (row []prune.Value, err error) {
	a, err := openAccount(evaluateBytesMax)
	if err != nil {
		return nil, err
	}
	defer a.close()
	defer a.enter()()
	row, err = e.constants(ctx, query)
	if err != nil && a.refused() {
		err = fmt.Errorf("%w: the constants of the query need more than %d MiB of memory", ErrTooLarge, evaluateBytesMax>>20)
	}
	return row, err
}

func (e *Engine) constants(ctx context.Context, query string) (row []prune.Value, err error) {
	rows, err := e.parser.QueryContext(ctx, query)
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, fmt.Errorf("evaluate constants: %w", err)
	}
	raw := make([]any, len(types))
	into := make([]any, len(types))
	for i := range raw {
		into[i] = &raw[i]
	}
	if !rows.Next() {
		return nil, classify(ctx, errors.Join(errors.New("evaluate constants: no row"), rows.Err()))
	}
	if err := rows.Scan(into...); err != nil {
		return nil, fmt.Errorf("evaluate constants: %w", err)
	}
	row = make([]prune.Value, len(raw))
	for i, v := range raw {
		row[i] = constantOf(types[i].DatabaseTypeName(), v)
	}
	return row, classify(ctx, rows.Err())
}

// constantOf is what a value means where it is compared. A FLOAT is unknown:
// beside it numbers are rounded to 32 bits.
func constantOf(duckdbType string, v any) prune.Value {
	switch v := v.(type) {
	case bool:
		return prune.OfBool(v)
	case int8:
		return prune.OfInt(int64(v))
	case int16:
		return prune.OfInt(int64(v))
	case int32:
		return prune.OfInt(int64(v))
	case int64:
		return prune.OfInt(v)
	case uint8:
		return prune.OfInt(int64(v))
	case uint16:
		return prune.OfInt(int64(v))
	case uint32:
		return prune.OfInt(int64(v))
	case uint64:
		return prune.OfRat(new(big.Rat).SetUint64(v))
	case *big.Int:
		return prune.OfRat(new(big.Rat).SetInt(v))
	case float64:
		return prune.OfFloat(v)
	case duckdb.Decimal:
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Scale)), nil)
		return prune.OfRat(new(big.Rat).SetFrac(v.Value, scale))
	case string:
		if duckdbType == "VARCHAR" {
			return prune.OfText(v)
		}
	case []byte:
		if duckdbType == "BLOB" {
			return prune.OfBytes(v)
		}
	case time.Time:
		switch duckdbType {
		case "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ":
			return prune.OfTime(v.UnixMicro())
		}
	}
	return prune.Value{}
}
