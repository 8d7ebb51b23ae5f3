package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeQuorum
//
//   - 1 times of replicas; 2 messages, directories and the nodes' addresses.
//
// Who agrees on metadata is etcd, which this protocol has no words for. Told is
// what can be said truthfully in Kafka's: the broker that is named as controller
// is the one voter, the offset is etcd's revision that this broker has seen, the
// epoch changes with each life of that broker, and the others watch. How far
// they have watched is not known here (−1).
func describeQuorumRoute() *route {
	return &route{key: 55, name: "DescribeQuorum", min: 0, max: 2, start: whole(describeQuorum),
		note: "the metadata are in etcd: its revision as the offset, the listed controller as the one voter"}
}

// metadataTopicName is what Kafka calls its metadata log.
const metadataTopicName = "__cluster_metadata"

func describeQuorum(_ context.Context, h *Handler, r *wire.Request, req *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.Topics = make([]kmsg.DescribeQuorumResponseTopic, len(req.Topics))
	resp.Nodes = []kmsg.DescribeQuorumResponseNode{}
	for i, asked := range req.Topics {
		answered := kmsg.DescribeQuorumResponseTopic{Topic: asked.Topic, Partitions: make([]kmsg.DescribeQuorumResponseTopicPartition, len(asked.Partitions))}
		for j, part := range asked.Partitions {
			if asked.Topic == metadataTopicName && part.Partition == 0 {
				answered.Partitions[j] = h.describedQuorum(r)
				continue
			}
			err := fmt.Errorf("%w: only %s-0 has a quorum", kerr.UnknownTopicOrPartition, metadataTopicName)
			answered.Partitions[j] = kmsg.DescribeQuorumResponseTopicPartition{
				Partition: part.Partition, ErrorCode: h.code(err), ErrorMessage: message(err), LeaderID: -1, LeaderEpoch: -1, HighWatermark: -1,
				CurrentVoters: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{}, Observers: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{},
			}
		}
		resp.Topics[i] = answered
	}
	for _, b := range h.brokersFor(r) {
		address := endpoint(b, r.Conn.Listener())
		resp.Nodes = append(resp.Nodes, kmsg.DescribeQuorumResponseNode{NodeID: int32(b.ID), Listeners: []kmsg.DescribeQuorumResponseNodeListener{
			{Name: address.Name, Host: address.Host, Port: uint16(address.Port)},
		}})
	}
	return resp
}

func (h *Handler) describedQuorum(r *wire.Request) kmsg.DescribeQuorumResponseTopicPartition {
	brokers := h.brokersFor(r)
	revision := h.Cluster.Revision()
	described := kmsg.DescribeQuorumResponseTopicPartition{
		LeaderID: controller(brokers), HighWatermark: revision,
		CurrentVoters: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{}, Observers: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{},
	}
	for i, b := range brokers {
		state := kmsg.DescribeQuorumResponseTopicPartitionReplicaState{ReplicaID: int32(b.ID), LogEndOffset: -1, LastFetchTimestamp: -1, LastCaughtUpTimestamp: -1}
		if i > 0 {
			described.Observers = append(described.Observers, state)
			continue
		}
		state.LogEndOffset = revision
		described.CurrentVoters = append(described.CurrentVoters, state)
		described.LeaderEpoch = int32(b.Session & 0x7fffffff)
	}
	return described
}
