//go:build !nosql

package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/duckdb/duckdb-go/v2"
)

// Enabled says that this binary can run SQL.
const Enabled = true

// evaluationsMax bounds how many evaluations of constants run at once.
const evaluationsMax = 4

// Engine starts a DuckDB instance for each query, and keeps one to parse with.
type Engine struct {
	options    Options
	parser     *sql.DB
	evaluating chan struct{} // has a place for each evaluation of constants at once

	// spare holds at most one instance that is ready but for the query's own
	// files, so that a query need not wait for one to start.
	spare   chan *instance
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool // nothing is added to running any more
}

// Open starts the parser. SpillDir is made, and emptied of what a former life
// left there; no other Engine may use it.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.SpillDir == "" {
		return nil, errors.New("open the SQL engine: a directory to spill to is required")
	}
	if err := os.RemoveAll(o.SpillDir); err != nil {
		return nil, fmt.Errorf("open the SQL engine: %w", err)
	}
	if err := os.MkdirAll(o.SpillDir, 0o700); err != nil {
		return nil, fmt.Errorf("open the SQL engine: %w", err)
	}
	e := &Engine{options: o.withDefaults(), spare: make(chan *instance, 1), evaluating: make(chan struct{}, evaluationsMax)}
	parser, err := e.openParser(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the SQL engine: %w", err)
	}
	e.parser = parser
	e.prepareSpare()
	return e, nil
}

func (o Options) withDefaults() Options {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.MemoryBytesMax <= 0 {
		o.MemoryBytesMax = 1 << 30
	}
	if o.SpillBytesMax <= 0 {
		o.SpillBytesMax = 8 << 30
	}
	return o
}

// Close waits for running queries and frees everything. It may be called again.
func (e *Engine) Close() error {
	e.mu.Lock()
	closed := e.closed
	e.closed = true
	e.mu.Unlock()
	if closed {
		return nil
	}
	e.running.Wait()
	close(e.spare)
	for i := range e.spare {
		i.close()
	}
	return e.parser.Close()
}

// begin counts something that Close has to wait for.
func (e *Engine) begin() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("the SQL engine is closed")
	}
	e.running.Add(1)
	return nil
}

// openParser opens the database that only ever parses. Calls at once each take a
// connection of their own.
func (e *Engine) openParser(ctx context.Context) (*sql.DB, error) {
	connector, err := duckdb.NewConnector("?autoinstall_known_extensions=false&autoload_known_extensions=false&allow_community_extensions=false", nil)
	if err != nil {
		return nil, fmt.Errorf("start duckdb: %w", err)
	}
	db := sql.OpenDB(connector)
	for _, statement := range append(macros, "SET GLOBAL TimeZone = 'UTC'", "SET threads = 1", "SET enable_external_access = false", "SET lock_configuration = true") {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(fmt.Errorf("set duckdb up: %q: %w", statement, err), db.Close())
		}
	}
	return db, nil
}

// take returns an instance that is the caller's alone.
func (e *Engine) take() (*instance, error) {
	select {
	case i := <-e.spare:
		return i, nil
	default:
		return e.start()
	}
}

// prepareSpare starts an instance in the background unless one is ready.
func (e *Engine) prepareSpare() {
	if len(e.spare) == cap(e.spare) || e.begin() != nil {
		return
	}
	go func() {
		defer e.running.Done()
		i, err := e.start()
		if err != nil {
			if e.options.Log != nil {
				e.options.Log.Warn("a spare DuckDB instance did not start", "err", err)
			}
			return
		}
		select {
		case e.spare <- i:
		default:
			i.close()
		}
	}()
}

// Serialize and Deserialize implement gate.Parser.
func (e *Engine) Serialize(ctx context.Context, query string) ([]byte, error) {
	var tree []byte
	err := e.parser.QueryRowContext(ctx, "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", query).Scan(&tree)
	return tree, classify(ctx, err)
}

// Deserialize prints a tree as SQL.
func (e *Engine) Deserialize(ctx context.Context, tree []byte) (string, error) {
	var query string
	err := e.parser.QueryRowContext(ctx, "SELECT json_deserialize_sql(?::VARCHAR::JSON)", string(tree)).Scan(&query)
	return query, classify(ctx, err)
}
