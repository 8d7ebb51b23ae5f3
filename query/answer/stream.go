package answer

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// Stream writes an answer of any length, batch by batch. It keeps no row.
type Stream interface {
	// Write writes the rows of a batch whole.
	Write(arrow.RecordBatch) error
	// Close writes the end of an answer that is whole.
	Close() error
}

// NewStream begins an answer in one of the formats that are streams.
func NewStream(f Format, w io.Writer, schema *arrow.Schema, o Options) Stream {
	switch f {
	case FormatArrow:
		return arrowStream{ipc.NewWriter(w, ipc.WithSchema(schema))}
	case FormatCSV:
		csv := NewCSV(o)
		return &lines{w: w, buffer: csv.Header(nil, schema), add: csv.Append}
	default:
		rows := NewJSON(schema, o)
		return &lines{w: w, add: func(into []byte, batch arrow.RecordBatch) []byte {
			return append(rows.Append(into, batch, '\n'), '\n')
		}}
	}
}

type arrowStream struct{ *ipc.Writer }

func (s arrowStream) Close() error {
	if err := s.Writer.Close(); err != nil {
		return fmt.Errorf("end the Arrow stream: %w", err)
	}
	return nil
}

// lines are the formats of text.
type lines struct {
	w      io.Writer
	buffer []byte // not written yet; reused
	add    func(into []byte, batch arrow.RecordBatch) []byte
}

func (l *lines) Write(batch arrow.RecordBatch) error {
	if batch.NumRows() > 0 {
		l.buffer = l.add(l.buffer, batch)
	}
	return l.Close()
}

func (l *lines) Close() error {
	_, err := l.w.Write(l.buffer)
	l.buffer = l.buffer[:0]
	return err
}
