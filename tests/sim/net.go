package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// network connects processes by address.
type network struct {
	world *World

	mu        sync.Mutex
	listeners map[string]*listener
	cut       map[[2]string]bool // pairs of nodes between which nothing gets through
	dials     map[[2]string]int
}

func newNetwork(w *World) *network {
	return &network{world: w, listeners: map[string]*listener{}, cut: map[[2]string]bool{}, dials: map[[2]string]int{}}
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// sever cuts two nodes off from one another, or joins them again.
func (n *network) sever(a, b string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cut {
		n.cut[pair(a, b)] = true
	} else {
		delete(n.cut, pair(a, b))
	}
}

func (n *network) severed(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[pair(a, b)]
}

// heal joins everybody.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// listener is a socket that a process has open.
type listener struct {
	l        *life
	addr     *net.TCPAddr
	incoming chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

// listen opens a socket; a dead process's is taken over.
func (n *network) listen(l *life, addr *net.TCPAddr) *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &listener{l: l, addr: addr, incoming: make(chan net.Conn, 1000), closed: make(chan struct{})}
	n.listeners[addr.String()] = s
	return s
}

func (s *listener) Accept() (net.Conn, error) {
	select {
	case c := <-s.incoming:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	case <-s.l.dead:
		return nil, net.ErrClosed
	}
}

func (s *listener) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *listener) Addr() net.Addr { return s.addr }

func (s *listener) open() bool {
	select {
	case <-s.closed:
		return false
	default:
		return !s.l.isDead()
	}
}

// dial connects a process to an address.
func (n *network) dial(ctx context.Context, l *life, address string) (net.Conn, error) {
	var made *conn
	n.mu.Lock()
	n.dials[[2]string{l.name, address}]++
	number := n.dials[[2]string{l.name, address}]
	n.mu.Unlock()
	what := fmt.Sprintf("dial %s #%d", address, number)
	o, err := l.do(ctx, seamNet, what, func() {
		n.mu.Lock()
		target := n.listeners[address]
		n.mu.Unlock()
		if target == nil || !target.open() || n.severed(l.name, target.l.name) {
			return
		}
		local := &net.TCPAddr{IP: addressOf(l.name), Port: 10_000 + number%50_000}
		here := &conn{net: n, l: l, name: fmt.Sprintf("%s>%s#%d", l.name, target.l.name, number), local: local, remote: target.addr, ready: make(chan struct{})}
		there := &conn{net: n, l: target.l, name: fmt.Sprintf("%s<%s#%d", target.l.name, l.name, number), local: target.addr, remote: local, ready: make(chan struct{})}
		here.peer, there.peer = there, here
		if !here.adopt() || !there.adopt() {
			return
		}
		select {
		case target.incoming <- there:
			made = here
		default:
		}
	})
	if o == done && made == nil {
		err = errors.New("connection refused")
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return made, nil
}

// conn is one end of a connection. Writes never wait, and arrive in order.
type conn struct {
	net           *network
	l             *life
	name          string
	local, remote *net.TCPAddr
	peer          *conn
	last          time.Duration // when what was sent last arrives; the scheduler's

	mu       sync.Mutex
	buffer   []byte
	failed   error // what a read gets when the buffer is empty
	closed   bool
	deadline time.Time
	timer    *time.Timer
	ready    chan struct{} // closed and replaced when any of these change
}

// adopt binds the connection to the life of its process.
func (c *conn) adopt() bool {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	select {
	case <-c.l.dead:
		return false
	default:
		c.l.conns[c] = true
		return true
	}
}

func (c *conn) changed() {
	close(c.ready)
	c.ready = make(chan struct{})
}

var errReset = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}

// reset breaks the connection at both ends: what is under way is gone.
func (c *conn) reset() {
	for _, end := range []*conn{c, c.peer} {
		end.mu.Lock()
		if end.failed == nil {
			end.failed = errReset
			end.buffer = nil
			end.changed()
		}
		end.mu.Unlock()
	}
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		ready := c.ready
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, net.ErrClosed
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(c.buffer) > 0:
			n := copy(p, c.buffer)
			c.buffer = c.buffer[n:]
			c.mu.Unlock()
			return n, nil
		case c.failed != nil:
			err := c.failed
			c.mu.Unlock()
			return 0, err
		}
		c.mu.Unlock()
		<-ready
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	closed, failed := c.closed, c.failed
	c.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case failed != nil && failed != io.EOF:
		return 0, failed
	case c.l.isDead():
		return 0, errReset
	}
	data := append([]byte(nil), p...)
	c.send(fmt.Sprintf("%d bytes", len(p)), func() { c.peer.receive(data, nil) })
	return len(p), nil
}

// send brings something to the other end, after all that was sent before.
func (c *conn) send(what string, deliver func()) {
	s := c.net.world.sched
	s.arrive(c.l.name+" net "+c.name, func() {
		w, paused := c.l.state(seamNet)
		took := s.between(w.least, w.most)
		if s.chance(w.slow) {
			took *= 100
		}
		c.last = max(c.last+1, s.now()+took, paused+took)
		if s.chance(w.lose) {
			what, deliver = what+" are lost, the connection breaks", c.reset
		}
		s.at(c.last, func() { c.arrive(what, deliver) })
	})
}

func (c *conn) arrive(what string, deliver func()) {
	s := c.net.world.sched
	if _, paused := c.peer.l.state(seamNet); paused > s.now() {
		// In the kernel of a process that does not run.
		c.last = max(c.last+1, paused)
		s.at(c.last, func() { c.arrive(what, deliver) })
		return
	}
	if c.l.isDead() || c.peer.l.isDead() || c.net.severed(c.l.name, c.peer.l.name) {
		c.reset()
		return
	}
	s.trace.add(s.now(), "%s net %s", c.name, what)
	deliver()
}

func (c *conn) receive(data []byte, end error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return
	}
	c.buffer = append(c.buffer, data...)
	c.failed = end
	c.changed()
}

func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.changed()
	c.mu.Unlock()
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	c.send("end", func() { c.peer.receive(nil, io.EOF) })
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.deadline = t
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if !t.IsZero() {
		c.timer = time.AfterFunc(max(0, time.Until(t)), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.changed()
		})
	}
	c.changed()
	return nil
}

// SetWriteDeadline: a write never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// addressOf gives each node an address of its own.
func addressOf(node string) net.IP {
	var sum byte
	for _, b := range []byte(node) {
		sum = sum*31 + b
	}
	return net.IPv4(10, 0, node[0]-'a', sum)
}
