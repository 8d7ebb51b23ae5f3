package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/metastore"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
)

// drain has a broker own nothing, or as much as the others again, and waits for it.
func (c *brokers) drain(n *clusterNode, draining bool, topics ...*metastore.Topic) {
	c.t.Helper()
	if err := n.store.SetDraining(c.t.Context(), n.id, draining); err != nil {
		c.t.Fatal(err)
	}
	for _, at := range c.nodes {
		c.until("the partitions have moved", at, func(m *metastore.Catalog) bool {
			owned := map[metastore.BrokerID]int{}
			for _, t := range topics {
				v := m.Partition(partitionOf(t, 0))
				if !v.OwnerAlive {
					return false
				}
				owned[v.Owner.Broker]++
			}
			others := len(owned)
			if owned[n.id] > 0 {
				others--
			}
			return others == len(c.nodes)-1 && (owned[n.id] > 0) != draining
		})
	}
}

// The topics have one partition each: when two brokers refuse partitions of one
// topic in the same moment, franz-go asks for one of them again and reports the
// other, whatever broker it talks to.
func TestAdminClientsNoticeNothingOfPartitionsThatMove(t *testing.T) {
	for name, shared := range map[string]bool{"direct": false, "shared": true} {
		t.Run(name, func(t *testing.T) {
			var c *brokers
			address := func() string { return c.nodes[0].client.Addr().String() }
			atOnce := func(c *broker.Config) { c.Ownership.RebalanceDelay = 0 }
			if shared {
				var b *balancer
				c, b = newShared(t, 3, atOnce)
				address = func() string { return b.Addr().String() }
			} else {
				c = newBrokers(t, 3, atOnce)
			}
			admin := func() *kadm.Client {
				client, err := kgo.NewClient(kgo.SeedBrokers(address()))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(client.Close)
				return kadm.NewClient(client)
			}
			var names []string
			for i := range 24 {
				names = append(names, fmt.Sprint("t", i))
			}
			if _, err := admin().CreateTopics(t.Context(), 1, 1, nil, names...); err != nil {
				t.Fatal(err)
			}
			var made []*metastore.Topic
			for _, name := range names {
				topic, ok := c.nodes[0].store.Catalog().Topic(name)
				if !ok {
					t.Fatal("no topic", name)
				}
				made = append(made, topic)
			}
			c.drain(c.nodes[0], true, made...)
			c.drain(c.nodes[0], false, made...)
			slow, err := kvfaults.ParsePlan("txn /owners/ delay=30ms p=1")
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range c.nodes {
				n.link.Use(slow)
			}
			moved := make(chan struct{})
			var asking sync.WaitGroup
			for range 4 {
				a := admin()
				asking.Go(func() {
					for done := false; !done; {
						select {
						case <-moved:
							done = true // once more
						default:
						}
						topics, err := a.ListTopics(t.Context(), names...)
						if err == nil {
							err = topics.Error()
						}
						topics.EachPartition(func(p kadm.PartitionDetail) {
							if err == nil {
								err = p.Err
							}
						})
						if err != nil {
							t.Error("who leads:", err)
							return
						}
						ends, err := a.ListEndOffsets(t.Context(), names...)
						if err == nil {
							err = ends.Error()
						}
						if err == nil && len(ends) != len(names) {
							err = fmt.Errorf("%d of %d are answered", len(ends), len(names))
						}
						if err != nil {
							t.Error("where the topics end:", err)
							return
						}
					}
				})
			}
			for round := range 6 {
				n := c.nodes[round%len(c.nodes)]
				c.drain(n, true, made...)
				c.drain(n, false, made...)
			}
			close(moved)
			asking.Wait()
		})
	}
}

func TestWhatComesToTheNextOwnerTooEarlyIsAnsweredWhenItOwns(t *testing.T) {
	c := newBrokers(t, 2, func(c *broker.Config) { c.API.LeaderWaitMax = time.Minute })
	admin := kadm.NewClient(c.dial(c.nodes[0].client.Addr()))
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	made, _ := c.nodes[0].store.Catalog().Topic("t")
	p := partitionOf(made, 0)
	owner := c.nodes[c.nodes[0].store.Catalog().Partition(p).Owner.Broker-1]
	next := c.nodes[2-owner.id]
	before := owner.store.Catalog().Partition(p).Owner

	held, err := kvfaults.ParsePlan("txn /owners/ fail-before p=1")
	if err != nil {
		t.Fatal(err)
	}
	next.link.Use(held) // it cannot take anything yet
	if err := owner.store.SetDraining(t.Context(), owner.id, true); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		c.until("the partition is released", n, func(m *metastore.Catalog) bool { return m.Partition(p).Owner.Broker == metastore.NoBroker })
	}
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.SetVersion(9)
	metadata.Topics = []kmsg.MetadataRequestTopic{{Topic: &made.Name}}
	for _, n := range c.nodes {
		got := newWireClient(t, n.client.Addr()).succeeds(metadata).(*kmsg.MetadataResponse).Topics[0].Partitions[0]
		if got.Leader != int32(next.id) || got.LeaderEpoch != int32(before.Epoch)+1 {
			t.Errorf("broker %d names the leader %d in epoch %d, want %d in %d", n.id, got.Leader, got.LeaderEpoch, next.id, before.Epoch+1)
		}
	}

	epoch := int32(before.Epoch) + 1 // what clients have from Metadata
	list := kmsg.NewPtrListOffsetsRequest()
	list.SetVersion(7)
	list.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1, CurrentLeaderEpoch: epoch}}}}
	ended := kmsg.NewPtrOffsetForLeaderEpochRequest()
	ended.SetVersion(4)
	ended.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: epoch}}}}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	fetch.MaxBytes, fetch.SessionEpoch = 1<<20, -1
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{{
		CurrentLeaderEpoch: epoch, LastFetchedEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: 1 << 20,
	}}}}
	produce := kmsg.NewPtrProduceRequest()
	produce.SetVersion(9)
	produce.Acks, produce.TimeoutMillis = 1, 60_000
	produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{
		Records: built(batch.None, nil, rec{ms: time.Now().UnixMilli(), value: "v"}),
	}}}}
	var asking sync.WaitGroup
	for _, req := range []kmsg.Request{list, ended, fetch, produce} {
		client := newWireClient(t, next.client.Addr())
		client.send(req)
		asking.Go(func() {
			if _, err := client.r.Peek(1); err != nil {
				t.Error(err)
			}
			if next.store.Catalog().Partition(p).Owner.Broker != next.id {
				t.Errorf("%s is answered before there is an owner", kmsg.NameForKey(req.Key()))
			}
			if codes := errorsOf(client.receive(req)); len(codes) > 0 {
				t.Errorf("%s: %v", kmsg.NameForKey(req.Key()), kerr.ErrorForCode(codes[0]))
			}
		})
	}
	next.link.Use(kvfaults.Plan{})
	asking.Wait()
}

// What other brokers have is read there meanwhile, and there is nothing in it.
func TestAFetchThroughOneAddressWaitsForPartitionsThatMove(t *testing.T) {
	c, b := newShared(t, 3, func(c *broker.Config) {
		c.API.LeaderWaitMax = time.Minute
		c.Ownership.RebalanceDelay = time.Hour // nothing moves but what is drained
	})
	made := c.spreadTopic(kadm.NewClient(c.dial(b.Addr())), "t", 12)
	entry, drained, other := c.nodes[0], c.nodes[1], c.nodes[2]
	held, err := kvfaults.ParsePlan("txn /owners/ fail-before p=1")
	if err != nil {
		t.Fatal(err)
	}
	entry.link.Use(held) // they cannot take anything yet
	other.link.Use(held)
	if err := drained.store.SetDraining(t.Context(), drained.id, true); err != nil {
		t.Fatal(err)
	}
	owned := func(by metastore.BrokerID) (n int) {
		for i := range made.Partitions {
			if entry.store.Catalog().Partition(partitionOf(made, i)).Owner.Broker == by {
				n++
			}
		}
		return n
	}
	c.until("its partitions are released", entry, func(*metastore.Catalog) bool { return owned(drained.id) == 0 })
	if owned(metastore.NoBroker) == 0 || owned(other.id) == 0 {
		t.Fatalf("%d partitions have no owner, %d another one", owned(metastore.NoBroker), owned(other.id))
	}
	client := newWireClient(t, entry.client.Addr())
	req := fetchOf(made, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	req.SetVersion(12)
	req.SessionEpoch, req.MaxWaitMillis = 0, 0
	client.send(req)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if _, err := client.r.Peek(1); err != nil {
			t.Error(err)
		}
		if n := owned(metastore.NoBroker); n != 0 {
			t.Errorf("it is answered when %d partitions have no owner", n)
		}
	}()
	entry.link.Use(kvfaults.Plan{})
	other.link.Use(kvfaults.Plan{})
	<-answered
	got := client.receive(req).(*kmsg.FetchResponse)
	if codes := errorsOf(got); len(codes) > 0 || len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 12 {
		t.Errorf("%v: %+v", codes, got)
	}
}

func TestWhoLooksForACoordinatorWaitsUntilThereIsOne(t *testing.T) {
	c := newBrokers(t, 2, func(c *broker.Config) { c.API.LeaderWaitMax = time.Minute })
	stays, goes := c.nodes[0], c.nodes[1]
	group := func(i int) string { return fmt.Sprintf("g%d", i) }
	var orphan string
	c.until("both coordinate groups", stays, func(m *metastore.Catalog) bool {
		owned := map[metastore.BrokerID]string{}
		for i := range 100 {
			slot, _ := m.Slot(metastore.SlotOf(group(i)))
			owned[slot.Broker] = group(i)
		}
		orphan = owned[goes.id]
		return owned[metastore.NoBroker] == "" && len(owned) == 2
	})
	held, err := kvfaults.ParsePlan("txn /slots/ fail-before p=1")
	if err != nil {
		t.Fatal(err)
	}
	stays.link.Use(held)
	c.end(goes)
	coordinated := func() bool {
		_, ok := stays.store.Catalog().Slot(metastore.SlotOf(orphan))
		return ok
	}
	c.until("its groups have no coordinator", stays, func(*metastore.Catalog) bool { return !coordinated() })
	client := newWireClient(t, stays.client.Addr())
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.SetVersion(4)
	req.CoordinatorKeys = []string{orphan}
	client.send(req)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if _, err := client.r.Peek(1); err != nil {
			t.Error(err)
		}
		if !coordinated() {
			t.Error("it is answered before there is a coordinator")
		}
	}()
	stays.link.Use(kvfaults.Plan{})
	<-answered
	if got := client.receive(req).(*kmsg.FindCoordinatorResponse); got.Coordinators[0].NodeID != int32(stays.id) {
		t.Errorf("%+v", got)
	}
}

func TestWhoIsRefusedBecauseAPartitionMovesIsToldWhereTo(t *testing.T) {
	for _, how := range []string{"drain", "stop"} {
		t.Run(how, func(t *testing.T) {
			c := newBrokers(t, 2, func(c *broker.Config) { c.API.LeaderWaitMax = time.Minute })
			admin := kadm.NewClient(c.dial(c.nodes[0].client.Addr()))
			if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
				t.Fatal(err)
			}
			made, _ := c.nodes[0].store.Catalog().Topic("t")
			p := partitionOf(made, 0)
			before := c.nodes[0].store.Catalog().Partition(p).Owner
			owner, next := c.nodes[before.Broker-1], c.nodes[2-before.Broker]
			slow, err := kvfaults.ParsePlan("txn /owners/ delay=100ms p=1")
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range c.nodes {
				n.link.Use(slow) // so that there is time between the steps of a movement
			}
			client := newWireClient(t, owner.client.Addr())
			ended := make(chan struct{})
			switch how {
			case "drain":
				close(ended)
				if err := owner.store.SetDraining(t.Context(), owner.id, true); err != nil {
					t.Fatal(err)
				}
			case "stop":
				go func() {
					defer close(ended)
					c.end(owner)
				}()
			}
			for {
				req := kmsg.NewPtrProduceRequest()
				req.SetVersion(12)
				req.Acks, req.TimeoutMillis = 1, 60_000
				req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{
					Records: built(batch.None, nil, rec{ms: time.Now().UnixMilli(), value: "v"}),
				}}}}
				answer := client.asks(req).(*kmsg.ProduceResponse)
				got := answer.Topics[0].Partitions[0]
				if got.ErrorCode == 0 {
					continue
				}
				if got.ErrorCode != kerr.NotLeaderForPartition.Code || got.CurrentLeader.LeaderID != int32(next.id) || got.CurrentLeader.LeaderEpoch != int32(before.Epoch)+1 {
					t.Errorf("refused with %v, and sent to broker %d in epoch %d; want %d in %d", kerr.ErrorForCode(got.ErrorCode),
						got.CurrentLeader.LeaderID, got.CurrentLeader.LeaderEpoch, next.id, before.Epoch+1)
				}
				if len(answer.Brokers) != 1 || answer.Brokers[0].NodeID != int32(next.id) {
					t.Errorf("the answer names the brokers %+v", answer.Brokers)
				}
				break
			}
			<-ended
		})
	}
}
