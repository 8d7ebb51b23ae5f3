package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config bounds a Server. Zero fields take their defaults.
type Config struct {
	ConnectionsMax      int           // further ones are closed at once; default 10,000
	ConnectionsPerIPMax int           // the same of one address; default as many as there may be at all
	ConnectionRateMax   int           // accepted per second; default as many as come
	PipelineMax         int           // requests of a connection that may be under way; default 64
	RequestsMax         int           // of all connections, beyond the first of each; default 10,000
	ConnectionBytesMax  int64         // of the frames of a connection, beyond the first; default 128 MiB
	AnswerBytesMax      int64         // of all answers not taken yet, past which AnswerRoom is none; default 512 MiB
	BytesMax            int64         // of all frames in memory, at least twice the largest; default 512 MiB
	IdleTimeout         time.Duration // without a request or an answer; default 10 minutes
	FrameTimeout        time.Duration // from a frame's first byte to its last; default 1 minute
	WriteTimeout        time.Duration // for each 256 KiB of an answer to be taken; default 1 minute
	StallTimeout        time.Duration // for such a piece of a frame or an answer while others wait for its memory; default 1 second

	InternalConnectionsMax int // connections of internal listeners, which count for no other limit of connections; default 20,000

	// ProxyTrusted, when set, says from which addresses a client's connection may
	// begin with the header of the PROXY protocol.
	ProxyTrusted func(netip.Addr) bool

	// Quota, when set, is asked for each connection how long its address is over
	// its quota of new ones. Such a connection is closed unserved after that time.
	Quota func(netip.Addr) time.Duration
}

func (c Config) withDefaults() Config {
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = 10_000
	}
	if c.ConnectionsPerIPMax == 0 {
		c.ConnectionsPerIPMax = c.ConnectionsMax
	}
	if c.InternalConnectionsMax == 0 {
		c.InternalConnectionsMax = 20_000
	}
	if c.PipelineMax == 0 {
		c.PipelineMax = 64
	}
	if c.RequestsMax == 0 {
		c.RequestsMax = 10_000
	}
	if c.ConnectionBytesMax == 0 {
		c.ConnectionBytesMax = 128 << 20
	}
	if c.AnswerBytesMax == 0 {
		c.AnswerBytesMax = 512 << 20
	}
	if c.BytesMax == 0 {
		c.BytesMax = 512 << 20
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 10 * time.Minute
	}
	if c.FrameTimeout == 0 {
		c.FrameTimeout = time.Minute
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = time.Minute
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = time.Second
	}
	return c
}

// Server serves connections. Its methods may be called at once.
type Server struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	memory  *memory
	metrics *metrics
	born    time.Time
	permits chan struct{} // one for each request beyond the first of its connection
	pace    *pace
	answers atomic.Int64  // bytes of answers that are being written
	taken   chan struct{} // tells one of those that wait for room that an answer was taken

	frameShortage, answerShortage *shortage

	draining context.Context // ends when Shutdown begins
	drain    context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	perIP     map[netip.Addr]int // of those of clients
	internal  int                // how many of conns are of internal listeners
	running   sync.WaitGroup     // connections
}

// New returns a Server that has no listener yet. reg may be nil.
func New(cfg Config, handler Handler, log *slog.Logger, reg prometheus.Registerer) *Server {
	s := &Server{
		cfg:       cfg.withDefaults(),
		handler:   handler,
		log:       log,
		born:      time.Now(),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*Conn]struct{}),
		perIP:     make(map[netip.Addr]int),
	}
	s.memory = newMemory(s.cfg.BytesMax, s.cfg.FrameTimeout)
	s.metrics = newMetrics(reg, func() float64 { return float64(s.memory.lent.Load()) })
	s.frameShortage = newShortage(s, s.cfg.BytesMax, func(c *Conn) *hold { return &c.frames.hold })
	s.answerShortage = newShortage(s, s.cfg.AnswerBytesMax, func(c *Conn) *hold { return &c.answer })
	s.taken = make(chan struct{}, 1)
	s.memory.waited = s.metrics.waits.WithLabelValues(limitFrameBytes).Inc
	s.memory.shortage = s.frameShortage
	s.permits = make(chan struct{}, s.cfg.RequestsMax)
	s.pace = newPace(s.cfg.ConnectionRateMax)
	s.draining, s.drain = context.WithCancel(context.Background())
	return s
}

// Listener says what connections of a listener are.
type Listener struct {
	Name string // tells clients apart that came in by different addresses

	// Internal connections are those of this cluster's own processes. The limits
	// for clients do not hold for them, and each may begin with a PROXY header
	// that says for which client it is.
	Internal bool
}

// Serve accepts connections from l until Shutdown, and then returns nil. l is
// closed when Serve returns. Several Serve may run at once.
func (s *Server) Serve(l net.Listener, of Listener) error {
	defer l.Close()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	s.mu.Lock()
	if s.draining.Err() != nil {
		s.mu.Unlock()
		return nil
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()

	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if !of.Internal {
				s.slow()
			}
			s.accept(nc, of)
		case s.draining.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting on %s: %w", l.Addr(), err)
		default:
			// Out of file descriptors, mostly: connections that end cure it.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("cannot accept a connection", "listener", of.Name, "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.draining.Done():
				return nil
			}
		}
	}
}

// slow holds the accepting back to the rate that is allowed; further connections
// wait in the system's queue.
func (s *Server) slow() {
	wait := s.pace.next(time.Since(s.born))
	if wait <= 0 {
		return
	}
	s.metrics.waits.WithLabelValues(limitRate).Inc()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.draining.Done():
	}
}

// accept serves nc in goroutines of its own, or refuses it.
func (s *Server) accept(nc net.Conn, listener Listener) {
	c := newConn(s, nc, listener)
	if limit := s.admit(c); limit != "" {
		s.refuse(c, limit)
		return
	}
	open := s.metrics.connections
	if listener.Internal {
		open = s.metrics.internal
	}
	open.Inc()

	go func() {
		defer s.running.Done()
		err := c.serve()
		s.dismiss(c)
		open.Dec()
		if errors.Is(err, errRefused) {
			return // that was told already
		}
		level := slog.LevelInfo
		if over := timeout(err); over != "" {
			s.metrics.timeouts.WithLabelValues(over).Inc()
			if over == timeoutIdle {
				level = slog.LevelDebug
			}
		} else if limit := tooLarge(err); limit != "" {
			s.metrics.tooLarge.WithLabelValues(limit).Inc()
			level = slog.LevelWarn
		} else if hangUp(err) {
			level = slog.LevelDebug
		} else {
			s.metrics.aborted.Inc()
		}
		software := c.Software()
		s.log.Log(context.Background(), level, "connection closed", "client", c.RemoteAddr(), "listener", listener.Name,
			"client_id", c.clientID, "software", software.Name, "software_version", software.Version, "reason", err)
	}()
}

// refuse closes a connection that is one too many.
func (s *Server) refuse(c *Conn, limit string) {
	c.end(errRefused)
	_ = c.net.Close() // nothing was sent
	if limit != limitNone {
		s.metrics.refused.WithLabelValues(limit).Inc()
		s.log.Warn("connection refused", "client", c.RemoteAddr(), "limit", limit)
	}
}

// limitNone is what a connection is refused for that comes while the server drains.
const limitNone = "none"

// admit counts c among the connections, or says which limit forbids it. Of one
// that may come through a proxy it is not known yet whose it is: see admitAddress.
func (s *Server) admit(c *Conn) (limit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining.Err() != nil:
		return limitNone
	case c.listener.Internal && s.internal >= s.cfg.InternalConnectionsMax:
		return limitInternal
	case !c.listener.Internal && len(s.conns)-s.internal >= s.cfg.ConnectionsMax:
		return limitConnections
	case !c.mayBeProxied() && s.perIP[c.address] >= s.cfg.ConnectionsPerIPMax:
		return limitPerIP
	}
	if c.listener.Internal {
		s.internal++
	} else if !c.mayBeProxied() {
		s.count(c)
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return ""
}

// admitAddress counts c among the connections of its address, once that is known.
func (s *Server) admitAddress(c *Conn) (limit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perIP[c.address] >= s.cfg.ConnectionsPerIPMax {
		return limitPerIP
	}
	s.count(c)
	return ""
}

// count counts c for its address. s.mu is held.
func (s *Server) count(c *Conn) {
	s.perIP[c.address]++
	c.counted = true
}

// dismiss takes c out of the counts.
func (s *Server) dismiss(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.listener.Internal {
		s.internal--
	}
	if !c.counted {
		return
	}
	if s.perIP[c.address]--; s.perIP[c.address] == 0 {
		delete(s.perIP, c.address)
	}
}

// pace spaces events evenly, after as many as a second allows at once. It may be
// used at once. None per second hold nothing back.
type pace struct {
	perSecond int
	mu        sync.Mutex
	due       time.Duration // when the next would be due if they came evenly
}

func newPace(perSecond int) *pace { return &pace{perSecond: perSecond, due: -time.Second} }

// next returns how long the next event has to wait.
func (p *pace) next(now time.Duration) time.Duration {
	if p.perSecond <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = max(p.due, now-time.Second) + time.Second/time.Duration(p.perSecond)
	return p.due - now
}

// Shutdown stops accepting and reading, lets what was started be answered, and
// closes the connections. When ctx ends first, it cuts them and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.drain()
	for l := range s.listeners {
		_ = l.Close() // what Serve returns does not depend on it
	}
	for c := range s.conns {
		_ = c.net.SetReadDeadline(time.Unix(1, 0)) // wakes the readers
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	cut := len(s.conns)
	for c := range s.conns {
		c.end(ctx.Err())
		_ = c.net.Close() // cut on purpose
	}
	s.mu.Unlock()
	<-done
	return fmt.Errorf("draining connections, %d were cut: %w", cut, ctx.Err())
}
