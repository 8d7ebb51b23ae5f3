//go:build !nosql && !linux

package engine

import (
	"fmt"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// account bounds nothing here: DuckDB's builds for other systems than Linux have
// no allocator of their own that could be watched. Its own limit holds alone.
type account struct{}

func openAccount(int64) (*account, error) { return &account{}, nil }

func (*account) close()        {}
func (*account) enter() func() { return func() {} }
func (*account) bytes() int64  { return 0 }
func (*account) refused() bool { return false }

type workers struct{}

func threadSettings(threads int) []string { return []string{fmt.Sprintf("SET threads = %d", threads)} }

func startWorkers(bindings.Database, *account, int) *workers { return nil }

func (*workers) stop() {}
