package metastore

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// BrokerSession is one life of a broker. It starts with no ownership and no
// pending commit, and once it is over it never comes back: the broker registers
// again and begins anew. All methods may be called at once.
type BrokerSession struct {
	*lease
	broker Broker
	former string // identity of the session before, if it was another

	mu   sync.Mutex
	last commitMark    // the last commit known to be applied
	busy bool          // a Commit is being settled
	turn chan struct{} // closed and replaced whenever last or busy changes
}

// commitMark is the value of commits/<id>, and the revision of its key.
type commitMark struct {
	Session  Session `json:"session"`  // 0: just registered
	Sequence int64   `json:"sequence"` // 0: none yet
	Segment  string  `json:"segment,omitempty"`
	Identity string  `json:"identity,omitempty"` // Broker.Identity of the session

	revision int64
}

// Register begins a session of the broker b.ID. It overwrites the key of a
// former session of the same identity, which fences that one. While the key is
// another's it fails with ErrBrokerTaken: two processes that were given one id by
// mistake must not fence each other for ever, and one with a new disk comes in as
// soon as the lease of its former self is over. The catalog shows the session when
// Register returns, so that any view taken from then on may be used to Take.
// ttl is the time after which others hold a silent broker to be gone.
func (s *Store) Register(ctx context.Context, b Broker, ttl time.Duration) (*BrokerSession, error) {
	if b.ID < 0 || ttl <= 0 {
		return nil, fmt.Errorf("register broker %d for %v: %w", b.ID, ttl, ErrInvalid)
	}
	what := fmt.Sprintf("register broker %d", b.ID)
	l, err := s.lease(ctx, "broker", ttl)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	b.Incarnation = s.newID()
	var former string
	b.Session, former, err = s.putBroker(ctx, what, b, l.id)
	if err == nil {
		err = s.catalog.WaitRevision(ctx, int64(b.Session))
	}
	if err != nil {
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), ttl)
		defer cancel()
		// What cannot be revoked now lapses by itself.
		_ = l.close(cleaning)
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	bs := &BrokerSession{lease: l, broker: b, former: former, last: commitMark{revision: int64(b.Session)}, turn: make(chan struct{})}
	s.tasks.Go(func() { bs.guard(s.catalog) })
	return bs, nil
}

// putBroker writes the broker's key and resets its commit marker, which has the
// session as its revision from then on. The put is conditional on what was seen
// before, so that a late twin of a lost try cannot fence the session it made.
//
// It also returns the identity of the broker's session before this one, if that is
// known and another.
func (s *Store) putBroker(ctx context.Context, what string, b Broker, id kv.LeaseID) (session Session, former string, err error) {
	key, mark := s.keys.broker(b.ID), s.keys.commit(b.ID)
	current, _, err := s.settle(ctx, what, kv.Txn{Read: []string{key, mark}})
	for {
		if err != nil {
			return 0, "", err
		}
		old := current.Read[key]
		if old.Lease == id {
			return Session(old.ModRevision), former, nil // nobody else puts with this lease
		}
		if err := sameBroker(old, b); err != nil {
			return 0, "", err
		}
		if before := current.Read[mark]; before.ModRevision != 0 {
			var m commitMark
			if err := decode(before, &m); err != nil {
				return 0, "", fmt.Errorf("read %s: %w", mark, err)
			}
			if former = m.Identity; former == b.Identity {
				former = ""
			}
		}
		current, _, err = s.settle(ctx, what, kv.Txn{
			If:   []kv.Compare{{Key: key, ModRevision: old.ModRevision}},
			Then: []kv.Op{kv.PutLeased(key, encode(b), id), kv.Put(mark, encode(commitMark{Identity: b.Identity}))},
			Read: []string{key, mark},
		})
	}
}

// sameBroker is an error if a live broker's key is another's than b.
func sameBroker(e kv.Entry, b Broker) error {
	if e.ModRevision == 0 {
		return nil
	}
	holder, err := decodeBroker(e)
	if err != nil {
		return fmt.Errorf("read the broker's key %s: %w", e.Key, err)
	}
	if holder.Identity == b.Identity {
		return nil
	}
	return fmt.Errorf("%w by the one at %s, started %s, with data folder %s; this one's is %s",
		ErrBrokerTaken, holder.addresses(), holder.StartedAt.Format(time.RFC3339), holder.Identity, b.Identity)
}

// addresses are where a broker listens, for messages.
func (b Broker) addresses() string {
	var list []string
	for _, l := range b.Listeners {
		list = append(list, net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))))
	}
	return strings.Join(list, ", ")
}

// ID is the session: the fencing token.
func (bs *BrokerSession) ID() Session { return bs.broker.Session }

// Former is the identity of the broker's session before this one, if it was
// another: a process that had another data folder.
func (bs *BrokerSession) Former() string { return bs.former }

// Broker is the broker's id.
func (bs *BrokerSession) Broker() BrokerID { return bs.broker.ID }

// guard ends the session when the catalog shows that its key is gone or another's.
func (bs *BrokerSession) guard(catalog *Catalog) {
	for {
		changed := catalog.Changed()
		if b, ok := catalog.Broker(bs.Broker()); !ok || b.Session != bs.ID() {
			bs.lose(bs.fenced("its key is gone or belongs to another session"))
		}
		select {
		case <-changed:
		case <-bs.Done():
			return
		}
	}
}

// fenced is the error of a session that is over.
func (bs *BrokerSession) fenced(reason string) error {
	return fmt.Errorf("session %d of broker %d: %w: %s", bs.ID(), bs.Broker(), ErrFenced, reason)
}

// alive is the condition that every write under the session carries.
func (bs *BrokerSession) alive(k keys) kv.Compare {
	return kv.Compare{Key: k.broker(bs.Broker()), ModRevision: int64(bs.ID())}
}

// Close ends the session: the broker's key is deleted, and others may take what
// it still owns at once. Release first. It may be called more than once.
func (bs *BrokerSession) Close(ctx context.Context) error {
	if err := bs.close(ctx); err != nil {
		return fmt.Errorf("close session %d of broker %d: %w", bs.ID(), bs.Broker(), err)
	}
	return nil
}
