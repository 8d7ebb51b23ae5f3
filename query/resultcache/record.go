package resultcache

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// Rows is an answer as it comes: batches of one schema, io.EOF after the last.
// Whoever gets a batch releases it.
type Rows interface {
	Schema() *arrow.Schema
	Next() (arrow.RecordBatch, error)
	// Truncated reports, behind the last batch, whether there were more rows.
	Truncated() bool
	Close() error
}

// Play returns the answer that is kept under key.
func (c *Cache) Play(key Key) (Rows, bool) {
	if c.options.BytesMax == 0 {
		return nil, false
	}
	a, ok := c.get(key)
	if !ok {
		return nil, false
	}
	reader, err := ipc.NewReader(bytes.NewReader(a.body))
	if err != nil {
		return nil, false // it was written by this process, and is asked for again
	}
	return &played{reader: reader, truncated: a.truncated}, true
}

// played reads an answer back.
type played struct {
	reader    *ipc.Reader
	truncated bool
	closed    bool
}

func (p *played) Schema() *arrow.Schema { return p.reader.Schema() }

func (p *played) Next() (arrow.RecordBatch, error) {
	batch, err := p.reader.Read()
	if err != nil {
		return nil, err
	}
	batch.Retain() // the reader lets go of it when it reads the next
	return batch, nil
}

func (p *played) Truncated() bool { return p.truncated }

func (p *played) Close() error {
	if !p.closed {
		p.closed = true
		p.reader.Release()
	}
	return nil
}

// Record returns rows as they are, and keeps them under key once they have been
// read to their end, unless they are too many bytes.
func (c *Cache) Record(key Key, rows Rows) Rows {
	if c.options.BytesMax == 0 {
		return rows
	}
	r := &recorder{Rows: rows, cache: c, key: key}
	r.writer = ipc.NewWriter(&r.body, ipc.WithSchema(rows.Schema()))
	return r
}

// recorder writes down what passes.
type recorder struct {
	Rows
	cache  *Cache
	key    Key
	body   bytes.Buffer
	writer *ipc.Writer // nil: nothing is to be kept
}

func (r *recorder) Next() (arrow.RecordBatch, error) {
	batch, err := r.Rows.Next()
	switch {
	case r.writer == nil:
	case errors.Is(err, io.EOF):
		r.finish()
	case err != nil:
		r.drop()
	default:
		// A batch that is far too large is not written to see that it is.
		if !r.cache.fits(int64(r.body.Len())+batchBytes(batch)) || r.writer.Write(batch) != nil || !r.cache.fits(int64(r.body.Len())) {
			r.drop()
		}
	}
	return batch, err
}

// finish keeps what was written.
func (r *recorder) finish() {
	writer := r.writer
	r.writer = nil
	if writer.Close() == nil {
		r.cache.put(r.key, bytes.Clone(r.body.Bytes()), r.Rows.Truncated())
	}
	r.body = bytes.Buffer{}
}

// drop forgets what was written: the answer is too large, or no whole one.
func (r *recorder) drop() {
	// What it would still write is not wanted.
	_ = r.writer.Close()
	r.writer, r.body = nil, bytes.Buffer{}
}

func (r *recorder) Close() error {
	if r.writer != nil {
		r.drop()
	}
	if err := r.Rows.Close(); err != nil {
		return fmt.Errorf("close the recorded rows: %w", err)
	}
	return nil
}

// batchBytes is about what a batch takes.
func batchBytes(batch arrow.RecordBatch) int64 {
	var n int64
	for _, column := range batch.Columns() {
		n += int64(column.Data().SizeInBytes())
	}
	return n
}
