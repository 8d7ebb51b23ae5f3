package api_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
)

// subscription is what a consumer says in JoinGroup that it reads.
func subscription(topics ...string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(len(topics)))
	for _, name := range topics {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}

// joinAlone makes a group of one member, which reads topics, and returns it.
func (c *raw) joinAlone(group, instance string, version int16, topics ...string) *kmsg.JoinGroupResponse {
	c.t.Helper()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = version, group, "consumer", 10_000, 10_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription(topics...)}}
	if instance != "" {
		join.InstanceID = &instance
	}
	joined := c.ask(join).(*kmsg.JoinGroupResponse)
	if joined.ErrorCode == kerr.MemberIDRequired.Code {
		join.MemberID = joined.MemberID
		joined = c.ask(join).(*kmsg.JoinGroupResponse)
	}
	require.Zero(c.t, joined.ErrorCode)
	return joined
}

func (c *raw) syncAlone(group, instance, member string, generation int32) *kmsg.SyncGroupResponse {
	c.t.Helper()
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, group, member, generation
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("all")}}
	if instance != "" {
		sync.InstanceID = &instance
	}
	return c.ask(sync).(*kmsg.SyncGroupResponse)
}

func commit(version int16, group string, topics ...kmsg.OffsetCommitRequestTopic) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.Topics = version, group, -1, topics
	return req
}

func commitTopic(name string, id [16]byte, offset int64, partitions ...int32) kmsg.OffsetCommitRequestTopic {
	t := kmsg.OffsetCommitRequestTopic{Topic: name, TopicID: id}
	for _, index := range partitions {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch = index, offset, 3
		part.Metadata = kmsg.StringPtr("mine")
		t.Partitions = append(t.Partitions, part)
	}
	return t
}

func fetchOffsets(version int16, group string, topics []kmsg.OffsetFetchRequestGroupTopic) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = version
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, topics
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	return req
}

func TestOffsetsOfTopicsByIDAreCommittedAndFetched(t *testing.T) {
	s := serve(t, api.Config{})
	known := s.topic(t, "t", 2, nil)
	c, other := s.raw(t), [16]byte{9}
	resp := c.ask(commit(10, "g", commitTopic("", known.ID, 5, 0, 7), commitTopic("", other, 5, 0))).(*kmsg.OffsetCommitResponse)
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[0].Partitions[1].ErrorCode)
	require.Equal(t, kerr.UnknownTopicID.Code, resp.Topics[1].Partitions[0].ErrorCode)
	require.Equal(t, [16]byte(known.ID), resp.Topics[0].TopicID)
	require.Equal(t, other, resp.Topics[1].TopicID)

	asked := []kmsg.OffsetFetchRequestGroupTopic{{TopicID: known.ID, Partitions: []int32{0, 1}}, {TopicID: other, Partitions: []int32{0}}}
	found := c.ask(fetchOffsets(10, "g", asked)).(*kmsg.OffsetFetchResponse).Groups[0]
	require.Zero(t, found.ErrorCode)
	first := found.Topics[0].Partitions[0]
	require.Equal(t, [16]byte(known.ID), found.Topics[0].TopicID)
	require.EqualValues(t, 5, first.Offset)
	require.EqualValues(t, 3, first.LeaderEpoch, "the committed leader epoch comes back")
	require.Equal(t, "mine", *first.Metadata)
	require.EqualValues(t, -1, found.Topics[0].Partitions[1].Offset)
	require.Zero(t, found.Topics[0].Partitions[1].ErrorCode)
	require.Equal(t, kerr.UnknownTopicID.Code, found.Topics[1].Partitions[0].ErrorCode)
	all := c.ask(fetchOffsets(10, "g", nil)).(*kmsg.OffsetFetchResponse).Groups[0]
	require.Len(t, all.Topics, 1)
	require.Equal(t, [16]byte(known.ID), all.Topics[0].TopicID)
	require.Equal(t, "t", c.ask(fetchOffsets(9, "g", nil)).(*kmsg.OffsetFetchResponse).Groups[0].Topics[0].Topic)
}

func TestATopicThatWasMadeAnewHasNoCommittedOffsets(t *testing.T) {
	s := serve(t, api.Config{})
	old := s.topic(t, "t", 1, nil)
	c := s.raw(t)
	require.Zero(t, c.ask(commit(8, "g", commitTopic("t", old.ID, 5, 0))).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	require.NoError(t, s.DeleteTopic(t.Context(), old.ID))
	s.topic(t, "t", 1, nil)
	asked := []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}
	require.EqualValues(t, -1, c.ask(fetchOffsets(9, "g", asked)).(*kmsg.OffsetFetchResponse).Groups[0].Topics[0].Partitions[0].Offset)
	require.Empty(t, c.ask(fetchOffsets(9, "g", nil)).(*kmsg.OffsetFetchResponse).Groups[0].Topics)
}

func TestOffsetsAreCommittedAsTheyCome(t *testing.T) { // KafkaJS resets to −2 and −1
	s := serve(t, api.Config{})
	known := s.topic(t, "t", 1, nil)
	c := s.raw(t)
	for _, group := range []string{"g", ""} { // Java 2.1 commits as "" when it has no group
		require.Zero(t, c.ask(commit(8, group, commitTopic("t", known.ID, -2, 0))).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
		found := c.ask(fetchOffsets(8, group, nil)).(*kmsg.OffsetFetchResponse).Groups[0]
		require.EqualValues(t, -2, found.Topics[0].Partitions[0].Offset)
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	require.Equal(t, kerr.InvalidGroupID.Code, c.ask(beat).(*kmsg.HeartbeatResponse).ErrorCode, "but nobody is a member of it")
}

func TestGroupsInUseAreNotDeletedNorTheOffsetsOfTopicsThatTheyRead(t *testing.T) {
	s := serve(t, api.Config{})
	read, unread := s.topic(t, "read", 1, nil), s.topic(t, "unread", 1, nil)
	c := s.raw(t)
	forget := kmsg.NewPtrOffsetDeleteRequest()
	forget.Group = "g"
	for _, name := range []string{"read", "unread", "missing"} {
		forget.Topics = append(forget.Topics, kmsg.OffsetDeleteRequestTopic{Topic: name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}})
	}
	remove := kmsg.NewPtrDeleteGroupsRequest()
	remove.Groups = []string{"g", "nobody"}
	require.Equal(t, kerr.GroupIDNotFound.Code, c.ask(forget).(*kmsg.OffsetDeleteResponse).ErrorCode)

	joined := c.joinAlone("g", "", 5, "read")
	require.Zero(t, c.syncAlone("g", "", joined.MemberID, 1).ErrorCode)
	request := commit(8, "g", commitTopic("read", read.ID, 1, 0), commitTopic("unread", unread.ID, 2, 0))
	require.Equal(t, kerr.UnknownMemberID.Code, c.ask(request).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, "not from outside, beside members")
	request.MemberID, request.Generation = joined.MemberID, 1
	require.Zero(t, c.ask(request).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)

	resp := c.ask(forget).(*kmsg.OffsetDeleteResponse)
	require.Zero(t, resp.ErrorCode)
	require.Equal(t, kerr.GroupSubscribedToTopic.Code, resp.Topics[0].Partitions[0].ErrorCode)
	require.Zero(t, resp.Topics[1].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[2].Partitions[0].ErrorCode)
	require.Len(t, c.ask(fetchOffsets(8, "g", nil)).(*kmsg.OffsetFetchResponse).Groups[0].Topics, 1)
	deleted := c.ask(remove).(*kmsg.DeleteGroupsResponse)
	require.Equal(t, kerr.NonEmptyGroup.Code, deleted.Groups[0].ErrorCode)
	require.Equal(t, kerr.GroupIDNotFound.Code, deleted.Groups[1].ErrorCode)

	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group = 3, "g"
	leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: joined.MemberID}, {MemberID: "nobody"}, {InstanceID: kmsg.StringPtr("no instance")}}
	left := c.ask(leave).(*kmsg.LeaveGroupResponse)
	require.Zero(t, left.ErrorCode)
	require.Zero(t, left.Members[0].ErrorCode)
	require.Equal(t, kerr.UnknownMemberID.Code, left.Members[1].ErrorCode)
	require.Equal(t, kerr.UnknownMemberID.Code, left.Members[2].ErrorCode)
	deleted = c.ask(remove).(*kmsg.DeleteGroupsResponse)
	require.Zero(t, deleted.Groups[0].ErrorCode)
	require.Empty(t, c.ask(fetchOffsets(8, "g", nil)).(*kmsg.OffsetFetchResponse).Groups[0].Topics)
	require.Equal(t, kerr.GroupIDNotFound.Code, c.ask(remove).(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode)
}

func TestAStaticMemberFencesItsFormerSelf(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	first := c.joinAlone("g", "i", 9)
	require.Zero(t, c.syncAlone("g", "i", first.MemberID, 1).ErrorCode)
	second := c.joinAlone("g", "i", 9)
	require.Equal(t, int32(1), second.Generation, "no rebalance")
	require.NotEqual(t, first.MemberID, second.MemberID)
	require.True(t, second.SkipAssignment)
	require.Equal(t, second.MemberID, second.LeaderID)
	require.Len(t, second.Members, 1)
	third := c.joinAlone("g", "i", 8)
	require.False(t, third.SkipAssignment)
	require.NotEqual(t, third.MemberID, third.LeaderID, "who cannot skip must not take itself for the leader")
	require.Equal(t, []byte("all"), c.syncAlone("g", "i", third.MemberID, 1).MemberAssignment, "the assignment stays")

	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID, beat.InstanceID, beat.Generation = 3, "g", first.MemberID, kmsg.StringPtr("i"), 1
	require.Equal(t, kerr.FencedInstanceID.Code, c.ask(beat).(*kmsg.HeartbeatResponse).ErrorCode)
	require.Equal(t, kerr.FencedInstanceID.Code, c.syncAlone("g", "i", first.MemberID, 1).ErrorCode)
	leave := kmsg.NewPtrLeaveGroupRequest() // as kafka-consumer-groups removes it
	leave.Version, leave.Group = 5, "g"
	leave.Members = []kmsg.LeaveGroupRequestMember{{InstanceID: kmsg.StringPtr("i"), Reason: kmsg.StringPtr("by hand")}}
	require.Zero(t, c.ask(leave).(*kmsg.LeaveGroupResponse).Members[0].ErrorCode)
}

func TestGroupsAreListedByStateAndType(t *testing.T) {
	s := serve(t, api.Config{})
	known := s.topic(t, "t", 1, nil)
	c := s.raw(t)
	require.Zero(t, c.ask(commit(8, "empty", commitTopic("t", known.ID, 1, 0))).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	joined := c.joinAlone("stable", "", 5)
	require.Zero(t, c.syncAlone("stable", "", joined.MemberID, 1).ErrorCode)
	list := func(states, types []string) (names []string) {
		req := kmsg.NewPtrListGroupsRequest()
		req.Version, req.StatesFilter, req.TypesFilter = 5, states, types
		for _, g := range c.ask(req).(*kmsg.ListGroupsResponse).Groups {
			require.Equal(t, "classic", g.GroupType)
			names = append(names, g.Group)
		}
		return names
	}
	require.Equal(t, []string{"empty", "stable"}, list(nil, nil))
	require.Equal(t, []string{"stable"}, list([]string{"stable", "Dead"}, nil))
	require.Equal(t, []string{"empty"}, list([]string{"Empty"}, []string{"Classic"}))
	require.Empty(t, list(nil, []string{"consumer"}))
}
