package api_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/topic"
)

// ask sends one request at a version over a connection of its own.
func ask[T kmsg.Response](t testing.TB, s *server, version int16, req kmsg.Request) T {
	t.Helper()
	req.SetVersion(version)
	return s.raw(t).ask(req).(T)
}

func text(s string) *string { return &s }

func TestDescribeTopicPartitionsHasNoNullList(t *testing.T) { // null is a NullPointerException in Java's AdminClient
	s := serve(t, api.Config{})
	s.topic(t, "t", 2, nil)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 100
	resp := ask[*kmsg.DescribeTopicPartitionsResponse](t, s, 0, req)
	require.Nil(t, resp.NextCursor)
	require.Len(t, resp.Topics, 1, "an empty list asks for all topics")
	require.Len(t, resp.Topics[0].Partitions, 2)
	for _, p := range resp.Topics[0].Partitions {
		require.NotNil(t, p.EligibleLeaderReplicas)
		require.NotNil(t, p.LastKnownELR)
		require.Equal(t, []int32{7}, p.Replicas)
		require.Equal(t, []int32{7}, p.ISR)
		require.EqualValues(t, 7, p.LeaderID)
	}
}

func TestDescribeTopicPartitionsGoesOnAtItsCursor(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "b", 3, nil)
	s.topic(t, "a", 2, nil)
	s.topic(t, "c", 1, nil)
	for limit := int32(1); limit < 8; limit++ {
		var got []string
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		for {
			resp := ask[*kmsg.DescribeTopicPartitionsResponse](t, s, 0, req)
			n := 0
			for _, topic := range resp.Topics {
				require.Zero(t, topic.ErrorCode)
				for _, p := range topic.Partitions {
					got = append(got, fmt.Sprintf("%s-%d", *topic.Topic, p.Partition))
					n++
				}
			}
			require.LessOrEqual(t, n, int(limit))
			if resp.NextCursor == nil {
				break
			}
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
		}
		require.Equal(t, []string{"a-0", "a-1", "b-0", "b-1", "b-2", "c-0"}, got, "limit %d", limit)
	}
}

func TestDescribeTopicPartitionsIsBoundedWhateverIsAskedFor(t *testing.T) {
	s := serve(t, api.Config{DescribePartitionsMax: 2})
	s.topic(t, "t", 3, nil)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 1000
	resp := ask[*kmsg.DescribeTopicPartitionsResponse](t, s, 0, req)
	require.Len(t, resp.Topics[0].Partitions, 2)
	require.EqualValues(t, 2, resp.NextCursor.Partition)
}

func TestDescribeTopicPartitionsNamesWhatIsWrong(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 10
	req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}, {Topic: "missing"}, {Topic: "a b"}}
	resp := ask[*kmsg.DescribeTopicPartitionsResponse](t, s, 0, req)
	codes := map[string]int16{}
	for _, topic := range resp.Topics {
		codes[*topic.Topic] = topic.ErrorCode
	}
	require.Equal(t, map[string]int16{"t": 0, "missing": kerr.UnknownTopicOrPartition.Code, "a b": kerr.InvalidTopicException.Code}, codes)
	_, auto := s.Topic("missing")
	require.False(t, auto, "describing creates nothing")

	for _, cursor := range []kmsg.DescribeTopicPartitionsRequestCursor{{Topic: "other"}, {Topic: "t", Partition: -1}} {
		req.Topics, req.Cursor = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}, &cursor
		resp = ask[*kmsg.DescribeTopicPartitionsResponse](t, s, 0, req)
		require.Equal(t, kerr.InvalidRequest.Code, resp.Topics[0].ErrorCode)
	}
}

func TestAlterConfigsReplacesTheWholeSet(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, map[string]string{"retention.ms": "1000", "max.message.bytes": "5000"})
	alter := func(validateOnly bool, configs ...kmsg.AlterConfigsRequestResourceConfig) int16 {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.ValidateOnly = validateOnly
		req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t", Configs: configs}}
		return ask[*kmsg.AlterConfigsResponse](t, s, 2, req).Resources[0].ErrorCode
	}
	config := func() map[string]string {
		topic, _ := s.Topic("t")
		return topic.Config
	}
	before := config()
	require.Zero(t, alter(true, kmsg.AlterConfigsRequestResourceConfig{Name: "retention.bytes", Value: text("7")}))
	require.Equal(t, before, config(), "validate_only changes nothing")
	require.Equal(t, kerr.InvalidConfig.Code, alter(false, kmsg.AlterConfigsRequestResourceConfig{Name: "retention.msec", Value: text("7")}))
	require.Equal(t, kerr.InvalidConfig.Code, alter(false, kmsg.AlterConfigsRequestResourceConfig{Name: "retention.ms", Value: text("soon")}))
	require.Equal(t, kerr.InvalidRequest.Code, alter(false, kmsg.AlterConfigsRequestResourceConfig{Name: "retention.ms"}), "null is no value")
	require.Equal(t, before, config(), "what is refused changes nothing")
	require.Zero(t, alter(false, kmsg.AlterConfigsRequestResourceConfig{Name: "retention.bytes", Value: text("7")}))
	require.Equal(t, map[string]string{"retention.bytes": "7"}, config())
	require.Zero(t, alter(false))
	require.Empty(t, config(), "nothing is what takes its place")
}

func TestAResourceNamedTwiceIsRefusedBothTimes(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	s.topic(t, "u", 1, nil)
	value := text("1000")
	legacy := kmsg.NewPtrAlterConfigsRequest()
	incremental := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, name := range []string{"t", "u", "t"} {
		legacy.Resources = append(legacy.Resources, kmsg.AlterConfigsRequestResource{
			ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name,
			Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: value}},
		})
		incremental.Resources = append(incremental.Resources, kmsg.IncrementalAlterConfigsRequestResource{
			ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: value}},
		})
	}
	a, b := ask[*kmsg.AlterConfigsResponse](t, s, 1, legacy), ask[*kmsg.IncrementalAlterConfigsResponse](t, s, 1, incremental)
	for i, code := range []int16{kerr.InvalidRequest.Code, 0, kerr.InvalidRequest.Code} {
		require.Equal(t, code, a.Resources[i].ErrorCode)
		require.Equal(t, code, b.Resources[i].ErrorCode)
	}
	got, _ := s.Topic("t")
	require.Empty(t, got.Config)
}

func TestIncrementalAlterConfigsChangesOnlyWhatItNames(t *testing.T) {
	const set, remove, add, subtract = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete,
		kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	type change = kmsg.IncrementalAlterConfigsRequestResourceConfig
	for _, test := range []struct {
		name    string
		changes []change
		want    map[string]string
		code    int16
	}{
		{"set", []change{{Name: "retention.bytes", Op: set, Value: text("5")}}, map[string]string{"retention.ms": "1000", "retention.bytes": "5"}, 0},
		{"delete", []change{{Name: "retention.ms", Op: remove}}, map[string]string{}, 0},
		{"delete what is not set", []change{{Name: "flush.ms", Op: remove}}, map[string]string{"retention.ms": "1000"}, 0},
		{"append to the default", []change{{Name: "cleanup.policy", Op: add, Value: text("compact")}}, map[string]string{"retention.ms": "1000", "cleanup.policy": "delete,compact"}, 0},
		{"append what is there", []change{{Name: "cleanup.policy", Op: add, Value: text("delete")}}, map[string]string{"retention.ms": "1000", "cleanup.policy": "delete"}, 0},
		{"subtract what is not there", []change{{Name: "cleanup.policy", Op: subtract, Value: text("compact")}}, map[string]string{"retention.ms": "1000", "cleanup.policy": "delete"}, 0},
		{"append to what is no list", []change{{Name: "retention.ms", Op: add, Value: text("5")}}, nil, kerr.InvalidConfig.Code},
		{"unknown key", []change{{Name: "retention", Op: set, Value: text("5")}}, nil, kerr.InvalidConfig.Code},
		{"unknown key deleted", []change{{Name: "retention", Op: remove}}, nil, kerr.InvalidConfig.Code},
		{"bad value", []change{{Name: "retention.ms", Op: set, Value: text("x")}}, nil, kerr.InvalidConfig.Code},
		{"null", []change{{Name: "retention.ms", Op: set}}, nil, kerr.InvalidRequest.Code},
		{"twice", []change{{Name: "retention.ms", Op: set, Value: text("1")}, {Name: "retention.ms", Op: remove}}, nil, kerr.InvalidRequest.Code},
		{"twice by an alias", []change{{Name: "searchable", Op: set, Value: text("true")}, {Name: "searchable.enabled", Op: remove}}, nil, kerr.InvalidRequest.Code},
		{"unknown operation", []change{{Name: "retention.ms", Op: 9, Value: text("1")}}, nil, kerr.InvalidRequest.Code},
		{"one of two is bad", []change{{Name: "retention.bytes", Op: set, Value: text("5")}, {Name: "retention.ms", Op: set, Value: text("x")}}, nil, kerr.InvalidConfig.Code},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, api.Config{})
			before := map[string]string{"retention.ms": "1000"}
			s.topic(t, "t", 1, before)
			for _, validateOnly := range []bool{true, false} {
				req := kmsg.NewPtrIncrementalAlterConfigsRequest()
				req.ValidateOnly = validateOnly
				req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t", Configs: test.changes}}
				resp := ask[*kmsg.IncrementalAlterConfigsResponse](t, s, 1, req)
				require.Equal(t, test.code, resp.Resources[0].ErrorCode)
				if test.code != 0 {
					require.NotEmpty(t, *resp.Resources[0].ErrorMessage)
				}
				want := test.want
				if validateOnly || test.code != 0 {
					want = before
				}
				got, _ := s.Topic("t")
				require.Equal(t, want, got.Config)
			}
		})
	}
}

func TestElectLeadersFindsNothingToDo(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 2, nil)
	req := kmsg.NewPtrElectLeadersRequest()
	req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{1, 2}}, {Topic: "missing", Partitions: []int32{0}}}
	resp := ask[*kmsg.ElectLeadersResponse](t, s, 2, req)
	require.Zero(t, resp.ErrorCode)
	require.Equal(t, kerr.ElectionNotNeeded.Code, resp.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[0].Partitions[1].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[1].Partitions[0].ErrorCode)

	req.Topics = nil
	resp = ask[*kmsg.ElectLeadersResponse](t, s, 2, req)
	require.Zero(t, resp.ErrorCode)
	require.Empty(t, resp.Topics, "of all partitions only those that need an election are told")

	req.ElectionType = 5
	require.Equal(t, kerr.InvalidRequest.Code, ask[*kmsg.ElectLeadersResponse](t, s, 2, req).ErrorCode)
}

func TestReassignmentIsDoneOrRefusedAndNeverUnderWay(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	type part = kmsg.AlterPartitionAssignmentsRequestTopicPartition
	for _, test := range []struct {
		part part
		code int16
	}{
		{part{Replicas: []int32{7}}, 0}, // what it is anyhow
		{part{Replicas: []int32{}}, kerr.InvalidReplicaAssignment.Code},
		{part{Replicas: []int32{8}}, kerr.InvalidReplicaAssignment.Code},
		{part{Replicas: []int32{7, 7}}, kerr.InvalidReplicaAssignment.Code},
		{part{}, kerr.NoReassignmentInProgress.Code}, // null cancels
		{part{Partition: 1, Replicas: []int32{7}}, kerr.UnknownTopicOrPartition.Code},
	} {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []part{test.part}}}
		resp := ask[*kmsg.AlterPartitionAssignmentsResponse](t, s, 0, req)
		require.Zero(t, resp.ErrorCode)
		require.Equal(t, test.code, resp.Topics[0].Partitions[0].ErrorCode, "%+v", test.part)
	}
	list := ask[*kmsg.ListPartitionReassignmentsResponse](t, s, 0, kmsg.NewPtrListPartitionReassignmentsRequest())
	require.Zero(t, list.ErrorCode)
	require.Empty(t, list.Topics)
}

func TestListConfigResourcesListsWhatIsAskedFor(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	list := func(version int16, kinds ...int8) (names []string, code int16) {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = kinds
		resp := ask[*kmsg.ListConfigResourcesResponse](t, s, version, req)
		for _, r := range resp.ConfigResources {
			names = append(names, fmt.Sprintf("%d/%s", r.Type, r.Name))
		}
		return names, resp.ErrorCode
	}
	names, code := list(0)
	require.Zero(t, code)
	require.Empty(t, names, "version 0 is about client metrics only")
	names, code = list(1)
	require.Zero(t, code)
	require.Equal(t, []string{"2/t", "4/7", "8/7"}, names)
	names, _ = list(1, 4)
	require.Equal(t, []string{"4/7"}, names)
	_, code = list(1, 99)
	require.Equal(t, kerr.UnsupportedVersion.Code, code)
}

func TestADeletedAndRecreatedTopicHasAnotherID(t *testing.T) {
	s := serve(t, api.Config{})
	old := s.topic(t, "t", 1, nil)
	require.NoError(t, s.DeleteTopic(context.Background(), old.ID))
	young := s.topic(t, "t", 1, nil)
	require.NotEqual(t, old.ID, young.ID)

	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{{TopicID: old.ID}, {TopicID: young.ID}}
	answer := ask[*kmsg.MetadataResponse](t, s, 12, meta)
	require.Equal(t, kerr.UnknownTopicID.Code, answer.Topics[0].ErrorCode)
	require.Equal(t, "t", *answer.Topics[1].Topic)

	gone := kmsg.NewPtrDeleteTopicsRequest()
	gone.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: old.ID}}
	require.Equal(t, kerr.UnknownTopicID.Code, ask[*kmsg.DeleteTopicsResponse](t, s, 6, gone).Topics[0].ErrorCode)
	_, there := s.TopicByID(topic.ID(young.ID))
	require.True(t, there, "the younger topic of that name stays")
}

func TestTheQuorumIsTheListedControllerAndTheRevisionOfTheMetadata(t *testing.T) {
	s := serve(t, api.Config{})
	for version := int16(0); version <= 2; version++ {
		answer := ask[*kmsg.DescribeQuorumResponse](t, s, version, sample(55, "", topic.ID{}))
		known, unknown := answer.Topics[0].Partitions[0], answer.Topics[0].Partitions[1]
		require.Zero(t, known.ErrorCode)
		require.EqualValues(t, 7, known.LeaderID)
		require.Len(t, known.CurrentVoters, 1)
		require.Equal(t, known.HighWatermark, known.CurrentVoters[0].LogEndOffset)
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, unknown.ErrorCode)
		if version == 2 {
			require.Equal(t, "127.0.0.1", answer.Nodes[0].Listeners[0].Host)
		}
		s.topic(t, fmt.Sprintf("t%d", version), 1, nil)
		again := ask[*kmsg.DescribeQuorumResponse](t, s, version, sample(55, "", topic.ID{}))
		require.Greater(t, again.Topics[0].Partitions[0].HighWatermark, known.HighWatermark)
	}
}

func TestFeaturesAreThoseOfTheBuild(t *testing.T) {
	s := serve(t, api.Config{})
	update := func(version int16, name string, level int16) (result, all int16) {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: name, MaxVersionLevel: level}}
		resp := ask[*kmsg.UpdateFeaturesResponse](t, s, version, req)
		if version < 2 {
			result = resp.Results[0].ErrorCode
		}
		return result, resp.ErrorCode
	}
	invalid := kerr.InvalidUpdateVersion.Code
	for _, test := range []struct {
		name  string
		level int16
		code  int16
	}{{"group.version", 1, 0}, {"group.version", 0, invalid}, {"group.version", 2, invalid}, {"transaction.version", 2, invalid}, {"", 1, invalid}} {
		for version := int16(0); version <= 1; version++ {
			result, all := update(version, test.name, test.level)
			require.Equal(t, test.code, result, "%+v", test)
			require.Zero(t, all)
		}
		_, all := update(2, test.name, test.level)
		require.Equal(t, test.code, all, "%+v", test)
	}
}
