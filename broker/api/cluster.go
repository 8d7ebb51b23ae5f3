package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Operations as Kafka numbers them in its bit fields. There is no authorizer, so
// a client that asks may do whatever its resource knows.
const (
	operationsUnasked int32 = -1 << 31
	operationsTopic   int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	operationsGroup   int32 = 1<<3 | 1<<6 | 1<<8
	operationsCluster int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

// endpoint returns the address of b for clients that came in by the listener of
// that name; b's first one when it has none of that name.
func endpoint(b metastore.Broker, listener string) metastore.Listener {
	for _, l := range b.Listeners {
		if l.Name == listener {
			return l
		}
	}
	if len(b.Listeners) == 0 {
		return metastore.Listener{}
	}
	return b.Listeners[0]
}

// controller is the broker that clients send administration to. Any would do;
// it is the same one for every client, and listed.
func controller(brokers []metastore.Broker) int32 {
	if len(brokers) == 0 {
		return -1
	}
	return int32(brokers[0].ID)
}

// replicas are the live brokers that would serve a partition, its leader first:
// as many as were asked for, or as there are.
func replicas(t *metastore.Topic, leader metastore.BrokerID, brokers []metastore.Broker) []int32 {
	n := min(max(1, int(t.Replicas)), len(brokers))
	first := max(0, slices.IndexFunc(brokers, func(b metastore.Broker) bool { return b.ID == leader }))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(brokers[(first+i)%len(brokers)].ID)
	}
	return ids
}

// leader tells who leads a topic's partition.
func (h *Handler) leader(t *metastore.Topic, index int32) core.Leader {
	return h.Cluster.Leader(topic.Partition{Topic: t.ID, Index: index})
}

// rackOf is nil for none.
func rackOf(b metastore.Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return &b.Rack
}

// partition checks that a topic has the partition.
func partition(t *metastore.Topic, index int32) (topic.Partition, error) {
	if index < 0 || index >= t.Partitions {
		return topic.Partition{}, kerr.UnknownTopicOrPartition
	}
	return topic.Partition{Topic: t.ID, Index: index}, nil
}

// lookup finds a topic by name.
func (h *Handler) lookup(name string) (*metastore.Topic, error) {
	if t, ok := h.Topics.Topic(name); ok {
		return t, nil
	}
	if err := topic.ValidateName(name); err != nil {
		return nil, err
	}
	return nil, kerr.UnknownTopicOrPartition
}

// lookupID finds a topic by its id.
func (h *Handler) lookupID(id topic.ID) (*metastore.Topic, error) {
	if t, ok := h.Topics.TopicByID(id); ok {
		return t, nil
	}
	return nil, kerr.UnknownTopicID
}

// leaderHints collects who leads partitions that the client asked the wrong
// broker for (KIP-951), and those brokers' addresses.
type leaderHints struct {
	brokers []metastore.Broker // each once
}

// note returns the leader of p, for the client of r, and remembers its address.
// ok is false when nobody leads it.
func (l *leaderHints) note(h *Handler, r *wire.Request, p topic.Partition) (leader core.Leader, ok bool) {
	leader = h.Cluster.Leader(p)
	if leader.Broker == metastore.NoBroker {
		return leader, false
	}
	brokers := h.brokersFor(r)
	leader.Broker = ledBy(leader.Broker, brokers)
	if !slices.ContainsFunc(l.brokers, func(b metastore.Broker) bool { return b.ID == leader.Broker }) {
		for _, b := range brokers {
			if b.ID == leader.Broker {
				l.brokers = append(l.brokers, b)
			}
		}
	}
	return leader, true
}

// leader writes one leader as the tagged fields of Produce and Fetch have it.
func (e *encoder) leader(l core.Leader) {
	e.int32(int32(l.Broker))
	e.int32(int32(l.Epoch))
	e.noTags()
}

// endpoints writes the addresses as the tagged fields of Produce and Fetch do.
func (e *encoder) endpoints(brokers []metastore.Broker, listener string) {
	e.length(len(brokers))
	for _, b := range brokers {
		address := endpoint(b, listener)
		e.int32(int32(b.ID))
		e.string(address.Host)
		e.int32(address.Port)
		e.nullable(b.Rack)
		e.noTags()
	}
}
