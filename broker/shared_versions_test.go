package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/metastore"
)

// wireClient sends requests in exactly the version that they say.
type wireClient struct {
	t testing.TB
	net.Conn
	r           *bufio.Reader
	correlation int32
}

func newWireClient(t testing.TB, address net.Addr) *wireClient {
	t.Helper()
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &wireClient{t: t, Conn: conn, r: bufio.NewReader(conn)}
}

func (c *wireClient) send(req kmsg.Request) {
	c.t.Helper()
	if err := c.write(req); err != nil {
		c.t.Fatal(err)
	}
}

func (c *wireClient) write(req kmsg.Request) error {
	c.correlation++
	_, err := c.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("wire")).AppendRequest(nil, req, c.correlation))
	return err
}

// try sends a request to a broker that may hang up.
func (c *wireClient) try(req kmsg.Request) (kmsg.Response, error) {
	if err := c.write(req); err != nil {
		return nil, err
	}
	return c.answer(req)
}

func (c *wireClient) receive(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	resp, err := c.answer(req)
	if err != nil {
		c.t.Fatalf("api key %d version %d: %v", req.Key(), req.GetVersion(), err)
	}
	return resp
}

func (c *wireClient) answer(req kmsg.Request) (kmsg.Response, error) {
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() {
		body = body[1:]
	}
	return resp, resp.ReadFrom(body)
}

func (c *wireClient) asks(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	c.send(req)
	return c.receive(req)
}

// errorsIn are the error codes anywhere in an answer.
func errorsIn(v reflect.Value) (codes []int16) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			codes = errorsIn(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			codes = append(codes, errorsIn(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" && v.Field(i).Int() != 0 {
				codes = append(codes, int16(v.Field(i).Int()))
				continue
			}
			codes = append(codes, errorsIn(v.Field(i))...)
		}
	}
	return codes
}

// errorsOf are the errors anywhere in an answer.
func errorsOf(resp kmsg.Response) []int16 { return errorsIn(reflect.ValueOf(resp)) }

// settled asks until nothing is on its way from one broker to another.
func (c *wireClient) settled(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		resp := c.asks(req)
		moving := slices.ContainsFunc(errorsOf(resp), func(code int16) bool {
			return slices.Contains([]*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotLeaderForPartition, kerr.LeaderNotAvailable}, kerr.TypedErrorForCode(code))
		})
		if !moving || time.Now().After(deadline) {
			return resp
		}
	}
}

func (c *wireClient) succeeds(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	resp := c.settled(req)
	for _, code := range errorsOf(resp) {
		c.t.Fatalf("api key %d version %d: %v in %+v", req.Key(), req.GetVersion(), kerr.ErrorForCode(code), resp)
	}
	return resp
}

// versions are those of an API that a broker serves.
func (c *wireClient) versions(key int16) (versions []int16) {
	c.t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(0)
	for _, k := range c.asks(req).(*kmsg.ApiVersionsResponse).ApiKeys {
		if k.ApiKey != key {
			continue
		}
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			versions = append(versions, v)
		}
	}
	return versions
}

func TestWhatOthersOwnIsServedInAllVersions(t *testing.T) {
	c, b := newShared(t, 3)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 9)
	b.to(c.nodes[0])
	entry := newWireClient(t, b.Addr())
	// Filled by a client of the same cluster.
	filler := c.dial(b.Addr())
	at := time.Now()
	for i := range made.Partitions {
		for n := range 3 {
			r := &kgo.Record{Topic: "t", Partition: i, Value: fmt.Append(nil, n), Timestamp: at.Add(time.Duration(n) * time.Second)}
			if err := filler.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("Fetch", func(t *testing.T) { servesFetch(t, entry, made) })
	t.Run("Produce", func(t *testing.T) { servesProduce(t, entry, made) })
	t.Run("ListOffsets", func(t *testing.T) {
		for _, v := range entry.versions(2) {
			req := kmsg.NewPtrListOffsetsRequest()
			req.SetVersion(v)
			topic := kmsg.NewListOffsetsRequestTopic()
			topic.Topic = "t"
			for i := range made.Partitions {
				p := kmsg.NewListOffsetsRequestTopicPartition()
				p.Partition, p.Timestamp, p.CurrentLeaderEpoch = i, at.Add(time.Second).UnixMilli(), -1
				topic.Partitions = append(topic.Partitions, p)
			}
			req.Topics = append(req.Topics, topic)
			resp := entry.succeeds(req).(*kmsg.ListOffsetsResponse)
			for i, p := range resp.Topics[0].Partitions {
				if p.Partition != int32(i) || p.Offset != 1 {
					t.Errorf("version %d: %+v", v, p)
				}
			}
		}
	})
	t.Run("OffsetForLeaderEpoch", func(t *testing.T) {
		for _, v := range entry.versions(23) {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.SetVersion(v)
			topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
			topic.Topic = "t"
			for i := range made.Partitions {
				p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
				p.Partition, p.CurrentLeaderEpoch = i, -1
				topic.Partitions = append(topic.Partitions, p)
			}
			req.Topics = append(req.Topics, topic)
			for i, p := range entry.succeeds(req).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions {
				if p.Partition != int32(i) || p.EndOffset < 3 {
					t.Errorf("version %d: %+v", v, p)
				}
			}
		}
	})
	t.Run("DeleteRecords", func(t *testing.T) {
		for _, v := range entry.versions(21) {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.SetVersion(v)
			req.TimeoutMillis = 10_000
			topic := kmsg.NewDeleteRecordsRequestTopic()
			topic.Topic = "t"
			for i := range made.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: i, Offset: int64(v)})
			}
			req.Topics = append(req.Topics, topic)
			for i, p := range entry.succeeds(req).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions {
				if p.Partition != int32(i) || p.LowWatermark != int64(v) {
					t.Errorf("version %d: %+v", v, p)
				}
			}
		}
	})
	for name := range map[string]bool{"g1": true, "g2": true, "g3": true, "g4": true} {
		t.Run("group "+name, func(t *testing.T) { servesGroup(t, entry, made, name) })
	}
	t.Run("lists", func(t *testing.T) {
		for _, key := range []int16{16, 35} {
			for _, v := range entry.versions(key) {
				req := kmsg.RequestForKey(key)
				req.SetVersion(v)
				if d, ok := req.(*kmsg.DescribeLogDirsRequest); ok {
					d.Topics = nil
				}
				switch resp := entry.succeeds(req).(type) {
				case *kmsg.ListGroupsResponse:
					if len(resp.Groups) != 4 {
						t.Errorf("version %d: %+v", v, resp.Groups)
					}
				case *kmsg.DescribeLogDirsResponse:
					if len(resp.Dirs) != 3 {
						t.Errorf("version %d: %+v", v, resp.Dirs)
					}
				}
			}
		}
	})
}

func servesFetch(t *testing.T, entry *wireClient, made *metastore.Topic) {
	for _, v := range entry.versions(1) {
		req := fetchOf(made, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		req.SetVersion(v)
		got := map[int32]bool{}
		// An answer waits for nobody's records once it has some.
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			resp := entry.succeeds(req).(*kmsg.FetchResponse)
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 9 {
				t.Fatalf("version %d: %+v", v, resp)
			}
			for i, p := range resp.Topics[0].Partitions {
				if p.Partition != int32(i) || p.HighWatermark != 3 || v >= 5 && p.LogStartOffset != 0 {
					t.Fatalf("version %d: %+v", v, p)
				}
				if len(p.RecordBatches) > 0 {
					got[p.Partition] = true
				}
			}
			if len(got) == 9 {
				break
			}
		}
		if len(got) != 9 {
			t.Errorf("version %d: records of %v only", v, got)
		}
	}
}

func servesProduce(t *testing.T, entry *wireClient, made *metastore.Topic) {
	next := int64(3)
	for _, v := range entry.versions(0) {
		if v < 3 {
			continue // refused
		}
		for _, acks := range []int16{-1, 1} {
			req := produceTo(made, acks, func(int32) []byte { return one("p") }, 0, 1, 2, 3, 4, 5, 6, 7, 8)
			req.SetVersion(v)
			for i, p := range entry.succeeds(req).(*kmsg.ProduceResponse).Topics[0].Partitions {
				if p.Partition != int32(i) || p.BaseOffset != next || v >= 5 && p.LogStartOffset != 0 {
					t.Fatalf("version %d: %+v, want offset %d", v, p, next)
				}
			}
			next++
		}
		// What an owner refuses is said as it says it.
		req := produceTo(made, -1, func(int32) []byte {
			b := one("p")
			b[len(b)-1] ^= 1
			return b
		}, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		req.SetVersion(v)
		for _, p := range entry.asks(req).(*kmsg.ProduceResponse).Topics[0].Partitions {
			if p.ErrorCode != kerr.CorruptMessage.Code || p.BaseOffset != -1 || v >= 8 && (p.ErrorMessage == nil || *p.ErrorMessage == "") {
				t.Fatalf("version %d: %+v", v, p)
			}
		}
	}
}

// servesGroup takes a group through its life in all versions.
func servesGroup(t *testing.T, entry *wireClient, made *metastore.Topic, name string) {
	for _, v := range entry.versions(11) {
		join := kmsg.NewPtrJoinGroupRequest()
		join.SetVersion(v)
		join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = name, "consumer", 10_000, 10_000
		join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
		joined := entry.settled(join).(*kmsg.JoinGroupResponse)
		if joined.ErrorCode == kerr.MemberIDRequired.Code {
			join.MemberID = joined.MemberID
			joined = entry.succeeds(join).(*kmsg.JoinGroupResponse)
		}
		if joined.ErrorCode != 0 || joined.LeaderID != joined.MemberID {
			t.Fatalf("version %d: %+v", v, joined)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.SetVersion(min(v, 5))
		sync.Group, sync.MemberID, sync.Generation = name, joined.MemberID, joined.Generation
		sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte("a")}}
		if got := entry.succeeds(sync).(*kmsg.SyncGroupResponse); string(got.MemberAssignment) != "a" {
			t.Fatalf("version %d: %+v", v, got)
		}
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.SetVersion(min(v, 4))
		beat.Group, beat.MemberID, beat.Generation = name, joined.MemberID, joined.Generation
		entry.succeeds(beat)
		for _, w := range entry.versions(15) {
			describe := kmsg.NewPtrDescribeGroupsRequest()
			describe.SetVersion(w)
			describe.Groups = []string{name, name}
			d := entry.succeeds(describe).(*kmsg.DescribeGroupsResponse)
			if len(d.Groups) != 1 || len(d.Groups[0].Members) != 1 || d.Groups[0].Members[0].ClientHost != "/127.0.0.1" || d.Groups[0].Members[0].ClientID != "wire" {
				t.Fatalf("version %d: %+v", w, d)
			}
		}
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.SetVersion(min(v, 5))
		leave.Group, leave.MemberID = name, joined.MemberID
		leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: joined.MemberID}}
		entry.succeeds(leave)
	}
	for _, v := range entry.versions(8) {
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.SetVersion(v)
		commit.Group, commit.Generation = name, -1
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = 0, int64(v)
		commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: made.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{part}}}
		entry.succeeds(commit)
		for _, w := range entry.versions(9) {
			fetch := kmsg.NewPtrOffsetFetchRequest()
			fetch.SetVersion(w)
			fetch.Group, fetch.Topics = name, []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
			group := kmsg.NewOffsetFetchRequestGroup()
			group.Group, group.Topics = name, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: made.ID, Partitions: []int32{0}}}
			fetch.Groups = []kmsg.OffsetFetchRequestGroup{group}
			got := entry.succeeds(fetch).(*kmsg.OffsetFetchResponse)
			offset := int64(-2)
			if w >= 8 {
				offset = got.Groups[0].Topics[0].Partitions[0].Offset
			} else {
				offset = got.Topics[0].Partitions[0].Offset
			}
			if offset != int64(v) {
				t.Fatalf("committed by version %d, fetched by %d: %+v", v, w, got)
			}
		}
	}
	gone := kmsg.NewPtrOffsetDeleteRequest()
	gone.Group, gone.Topics = name, []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	entry.succeeds(gone)
	for _, v := range entry.versions(42) {
		del := kmsg.NewPtrDeleteGroupsRequest()
		del.SetVersion(v)
		del.Groups = []string{name}
		if resp := entry.asks(del).(*kmsg.DeleteGroupsResponse); v == 0 && resp.Groups[0].ErrorCode != 0 {
			t.Fatalf("%+v", resp)
		}
	}
	for _, v := range entry.versions(68) {
		beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		beat.SetVersion(v)
		beat.Group, beat.MemberID, beat.SubscribedTopicNames, beat.RebalanceTimeoutMillis = name, fmt.Sprint("member", v), []string{"t"}, 10_000
		beat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		entry.succeeds(beat)
		for _, w := range entry.versions(69) {
			describe := kmsg.NewPtrConsumerGroupDescribeRequest()
			describe.SetVersion(w)
			describe.Groups = []string{name}
			if d := entry.succeeds(describe).(*kmsg.ConsumerGroupDescribeResponse); len(d.Groups[0].Members) != int(v)+1 || d.Groups[0].Members[0].ClientHost != "/127.0.0.1" {
				t.Fatalf("version %d: %+v", w, d)
			}
		}
	}
}

// produceTo writes what batch makes to partitions of t.
func produceTo(t *metastore.Topic, acks int16, batch func(partition int32) []byte, partitions ...int32) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = t.Name, t.ID
	for _, i := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = i, batch(i)
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}
