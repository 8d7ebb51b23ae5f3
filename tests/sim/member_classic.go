package sim

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/history"
)

// classic is the protocol of JoinGroup and SyncGroup, as an eager consumer speaks
// it: whoever joins again has given up everything.
type classic struct{}

const (
	consumerProtocol = "consumer"
	assignor         = "sim"
)

// beat implements protocol.
func (classic) beat(ctx context.Context, m *member) error {
	if m.now.epoch == 0 {
		return rejoin(ctx, m)
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(4)
	req.Group, req.MemberID, req.Generation = m.group, m.now.id, m.now.epoch
	answer, err := m.ask(ctx, patience, req)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(answer.(*kmsg.HeartbeatResponse).ErrorCode)
	switch err {
	case kerr.RebalanceInProgress:
		m.lose()
		return rejoin(ctx, m)
	case kerr.UnknownMemberID:
		m.now.id = ""
	}
	return err
}

// leave implements protocol.
func (classic) leave(ctx context.Context, m *member) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.SetVersion(5)
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = m.now.id
	req.Group, req.Members = m.group, append(req.Members, one)
	_, _ = m.ask(ctx, patience, req) // who is not heard is missed later
}

// rejoin joins the group and gets what it is given.
func rejoin(ctx context.Context, m *member) error {
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Version, subscription.Topics = 1, m.w.topicNames()
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(7)
	req.Group, req.MemberID, req.ProtocolType = m.group, m.now.id, consumerProtocol
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(memberSession.Milliseconds()), int32(memberRebalance.Milliseconds())
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: assignor, Metadata: subscription.AppendTo(nil)}}
	answer, err := m.ask(ctx, memberRebalance+patience, req)
	if err != nil {
		return err
	}
	joined := answer.(*kmsg.JoinGroupResponse)
	switch err := kerr.ErrorForCode(joined.ErrorCode); err {
	case nil:
	case kerr.MemberIDRequired:
		m.now.id = joined.MemberID
		return rejoin(ctx, m)
	case kerr.UnknownMemberID:
		m.now.id = ""
		return err
	default:
		return err
	}
	m.now.id = joined.MemberID
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.SetVersion(5)
	sync.Group, sync.MemberID, sync.Generation = m.group, m.now.id, joined.Generation
	sync.ProtocolType, sync.Protocol = kmsg.StringPtr(consumerProtocol), joined.Protocol
	if joined.LeaderID == m.now.id {
		sync.GroupAssignment = m.w.dealt(joined.Members)
	}
	answer, err = m.ask(ctx, memberRebalance+patience, sync)
	if err != nil {
		return err
	}
	synced := answer.(*kmsg.SyncGroupResponse)
	switch err := kerr.ErrorForCode(synced.ErrorCode); err {
	case nil:
	case kerr.UnknownMemberID:
		m.now.id = ""
		return err
	default:
		return err
	}
	var assignment kmsg.ConsumerMemberAssignment
	if err := assignment.ReadFrom(synced.MemberAssignment); err != nil {
		m.w.history.Report(history.Garbled, "%s, a member of %s, is given %x: %v", m.l.name, m.group, synced.MemberAssignment, err)
		return err
	}
	var given []history.Partition
	for _, t := range assignment.Topics {
		for _, index := range t.Partitions {
			given = append(given, history.Partition{Topic: t.Topic, Index: index})
		}
	}
	m.now.epoch = joined.Generation
	m.take(given)
	return nil
}

// dealt gives each partition to one of the members, as their leader does.
func (w *World) dealt(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	slices.SortFunc(members, func(a, b kmsg.JoinGroupResponseMember) int { return cmp.Compare(a.MemberID, b.MemberID) })
	dealt := make([]kmsg.SyncGroupRequestGroupAssignment, len(members))
	for i, one := range members {
		var assignment kmsg.ConsumerMemberAssignment
		for j, p := range w.partitions() {
			if j%len(members) == i {
				assignment.Topics = append(assignment.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: p.Topic, Partitions: []int32{p.Index}})
			}
		}
		dealt[i] = kmsg.SyncGroupRequestGroupAssignment{MemberID: one.MemberID, MemberAssignment: assignment.AppendTo(nil)}
	}
	return dealt
}
