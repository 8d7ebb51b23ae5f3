package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Proxy passes connections on to one address until it is told otherwise.
type Proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	mode  mode
	delay time.Duration
	open  chan struct{} // closed while bytes may pass
	pairs map[*pair]struct{}
	tasks sync.WaitGroup
}

type mode int

const (
	through mode = iota
	silent       // bytes wait, connections stay
	refused      // connections are reset
	busy         // whatever is asked over HTTP is answered with 503
)

// pair is a connection and the one behind it.
type pair struct{ near, far net.Conn }

func (p *pair) close() {
	_ = p.near.Close() // both may be closed already
	_ = p.far.Close()
}

// NewProxy listens on a free port for connections to target.
func NewProxy(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy of %s: %w", target, err)
	}
	p := &Proxy{listener: listener, target: target, open: make(chan struct{}), pairs: map[*pair]struct{}{}}
	close(p.open)
	p.tasks.Go(p.accept)
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Cut lets no byte through, in either direction, and closes nothing: what a
// network does that loses everything. New connections are accepted, and wait too.
func (p *Proxy) Cut() { p.set(silent) }

// Refuse resets all connections and new ones, as a machine that is gone.
func (p *Proxy) Refuse() { p.set(refused) }

// Busy answers every request over HTTP with 503, as an object store does that
// wants its clients to slow down.
func (p *Proxy) Busy() { p.set(busy) }

// Heal lets everything through again, with what waited meanwhile.
func (p *Proxy) Heal() { p.set(through) }

// Delay holds every piece of every connection back for a time. 0 ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *Proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == silent && m != silent {
		close(p.open)
	}
	if p.mode != silent && m == silent {
		p.open = make(chan struct{})
	}
	p.mode = m
	if m == refused || m == busy {
		for pair := range p.pairs {
			pair.close()
		}
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.set(refused)
	p.tasks.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.tasks.Go(func() { p.serve(near) })
	}
}

func (p *Proxy) serve(near net.Conn) {
	if !p.pass() {
		p.turnAway(near)
		return
	}
	far, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		_ = near.Close() // as the target would
		return
	}
	pair := &pair{near, far}
	p.mu.Lock()
	p.pairs[pair] = struct{}{}
	refuse := p.mode == refused || p.mode == busy
	p.mu.Unlock()
	if refuse {
		pair.close()
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(pair, far, near) })
	both.Go(func() { p.copy(pair, near, far) })
	both.Wait()
	pair.close()
	p.mu.Lock()
	delete(p.pairs, pair)
	p.mu.Unlock()
}

// turnAway ends a connection that may not pass, with an answer if it is to have
// one.
func (p *Proxy) turnAway(near net.Conn) {
	defer near.Close()
	p.mu.Lock()
	m := p.mode
	p.mu.Unlock()
	if m != busy || near.SetDeadline(time.Now().Add(5*time.Second)) != nil {
		return
	}
	request, err := http.ReadRequest(bufio.NewReader(near))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, request.Body) // else the answer could be lost with it
	_, _ = io.WriteString(near, "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

// copy passes bytes on in one direction until its end, and then that.
func (p *Proxy) copy(pair *pair, to, from net.Conn) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 && p.pass() {
			if _, err := to.Write(piece[:n]); err != nil {
				pair.close()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			if !p.pass() {
				return
			}
			if half, ok := to.(*net.TCPConn); ok && half.CloseWrite() == nil {
				return
			}
		}
		if err != nil {
			pair.close()
			return
		}
	}
}

// pass waits until bytes may pass, and reports whether they may at all.
func (p *Proxy) pass() bool {
	for {
		p.mu.Lock()
		open, delay, m := p.open, p.delay, p.mode
		p.mu.Unlock()
		switch m {
		case refused, busy:
			return false
		case silent:
			<-open
			continue
		case through:
		}
		if delay > 0 {
			<-time.After(delay)
		}
		return true
	}
}
