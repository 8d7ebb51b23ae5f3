package api

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Metadata
//
//   - 0 an empty list asks for all topics; 1 null does, an empty list for none;
//     4 the client may forbid creation; 7 leader epochs; 8 authorized operations;
//     9 flexible; 10 topic ids; 12 topics asked for by id; 13 a top-level error.
//
// A topic that does not exist is created when client and broker both allow it,
// and its leaders are waited for a little, so that the first answer is of use.
func metadataRoute() *route {
	return &route{key: 3, name: "Metadata", min: 0, max: 13, busy: true, start: whole(metadata)}
}

func metadata(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.MetadataRequest) kmsg.Response {
	brokers := h.brokersFor(r)
	cluster := h.Cluster.ClusterID()
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID = &cluster
	resp.ControllerID = controller(brokers)
	resp.AuthorizedOperations = operationsUnasked
	if req.IncludeClusterAuthorizedOperations && req.Version <= 10 {
		resp.AuthorizedOperations = operationsCluster
	}
	resp.Brokers = make([]kmsg.MetadataResponseBroker, len(brokers))
	for i, b := range brokers {
		address := endpoint(b, r.Conn.Listener())
		resp.Brokers[i] = kmsg.MetadataResponseBroker{NodeID: int32(b.ID), Host: address.Host, Port: address.Port, Rack: rackOf(b)}
	}

	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		all := h.Topics.All()
		done, ok := h.ample(ctx, r, partitionsOf(all))
		if !ok {
			return nil
		}
		defer done()
		resp.Topics = make([]kmsg.MetadataResponseTopic, len(all))
		for i, t := range all {
			resp.Topics[i] = h.describeTopic(t, brokers, req.IncludeTopicAuthorizedOperations)
		}
		return resp
	}
	wanted := once(req.Topics)
	found, failed := make([]*metastore.Topic, len(wanted)), make([]error, len(wanted))
	var created []topic.ID
	for i, asked := range wanted {
		var made bool
		if found[i], made, failed[i] = h.metadataTopic(ctx, req, asked); made {
			created = append(created, found[i].ID)
		}
	}
	h.awaitNew(ctx, created...)
	done, ok := h.ample(ctx, r, partitionsOf(found))
	if !ok {
		return nil
	}
	defer done()
	resp.Topics = make([]kmsg.MetadataResponseTopic, len(wanted))
	for i, asked := range wanted {
		if failed[i] == nil {
			resp.Topics[i] = h.describeTopic(found[i], brokers, req.IncludeTopicAuthorizedOperations)
			continue
		}
		resp.Topics[i] = kmsg.MetadataResponseTopic{
			Topic: asked.Topic, TopicID: asked.TopicID, ErrorCode: h.code(failed[i]),
			Partitions: []kmsg.MetadataResponseTopicPartition{}, AuthorizedOperations: operationsUnasked,
		}
		switch {
		case req.Version >= 12 && byID(asked):
			resp.Topics[i].Topic = nil // the name of an unknown id is not known
		case asked.Topic == nil && req.Version < 12:
			resp.Topics[i].Topic = new(string) // null came with version 12
		}
	}
	return resp
}

// once leaves out topics that were named before: a short request that names one
// large topic many times would else have a huge answer.
func once(topics []kmsg.MetadataRequestTopic) []kmsg.MetadataRequestTopic {
	type key struct {
		name string
		id   topic.ID
	}
	seen := make(map[key]bool, len(topics))
	return slices.DeleteFunc(topics, func(t kmsg.MetadataRequestTopic) bool {
		k := key{id: t.TopicID}
		if t.Topic != nil {
			k.name = *t.Topic
		}
		twice := seen[k]
		seen[k] = true
		return twice
	})
}

// byID tells how a topic is asked for. The Java client sends an empty name with
// an id, not a null one.
func byID(asked kmsg.MetadataRequestTopic) bool {
	return !topic.ID(asked.TopicID).IsZero()
}

// metadataTopic finds a topic that was asked for, or makes it.
func (h *Handler) metadataTopic(ctx context.Context, req *kmsg.MetadataRequest, asked kmsg.MetadataRequestTopic) (t *metastore.Topic, made bool, err error) {
	switch {
	case byID(asked) && req.Version < 12:
		return nil, false, kerr.InvalidRequest // the field is there from version 10, its use from 12
	case byID(asked):
		t, err = h.lookupID(asked.TopicID)
		return t, false, err
	case asked.Topic == nil:
		return nil, false, kerr.InvalidRequest
	}
	name := *asked.Topic
	t, err = h.lookup(name)
	d := h.defaults()
	allowed := d.autoCreate && (req.Version < 4 || req.AllowAutoTopicCreation)
	if !errors.Is(err, kerr.UnknownTopicOrPartition) || !allowed {
		return t, false, err
	}
	if err := h.collision(name); err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, alterWithin)
	defer cancel()
	created, err := h.Topics.CreateTopic(ctx, metastore.Topic{
		Name: name, ID: topic.NewID(), Partitions: d.partitions, Replicas: d.replicas,
	})
	if errors.Is(err, metastore.ErrTopicExists) {
		t, err = h.lookup(name) // somebody was faster
		return t, false, err
	}
	if err != nil {
		h.log.Warn("creating a topic that was asked for", "topic", name, "error", err)
		return nil, false, err
	}
	h.log.Info("topic created on demand", "topic", name, "partitions", created.Partitions)
	return &created, true, nil
}

// partitionsOf is how many partitions topics have, nil ones none.
func partitionsOf(topics []*metastore.Topic) int {
	n := 0
	for _, t := range topics {
		if t != nil {
			n += int(t.Partitions)
		}
	}
	return n
}

func (h *Handler) describeTopic(t *metastore.Topic, brokers []metastore.Broker, operations bool) kmsg.MetadataResponseTopic {
	described := kmsg.MetadataResponseTopic{
		Topic: &t.Name, TopicID: t.ID,
		Partitions:           make([]kmsg.MetadataResponseTopicPartition, t.Partitions),
		AuthorizedOperations: operationsUnasked,
	}
	if operations {
		described.AuthorizedOperations = operationsTopic
	}
	for i := range described.Partitions {
		described.Partitions[i] = h.describePartition(t, int32(i), brokers)
	}
	return described
}

// describePartition says who leads a partition and who would.
func (h *Handler) describePartition(t *metastore.Topic, index int32, brokers []metastore.Broker) kmsg.MetadataResponseTopicPartition {
	leader := h.leader(t, index)
	if leader.Broker == metastore.NoBroker {
		// It is between two owners. Apache Kafka's controller names a new leader at
		// once, too, and clients try again what that one does not serve yet; a
		// partition without a leader is an error that many of them report.
		leader = h.Cluster.NextLeader(topic.Partition{Topic: t.ID, Index: index})
	}
	leader.Broker = ledBy(leader.Broker, brokers)
	part := kmsg.MetadataResponseTopicPartition{
		Partition: index, Leader: int32(leader.Broker), LeaderEpoch: int32(leader.Epoch),
		Replicas: replicas(t, leader.Broker, brokers), OfflineReplicas: []int32{},
	}
	part.ISR = part.Replicas
	// A leader that is not among the listed brokers would send clients nowhere.
	if !slices.ContainsFunc(brokers, func(b metastore.Broker) bool { return b.ID == leader.Broker }) {
		part.Leader, part.LeaderEpoch, part.ErrorCode = -1, -1, kerr.LeaderNotAvailable.Code
	}
	return part
}
