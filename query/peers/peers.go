// Package peers sends a query to the query node that is likely to have its
// records at hand.
//
// Any node answers any query. But each keeps what it read: files, the records
// that are in no file yet, answers. So every node prefers, for each topic, the
// same one of those that live (rendezvous hashing), and hands a request, or a
// call of Arrow Flight, on to it as it came, and what comes back as it comes. There is one hop at most: a
// request that was handed on says so, and is answered where it arrives.
//
// Nothing depends on it. A node that is gone, does not answer, or has enough to
// do is left alone, and who was asked answers by itself; one that did not answer
// is not asked again for a while. Only an answer that has begun cannot be begun
// anew: when its node dies, the client's connection is cut, so that half an
// answer is never taken for a whole one.
package peers

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/rendezvous"
	"github.com/chronik-stream/chronik/metastore"
)

// HopHeader is set on a request that was handed on, to the node that did it. It
// asks to be answered soon or not at all.
const HopHeader = "X-Chronik-Hop"

const (
	dialWithin = 500 * time.Millisecond
	// silentFor is how long an answer may take before the node is asked whether it
	// is alive, and watchEvery how often from then on.
	silentFor  = 250 * time.Millisecond
	watchEvery = time.Second
	// aliveWithin is how long it may take to say so: one that is short of memory or
	// of processors is better left alone.
	aliveWithin = time.Second
	// avoidedFor is how long a node that did not answer is not asked.
	avoidedFor = 5 * time.Second
)

// Options configure Peers.
type Options struct {
	Self    string                    // this node's id among the members
	Members func() []metastore.Member // the live query nodes, this one with them
	Log     *slog.Logger
}

// Peers are the other query nodes. All methods may be called at once.
type Peers struct {
	options   Options
	transport *http.Transport
	links     links

	mu      sync.Mutex
	avoided map[string]time.Time // until then, by id

	forwarded, declined atomic.Int64
}

// New returns peers that nothing was sent to yet.
func New(o Options) *Peers {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Peers{options: o, avoided: map[string]time.Time{}, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialWithin}).DialContext,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true, // bytes go through as they are
	}}
}

// Close lets connections go.
func (p *Peers) Close() {
	p.transport.CloseIdleConnections()
	p.links.close()
}

// Forwarded is how many requests another node answered, and Declined how many
// one was asked and did not.
func (p *Peers) Forwarded() int64 { return p.forwarded.Load() }
func (p *Peers) Declined() int64  { return p.declined.Load() }

// Preferred returns the node that is to answer what is about topic; false when
// it is this one.
func (p *Peers) Preferred(topic string) (metastore.Member, bool) {
	members := p.options.Members()
	now := time.Now()
	ids := make([]string, 0, len(members)+1)
	p.mu.Lock()
	for _, m := range members {
		until, avoided := p.avoided[m.ID]
		if avoided && now.After(until) {
			delete(p.avoided, m.ID)
			avoided = false
		}
		if m.Address != "" && !avoided || m.ID == p.options.Self {
			ids = append(ids, m.ID)
		}
	}
	p.mu.Unlock()
	// Who is not on the list cannot tell whom the others would ask.
	if !slices.Contains(ids, p.options.Self) {
		return metastore.Member{}, false
	}
	id := rendezvous.Pick(topic, ids)
	if id == p.options.Self {
		return metastore.Member{}, false
	}
	return members[slices.IndexFunc(members, func(m metastore.Member) bool { return m.ID == id })], true
}

// Avoid leaves a node that did not answer alone for a while.
func (p *Peers) Avoid(m metastore.Member, why error) {
	p.mu.Lock()
	_, already := p.avoided[m.ID]
	p.avoided[m.ID] = time.Now().Add(avoidedFor)
	p.mu.Unlock()
	if !already {
		p.options.Log.Warn("a query node does not answer, and is left alone for a while", "node", m.ID, "address", m.Address, "err", why)
	}
}

// Watch asks a node whether it is alive, again and again until ctx ends, and
// calls gone once when it is not.
func (p *Peers) Watch(ctx context.Context, m metastore.Member, gone func(error)) {
	next := time.NewTimer(silentFor)
	defer next.Stop()
	for ; ; next.Reset(watchEvery) {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if err := p.alive(ctx, m); err != nil && ctx.Err() == nil {
			gone(err)
			return
		}
	}
}

func (p *Peers) alive(ctx context.Context, m metastore.Member) error {
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.Address+"/health/live", nil)
	if err != nil {
		return err
	}
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close() // whatever it says, it speaks
}
