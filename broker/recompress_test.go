package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
)

// fetchRaw returns the batches of a partition as they are served.
func (r *rig) fetchRaw(topic string, version int16) *kmsg.FetchResponseTopicPartition {
	r.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxWaitMillis = 1, 5000
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 1 << 20
	found, _ := r.store.Catalog().Topic(topic)
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: found.ID, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.MaxVersions(versions(version)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	resp, err := client.SeedBrokers()[0].Request(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	return &resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
}

func (r *rig) codecs(topic string) (found []batch.Codec) {
	r.t.Helper()
	err := batch.Each(r.fetchRaw(topic, 12).RecordBatches, func(h batch.Header, raw []byte) error {
		if _, err := batch.Verify(raw); err != nil {
			return err
		}
		found = append(found, h.Attributes.Codec())
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

func TestATopicsCompressionTypeHoldsForWhateverProducersSend(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	want := map[string]batch.Codec{"uncompressed": batch.None, "gzip": batch.Gzip, "snappy": batch.Snappy, "lz4": batch.LZ4, "zstd": batch.Zstd, "producer": batch.Gzip}
	for compression, codec := range want {
		r.create(compression, 1, map[string]*string{"compression.type": &compression})
		producer, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.ProducerBatchCompression(kgo.GzipCompression()))
		if err != nil {
			t.Fatal(err)
		}
		sent := &kgo.Record{Topic: compression, Timestamp: time.UnixMilli(1_790_000_000_123), Value: bytes.Repeat([]byte("v"), 3000), Headers: []kgo.RecordHeader{{Key: "h", Value: nil}, {Key: "h", Value: []byte{}}}}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for range 3 {
			again := *sent
			if err := producer.ProduceSync(ctx, &again).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		producer.Close()
		for _, got := range r.codecs(compression) {
			if got != codec {
				t.Errorf("compression.type=%s stores %v", compression, got)
			}
		}
		same(t, r.read(compression, 0, 3), []string{string(sent.Value), string(sent.Value), string(sent.Value)})
	}
	// It follows a change, and what is stored stays.
	uncompressed := "uncompressed"
	r.alter("zstd", "compression.type", uncompressed)
	r.produce("zstd", 0, "later")
	if got := fmt.Sprint(r.codecs("zstd")); got != "[zstd zstd zstd none]" {
		t.Errorf("the log has %s", got)
	}
}

func TestZstdTopicsAreRefusedToClientsThatCannotReadThem(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	zstd := "zstd"
	r.create("t", 1, map[string]*string{"compression.type": &zstd})
	r.produce("t", 0, "v")
	for version, want := range map[int16]int16{4: kerr.UnsupportedCompressionType.Code, 9: kerr.UnsupportedCompressionType.Code, 10: 0, 12: 0} {
		if got := r.fetchRaw("t", version).ErrorCode; got != want {
			t.Errorf("fetch version %d: error %d, want %d", version, got, want)
		}
	}
}
