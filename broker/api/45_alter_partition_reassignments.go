package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// AlterPartitionReassignments
//
//   - 0 flexible from the start.
//
// Replicas are not placed by hand: the log is in the bucket, and which live
// brokers would serve a partition follows from who is alive. So an assignment
// that names the brokers which a partition has is done already, one that names
// others is refused, and there is never one under way that could be cancelled.
func alterPartitionReassignmentsRoute() *route {
	return &route{key: 45, name: "AlterPartitionReassignments", min: 0, max: 0, start: whole(alterPartitionReassignments)}
}

func alterPartitionReassignments(_ context.Context, h *Handler, r *wire.Request, req *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	brokers := h.brokersFor(r)
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.Topics = make([]kmsg.AlterPartitionAssignmentsResponseTopic, len(req.Topics))
	for i, asked := range req.Topics {
		answered := kmsg.AlterPartitionAssignmentsResponseTopic{
			Topic: asked.Topic, Partitions: make([]kmsg.AlterPartitionAssignmentsResponseTopicPartition, len(asked.Partitions)),
		}
		t, err := h.lookup(asked.Topic)
		for j, part := range asked.Partitions {
			failed := err
			if failed == nil {
				failed = h.reassign(t, part, brokers)
			}
			answered.Partitions[j] = kmsg.AlterPartitionAssignmentsResponseTopicPartition{
				Partition: part.Partition, ErrorCode: h.code(failed), ErrorMessage: message(failed),
			}
		}
		resp.Topics[i] = answered
	}
	return resp
}

func (h *Handler) reassign(t *metastore.Topic, asked kmsg.AlterPartitionAssignmentsRequestTopicPartition, brokers []metastore.Broker) error {
	p, err := partition(t, asked.Partition)
	if err != nil {
		return err
	}
	if asked.Replicas == nil { // cancel
		return fmt.Errorf("%w: %s-%d is not being moved", kerr.NoReassignmentInProgress, t.Name, asked.Partition)
	}
	if err := checkReplicas(asked.Replicas, brokers); err != nil {
		return err
	}
	have := replicas(t, ledBy(h.Cluster.Leader(p).Broker, brokers), brokers)
	if !slices.Equal(slices.Sorted(slices.Values(asked.Replicas)), slices.Sorted(slices.Values(have))) {
		return fmt.Errorf("%w: %s-%d has the brokers %v: they follow from which brokers live, and cannot be chosen",
			errAssignment, t.Name, asked.Partition, have)
	}
	return nil
}
