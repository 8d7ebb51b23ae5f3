package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/broker/slots"
	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// newGroups returns the coordinator of this broker, which serves nothing before it
// owns slots.
func newGroups(b *Broker) *group.Coordinator {
	cfg := b.cfg.Group
	cfg.Times = func(name string) group.Times {
		set := b.deps.Store.Catalog().Configs().Of(metastore.ConfigResource{Kind: metastore.ConfigGroups, Name: name})
		var t group.Times
		if ms, ok := dynamicconfig.GroupValue(dynamicconfig.GroupSession, set); ok {
			t.Session = time.Duration(ms) * time.Millisecond
		}
		if ms, ok := dynamicconfig.GroupValue(dynamicconfig.GroupHeartbeat, set); ok {
			t.Heartbeat = time.Duration(ms) * time.Millisecond
		}
		return t
	}
	return group.New(cfg, (&groupTopics{catalog: b.deps.Store.Catalog()}).now, b.log, group.NewMetrics(b.deps.Registerer))
}

// coordinate owns coordinator slots in one session until ctx ends.
func (b *Broker) coordinate(ctx context.Context, s *metastore.BrokerSession) {
	slots.New(slots.Options{Store: b.deps.Store, Session: s, Groups: b.groups, Wished: new(slotWishes).of, Delay: b.cfg.Ownership.RebalanceDelay, Log: b.log}).Run(ctx)
}

// slotWishes shares the coordinator slots out over the brokers as partitions are.
// It remembers the answer as long as the candidates are the same.
type slotWishes struct {
	candidates []ownership.Candidate
	wished     [metastore.Slots]metastore.BrokerID
}

func (w *slotWishes) of(v *metastore.View) [metastore.Slots]metastore.BrokerID {
	if now := ownership.Candidates(v); w.candidates == nil || !slices.Equal(now, w.candidates) {
		w.candidates = append([]ownership.Candidate{}, now...)
		copy(w.wished[:], ownership.Wished("slots", metastore.Slots, now))
	}
	return w.wished
}

// groupTopics shows groups the topics that exist. As long as those are the same,
// it is the same view: a heartbeat has nothing to do for it.
type groupTopics struct {
	catalog *metastore.Catalog

	mu      sync.Mutex
	seen    []*metastore.Topic // the catalog's own slice, another when anything changes
	version int64
	view    *consumer.Topics
}

func (g *groupTopics) now() *consumer.Topics {
	all := g.catalog.Topics()
	g.mu.Lock()
	defer g.mu.Unlock()
	same := len(all) == len(g.seen) && (len(all) == 0 || &all[0] == &g.seen[0])
	if g.view != nil && same {
		return g.view
	}
	topics := make([]consumer.Topic, len(all))
	for i, t := range all {
		topics[i] = consumer.Topic{ID: t.ID, Name: t.Name, Partitions: t.Partitions}
	}
	g.version++
	g.seen, g.view = all, consumer.NewTopics(g.version, topics)
	return g.view
}
