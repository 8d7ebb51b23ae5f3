package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/metastore"
)

// balancer hands connections to brokers in turn, as a load balancer does.
type balancer struct {
	net.Listener
	c    *brokers
	next atomic.Int64

	mu   sync.Mutex
	only *clusterNode // nil: all
}

// newShared starts n brokers behind a balancer.
func newShared(t testing.TB, n int, change ...func(*broker.Config)) (*brokers, *balancer) {
	base := newBrokers(t, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: l, c: base}
	base.advertised = l.Addr()
	base.startAll(n, append([]func(*broker.Config){func(c *broker.Config) {
		c.API.Shared = true
		c.Group.InitialRebalanceDelay = new(time.Duration)
	}}, change...)...)
	for _, node := range base.nodes {
		base.until("each broker has its share of the coordinator slots", node, func(m *metastore.Catalog) bool {
			owned := map[metastore.BrokerID]int{}
			for i := range metastore.Slots {
				if slot, alive := m.Slot(i); alive {
					owned[slot.Broker]++
				}
			}
			for _, of := range base.nodes {
				if share := owned[of.id]; share < metastore.Slots/n || share > metastore.Slots/n+1 {
					return false
				}
			}
			return true
		})
	}
	var conns sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { b.serve(client) })
		}
	})
	return base, b
}

// to sends further connections to one broker.
func (b *balancer) to(n *clusterNode) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.only = n
}

func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	b.mu.Lock()
	to := b.only
	b.mu.Unlock()
	for range b.c.nodes {
		if to == nil {
			to = b.c.nodes[int(b.next.Add(1))%len(b.c.nodes)]
		}
		server, err := net.Dial("tcp", to.client.Addr().String())
		if err != nil {
			to = nil
			continue
		}
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(server, client); _ = server.Close(); _ = client.Close() })
		both.Go(func() { _, _ = io.Copy(client, server); _ = server.Close(); _ = client.Close() })
		both.Wait()
		return
	}
}

// spreadTopic makes a topic whose partitions have several owners, all of them
// known to all brokers.
func (c *brokers) spreadTopic(admin *kadm.Client, name string, partitions int32) *metastore.Topic {
	c.t.Helper()
	if answer, err := admin.CreateTopic(c.t.Context(), partitions, 1, nil, name); err != nil || answer.Err != nil {
		c.t.Fatal(err, answer.Err)
	}
	var made *metastore.Topic
	for _, n := range c.nodes {
		c.until("every partition has an owner", n, func(m *metastore.Catalog) bool {
			var ok bool
			if made, ok = m.Topic(name); !ok {
				return false
			}
			owners := map[metastore.BrokerID]bool{}
			for i := range made.Partitions {
				v := m.Partition(partitionOf(made, i))
				if !v.OwnerAlive {
					return false
				}
				owners[v.Owner.Broker] = true
			}
			return len(owners) == len(c.nodes)
		})
	}
	// The catalog shows an owner a moment before that one serves.
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &made.Name}}
	for _, n := range c.nodes {
		newWireClient(c.t, n.between.Addr()).succeeds(req)
	}
	return made
}

// owned is a partition of a topic that a broker owns.
func (c *brokers) owned(t *metastore.Topic, by *clusterNode) int32 {
	c.t.Helper()
	for i := range t.Partitions {
		if c.nodes[0].store.Catalog().Partition(partitionOf(t, i)).Owner.Broker == by.id {
			return i
		}
	}
	c.t.Fatalf("broker %d owns nothing of %s", by.id, t.Name)
	return 0
}

func TestClientsOfASharedAddressSeeOneNode(t *testing.T) {
	c, b := newShared(t, 3)
	client := c.dial(b.Addr())
	admin := kadm.NewClient(client)
	made := c.spreadTopic(admin, "t", 9)
	for range 2 * len(c.nodes) {
		c.dial(b.Addr()) // whichever broker is asked
		m, err := admin.Metadata(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Brokers) != 1 || int(m.Brokers[0].Port) != b.Addr().(*net.TCPAddr).Port || m.Controller != m.Brokers[0].NodeID {
			t.Fatalf("%+v", m)
		}
		for i, p := range m.Topics["t"].Partitions {
			epoch := int32(c.nodes[0].store.Catalog().Partition(partitionOf(made, i)).Owner.Epoch)
			if p.Leader != m.Controller || !slices.Equal(p.Replicas, []int32{p.Leader}) || p.LeaderEpoch != epoch {
				t.Errorf("%+v", p)
			}
		}
	}
	found := admin.FindGroupCoordinators(t.Context(), "one", "two", "three")
	for _, g := range found {
		if g.Err != nil || g.NodeID != int32(1_000_000_000) || int(g.Port) != b.Addr().(*net.TCPAddr).Port {
			t.Errorf("%+v", g)
		}
	}
	cluster, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(t.Context(), client)
	if err != nil || len(cluster.Brokers) != 1 || cluster.Brokers[0].NodeID != 1_000_000_000 {
		t.Errorf("%+v, %v", cluster, err)
	}
}

func TestEverythingIsWrittenAndReadThroughOneAddress(t *testing.T) {
	const partitions, each = 12, 200
	c, b := newShared(t, 3)
	admin := kadm.NewClient(c.dial(b.Addr()))
	c.spreadTopic(admin, "t", partitions)
	var producing sync.WaitGroup
	for worker := range 3 {
		producer := c.dial(b.Addr(), kgo.ProducerBatchMaxBytes(4<<10), kgo.ProducerLinger(0))
		producing.Go(func() {
			for n := worker; n < each; n += 3 {
				for p := range int32(partitions) {
					producer.Produce(t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: fmt.Append(nil, n)}, func(_ *kgo.Record, err error) {
						if err != nil {
							t.Error(err)
						}
					})
				}
			}
			if err := producer.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	// Two members of a group read them all, each once.
	var mu sync.Mutex
	seen := make(map[string]int)
	reading, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	var consuming sync.WaitGroup
	for range 2 {
		consumer := c.dial(b.Addr(), kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.HeartbeatInterval(50*time.Millisecond))
		consuming.Go(func() {
			next := make(map[int32]int64)
			for reading.Err() == nil {
				fetches := consumer.PollFetches(reading)
				for _, err := range fetches.Errors() {
					if reading.Err() == nil {
						t.Error(err.Err)
					}
				}
				mu.Lock()
				fetches.EachRecord(func(r *kgo.Record) {
					if want, ok := next[r.Partition]; ok && r.Offset != want {
						t.Errorf("offset %d after %d in partition %d", r.Offset, want-1, r.Partition)
					}
					next[r.Partition] = r.Offset + 1
					seen[fmt.Sprintf("%d/%s", r.Partition, r.Value)]++
				})
				if len(seen) == partitions*each {
					stop()
				}
				mu.Unlock()
			}
		})
	}
	producing.Wait()
	consuming.Wait()
	if len(seen) != partitions*each {
		t.Fatalf("%d of %d records were read", len(seen), partitions*each)
	}
	for what, n := range seen {
		if n != 1 {
			t.Errorf("%s was read %d times", what, n)
		}
	}
	// One may have read all before the other came.
	var d kadm.DescribedGroups
	var err error
	both := func() bool {
		d, err = admin.DescribeGroups(t.Context(), "g")
		return err == nil && d["g"].Err == nil && len(d["g"].Members) == 2
	}
	if !assert.Eventually(t, both, 20*time.Second, 10*time.Millisecond) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestEachBrokerAnswersForAll(t *testing.T) {
	c, b := newShared(t, 3)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 9)
	groups := []string{"a", "b", "c", "d", "e", "f", "g"}
	for asked, node := range c.nodes {
		b.to(node)
		client := c.dial(b.Addr())
		admin := kadm.NewClient(client)
		for i := range made.Partitions {
			r, err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: i, Value: []byte("x")}).First()
			if err != nil || r.Offset != int64(asked) {
				t.Fatalf("partition %d by broker %d: %v, %v", i, node.id, r, err)
			}
		}
		ends, err := admin.ListEndOffsets(t.Context(), "t")
		if err != nil || ends.Error() != nil {
			t.Fatal(err, ends.Error())
		}
		ends.Each(func(o kadm.ListedOffset) {
			if o.Offset != int64(asked+1) {
				t.Errorf("%+v by broker %d", o, node.id)
			}
		})
		epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
		topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
		topic.Topic = "t"
		for i := range made.Partitions {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = i, 0, -1
			topic.Partitions = append(topic.Partitions, p)
		}
		epochs.Topics = append(epochs.Topics, topic)
		ended, err := epochs.RequestWith(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ended.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.EndOffset != int64(asked+1) {
				t.Errorf("%+v by broker %d", p, node.id)
			}
		}
		producers := kmsg.NewPtrDescribeProducersRequest()
		described := kmsg.NewDescribeProducersRequestTopic()
		described.Topic = "t"
		for i := range made.Partitions {
			described.Partitions = append(described.Partitions, i, i) // named twice
		}
		producers.Topics = append(producers.Topics, described)
		known, err := producers.RequestWith(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(known.Topics[0].Partitions); n != 9 {
			t.Errorf("%d partitions", n)
		}
		for _, p := range known.Topics[0].Partitions {
			if p.ErrorCode != 0 || len(p.ActiveProducers) != asked+1 {
				t.Errorf("%+v by broker %d", p, node.id)
			}
		}
		dirs, err := admin.DescribeAllLogDirs(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		counted := 0
		dirs.Each(func(d kadm.DescribedLogDir) {
			if d.Err != nil {
				t.Error(d.Err)
			}
			counted += len(d.Topics["t"])
		})
		if n := len(dirs[1_000_000_000]); n != 3 || counted != 9 {
			t.Errorf("%d directories with %d partitions by broker %d", n, counted, node.id)
		}
		commit := make(kadm.Offsets)
		commit.AddOffset("t", 0, int64(asked), -1)
		for _, g := range groups {
			if done, err := admin.CommitOffsets(t.Context(), g, commit); err != nil || done.Error() != nil {
				t.Fatal(err, done.Error())
			}
		}
		listed, err := admin.ListGroups(t.Context())
		if err != nil || !slices.Equal(listed.Groups(), groups) {
			t.Errorf("%v, %v by broker %d", listed.Groups(), err, node.id)
		}
		fetched := admin.FetchManyOffsets(t.Context(), groups...)
		for g, f := range fetched {
			if at, ok := f.Fetched.Lookup("t", 0); f.Err != nil || !ok || at.At != int64(asked) {
				t.Errorf("%s: %+v, %v by broker %d", g, f.Fetched, f.Err, node.id)
			}
		}
		all, err := admin.DescribeGroups(t.Context(), groups...)
		if err != nil || all.Error() != nil || len(all) != len(groups) {
			t.Errorf("%+v, %v by broker %d", all, err, node.id)
		}
	}
	admin := kadm.NewClient(c.dial(b.Addr()))
	cut := make(kadm.Offsets)
	for i := range made.Partitions {
		cut.AddOffset("t", i, 2, -1)
	}
	low, err := admin.DeleteRecords(t.Context(), cut)
	if err != nil || low.Error() != nil {
		t.Fatal(err, low.Error())
	}
	low.Each(func(d kadm.DeleteRecordsResponse) {
		if d.LowWatermark != 2 {
			t.Errorf("%+v", d)
		}
	})
	if gone, err := admin.DeleteOffsets(t.Context(), "a", kadm.TopicsSet{"t": {0: {}}}); err != nil || gone.Error() != nil {
		t.Errorf("%v, %v", gone, err)
	}
	deleted, err := admin.DeleteGroups(t.Context(), groups[1:]...)
	if err != nil || deleted.Error() != nil {
		t.Errorf("%v, %v", deleted, err)
	}
	if left, err := admin.ListGroups(t.Context()); err != nil || len(left) > 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// fetchOf asks for partitions of t.
func fetchOf(t *metastore.Topic, offset int64, partitions ...int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxWaitMillis, req.MaxBytes, req.SessionEpoch = 1, 20_000, 50<<20, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = t.Name, t.ID
	for _, i := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = i, offset, 1<<20, -1, -1
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

func TestALongPollEndsWhenAnyOwnerHasSomething(t *testing.T) {
	c, b := newShared(t, 3)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 9)
	all := []int32{0, 1, 2, 3, 4, 5, 6, 7, 8}
	b.to(c.nodes[0])
	reader := c.dial(b.Addr())
	writer := c.dial(b.Addr())
	offsets := map[int32]int64{}
	for round := range 20 {
		into := c.owned(made, c.nodes[round%3])
		req := fetchOf(made, 0, all...)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].FetchOffset = offsets[int32(i)]
		}
		answers := make(chan *kmsg.FetchResponse, 1)
		begun := time.Now()
		go func() {
			resp, err := req.RequestWith(t.Context(), reader)
			if err != nil {
				t.Error(err)
			}
			answers <- resp
		}()
		select {
		case resp := <-answers:
			t.Fatalf("round %d: nothing was there, and the answer is %+v", round, resp)
		case <-time.After(30 * time.Millisecond):
		}
		written := time.Now()
		if err := writer.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: into, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		resp := <-answers
		if since := time.Since(written); since > 3*time.Second {
			t.Errorf("round %d: the answer came %v after the record, %v after the request", round, since, time.Since(begun))
		}
		if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != len(all) {
			t.Fatalf("%+v", resp)
		}
		for _, p := range resp.Topics[0].Partitions {
			want := offsets[p.Partition]
			if p.Partition == into {
				want++
			}
			if p.ErrorCode != 0 || p.HighWatermark != want || (len(p.RecordBatches) > 0) != (p.Partition == into) {
				t.Errorf("round %d: partition %d of %d: %+v", round, p.Partition, into, p)
			}
		}
		offsets[into]++
	}
}

func TestPollsOfOthersAreNotRepeatedWhileTheyWait(t *testing.T) {
	c, b := newShared(t, 2)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 4)
	b.to(c.nodes[0])
	mine, other := c.owned(made, c.nodes[0]), c.owned(made, c.nodes[1])
	consumer := c.dial(b.Addr(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {mine: kgo.NewOffset().AtStart(), other: kgo.NewOffset().AtStart()}}), kgo.FetchMaxWait(10*time.Second))
	writer := c.dial(c.nodes[0].client.Addr())
	const records = 200
	for n := range records {
		if err := writer.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: mine, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if got := consumer.PollFetches(t.Context()); got.Err() != nil || got.NumRecords() != 1 {
			t.Fatalf("record %d: %d records, %v", n, got.NumRecords(), got.Err())
		}
	}
	if sent := c.metric(c.nodes[0], "chronik_forward_requests_total"); sent > 30 {
		t.Errorf("%v requests were sent to the other broker, which had nothing, for %d records here", sent, records)
	}
	if err := writer.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: other, Value: []byte("there")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := consumer.PollFetches(t.Context()); got.Err() != nil || got.NumRecords() != 1 || !bytes.Equal(got.Records()[0].Value, []byte("there")) {
		t.Fatalf("%v", got)
	}
}

// metric is the value of a metric without labels, or the sum over them.
func (c *brokers) metric(n *clusterNode, name string) (sum float64) {
	c.t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	c.t.Fatalf("no metric %s", name)
	return 0
}

func TestASessionIsTheEntryBrokersAndIsMadeAgainElsewhere(t *testing.T) {
	c, b := newShared(t, 3)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 9)
	b.to(c.nodes[0])
	client := c.dial(b.Addr())
	req := fetchOf(made, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	req.SessionEpoch, req.MaxWaitMillis = 0, 0
	first, err := req.RequestWith(t.Context(), client)
	if err != nil || first.SessionID == 0 || len(first.Topics[0].Partitions) != 9 {
		t.Fatalf("%+v, %v", first, err)
	}
	for _, p := range first.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			t.Fatalf("%+v", p)
		}
	}
	next := kmsg.NewPtrFetchRequest()
	next.SessionID, next.SessionEpoch, next.MinBytes, next.MaxBytes, next.MaxWaitMillis = first.SessionID, 1, 1, 1<<20, 5000
	into := c.owned(made, c.nodes[2])
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: into, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	second, err := next.RequestWith(t.Context(), client)
	if err != nil || second.ErrorCode != 0 || len(second.Topics) != 1 || len(second.Topics[0].Partitions) != 1 || second.Topics[0].Partitions[0].Partition != into {
		t.Fatalf("%+v, %v", second, err)
	}
	b.to(c.nodes[1])
	next.SessionEpoch = 2
	elsewhere, err := next.RequestWith(t.Context(), c.dial(b.Addr()))
	if err != nil || !errors.Is(kerr.ErrorForCode(elsewhere.ErrorCode), kerr.FetchSessionIDNotFound) {
		t.Fatalf("%+v, %v", elsewhere, err)
	}
}

func TestAFetchThatWaitsIsAnsweredWhenItsBrokerStops(t *testing.T) {
	c, b := newShared(t, 2)
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 4)
	b.to(c.nodes[0])
	for _, session := range []int32{0, -1} {
		client := newWireClient(t, c.nodes[0].client.Addr())
		req := fetchOf(made, 0, 0, 1, 2, 3)
		req.SetVersion(12)
		req.SessionEpoch = session
		if session == 0 { // a session knows what it was told: its next request waits
			req.MaxWaitMillis = 0
			begun := c.metric(c.nodes[0], "chronik_forward_requests_total")
			first := client.succeeds(req).(*kmsg.FetchResponse)
			if asked := c.metric(c.nodes[0], "chronik_forward_requests_total") - begun; asked != 1 {
				t.Errorf("the other broker was asked %v times for an answer that waits for nothing", asked)
			}
			req.SessionID, req.SessionEpoch, req.MaxWaitMillis, req.Topics = first.SessionID, 1, 20_000, nil
		}
		client.send(req)
		t.Cleanup(func() {
			begun := time.Now()
			if resp := client.receive(req).(*kmsg.FetchResponse); resp.ErrorCode != 0 || time.Since(begun) > 10*time.Second {
				t.Errorf("after %v: %+v", time.Since(begun), resp)
			}
		})
	}
	// Each has asked the other broker once what there is, and then to wait.
	for deadline := time.Now().Add(20 * time.Second); c.metric(c.nodes[0], "chronik_forward_requests_total") < 4; {
		if time.Now().After(deadline) {
			t.Fatal("the polls do not wait at the other broker")
		}
		runtime.Gosched()
	}
	c.end(c.nodes[0])
}
