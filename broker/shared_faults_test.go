package broker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/proxyprotocol"
	"github.com/chronik-stream/chronik/metastore"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
)

// one is a batch of one record.
func one(value string) []byte {
	return built(batch.None, nil, rec{time.Now().UnixMilli(), value})
}

// road is how the brokers of a cluster reach each other.
type road struct {
	mu   sync.Mutex
	dial func(ctx context.Context, address string) (net.Conn, error)
}

func (r *road) take(dial func(context.Context, string) (net.Conn, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dial = dial
}

func (r *road) connect(ctx context.Context, address string) (net.Conn, error) {
	r.mu.Lock()
	dial := r.dial
	r.mu.Unlock()
	if dial == nil {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	return dial(ctx, address)
}

// newRoad starts n brokers behind a balancer, which reach each other by a road.
func newRoad(t testing.TB, n int, change ...func(*broker.Config)) (*brokers, *balancer, *road) {
	r := &road{}
	c, b := newShared(t, n, append(change, func(c *broker.Config) {
		c.Forward.Dial, c.Forward.DialPause = r.connect, time.Millisecond
	})...)
	return c, b, r
}

func TestPipelinedRecordsKeepTheirOrderAtOtherBrokers(t *testing.T) {
	c, b := newShared(t, 3)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 9)
	b.to(c.nodes[0])
	client := newWireClient(t, b.Addr())
	const requests = 60 // one after the other, without an answer in between
	var sent []*kmsg.ProduceRequest
	for i := range requests {
		// Other partitions each time, so that other brokers are needed.
		req := produceTo(made, 1, func(int32) []byte { return one(fmt.Sprint(i)) }, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		req.SetVersion(9)
		if i%3 == 1 {
			req.Topics[0].Partitions = req.Topics[0].Partitions[:4]
		}
		sent = append(sent, req)
		client.send(req)
	}
	next := map[int32]int64{}
	for i, req := range sent {
		for _, p := range client.receive(req).(*kmsg.ProduceResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 || p.BaseOffset != next[p.Partition] {
				t.Fatalf("request %d: %+v, want offset %d", i, p, next[p.Partition])
			}
			next[p.Partition]++
		}
	}
}

func TestWhatCannotBeReachedIsRetriableAndTheRestIsServed(t *testing.T) {
	c, b, road := newRoad(t, 2)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 4)
	b.to(c.nodes[0])
	road.take(func(context.Context, string) (net.Conn, error) { return nil, errors.New("no route") })
	client := newWireClient(t, b.Addr())
	mine, other := c.owned(made, c.nodes[0]), c.owned(made, c.nodes[1])
	check := func(what string, index int32, code int16) {
		t.Helper()
		want := int16(0)
		if index == other {
			want = kerr.NotLeaderForPartition.Code
		}
		if code != want {
			t.Errorf("%s, partition %d: %v", what, index, kerr.ErrorForCode(code))
		}
	}
	produce := produceTo(made, -1, func(int32) []byte { return one("x") }, mine, other)
	produce.SetVersion(12)
	produced := client.asks(produce).(*kmsg.ProduceResponse)
	for _, p := range produced.Topics[0].Partitions {
		check("produce", p.Partition, p.ErrorCode)
		if p.ErrorCode != 0 && (p.CurrentLeader.LeaderID != 1_000_000_000 || len(produced.Brokers) != 1 || int(produced.Brokers[0].Port) != b.Addr().(*net.TCPAddr).Port) {
			t.Errorf("the hint leads to %+v at %+v", p.CurrentLeader, produced.Brokers)
		}
	}
	fetch := fetchOf(made, 0, mine, other)
	fetch.SetVersion(12)
	begun := time.Now()
	for _, p := range client.asks(fetch).(*kmsg.FetchResponse).Topics[0].Partitions {
		check("fetch", p.Partition, p.ErrorCode)
		if p.Partition == mine && len(p.RecordBatches) == 0 {
			t.Error("the records that are here are not fetched")
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("fetching took %v", took)
	}
	offsets := kmsg.NewPtrListOffsetsRequest()
	offsets.SetVersion(6)
	offsets.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{
		{Partition: mine, CurrentLeaderEpoch: -1, Timestamp: -1}, {Partition: other, CurrentLeaderEpoch: -1, Timestamp: -1},
	}}}
	for _, p := range client.asks(offsets).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		check("list offsets", p.Partition, p.ErrorCode)
	}
	for _, g := range []string{"a", "b", "c", "d", "e", "f"} {
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID = g, "nobody"
		at, ok := c.nodes[0].store.Catalog().Slot(metastore.SlotOf(g))
		want := kerr.UnknownMemberID
		if ok && at.Broker == c.nodes[1].id {
			want = kerr.NotCoordinator
		}
		got := client.asks(beat).(*kmsg.HeartbeatResponse)
		for deadline := time.Now().Add(20 * time.Second); got.ErrorCode != want.Code && time.Now().Before(deadline); {
			got = client.asks(beat).(*kmsg.HeartbeatResponse) // a slot is served a moment after it is shown
		}
		if got.ErrorCode != want.Code {
			t.Errorf("group %s: %v, want %v", g, kerr.ErrorForCode(got.ErrorCode), want)
		}
	}
	list := kmsg.NewPtrListGroupsRequest()
	if got := client.asks(list).(*kmsg.ListGroupsResponse); got.ErrorCode != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("a list without the other broker's groups: %+v", got)
	}
	road.take(nil)
	produce = produceTo(made, -1, func(int32) []byte { return one("x") }, mine, other)
	produce.SetVersion(12)
	for deadline := time.Now().Add(20 * time.Second); ; {
		codes := errorsOf(client.asks(produce))
		if len(codes) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v though the way is free again", codes)
		}
	}
}

// A broker that does not answer, though its machine takes what it is sent.
func TestABrokerThatHangsHoldsNobodyElseUp(t *testing.T) {
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var swallowed sync.WaitGroup
	swallowed.Go(func() {
		for {
			conn, err := hole.Accept()
			if err != nil {
				return
			}
			swallowed.Go(func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() })
		}
	})
	t.Cleanup(swallowed.Wait)
	t.Cleanup(func() { _ = hole.Close() })
	c, b, road := newRoad(t, 2)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 4)
	b.to(c.nodes[0])
	road.take(func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", hole.Addr().String())
	})
	client := newWireClient(t, b.Addr())
	mine, other := c.owned(made, c.nodes[0]), c.owned(made, c.nodes[1])
	produce := produceTo(made, -1, func(int32) []byte { return one("x") }, mine, other)
	produce.SetVersion(9)
	produce.TimeoutMillis = 1000
	for _, p := range client.asks(produce).(*kmsg.ProduceResponse).Topics[0].Partitions {
		want := int16(0)
		if p.Partition == other {
			want = kerr.RequestTimedOut.Code // it may have it
		}
		if p.ErrorCode != want {
			t.Errorf("partition %d: %v", p.Partition, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	fetch := fetchOf(made, 0, mine, other)
	fetch.SetVersion(12)
	fastest := time.Hour
	for round := range 5 {
		begun := time.Now()
		for _, p := range client.asks(fetch).(*kmsg.FetchResponse).Topics[0].Partitions {
			if (p.Partition == mine) != (len(p.RecordBatches) > 0) || (p.Partition == other) != (p.ErrorCode == kerr.NotLeaderForPartition.Code) {
				t.Errorf("%+v", p)
			}
		}
		if round > 0 {
			fastest = min(fastest, time.Since(begun))
		}
	}
	if fastest > 500*time.Millisecond { // each would wait for a second at least
		t.Errorf("all but the first waited for a broker that is known to hang, %v at least", fastest)
	}
	begun := time.Now()
	c.end(c.nodes[1]) // its session ends
	heartbeats := kmsg.NewPtrListGroupsRequest()
	client.asks(heartbeats)
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("what was asked of a broker that is gone was waited for, %v", took)
	}
}

func TestRefusedRecordsWithoutAcknowledgementEndTheConnection(t *testing.T) {
	c, b := newShared(t, 2)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 4)
	b.to(c.nodes[0])
	other := c.owned(made, c.nodes[1])
	client := newWireClient(t, b.Addr())
	good := produceTo(made, 0, func(int32) []byte { return one("good") }, other)
	good.SetVersion(9)
	client.send(good)
	// A request with an answer, behind it, is answered when it has been sent on.
	end := fetchOf(made, 0, other)
	end.SetVersion(12)
	if got := client.succeeds(end).(*kmsg.FetchResponse); len(got.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Error("what was produced without an acknowledgement is not there")
	}
	bad := produceTo(made, 0, func(int32) []byte { b := one("bad"); b[len(b)-1] ^= 1; return b }, other)
	bad.SetVersion(9)
	client.send(bad)
	if _, err := client.answer(bad); err == nil {
		t.Error("it is answered")
	} else if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection goes on as if nothing had been refused")
	}
}

func TestAGroupSeesItsMembersAddressThroughProxyAndBroker(t *testing.T) {
	c, _ := newShared(t, 3, func(c *broker.Config) { c.Wire.ProxyTrusted = func(netip.Addr) bool { return true } })
	client := newWireClient(t, c.nodes[0].client.Addr())
	header := proxyprotocol.Append(nil, proxyprotocol.Header{Source: netip.MustParseAddrPort("198.51.100.7:1234"), Destination: netip.MustParseAddrPort("192.0.2.1:9092")})
	if _, err := client.Write(header); err != nil {
		t.Fatal(err)
	}
	for i := range 6 { // some of them are coordinated elsewhere
		beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		beat.SetVersion(1)
		beat.Group, beat.MemberID, beat.SubscribedTopicNames, beat.RebalanceTimeoutMillis = fmt.Sprint("g", i), "m", []string{"t"}, 10_000
		beat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		client.succeeds(beat)
		describe := kmsg.NewPtrConsumerGroupDescribeRequest()
		describe.SetVersion(1)
		describe.Groups = []string{beat.Group}
		if m := client.succeeds(describe).(*kmsg.ConsumerGroupDescribeResponse).Groups[0].Members; len(m) != 1 || m[0].ClientHost != "/198.51.100.7" {
			t.Errorf("%+v", m)
		}
	}
}

func TestAQuotaIsFeltOnceWhereTheClientIs(t *testing.T) {
	c, b := newShared(t, 2)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 4)
	b.to(c.nodes[0])
	entity := metastore.QuotaEntity{ClientID: metastore.QuotaNamed("wire")}
	if err := c.nodes[0].store.UpdateQuota(t.Context(), entity, func(map[string]float64) (map[string]float64, error) {
		return map[string]float64{"producer_byte_rate": 100}, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		c.until("the quota is known", n, func(m *metastore.Catalog) bool { return m.Quotas().Has("producer_byte_rate") })
	}
	client := newWireClient(t, b.Addr())
	req := produceTo(made, 1, func(int32) []byte { return one(fmt.Sprintf("%2000d", 0)) }, c.owned(made, c.nodes[1]))
	req.SetVersion(9)
	begun := time.Now()
	resp := client.succeeds(req).(*kmsg.ProduceResponse)
	if resp.ThrottleMillis < 5000 || resp.ThrottleMillis > 30_000 {
		t.Errorf("throttled for %d ms", resp.ThrottleMillis)
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("the answer took %v, though it is the next request that waits", took)
	}
	for i, want := range []bool{true, false} {
		if got := c.metric(c.nodes[i], "chronik_kafka_throttled_requests_total") > 0; got != want {
			t.Errorf("throttled by broker %d: %v", i+1, got)
		}
	}
}

func TestClientsOfABrokerThatLostTheClusterGoElsewhere(t *testing.T) {
	c, b := newShared(t, 2, func(c *broker.Config) { c.SessionTTL = time.Second })
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 4)
	lost := c.owned(made, c.nodes[0])
	b.to(c.nodes[0])
	client := c.dial(b.Addr(), kgo.RetryTimeout(60*time.Second))
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: lost, Value: []byte("before")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.to(nil)
	cut, err := kvfaults.ParsePlan("* * fail-before p=1")
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[0].link.Use(cut)
	defer c.nodes[0].link.Use(kvfaults.Plan{})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: lost, Value: []byte("after")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	connected := true
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil && connected { // nobody is served any more by what it knows
		<-again.C
		connected = func() bool {
			conn, err := net.Dial("tcp", c.nodes[0].client.Addr().String())
			if err != nil {
				return false
			}
			defer conn.Close()
			probe := &wireClient{t: t, Conn: conn, r: bufio.NewReader(conn)}
			_, err = probe.try(kmsg.NewPtrMetadataRequest())
			return err == nil
		}()
	}
	if connected {
		t.Error("a broker without a session goes on serving clients of the shared address")
	}
}
