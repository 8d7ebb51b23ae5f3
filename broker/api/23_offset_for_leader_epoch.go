package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// OffsetForLeaderEpoch
//
//   - 2 the client's current epoch; 4 flexible.
//
// Where an epoch ended: how a consumer that saw a change of leaders finds out
// whether what it has read still stands. An epoch that is not known is −1, −1.
func offsetForLeaderEpochRoute() *route {
	return &route{key: 23, name: "OffsetForLeaderEpoch", min: 2, max: 4, start: whole(offsetForLeaderEpoch)}
}

func offsetForLeaderEpoch(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	for i, asked := range req.Topics {
		t, unknown := h.lookup(asked.Topic)
		parts := make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(asked.Partitions))
		for j, a := range asked.Partitions {
			part := &parts[j]
			part.Partition, part.LeaderEpoch, part.EndOffset = a.Partition, -1, -1
			err := unknown
			if err == nil {
				err = h.epochEnd(ctx, t, a, part)
			}
			part.ErrorCode = h.code(err)
		}
		resp.Topics[i].Topic, resp.Topics[i].Partitions = asked.Topic, parts
	}
	return resp
}

func (h *Handler) epochEnd(ctx context.Context, t *metastore.Topic, asked kmsg.OffsetForLeaderEpochRequestTopicPartition, part *kmsg.OffsetForLeaderEpochResponseTopicPartition) error {
	p, err := partition(t, asked.Partition)
	if err != nil {
		return err
	}
	epoch, end, err := h.Log.EpochEnd(ctx, p, metastore.Epoch(asked.CurrentLeaderEpoch), metastore.Epoch(asked.LeaderEpoch))
	if err != nil {
		return err
	}
	part.LeaderEpoch, part.EndOffset = int32(epoch), end
	return nil
}
