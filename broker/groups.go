package broker

import (
	"context"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/metastore"
)

// newGroups returns the coordinator of this broker: of the groups that clients
// are told to find here, while it has a session.
func newGroups(b *Broker) *group.Coordinator {
	serves := func(name string) bool {
		found, ok := api.Coordinator(name, cluster{b}.Brokers())
		return ok && found.ID == b.cfg.ID && b.current.Load() != nil
	}
	return group.New(b.cfg.Group, serves, b.log)
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
