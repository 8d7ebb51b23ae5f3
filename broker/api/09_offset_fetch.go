package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
)

// OffsetFetch
//
//   - 2 null asks for all partitions, group errors; 5 leader epochs; 6 flexible;
//     7 only stable offsets; 8 several groups; 9 member epochs; 10 topics by id.
//
// What was never committed is offset −1 without an error, also in a group that
// nobody has heard of, and in a topic named that does not exist; an id of none is
// UNKNOWN_TOPIC_ID. All offsets are stable: there are no transactions.
func offsetFetchRoute() *route {
	return &route{key: 9, name: "OffsetFetch", min: 1, max: 10, start: whole(offsetFetch)}
}

func offsetFetch(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.OffsetFetchRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if req.Version >= 8 {
		req.Groups = oncePerGroup(req.Groups)
		resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(req.Groups))
		for i := range req.Groups {
			resp.Groups[i] = h.fetchOffsets(ctx, req.Version, &req.Groups[i])
		}
		return resp
	}
	asked := kmsg.OffsetFetchRequestGroup{Group: req.Group, MemberEpoch: -1}
	if req.Topics != nil || req.Version < 2 {
		asked.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
	}
	for i, t := range req.Topics {
		asked.Topics[i] = kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions}
	}
	found := h.fetchOffsets(ctx, req.Version, &asked)
	resp.ErrorCode = found.ErrorCode
	resp.Topics = make([]kmsg.OffsetFetchResponseTopic, len(found.Topics))
	for i, t := range found.Topics {
		parts := make([]kmsg.OffsetFetchResponseTopicPartition, len(t.Partitions))
		for j, p := range t.Partitions {
			parts[j] = kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			}
			if req.Version < 2 {
				parts[j].ErrorCode = found.ErrorCode // the group has no error field yet
			}
		}
		resp.Topics[i] = kmsg.OffsetFetchResponseTopic{Topic: t.Topic, Partitions: parts}
	}
	return resp
}

func (h *Handler) fetchOffsets(ctx context.Context, version int16, asked *kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	found := kmsg.OffsetFetchResponseGroup{Group: asked.Group, Topics: []kmsg.OffsetFetchResponseGroupTopic{}}
	err := h.Groups.Fetchable(ctx, asked.Group, text(asked.MemberID), asked.MemberEpoch)
	var offsets map[topic.Partition]group.Offset
	if err == nil {
		offsets, err = h.Groups.Committed(ctx, asked.Group)
	}
	found.ErrorCode = h.code(err)
	topics := asked.Topics
	if topics == nil {
		topics = h.committedTopics(offsets)
	}
	for _, t := range topics {
		known, unknown := h.offsetTopic(version, t.Topic, t.TopicID)
		if version < 10 {
			unknown = nil
		}
		parts := make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(t.Partitions))
		for i, index := range t.Partitions {
			o := group.Offset{Offset: -1, LeaderEpoch: -1}
			if known != nil {
				if committed, ok := offsets[topic.Partition{Topic: known.ID, Index: index}]; ok {
					o = committed
				}
			}
			parts[i] = kmsg.OffsetFetchResponseGroupTopicPartition{
				Partition: index, Offset: o.Offset, LeaderEpoch: int32(o.LeaderEpoch), Metadata: &o.Metadata, ErrorCode: h.code(unknown),
			}
		}
		found.Topics = append(found.Topics, kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID, Partitions: parts})
	}
	return found
}

// committedTopics asks for everything that was committed and still exists.
// oncePerGroup leaves out all offsets of a group when they are asked for again.
func oncePerGroup(groups []kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroup {
	all := make(map[string]bool)
	return slices.DeleteFunc(groups, func(g kmsg.OffsetFetchRequestGroup) bool {
		twice := g.Topics == nil && all[g.Group]
		all[g.Group] = all[g.Group] || g.Topics == nil
		return twice
	})
}

func (h *Handler) committedTopics(offsets map[topic.Partition]group.Offset) []kmsg.OffsetFetchRequestGroupTopic {
	var topics []kmsg.OffsetFetchRequestGroupTopic
	at := make(map[topic.ID]int)
	for p := range offsets {
		t, ok := h.Topics.TopicByID(p.Topic)
		if !ok {
			continue
		}
		i, ok := at[p.Topic]
		if !ok {
			i = len(topics)
			at[p.Topic] = i
			topics = append(topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Name, TopicID: t.ID})
		}
		topics[i].Partitions = append(topics[i].Partitions, p.Index)
	}
	return topics
}
