//go:build !nosql

package engine

import (
	"errors"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// reasonTries bounds how often a query is run again for the reason of its failure.
const reasonTries = 3

// reason finds out why a query failed behind its first rows. When one of its
// threads meets an error, DuckDB interrupts the others; if the one that reads the
// rows sees that first, it reports an interrupt that nobody asked for, and the
// error is gone. That happens to few queries; they run again for their error's sake.
func (r *Rows) reason(err error) error {
	for range reasonTries {
		var duck *duckError
		if !errors.As(err, &duck) || duck.kind != "INTERRUPT" || r.halting() {
			return err
		}
		err = r.failAgain(err)
	}
	return err
}

// halting reports whether the interrupt may be ours.
func (r *Rows) halting() bool {
	return r.ctx.Err() != nil || r.overMemory.Load() || r.instance.account.refused()
}

// failAgain runs the query for its error alone. If there is none this time, the
// former one stays.
func (r *Rows) failAgain(former error) error {
	bindings.DestroyResult(&r.result)
	if err := r.start(); err != nil {
		return err
	}
	for !r.halting() {
		chunk := bindings.FetchChunk(r.result)
		if chunk.Ptr != nil {
			bindings.DestroyDataChunk(&chunk)
			continue
		}
		if message := bindings.ResultError(&r.result); message != "" {
			return failed(message)
		}
		return former
	}
	return former
}
