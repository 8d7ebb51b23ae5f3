package broker_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/disk"
)

// What a consumer of 1,000 idle partitions costs, client included, with a
// session and without.
func BenchmarkFetchOf1000IdlePartitions(b *testing.B) {
	const partitions = 1000
	r := newRig(b, disk.NewMemory(), eager)
	r.create("t", partitions, nil)
	topic, _ := r.store.Catalog().Topic("t")
	all := kmsg.FetchRequestTopic{Topic: "t", TopicID: topic.ID}
	for i := range int32(partitions) {
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.PartitionMaxBytes = i, 1<<20
		all.Partitions = append(all.Partitions, part)
	}
	ask := func(session, epoch int32, topics ...kmsg.FetchRequestTopic) *kmsg.FetchResponse {
		req := kmsg.NewPtrFetchRequest()
		req.SessionID, req.SessionEpoch, req.Topics = session, epoch, topics
		resp, err := r.client.SeedBrokers()[0].Request(b.Context(), req)
		if err != nil {
			b.Fatal(err)
		}
		answer := resp.(*kmsg.FetchResponse)
		if answer.ErrorCode != 0 {
			b.Fatal(answer.ErrorCode)
		}
		return answer
	}
	b.Run("sessionless", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ask(0, -1, all)
		}
	})
	b.Run("session", func(b *testing.B) {
		b.ReportAllocs()
		id := ask(0, 0, all).SessionID
		for epoch := int32(1); b.Loop(); epoch++ {
			if answer := ask(id, epoch); len(answer.Topics) > 0 {
				b.Fatal("an idle partition is answered")
			}
		}
	})
}
