package wire

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// errStalled ends a connection whose client keeps memory that others wait for.
var errStalled = errors.New("the client stands still with memory that others wait for")

// hold is memory that a connection has while its client sends or takes a piece
// of it.
type hold struct {
	since atomic.Int64 // when the piece began, nanoseconds after the server's birth; 0 is none
	bytes atomic.Int64
}

func (h *hold) begin(born time.Time, bytes int) {
	h.bytes.Store(int64(bytes))
	h.since.Store(max(1, int64(time.Since(born))))
}

func (h *hold) end() { h.since.Store(0) }

// shortage makes room while somebody waits for it: the connections whose pieces
// began longest ago are closed, if that is longer than the stall timeout, until
// an eighth of all the memory is free, and again after a while. Clients that go
// on sending and taking so never wait long for those that do not.
type shortage struct {
	server  *Server
	of      func(*Conn) *hold
	enough  int64
	waiting atomic.Int64
	looking atomic.Bool
}

func newShortage(s *Server, all int64, of func(*Conn) *hold) *shortage {
	return &shortage{server: s, of: of, enough: max(1, all/8)}
}

// begin says that somebody waits, until end.
func (x *shortage) begin() {
	x.waiting.Add(1)
	x.look()
}

func (x *shortage) end() { x.waiting.Add(-1) }

// look sees to it that there is relief as long as somebody waits.
func (x *shortage) look() {
	if x.waiting.Load() > 0 && x.looking.CompareAndSwap(false, true) {
		time.AfterFunc(x.server.cfg.StallTimeout/4, func() {
			if x.waiting.Load() > 0 {
				x.relieve()
			}
			x.looking.Store(false)
			x.look()
		})
	}
}

func (x *shortage) relieve() {
	s := x.server
	s.mu.Lock()
	defer s.mu.Unlock()
	type stalled struct {
		conn  *Conn
		since int64
	}
	var all []stalled
	before := int64(time.Since(s.born) - s.cfg.StallTimeout)
	for c := range s.conns {
		if since := x.of(c).since.Load(); since != 0 && since <= before && c.life.Err() == nil {
			all = append(all, stalled{c, since})
		}
	}
	slices.SortFunc(all, func(a, b stalled) int { return cmp.Compare(a.since, b.since) })
	freed := int64(0)
	for _, slow := range all {
		if freed >= x.enough {
			return
		}
		freed += x.of(slow.conn).bytes.Load()
		slow.conn.end(errStalled)
		_ = slow.conn.net.Close() // ends what its reader and its writer wait for
	}
}
