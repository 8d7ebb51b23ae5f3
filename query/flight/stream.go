package flight

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/chronik-stream/chronik/metastore"
)

// messageBytesMax bounds a message but for a single row that is larger: gRPC's
// clients refuse more than 4 MiB unless they are told otherwise, and what is
// measured here is without the message's head.
const messageBytesMax = 2 << 20

// stream runs the query of a handle and sends the answer, or has another node do
// that, to which the ticket goes as it came.
func (s *server) stream(t *flight.Ticket, h handle, to flight.FlightService_DoGetServer) error {
	statement, err := h.statement(to.Context())
	if err != nil {
		return err
	}
	ctx, end := s.running.begin(to.Context(), ticketOf{h.ID, statement.Principal})
	defer end()
	ctx, over := s.within(ctx, statement)
	defer over()
	out := bounded{to, ctx}
	return cancelled(ctx, s.anywhere(ctx,
		func(ctx context.Context) error {
			statement.Place = s.placeOf(ctx)
			return s.run(ctx, statement, out)
		},
		func(ctx context.Context, m metastore.Member) (bool, error) { return s.peers.Get(ctx, m, t, out) }))
}

// within bounds a call by the statement's timeout, or else the call's deadline,
// or the default.
func (s *server) within(ctx context.Context, statement Statement) (context.Context, context.CancelFunc) {
	timeout := statement.Timeout
	if _, has := ctx.Deadline(); timeout <= 0 && !has {
		timeout = s.timeout
	}
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// bounded is a stream whose sending ends with ctx, also when the client does not
// read.
type bounded struct {
	flight.FlightService_DoGetServer
	ctx context.Context
}

func (b bounded) Context() context.Context { return b.ctx }

// Send implements flight.FlightService_DoGetServer. After an error the message's
// bytes may still be read: nothing more is sent.
func (b bounded) Send(message *flight.FlightData) error {
	own := &flight.FlightData{
		FlightDescriptor: message.FlightDescriptor, DataHeader: message.DataHeader, AppMetadata: message.AppMetadata, DataBody: message.DataBody,
	}
	sent := make(chan error, 1)
	go func() { sent <- b.FlightService_DoGetServer.Send(own) }() // ends when the call has, at the latest
	select {
	case err := <-sent:
		return err
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// run runs a query here.
func (s *server) run(ctx context.Context, statement Statement, out flight.FlightService_DoGetServer) (err error) {
	cursor, err := s.backend.Query(ctx, statement)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cursor.Close()) }()

	w := flight.NewRecordWriter(out, ipc.WithSchema(cursor.Schema()))
	for {
		batch, err := cursor.Next()
		if errors.Is(err, io.EOF) {
			return w.Close() // sends the schema when there was no batch
		}
		if err != nil {
			return err
		}
		if err := send(w, batch); err != nil {
			return fmt.Errorf("send a batch: %w", err)
		}
	}
}

// cancelled prefers to say that another call has ended the query.
func cancelled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errCancelled) {
		return cause
	}
	return err
}

// send sends a batch, in as many messages as it needs, and releases it.
func send(w *flight.Writer, batch arrow.RecordBatch) error {
	defer batch.Release()
	total := int64(0)
	for _, column := range batch.Columns() {
		total += bytesOf(column.Data())
	}
	if total <= messageBytesMax {
		return w.Write(batch)
	}
	c := cutter{batch: batch}
	c.flat = float64(total-c.texts(0, batch.NumRows())) / float64(batch.NumRows())
	return c.send(w, 0, batch.NumRows())
}

// cutter cuts a batch into pieces by their bytes: texts and binaries are counted
// as they are, everything else in equal shares of the rows.
type cutter struct {
	batch arrow.RecordBatch
	flat  float64 // bytes of a row without its texts
}

func (c *cutter) send(w *flight.Writer, from, to int64) error {
	if to-from > 1 && c.flat*float64(to-from)+float64(c.texts(from, to)) > messageBytesMax {
		middle := (from + to) / 2
		if err := c.send(w, from, middle); err != nil {
			return err
		}
		return c.send(w, middle, to)
	}
	piece := c.batch.NewSlice(from, to)
	defer piece.Release()
	return w.Write(piece)
}

// texts are the bytes of texts and binaries in these rows.
func (c *cutter) texts(from, to int64) (size int64) {
	for _, column := range c.batch.Columns() {
		switch a := column.(type) {
		case *array.String:
			offsets := a.ValueOffsets()
			size += int64(offsets[to] - offsets[from])
		case *array.Binary:
			offsets := a.ValueOffsets()
			size += int64(offsets[to] - offsets[from])
		}
	}
	return size
}

// bytesOf counts an array's memory, that of the whole array where it is a slice.
func bytesOf(d arrow.ArrayData) (size int64) {
	for _, b := range d.Buffers() {
		if b != nil {
			size += int64(b.Len())
		}
	}
	for _, child := range d.Children() {
		size += bytesOf(child)
	}
	return size
}
