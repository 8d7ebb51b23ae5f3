package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// readBufferBytes is what each connection keeps to read from.
const readBufferBytes = 4 << 10

// Conn is one client's connection.
type Conn struct {
	server   *Server
	net      net.Conn
	listener string

	// life ends with the connection, patience already when the server drains.
	life, patience context.Context
	end            context.CancelCauseFunc

	frames   frameReader
	clientID string // of the last request, to make no string for each
	software atomic.Pointer[Software]
	started  atomic.Int64 // requests that are started and not yet answered
}

// Software is what a client says of itself in ApiVersions (KIP-511).
type Software struct{ Name, Version string }

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.net.RemoteAddr() }

// Listener is the name that Serve was given for this connection's listener.
func (c *Conn) Listener() string { return c.listener }

// Patience ends when the connection does, or when the server drains. Requests
// that wait for something to happen, and can be answered without, wait under it.
func (c *Conn) Patience() context.Context { return c.patience }

// SetSoftware keeps what the client said of itself.
func (c *Conn) SetSoftware(s Software) { c.software.Store(&s) }

// Software returns what the client said of itself, if it did.
func (c *Conn) Software() Software {
	if s := c.software.Load(); s != nil {
		return *s
	}
	return Software{}
}

// underway is a request that has been started.
type underway struct {
	request *Request
	work    Work
}

func newConn(s *Server, nc net.Conn, listener string) *Conn {
	c := &Conn{server: s, net: nc, listener: listener}
	c.life, c.end = context.WithCancelCause(context.Background())
	patience, cancel := context.WithCancel(c.life)
	c.patience = patience
	stop := context.AfterFunc(s.draining, cancel)
	context.AfterFunc(c.life, func() { stop(); cancel() })
	c.frames = frameReader{
		r:        bufio.NewReaderSize(nc, readBufferBytes),
		bytesMax: s.handler.FrameBytesMax,
		memory:   s.memory,
	}
	return c
}

// run serves the connection until either side ends it, and returns why.
func (c *Conn) run() error {
	pipeline := make(chan underway, c.server.cfg.PipelineMax)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write(pipeline)
	}()
	err := c.read(pipeline)
	if errors.Is(err, errDrained) {
		// What was started is still answered.
		close(pipeline)
		<-written
		c.end(err)
	} else {
		c.end(err)
		// Frees a write that is stuck on a client that does not read.
		_ = c.net.Close()
		close(pipeline)
		<-written
	}
	_ = c.net.Close() // everything has been sent, or the connection has failed already
	return context.Cause(c.life)
}

// errDrained ends the reading of a connection whose server drains.
var errDrained = errors.New("server is draining")

// read starts requests until there are no more.
func (c *Conn) read(pipeline chan<- underway) error {
	for {
		length, err := c.awaitFrame()
		if err != nil {
			return err
		}
		frame, err := c.frames.body(c.life, length)
		if err != nil {
			if c.server.draining.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				return errDrained
			}
			return err
		}
		r, err := c.request(frame, length)
		if err != nil {
			c.server.memory.giveBack(frame)
			return err
		}
		c.server.metrics.received(length)
		work, err := c.server.handler.Start(c.life, r)
		if err != nil {
			r.Release()
			return fmt.Errorf("api key %d version %d: %w", r.Key, r.Version, err)
		}
		c.started.Add(1)
		pipeline <- underway{r, work} // the writer takes it even when the connection has ended
	}
}

// awaitFrame waits for the next frame's length, and gives its bytes a deadline.
func (c *Conn) awaitFrame() (int, error) {
	for {
		if c.server.draining.Err() != nil {
			return 0, errDrained
		}
		if err := c.net.SetReadDeadline(time.Now().Add(c.server.cfg.IdleTimeout)); err != nil {
			return 0, err
		}
		// After the deadline was set, so that it cannot undo drain's.
		if c.server.draining.Err() != nil {
			return 0, errDrained
		}
		_, err := c.frames.r.Peek(1)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && c.server.draining.Err() != nil:
			return 0, errDrained
		case errors.Is(err, os.ErrDeadlineExceeded) && c.started.Load() > 0:
			continue // the client waits for us
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, errIdle
		default:
			return 0, err
		}
		if err := c.net.SetReadDeadline(time.Now().Add(c.server.cfg.FrameTimeout)); err != nil {
			return 0, err
		}
		length, err := c.frames.length()
		return length, unexpected(err)
	}
}

// errIdle ends a connection on which nothing happens.
var errIdle = errors.New("idle")

// request makes a Request of a whole frame.
func (c *Conn) request(frame *buffer, length int) (*Request, error) {
	h, body, err := ParseHeader(frame.data[:length])
	if err != nil {
		return nil, err
	}
	if string(h.ClientID) != c.clientID {
		c.clientID = string(h.ClientID)
	}
	return &Request{
		Key: h.Key, Version: h.Version, Correlation: h.Correlation,
		ClientID: c.clientID, Body: body, Conn: c, frame: frame,
	}, nil
}

// write finishes requests in their order. After an error it goes on finishing
// what was started, without writing.
func (c *Conn) write(pipeline <-chan underway) {
	var w Response
	for u := range pipeline {
		err := u.work.Finish(c.life, &w)
		if err == nil && c.life.Err() == nil && !w.silent {
			err = c.send(&w, u.request)
		}
		if err != nil && c.life.Err() == nil {
			c.end(fmt.Errorf("api key %d version %d: %w", u.request.Key, u.request.Version, err))
			_ = c.net.Close() // ends the reader too
		}
		u.request.Release()
		c.started.Add(-1)
		w.reset()
	}
}

func (c *Conn) send(w *Response, r *Request) error {
	if err := c.net.SetWriteDeadline(time.Now().Add(c.server.cfg.IdleTimeout)); err != nil {
		return err
	}
	n, err := w.writeTo(c.net, r.Correlation)
	c.server.metrics.sent(n)
	return err
}

// hangUp reports whether err is the other side's ordinary way to leave.
func hangUp(err error) bool {
	var op *net.OpError
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errIdle) ||
		errors.Is(err, errDrained) || errors.Is(err, net.ErrClosed) || errors.As(err, &op)
}
