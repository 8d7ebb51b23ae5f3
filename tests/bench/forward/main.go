// Command forward measures what it costs when a client's connection reaches a
// broker that does not own what the client asks for (kafka.advertise=shared): the
// same loads through the owner and through another broker, in turn. It starts a
// cluster of three brokers itself and prints a Markdown table for docs/benchmarks.
//
//	make build tools && go run ./tests/bench/forward
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

func main() {
	chronik := flag.String("chronik", "bin/chronik", "the binary")
	seconds := flag.Duration("time", 5*time.Second, "how long each load lasts")
	rounds := flag.Int("rounds", 3, "how often both ways are measured, in turn; the median counts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *chronik, *seconds, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "forward:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, chronik string, seconds time.Duration, rounds int) error {
	haproxy, err := harness.FindHAProxy()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chronik-bench-forward-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := harness.Start(ctx, harness.Options{
		Dir: dir, Chronik: chronik, HAProxy: haproxy, Shared: true, Brokers: 3, Queries: 2, Settings: []string{"durability.default=wal", "kafka.proxy_protocol=true"},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	b := &bench{ctx: ctx, seconds: seconds, c: c}
	if err := b.prepare(); err != nil {
		return err
	}
	fmt.Println("| | through the owner | through another broker |")
	fmt.Println("|---|---|---|")
	for _, load := range []struct {
		what string
		run  func(entry *harness.Node) (map[string]float64, error)
		rows []row
	}{
		{"produce", b.latency, []row{{"acknowledgement of 1 KiB, one after the other, p50", "%.2f ms"}, {"the same, p99", "%.2f ms"}}},
		{"produce", b.produce, []row{{"produce, 1 KiB records", "%.0f MB/s"}}},
		{"consume", b.consume, []row{{"consume, from the start", "%.0f MB/s"}}},
		{"follow", b.follow, []row{{"a record's way to a consumer that waits, p50", "%.2f ms"}, {"its way, p99", "%.2f ms"}}},
	} {
		got := map[string][2][]float64{}
		for range rounds {
			for way, entry := range []*harness.Node{b.owner, b.other} {
				values, err := load.run(entry)
				if err != nil {
					return fmt.Errorf("%s through %s: %w", load.what, entry.Name, err)
				}
				for name, v := range values {
					both := got[name]
					both[way] = append(both[way], v)
					got[name] = both
				}
			}
		}
		for _, r := range load.rows {
			fmt.Printf("| %s | "+r.format+" | "+r.format+" |\n", r.name, median(got[r.name][0]), median(got[r.name][1]))
		}
	}
	return nil
}

type row struct{ name, format string }

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

const topic = "bench"

type bench struct {
	ctx          context.Context
	seconds      time.Duration
	c            *harness.Cluster
	owner, other *harness.Node
	partition    int32
	written      int64 // bytes
}

// client is one of the balancer's address whose connections all reach one broker.
func (b *bench) client(entry *harness.Node, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.c.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, entry.Kafka)
		}),
	}, options...)...)
}

// prepare makes a topic and finds out who owns its first partition.
func (b *bench) prepare() error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.c.Brokers[0].Internal))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(b.ctx, 1, 1, nil, topic); err != nil {
		return err
	}
	for b.ctx.Err() == nil {
		m, err := admin.Metadata(b.ctx, topic)
		if err != nil {
			return err
		}
		for i, n := range b.c.Brokers {
			if m.Topics[topic].Partitions[0].Leader == int32(n.ID) {
				b.owner, b.other = n, b.c.Brokers[(i+1)%len(b.c.Brokers)]
				return nil
			}
		}
	}
	return b.ctx.Err()
}

func (b *bench) record() *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: b.partition, Value: make([]byte, 1024)}
}

func percentiles(took []time.Duration, p50, p99 string) map[string]float64 {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return map[string]float64{p50: ms(took[len(took)/2]), p99: ms(took[len(took)*99/100])}
}

func (b *bench) latency(entry *harness.Node) (map[string]float64, error) {
	client, err := b.client(entry, kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var took []time.Duration
	for end := time.Now().Add(b.seconds); time.Now().Before(end); {
		begun := time.Now()
		if err := client.ProduceSync(b.ctx, b.record()).FirstErr(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
		b.written += 1024
	}
	return percentiles(took, "acknowledgement of 1 KiB, one after the other, p50", "the same, p99"), nil
}

func (b *bench) produce(entry *harness.Node) (map[string]float64, error) {
	client, err := b.client(entry, kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	begun, sent := time.Now(), int64(0)
	failed := make(chan error, 1)
	for end := begun.Add(b.seconds); time.Now().Before(end); sent += 1024 {
		client.Produce(b.ctx, b.record(), func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(b.ctx); err != nil {
		return nil, err
	}
	select {
	case err := <-failed:
		return nil, err
	default:
	}
	b.written += sent
	return map[string]float64{"produce, 1 KiB records": float64(sent) / 1e6 / time.Since(begun).Seconds()}, nil
}

func (b *bench) consume(entry *harness.Node) (map[string]float64, error) {
	client, err := b.client(entry, kgo.FetchMaxPartitionBytes(8<<20), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {b.partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	begun, read := time.Now(), int64(0)
	for end := begun.Add(b.seconds); time.Now().Before(end) && read < b.written; {
		fetches := client.PollFetches(b.ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		read += 1024 * int64(fetches.NumRecords())
	}
	return map[string]float64{"consume, from the start": float64(read) / 1e6 / time.Since(begun).Seconds()}, nil
}

// follow measures the time from a record's acknowledgement being asked for at the
// owner to its arrival at a consumer that waits.
func (b *bench) follow(entry *harness.Node) (map[string]float64, error) {
	consumer, err := b.client(entry, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {b.partition: kgo.NewOffset().AtEnd()}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	producer, err := b.client(b.owner, kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	var took []time.Duration
	for end := time.Now().Add(b.seconds); time.Now().Before(end); {
		begun := time.Now()
		r := b.record()
		r.Timestamp = begun
		producer.Produce(b.ctx, r, nil)
		for arrived := false; !arrived; {
			wait, cancel := context.WithTimeout(b.ctx, time.Second)
			fetches := consumer.PollFetches(wait)
			cancel()
			fetches.EachRecord(func(got *kgo.Record) { arrived = arrived || got.Timestamp.UnixMilli() >= begun.UnixMilli() })
			if !arrived && time.Since(begun) > time.Second {
				break // the consumer was not there yet
			}
		}
		if since := time.Since(begun); since < time.Second {
			took = append(took, since)
		}
	}
	return percentiles(took, "a record's way to a consumer that waits, p50", "its way, p99"), nil
}
