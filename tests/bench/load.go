package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 6

func (b *bench) topic(ctx context.Context, name string, config map[string]*string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	_, _ = admin.DeleteTopic(ctx, name) // of an earlier run, if any
	_, err = admin.CreateTopic(ctx, partitions, 1, config, name)
	return err
}

// produce measures the rate with acks=all, for small and for larger records.
func (b *bench) produce(ctx context.Context) error {
	for _, size := range []int{100, 1024} {
		name := fmt.Sprintf("bench-%d", size)
		if err := b.topic(ctx, name, nil); err != nil {
			return err
		}
		before, err := b.counters()
		if err != nil {
			return err
		}
		use := b.usage()
		begun := time.Now()
		n, err := b.flood(ctx, name, size)
		if err != nil {
			return err
		}
		took := time.Since(begun)
		after, err := b.counters()
		if err != nil {
			return err
		}
		b.report(fmt.Sprintf("produce %d B, acks=all, franz-go", size), use.since(took),
			"%.0f records/s, %.0f MB/s", float64(n)/took.Seconds(), float64(n)*float64(size)/took.Seconds()/1e6)
		flushes := after["chronik_broker_flushes_total"] - before["chronik_broker_flushes_total"]
		b.report(fmt.Sprintf("flushes while producing %d B", size), "", "%.0f flushes in %s", flushes, took.Round(time.Millisecond))
	}
	return nil
}

// flood produces until time is over and returns what was acknowledged.
func (b *bench) flood(ctx context.Context, topic string, size int) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerBatchMaxBytes(1_000_000), kgo.MaxBufferedRecords(200_000), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	// Bytes that do not repeat at once, so that nothing is faster than it should be.
	pool := make([]byte, 1<<20)
	for i := range pool {
		pool[i] = byte(rand.Uint32())
	}
	var acked atomic.Int64
	var failure atomic.Pointer[error]
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failure.Store(&err)
			return
		}
		acked.Add(1)
	}
	end := time.Now().Add(b.seconds)
	for i := 0; time.Now().Before(end) && ctx.Err() == nil && failure.Load() == nil; i++ {
		for range 100 {
			at := (i*7919 + size) % (len(pool) - size)
			client.Produce(ctx, &kgo.Record{Value: pool[at : at+size]}, done)
		}
	}
	if err := client.Flush(ctx); err != nil {
		return 0, err
	}
	if err := failure.Load(); err != nil {
		return 0, *err
	}
	return acked.Load(), nil
}

// latency measures single acknowledged records at 1,000 a second, and in the
// same run what the disk takes for a write and an fdatasync of that size.
func (b *bench) latency(ctx context.Context) error {
	if err := b.topic(ctx, "bench-latency", nil); err != nil {
		return err
	}
	const clients, rate = 8, 1000
	var mu sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	var failure atomic.Pointer[error]
	use := b.usage()
	begun := time.Now()
	for c := range clients {
		group.Go(func() {
			client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.DefaultProduceTopic("bench-latency"),
				kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
			if err != nil {
				failure.Store(&err)
				return
			}
			defer client.Close()
			value := make([]byte, 1024)
			var own []time.Duration
			// Evenly over time, not all clients at once.
			<-time.After(time.Second * time.Duration(c) / rate)
			tick := time.NewTicker(time.Second * clients / rate)
			defer tick.Stop()
			for time.Since(begun) < b.seconds && ctx.Err() == nil {
				<-tick.C
				sent := time.Now()
				if err := client.ProduceSync(ctx, &kgo.Record{Partition: int32(c) % partitions, Value: value}).FirstErr(); err != nil {
					failure.Store(&err)
					return
				}
				own = append(own, time.Since(sent))
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}
	raw, err := b.rawSync(b.seconds / 4)
	group.Wait()
	if f := failure.Load(); f != nil {
		return *f
	}
	if err != nil {
		return err
	}
	alone, err := b.rawSync(2 * time.Second)
	if err != nil {
		return err
	}
	b.report("ack of one 1 KiB record at 1,000/s, acks=all", use.since(time.Since(begun)), "%s", quantiles(all))
	b.report("raw write + fdatasync of 1 KiB, meanwhile", "", "%s", quantiles(raw))
	b.report("raw write + fdatasync of 1 KiB, alone", "", "%s", quantiles(alone))
	return nil
}

// rawSync overwrites a file in place, syncing each time, as a WAL does at best.
func (b *bench) rawSync(d time.Duration) ([]time.Duration, error) {
	name := filepath.Join(b.disk, "raw-sync.tmp")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	defer os.Remove(name)
	defer f.Close()
	const size = 16 << 20
	if _, err := f.Write(make([]byte, size)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	block := make([]byte, 1024)
	var all []time.Duration
	for begun := time.Now(); time.Since(begun) < d; {
		at := time.Now()
		if _, err := f.WriteAt(block, int64(len(all)*1024)%size); err != nil {
			return nil, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		all = append(all, time.Since(at))
	}
	return all, nil
}

func quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "nothing measured"
	}
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[min(int(q*float64(len(all))), len(all)-1)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %s, p99 %s, p99.9 %s (%d)", at(.5), at(.99), at(.999), len(all))
}

// consume reads the topics of produce from their start: from objects what was
// flushed, from the tail the rest.
func (b *bench) consume(ctx context.Context) error {
	for _, size := range []int{100, 1024} {
		name := fmt.Sprintf("bench-%d", size)
		for _, pass := range []string{"first pass", "second pass"} {
			use := b.usage()
			begun := time.Now()
			n, bytes, err := b.drain(ctx, name)
			if err != nil {
				return err
			}
			took := time.Since(begun)
			b.report(fmt.Sprintf("consume %d B from the start, %s", size, pass), use.since(took),
				"%.0f records/s, %.0f MB/s (%d records)", float64(n)/took.Seconds(), float64(bytes)/took.Seconds()/1e6, n)
		}
	}
	return nil
}

func (b *bench) drain(ctx context.Context, topic string) (records, bytes int64, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(8<<20))
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	var want int64
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	for records < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return records, bytes, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records++
			bytes += int64(len(r.Value))
		})
		if ctx.Err() != nil {
			return records, bytes, errors.New("interrupted")
		}
	}
	return records, bytes, nil
}
