// Package sniff lets gRPC and HTTP/1.1 share a port.
//
// A connection whose first bytes are those of HTTP/2 with prior knowledge
// ("PRI "), which is how every gRPC client begins, goes to one listener, and any
// other to a second. The two are served by servers of their own: net/http can
// speak HTTP/2 on a plain port as well, and hand gRPC on, at a quarter less
// throughput and half as much CPU again for Arrow Flight.
//
// Promises: a connection is handed on as it came, with the bytes that were
// looked at; one that is silent is closed after a while and holds up no other; a
// listener that is closed takes its own connections away from the port, and no
// others. Over TLS the package works as it does here, on what tls.Listener
// accepts, when the server's protocols are http/1.1 before h2.
package sniff

import (
	"errors"
	"net"
	"sync"
	"time"
)

// preface begins every HTTP/2 connection of a client (RFC 9113, 3.4); no
// request of HTTP/1.1 begins so.
const preface = "PRI "

// pauseMax is the longest wait after a failed accept that may mend itself, as
// with too many open files.
const pauseMax = time.Second

// Split returns the gRPC and the other connections of l, each as a listener.
// Clients have the time within to say something. l is closed when both are.
func Split(l net.Listener, within time.Duration) (grpc, http net.Listener) {
	s := &splitter{Listener: l, within: within, closing: make(chan struct{}), done: make(chan struct{}), deciding: map[net.Conn]struct{}{}}
	g, h := s.side(), s.side()
	go s.accept(g, h)
	return g, h
}

// splitter owns the port.
type splitter struct {
	net.Listener
	within time.Duration

	closing chan struct{} // closed with the last side
	done    chan struct{} // closed when nothing is accepted any more
	err     error         // that ended it; read after done

	mu       sync.Mutex
	open     int                   // sides
	deciding map[net.Conn]struct{} // connections that said nothing yet; nil when closed
}

func (s *splitter) side() *side {
	s.open++
	return &side{splitter: s, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (s *splitter) accept(grpc, http *side) {
	defer close(s.done)
	pause := time.Duration(0)
	for {
		conn, err := s.Accept()
		if err == nil {
			pause = 0
			if s.enter(conn) {
				go s.decide(conn, grpc, http)
			}
			continue
		}
		var passing interface{ Temporary() bool }
		if errors.Is(err, net.ErrClosed) || !errors.As(err, &passing) || !passing.Temporary() {
			s.err = err
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), pauseMax)
		select {
		case <-time.After(pause):
		case <-s.closing: // the next accept fails for good
		}
	}
}

// enter remembers a connection until it is decided, so that closing the port
// ends it. It reports false when the port is closed already.
func (s *splitter) enter(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deciding == nil {
		_ = conn.Close() // nobody is there any more to be told
		return false
	}
	s.deciding[conn] = struct{}{}
	return true
}

func (s *splitter) leave(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.deciding, conn)
}

// decide reads until it is clear what a client speaks. What cannot be read is
// nobody's: the connection is closed.
func (s *splitter) decide(conn net.Conn, grpc, http *side) {
	first, err := s.peek(conn)
	s.leave(conn)
	if err != nil {
		_ = conn.Close() // it was broken or silent; there is nobody to tell
		return
	}
	to := http
	if string(first) == preface {
		to = grpc
	}
	to.offer(&replayed{Conn: conn, first: first})
}

// peek reads as many bytes as it takes to see that they are the preface, or not.
func (s *splitter) peek(conn net.Conn) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(s.within)); err != nil {
		return nil, err
	}
	first := make([]byte, 0, len(preface))
	for len(first) < len(preface) && string(first) == preface[:len(first)] {
		n, err := conn.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if n == 0 && err != nil {
			return nil, err
		}
	}
	return first, conn.SetReadDeadline(time.Time{})
}

// closeSide closes the port with its last side.
func (s *splitter) closeSide() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open--; s.open > 0 {
		return nil
	}
	for conn := range s.deciding {
		_ = conn.Close() // its client said nothing yet
	}
	s.deciding = nil
	close(s.closing)
	return s.Close()
}

// side is one of the two listeners.
type side struct {
	*splitter
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *side) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.done:
		return nil, l.err
	}
}

// Close implements net.Listener. It may be called again.
func (l *side) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = l.closeSide()
	})
	return err
}

// offer hands a connection to whoever accepts on this side.
func (l *side) offer(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.closed:
		_ = conn.Close() // its server has ended
	case <-l.done:
		_ = conn.Close() // the port has ended
	}
}

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (c *replayed) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}
