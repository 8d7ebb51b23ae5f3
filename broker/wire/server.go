package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config bounds a Server. Zero fields take their defaults.
type Config struct {
	ConnectionsMax int           // further ones are closed at once; default 10,000
	PipelineMax    int           // requests of a connection that may be under way; default 64
	BytesMax       int64         // of all frames in memory, at least twice the largest; default 512 MiB
	IdleTimeout    time.Duration // without a request or an answer; default 10 minutes
	FrameTimeout   time.Duration // from a frame's first byte to its last; default 1 minute
}

func (c Config) withDefaults() Config {
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = 10_000
	}
	if c.PipelineMax == 0 {
		c.PipelineMax = 64
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
	return c
}

// Server serves connections. Its methods may be called at once.
type Server struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	memory  *memory
	metrics *metrics

	draining context.Context // ends when Shutdown begins
	drain    context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	running   sync.WaitGroup // connections
}

// New returns a Server that has no listener yet. reg may be nil.
func New(cfg Config, handler Handler, log *slog.Logger, reg prometheus.Registerer) *Server {
	s := &Server{
		cfg:       cfg.withDefaults(),
		handler:   handler,
		log:       log,
		metrics:   newMetrics(reg),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*Conn]struct{}),
	}
	s.memory = newMemory(s.cfg.BytesMax, s.cfg.FrameTimeout)
	s.draining, s.drain = context.WithCancel(context.Background())
	return s
}

// Serve accepts connections from l until Shutdown, and then returns nil. name
// is the listener's name, which tells clients apart that came in by different
// addresses. l is closed when Serve returns. Several Serve may run at once.
func (s *Server) Serve(l net.Listener, name string) error {
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
			s.accept(nc, name)
		case s.draining.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting on %s: %w", l.Addr(), err)
		default:
			// Out of file descriptors, mostly: connections that end cure it.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("cannot accept a connection", "listener", name, "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.draining.Done():
				return nil
			}
		}
	}
}

// accept serves nc in goroutines of its own, or refuses it.
func (s *Server) accept(nc net.Conn, listener string) {
	c := newConn(s, nc, listener)
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.ConnectionsMax
	if full || s.draining.Err() != nil {
		s.mu.Unlock()
		s.metrics.refused.Inc()
		c.end(net.ErrClosed)
		_ = nc.Close() // nothing was sent
		if full {
			s.log.Warn("connection refused", "client", nc.RemoteAddr(), "connections", s.cfg.ConnectionsMax)
		}
		return
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	s.metrics.connections.Inc()

	go func() {
		defer s.running.Done()
		err := c.run()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.metrics.connections.Dec()
		level := slog.LevelInfo
		if hangUp(err) {
			level = slog.LevelDebug
		} else {
			s.metrics.aborted.Inc()
		}
		software := c.Software()
		s.log.Log(context.Background(), level, "connection closed", "client", nc.RemoteAddr(), "listener", listener,
			"client_id", c.clientID, "software", software.Name, "software_version", software.Version, "reason", err)
	}()
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
