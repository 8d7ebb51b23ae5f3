package resultcache

import (
	"bytes"
	"fmt"

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

// play reads the answer from its beginning.
func (a *answer) play() (Rows, error) {
	reader, err := ipc.NewReader(bytes.NewReader(a.body))
	if err != nil {
		return nil, fmt.Errorf("read a kept answer: %w", err)
	}
	return &played{reader: reader, truncated: a.truncated}, nil
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

// batchBytes is about what a batch takes.
func batchBytes(batch arrow.RecordBatch) int64 {
	var n int64
	for _, column := range batch.Columns() {
		n += int64(column.Data().SizeInBytes())
	}
	return n
}
