package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/chronik-stream/chronik/internal/proxyprotocol"
)

// mayBeProxied tells whether the connection may begin with a PROXY header.
func (c *Conn) mayBeProxied() bool {
	trusted := c.server.cfg.ProxyTrusted
	return c.listener.Internal || trusted != nil && trusted(c.address)
}

// identify reads the header by which a proxy says whose connection it is. A
// connection that begins with a request is its client's own: no frame's length
// can be taken for the start of a header.
func (c *Conn) identify() error {
	first, err := c.awaitFirst()
	if err != nil || !proxyprotocol.Begins(first) {
		return err
	}
	if err := c.frameDeadline(); err != nil {
		return err
	}
	for n := 1; ; n = max(n+1, c.frames.r.Buffered()) {
		b, err := c.frames.r.Peek(n)
		if err != nil {
			return c.late(unexpected(err))
		}
		h, size, err := proxyprotocol.Parse(b)
		switch {
		case errors.Is(err, proxyprotocol.ErrShort):
			continue
		case err != nil:
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if _, err := c.frames.r.Discard(size); err != nil {
			return err
		}
		if h.Source.IsValid() {
			c.remote = net.TCPAddrFromAddrPort(h.Source)
			c.address = addressOf(c.remote)
		}
		return nil
	}
}

// awaitFirst waits for the connection's first byte.
func (c *Conn) awaitFirst() (byte, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(c.server.cfg.IdleTimeout)); err != nil {
		return 0, err
	}
	// After the deadline was set, so that it cannot undo drain's.
	if c.server.draining.Err() != nil {
		return 0, errDrained
	}
	b, err := c.frames.r.Peek(1)
	switch {
	case err == nil:
		return b[0], nil
	case errors.Is(err, os.ErrDeadlineExceeded) && c.server.draining.Err() != nil:
		return 0, errDrained
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, errIdle
	}
	return 0, err
}
