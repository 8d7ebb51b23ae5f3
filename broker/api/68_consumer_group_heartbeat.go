package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
)

// ConsumerGroupHeartbeat
//
//   - 1 subscription by regular expression, and members choose their own ids.
//
// The one request of members of the consumer protocol (KIP-848): by it they join,
// tell what they hold, hear what they are to hold, and leave. A group of the
// classic protocol whose members are consumers becomes one of this protocol when
// somebody joins it so.
func consumerGroupHeartbeatRoute() *route {
	return &route{key: 68, name: "ConsumerGroupHeartbeat", min: 0, max: 1, start: whole(consumerGroupHeartbeat)}
}

func consumerGroupHeartbeat(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.ConsumerGroupHeartbeatRequest) kmsg.Response {
	said := consumer.Heartbeat{
		MemberID: req.MemberID, Epoch: req.MemberEpoch, InstanceID: req.InstanceID, Rack: req.RackID,
		RebalanceTimeout: time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond,
		Names:            req.SubscribedTopicNames, Regex: req.SubscribedTopicRegex, Assignor: req.ServerAssignor,
		ClientID: r.ClientID, Host: host(r),
	}
	if req.Version < 1 && req.MemberID == "" {
		said.NewMemberID = group.NewConsumerID()
	}
	if req.Topics != nil {
		said.Owned = consumer.NewAssignment(func(yield func(topic.ID, []int32) bool) {
			for _, t := range req.Topics {
				if !yield(t.TopicID, t.Partitions) {
					return
				}
			}
		})
	}
	beat, interval, err := h.Groups.ConsumerHeartbeat(ctx, req.Group, said)

	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.ErrorCode, resp.ErrorMessage = h.code(err), message(err)
	if err != nil {
		return resp
	}
	resp.MemberID, resp.MemberEpoch = &beat.MemberID, beat.Epoch
	resp.HeartbeatIntervalMillis = int32(interval.Milliseconds())
	if beat.Assignment != nil {
		assignment := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		assignment.Topics = []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{}
		for _, id := range beat.Assignment.Topics() {
			t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			t.TopicID, t.Partitions = id, beat.Assignment[id]
			assignment.Topics = append(assignment.Topics, t)
		}
		resp.Assignment = &assignment
	}
	return resp
}
