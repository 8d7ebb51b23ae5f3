package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// CreateTopics
//
//   - 4 broker's defaults for partitions and factor (−1); 5 flexible, the answer
//     has the topic's configuration; 7 and its id.
//
// Any replication factor ≥ 1 or −1 is accepted, whatever the number of brokers:
// durability comes from the bucket. A manual assignment must be one that Kafka
// would accept; only its number of partitions and its factor are kept.
func createTopicsRoute() *route {
	return &route{key: 19, name: "CreateTopics", min: 2, max: 7, start: whole(createTopics)}
}

func createTopics(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.CreateTopicsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
	defer cancel()
	seen := make(map[string]int, len(req.Topics))
	for _, asked := range req.Topics {
		seen[asked.Topic]++
	}
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Topics = make([]kmsg.CreateTopicsResponseTopic, 0, len(req.Topics))
	var created []topic.ID
	colliding := make(map[string]string, len(req.Topics)) // of this request
	changes := h.mutations(r, 6)
	for _, asked := range req.Topics {
		if seen[asked.Topic] == 0 {
			continue // named twice, answered once
		}
		var t metastore.Topic
		var err error
		if seen[asked.Topic] > 1 {
			err = fmt.Errorf("%w: topic %q is named %d times", errRequest, asked.Topic, seen[asked.Topic])
		} else {
			t, err = h.newTopic(asked, h.brokersFor(r))
		}
		if err == nil {
			key := topic.CollisionKey(asked.Topic)
			if other, ok := colliding[key]; ok {
				err = collides(asked.Topic, other)
			}
			colliding[key] = asked.Topic
		}
		seen[asked.Topic] = 0
		if err == nil && !req.ValidateOnly {
			err = changes.take(t.Partitions)
		}
		if err == nil && !req.ValidateOnly {
			if t, err = h.Topics.CreateTopic(ctx, t); err == nil {
				created = append(created, t.ID)
				h.log.Info("topic created", "topic", t.Name, "partitions", t.Partitions, "config", t.Config)
			}
		}
		resp.Topics = append(resp.Topics, h.createdTopic(asked.Topic, t, err, req.ValidateOnly))
	}
	h.awaitNew(ctx, created...)
	resp.ThrottleMillis = changes.millis()
	return resp
}

func (h *Handler) createdTopic(name string, t metastore.Topic, err error, validated bool) kmsg.CreateTopicsResponseTopic {
	answer := kmsg.CreateTopicsResponseTopic{
		Topic: name, ErrorCode: h.code(err), ErrorMessage: message(err),
		NumPartitions: -1, ReplicationFactor: -1, Configs: []kmsg.CreateTopicsResponseTopicConfig{},
	}
	if err != nil {
		return answer
	}
	if !validated {
		answer.TopicID = t.ID
	}
	answer.NumPartitions, answer.ReplicationFactor = t.Partitions, t.Replicas
	for _, e := range topicconfig.Entries(t.Config, h.defaults().layers...) {
		answer.Configs = append(answer.Configs, kmsg.CreateTopicsResponseTopicConfig{
			Name: e.Name, Value: &e.Value, Source: int8(e.Source),
		})
	}
	return answer
}

// newTopic checks everything about a topic that is to be made.
func (h *Handler) newTopic(asked kmsg.CreateTopicsRequestTopic, brokers []metastore.Broker) (metastore.Topic, error) {
	t := metastore.Topic{Name: asked.Topic, ID: topic.NewID(), Partitions: asked.NumPartitions, Replicas: asked.ReplicationFactor}
	if err := topic.ValidateName(t.Name); err != nil {
		return t, err
	}
	if _, ok := h.Topics.Topic(t.Name); ok {
		return t, fmt.Errorf("%w: %q", metastore.ErrTopicExists, t.Name)
	}
	if err := h.collision(t.Name); err != nil {
		return t, err
	}
	if len(asked.ReplicaAssignment) > 0 {
		if asked.NumPartitions != -1 || asked.ReplicationFactor != -1 {
			return t, fmt.Errorf("%w: with an assignment, partitions and replication factor must be -1", errRequest)
		}
		factor, err := h.assignment(asked.ReplicaAssignment, brokers)
		if err != nil {
			return t, err
		}
		t.Partitions, t.Replicas = int32(len(asked.ReplicaAssignment)), factor
	}
	if t.Partitions == -1 {
		t.Partitions = h.defaults().partitions
	}
	if t.Replicas == -1 {
		t.Replicas = h.defaults().replicas
	}
	switch {
	case t.Partitions < 1 || t.Partitions > h.cfg.PartitionsMax:
		return t, fmt.Errorf("%w: %d, a topic has 1 to %d", errPartitions, t.Partitions, h.cfg.PartitionsMax)
	case t.Replicas < 1:
		return t, fmt.Errorf("%w: %d, want at least 1, or -1 for the default", errReplicas, t.Replicas)
	}
	set := make(map[string]string, len(asked.Configs))
	for _, c := range asked.Configs {
		if _, twice := set[c.Name]; twice {
			return t, fmt.Errorf("%w: %q is set twice", errConfig, c.Name)
		}
		if c.Value == nil {
			return t, fmt.Errorf("%w: %q has no value", errConfig, c.Name)
		}
		set[c.Name] = *c.Value
	}
	config, err := topicconfig.Validate(set, h.defaults().topic)
	t.Config = config
	return t, err
}

// collision refuses a name that Kafka holds to be the same as another's.
func (h *Handler) collision(name string) error {
	key := topic.CollisionKey(name)
	for _, other := range h.Topics.All() {
		if other.Name != name && topic.CollisionKey(other.Name) == key {
			return collides(name, other.Name)
		}
	}
	return nil
}

func collides(name, other string) error {
	return fmt.Errorf("%w: %q and the topic %q differ only in '.' and '_'", errCollides, name, other)
}

// assignment checks a manual assignment and returns its replication factor.
func (h *Handler) assignment(assigned []kmsg.CreateTopicsRequestTopicReplicaAssignment, brokers []metastore.Broker) (int16, error) {
	byPartition := make(map[int32]bool, len(assigned))
	for _, a := range assigned {
		if a.Partition < 0 || int(a.Partition) >= len(assigned) || byPartition[a.Partition] {
			return 0, fmt.Errorf("%w: partitions must be 0 to %d, each once", errAssignment, len(assigned)-1)
		}
		byPartition[a.Partition] = true
		if err := checkReplicas(a.Replicas, brokers); err != nil {
			return 0, err
		}
		if len(a.Replicas) != len(assigned[0].Replicas) {
			return 0, fmt.Errorf("%w: partitions have different numbers of replicas", errAssignment)
		}
	}
	return int16(len(assigned[0].Replicas)), nil
}

// checkReplicas checks the brokers that a client names for one partition.
func checkReplicas(ids []int32, brokers []metastore.Broker) error {
	if len(ids) == 0 {
		return fmt.Errorf("%w: a partition without replicas", errAssignment)
	}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return fmt.Errorf("%w: broker %d twice", errAssignment, id)
		}
		if !slices.ContainsFunc(brokers, func(b metastore.Broker) bool { return int32(b.ID) == id }) {
			return fmt.Errorf("%w: there is no broker %d", errAssignment, id)
		}
	}
	return nil
}
