package api_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
)

type (
	newTopic   = kmsg.CreateTopicsRequestTopic
	assignment = kmsg.CreateTopicsRequestTopicReplicaAssignment
	newConfig  = kmsg.CreateTopicsRequestTopicConfig
)

func createTopics(t testing.TB, s *server, version int16, validateOnly bool, topics ...newTopic) []kmsg.CreateTopicsResponseTopic {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.ValidateOnly, req.Topics, req.TimeoutMillis = validateOnly, topics, 5000
	return ask[*kmsg.CreateTopicsResponse](t, s, version, req).Topics
}

func TestCreateTopicsRefusesByTopic(t *testing.T) {
	s := serve(t, api.Config{PartitionsMax: 100})
	s.topic(t, "there", 1, nil)
	value := text("1")
	for _, test := range []struct {
		topic newTopic
		code  *kerr.Error
	}{
		{newTopic{Topic: "there", NumPartitions: 1, ReplicationFactor: 1}, kerr.TopicAlreadyExists},
		{newTopic{Topic: "a", NumPartitions: 0, ReplicationFactor: 1}, kerr.InvalidPartitions},
		{newTopic{Topic: "a", NumPartitions: -2, ReplicationFactor: 1}, kerr.InvalidPartitions},
		{newTopic{Topic: "a", NumPartitions: 101, ReplicationFactor: 1}, kerr.InvalidPartitions},
		{newTopic{Topic: "a", NumPartitions: 1, ReplicationFactor: 0}, kerr.InvalidReplicationFactor},
		{newTopic{Topic: "a", NumPartitions: 1, ReplicationFactor: -2}, kerr.InvalidReplicationFactor},
		{newTopic{Topic: "a", NumPartitions: 1, ReplicationFactor: 1, Configs: []newConfig{{Name: "no.such.key", Value: value}}}, kerr.InvalidConfig},
		{newTopic{Topic: "a", NumPartitions: 1, ReplicationFactor: 1, Configs: []newConfig{{Name: "retention.ms", Value: text("x")}}}, kerr.InvalidConfig},
		{newTopic{Topic: "a", NumPartitions: 1, ReplicationFactor: 1, Configs: []newConfig{{Name: "retention.ms"}}}, kerr.InvalidConfig},
		{newTopic{Topic: "a", NumPartitions: 1, ReplicationFactor: -1, ReplicaAssignment: []assignment{{Replicas: []int32{7}}}}, kerr.InvalidRequest},
		{newTopic{Topic: "a", NumPartitions: -1, ReplicationFactor: 1, ReplicaAssignment: []assignment{{Replicas: []int32{7}}}}, kerr.InvalidRequest},
		{newTopic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: []assignment{{Replicas: []int32{8}}}}, kerr.InvalidReplicaAssignment},
		{newTopic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: []assignment{{Replicas: []int32{7, 7}}}}, kerr.InvalidReplicaAssignment},
		{newTopic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: []assignment{{}}}, kerr.InvalidReplicaAssignment},
		{newTopic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: []assignment{{Partition: 1, Replicas: []int32{7}}}}, kerr.InvalidReplicaAssignment},
		{newTopic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: []assignment{{Replicas: []int32{7}}, {Replicas: []int32{7}}}}, kerr.InvalidReplicaAssignment},
	} {
		for _, validateOnly := range []bool{true, false} {
			answers := createTopics(t, s, 7, validateOnly, test.topic, newTopic{Topic: "good", NumPartitions: 1, ReplicationFactor: 1})
			require.Equal(t, test.code.Code, answers[0].ErrorCode, "%+v", test.topic)
			require.NotEmpty(t, *answers[0].ErrorMessage)
			require.NotNil(t, answers[0].Configs, "null is a NullPointerException in Java")
			require.Zero(t, answers[1].ErrorCode, "the neighbour is made")
			_, made := s.Topic("a")
			require.False(t, made)
			if good, ok := s.Topic("good"); ok {
				require.False(t, validateOnly)
				require.NoError(t, s.DeleteTopic(context.Background(), good.ID))
			}
		}
	}
}

func TestCreateTopicsFillsInDefaultsAndTellsWhatItMade(t *testing.T) {
	s := serve(t, api.Config{PartitionsDefault: 4})
	for version := int16(4); version <= 7; version++ {
		for _, validateOnly := range []bool{true, false} {
			name := fmt.Sprintf("t%d", version)
			answer := createTopics(t, s, version, validateOnly, newTopic{Topic: name, NumPartitions: -1, ReplicationFactor: -1, Configs: []newConfig{{Name: "retention.ms", Value: text("5")}}})[0]
			require.Zero(t, answer.ErrorCode)
			made, ok := s.Topic(name)
			require.Equal(t, !validateOnly, ok, "validate_only makes nothing")
			if ok {
				require.EqualValues(t, 4, made.Partitions)
				require.Equal(t, map[string]string{"retention.ms": "5"}, made.Config)
			}
			if version < 5 {
				continue
			}
			require.EqualValues(t, 4, answer.NumPartitions)
			require.EqualValues(t, 1, answer.ReplicationFactor)
			for _, c := range answer.Configs {
				require.Positive(t, c.Source, "Java: id should be positive, id: -1")
				require.NotNil(t, c.Value)
				if c.Name == "retention.ms" {
					require.Equal(t, "5", *c.Value)
					require.EqualValues(t, 1, c.Source)
				}
			}
			if version == 7 && ok {
				require.EqualValues(t, made.ID, answer.TopicID)
			}
		}
	}
}

func TestAnAssignmentByHandIsTakenAsItsShape(t *testing.T) {
	s := serve(t, api.Config{})
	answer := createTopics(t, s, 7, false, newTopic{Topic: "t", NumPartitions: -1, ReplicationFactor: -1,
		ReplicaAssignment: []assignment{{Partition: 1, Replicas: []int32{7}}, {Partition: 0, Replicas: []int32{7}}}})[0]
	require.Zero(t, answer.ErrorCode)
	made, _ := s.Topic("t")
	require.EqualValues(t, 2, made.Partitions)
}

func TestAnyReplicationFactorIsAcceptedAndLiveBrokersAreShown(t *testing.T) {
	s := serve(t, api.Config{})
	require.Zero(t, createTopics(t, s, 7, false, newTopic{Topic: "t", NumPartitions: 1, ReplicationFactor: 3})[0].ErrorCode)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: text("t")}}
	part := ask[*kmsg.MetadataResponse](t, s, 12, req).Topics[0].Partitions[0]
	require.Equal(t, []int32{7}, part.Replicas, "durability comes from the bucket")
	require.Equal(t, []int32{7}, part.ISR)
}

func TestNamesThatCollideWithinOneRequestAreRefused(t *testing.T) {
	for _, validateOnly := range []bool{true, false} {
		s := serve(t, api.Config{})
		answers := createTopics(t, s, 7, validateOnly, newTopic{Topic: "a.b", NumPartitions: 1, ReplicationFactor: 1}, newTopic{Topic: "a_b", NumPartitions: 1, ReplicationFactor: 1})
		require.Zero(t, answers[0].ErrorCode)
		require.Equal(t, kerr.InvalidTopicException.Code, answers[1].ErrorCode)
	}
}

func TestDeleteTopicsByNameAndByID(t *testing.T) {
	s := serve(t, api.Config{})
	a, b, c := s.topic(t, "a", 1, nil), s.topic(t, "b", 1, nil), s.topic(t, "c", 1, nil)
	named := func(name string) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{Topic: &name} }
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = []kmsg.DeleteTopicsRequestTopic{
		named("a"), {TopicID: b.ID}, named("missing"), {TopicID: [16]byte{1}}, {},
		{Topic: text("c"), TopicID: c.ID}, // either, not both
	}
	answers := ask[*kmsg.DeleteTopicsResponse](t, s, 6, req).Topics
	for i, code := range []int16{0, 0, kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code} {
		require.Equal(t, code, answers[i].ErrorCode, "%d", i)
	}
	require.EqualValues(t, a.ID, answers[0].TopicID)
	require.Equal(t, "b", *answers[1].Topic)
	require.Len(t, s.All(), 1)
}

func TestATopicNamedSeveralTimesIsNotDeleted(t *testing.T) {
	s := serve(t, api.Config{})
	a, b := s.topic(t, "a", 1, nil), s.topic(t, "b", 1, nil)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: text("a")}, {TopicID: b.ID}, {TopicID: a.ID}}
	answers := ask[*kmsg.DeleteTopicsResponse](t, s, 6, req).Topics
	require.Len(t, answers, 2)
	require.Equal(t, kerr.InvalidRequest.Code, answers[0].ErrorCode)
	require.Zero(t, answers[1].ErrorCode)
	_, there := s.Topic("a")
	require.True(t, there)

	req.TopicNames = []string{"a", "a"}
	answers = ask[*kmsg.DeleteTopicsResponse](t, s, 5, req).Topics
	require.Len(t, answers, 1)
	require.Equal(t, kerr.InvalidRequest.Code, answers[0].ErrorCode)
}

func TestCreatePartitionsOnlyEverAdds(t *testing.T) {
	s := serve(t, api.Config{PartitionsMax: 10})
	type grow = kmsg.CreatePartitionsRequestTopic
	by := func(ids ...int32) kmsg.CreatePartitionsRequestTopicAssignment {
		return kmsg.CreatePartitionsRequestTopicAssignment{Replicas: ids}
	}
	for _, test := range []struct {
		grow grow
		code *kerr.Error
	}{
		{grow{Topic: "t", Count: 3}, kerr.InvalidPartitions},
		{grow{Topic: "t", Count: 2}, kerr.InvalidPartitions},
		{grow{Topic: "t", Count: -1}, kerr.InvalidPartitions},
		{grow{Topic: "t", Count: 11}, kerr.InvalidPartitions},
		{grow{Topic: "missing", Count: 4}, kerr.UnknownTopicOrPartition},
		{grow{Topic: "t", Count: 5, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{by(7)}}, kerr.InvalidReplicaAssignment},
		{grow{Topic: "t", Count: 4, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{by(8)}}, kerr.InvalidReplicaAssignment},
		{grow{Topic: "t", Count: 4, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{by(7, 7)}}, kerr.InvalidReplicaAssignment},
		{grow{Topic: "t", Count: 4, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{by()}}, kerr.InvalidReplicaAssignment},
		{grow{Topic: "t", Count: 5, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{by(7), by(7)}}, nil},
		{grow{Topic: "t", Count: 5}, nil},
	} {
		made := s.topic(t, "t", 3, nil)
		for _, validateOnly := range []bool{true, false} {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.ValidateOnly, req.Topics = validateOnly, []grow{test.grow}
			answer := ask[*kmsg.CreatePartitionsResponse](t, s, 3, req).Topics[0]
			want := int32(3)
			if test.code == nil {
				require.Zero(t, answer.ErrorCode, "%+v", test.grow)
				if !validateOnly {
					want = 5
				}
			} else {
				require.Equal(t, test.code.Code, answer.ErrorCode, "%+v", test.grow)
				require.NotEmpty(t, *answer.ErrorMessage)
			}
			now, _ := s.Topic("t")
			require.Equal(t, want, now.Partitions, "%+v", test.grow)
			require.Equal(t, made.ID, now.ID)
		}
		require.NoError(t, s.DeleteTopic(context.Background(), made.ID))
	}
}

func TestATopicNamedTwiceDoesNotGrow(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 2}, {Topic: "t", Count: 3}}
	answers := ask[*kmsg.CreatePartitionsResponse](t, s, 3, req).Topics
	require.Len(t, answers, 1)
	require.Equal(t, kerr.InvalidRequest.Code, answers[0].ErrorCode)
	now, _ := s.Topic("t")
	require.EqualValues(t, 1, now.Partitions)
}

func TestMetadataByIDIsForVersionsThatHaveIt(t *testing.T) {
	s := serve(t, api.Config{AutoCreateTopics: true})
	made := s.topic(t, "t", 1, nil)
	for version, want := range map[int16]int16{10: kerr.InvalidRequest.Code, 11: kerr.InvalidRequest.Code, 12: 0, 13: 0} {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{{TopicID: made.ID}}
		require.Equal(t, want, ask[*kmsg.MetadataResponse](t, s, version, req).Topics[0].ErrorCode, "version %d", version)
	}
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	req.Topics = []kmsg.MetadataRequestTopic{{TopicID: [16]byte{9}}}
	answer := ask[*kmsg.MetadataResponse](t, s, 12, req).Topics[0]
	require.Equal(t, kerr.UnknownTopicID.Code, answer.ErrorCode)
	require.Nil(t, answer.Topic)
	require.Len(t, s.All(), 1, "an id creates nothing")
}

func TestMetadataAnswersATopicNamedTwiceOnce(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 1, nil)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: text("t")}, {Topic: text("u")}, {Topic: text("t")}, {TopicID: made.ID}, {TopicID: made.ID}}
	require.Len(t, ask[*kmsg.MetadataResponse](t, s, 12, req).Topics, 3)
}

func TestTheControllerIsAListedBroker(t *testing.T) { // kafka-go sends administration there
	s := serve(t, api.Config{})
	meta := kmsg.NewPtrMetadataRequest()
	for version := int16(1); version <= 13; version++ {
		answer := ask[*kmsg.MetadataResponse](t, s, version, meta)
		require.Contains(t, []int32{answer.Brokers[0].NodeID}, answer.ControllerID)
	}
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.IncludeClusterAuthorizedOperations = version > 0
		answer := ask[*kmsg.DescribeClusterResponse](t, s, version, req)
		require.Zero(t, answer.ErrorCode)
		require.Equal(t, "memory", answer.ClusterID)
		require.Equal(t, answer.Brokers[0].NodeID, answer.ControllerID)
		require.Equal(t, version > 0, answer.ClusterAuthorizedOperations != -2147483648, "told only when asked")
	}
}

func TestDescribeClusterIsNoController(t *testing.T) {
	s := serve(t, api.Config{})
	for kind, want := range map[int8]*kerr.Error{2: kerr.MismatchedEndpointType, 0: kerr.UnsupportedEndpointType, 9: kerr.UnsupportedEndpointType} {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType = kind
		require.Equal(t, want.Code, ask[*kmsg.DescribeClusterResponse](t, s, 1, req).ErrorCode)
	}
}
