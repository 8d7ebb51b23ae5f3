package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/broker/wire"
)

// ConsumerGroupDescribe
//
//   - 1 which protocol a member speaks.
//
// A group of the classic protocol is GROUP_ID_NOT_FOUND here.
func consumerGroupDescribeRoute() *route {
	return &route{key: 69, name: "ConsumerGroupDescribe", min: 0, max: 1, start: whole(consumerGroupDescribe)}
}

func consumerGroupDescribe(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.ConsumerGroupDescribeRequest) kmsg.Response {
	req.Groups = distinct(req.Groups, itself)
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Groups = make([]kmsg.ConsumerGroupDescribeResponseGroup, len(req.Groups))
	for i, name := range req.Groups {
		d, topics, err := h.Groups.DescribeConsumers(ctx, name)
		done, ok := h.ample(ctx, r, len(d.Members))
		if !ok {
			return nil
		}
		described := kmsg.NewConsumerGroupDescribeResponseGroup()
		described.Group, described.ErrorCode, described.ErrorMessage = name, h.code(err), message(err)
		described.State, described.Epoch, described.AssignmentEpoch, described.AssignorName = string(d.Phase), d.Epoch, d.AssignmentEpoch, d.Assignor
		if req.IncludeAuthorizedOperations {
			described.AuthorizedOperations = operationsGroup
		}
		described.Members = make([]kmsg.ConsumerGroupDescribeResponseGroupMember, len(d.Members))
		for j, m := range d.Members {
			member := kmsg.NewConsumerGroupDescribeResponseGroupMember()
			member.MemberID, member.InstanceID, member.RackID = m.ID, nullable(m.InstanceID), nullable(m.Rack)
			member.MemberEpoch, member.ClientID, member.ClientHost = m.Epoch, m.ClientID, m.Host
			member.SubscribedTopics, member.SubscribedTopicRegex = m.Names, nullable(m.Regex)
			member.Assignment, member.TargetAssignment = describeAssignment(m.Assigned, topics), describeAssignment(m.Target, topics)
			member.MemberType = 1
			if m.Classic {
				member.MemberType = 0
			}
			described.Members[j] = member
		}
		resp.Groups[i] = described
		done()
	}
	return resp
}

// describeAssignment leaves out topics that are gone.
func describeAssignment(a consumer.Assignment, topics *consumer.Topics) kmsg.Assignment {
	shown := kmsg.NewAssignment()
	shown.TopicPartitions = []kmsg.AssignmentTopicPartition{}
	for _, id := range a.Topics() {
		if t, ok := topics.Identified(id); ok {
			shown.TopicPartitions = append(shown.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: id, Topic: t.Name, Partitions: a[id]})
		}
	}
	return shown
}
