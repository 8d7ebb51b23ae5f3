package api_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// These are the things that Kafka clones get wrong, each with the client that
// noticed in its name or comment where there is one.

func produce(version int16, acks int16, topic string, batches ...[]byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = version, acks, 5000
	t := kmsg.ProduceRequestTopic{Topic: topic}
	for i, b := range batches {
		t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(i), Records: b})
	}
	r.Topics = []kmsg.ProduceRequestTopic{t}
	return r
}

func produced(t *testing.T, resp kmsg.Response) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	return resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
}

func fetch(version int16, topic string, offset int64, wait time.Duration) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.MaxWaitMillis, r.MinBytes, r.MaxBytes = version, int32(wait.Milliseconds()), 1, 1<<20
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = offset, 1<<20
	r.Topics = []kmsg.FetchRequestTopic{{Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	return r
}

func TestProduceStoresTheClientsBytesWithOffsetAndEpochPatched(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	sent := oneBatch("a", "b")
	for i := range 3 {
		require.Equal(t, int64(2*i), produced(t, c.ask(produce(9, 1, "t", sent))).BaseOffset)
	}
	resp := c.ask(fetch(12, "t", 0, 0)).(*kmsg.FetchResponse)
	got := resp.Topics[0].Partitions[0].RecordBatches
	require.Len(t, got, 3*len(sent))
	for i := range 3 {
		stored := bytes.Clone(got[i*len(sent) : (i+1)*len(sent)])
		require.Equal(t, uint64(2*i), binary.BigEndian.Uint64(stored))
		batch.PatchOffset(stored, 0, -1)
		want := bytes.Clone(sent)
		batch.PatchOffset(want, 0, -1)
		require.Equal(t, want, stored)
	}
}

func TestPipelinedProducesAreStartedInOrderBeforeTheFirstIsDurable(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 4, nil)
	s.mu.Lock()
	s.gate = make(chan struct{}) // no batch is durable until it closes
	s.mu.Unlock()
	c := s.raw(t)
	var requests []*kmsg.ProduceRequest
	for i := range 4 {
		req := produce(9, -1, "t", oneBatch("v"))
		req.Topics[0].Partitions[0].Partition = int32(i)
		requests = append(requests, req)
		c.send(req)
	}
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.appends) == 4
	}, 5*time.Second, time.Millisecond, "all four must be appended while the first waits")
	s.mu.Lock()
	for i, p := range s.appends {
		require.Equal(t, topic.Partition{Topic: made.ID, Index: int32(i)}, p)
	}
	close(s.gate)
	s.mu.Unlock()
	for i, req := range requests {
		require.Zero(t, produced(t, c.receive(req, int32(i+1))).ErrorCode)
	}
}

func TestProduceWaitsNoLongerThanItsTimeout(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	s.mu.Lock()
	s.gate = make(chan struct{})
	s.mu.Unlock()
	req := produce(9, -1, "t", oneBatch("v"))
	req.TimeoutMillis = 1
	require.Equal(t, kerr.RequestTimedOut.Code, produced(t, s.raw(t).ask(req)).ErrorCode)
}

func TestAcksZeroHasNoAnswer(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	c.send(produce(9, 0, "t", oneBatch("v")))
	// The next answer is that of the next request.
	resp := c.ask(fetch(12, "t", 0, time.Second)).(*kmsg.FetchResponse)
	require.Equal(t, int64(1), resp.Topics[0].Partitions[0].HighWatermark)
}

func TestAcksZeroClosesTheConnectionOnAnError(t *testing.T) { // sarama waits for that
	s := serve(t, api.Config{})
	c := s.raw(t)
	c.send(produce(9, 0, "missing", oneBatch("v")))
	c.closed()
}

func TestProduceRefusesAcksThatDoNotExist(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	require.Equal(t, kerr.InvalidRequiredAcks.Code, produced(t, s.raw(t).ask(produce(9, 2, "t", oneBatch("v")))).ErrorCode)
}

func TestProduceRefusesABadBatchAndTakesItsNeighbour(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 2, nil)
	bad := oneBatch("v")
	bad[len(bad)-1] ^= 1
	for name, broken := range map[string][]byte{"flipped bit": bad, "two batches": append(oneBatch("a"), oneBatch("b")...), "half": oneBatch("v")[:30]} {
		resp := s.raw(t).ask(produce(9, -1, "t", broken, oneBatch("fine"))).(*kmsg.ProduceResponse)
		require.Equal(t, kerr.CorruptMessage.Code, resp.Topics[0].Partitions[0].ErrorCode, name)
		require.Zero(t, resp.Topics[0].Partitions[1].ErrorCode, name)
	}
}

func TestProduceNamesTheBadRecord(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, map[string]string{"cleanup.policy": "compact"})
	part := produced(t, s.raw(t).ask(produce(9, -1, "t", oneBatch("no key"))))
	require.Equal(t, kerr.InvalidRecord.Code, part.ErrorCode)
	require.Len(t, part.ErrorRecords, 1)
	require.Zero(t, part.ErrorRecords[0].RelativeOffset)
	require.NotNil(t, part.ErrorMessage)
}

func TestProduceOverTheLimitIsRefusedWithoutClosing(t *testing.T) { // Java splits the batch and retries
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, map[string]string{"max.message.bytes": "1000"})
	c := s.raw(t)
	require.Equal(t, kerr.MessageTooLarge.Code, produced(t, c.ask(produce(9, -1, "t", oneBatch(strings.Repeat("x", 2000))))).ErrorCode)
	require.Zero(t, produced(t, c.ask(produce(9, -1, "t", oneBatch("x")))).ErrorCode)
}

func TestLogAppendTimeIsToldAndFollowsALiveChange(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 1, nil)
	c := s.raw(t)
	require.Equal(t, int64(-1), produced(t, c.ask(produce(9, -1, "t", oneBatch("x")))).LogAppendTime)
	require.NoError(t, s.UpdateTopic(context.Background(), made.ID, func(t *metastore.Topic) error {
		t.Config = map[string]string{"message.timestamp.type": "LogAppendTime"}
		return nil
	}))
	before := time.Now().UnixMilli()
	require.GreaterOrEqual(t, produced(t, c.ask(produce(9, -1, "t", oneBatch("x")))).LogAppendTime, before)
}

func TestAnIdempotentDuplicateGetsTheFirstAnswer(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	ask := func(b []byte) kmsg.ProduceResponseTopicPartition { return produced(t, c.ask(produce(9, -1, "t", b))) }
	require.Equal(t, int64(0), ask(idempotentBatch(5, 1, 0, "a", "b")).BaseOffset)
	require.Equal(t, int64(2), ask(idempotentBatch(5, 1, 2, "c")).BaseOffset)
	again := ask(idempotentBatch(5, 1, 0, "a", "b"))
	require.Zero(t, again.ErrorCode)
	require.Equal(t, int64(0), again.BaseOffset)
	require.Equal(t, kerr.OutOfOrderSequenceNumber.Code, ask(idempotentBatch(5, 1, 9, "gap")).ErrorCode)
	require.Equal(t, kerr.InvalidProducerEpoch.Code, ask(idempotentBatch(5, 0, 0, "old")).ErrorCode)
}

func TestTheWrongLeaderNamesTheRightOne(t *testing.T) { // KIP-951
	s := serve(t, api.Config{})
	s.brokers = append(s.brokers, metastore.Broker{ID: 9, Rack: "r", Listeners: []metastore.Listener{{Name: "PLAINTEXT", Host: "other", Port: 1}}})
	made := s.topic(t, "t", 1, nil)
	s.mu.Lock()
	s.lost[topic.Partition{Topic: made.ID}] = true
	s.mu.Unlock()
	c := s.raw(t)

	p := c.ask(produce(10, -1, "t", oneBatch("v"))).(*kmsg.ProduceResponse)
	require.Equal(t, kerr.NotLeaderForPartition.Code, p.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, int32(9), p.Topics[0].Partitions[0].CurrentLeader.LeaderID)
	require.Equal(t, int32(1), p.Topics[0].Partitions[0].CurrentLeader.LeaderEpoch)
	require.Len(t, p.Brokers, 1)
	require.Equal(t, "other", p.Brokers[0].Host)

	req := fetch(16, "t", 0, time.Minute) // the error answers at once, whatever the wait
	req.Topics[0].TopicID = made.ID
	f := c.ask(req).(*kmsg.FetchResponse)
	require.Equal(t, kerr.NotLeaderForPartition.Code, f.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, int32(9), f.Topics[0].Partitions[0].CurrentLeader.LeaderID)
	require.Len(t, f.Brokers, 1)
	require.Equal(t, "r", *f.Brokers[0].Rack)
}

func TestFetchWakesOnAnyOfItsPartitions(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 3, nil)
	consumer, producer := s.raw(t), s.raw(t)
	req := fetch(12, "t", 0, 20*time.Second)
	for _, i := range []int32{1, 2} {
		part := req.Topics[0].Partitions[0]
		part.Partition = i
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, part)
	}
	begun := time.Now()
	correlation := consumer.send(req)
	late := produce(9, -1, "t", oneBatch("v"))
	late.Topics[0].Partitions[0].Partition = 2
	require.Zero(t, produced(t, producer.ask(late)).ErrorCode)
	resp := consumer.receive(req, correlation).(*kmsg.FetchResponse)
	require.NotEmpty(t, resp.Topics[0].Partitions[2].RecordBatches)
	require.Less(t, time.Since(begun), 10*time.Second, "an idle partition held back a busy one")
}

func TestFetchReturnsTheFirstBatchWhateverItsSize(t *testing.T) { // KIP-74
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	big := oneBatch(strings.Repeat("x", 10_000))
	c.ask(produce(9, -1, "t", big))
	c.ask(produce(9, -1, "t", big))
	req := fetch(12, "t", 0, 0)
	req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 1, 1
	resp := c.ask(req).(*kmsg.FetchResponse)
	require.Len(t, resp.Topics[0].Partitions[0].RecordBatches, len(big))
}

func TestFetchOutsideTheLogIsAnsweredAtOnceWithItsBounds(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	c.ask(produce(9, -1, "t", oneBatch("a", "b")))
	resp := c.ask(fetch(12, "t", 99, time.Minute)).(*kmsg.FetchResponse)
	require.Equal(t, kerr.OffsetOutOfRange.Code, resp.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, int64(2), resp.Topics[0].Partitions[0].HighWatermark)
}

func TestFetchOfAnIdThatIsGoneIsUnknownTopicID(t *testing.T) {
	s := serve(t, api.Config{})
	old := s.topic(t, "t", 1, nil)
	require.NoError(t, s.DeleteTopic(context.Background(), old.ID))
	s.topic(t, "t", 1, nil) // the name is back, under another id
	req := fetch(13, "", 0, time.Minute)
	req.Topics[0].TopicID = old.ID
	resp := s.raw(t).ask(req).(*kmsg.FetchResponse)
	require.Equal(t, kerr.UnknownTopicID.Code, resp.Topics[0].Partitions[0].ErrorCode)
}

func TestFetchChecksTheLeaderEpoch(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	req := fetch(12, "t", 0, time.Minute)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = 5
	resp := s.raw(t).ask(req).(*kmsg.FetchResponse)
	require.Equal(t, kerr.UnknownLeaderEpoch.Code, resp.Topics[0].Partitions[0].ErrorCode)
}

func TestFetchReportsADivergingEpoch(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	c.ask(produce(9, -1, "t", oneBatch("a")))
	req := fetch(12, "t", 5, time.Minute)
	req.Topics[0].Partitions[0].LastFetchedEpoch = 0
	resp := c.ask(req).(*kmsg.FetchResponse)
	require.Equal(t, int32(0), resp.Topics[0].Partitions[0].DivergingEpoch.Epoch)
	require.Equal(t, int64(1), resp.Topics[0].Partitions[0].DivergingEpoch.EndOffset)
	require.Empty(t, resp.Topics[0].Partitions[0].RecordBatches)
}

func TestFetchOfAnUnknownSessionIsToldSo(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	req := fetch(12, "t", 0, time.Minute)
	req.SessionID, req.SessionEpoch = 77, 3
	resp := s.raw(t).ask(req).(*kmsg.FetchResponse)
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, resp.ErrorCode)
}

func TestAbortedTransactionsAreNullOnlyWhenNotAskedFor(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	for isolation, null := range map[int8]bool{0: true, 1: false} {
		req := fetch(12, "t", 0, 0)
		req.IsolationLevel = isolation
		resp := s.raw(t).ask(req).(*kmsg.FetchResponse)
		require.Equal(t, null, resp.Topics[0].Partitions[0].AbortedTransactions == nil, "isolation level %d", isolation)
	}
}

func TestMetadataTellsAllFromNone(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "a", 1, nil)
	s.topic(t, "b", 1, nil)
	c := s.raw(t)
	for _, row := range []struct {
		version int16
		topics  []kmsg.MetadataRequestTopic
		want    int
	}{
		{0, []kmsg.MetadataRequestTopic{}, 2}, {1, nil, 2}, {1, []kmsg.MetadataRequestTopic{}, 0}, {12, nil, 2}, {12, []kmsg.MetadataRequestTopic{}, 0},
	} {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics = row.version, row.topics
		require.Len(t, c.ask(req).(*kmsg.MetadataResponse).Topics, row.want, "version %d, null %v", row.version, row.topics == nil)
	}
}

func TestMetadataCreatesOnlyWhenBothSidesAllowIt(t *testing.T) {
	for _, row := range []struct{ broker, client, want bool }{{true, true, true}, {true, false, false}, {false, true, false}} {
		s := serve(t, api.Config{AutoCreateTopics: row.broker, PartitionsDefault: 3})
		name := "wanted"
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.AllowAutoTopicCreation = 12, row.client
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		resp := s.raw(t).ask(req).(*kmsg.MetadataResponse)
		require.Equal(t, row.want, resp.Topics[0].ErrorCode == 0, "%+v", row)
		if row.want {
			require.Len(t, resp.Topics[0].Partitions, 3, "the first answer must be of use")
		}
	}
}

func TestBadTopicNamesAreRefusedEverywhere(t *testing.T) {
	s := serve(t, api.Config{AutoCreateTopics: true})
	s.topic(t, "my.topic", 1, nil)
	c := s.raw(t)
	for _, name := range []string{"", ".", "..", strings.Repeat("x", 250), "a b", "ü", "my_topic"} {
		meta := kmsg.NewPtrMetadataRequest()
		meta.Version, meta.AllowAutoTopicCreation = 12, true
		meta.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		require.Equal(t, kerr.InvalidTopicException.Code, c.ask(meta).(*kmsg.MetadataResponse).Topics[0].ErrorCode, "metadata %q", name)
		create := kmsg.NewPtrCreateTopicsRequest()
		create.Version = 7
		create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: 1, ReplicationFactor: 1}}
		require.Equal(t, kerr.InvalidTopicException.Code, c.ask(create).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode, "create %q", name)
		if name != "my_topic" { // an unknown topic like any other
			require.Equal(t, kerr.InvalidTopicException.Code, produced(t, c.ask(produce(9, -1, name, oneBatch("v")))).ErrorCode, "produce %q", name)
		}
	}
}

func TestCreateTopicsAnswersATopicNamedTwiceOnce(t *testing.T) {
	s := serve(t, api.Config{})
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	one := kmsg.CreateTopicsRequestTopic{Topic: "t", NumPartitions: 1, ReplicationFactor: 1}
	req.Topics = []kmsg.CreateTopicsRequestTopic{one, one}
	resp := s.raw(t).ask(req).(*kmsg.CreateTopicsResponse)
	require.Len(t, resp.Topics, 1)
	require.Equal(t, kerr.InvalidRequest.Code, resp.Topics[0].ErrorCode)
	_, ok := s.Topic("t")
	require.False(t, ok)
}

func TestOffsetFetchOfWhatWasNeverCommittedIsMinusOneWithoutAnError(t *testing.T) { // librdkafka, sarama, Java
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	for version := int16(1); version <= 9; version++ {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.Group = version, "nobody"
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}, {Topic: "missing", Partitions: []int32{4}}}
		group := kmsg.NewOffsetFetchRequestGroup()
		group.Group = "nobody"
		group.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}, {Topic: "missing", Partitions: []int32{4}}}
		req.Groups = []kmsg.OffsetFetchRequestGroup{group}
		resp := s.raw(t).ask(req).(*kmsg.OffsetFetchResponse)
		require.Zero(t, resp.ErrorCode)
		if version >= 8 {
			require.Zero(t, resp.Groups[0].ErrorCode)
			for _, topic := range resp.Groups[0].Topics {
				require.Equal(t, int64(-1), topic.Partitions[0].Offset)
				require.Zero(t, topic.Partitions[0].ErrorCode)
			}
			continue
		}
		for _, topic := range resp.Topics {
			require.Equal(t, int64(-1), topic.Partitions[0].Offset)
			require.Equal(t, "", *topic.Partitions[0].Metadata)
			require.Zero(t, topic.Partitions[0].ErrorCode)
		}
	}
}

func TestOffsetCommitRefusesOnlyTheBadPartition(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 2, nil)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 8, "g", -1
	part := func(index int32, metadata string) kmsg.OffsetCommitRequestTopicPartition {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata, p.LeaderEpoch = index, 11, &metadata, 0
		return p
	}
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{
		part(0, "mine"), part(1, strings.Repeat("x", 4097)), part(7, ""),
	}}}
	parts := s.raw(t).ask(req).(*kmsg.OffsetCommitResponse).Topics[0].Partitions
	require.Zero(t, parts[0].ErrorCode)
	require.Equal(t, kerr.OffsetMetadataTooLarge.Code, parts[1].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, parts[2].ErrorCode)
	offsets, err := s.groups.Committed(context.Background(), "g")
	require.NoError(t, err)
	require.Len(t, offsets, 1)
}

func TestANewMemberIsToldItsIDFirst(t *testing.T) {
	s := serve(t, api.Config{})
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 5, "g", "consumer", 1000, 1000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
	c := s.raw(t)
	resp := c.ask(join).(*kmsg.JoinGroupResponse)
	require.Equal(t, kerr.MemberIDRequired.Code, resp.ErrorCode)
	require.True(t, strings.HasPrefix(resp.MemberID, "raw-"), resp.MemberID)
	join.MemberID = resp.MemberID
	resp = c.ask(join).(*kmsg.JoinGroupResponse)
	require.Zero(t, resp.ErrorCode)
	require.Equal(t, resp.MemberID, resp.LeaderID)
	require.Equal(t, int32(1), resp.Generation)
	old := kmsg.NewPtrHeartbeatRequest()
	old.Version, old.Group, old.MemberID, old.Generation = 3, "g", resp.MemberID, 0
	require.Equal(t, kerr.IllegalGeneration.Code, c.ask(old).(*kmsg.HeartbeatResponse).ErrorCode)
}

func TestMetadataAndAssignmentsOutliveTheirFrames(t *testing.T) {
	s := serve(t, api.Config{})
	metadata, assignment := bytes.Repeat([]byte("metadata"), 50), bytes.Repeat([]byte("assigned"), 50)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType, join.SessionTimeoutMillis = 2, "g", "consumer", 10_000
	join.RebalanceTimeoutMillis = 10_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata}}
	c := s.raw(t)
	joined := c.ask(join).(*kmsg.JoinGroupResponse)
	require.Equal(t, metadata, joined.Members[0].ProtocolMetadata)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 2, "g", joined.MemberID, joined.Generation
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: assignment}}
	require.Equal(t, assignment, c.ask(sync).(*kmsg.SyncGroupResponse).MemberAssignment)
	for range 20 { // frames of other requests come to lie where those were
		name := strings.Repeat("x", 240)
		meta := kmsg.NewPtrMetadataRequest()
		meta.Version = 1
		meta.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}, {Topic: &name}, {Topic: &name}}
		c.ask(meta)
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{"g"}
	member := c.ask(describe).(*kmsg.DescribeGroupsResponse).Groups[0].Members[0]
	require.Equal(t, metadata, member.ProtocolMetadata)
	require.Equal(t, assignment, member.MemberAssignment)
	require.Equal(t, "raw", member.ClientID)
	require.Equal(t, "/127.0.0.1", member.ClientHost)
}

func TestDescribeGroupsOfAnUnknownGroup(t *testing.T) {
	s := serve(t, api.Config{})
	for version, want := range map[int16]int16{5: 0, 6: kerr.GroupIDNotFound.Code} {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = version, []string{"nobody"}
		resp := s.raw(t).ask(req).(*kmsg.DescribeGroupsResponse)
		require.Equal(t, want, resp.Groups[0].ErrorCode)
		require.Equal(t, "Dead", resp.Groups[0].State)
	}
}

func TestAGroupHasNoCoordinatorWhileNobodyOwnsItsSlot(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	for version := range int16(7) {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorKey, req.CoordinatorKeys = version, "g", []string{"g"}
		for _, owned := range []bool{true, false} {
			s.mu.Lock()
			s.uncoordinated = !owned
			s.mu.Unlock()
			found := c.ask(req).(*kmsg.FindCoordinatorResponse)
			code, node := found.ErrorCode, found.NodeID
			if version >= 4 {
				code, node = found.Coordinators[0].ErrorCode, found.Coordinators[0].NodeID
			}
			if owned {
				require.Zero(t, code)
				require.EqualValues(t, 7, node)
			} else {
				require.Equal(t, kerr.CoordinatorNotAvailable.Code, code)
				require.EqualValues(t, -1, node)
			}
		}
	}
}

func TestInitProducerIDGivesFreshIDsAndRaisesEpochs(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version = 4
	first := c.ask(req).(*kmsg.InitProducerIDResponse)
	second := c.ask(req).(*kmsg.InitProducerIDResponse)
	require.NotEqual(t, first.ProducerID, second.ProducerID)
	req.ProducerID, req.ProducerEpoch = first.ProducerID, 3
	raised := c.ask(req).(*kmsg.InitProducerIDResponse)
	require.Equal(t, first.ProducerID, raised.ProducerID)
	require.Equal(t, int16(4), raised.ProducerEpoch)
	req.ProducerEpoch = 32766
	exhausted := c.ask(req).(*kmsg.InitProducerIDResponse)
	require.NotEqual(t, first.ProducerID, exhausted.ProducerID)
	require.Zero(t, exhausted.ProducerEpoch)
}

func TestUnknownTagsAreSkipped(t *testing.T) {
	s := serve(t, api.Config{})
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	req.UnknownTags.Set(77, []byte("from the future"))
	c := s.raw(t)
	require.Zero(t, c.ask(req).(*kmsg.MetadataResponse).ErrorCode)
	// And in the request header, which kmsg does not write.
	body := req.AppendTo(nil)
	frame := []byte{0, 3, 0, 9, 0, 0, 0, 42, 0xff, 0xff, 1, 5, 3, 'a', 'b', 'c'}
	frame = append(frame, body...)
	_, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	require.NoError(t, err)
	c.receive(req, 42)
}

func TestEveryErrorOfTheCoreHasACode(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	for _, err := range []error{
		core.ErrNotOwner, core.ErrStorage, core.ErrOverBudget, core.ErrTimeout, core.ErrClosed, core.ErrCorruptBatch, core.ErrInvalidRecord,
		core.ErrInvalidTimestamp, core.ErrTooLarge, core.ErrMagic, core.ErrDuplicateSequence, core.ErrOutOfOrderSequence,
		core.ErrInvalidProducerEpoch, core.ErrUnknownProducer, core.ErrTransactional,
	} {
		s.mu.Lock()
		s.fail = fmt.Errorf("wrapped: %w", err)
		s.mu.Unlock()
		part := produced(t, c.ask(produce(9, -1, "t", oneBatch("v"))))
		require.NotZero(t, part.ErrorCode)
		require.NotEqual(t, kerr.UnknownServerError.Code, part.ErrorCode, "%v", err)
	}
	s.mu.Lock()
	s.fail = errors.New("a bug")
	s.mu.Unlock()
	require.Equal(t, kerr.UnknownServerError.Code, produced(t, c.ask(produce(9, -1, "t", oneBatch("v")))).ErrorCode)
}

// The last look is taken when all batches of the request have been waited for.
func TestAnAcknowledgementThatMayNoLongerBeGivenIsNot(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	s.mu.Lock()
	s.confirm = core.ErrNotOwner
	s.mu.Unlock()
	part := produced(t, s.raw(t).ask(produce(9, -1, "t", oneBatch("v"))))
	require.Equal(t, kerr.NotLeaderForPartition.Code, part.ErrorCode)
	require.EqualValues(t, -1, part.BaseOffset)
}

func deleteRecords(topic string, before ...int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = 2, 5000
	parts := make([]kmsg.DeleteRecordsRequestTopicPartition, len(before))
	for i := range parts {
		parts[i] = kmsg.DeleteRecordsRequestTopicPartition{Partition: int32(i), Offset: before[i]}
	}
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: parts}}
	return req
}

func TestDeleteRecordsAnswersEachPartitionByItself(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 4, nil)
	s.topic(t, "kept", 1, map[string]string{"cleanup.policy": "compact"})
	c := s.raw(t)
	for range 3 {
		require.Zero(t, produced(t, c.ask(produce(9, 1, "t", oneBatch("a"), oneBatch("b"), oneBatch("c"), oneBatch("d")))).ErrorCode)
	}
	resp := c.ask(deleteRecords("t", -1, 2, 4, -2, 0)).(*kmsg.DeleteRecordsResponse)
	want := []kmsg.DeleteRecordsResponseTopicPartition{
		{Partition: 0, LowWatermark: 3}, {Partition: 1, LowWatermark: 2},
		{Partition: 2, LowWatermark: -1, ErrorCode: kerr.OffsetOutOfRange.Code}, {Partition: 3, LowWatermark: -1, ErrorCode: kerr.OffsetOutOfRange.Code},
		{Partition: 4, LowWatermark: -1, ErrorCode: kerr.UnknownTopicOrPartition.Code},
	}
	require.Equal(t, want, resp.Topics[0].Partitions)
	require.Equal(t, kerr.PolicyViolation.Code, c.ask(deleteRecords("kept", -1)).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode)
	part := c.ask(fetch(12, "t", 2, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	require.Equal(t, kerr.OffsetOutOfRange.Code, part.ErrorCode)
	require.Equal(t, int64(3), part.LogStartOffset)
}

func TestDescribeLogDirsTellsTheSizesOfOwnedPartitions(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 3, nil)
	c := s.raw(t)
	raw := oneBatch("v")
	require.Zero(t, produced(t, c.ask(produce(9, 1, "t", raw, raw))).ErrorCode)
	s.mu.Lock()
	s.brokers = append(s.brokers, metastore.Broker{ID: 9})
	s.lost[topic.Partition{Topic: made.ID, Index: 1}] = true
	s.mu.Unlock()
	for _, topics := range [][]kmsg.DescribeLogDirsRequestTopic{nil, {{Topic: "t", Partitions: []int32{0, 1, 2, 3}}, {Topic: "nothing"}}} {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Version, req.Topics = 4, topics
		resp := c.ask(req).(*kmsg.DescribeLogDirsResponse)
		require.Len(t, resp.Dirs, 1)
		dir := resp.Dirs[0]
		require.Zero(t, dir.ErrorCode)
		require.Equal(t, []any{"/var/lib/memory", int64(1000), int64(400)}, []any{dir.Dir, dir.TotalBytes, dir.UsableBytes})
		require.Equal(t, []kmsg.DescribeLogDirsResponseDirTopic{{Topic: "t", Partitions: []kmsg.DescribeLogDirsResponseDirTopicPartition{
			{Partition: 0, Size: int64(len(raw))}, {Partition: 2},
		}}}, dir.Topics)
	}
}

func TestDescribeProducersShowsTheLastSequence(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	require.Zero(t, produced(t, c.ask(produce(9, -1, "t", idempotentBatch(70, 2, 0, "a", "b")))).ErrorCode)
	req := kmsg.NewPtrDescribeProducersRequest()
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}
	parts := c.ask(req).(*kmsg.DescribeProducersResponse).Topics[0].Partitions
	require.Len(t, parts[0].ActiveProducers, 1)
	p := parts[0].ActiveProducers[0]
	require.Equal(t, []any{int64(70), int32(2), int32(1)}, []any{p.ProducerID, p.ProducerEpoch, p.LastSequence})
	require.Equal(t, []any{int32(-1), int64(-1)}, []any{p.CoordinatorEpoch, p.CurrentTxnStartOffset})
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, parts[1].ErrorCode)
}

// The Java client's describeTopics by id.
func TestMetadataFindsATopicByItsIDWhateverItsName(t *testing.T) {
	s := serve(t, api.Config{})
	id := s.topic(t, "t", 2, nil).ID
	c := s.raw(t)
	empty, other := "", "other"
	for _, name := range []*string{nil, &empty, &other} {
		for _, version := range []int16{12, 13} {
			r := kmsg.NewPtrMetadataRequest()
			r.Version, r.Topics = version, []kmsg.MetadataRequestTopic{{TopicID: id, Topic: name}, {TopicID: topic.NewID(), Topic: name}}
			topics := c.ask(r).(*kmsg.MetadataResponse).Topics
			require.Len(t, topics, 2)
			require.Zero(t, topics[0].ErrorCode)
			require.Equal(t, "t", *topics[0].Topic)
			require.Len(t, topics[0].Partitions, 2)
			require.Equal(t, kerr.UnknownTopicID.Code, topics[1].ErrorCode)
			require.Nil(t, topics[1].Topic)
		}
	}
}

func TestZstdIsRefusedBeforeProduce7(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 2, nil)
	c := s.raw(t)
	var b batch.Builder
	b.Reset(batch.Options{Codec: batch.Zstd})
	b.Append(1, nil, []byte("v"))
	packed, err := b.Build(nil)
	require.NoError(t, err)
	for version, want := range map[int16]int16{3: kerr.UnsupportedCompressionType.Code, 6: kerr.UnsupportedCompressionType.Code, 7: 0, 9: 0} {
		resp := c.ask(produce(version, -1, "t", packed, oneBatch("neighbour"))).(*kmsg.ProduceResponse)
		require.Equal(t, want, resp.Topics[0].Partitions[0].ErrorCode, "version %d", version)
		require.Zero(t, resp.Topics[0].Partitions[1].ErrorCode)
	}
}
