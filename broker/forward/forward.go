// Package forward carries requests of clients to the brokers that own what they
// are about: over the ordinary protocol, to those brokers' internal listeners.
//
// Each connection of a client has connections of its own to the brokers that it
// needs, which say whose they are (the PROXY protocol). So requests reach an owner
// in the client's order, what waits there holds up nobody else, and the owner
// sees hang-ups and addresses as if the client were connected to it. Connections
// are opened when they are first needed, closed when they are idle for a while or
// when their broker's session is over, and bounded in number.
//
// It knows framing, and nothing of what a request means. What was sent is never
// sent again: when a connection is lost the outcome of its requests is unknown,
// and whoever asked says so to the client, as the lost connection would.
package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/proxyprotocol"
	"github.com/chronik-stream/chronik/metastore"
)

// Errors of requests.
var (
	// ErrUnreachable: nothing was sent.
	ErrUnreachable = errors.New("the broker cannot be reached")
	// ErrLost: it was sent, and no answer came: the outcome is unknown.
	ErrLost = errors.New("the connection to the broker was lost")
)

// Config bounds a Forwarder. Zero fields take their defaults.
type Config struct {
	ConnectionsMax int           // open at once; default 20,000
	IdleTimeout    time.Duration // after which an unused one is closed; default 1 minute
	DialTimeout    time.Duration // default 2 seconds
	DialPause      time.Duration // after a failed attempt, until the next one to that broker; default 500 ms
	WriteTimeout   time.Duration // for each MiB of a request to be taken, or of an answer to come; default 1 minute
	AnswerBytesMax int           // of one answer; default 128 MiB

	// Dial opens connections; default: TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

func (c Config) withDefaults() Config {
	c.ConnectionsMax = cmp.Or(c.ConnectionsMax, 20_000)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, time.Minute)
	c.DialTimeout = cmp.Or(c.DialTimeout, 2*time.Second)
	c.DialPause = cmp.Or(c.DialPause, 500*time.Millisecond)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.AnswerBytesMax = cmp.Or(c.AnswerBytesMax, 128<<20)
	if c.Dial == nil {
		dialer := &net.Dialer{}
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}
	}
	return c
}

// Forwarder has all forwarding connections of a broker. Its methods may be
// called at once.
type Forwarder struct {
	cfg     Config
	metrics *metrics

	mu    sync.Mutex
	links map[*link]struct{} // open, or being opened
	down  map[metastore.Session]*outage
}

// outage is what is known of a broker that could not be reached.
type outage struct {
	again  time.Time // when to try next
	trying bool
}

// New returns a Forwarder without connections. reg may be nil.
func New(cfg Config, reg prometheus.Registerer) *Forwarder {
	return &Forwarder{cfg: cfg.withDefaults(), metrics: newMetrics(reg), links: make(map[*link]struct{}), down: make(map[metastore.Session]*outage)}
}

// Run closes connections that are idle, until ctx ends; then it closes all.
func (f *Forwarder) Run(ctx context.Context) {
	every := time.NewTicker(max(f.cfg.IdleTimeout/4, time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-every.C:
			f.closeIdle(time.Now().Add(-f.cfg.IdleTimeout))
		case <-ctx.Done():
			f.closeAll(func(*link) bool { return true }, errors.New("this broker stops"))
			return
		}
	}
}

// Live tells which brokers live. Connections to former sessions are closed, and
// who waits for an answer of theirs is told that it is lost.
func (f *Forwarder) Live(brokers []metastore.Broker) {
	live := make(map[metastore.Session]bool, len(brokers))
	for _, b := range brokers {
		live[b.Session] = true
	}
	f.closeAll(func(l *link) bool { return !live[l.to.Session] }, errors.New("its session is over"))
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.down {
		if !live[s] {
			delete(f.down, s)
		}
	}
}

func (f *Forwarder) closeAll(which func(*link) bool, reason error) {
	for _, l := range f.all() {
		if which(l) {
			l.end(fmt.Errorf("%w: %w", ErrLost, reason))
		}
	}
}

func (f *Forwarder) all() []*link {
	f.mu.Lock()
	defer f.mu.Unlock()
	links := make([]*link, 0, len(f.links))
	for l := range f.links {
		links = append(links, l)
	}
	return links
}

// closeIdle closes what was not used since then.
func (f *Forwarder) closeIdle(since time.Time) {
	for _, l := range f.all() {
		l.endIdle(since)
	}
}

// makeRoom closes some of the connections that are unused for longest.
func (f *Forwarder) makeRoom() {
	type idle struct {
		l    *link
		used time.Time
	}
	var all []idle
	for _, l := range f.all() {
		if used, ok := l.idleSince(); ok {
			all = append(all, idle{l, used})
		}
	}
	slices.SortFunc(all, func(a, b idle) int { return a.used.Compare(b.used) })
	for _, i := range all[:min(len(all), max(1, f.cfg.ConnectionsMax/16))] {
		i.l.endIdle(i.used)
	}
}

// admit counts a connection that is to be opened.
func (f *Forwarder) admit(l *link) error {
	for try := range 2 {
		f.mu.Lock()
		if len(f.links) < f.cfg.ConnectionsMax {
			f.links[l] = struct{}{}
			f.metrics.connections.Inc()
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		if try == 0 {
			f.makeRoom()
		}
	}
	f.metrics.failures.WithLabelValues(failureLimit).Inc()
	return fmt.Errorf("%w: %d forwarding connections are in use", ErrUnreachable, f.cfg.ConnectionsMax)
}

func (f *Forwarder) forget(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.links[l]; ok {
		delete(f.links, l)
		f.metrics.connections.Dec()
	}
}

// dial connects to a broker. While one cannot be reached, only one attempt at a
// time waits for it, and others fail at once: clients share their connections
// between what it owns and what others do.
func (f *Forwarder) dial(ctx context.Context, to metastore.Broker) (net.Conn, error) {
	address, ok := internalAddress(to)
	if !ok {
		return nil, fmt.Errorf("%w: broker %v has no listener %s", ErrUnreachable, to.ID, metastore.InternalListener)
	}
	f.mu.Lock()
	out := f.down[to.Session]
	if out != nil && (out.trying || time.Now().Before(out.again)) {
		f.mu.Unlock()
		f.metrics.failures.WithLabelValues(failureDial).Inc()
		return nil, fmt.Errorf("%w: broker %v at %s could not be just now", ErrUnreachable, to.ID, address)
	}
	if out != nil {
		out.trying = true
	}
	f.mu.Unlock()

	dialing, cancel := context.WithTimeout(ctx, f.cfg.DialTimeout)
	defer cancel()
	conn, err := f.cfg.Dial(dialing, address)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		delete(f.down, to.Session)
		f.metrics.opened.Inc()
		return conn, nil
	case ctx.Err() != nil: // the client's own end says nothing of the broker
		if out != nil {
			out.trying = false
		}
	default:
		f.down[to.Session] = &outage{again: time.Now().Add(f.cfg.DialPause)}
	}
	f.metrics.failures.WithLabelValues(failureDial).Inc()
	return nil, fmt.Errorf("%w: broker %v: %w", ErrUnreachable, to.ID, err)
}

func internalAddress(b metastore.Broker) (string, bool) {
	for _, l := range b.Listeners {
		if l.Name == metastore.InternalListener {
			return net.JoinHostPort(l.Host, fmt.Sprint(l.Port)), true
		}
	}
	return "", false
}

// Reachable tells whether a broker has a listener for forwarded requests.
func Reachable(b metastore.Broker) bool {
	_, ok := internalAddress(b)
	return ok
}

// Client is the forwarding side of one connection of a client. Its methods may
// be called at once.
type Client struct {
	f      *Forwarder
	header []byte // that says whose the connections are
	lost   func(error)
	wake   chan struct{}

	mu     sync.Mutex
	closed bool
	links  map[target]*link
}

// target is where a connection goes. Polls have one of their own: what waits in
// one for records must not hold up answers to anything else.
type target struct {
	session metastore.Session
	poll    bool
}

// Client returns the forwarding side of a connection from one address to
// another. Close it with the connection. lost is called when a broker may have
// lost or refused requests that have no answer.
func (f *Forwarder) Client(from, to net.Addr, lost func(error)) *Client {
	header := proxyprotocol.Append(nil, proxyprotocol.Header{Source: addrPort(from), Destination: addrPort(to)})
	return &Client{f: f, header: header, lost: lost, wake: make(chan struct{}, 1), links: make(map[target]*link)}
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		address := tcp.AddrPort()
		return netip.AddrPortFrom(address.Addr().WithZone(""), address.Port())
	}
	return netip.AddrPort{}
}

// Close closes the connections. Answers that are waited for are lost.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	links := make([]*link, 0, len(c.links))
	for _, l := range c.links {
		links = append(links, l)
	}
	c.mu.Unlock()
	for _, l := range links {
		l.end(fmt.Errorf("%w: the client has gone", ErrLost))
	}
	return nil
}

// Request is a request without its header.
type Request struct {
	Key, Version int16
	ClientID     string
	Flexible     bool // the version's header has tagged fields
	Silent       bool // it has no answer
	Body         net.Buffers
}

// Send sends a request to a broker, behind those that this client has sent it
// before, and returns when it is on its way: Body is not used any more.
func (c *Client) Send(ctx context.Context, to metastore.Broker, r Request) (*Call, error) {
	return c.send(ctx, to, r, false)
}

// Poll sends a request whose answer may wait for long and be large, on another
// connection than Send does. Its answer stays on the way until it is taken, and
// those of later polls of that broker behind it.
func (c *Client) Poll(ctx context.Context, to metastore.Broker, r Request) (*Call, error) {
	return c.send(ctx, to, r, true)
}

// Wake gets something when a poll is done.
func (c *Client) Wake() <-chan struct{} { return c.wake }

func (c *Client) tell() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Client) send(ctx context.Context, to metastore.Broker, r Request, poll bool) (*Call, error) {
	for {
		l, err := c.link(to, poll)
		if err != nil {
			return nil, err
		}
		call, err := l.send(ctx, r)
		if errors.Is(err, errEnded) {
			continue // it was idle; the next one is new
		}
		return call, err
	}
}

// link returns the connection to a broker, or one that is to be opened.
func (c *Client) link(to metastore.Broker, poll bool) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("%w: the client has gone", ErrUnreachable)
	}
	k := target{to.Session, poll}
	l := c.links[k]
	if l == nil {
		l = &link{f: c.f, client: c, to: to, poll: poll, used: time.Now(), ended: make(chan struct{})}
		c.links[k] = l
	}
	return l, nil
}

func (c *Client) forget(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := (target{l.to.Session, l.poll}); c.links[k] == l {
		delete(c.links, k)
	}
}
