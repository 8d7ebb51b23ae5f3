package api

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// OffsetCommit
//
//   - to 4 a time after which the offsets may expire; 6 leader epochs; 7 static members; 8 flexible; 9 member epochs, in the
//     place of the generation; 10 topics by id.
//
// A partition that does not exist, or whose metadata is too long, is refused
// alone; a refusal by the group is every partition's.
func offsetCommitRoute() *route {
	return &route{key: 8, name: "OffsetCommit", min: 2, max: 10, start: whole(offsetCommit)}
}

// retentionMax bounds what a client may ask for, which is more than anybody lives.
const retentionMax = int64(100*365*24*time.Hour) / int64(time.Millisecond)

func offsetCommit(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.OffsetCommitRequest) kmsg.Response {
	now := time.Now()
	var expires time.Time
	if req.Version < 5 && req.RetentionTimeMillis >= 0 {
		expires = now.Add(time.Duration(min(req.RetentionTimeMillis, retentionMax)) * time.Millisecond)
	}
	offsets := make(map[topic.Partition]group.Offset)
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	for i, asked := range req.Topics {
		t, unknown := h.offsetTopic(req.Version, asked.Topic, asked.TopicID)
		parts := make([]kmsg.OffsetCommitResponseTopicPartition, len(asked.Partitions))
		for j, a := range asked.Partitions {
			p, err := topic.Partition{}, unknown
			if err == nil {
				p, err = partition(t, a.Partition)
			}
			if err == nil {
				err = h.Groups.CheckMetadata(text(a.Metadata))
			}
			if err == nil {
				offsets[p] = group.Offset{
					Offset: a.Offset, LeaderEpoch: metastore.Epoch(a.LeaderEpoch), Metadata: text(a.Metadata), CommittedAt: now, ExpiresAt: expires,
				}
			}
			parts[j].Partition, parts[j].ErrorCode = a.Partition, h.code(err)
		}
		resp.Topics[i].Topic, resp.Topics[i].TopicID, resp.Topics[i].Partitions = asked.Topic, asked.TopicID, parts
	}
	err := h.Groups.Commit(ctx, req.Group, req.MemberID, text(req.InstanceID), req.Generation, offsets)
	if req.Version < 9 && errors.Is(err, group.ErrGroupUnknown) {
		err = group.ErrIllegalGeneration // what older clients join again for
	}
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

// offsetTopic finds a topic as OffsetCommit and OffsetFetch name it: by its id
// from version 10 on.
func (h *Handler) offsetTopic(version int16, name string, id topic.ID) (*metastore.Topic, error) {
	if version >= 10 {
		return h.lookupID(id)
	}
	return h.lookup(name)
}
