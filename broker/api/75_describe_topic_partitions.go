package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// DescribeTopicPartitions
//
//   - 0 flexible from the start.
//
// Topics in the order of their names, at most so many partitions in one answer,
// and a cursor where the next answer is to go on. No replica is ever eligible
// that is not in sync, so those lists are empty; null breaks the Java client.
func describeTopicPartitionsRoute() *route {
	return &route{key: 75, name: "DescribeTopicPartitions", min: 0, max: 0, busy: true, start: whole(describeTopicPartitions)}
}

func describeTopicPartitions(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	resp.Topics = []kmsg.DescribeTopicPartitionsResponseTopic{}
	names, err := h.describedTopics(req)
	if err != nil { // the answer has room for errors in topics only
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, h.undescribedTopic(t.Topic, err))
		}
		return resp
	}
	brokers := h.brokersFor(r)
	left := min(max(req.ResponsePartitionLimit, 1), h.cfg.DescribePartitionsMax)
	done, ok := h.ample(ctx, r, int(left))
	if !ok {
		return nil
	}
	defer done()
	for _, name := range names {
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
			return resp
		}
		t, err := h.lookup(name)
		if err != nil {
			if len(req.Topics) > 0 { // of all topics, one may have gone meanwhile
				resp.Topics = append(resp.Topics, h.undescribedTopic(name, err))
			}
			continue
		}
		first := int32(0)
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = min(req.Cursor.Partition, t.Partitions)
		}
		next := min(first+left, t.Partitions)
		resp.Topics = append(resp.Topics, h.describedPartitions(t, first, next, brokers))
		if next < t.Partitions {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: next}
			return resp
		}
		left -= next - first
	}
	return resp
}

// describedTopics are the names that are asked for, sorted, from the cursor on.
func (h *Handler) describedTopics(req *kmsg.DescribeTopicPartitionsRequest) ([]string, error) {
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if len(req.Topics) == 0 {
		for _, t := range h.Topics.All() {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor == nil {
		return names, nil
	}
	if req.Cursor.Partition < 0 {
		return nil, fmt.Errorf("%w: the cursor's partition is %d", errRequest, req.Cursor.Partition)
	}
	at, found := slices.BinarySearchFunc(names, req.Cursor.Topic, strings.Compare)
	if !found && len(req.Topics) > 0 {
		return nil, fmt.Errorf("%w: the cursor's topic %q is not among those asked for", errRequest, req.Cursor.Topic)
	}
	return names[at:], nil
}

func (h *Handler) undescribedTopic(name string, err error) kmsg.DescribeTopicPartitionsResponseTopic {
	return kmsg.DescribeTopicPartitionsResponseTopic{
		Topic: &name, ErrorCode: h.code(err), Partitions: []kmsg.DescribeTopicPartitionsResponseTopicPartition{},
		AuthorizedOperations: operationsUnasked,
	}
}

// describedPartitions describes the partitions [first, next) of a topic.
func (h *Handler) describedPartitions(t *metastore.Topic, first, next int32, brokers []metastore.Broker) kmsg.DescribeTopicPartitionsResponseTopic {
	described := kmsg.DescribeTopicPartitionsResponseTopic{
		Topic: &t.Name, TopicID: t.ID, AuthorizedOperations: operationsTopic,
		Partitions: make([]kmsg.DescribeTopicPartitionsResponseTopicPartition, 0, next-first),
	}
	for i := first; i < next; i++ {
		p := h.describePartition(t, i, brokers)
		described.Partitions = append(described.Partitions, kmsg.DescribeTopicPartitionsResponseTopicPartition{
			ErrorCode: p.ErrorCode, Partition: i, LeaderID: p.Leader, LeaderEpoch: p.LeaderEpoch,
			Replicas: p.Replicas, ISR: p.ISR, OfflineReplicas: p.OfflineReplicas,
			EligibleLeaderReplicas: []int32{}, LastKnownELR: []int32{},
		})
	}
	return described
}
