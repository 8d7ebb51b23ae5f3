package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
)

// consumers speaks the consumer protocol by hand.
type consumers struct {
	*testing.T
	*server
	c  *raw
	id [16]byte
}

func newConsumers(t *testing.T) *consumers {
	s := serve(t, api.Config{})
	topic := s.topic(t, "t", 4, nil)
	return &consumers{t, s, s.raw(t), topic.ID}
}

func heartbeatOf(member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, "g", member, epoch
	return r
}

func joinOf(member string) *kmsg.ConsumerGroupHeartbeatRequest {
	r := heartbeatOf(member, 0)
	r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.Topics = 60_000, []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return r
}

func (c *consumers) beat(r *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	c.Helper()
	return c.c.ask(r).(*kmsg.ConsumerGroupHeartbeatResponse)
}

func (c *consumers) refused(want *kerr.Error, r *kmsg.ConsumerGroupHeartbeatRequest) {
	c.Helper()
	resp := c.beat(r)
	require.Equal(c, want.Message, kerr.TypedErrorForCode(resp.ErrorCode).Message)
	require.NotNil(c, resp.ErrorMessage)
	require.Nil(c, resp.Assignment)
}

func TestAMemberOfTheConsumerProtocolJoinsReadsAndLeavesByHeartbeats(t *testing.T) {
	c := newConsumers(t)
	resp := c.beat(joinOf("a"))
	require.Zero(t, resp.ErrorCode)
	require.Equal(t, "a", *resp.MemberID)
	require.EqualValues(t, 1, resp.MemberEpoch)
	require.EqualValues(t, 5000, resp.HeartbeatIntervalMillis)
	require.Equal(t, c.id, resp.Assignment.Topics[0].TopicID)
	require.Equal(t, []int32{0, 1, 2, 3}, resp.Assignment.Topics[0].Partitions)
	require.Nil(t, c.beat(heartbeatOf("a", 1)).Assignment)

	list := c.c.ask(kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse)
	require.Len(t, list.Groups, 1)
	leave := heartbeatOf("a", -1)
	require.EqualValues(t, -1, c.beat(leave).MemberEpoch)
	c.refused(kerr.UnknownMemberID, heartbeatOf("a", 1))
}

func TestTheOldestConsumerHeartbeatGivesAMemberItsID(t *testing.T) {
	c := newConsumers(t)
	r := joinOf("")
	r.Version = 0
	resp := c.beat(r)
	require.Zero(t, resp.ErrorCode)
	require.NotEmpty(t, *resp.MemberID)
	c.refused(kerr.InvalidRequest, joinOf(""))
}

func TestConsumerHeartbeatsAreRefusedByTheirErrors(t *testing.T) {
	c := newConsumers(t)
	name := func(s string) *string { return &s }
	require.Zero(t, c.beat(joinOf("a")).ErrorCode)
	static := joinOf("s")
	static.InstanceID = name("i")
	require.Zero(t, c.beat(static).ErrorCode)

	c.refused(kerr.FencedMemberEpoch, heartbeatOf("a", 9))
	c.refused(kerr.UnknownMemberID, heartbeatOf("x", 1))
	static = joinOf("s2")
	static.InstanceID = name("i")
	c.refused(kerr.UnreleasedInstanceID, static)
	static = heartbeatOf("s2", 1)
	static.InstanceID = name("i")
	c.refused(kerr.FencedInstanceID, static)
	r := joinOf("b")
	r.ServerAssignor = name("mine")
	c.refused(kerr.UnsupportedAssignor, r)
	r = joinOf("b")
	r.SubscribedTopicRegex = name("(")
	c.refused(kerr.InvalidRegularExpression, r)
	r = joinOf("b")
	r.SubscribedTopicNames = nil
	c.refused(kerr.InvalidRequest, r)
	r = joinOf("b")
	r.Group = ""
	c.refused(kerr.InvalidRequest, r)
}

func TestCommitsOfTheConsumerProtocolAreFencedByTheMemberEpoch(t *testing.T) {
	c := newConsumers(t)
	require.Zero(t, c.beat(joinOf("a")).ErrorCode)
	commit := func(member string, epoch int32) int16 {
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Version, r.Group, r.MemberID, r.Generation = 9, "g", member, epoch
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Offset = 3
		r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{part}}}
		return c.c.ask(r).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
	}
	require.Zero(t, commit("a", 1))
	require.Equal(t, kerr.StaleMemberEpoch.Code, commit("a", 2))
	require.Equal(t, kerr.UnknownMemberID.Code, commit("x", 1))

	fetch := func(member string, epoch int32) int16 {
		r := kmsg.NewPtrOffsetFetchRequest()
		r.Version = 9
		group := kmsg.NewOffsetFetchRequestGroup()
		group.Group, group.MemberEpoch = "g", epoch
		if member != "" {
			group.MemberID = &member
		}
		r.Groups = []kmsg.OffsetFetchRequestGroup{group}
		return c.c.ask(r).(*kmsg.OffsetFetchResponse).Groups[0].ErrorCode
	}
	require.Zero(t, fetch("a", 1))
	require.Zero(t, fetch("", -1))
	require.Equal(t, kerr.StaleMemberEpoch.Code, fetch("a", 7))
	require.Equal(t, kerr.UnknownMemberID.Code, fetch("x", 1))
}

func TestAGroupIsDescribedByTheAPIOfItsProtocolAlone(t *testing.T) {
	c := newConsumers(t)
	r := joinOf("a")
	rack := "r1"
	r.RackID = &rack
	require.Zero(t, c.beat(r).ErrorCode)

	modern := kmsg.NewPtrConsumerGroupDescribeRequest()
	modern.Version, modern.Groups, modern.IncludeAuthorizedOperations = 1, []string{"g", "none", ""}, true
	resp := c.c.ask(modern).(*kmsg.ConsumerGroupDescribeResponse)
	g := resp.Groups[0]
	require.Zero(t, g.ErrorCode)
	require.Equal(t, "Stable", g.State)
	require.EqualValues(t, 1, g.Epoch)
	require.Positive(t, g.AuthorizedOperations)
	m := g.Members[0]
	require.Equal(t, "r1", *m.RackID)
	require.Equal(t, m.Assignment, m.TargetAssignment)
	require.Equal(t, "t", m.Assignment.TopicPartitions[0].Topic)
	require.EqualValues(t, 1, m.MemberType)
	require.Equal(t, kerr.GroupIDNotFound.Code, resp.Groups[1].ErrorCode)
	require.Equal(t, kerr.InvalidGroupID.Code, resp.Groups[2].ErrorCode)

	classic := kmsg.NewPtrDescribeGroupsRequest()
	classic.Version, classic.Groups = 6, []string{"g"}
	old := c.c.ask(classic).(*kmsg.DescribeGroupsResponse).Groups[0]
	require.Equal(t, kerr.GroupIDNotFound.Code, old.ErrorCode)
	require.Equal(t, "Dead", old.State)
	classic.Version = 5
	old = c.c.ask(classic).(*kmsg.DescribeGroupsResponse).Groups[0]
	require.Zero(t, old.ErrorCode)
	require.Equal(t, "Dead", old.State)

	for filter, want := range map[string]int{"consumer": 1, "Consumer": 1, "classic": 0} {
		list := kmsg.NewPtrListGroupsRequest()
		list.Version, list.TypesFilter = 5, []string{filter}
		require.Len(t, c.c.ask(list).(*kmsg.ListGroupsResponse).Groups, want, filter)
	}
	list := kmsg.NewPtrListGroupsRequest()
	list.Version, list.StatesFilter = 4, []string{"stable"}
	found := c.c.ask(list).(*kmsg.ListGroupsResponse).Groups
	require.Len(t, found, 1)
	require.Equal(t, "consumer", found[0].ProtocolType)
}

func TestClientsAreToldThatTheConsumerProtocolIsInForceAndTransactionsAreNot(t *testing.T) {
	c := newConsumers(t)
	for _, version := range []int16{3, 4} {
		r := kmsg.NewPtrApiVersionsRequest()
		r.Version, r.ClientSoftwareName, r.ClientSoftwareVersion = version, "test", "1"
		resp := c.c.ask(r).(*kmsg.ApiVersionsResponse)
		require.Len(t, resp.FinalizedFeatures, 1)
		f := resp.FinalizedFeatures[0]
		require.Equal(t, "group.version", f.Name)
		require.EqualValues(t, 1, f.MaxVersionLevel)
		require.Zero(t, resp.FinalizedFeaturesEpoch)
		require.Len(t, resp.SupportedFeatures, int(version)-3, "a lowest version 0 came with version 4")
	}
}
