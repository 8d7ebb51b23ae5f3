package broker_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/ingest"
)

// Every consumer gets its next batch, however large; many that do not take theirs
// do not have the broker's memory.
func TestLargeBatchesThatNobodyTakesDoNotGather(t *testing.T) {
	for where, kept := range map[string]ingest.Config{
		"in the tail":   {SegmentAge: time.Hour},
		"in the bucket": {SegmentAge: 20 * time.Millisecond, TailBytesMax: 1},
	} {
		t.Run(where, func(t *testing.T) {
			const size, room, idle, takers = 5 << 20, 6 << 20, 20, 5
			c := newBrokers(t, 1, func(c *broker.Config) {
				c.Ingest, c.WALFileBytes = kept, 16<<20
				c.Wire.AnswerBytesMax, c.Wire.StallTimeout, c.Fetch.ColdBytesMax = room, 200*time.Millisecond, room
			})
			n := c.nodes[0]
			large := fmt.Sprint(8 << 20)
			client := c.dial(n.client.Addr(), kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
			answer, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &large}, "t")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := client.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: make([]byte, size)}).FirstErr(); err != nil {
				t.Fatal(err)
			}

			fetch := kmsg.NewPtrFetchRequest()
			fetch.SetVersion(12)
			fetch.MinBytes, fetch.MaxBytes, fetch.MaxWaitMillis, fetch.SessionEpoch = 1, 1<<20, 500, -1
			fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "t", TopicID: answer.ID, Partitions: []kmsg.FetchRequestTopicPartition{{
				CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: 1 << 20,
			}}}}
			for range idle {
				w := newWireClient(t, n.client.Addr())
				if err := w.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
					t.Fatal(err)
				}
				w.send(fetch) // and reads nothing
			}
			var taking sync.WaitGroup
			for range takers {
				w := newWireClient(t, n.client.Addr())
				taking.Go(func() {
					for ctx.Err() == nil {
						resp, err := w.try(fetch)
						if err != nil { // too slow, on a machine that is busy
							w = newWireClient(t, n.client.Addr())
							continue
						}
						if len(resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches) > size {
							return
						}
					}
					t.Error("a consumer that takes what it gets has got nothing")
				})
			}
			done := make(chan struct{})
			go func() { defer close(done); taking.Wait() }()
			look := time.NewTicker(time.Millisecond)
			defer look.Stop()
			for most := 0.0; ; <-look.C {
				if most = max(most, c.metric(n, "chronik_kafka_answer_bytes")); most > room+size+(idle+takers)<<10 {
					t.Fatalf("%v bytes of answers", most)
				}
				select {
				case <-done:
					if most < size {
						t.Errorf("%v bytes of answers", most)
					}
					return
				default:
				}
			}
		})
	}
}
