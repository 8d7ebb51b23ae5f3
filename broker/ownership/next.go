package ownership

import (
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Next tells who is about to take a partition that nobody owns. It follows from
// what everybody sees, as the wish does, so all brokers give the same answer.
// Its methods may be called at once.
type Next struct {
	grace  time.Duration
	object func(*metastore.Topic) bool

	mu     sync.Mutex
	wishes wishes
}

// NewNext returns a Next for brokers that take as c says. object tells whether a
// topic has durability=object; see Options.
func NewNext(c Config, object func(*metastore.Topic) bool) *Next {
	return &Next{grace: c.TakeoverGrace, object: object}
}

// Owner returns the broker that is about to take p, and the epoch that it will
// take it with, if nobody is faster. It is metastore.NoBroker when no broker can,
// or when the last owner is dead and is waited for: nobody knows yet who will.
func (n *Next) Owner(v *metastore.View, p topic.Partition) (metastore.BrokerID, metastore.Epoch) {
	view := v.Partition(p)
	if view.Topic == nil {
		return metastore.NoBroker, 0
	}
	epoch := metastore.Epoch(0)
	if view.Owner.ModRevision != 0 {
		epoch = view.Owner.Epoch + 1
	}
	if view.Owner.Session != 0 { // dead, and it has released nothing
		if _, back := v.Broker(view.Owner.Broker); back {
			return view.Owner.Broker, epoch // its disk knows best, whoever is wished for
		}
		if n.grace > 0 && !(n.object(view.Topic) && view.AckedInBucket()) {
			return metastore.NoBroker, epoch
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wishes.prune(v)
	return n.wishes.of(view.Topic, Candidates(v))[p.Index], epoch
}
