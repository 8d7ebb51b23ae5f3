package broker

import (
	"context"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// topics implements api.Topics, api.Configs and api.Quotas over the catalog and the store.
type topics struct{ b *Broker }

func (t topics) Topic(name string) (*metastore.Topic, bool) {
	return t.b.deps.Store.Catalog().Topic(name)
}

func (t topics) TopicByID(id topic.ID) (*metastore.Topic, bool) {
	return t.b.deps.Store.Catalog().TopicByID(id)
}

func (t topics) All() []*metastore.Topic { return t.b.deps.Store.Catalog().Topics() }

func (t topics) CreateTopic(ctx context.Context, topic metastore.Topic) (metastore.Topic, error) {
	return t.b.deps.Store.CreateTopic(ctx, topic)
}

func (t topics) DeleteTopic(ctx context.Context, id topic.ID) error {
	return t.b.deps.Store.DeleteTopicID(ctx, id)
}

func (t topics) UpdateTopic(ctx context.Context, id topic.ID, change func(*metastore.Topic) error) error {
	current, ok := t.TopicByID(id)
	if !ok {
		return metastore.ErrTopicUnknown
	}
	turnedOff := false // its vectors
	_, err := t.b.deps.Store.UpdateTopic(ctx, current.Name, func(stored *metastore.Topic) error {
		if stored.ID != id {
			return metastore.ErrTopicUnknown // a younger topic of that name
		}
		was := t.b.embedded(stored, t.Configs())
		err := change(stored)
		turnedOff = was && !t.b.embedded(stored, t.Configs())
		return err
	})
	if err == nil && turnedOff {
		t.reviveVectors(ctx, id)
	}
	return err
}

// reviveVectors forgets that a topic's vectors were dropped, as they are turned off:
// they may be turned on again before any compactor has seen that they were not. If
// it fails, one that does see it makes up for it.
func (t topics) reviveVectors(ctx context.Context, id topic.ID) {
	dropped := false
	t.b.deps.Store.Catalog().View(func(v *metastore.View) { dropped = v.VectorIndex(id).Dropped })
	if !dropped {
		return
	}
	if err := t.b.deps.Store.ReviveVectors(ctx, id); err != nil {
		t.b.log.Warn("that a vector index was dropped is not forgotten yet", "topic", id, "err", err)
	}
}

// Configs implements api.Configs.
func (t topics) Configs() *metastore.Configs { return t.b.deps.Store.Catalog().Configs() }

// Quotas implements api.Quotas.
func (t topics) Quotas() *metastore.Quotas { return t.b.deps.Store.Catalog().Quotas() }

// UpdateQuota implements api.Quotas.
func (t topics) UpdateQuota(ctx context.Context, e metastore.QuotaEntity, change func(map[string]float64) (map[string]float64, error)) error {
	return t.b.deps.Store.UpdateQuota(ctx, e, change)
}

// UpdateConfig implements api.Configs.
func (t topics) UpdateConfig(ctx context.Context, r metastore.ConfigResource, change func(map[string]string) (map[string]string, error)) (map[string]string, error) {
	return t.b.deps.Store.UpdateConfig(ctx, r, change)
}

// cluster implements api.Cluster over the catalog.
type cluster struct{ b *Broker }

func (c cluster) ClusterID() string           { return c.b.cfg.ClusterID }
func (c cluster) Self() metastore.BrokerID    { return c.b.cfg.ID }
func (c cluster) Brokers() []metastore.Broker { return c.b.deps.Store.Catalog().Brokers() }

func (c cluster) Revision() int64 { return c.b.deps.Store.Catalog().Revision() }

func (c cluster) Leader(p topic.Partition) core.Leader {
	view := c.b.deps.Store.Catalog().Partition(p)
	if !view.OwnerAlive {
		return core.Leader{Broker: metastore.NoBroker, Epoch: view.Owner.Epoch}
	}
	// The catalog shows an ownership a moment before its log is adopted.
	if view.Owner.Broker == c.b.cfg.ID {
		if l := c.b.current.Load(); l == nil || l.Partition(p) == nil {
			return core.Leader{Broker: metastore.NoBroker, Epoch: view.Owner.Epoch}
		}
	}
	return core.Leader{Broker: view.Owner.Broker, Epoch: view.Owner.Epoch}
}

// NextLeader implements api.Cluster.
func (c cluster) NextLeader(p topic.Partition) (next core.Leader) {
	c.b.deps.Store.Catalog().View(func(v *metastore.View) {
		owner, alive := v.Owner(p)
		switch {
		case !alive:
			next.Broker, next.Epoch = c.b.next.Owner(v, p)
		case owner.Broker == c.b.cfg.ID && c.b.current.Load() == nil:
			next.Broker = metastore.NoBroker // an ownership of a session that is over
		default: // most likely this broker, which is about to serve it
			next = core.Leader{Broker: owner.Broker, Epoch: owner.Epoch}
		}
	})
	return next
}

// Coordinator implements api.Cluster.
func (c cluster) Coordinator(group string) (metastore.Broker, bool) {
	var b metastore.Broker
	var alive bool
	c.b.deps.Store.Catalog().View(func(v *metastore.View) {
		var slot metastore.Slot
		if slot, alive = v.Slot(metastore.SlotOf(group)); alive {
			b, _ = v.Broker(slot.Broker)
		}
	})
	return b, alive
}

// Await implements api.Cluster.
func (c cluster) Await(ctx context.Context, holds func() bool) {
	for {
		changed, adopted := c.b.deps.Store.Catalog().Changed(), c.b.adopted()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-adopted:
		case <-ctx.Done():
			return
		}
	}
}

// producerIDs implements api.ProducerIDs: it takes a block at a time.
type producerIDs struct {
	store *metastore.Store

	turn        chan struct{} // holds one; a block may take long to get, and who waits may give up
	first, next int64         // what is left of the block
}

func newProducerIDs(store *metastore.Store) *producerIDs {
	return &producerIDs{store: store, turn: make(chan struct{}, 1)}
}

func (p *producerIDs) NextProducerID(ctx context.Context) (int64, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-p.turn }()
	if p.first == p.next {
		first, count, err := p.store.AllocateProducerIDs(ctx)
		if err != nil {
			return 0, err
		}
		p.first, p.next = first, first+count
	}
	p.first++
	return p.first - 1, nil
}
