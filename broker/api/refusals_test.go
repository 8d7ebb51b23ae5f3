package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/topic"
)

// refusal is a request that is wrong in what it says, not in how, and the code
// by which clients tell what to do about it.
type refusal struct {
	what     string
	from, to int16 // versions; to 0 is all from there
	request  kmsg.Request
	path     string // of the code in the answer
	code     string // Kafka's name
}

const (
	parts0   = ".Topics[0].Partitions[0].ErrorCode"
	parts1   = ".Topics[0].Partitions[1].ErrorCode"
	topics0  = ".Topics[0].ErrorCode"
	results0 = ".Results[0].ErrorCode"
	top      = ".ErrorCode"
)

// with changes a sample.
func with[R kmsg.Request](key int16, name string, id topic.ID, change func(R)) kmsg.Request {
	r := sample(key, name, id).(R)
	change(r)
	return r
}

// refusals are what an API refuses in a cluster of one topic "t" with two
// partitions, whose id is given, and no groups. An API that refuses nothing says
// why, so that none is forgotten.
func refusals(key int16, id topic.ID) (list []refusal, nothing string) {
	missing, other := "missing", topic.ID{9}
	unknown := func(path string) refusal {
		return refusal{"unknown topic", 0, 0, sample(key, missing, other), path, "UNKNOWN_TOPIC_OR_PARTITION"}
	}
	switch key {
	case 0:
		return []refusal{
			{"old versions", 0, 2, sample(0, missing, other), parts0, "UNSUPPORTED_VERSION"},
			{"unknown topic", 3, 12, sample(0, missing, other), parts0, "UNKNOWN_TOPIC_OR_PARTITION"},
			{"unknown topic id", 13, 0, sample(0, missing, other), parts0, "UNKNOWN_TOPIC_ID"},
			{"unknown partition", 3, 0, sample(0, "t", id), parts1, "UNKNOWN_TOPIC_OR_PARTITION"},
			{"acks 2", 3, 0, with(0, "t", id, func(r *kmsg.ProduceRequest) { r.Acks = 2 }), parts0, "INVALID_REQUIRED_ACKS"},
			{"no batch", 3, 0, with(0, "t", id, func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Records = nil }), parts0, "INVALID_RECORD"},
			{"half a batch", 3, 0, with(0, "t", id, func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Records = oneBatch("v")[:40] }), parts0, "CORRUPT_MESSAGE"},
		}, ""
	case 1:
		return []refusal{
			{"unknown topic", 4, 12, sample(1, missing, other), parts0, "UNKNOWN_TOPIC_OR_PARTITION"},
			{"unknown topic id", 13, 0, sample(1, missing, other), parts0, "UNKNOWN_TOPIC_ID"},
			{"unknown partition", 4, 0, sample(1, "t", id), parts1, "UNKNOWN_TOPIC_OR_PARTITION"},
			{"past the end", 4, 0, with(1, "t", id, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = 5 }), parts0, "OFFSET_OUT_OF_RANGE"},
			{"an epoch of the future", 9, 0, with(1, "t", id, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 99 }), parts0, "UNKNOWN_LEADER_EPOCH"},
			{"unknown session", 7, 0, with(1, "t", id, func(r *kmsg.FetchRequest) { r.SessionID, r.SessionEpoch = 77, 3 }), top, "FETCH_SESSION_ID_NOT_FOUND"},
		}, ""
	case 2:
		return []refusal{
			unknown(parts0),
			{"unknown partition", 0, 0, with(2, "t", id, func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].Partition = 9 }), parts0, "UNKNOWN_TOPIC_OR_PARTITION"},
			{"an epoch of the future", 4, 0, with(2, "t", id, func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 99 }), parts0, "UNKNOWN_LEADER_EPOCH"},
		}, ""
	case 3:
		bad := "a/b"
		return []refusal{
			unknown(topics0),
			{"a name that cannot be", 0, 0, with(3, "t", id, func(r *kmsg.MetadataRequest) { r.Topics[0].Topic = &bad }), topics0, "INVALID_TOPIC_EXCEPTION"},
			{"unknown topic id", 12, 0, with(3, "t", id, func(r *kmsg.MetadataRequest) { r.Topics[0].Topic, r.Topics[0].TopicID = nil, other }), topics0, "UNKNOWN_TOPIC_ID"},
		}, ""
	case 8:
		long := string(make([]byte, 5000))
		member := with(8, "t", id, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "nobody", 3 })
		return []refusal{
			{"unknown topic", 2, 9, sample(8, missing, other), parts0, "UNKNOWN_TOPIC_OR_PARTITION"},
			{"unknown topic id", 10, 0, sample(8, missing, other), parts0, "UNKNOWN_TOPIC_ID"},
			{"unknown partition", 2, 0, with(8, "t", id, func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Partition = 9 }), parts0, "UNKNOWN_TOPIC_OR_PARTITION"},
			{"much metadata", 2, 0, with(8, "t", id, func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Metadata = &long }), parts0, "OFFSET_METADATA_TOO_LARGE"},
			{"a member of no group", 2, 8, member, parts0, "ILLEGAL_GENERATION"},
			{"a member of no group", 9, 0, member, parts0, "GROUP_ID_NOT_FOUND"},
		}, ""
	case 9:
		name := "nobody"
		return []refusal{
			{"unknown topic id", 10, 0, sample(9, missing, other), ".Groups[0].Topics[0].Partitions[0].ErrorCode", "UNKNOWN_TOPIC_ID"},
			{"a member of no group is nobody's error", 9, 0, with(9, "t", id, func(r *kmsg.OffsetFetchRequest) { r.Groups[0].MemberID, r.Groups[0].MemberEpoch = &name, 3 }), ".Groups[0].ErrorCode", "NONE"},
		}, ""
	case 10:
		odd := func(r *kmsg.FindCoordinatorRequest) { r.CoordinatorType = 9 }
		return []refusal{
			{"a type that is none", 1, 3, with(10, "t", id, odd), top, "INVALID_REQUEST"},
			{"a type that is none", 4, 0, with(10, "t", id, odd), ".Coordinators[0].ErrorCode", "INVALID_REQUEST"},
		}, ""
	case 11:
		join := func(change func(*kmsg.JoinGroupRequest)) kmsg.Request { return with(11, "t", id, change) }
		return []refusal{
			{"no group id", 0, 0, join(func(r *kmsg.JoinGroupRequest) { r.Group = "" }), top, "INVALID_GROUP_ID"},
			{"session timeout of a millisecond", 0, 0, join(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 }), top, "INVALID_SESSION_TIMEOUT"},
			{"no protocol", 0, 0, join(func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }), top, "INCONSISTENT_GROUP_PROTOCOL"},
			{"unknown member", 0, 0, join(func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" }), top, "UNKNOWN_MEMBER_ID"},
			{"no member id yet", 4, 0, join(func(*kmsg.JoinGroupRequest) {}), top, "MEMBER_ID_REQUIRED"},
		}, ""
	case 12:
		return []refusal{
			{"unknown member", 0, 0, sample(12, "t", id), top, "UNKNOWN_MEMBER_ID"},
			{"no group id", 0, 0, with(12, "t", id, func(r *kmsg.HeartbeatRequest) { r.Group = "" }), top, "INVALID_GROUP_ID"},
		}, ""
	case 13:
		return []refusal{
			{"unknown member", 0, 2, sample(13, "t", id), top, "UNKNOWN_MEMBER_ID"},
			{"unknown member", 3, 0, sample(13, "t", id), ".Members[0].ErrorCode", "UNKNOWN_MEMBER_ID"},
			{"no group id", 0, 0, with(13, "t", id, func(r *kmsg.LeaveGroupRequest) { r.Group = "" }), top, "INVALID_GROUP_ID"},
		}, ""
	case 14:
		return []refusal{
			{"unknown member", 0, 0, sample(14, "t", id), top, "UNKNOWN_MEMBER_ID"},
			{"no group id", 0, 0, with(14, "t", id, func(r *kmsg.SyncGroupRequest) { r.Group = "" }), top, "INVALID_GROUP_ID"},
		}, ""
	case 15:
		return []refusal{
			{"unknown group", 0, 5, sample(15, "t", id), ".Groups[0].ErrorCode", "NONE"}, // it is Dead, see TestDescribeGroupsOfAnUnknownGroup
			{"unknown group", 6, 0, sample(15, "t", id), ".Groups[0].ErrorCode", "GROUP_ID_NOT_FOUND"},
		}, ""
	case 16:
		return nil, "a state or type that no group has is one that no group has"
	case 17, 36:
		return []refusal{{"on a listener without SASL", 0, 0, sample(key, "t", id), top, "ILLEGAL_SASL_STATE"}}, ""
	case 18:
		return []refusal{{"software with a space", 3, 0, with(18, "t", id, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = "a b" }), top, "INVALID_REQUEST"}}, ""
	case 19:
		create := func(change func(*kmsg.CreateTopicsRequestTopic)) kmsg.Request {
			return with(19, "t", id, func(r *kmsg.CreateTopicsRequest) { change(&r.Topics[0]) })
		}
		value := "1"
		return []refusal{
			{"exists", 2, 0, create(func(c *kmsg.CreateTopicsRequestTopic) { c.Topic = "t" }), topics0, "TOPIC_ALREADY_EXISTS"},
			{"a name that cannot be", 2, 0, create(func(c *kmsg.CreateTopicsRequestTopic) { c.Topic = ".." }), topics0, "INVALID_TOPIC_EXCEPTION"},
			{"no partitions", 2, 0, create(func(c *kmsg.CreateTopicsRequestTopic) { c.NumPartitions = 0 }), topics0, "INVALID_PARTITIONS"},
			{"no replicas", 2, 0, create(func(c *kmsg.CreateTopicsRequestTopic) { c.ReplicationFactor = 0 }), topics0, "INVALID_REPLICATION_FACTOR"},
			{"unknown setting", 2, 0, create(func(c *kmsg.CreateTopicsRequestTopic) {
				c.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "no.such.setting", Value: &value}}
			}), topics0, "INVALID_CONFIG"},
		}, ""
	case 20:
		return []refusal{
			{"unknown topic", 1, 0, sample(20, "t", id), ".Topics[0].ErrorCode", "UNKNOWN_TOPIC_OR_PARTITION"},
			{"unknown topic id", 6, 0, with(20, "t", id, func(r *kmsg.DeleteTopicsRequest) { r.Topics[0].Topic, r.Topics[0].TopicID = nil, other }), topics0, "UNKNOWN_TOPIC_ID"},
		}, ""
	case 21:
		return []refusal{
			unknown(parts0),
			{"past the end", 0, 0, with(21, "t", id, func(r *kmsg.DeleteRecordsRequest) { r.Topics[0].Partitions[0].Offset = 5 }), parts0, "OFFSET_OUT_OF_RANGE"},
		}, ""
	case 22:
		return []refusal{
			{"half a producer", 3, 0, with(22, "t", id, func(r *kmsg.InitProducerIDRequest) { r.ProducerID = 5 }), top, "INVALID_REQUEST"},
		}, ""
	case 23:
		return []refusal{
			unknown(parts0),
			{"an epoch of the future", 2, 0, with(23, "t", id, func(r *kmsg.OffsetForLeaderEpochRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 99 }), parts0, "UNKNOWN_LEADER_EPOCH"},
		}, ""
	case 29:
		return []refusal{{"no authorizer", 0, 0, sample(29, "t", id), top, "SECURITY_DISABLED"}}, ""
	case 50:
		return []refusal{{"no credentials", 0, 0, sample(key, "t", id), results0, "RESOURCE_NOT_FOUND"}}, ""
	case 30, 31, 51:
		return []refusal{{"no authorizer", 0, 0, sample(key, "t", id), results0, "SECURITY_DISABLED"}}, ""
	case 32:
		return []refusal{unknown(".Resources[0].ErrorCode")}, ""
	case 33:
		return []refusal{
			{"unknown topic", 0, 0, sample(33, "t", id), ".Resources[1].ErrorCode", "UNKNOWN_TOPIC_OR_PARTITION"},
			{"unknown setting", 0, 0, with(33, "t", id, func(r *kmsg.AlterConfigsRequest) { r.Resources[0].Configs[0].Name = "no.such.setting" }), ".Resources[0].ErrorCode", "INVALID_CONFIG"},
		}, ""
	case 34:
		return []refusal{
			unknown(parts0),
			{"a directory that is not there", 1, 0, sample(34, "t", id), parts0, "LOG_DIR_NOT_FOUND"},
		}, ""
	case 35:
		return nil, "what is not there takes no room"
	case 37:
		return []refusal{
			unknown(topics0),
			{"fewer than there are", 0, 0, with(37, "t", id, func(r *kmsg.CreatePartitionsRequest) { r.Topics[0].Count = 1 }), topics0, "INVALID_PARTITIONS"},
			{"as many as there are", 0, 0, with(37, "t", id, func(r *kmsg.CreatePartitionsRequest) { r.Topics[0].Count = 2 }), topics0, "INVALID_PARTITIONS"},
		}, ""
	case 38, 39, 40, 41:
		return []refusal{{"no tokens", 0, 0, sample(key, "t", id), top, "DELEGATION_TOKEN_AUTH_DISABLED"}}, ""
	case 42:
		return []refusal{{"unknown group", 0, 0, sample(42, "t", id), ".Groups[0].ErrorCode", "GROUP_ID_NOT_FOUND"}}, ""
	case 43:
		return []refusal{
			{"nothing to elect", 0, 0, sample(43, "t", id), parts0, "ELECTION_NOT_NEEDED"},
			{"unknown partition", 0, 0, sample(43, "t", id), parts1, "UNKNOWN_TOPIC_OR_PARTITION"},
			unknown(parts0),
		}, ""
	case 44:
		return []refusal{
			unknown(".Resources[0].ErrorCode"),
			{"unknown setting", 0, 0, with(44, "t", id, func(r *kmsg.IncrementalAlterConfigsRequest) {
				value := "1"
				r.Resources[0].Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "no.such.setting", Value: &value}}
			}), ".Resources[0].ErrorCode", "INVALID_CONFIG"},
		}, ""
	case 45:
		return []refusal{
			unknown(parts0),
			{"a broker that is not there", 0, 0, sample(45, "t", id), parts1, "INVALID_REPLICA_ASSIGNMENT"},
			{"nothing to cancel", 0, 0, sample(45, "t", id), ".Topics[0].Partitions[2].ErrorCode", "NO_REASSIGNMENT_IN_PROGRESS"},
		}, ""
	case 46:
		return nil, "what is not under way is not listed"
	case 47:
		return []refusal{{"unknown group", 0, 0, sample(47, "t", id), top, "GROUP_ID_NOT_FOUND"}}, ""
	case 48:
		return []refusal{{"an entity of no kind", 0, 0, with(48, "t", id, func(r *kmsg.DescribeClientQuotasRequest) { r.Components[0].EntityType = "colour" }), top, "UNSUPPORTED_VERSION"}}, ""
	case 49:
		return []refusal{
			{"unknown quota", 0, 0, with(49, "t", id, func(r *kmsg.AlterClientQuotasRequest) { r.Entries[0].Ops[0].Key = "no_such_rate" }), ".Entries[0].ErrorCode", "INVALID_REQUEST"},
		}, ""
	case 55:
		return []refusal{{"not the metadata's", 0, 0, sample(55, "t", id), parts1, "UNKNOWN_TOPIC_OR_PARTITION"}}, ""
	case 57:
		return []refusal{
			{"unknown feature", 0, 1, sample(57, "t", id), ".Results[1].ErrorCode", "INVALID_UPDATE_VERSION"},
			{"unknown feature", 2, 0, sample(57, "t", id), top, "INVALID_UPDATE_VERSION"},
		}, ""
	case 60:
		return []refusal{{"controllers", 1, 0, with(60, "t", id, func(r *kmsg.DescribeClusterRequest) { r.EndpointType = 2 }), top, "MISMATCHED_ENDPOINT_TYPE"}}, ""
	case 61:
		return []refusal{unknown(parts0), {"unknown partition", 0, 0, sample(61, "t", id), parts1, "UNKNOWN_TOPIC_OR_PARTITION"}}, ""
	case 65:
		return []refusal{{"unknown transaction", 0, 0, sample(65, "t", id), ".TransactionStates[0].ErrorCode", "TRANSACTIONAL_ID_NOT_FOUND"}}, ""
	case 66:
		return nil, "there are no transactions"
	case 68:
		beat := func(change func(*kmsg.ConsumerGroupHeartbeatRequest)) kmsg.Request { return with(68, "t", id, change) }
		assignor, regex := "no-such-assignor", "["
		return []refusal{
			{"no group id", 0, 0, beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }), top, "INVALID_REQUEST"},
			// Kafka says GROUP_ID_NOT_FOUND, after which Java's consumer ends; a group
			// lives longer there once it is empty. Here its member joins again.
			{"unknown group", 0, 0, beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 3 }), top, "UNKNOWN_MEMBER_ID"},
			{"unknown assignor", 0, 0, beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &assignor }), top, "UNSUPPORTED_ASSIGNOR"},
			{"a pattern that is none", 1, 0, beat(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = &regex }), top, "INVALID_REGULAR_EXPRESSION"},
		}, ""
	case 69:
		return []refusal{{"unknown group", 0, 0, sample(69, "t", id), ".Groups[1].ErrorCode", "GROUP_ID_NOT_FOUND"}}, ""
	case 71:
		return nil, "every client gets an id and nothing to send"
	case 72:
		return []refusal{{"a client without an id", 0, 0, sample(72, "t", topic.ID{}), top, "INVALID_REQUEST"}}, ""
	case 74:
		return []refusal{{"a kind that is none", 1, 0, with(74, "t", id, func(r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{99} }), top, "UNSUPPORTED_VERSION"}}, ""
	case 75:
		return []refusal{
			unknown(topics0),
			{"a name that cannot be", 0, 0, with(75, "a/b", id, func(r *kmsg.DescribeTopicPartitionsRequest) { r.Topics = r.Topics[1:] }), topics0, "INVALID_TOPIC_EXCEPTION"},
		}, ""
	}
	return nil, ""
}

func TestConformanceWhatIsWrongIsRefusedByItsCode(t *testing.T) {
	eachVersion(t, func(t *testing.T, key, version int16) {
		s := serve(t, api.Config{})
		made := s.topic(t, "t", 2, nil)
		list, nothing := refusals(key, made.ID)
		require.True(t, len(list) > 0 || nothing != "", "refusals() does not say what %s refuses", apiName(key))
		for _, r := range list {
			if version < r.from || r.to > 0 && version > r.to {
				continue
			}
			s := serve(t, api.Config{})
			made := s.topic(t, "t", 2, nil)
			// The topic of this server has another id: make the request anew.
			again, _ := refusals(key, made.ID)
			for _, same := range again {
				if same.what == r.what && same.from == r.from {
					r = same
				}
			}
			r.request.SetVersion(version)
			codes := codesOf(s.raw(t).ask(r.request))
			if codes[r.path] != r.code {
				t.Errorf("version %d, %s: %s is %q, want %s; all: %v", version, r.what, r.path, codes[r.path], r.code, codes)
			}
		}
	})
}
