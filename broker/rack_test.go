package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
)

// join starts another broker over the same metadata and the same bucket.
func (r *rig) join(id metastore.BrokerID, rack string) (address string) {
	r.t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	store, err := metastore.Open(r.t.Context(), r.kv, metastore.Options{Cluster: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	config := r.config
	config.ID, config.Rack = id, rack
	b := broker.New(config, broker.Deps{
		Store: store, Bucket: r.bucket, FS: disk.NewMemory(), Log: slog.New(slog.DiscardHandler),
		Committed: committed.NewReader(store.Catalog(), r.bucket, committed.Options{}),
		Listeners: []broker.Listener{{
			Advertised: metastore.Listener{Name: "PLAINTEXT", Host: "127.0.0.1", Port: int32(socket.Addr().(*net.TCPAddr).Port)},
			Sockets:    []net.Listener{socket},
		}},
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	r.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			r.t.Errorf("broker %d ended: %v", id, err)
		}
		store.Close()
	})
	return socket.Addr().String()
}

// readsByBroker counts the record batches that a client got, by broker.
type readsByBroker struct {
	mu sync.Mutex
	n  map[int32]int
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (h *readsByBroker) OnFetchBatchRead(from kgo.BrokerMetadata, _ string, _ int32, _ kgo.FetchBatchMetrics) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n[from.NodeID]++
}

func TestOldRecordsAreReadFromABrokerInTheClientsRack(t *testing.T) {
	// Nothing stays in memory once it is committed.
	config := ingest.Config{SegmentAge: 20 * time.Millisecond, TailBytesMax: 1}
	r := newRig(t, disk.NewMemory(), config)
	r.config.Rack = "a"
	r.restart()
	r.join(2, "b")
	r.until("two brokers live", func(c *metastore.Catalog) bool { return len(c.Brokers()) == 2 })
	admin := kadm.NewClient(r.client)
	for name, replicas := range map[string]int16{"t": 2, "alone": 1} {
		if answer, err := admin.CreateTopic(t.Context(), 6, replicas, nil, name); err != nil || answer.Err != nil {
			t.Fatal(err, answer.Err)
		}
	}
	// mine is a partition of a topic that broker 1 owns, with 30 committed records.
	mine := func(name string) (*metastore.Topic, int32) {
		var found *metastore.Topic
		index := int32(-1)
		r.until("broker 1 owns a partition of "+name, func(c *metastore.Catalog) bool {
			found, _ = c.Topic(name)
			for i := range found.Partitions {
				if v := c.Partition(partitionOf(found, i)); v.OwnerAlive && v.Owner.Broker == 1 {
					index = i
				}
			}
			return index >= 0
		})
		r.produce(name, index, values(0, 30)...)
		r.committedTo(partitionOf(found, index), 30)
		return found, index
	}
	made, index := mine("t")
	ask := func(to int32, rack string, made *metastore.Topic, index int32, change func(*kmsg.FetchRequestTopicPartition)) kmsg.FetchResponseTopicPartition {
		t.Helper()
		req := kmsg.NewPtrFetchRequest()
		req.Rack, req.MinBytes, req.MaxWaitMillis = rack, 1, 30_000
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.PartitionMaxBytes = index, 1<<20
		change(&part)
		req.Topics = []kmsg.FetchRequestTopic{{Topic: made.Name, TopicID: made.ID, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
		begun := time.Now()
		resp, err := r.client.Broker(int(to)).Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("the answer took %v", took)
		}
		return resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	}
	plain := func(*kmsg.FetchRequestTopicPartition) {}
	at := func(offset int64) func(*kmsg.FetchRequestTopicPartition) {
		return func(p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = offset }
	}
	alone, aloneIndex := mine("alone")
	for _, c := range []struct {
		name      string
		got       kmsg.FetchResponseTopicPartition
		preferred int32
		code      int16
		records   bool
	}{
		{"the owner sends the client on", ask(1, "b", made, index, plain), 2, 0, false},
		{"not one of its own rack", ask(1, "a", made, index, plain), -1, 0, true},
		{"nor one without", ask(1, "", made, index, plain), -1, 0, true},
		{"nor one of a rack without brokers", ask(1, "c", made, index, plain), -1, 0, true},
		{"nor where Metadata has no replica", ask(1, "b", alone, aloneIndex, plain), -1, 0, true},
		{"the other serves what is committed", ask(2, "b", made, index, plain), -1, 0, true},
		{"also from within", ask(2, "b", made, index, at(29)), -1, 0, true},
		{"at the end it sends the client back", ask(2, "b", made, index, at(30)), -1, kerr.NotLeaderForPartition.Code, false},
		{"clients of another rack at once", ask(2, "a", made, index, plain), -1, kerr.NotLeaderForPartition.Code, false},
		{"clients without a rack too", ask(2, "", made, index, plain), -1, kerr.NotLeaderForPartition.Code, false},
		{"an epoch of the future is told", ask(2, "b", made, index, func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 77 }), -1, kerr.UnknownLeaderEpoch.Code, false},
	} {
		if c.got.PreferredReadReplica != c.preferred || c.got.ErrorCode != c.code || (len(c.got.RecordBatches) > 0) != c.records {
			t.Errorf("%s: preferred replica %d, error %d, %d bytes", c.name, c.got.PreferredReadReplica, c.got.ErrorCode, len(c.got.RecordBatches))
		}
		if c.records && (c.got.HighWatermark != 30 || c.got.LogStartOffset != 0) {
			t.Errorf("%s: high watermark %d, log start %d", c.name, c.got.HighWatermark, c.got.LogStartOffset)
		}
	}
	if low := r.deleteBeforeIn("t", index, 10); low != 10 {
		t.Fatalf("low watermark %d", low)
	}
	r.eventually("broker 2 refuses what is deleted", func() bool {
		return ask(2, "b", made, index, plain).ErrorCode == kerr.OffsetOutOfRange.Code
	})

	// A whole client: it reads what is old in its rack, and what is new from the owner.
	reads := &readsByBroker{n: map[int32]int{}}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.Rack("b"), kgo.WithHooks(reads),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {index: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	var got []string
	poll := func(n int) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for len(got) < n && ctx.Err() == nil {
			consumer.PollFetches(ctx).EachRecord(func(rec *kgo.Record) { got = append(got, string(rec.Value)) })
		}
	}
	poll(20)
	reads.mu.Lock()
	if reads.n[2] == 0 || reads.n[1] > 0 {
		t.Errorf("record batches by broker: %v, want all from 2", reads.n)
	}
	reads.mu.Unlock()
	r.produce("t", index, values(30, 35)...)
	poll(25)
	same(t, got, values(10, 35))
}

// committedTo waits until a partition's records below next are committed.
func (r *rig) committedTo(p topic.Partition, next int64) {
	r.t.Helper()
	r.until(fmt.Sprintf("offset %d of %v is committed", next, p), func(c *metastore.Catalog) bool { return c.Partition(p).Next() >= next })
}

// eventually asks again until it holds.
func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: it did not", what)
		}
	}
}
