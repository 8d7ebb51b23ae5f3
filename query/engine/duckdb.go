//go:build !nosql

package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/duckdb/duckdb-go/v2"
)

// Enabled says that this binary can run SQL.
const Enabled = true

// Engine starts a DuckDB instance for each query, and keeps one to parse with.
type Engine struct {
	options Options
	parser  *sql.DB

	// spare holds at most one instance that is ready but for the query's own
	// files, so that a query need not wait for one to start.
	spare   chan *instance
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool // nothing is added to running any more
}

// instance is an in-memory DuckDB with one connection.
type instance struct {
	db   *sql.DB
	conn *sql.Conn
}

func (i *instance) close() error { return errors.Join(i.conn.Close(), i.db.Close()) }

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
	e := &Engine{options: o.withDefaults(), spare: make(chan *instance, 1)}
	parser, err := e.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the SQL engine: %w", err)
	}
	if err := parser.lock(ctx, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("open the SQL engine: %w", err), parser.close())
	}
	if err := parser.conn.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the SQL engine: %w", err), parser.db.Close())
	}
	e.parser = parser.db
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
	if o.AnswerBytesMax <= 0 {
		o.AnswerBytesMax = 256 << 20
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
	err := e.parser.Close()
	for i := range e.spare {
		err = errors.Join(err, i.close())
	}
	return err
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

// start makes an instance with every setting but the files.
func (e *Engine) start(ctx context.Context) (*instance, error) {
	// The settings of the connector hold before anything runs: without them the
	// first function of an unknown name would look for an extension to load.
	connector, err := duckdb.NewConnector("?autoinstall_known_extensions=false&autoload_known_extensions=false&allow_community_extensions=false", nil)
	if err != nil {
		return nil, fmt.Errorf("start duckdb: %w", err)
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start duckdb: %w", err), db.Close())
	}
	i := &instance{db: db, conn: conn}
	setup := []string{
		"SET GLOBAL TimeZone = 'UTC'", // of every connection
		fmt.Sprintf("SET threads = %d", e.options.Threads),
		fmt.Sprintf("SET memory_limit = '%dB'", e.options.MemoryBytesMax),
		fmt.Sprintf("SET temp_directory = %s", literal(e.options.SpillDir)),
		fmt.Sprintf("SET max_temp_directory_size = '%dB'", e.options.SpillBytesMax),
		"SET explain_output = 'all'",
		"CREATE SCHEMA topics",
	}
	for _, statement := range append(setup, macros...) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(fmt.Errorf("set duckdb up: %q: %w", statement, err), i.close())
		}
	}
	return i, nil
}

// macros are Chronik's functions. Typed macros cost half of what Go functions
// do, and the built-in json_extract_string answers NULL for binary without a
// word. There is no overload for JSON: it would make binary ambiguous.
var macros = []string{
	`CREATE MACRO json_extract_string(v BLOB, p VARCHAR) AS try(system.main.json_extract_string(decode(v), p)),
		(v VARCHAR, p VARCHAR) AS try(system.main.json_extract_string(v, p))`,
	`CREATE MACRO decode_utf8(v BLOB) AS try(decode(v))`,
}

// lock confines the instance to reading files, for good.
func (i *instance) lock(ctx context.Context, files []string) error {
	quoted := make([]string, len(files))
	for n, f := range files {
		quoted[n] = literal(f)
	}
	for _, statement := range []string{
		"SET allowed_paths = [" + strings.Join(quoted, ", ") + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	} {
		if _, err := i.conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("lock duckdb down: %w", err)
		}
	}
	return nil
}

// take returns an instance that is the caller's alone.
func (e *Engine) take(ctx context.Context) (*instance, error) {
	select {
	case i := <-e.spare:
		return i, nil
	default:
		return e.start(ctx)
	}
}

// prepareSpare starts an instance in the background unless one is ready.
func (e *Engine) prepareSpare() {
	if len(e.spare) == cap(e.spare) || e.begin() != nil {
		return
	}
	go func() {
		defer e.running.Done()
		i, err := e.start(context.Background())
		if err != nil {
			e.log("a spare DuckDB instance did not start", err)
			return
		}
		select {
		case e.spare <- i:
		default:
			if err := i.close(); err != nil {
				e.log("a spare DuckDB instance did not close", err)
			}
		}
	}()
}

func (e *Engine) log(message string, err error) {
	if e.options.Log != nil {
		e.options.Log.Warn(message, "err", err)
	}
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

// Run runs a query to its end, or until ctx ends.
func (e *Engine) Run(ctx context.Context, q Query) (*Answer, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.running.Done()

	i, err := e.take(ctx)
	if err != nil {
		return nil, classify(ctx, err)
	}
	e.prepareSpare()
	answer, err := e.run(ctx, i, q)
	if closeErr := i.close(); closeErr != nil {
		e.log("a DuckDB instance did not close", closeErr)
	}
	return answer, classify(ctx, err)
}

func (e *Engine) run(ctx context.Context, i *instance, q Query) (*Answer, error) {
	if err := i.lock(ctx, q.Files); err != nil {
		return nil, err
	}
	for _, v := range q.Views {
		if _, err := i.conn.ExecContext(ctx, "CREATE VIEW topics."+identifier(v.Name)+" AS "+v.SQL); err != nil {
			return nil, fmt.Errorf("bind %s: %w", v.Name, err)
		}
	}
	rows, err := i.conn.QueryContext(ctx, q.SQL)
	if err != nil {
		return nil, err
	}
	answer, err := e.read(rows, q.RowsMax)
	return answer, errors.Join(err, rows.Close())
}

// read turns the engine's rows into values, up to the bounds.
func (e *Engine) read(rows *sql.Rows, rowsMax int64) (*Answer, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, fmt.Errorf("read the answer's columns: %w", err)
	}
	answer := &Answer{Columns: make([]Column, len(types)), Rows: [][]any{}}
	for i, t := range types {
		answer.Columns[i] = Column{Name: t.Name(), Type: ParseType(t.DatabaseTypeName())}
	}
	raw := make([]any, len(types))
	into := make([]any, len(types))
	for i := range raw {
		into[i] = &raw[i]
	}
	var size int64
	for rows.Next() {
		if int64(len(answer.Rows)) == rowsMax {
			answer.Truncated = true
			return answer, nil
		}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("read a row: %w", err)
		}
		row := make([]any, len(raw))
		for i, v := range raw {
			row[i] = plain(v, answer.Columns[i].Type)
			size += weight(row[i])
		}
		if size > e.options.AnswerBytesMax {
			return nil, fmt.Errorf("%w: the answer is larger than %d bytes", ErrTooLarge, e.options.AnswerBytesMax)
		}
		answer.Rows = append(answer.Rows, row)
	}
	return answer, rows.Err()
}

// classify says whose fault an error is.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed *duckdb.Error
	if !errors.As(err, &failed) {
		return err
	}
	switch failed.Type {
	case duckdb.ErrorTypeOutOfMemory, duckdb.ErrorTypeObjectSize:
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case duckdb.ErrorTypeIO, duckdb.ErrorTypeSerialization, duckdb.ErrorTypePermission:
		// A file that is gone is looked for as a pattern, which is not allowed.
		return fmt.Errorf("%w: %w", ErrFile, err)
	case duckdb.ErrorTypeInvalid:
		// A page that is none, without the file's name.
		if strings.Contains(failed.Msg, "TProtocolException") {
			return fmt.Errorf("%w: %w", ErrFile, err)
		}
	case duckdb.ErrorTypeInternal, duckdb.ErrorTypeFatal, duckdb.ErrorTypeInterrupt, duckdb.ErrorTypeConnection:
		return err
	case duckdb.ErrorTypeInvalidInput:
		// DuckDB reports a Parquet file that is none in this way too.
		if strings.Contains(failed.Msg, ".parquet'") {
			return fmt.Errorf("%w: %w", ErrFile, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrQuery, err)
}

// literal writes a text as SQL quotes it, identifier a name.
func literal(s string) string    { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
