package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// readBufferBytes is what each connection keeps to read from.
const readBufferBytes = 4 << 10

// Conn is one client's connection.
type Conn struct {
	server   *Server
	net      net.Conn
	remote   net.Addr   // of the client, whatever is between
	address  netip.Addr // the same; zero when it has none
	counted  bool       // among the connections of address; guarded by the server's lock
	listener Listener

	// life ends with the connection, patience already when the server drains.
	life, patience context.Context
	end            context.CancelCauseFunc

	frames   frameReader
	clientID string // of the last request, to make no string for each
	software atomic.Pointer[Software]
	started  atomic.Int64 // requests that are started and not yet answered
	bytes    atomic.Int64 // of the frames of those that have not released theirs
	muted    atomic.Int64 // until when it is not read: nanoseconds after the server's birth
	freed    chan struct{}
	room     AnswerRoom
	answer   hold // the answer that is being written

	keeping sync.Mutex
	kept    io.Closer
	gone    bool // kept is closed
}

// Software is what a client says of itself in ApiVersions (KIP-511).
type Software struct{ Name, Version string }

// RemoteAddr is the client's address, also behind a proxy that tells it.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Address is the client's address without its port; zero when it has none.
func (c *Conn) Address() netip.Addr { return c.address }

// Mute stops the reading of further requests for d, from now on: what Kafka does
// to a client that is over its quota. Requests that were read already go on.
func (c *Conn) Mute(d time.Duration) {
	until := int64(time.Since(c.server.born) + d)
	for {
		have := c.muted.Load()
		if have >= until || c.muted.CompareAndSwap(have, until) {
			return
		}
	}
}

// AnswerRoom is the room for the answer that is being finished, until it is
// written: with clients that do not take their answers, all of them together
// are bounded.
func (c *Conn) AnswerRoom() *AnswerRoom { return &c.room }

// AnswerRoom is what an answer has of Config.AnswerBytesMax. It belongs to the
// goroutine that finishes the answer.
type AnswerRoom struct {
	server *Server
	bytes  int64
}

// Take sets aside as much of wanted bytes as there is, what was taken before
// included.
func (a *AnswerRoom) Take(wanted int) int {
	s := a.server
	for {
		answers := s.answers.Load()
		granted := min(int64(wanted), a.bytes+max(0, s.cfg.AnswerBytesMax-answers))
		if s.answers.CompareAndSwap(answers, answers-a.bytes+granted) {
			a.took(granted)
			if granted < int64(wanted) {
				s.metrics.shortened.Inc()
			}
			return int(granted)
		}
	}
}

// First sets aside all of so many bytes for what cannot be less, a first batch,
// unless other answers fill the room: one answer may go past it.
func (a *AnswerRoom) First(bytes int) bool {
	s := a.server
	for {
		answers := s.answers.Load()
		if answers-a.bytes >= s.cfg.AnswerBytesMax {
			return false
		}
		if s.answers.CompareAndSwap(answers, answers-a.bytes+int64(bytes)) {
			a.took(int64(bytes))
			return true
		}
	}
}

// Keep gives back all but used bytes.
func (a *AnswerRoom) Keep(used int) {
	a.set(int64(used))
	if a.server.answers.Load() < a.server.cfg.AnswerBytesMax {
		a.server.tellTaken() // who was told of room need not have taken it
	}
}

// Wait is for an answer that First found no room for: freed gets something when
// it is worth another try, until done is called. Clients that stand still with
// their answers are cut off meanwhile.
func (a *AnswerRoom) Wait() (freed <-chan struct{}, done func()) {
	a.server.metrics.waits.WithLabelValues(limitAnswerBytes).Inc()
	a.server.answerShortage.begin()
	return a.server.taken, a.server.answerShortage.end
}

// took notes what a has now, which the server counts already.
func (a *AnswerRoom) took(bytes int64) {
	less := bytes < a.bytes
	if a.bytes = bytes; less {
		a.server.tellTaken()
	}
}

func (a *AnswerRoom) set(bytes int64) {
	if a.bytes == bytes {
		return
	}
	a.server.answers.Add(bytes - a.bytes)
	a.took(bytes)
}

// AwaitAnswerRoom waits, before a large answer is made that cannot be shorter,
// until the answers that clients have not taken leave room for it. It does not
// wait long: clients that stand still are cut off meanwhile.
func (c *Conn) AwaitAnswerRoom(ctx context.Context) error {
	s := c.server
	if s.answers.Load() < s.cfg.AnswerBytesMax {
		return nil
	}
	s.metrics.waits.WithLabelValues(limitAnswerBytes).Inc()
	s.answerShortage.begin()
	defer s.answerShortage.end()
	for s.answers.Load() >= s.cfg.AnswerBytesMax {
		select {
		case <-s.taken:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.tellTaken() // there may be room for others
	return nil
}

// tellTaken wakes one of those that wait for room for answers.
func (s *Server) tellTaken() {
	select {
	case s.taken <- struct{}{}:
	default:
	}
}

// Listener is the name of this connection's listener.
func (c *Conn) Listener() string { return c.listener.Name }

// Internal tells whether a process of this cluster is at the other end.
func (c *Conn) Internal() bool { return c.listener.Internal }

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

// Keep returns what the handler keeps for the connection, and makes it when there
// is none. It is closed when the connection has ended; then Keep returns nil.
func (c *Conn) Keep(make func() io.Closer) io.Closer {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	if c.kept == nil && !c.gone {
		c.kept = make()
	}
	return c.kept
}

// drop closes what was kept.
func (c *Conn) drop() {
	c.keeping.Lock()
	kept := c.kept
	c.kept, c.gone = nil, true
	c.keeping.Unlock()
	if kept != nil {
		_ = kept.Close() // the connection has ended, whatever it says
	}
}

// Abort ends the connection at once.
func (c *Conn) Abort(reason error) {
	c.end(reason)
	_ = c.net.Close() // ends its reader and its writer
}

// LocalAddr is the address by which the client reached this process.
func (c *Conn) LocalAddr() net.Addr { return c.net.LocalAddr() }

// underway is a request that has been started.
type underway struct {
	request *Request
	work    Work
	extra   bool // holds one of the server's permits
}

func newConn(s *Server, nc net.Conn, listener Listener) *Conn {
	c := &Conn{server: s, net: nc, remote: nc.RemoteAddr(), address: addressOf(nc.RemoteAddr()), listener: listener, freed: make(chan struct{}, 1)}
	c.life, c.end = context.WithCancelCause(context.Background())
	patience, cancel := context.WithCancel(c.life)
	c.patience = patience
	stop := context.AfterFunc(s.draining, cancel)
	context.AfterFunc(c.life, func() { stop(); cancel() })
	c.frames = frameReader{
		r:        bufio.NewReaderSize(nc, readBufferBytes),
		bytesMax: s.handler.FrameBytesMax,
		memory:   s.memory,
		born:     s.born,
	}
	c.room.server = s
	return c
}

// addressOf returns the IP address in a, for IPv4 the same whatever the socket.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// serve runs the connection, unless its address has too many or has made too many of late.
func (c *Conn) serve() error {
	if c.mayBeProxied() {
		if err := c.identify(); err != nil {
			c.end(err)
			_ = c.net.Close() // nothing was sent
			return err
		}
		if !c.listener.Internal {
			if limit := c.server.admitAddress(c); limit != "" {
				c.server.refuse(c, limit)
				return errRefused
			}
		}
	}
	if c.server.cfg.Quota != nil && !c.listener.Internal {
		if wait := c.server.cfg.Quota(c.address); wait > 0 {
			c.server.metrics.refused.WithLabelValues(limitQuota).Inc()
			c.Mute(wait)
			err := c.quiet()
			if err == nil {
				err = errQuota
			}
			c.end(err)
			_ = c.net.Close() // nothing was sent
			return err
		}
	}
	return c.run()
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
	c.drop()
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
		extra, err := c.admit(length)
		if err != nil {
			return err
		}
		frame, err := c.frames.body(c.life, length)
		if err != nil {
			c.dismiss(extra)
			return c.late(err)
		}
		r, err := c.request(frame, length)
		if err != nil {
			c.server.memory.giveBack(frame)
			c.dismiss(extra)
			return err
		}
		c.server.metrics.received(length)
		work, err := c.server.handler.Start(c.life, r)
		if err != nil {
			r.Release()
			c.dismiss(extra)
			return fmt.Errorf("api key %d version %d: %w", r.Key, r.Version, err)
		}
		c.started.Add(1)
		c.server.metrics.requests.Inc()
		u := underway{r, work, extra}
		select {
		case pipeline <- u:
		default:
			c.server.metrics.waits.WithLabelValues(limitPipeline).Inc()
			pipeline <- u // the writer takes it even when the connection has ended
		}
	}
}

// late tells what a deadline of the reader meant.
func (c *Conn) late(err error) error {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case c.server.draining.Err() != nil:
		return errDrained
	}
	return errSlowFrame
}

// admit waits until a frame of that length may be read. The first request of a
// connection always may: those that wait for one another (a group's members, a
// consumer for a producer) are each the first of theirs, so a bound on them
// could block all for good. extra says that a permit is held.
func (c *Conn) admit(length int) (extra bool, err error) {
	if err := c.frames.check(length); err != nil {
		return false, c.late(err)
	}
	waited := false
	for c.bytes.Load() > 0 && c.bytes.Load()+int64(length) > c.server.cfg.ConnectionBytesMax {
		if !waited {
			c.server.metrics.waits.WithLabelValues(limitConnectionBytes).Inc()
		}
		waited = true
		if err := c.pause(c.freed); err != nil {
			return false, err
		}
	}
	for short := false; c.started.Load() > 0 && !extra; {
		select {
		case c.server.permits <- struct{}{}:
			extra = true
			continue
		default:
		}
		if !short {
			c.server.metrics.waits.WithLabelValues(limitRequests).Inc()
		}
		short, waited = true, true
		select {
		case c.server.permits <- struct{}{}:
			extra = true
		case <-c.freed: // maybe of the last before this one
		case <-c.life.Done():
			return false, context.Cause(c.life)
		case <-c.server.draining.Done():
			return false, errDrained
		}
	}
	if waited {
		err = c.frameDeadline() // its bytes could not come in the meantime
	}
	c.bytes.Add(int64(length))
	if err != nil {
		c.dismiss(extra)
	}
	return extra, err
}

// dismiss gives a permit back, if there is one.
func (c *Conn) dismiss(extra bool) {
	if extra {
		<-c.server.permits
	}
}

// pause waits for ready, or the end of the connection or its reading.
func (c *Conn) pause(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-c.life.Done():
		return context.Cause(c.life)
	case <-c.server.draining.Done():
		return errDrained
	}
}

// wake tells a reader that waits in admit that something is finished.
func (c *Conn) wake() {
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// quiet waits until the connection is not muted any more. A client that leaves
// in the meantime is noticed, unless it has sent requests that are to be served.
func (c *Conn) quiet() error {
	for {
		rest := time.Duration(c.muted.Load()) - time.Since(c.server.born)
		if rest <= 0 {
			return nil
		}
		if c.frames.r.Buffered() > 0 {
			if err := c.rest(rest); err != nil {
				return err
			}
			continue
		}
		if err := c.net.SetReadDeadline(time.Now().Add(rest)); err != nil {
			return err
		}
		// After the deadline was set, so that it cannot undo drain's.
		if c.server.draining.Err() != nil {
			return errDrained
		}
		if _, err := c.frames.r.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// rest waits for d, or for the end of the connection or its reading.
func (c *Conn) rest(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.life.Done():
		return context.Cause(c.life)
	case <-c.server.draining.Done():
		return errDrained
	}
}

// frameDeadline gives the bytes of a frame their time.
func (c *Conn) frameDeadline() error {
	if err := c.net.SetReadDeadline(time.Now().Add(c.server.cfg.FrameTimeout)); err != nil {
		return err
	}
	// After the deadline was set, so that it cannot undo drain's.
	if c.server.draining.Err() != nil {
		return errDrained
	}
	return nil
}

// awaitFrame waits for the next frame's length, and gives its bytes a deadline.
func (c *Conn) awaitFrame() (int, error) {
	for {
		if c.server.draining.Err() != nil {
			return 0, errDrained
		}
		if c.muted.Load() != 0 {
			if err := c.quiet(); err != nil {
				return 0, err
			}
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
		if c.muted.Load() != 0 { // by an answer that was given while we waited
			if err := c.quiet(); err != nil {
				return 0, err
			}
		}
		if err := c.frameDeadline(); err != nil {
			return 0, err
		}
		length, err := c.frames.length()
		return length, c.late(unexpected(err))
	}
}

// What ends a connection whose time is over.
var (
	errIdle      = errors.New("idle")
	errSlowFrame = errors.New("the client does not send the rest of a request")
	errSlowTaker = errors.New("the client does not take an answer")
	errMemory    = errors.New("no memory for a request")
)

// What ends a connection whose request can never be read.
var (
	errRequestBytes = errors.New("too large a request")
	errFrameBytes   = errors.New("too large a request for the memory that there is")
)

// tooLarge names the limit that a request was refused for which ended a
// connection; "" if it was something else.
func tooLarge(err error) string {
	switch {
	case errors.Is(err, errRequestBytes):
		return limitRequestBytes
	case errors.Is(err, errFrameBytes):
		return limitFrameBytes
	}
	return ""
}

// errRefused ends a connection that is one too many.
var errRefused = errors.New("refused by a limit")

// errQuota ends a connection whose address makes too many.
var errQuota = errors.New("the address is over its quota of new connections")

// Values of the label "timeout".
const (
	timeoutIdle   = "idle"
	timeoutFrame  = "frame"
	timeoutWrite  = "write"
	timeoutMemory = "memory"
	timeoutStall  = "stall"
)

// timeout names the time that was over when err ended a connection; "" if it was
// something else.
func timeout(err error) string {
	switch {
	case errors.Is(err, errIdle):
		return timeoutIdle
	case errors.Is(err, errSlowFrame):
		return timeoutFrame
	case errors.Is(err, errSlowTaker):
		return timeoutWrite
	case errors.Is(err, errMemory) && errors.Is(err, context.DeadlineExceeded):
		return timeoutMemory
	case errors.Is(err, errStalled):
		return timeoutStall
	}
	return ""
}

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
		ClientID: c.clientID, Body: body, Conn: c, Size: length, frame: frame,
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
		c.room.set(0)
		u.request.Release()
		c.started.Add(-1)
		c.server.metrics.requests.Dec()
		c.dismiss(u.extra)
		c.wake()
		w.reset()
	}
}

func (c *Conn) send(w *Response, r *Request) error {
	size := int64(w.Size())
	c.room.set(size)
	c.server.metrics.answerBytes.Add(float64(size))
	n, err := w.writeTo(c.net, r.Correlation, c.server.cfg.WriteTimeout, func() { c.answer.begin(c.server.born, int(size)) })
	c.answer.end()
	c.server.metrics.answerBytes.Sub(float64(size))
	c.server.metrics.sent(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlowTaker
	}
	return err
}

// hangUp reports whether err is the other side's ordinary way to leave.
func hangUp(err error) bool {
	var op *net.OpError
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errIdle) ||
		errors.Is(err, errDrained) || errors.Is(err, errQuota) || errors.Is(err, net.ErrClosed) || errors.As(err, &op)
}
