package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// newGroups returns the coordinator of this broker: of the groups that clients
// are told to find here, while it has a session.
func newGroups(b *Broker) *group.Coordinator {
	serves := func(name string) bool {
		found, ok := api.Coordinator(name, cluster{b}.Brokers())
		return ok && found.ID == b.cfg.ID && b.current.Load() != nil
	}
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
	return group.New(cfg, (&groupTopics{catalog: b.deps.Store.Catalog()}).now, serves, b.log, group.NewMetrics(b.deps.Registerer))
}

// reviewPause is how often at most a coordinator looks for brokers that came or went.
const reviewPause = 100 * time.Millisecond

// coordinate runs the groups of one session until ctx ends.
func (b *Broker) coordinate(ctx context.Context, s *metastore.BrokerSession) {
	b.groups.Begin(group.InMetastore(b.deps.Store, s))
	defer b.groups.End()
	catalog := b.deps.Store.Catalog()
	live := catalog.Brokers()
	for {
		changed := catalog.Changed()
		now := catalog.Brokers()
		if !slices.EqualFunc(now, live, func(a, b metastore.Broker) bool { return a.ID == b.ID }) {
			live = now
			b.groups.Review()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		// The catalog changes with every commit of a segment: not each is worth a look.
		select {
		case <-time.After(reviewPause):
		case <-ctx.Done():
			return
		}
	}
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
