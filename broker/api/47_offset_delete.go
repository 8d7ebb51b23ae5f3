package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
)

// OffsetDelete
//
// The offsets of topics that a member of the group reads are refused with
// GROUP_SUBSCRIBED_TO_TOPIC. What was never committed is deleted already.
func offsetDeleteRoute() *route {
	return &route{key: 47, name: "OffsetDelete", min: 0, max: 0, start: whole(offsetDelete)}
}

func offsetDelete(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.OffsetDeleteRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, alterWithin)
	defer cancel()
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Topics = make([]kmsg.OffsetDeleteResponseTopic, len(req.Topics))
	partitions := make(map[string][]topic.Partition)
	for i, asked := range req.Topics {
		t, unknown := h.lookup(asked.Topic)
		parts := make([]kmsg.OffsetDeleteResponseTopicPartition, len(asked.Partitions))
		for j, a := range asked.Partitions {
			p, err := topic.Partition{}, unknown
			if err == nil {
				p, err = partition(t, a.Partition)
			}
			if err == nil {
				partitions[asked.Topic] = append(partitions[asked.Topic], p)
			}
			parts[j].Partition, parts[j].ErrorCode = a.Partition, h.code(err)
		}
		resp.Topics[i].Topic, resp.Topics[i].Partitions = asked.Topic, parts
	}
	refused, err := h.Groups.DeleteOffsets(ctx, req.Group, partitions)
	if err != nil {
		resp.ErrorCode, resp.Topics = h.code(err), []kmsg.OffsetDeleteResponseTopic{}
		return resp
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if part := &resp.Topics[i].Partitions[j]; part.ErrorCode == 0 {
				part.ErrorCode = h.code(refused[resp.Topics[i].Topic])
			}
		}
	}
	return resp
}
