//go:build !nosql

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// duckError is an error of DuckDB. Its message begins with its kind.
type duckError struct{ kind, message string }

func (e *duckError) Error() string { return e.message }

// failed makes an error of DuckDB's message, such as "Binder Error: no column".
func failed(message string) error {
	kind, _, found := strings.Cut(message, " Error: ")
	if !found {
		kind = "Invalid"
	}
	return &duckError{kind, message}
}

// classify says whose fault an error is.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var parsing *duckdb.Error
	if errors.As(err, &parsing) {
		err = failed(parsing.Msg)
	}
	var failed *duckError
	if !errors.As(err, &failed) {
		return err
	}
	switch failed.kind {
	case "Out of Memory", "Object Size":
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case "IO", "Serialization", "Permission":
		// A file that is gone is looked for as a pattern, which is not allowed.
		return fmt.Errorf("%w: %w", ErrFile, err)
	case "Invalid":
		// A page that is none, without the file's name.
		if strings.Contains(failed.message, "TProtocolException") {
			return fmt.Errorf("%w: %w", ErrFile, err)
		}
	case "INTERNAL", "FATAL", "INTERRUPT", "Connection":
		return err
	case "Invalid Input":
		// DuckDB reports a Parquet file that is none in this way too.
		if strings.Contains(failed.message, ".parquet'") {
			return fmt.Errorf("%w: %w", ErrFile, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrQuery, err)
}
