package forward

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// link is one connection to one broker, for one client. It is opened by its first
// request, and once ended it is never used again.
type link struct {
	f      *Forwarder
	client *Client
	to     metastore.Broker
	poll   bool

	// sending is held from a call's place in the queue to its last byte, so that
	// both have the same order, and while the connection is opened.
	sending sync.Mutex
	opened  bool // guarded by sending

	ended chan struct{} // closed with cause

	mu    sync.Mutex
	conn  net.Conn // nil until it is open
	calls []*Call  // sent and not answered, in their order
	used  time.Time
	cause error // why it ended; nil: it has not
	mute  bool  // requests without an answer were sent
	last  int32 // correlation id
}

// errEnded says that a link cannot be used any more, and that nothing was sent.
var errEnded = errors.New("the forwarding connection has ended")

// Call is a request that was sent.
type Call struct {
	l           *link
	correlation int32
	flexible    bool

	done             chan struct{} // closed when the answer is there, or an error
	size             int           // of the answer
	body             []byte        // the answer, unless it is a poll's
	err              error
	taken            chan struct{} // of a poll: closed when its answer was read
	drop             chan struct{} // likewise: closed when nobody will
	dropped, arrived bool          // guarded by the link's lock
	r                *bufio.Reader // likewise: where the answer is
}

// Done is closed when the answer is there, or when it is known that none comes.
func (c *Call) Done() <-chan struct{} { return c.done }

// Answer waits for the answer, and returns what follows the response header.
func (c *Call) Answer(ctx context.Context) ([]byte, error) {
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return c.body, c.err
}

// Size is how many bytes a poll's answer has, once it is done; with an error it
// has none.
func (c *Call) Size() (int, error) { return c.size, c.err }

// Take reads a poll's answer, which is done, into memory of its own. It is called
// once.
func (c *Call) Take() ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	body, err := c.l.read(c.r, c.size)
	if err == nil {
		body, err = skipHeader(body, c.flexible)
	}
	if err != nil {
		err = c.l.end(fmt.Errorf("%w: %w", ErrLost, err))
	}
	close(c.taken)
	return body, err
}

// Drop says that nobody takes a poll's answer any more.
func (c *Call) Drop() {
	c.l.mu.Lock()
	c.dropped = true
	arrived := c.arrived && c.err == nil
	c.l.mu.Unlock()
	if arrived {
		close(c.drop)
	}
}

// send sends r. Of several at once each is whole, and answers come in that order.
func (l *link) send(ctx context.Context, r Request) (*Call, error) {
	l.sending.Lock()
	defer l.sending.Unlock()
	if !l.opened {
		if l.over() {
			return nil, errEnded // somebody else could not open it
		}
		if err := l.open(ctx); err != nil {
			return nil, err
		}
		l.opened = true
	}
	call := &Call{l: l, flexible: r.Flexible, done: make(chan struct{})}
	if l.poll {
		call.taken, call.drop = make(chan struct{}), make(chan struct{})
	}
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return nil, errEnded
	}
	l.last++
	call.correlation = l.last
	if r.Silent {
		l.mute = true
	} else {
		l.calls = append(l.calls, call)
	}
	l.used = time.Now()
	l.mu.Unlock()

	size, err := l.write(r, call.correlation)
	l.f.metrics.requests.Inc()
	l.f.metrics.bytesOut.Add(float64(size))
	if err != nil {
		err = l.end(fmt.Errorf("%w: %w", ErrLost, err))
		return nil, err
	}
	if r.Silent {
		close(call.done)
	}
	return call, nil
}

// over tells whether the link has ended.
func (l *link) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// open connects, and starts reading. l.sending is held.
func (l *link) open(ctx context.Context) error {
	fail := func(err error) error {
		l.client.forget(l)
		_ = l.end(err) // err, or what ended it before
		l.f.forget(l)  // it may have been admitted after that
		return err
	}
	if err := l.f.admit(l); err != nil {
		return fail(err)
	}
	conn, err := l.f.dial(ctx, l.to)
	if err != nil {
		return fail(err)
	}
	l.mu.Lock()
	cause := l.cause
	l.conn = conn
	l.mu.Unlock()
	if cause != nil {
		_ = conn.Close() // nothing was sent
		return fail(fmt.Errorf("%w: %w", ErrUnreachable, cause))
	}
	go l.receive(conn)
	return nil
}

// write sends the frame. The first one of a connection comes with the header that
// says whose it is.
func (l *link) write(r Request, correlation int32) (int, error) {
	size := 10 + len(r.ClientID)
	if r.Flexible {
		size++
	}
	for _, b := range r.Body {
		size += len(b)
	}
	var head []byte
	if correlation == 1 {
		head = append(head, l.client.header...)
	}
	head = binary.BigEndian.AppendUint32(head, uint32(size))
	head = binary.BigEndian.AppendUint16(head, uint16(r.Key))
	head = binary.BigEndian.AppendUint16(head, uint16(r.Version))
	head = binary.BigEndian.AppendUint32(head, uint32(correlation))
	head = binary.BigEndian.AppendUint16(head, uint16(len(r.ClientID)))
	head = append(head, r.ClientID...)
	if r.Flexible {
		head = append(head, 0)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.patience(size))); err != nil {
		return 0, err
	}
	out := append(net.Buffers{head}, r.Body...)
	n, err := out.WriteTo(l.conn)
	return int(n), err
}

// patience is how long so many bytes may take.
func (l *link) patience(bytes int) time.Duration {
	return l.f.cfg.WriteTimeout * time.Duration(1+bytes>>20)
}

// receive hands answers to their calls until the connection ends.
func (l *link) receive(conn net.Conn) {
	r := bufio.NewReaderSize(conn, 4<<10)
	var err error
	for err == nil {
		err = l.receiveOne(r)
	}
	l.lose(err)
}

func (l *link) receiveOne(r *bufio.Reader) error {
	head, err := r.Peek(8)
	if err != nil {
		return err
	}
	size, correlation := int(int32(binary.BigEndian.Uint32(head)))-4, int32(binary.BigEndian.Uint32(head[4:]))
	if _, err := r.Discard(8); err != nil {
		return err
	}
	l.mu.Lock()
	if len(l.calls) == 0 || l.calls[0].correlation != correlation || size < 0 || size > l.f.cfg.AnswerBytesMax {
		l.mu.Unlock()
		return fmt.Errorf("an answer of %d bytes to request %d, which is not the next or too large", size, correlation)
	}
	call := l.calls[0]
	l.mu.Unlock()
	call.size = size
	l.f.metrics.bytesIn.Add(float64(size))
	if l.poll {
		call.r = r
		if l.done(call) {
			return l.discard(r, size)
		}
		select {
		case <-call.taken:
		case <-call.drop:
			return l.discard(r, size)
		case <-l.ended:
		}
		return nil
	}
	if call.body, err = l.read(r, size); err == nil {
		call.body, err = skipHeader(call.body, call.flexible)
	}
	if err != nil {
		return err
	}
	l.done(call)
	return nil
}

// lose ends the link because the other side has, or cannot be understood. Who
// sent something that has no answer learns of it as by a connection of its own.
func (l *link) lose(err error) {
	l.mu.Lock()
	first, mute := l.cause == nil, l.mute
	_ = l.endLocked(fmt.Errorf("%w: %w", ErrLost, err)) // that very error, or the first
	l.mu.Unlock()
	if first && mute {
		l.client.lost(fmt.Errorf("%w: %w", ErrLost, err))
	}
}

// read reads size bytes, whose time is bounded. Memory follows what arrives.
func (l *link) read(r io.Reader, size int) ([]byte, error) {
	const first = 64 << 10
	if err := l.conn.SetReadDeadline(time.Now().Add(l.patience(size))); err != nil {
		return nil, err
	}
	var body []byte
	for n := 0; n < size; {
		next := min(size, max(first, 16*n))
		grown := make([]byte, next)
		copy(grown, body)
		if _, err := io.ReadFull(r, grown[n:]); err != nil {
			return nil, err
		}
		body, n = grown, next
	}
	return body, l.conn.SetReadDeadline(time.Time{})
}

// skipHeader skips the tagged fields of a flexible response's header.
func skipHeader(body []byte, flexible bool) ([]byte, error) {
	if !flexible {
		return body, nil
	}
	return wire.SkipTags(body)
}

// discard skips an answer.
func (l *link) discard(r *bufio.Reader, size int) error {
	if err := l.conn.SetReadDeadline(time.Now().Add(l.patience(size))); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, int64(size)); err != nil {
		return err
	}
	return l.conn.SetReadDeadline(time.Time{})
}

// done ends a call that is the first of the queue, unless the link has ended it.
// It tells whether the call was dropped.
func (l *link) done(call *Call) (dropped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == 0 || l.calls[0] != call {
		return false
	}
	l.calls = l.calls[1:]
	l.used = time.Now()
	call.arrived = true
	close(call.done)
	if l.poll {
		l.client.tell()
	}
	return call.dropped
}

// end ends the link for a reason, of which the first counts and is returned.
func (l *link) end(reason error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endLocked(reason)
}

func (l *link) endLocked(reason error) error {
	if l.cause != nil {
		return l.cause
	}
	l.cause = reason
	close(l.ended)
	if l.conn != nil {
		_ = l.conn.Close() // ends the receiver
	}
	if len(l.calls) > 0 {
		l.f.metrics.failures.WithLabelValues(failureLost).Add(float64(len(l.calls)))
	}
	for _, call := range l.calls {
		call.err = reason
		close(call.done)
	}
	if l.poll {
		l.client.tell()
	}
	l.calls = nil
	// Neither of these takes l.mu.
	l.f.forget(l)
	l.client.forget(l)
	return reason
}

// idleSince is when the link was used last, if nobody waits for anything of it.
func (l *link) idleSince() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used, l.conn != nil && len(l.calls) == 0
}

// endIdle ends the link unless it was used after since.
func (l *link) endIdle(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && len(l.calls) == 0 && !l.used.After(since) {
		_ = l.endLocked(fmt.Errorf("%w: it was idle", ErrLost)) // nobody waits to hear it
	}
}
