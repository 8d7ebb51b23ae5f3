//go:build !nosql

package engine

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	bindings "github.com/duckdb/duckdb-go-bindings"
)

// DuckDB answers in chunks of 2,048 rows. Each costs the readers of a stream a
// message, so they are put together, but for the first one, which somebody is
// waiting for, and unless more are slow to come.
const (
	batchRows  = 16 << 10
	batchBytes = 4 << 20
	batchWait  = 50 * time.Millisecond
)

// Rows are the answer of a running query, as it comes. The engine works ahead of
// the reader by about a megabyte and then waits, so an answer of any size takes
// little memory. A query whose context ends is stopped within milliseconds, also
// while its reader is busy elsewhere.
//
// Rows are read by one goroutine, and always closed.
type Rows struct {
	engine   *Engine
	ctx      context.Context
	instance *instance
	prepared bindings.PreparedStatement
	result   bindings.Result
	options  bindings.ArrowOptions
	schema   *arrow.Schema
	merges   bool // batches of this schema can be put together

	left      int64 // rows until the bound
	started   bool  // the first batch is out
	finished  bool  // there are no more chunks; DuckDB must not be asked again
	truncated bool
	err       error             // that Next answers from now on
	batch     arrow.RecordBatch // made by next, not handed out yet

	closing sync.Once
	watch
}

// Stream starts a query. It returns once the first rows are ready, or none are
// to come.
func (e *Engine) Stream(ctx context.Context, q Query) (*Rows, error) {
	r, err := e.rows(ctx, q.RowsMax)
	if err != nil {
		return nil, err
	}
	if err := r.do(func() error { return r.run(q) }); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// rows takes an instance, under the watch of ctx, for one query.
func (e *Engine) rows(ctx context.Context, rowsMax int64) (*Rows, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	i, err := e.take()
	if err != nil {
		e.running.Done()
		return nil, classify(ctx, err)
	}
	e.prepareSpare()
	r := &Rows{engine: e, ctx: ctx, instance: i, left: rowsMax}
	r.begin()
	return r, nil
}

func (r *Rows) run(q Query) error {
	if err := r.prepare(q); err != nil {
		return err
	}
	return r.execute(q.Parameters)
}

func (r *Rows) prepare(q Query) error {
	if err := r.instance.bind(q); err != nil {
		return err
	}
	if bindings.Prepare(r.instance.conn, q.SQL, &r.prepared) == bindings.StateError {
		return failed(bindings.PrepareError(r.prepared))
	}
	return nil
}

func (r *Rows) execute(parameters []any) error {
	if err := bindParameters(r.prepared, parameters); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	return r.describe()
}

// start runs the prepared query until its first rows are there.
func (r *Rows) start() error {
	var pending bindings.PendingResult
	defer bindings.DestroyPending(&pending)
	if bindings.PendingPreparedStreaming(r.prepared, &pending) == bindings.StateError {
		return failed(bindings.PendingError(pending))
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if bindings.ExecutePending(pending, &r.result) == bindings.StateError {
		return failed(bindings.ResultError(&r.result))
	}
	return nil
}

// describe reads the answer's columns.
func (r *Rows) describe() error {
	columns := bindings.ColumnCount(&r.result)
	names, types := make([]string, columns), make([]bindings.LogicalType, columns)
	for i := range columns {
		names[i], types[i] = bindings.ColumnName(&r.result, i), bindings.ColumnLogicalType(&r.result, i)
		defer bindings.DestroyLogicalType(&types[i])
	}
	for i := range types {
		if err := answerable(names[i], types[i]); err != nil {
			return err
		}
	}
	bindings.ConnectionGetArrowOptions(r.instance.conn, &r.options)
	schema, err := arrowSchema(r.options, types, names)
	if err != nil {
		return err
	}
	r.schema, r.merges = schema, true
	for _, f := range schema.Fields() {
		r.merges = r.merges && mergeable(f.Type)
	}
	return nil
}

// mergeable reports whether arrays of this type can be concatenated.
func mergeable(t arrow.DataType) bool {
	switch t := t.(type) {
	case arrow.UnionType, arrow.ExtensionType:
		return false
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if !mergeable(f.Type) {
				return false
			}
		}
	}
	return true
}

// Schema describes the batches.
func (r *Rows) Schema() *arrow.Schema { return r.schema }

// Truncated reports, after Next has answered io.EOF, whether there were more
// rows than Query.RowsMax.
func (r *Rows) Truncated() bool { return r.truncated }

// Next returns the next rows, at least one, or io.EOF behind the last. The
// caller releases the batch.
func (r *Rows) Next() (arrow.RecordBatch, error) {
	if r.err != nil {
		return nil, r.err
	}
	r.err = r.do(func() (err error) {
		r.batch, err = r.next()
		return err
	})
	if r.err != nil {
		return nil, r.err
	}
	batch := r.batch
	r.batch = nil
	return batch, nil
}

func (r *Rows) next() (arrow.RecordBatch, error) {
	var parts []arrow.RecordBatch
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	rows, bytes, began := int64(0), uint64(0), time.Now()
	for {
		chunk, err := r.chunk()
		if err == io.EOF && len(parts) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, chunk)
		rows += chunk.NumRows()
		for _, column := range chunk.Columns() {
			bytes += column.Data().SizeInBytes()
		}
		if !r.started || !r.merges || rows >= batchRows || bytes >= batchBytes || time.Since(began) >= batchWait {
			break
		}
	}
	r.started = true
	return merged(r.schema, parts, rows)
}

// merged copies the parts into one batch.
func merged(schema *arrow.Schema, parts []arrow.RecordBatch, rows int64) (arrow.RecordBatch, error) {
	if len(parts) == 1 {
		parts[0].Retain()
		return parts[0], nil
	}
	columns := make([]arrow.Array, schema.NumFields())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	same := make([]arrow.Array, len(parts))
	for i := range columns {
		for n, p := range parts {
			same[n] = p.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(same, memory.DefaultAllocator); err != nil {
			return nil, fmt.Errorf("put batches together: %w", err)
		}
	}
	return array.NewRecordBatch(schema, columns, rows), nil
}

// chunk returns DuckDB's next rows, at least one, cut at the bound.
func (r *Rows) chunk() (arrow.RecordBatch, error) {
	for {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		if r.finished {
			return nil, io.EOF
		}
		fetched := bindings.FetchChunk(r.result)
		if fetched.Ptr == nil {
			if message := bindings.ResultError(&r.result); message != "" {
				return nil, r.reason(failed(message))
			}
			r.finished = true
			return nil, io.EOF
		}
		rows := int64(bindings.DataChunkGetSize(fetched))
		if rows > 0 && r.left == 0 {
			bindings.DestroyDataChunk(&fetched)
			r.truncated, r.finished = true, true
			return nil, io.EOF
		}
		if rows == 0 {
			bindings.DestroyDataChunk(&fetched)
			continue
		}
		batch, err := arrowBatch(r.options, r.schema, fetched)
		bindings.DestroyDataChunk(&fetched)
		if err != nil {
			return nil, err
		}
		if rows <= r.left {
			r.left -= rows
			return batch, nil
		}
		defer batch.Release()
		first := batch.NewSlice(0, r.left)
		r.left, r.truncated = 0, true
		return first, nil
	}
}

// Close stops the query and frees what it holds; what it cannot stop yet is
// freed when it has ended. It may be called again.
func (r *Rows) Close() error {
	r.closing.Do(func() {
		if r.err == nil {
			r.err = io.ErrClosedPipe
		}
		if r.unfinished != nil {
			go func() {
				<-r.unfinished.Ended
				r.free()
			}()
			return
		}
		bindings.Interrupt(r.instance.conn)
		r.free()
	})
	return nil
}

func (r *Rows) free() {
	r.end()
	if r.batch != nil {
		r.batch.Release()
	}
	bindings.DestroyArrowOptions(&r.options)
	bindings.DestroyResult(&r.result)
	bindings.DestroyPrepare(&r.prepared)
	r.instance.close()
	r.engine.running.Done()
}
