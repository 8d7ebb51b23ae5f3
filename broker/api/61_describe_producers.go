package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
)

// DescribeProducers
//
//   - 0 first, flexible.
//
// The idempotent producers that a partition's owner remembers. There are no
// transactions, so none has a coordinator or an open one.
func describeProducersRoute() *route {
	return &route{key: 61, name: "DescribeProducers", min: 0, max: 0, start: whole(describeProducers)}
}

func describeProducers(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.DescribeProducersRequest) kmsg.Response {
	eachProducersPartOnce(req)
	resp := kmsg.NewPtrDescribeProducersResponse()
	resp.Topics = make([]kmsg.DescribeProducersResponseTopic, len(req.Topics))
	for i, asked := range req.Topics {
		t, unknown := h.lookup(asked.Topic)
		parts := make([]kmsg.DescribeProducersResponseTopicPartition, len(asked.Partitions))
		resp.Topics[i].Topic, resp.Topics[i].Partitions = asked.Topic, parts
		for j, index := range asked.Partitions {
			part := &parts[j]
			part.Partition = index
			part.ActiveProducers = []kmsg.DescribeProducersResponseTopicPartitionActiveProducer{}
			err := unknown
			if err == nil {
				p, unknown := partition(t, index)
				if err = unknown; err == nil {
					err = h.activeProducers(part, p)
				}
			}
			part.ErrorCode, part.ErrorMessage = h.code(err), message(err)
		}
	}
	return resp
}

// eachProducersPartOnce leaves out partitions that were named before.
func eachProducersPartOnce(req *kmsg.DescribeProducersRequest) {
	type named struct {
		topic string
		index int32
	}
	seen := make(map[named]bool)
	for i := range req.Topics {
		asked := &req.Topics[i]
		asked.Partitions = slices.DeleteFunc(asked.Partitions, func(index int32) bool {
			p := named{asked.Topic, index}
			twice := seen[p]
			seen[p] = true
			return twice
		})
	}
}

func (h *Handler) activeProducers(part *kmsg.DescribeProducersResponseTopicPartition, p topic.Partition) error {
	active, err := h.Log.Producers(p)
	for _, a := range active {
		out := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		out.ProducerID, out.ProducerEpoch = a.ID, int32(a.Epoch)
		out.LastSequence, out.LastTimestamp = a.LastSequence, a.LastUsed
		out.CoordinatorEpoch, out.CurrentTxnStartOffset = -1, -1
		part.ActiveProducers = append(part.ActiveProducers, out)
	}
	return err
}
