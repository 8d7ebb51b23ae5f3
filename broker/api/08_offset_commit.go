package api

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// OffsetCommit
//
//   - 6 leader epochs; 7 static members; 8 flexible; 9 for the newer group
//     protocol, the same on the wire.
//
// A partition that does not exist, or whose metadata is too long, is refused
// alone; a refusal by the group is every partition's.
func offsetCommitRoute() *route {
	return &route{key: 8, name: "OffsetCommit", min: 2, max: 9, start: whole(offsetCommit)}
}

// offsetMetadataBytesMax is Kafka's offset.metadata.max.bytes.
const offsetMetadataBytesMax = 4096

func offsetCommit(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.OffsetCommitRequest) kmsg.Response {
	now := time.Now()
	offsets := make(map[topic.Partition]group.Offset)
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	for i, asked := range req.Topics {
		t, unknown := h.lookup(asked.Topic)
		parts := make([]kmsg.OffsetCommitResponseTopicPartition, len(asked.Partitions))
		for j, a := range asked.Partitions {
			p, err := topic.Partition{}, unknown
			if err == nil {
				p, err = partition(t, a.Partition)
			}
			if err == nil && len(text(a.Metadata)) > offsetMetadataBytesMax {
				err = kerr.OffsetMetadataTooLarge
			}
			if err == nil && a.Offset < 0 {
				err = fmt.Errorf("%w: offset %d", errRequest, a.Offset)
			}
			if err == nil {
				offsets[p] = group.Offset{
					Offset: a.Offset, LeaderEpoch: metastore.Epoch(a.LeaderEpoch), Metadata: text(a.Metadata), CommittedAt: now,
				}
			}
			parts[j].Partition, parts[j].ErrorCode = a.Partition, h.code(err)
		}
		resp.Topics[i].Topic, resp.Topics[i].Partitions = asked.Topic, parts
	}
	err := h.Groups.Commit(ctx, req.Group, req.MemberID, text(req.InstanceID), req.Generation, offsets)
	if err != nil {
		code := h.code(err)
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if part := &resp.Topics[i].Partitions[j]; part.ErrorCode == 0 {
					part.ErrorCode = code
				}
			}
		}
	}
	return resp
}
