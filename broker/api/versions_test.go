package api_test

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
)

// advertised is the table as clients see it. It is written out here a second
// time, so that no version is promised by accident: a change of the protocol
// table has to be made in two places on purpose.
var advertised = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 10}, 3: {0, 13},
	8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5}, 14: {0, 5}, 15: {0, 6}, 16: {0, 5},
	18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 22: {0, 5}, 23: {2, 4}, 32: {1, 4}, 37: {0, 3}, 42: {0, 2}, 47: {0, 0}, 44: {0, 1}, 60: {0, 2},
	48: {0, 1}, 49: {0, 1},
	17: {0, 1}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3}, 34: {1, 2}, 36: {0, 2},
	38: {1, 3}, 39: {1, 2}, 40: {1, 2}, 41: {1, 3}, 50: {0, 0}, 51: {0, 0}, 65: {0, 0}, 66: {0, 1}, 71: {0, 0}, 72: {0, 0},
	21: {0, 2}, 35: {1, 4}, 61: {0, 0},
	68: {0, 1}, 69: {0, 1},
	33: {0, 2}, 43: {0, 2}, 45: {0, 0}, 46: {0, 0}, 55: {0, 2}, 57: {0, 2}, 74: {0, 1}, 75: {0, 0},
}

func TestAdvertisedVersionsAreExactlyTheTable(t *testing.T) {
	s := serve(t, api.Config{})
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "test", "1"
	resp := s.raw(t).ask(req).(*kmsg.ApiVersionsResponse)
	got := make(map[int16][2]int16)
	for _, k := range resp.ApiKeys {
		got[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	require.Equal(t, advertised, got)
	require.Zero(t, got[0][0], "librdkafka sends plain when Produce does not begin at 0")
}

func TestApiVersionsAnswersVersionsOfTheFuture(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	// What a client of the year 2030 might send: unknown bytes after the client id.
	frame := []byte{0, 0, 0, 16, 0, 18, 0, 99, 0, 0, 0, 5, 0, 1, 'x', 0xff, 0xff, 0xff, 0xff, 0xff}
	_, err := c.conn.Write(frame)
	require.NoError(t, err)
	body := c.frame()
	require.Equal(t, []byte{0, 0, 0, 5}, body[:4])
	resp := kmsg.NewPtrApiVersionsResponse()
	require.NoError(t, resp.ReadFrom(body[4:]), "the answer is in version 0")
	require.Equal(t, kerr.UnsupportedVersion.Code, resp.ErrorCode)
	require.Len(t, resp.ApiKeys, len(advertised))
	// The connection goes on.
	req := kmsg.NewPtrApiVersionsRequest()
	require.Zero(t, c.ask(req).(*kmsg.ApiVersionsResponse).ErrorCode)
}

// sample is a request of an API that makes its handler do something.
func sample(key int16, topic string, id [16]byte) kmsg.Request {
	switch key {
	case 0:
		r := kmsg.NewPtrProduceRequest()
		r.Acks, r.TimeoutMillis = -1, 1000
		r.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{
			{Partition: 0, Records: oneBatch("v")}, {Partition: 9, Records: oneBatch("v")},
		}}}
		return r
	case 1:
		r := kmsg.NewPtrFetchRequest()
		part := kmsg.NewFetchRequestTopicPartition()
		part.PartitionMaxBytes = 1 << 20
		missing := part
		missing.Partition = 9
		r.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{part, missing}}}
		return r
	case 2:
		r := kmsg.NewPtrListOffsetsRequest()
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Timestamp = -1
		r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
		return r
	case 3:
		r := kmsg.NewPtrMetadataRequest()
		missing := "missing"
		r.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}, {Topic: &missing}}
		return r
	case 8:
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Group = "g"
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Offset = 3
		r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{part}}}
		return r
	case 9:
		r := kmsg.NewPtrOffsetFetchRequest()
		r.Group = "g"
		r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{0, 1}}}
		group := kmsg.NewOffsetFetchRequestGroup()
		group.Group = "g"
		group.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: id, Partitions: []int32{0, 1}}}
		all := kmsg.NewOffsetFetchRequestGroup()
		all.Group = "g"
		r.Groups = []kmsg.OffsetFetchRequestGroup{group, all}
		return r
	case 10:
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.CoordinatorKey, r.CoordinatorKeys = "g", []string{"g", "h"}
		return r
	case 13:
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Group = "g"
		r.Members = []kmsg.LeaveGroupRequestMember{kmsg.NewLeaveGroupRequestMember()}
		return r
	case 68:
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.Group, r.MemberID, r.RebalanceTimeoutMillis = "g68", "m", 1000
		r.SubscribedTopicNames, r.Topics = []string{topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		return r
	case 69:
		r := kmsg.NewPtrConsumerGroupDescribeRequest()
		r.Groups = []string{"g68", "unknown"}
		return r
	case 15:
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{"g"}
		return r
	case 19:
		r := kmsg.NewPtrCreateTopicsRequest()
		r.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "made", NumPartitions: 1, ReplicationFactor: 1}}
		return r
	case 20:
		r := kmsg.NewPtrDeleteTopicsRequest()
		name := "made"
		r.TopicNames = []string{name}
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
		return r
	case 21:
		r := kmsg.NewPtrDeleteRecordsRequest()
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 0}, {Partition: 9}}}}
		return r
	case 35:
		r := kmsg.NewPtrDescribeLogDirsRequest()
		r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: topic, Partitions: []int32{0, 9}}}
		return r
	case 61:
		r := kmsg.NewPtrDescribeProducersRequest()
		r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: []int32{0, 9}}}
		return r
	case 23:
		r := kmsg.NewPtrOffsetForLeaderEpochRequest()
		part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{part}}}
		return r
	case 32:
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.IncludeSynonyms, r.IncludeDocumentation = true, true
		r.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic}, {ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "7"},
		}
		return r
	case 33:
		r := kmsg.NewPtrAlterConfigsRequest()
		value := "1000"
		r.Resources = []kmsg.AlterConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic, Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}}},
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "missing"},
		}
		return r
	case 43:
		r := kmsg.NewPtrElectLeadersRequest()
		r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: []int32{0, 9}}, {Topic: "missing", Partitions: []int32{0}}}
		return r
	case 45:
		r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
			{Partition: 0, Replicas: []int32{7}}, {Partition: 1, Replicas: []int32{8}}, {Partition: 1}, {Partition: 9},
		}}}
		return r
	case 46:
		r := kmsg.NewPtrListPartitionReassignmentsRequest()
		r.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: topic, Partitions: []int32{0}}}
		return r
	case 55:
		r := kmsg.NewPtrDescribeQuorumRequest()
		r.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}, {Partition: 1}}}}
		return r
	case 57:
		r := kmsg.NewPtrUpdateFeaturesRequest()
		r.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "group.version", MaxVersionLevel: 1}, {Feature: "no.such.feature", MaxVersionLevel: 1}}
		return r
	case 74:
		r := kmsg.NewPtrListConfigResourcesRequest()
		r.ResourceTypes = []int8{2, 4}
		return r
	case 75:
		r := kmsg.NewPtrDescribeTopicPartitionsRequest()
		r.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "missing"}, {Topic: topic}}
		r.ResponsePartitionLimit = 1
		return r
	case 37:
		r := kmsg.NewPtrCreatePartitionsRequest()
		r.ValidateOnly = true
		r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: topic, Count: 9}}
		return r
	case 42:
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = []string{"nobody"}
		return r
	case 47:
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = "g"
		r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 9}}}}
		return r
	case 44:
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic}}
		return r
	case 17:
		r := kmsg.NewPtrSASLHandshakeRequest()
		r.Mechanism = "SCRAM-SHA-512"
		return r
	case 29:
		r := kmsg.NewPtrDescribeACLsRequest()
		r.ResourceType, r.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
		r.Operation, r.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		return r
	case 38:
		r := kmsg.NewPtrCreateDelegationTokenRequest()
		r.MaxLifetimeMillis = 1000
		return r
	case 39:
		r := kmsg.NewPtrRenewDelegationTokenRequest()
		r.HMAC, r.RenewTimeMillis = []byte("hmac"), 1000
		return r
	case 40:
		r := kmsg.NewPtrExpireDelegationTokenRequest()
		r.HMAC, r.ExpiryPeriodMillis = []byte("hmac"), -1
		return r
	case 41:
		r := kmsg.NewPtrDescribeDelegationTokenRequest()
		r.Owners = []kmsg.DescribeDelegationTokenRequestOwner{{PrincipalType: "User", PrincipalName: "alice"}}
		return r
	case 30:
		r := kmsg.NewPtrCreateACLsRequest()
		r.Creations = []kmsg.CreateACLsRequestCreation{kmsg.NewCreateACLsRequestCreation()}
		return r
	case 31:
		r := kmsg.NewPtrDeleteACLsRequest()
		r.Filters = []kmsg.DeleteACLsRequestFilter{kmsg.NewDeleteACLsRequestFilter()}
		return r
	case 34:
		r := kmsg.NewPtrAlterReplicaLogDirsRequest()
		r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/d", Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{
			{Topic: topic, Partitions: []int32{0, 9}}, {Topic: "missing", Partitions: []int32{0}},
		}}}
		return r
	case 36:
		r := kmsg.NewPtrSASLAuthenticateRequest()
		r.SASLAuthBytes = []byte("n,,")
		return r
	case 48:
		r := kmsg.NewPtrDescribeClientQuotasRequest()
		name := "c"
		r.Components = []kmsg.DescribeClientQuotasRequestComponent{
			{EntityType: "client-id", MatchType: kmsg.QuotasMatchTypeExact, Match: &name}, {EntityType: "user", MatchType: kmsg.QuotasMatchTypeAny},
		}
		return r
	case 49:
		r := kmsg.NewPtrAlterClientQuotasRequest()
		r.ValidateOnly = true // others of the test would be held to it
		name := "c"
		r.Entries = []kmsg.AlterClientQuotasRequestEntry{{
			Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: &name}, {Type: "user"}},
			Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1}, {Key: "consumer_byte_rate", Remove: true}},
		}}
		return r
	case 50:
		r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		r.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "alice"}}
		return r
	case 51:
		r := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		r.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "alice", Mechanism: 1}}
		r.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: "alice", Mechanism: 2, Iterations: 4096}}
		return r
	case 65:
		r := kmsg.NewPtrDescribeTransactionsRequest()
		r.TransactionalIDs = []string{"tx"}
		return r
	case 66:
		r := kmsg.NewPtrListTransactionsRequest()
		r.StateFilters = []string{"Ongoing", "ongoing"}
		return r
	case 71:
		return kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	case 72:
		r := kmsg.NewPtrPushTelemetryRequest()
		r.ClientInstanceID, r.Metrics = id, []byte("otlp")
		return r
	case 18:
		r := kmsg.NewPtrApiVersionsRequest()
		r.ClientSoftwareName, r.ClientSoftwareVersion = "test", "1"
		return r
	case 11:
		r := kmsg.NewPtrJoinGroupRequest()
		r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = "g", 500, 500, "consumer"
		r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
		return r
	case 12:
		r := kmsg.NewPtrHeartbeatRequest()
		r.Group, r.MemberID, r.Generation = "g", "nobody", 1
		return r
	case 14:
		r := kmsg.NewPtrSyncGroupRequest()
		kind, protocol := "consumer", "range"
		r.Group, r.MemberID, r.Generation, r.ProtocolType, r.Protocol = "g", "nobody", 1, &kind, &protocol
		r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: "nobody", MemberAssignment: []byte("a")}}
		return r
	case 16:
		r := kmsg.NewPtrListGroupsRequest()
		r.StatesFilter, r.TypesFilter = []string{"Empty"}, []string{"classic"}
		return r
	case 22:
		r := kmsg.NewPtrInitProducerIDRequest()
		r.TransactionTimeoutMillis = 60_000
		return r
	case 60:
		r := kmsg.NewPtrDescribeClusterRequest()
		r.IncludeClusterAuthorizedOperations = true
		return r
	}
	return nil // conformance_test.go names the API that has none
}

// Every advertised version of every API is answered, and what is answered reads
// as that version and nothing is left over (raw.receive checks that).
func TestEveryAdvertisedVersionAnswersInItsOwnLayout(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 2, nil)
	for key, versions := range advertised {
		for version := versions[0]; version <= versions[1]; version++ {
			c := s.raw(t)
			req := sampleOf(t, key, version, made.ID)
			resp := c.ask(req)
			checkSample(t, version, resp)
		}
	}
}

// checkSample looks into the answers that are worth it.
func checkSample(t *testing.T, version int16, resp kmsg.Response) {
	switch resp := resp.(type) {
	case *kmsg.ProduceResponse:
		parts := resp.Topics[0].Partitions
		if version < 3 {
			require.Equal(t, kerr.UnsupportedVersion.Code, parts[0].ErrorCode)
			return
		}
		require.Zero(t, parts[0].ErrorCode, "produce version %d", version)
		require.Equal(t, int64(-1), parts[0].LogAppendTime, "CreateTime has no log append time")
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, parts[1].ErrorCode)
		require.Equal(t, int64(-1), parts[1].BaseOffset)
	case *kmsg.FetchResponse:
		parts := resp.Topics[0].Partitions
		require.Zero(t, parts[0].ErrorCode, "fetch version %d", version)
		require.NotNil(t, parts[0].RecordBatches, "no records are empty, never null")
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, parts[1].ErrorCode)
		require.Zero(t, resp.SessionID)
	case *kmsg.MetadataResponse:
		require.Zero(t, resp.Topics[0].ErrorCode)
		require.Len(t, resp.Topics[0].Partitions, 2)
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[1].ErrorCode)
	case *kmsg.CreateTopicsResponse:
		if version >= 5 && resp.Topics[0].ErrorCode == 0 {
			require.NotEmpty(t, resp.Topics[0].Configs)
			for _, c := range resp.Topics[0].Configs {
				require.Positive(t, c.Source, "Java refuses a source of -1")
			}
		}
	}
}

func TestUnknownKeysAndVersionsCloseTheConnection(t *testing.T) {
	s := serve(t, api.Config{})
	for _, frame := range [][]byte{
		{0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, // no such key
		{0, 0, 0, 10, 0, 7, 0, 0, 0, 0, 0, 1, 0xff, 0xff},  // ControlledShutdown: between brokers
		{0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff}, // no such version of Metadata
		{0, 0, 0, 10, 0, 1, 0, 3, 0, 0, 0, 1, 0xff, 0xff},  // Fetch of message sets
		{0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 1, 0, 9, 'x', 'y'},
		{0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}, // an array of 2 G topics
	} {
		c := s.raw(t)
		_, err := c.conn.Write(frame)
		require.NoError(t, err)
		c.closed()
	}
}

var update = flag.Bool("update", false, "write docs/protocol.md anew")

func TestProtocolPageIsCurrent(t *testing.T) {
	const page = "../../docs/protocol.md"
	want := api.ProtocolPage()
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
	}
	got, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "go test ./broker/api -run ProtocolPage -update")
}
