package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/s3"
	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// bucket is the cluster's, without anything of Chronik's between.
func bucket(c *harness.Cluster) (*s3.Bucket, error) {
	return s3.New(s3.Config{Bucket: harness.Bucket, Endpoint: c.S3, AccessKey: harness.AccessKey, SecretKey: harness.SecretKey})
}

// object measures one record after the other with acks=all under
// durability=object, and after each what one put of an object like its segment
// and one put of a key like the segment's take: after as long a quiet as the flush
// has waited, which leaves caches cold and threads asleep, and once more at once.
func (b *bench) object(ctx context.Context, c *harness.Cluster) error {
	if err := topic(ctx, c, "object", 6, "object"); err != nil {
		return err
	}
	cl, err := client(c, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	raw, err := bucket(c)
	if err != nil {
		return err
	}
	defer raw.Close()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints})
	if err != nil {
		return err
	}
	defer etcd.Close()
	value, segment, key := make([]byte, 1024), make([]byte, 1600), make([]byte, 300)
	const wait = 100 * time.Millisecond // segment.age_urgent
	var acks, puts, keys, hotPuts, hotKeys []time.Duration
	timed := func(all *[]time.Duration, f func() error) error {
		begun := time.Now()
		err := f()
		*all = append(*all, time.Since(begun))
		return err
	}
	put := func() error {
		_, err := raw.Put(ctx, fmt.Sprintf("raw/%d-%d", len(puts), len(hotPuts)), objstore.Bytes(segment), objstore.Condition{IfAbsent: true})
		return err
	}
	putKey := func() error {
		_, err := etcd.Put(ctx, "/raw", string(key))
		return err
	}
	for begun := time.Now(); time.Since(begun) < b.seconds && ctx.Err() == nil; {
		err := timed(&acks, func() error {
			return cl.ProduceSync(ctx, &kgo.Record{Topic: "object", Partition: int32(len(acks) % 6), Value: value}).FirstErr()
		})
		<-time.After(wait)
		err = errors.Join(err, timed(&puts, put), timed(&keys, putKey), timed(&hotPuts, put), timed(&hotKeys, putKey))
		if err != nil {
			return err
		}
	}
	after, err := counters(brokers(c)...)
	if err != nil {
		return err
	}
	mean := func(name string) time.Duration {
		return time.Duration(after[name+"_sum"] / after[name+"_count"] * float64(time.Second)).Round(10 * time.Microsecond)
	}
	ack, ack99 := quantiles(acks)
	one, one99 := quantiles(puts)
	two, two99 := quantiles(keys)
	hotOne, _ := quantiles(hotPuts)
	hotTwo, _ := quantiles(hotKeys)
	b.report("ack of one 1 KiB record, acks=all, durability=object",
		fmt.Sprintf("flush wait %v; after as long a quiet, one raw PUT p50 %v, p99 %v; one raw etcd put p50 %v, p99 %v; and again at once p50 %v and %v; the broker's means: disk %v, upload %v, commit %v",
			wait, one, one99, two, two99, hotOne, hotTwo,
			mean("chronik_wal_sync_seconds"), mean("chronik_broker_upload_seconds"), mean("chronik_broker_commit_seconds")),
		"p50 %v, p99 %v (%d); behind the flush wait %.2f × (one PUT + one etcd put), %.2f × the two at once", ack, ack99, len(acks),
		float64(ack-wait)/float64(one+two), float64(ack-wait)/float64(hotOne+hotTwo))
	return nil
}

// flood produces for a time, and returns what was acknowledged.
func (b *bench) flood(ctx context.Context, c *harness.Cluster, name string, size int, perSecond float64) (records int64, took time.Duration, err error) {
	cl, err := client(c, kgo.DefaultProduceTopic(name), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return 0, 0, err
	}
	defer cl.Close()
	value := make([]byte, size)
	_, _ = rand.Read(value) // never fails
	var acked atomic.Int64
	var failure atomic.Pointer[error]
	begun := time.Now()
	for n := 0; time.Since(begun) < b.seconds && ctx.Err() == nil && failure.Load() == nil; n++ {
		if ahead := time.Duration(float64(n)/perSecond*float64(time.Second)) - time.Since(begun); ahead > 5*time.Millisecond {
			<-time.After(ahead)
		}
		cl.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failure.Store(&err)
				return
			}
			acked.Add(1)
		})
	}
	err = cl.Flush(ctx)
	if f := failure.Load(); f != nil {
		err = errors.Join(err, *f)
	}
	return acked.Load(), time.Since(begun), err
}

// cold reads a topic from the bucket, and in turn the same objects with raw GETs
// over as many connections as there are brokers.
func (b *bench) cold(ctx context.Context, c *harness.Cluster) error {
	if err := topic(ctx, c, "cold", 6, "wal"); err != nil {
		return err
	}
	before, err := counters(brokers(c)...)
	if err != nil {
		return err
	}
	records, took, err := b.flood(ctx, c, "cold", 10_000, 1e9)
	if err != nil {
		return err
	}
	for { // until all of it is in the bucket
		now, err := counters(brokers(c)...)
		if err != nil {
			return err
		}
		if now["chronik_broker_uncommitted_bytes"] == 0 {
			puts := now[`chronik_objstore_operations_total{op="put",outcome="ok"}`] - before[`chronik_objstore_operations_total{op="put",outcome="ok"}`]
			gb := float64(records) * 10_000 / 1e9
			b.report("produce 10 kB records as fast as one client does, durability=wal", "resident memory of the brokers together: "+megabytes(now["process_resident_memory_bytes"]),
				"%.0f MB/s; %.0f object puts, %.0f per GB", gb*1e3/took.Seconds(), puts, puts/gb)
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var ours, theirs []time.Duration
	var bytes, raw int64
	for range 3 {
		begun := time.Now()
		if bytes, err = drain(ctx, c, "cold"); err != nil {
			return err
		}
		ours = append(ours, time.Since(begun))
		begun = time.Now()
		if raw, err = b.rawGets(ctx, c); err != nil {
			return err
		}
		theirs = append(theirs, time.Since(begun))
	}
	our, _ := quantiles(ours)
	their, _ := quantiles(theirs)
	rate, rawRate := float64(bytes)/our.Seconds()/1e6, float64(raw)/their.Seconds()/1e6
	b.report("cold read of a topic from its start, one consumer", fmt.Sprintf("raw GETs of the segments in 1 MiB ranges, %d at once: %.0f MB/s", b.brokers, rawRate),
		"%.0f MB/s, %.0f %% of it", rate, 100*rate/rawRate)
	return nil
}

func megabytes(bytes float64) string { return fmt.Sprintf("%.0f MB", bytes/1e6) }

func drain(ctx context.Context, c *harness.Cluster, topic string) (bytes int64, err error) {
	cl, err := client(c, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(8<<20))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	var want, records int64
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	for records < want {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return bytes, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records++
			bytes += int64(len(r.Value))
		})
	}
	return bytes, nil
}

// rawGets reads all segments, a mebibyte a request, several at once.
func (b *bench) rawGets(ctx context.Context, c *harness.Cluster) (bytes int64, err error) {
	raw, err := bucket(c)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	type piece struct {
		name       string
		at, length int64
	}
	var pieces []piece
	for o, err := range raw.List(ctx, "") {
		if err != nil {
			return 0, err
		}
		for at := int64(0); at < o.Size; at += 1 << 20 {
			pieces = append(pieces, piece{o.Name, at, min(1<<20, o.Size-at)})
		}
	}
	var next, sum atomic.Int64
	var failure atomic.Pointer[error]
	var group sync.WaitGroup
	for range b.brokers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(pieces)); i = next.Add(1) - 1 {
				data, err := raw.Get(ctx, pieces[i].name, pieces[i].at, pieces[i].length)
				if err != nil {
					failure.Store(&err)
					return
				}
				sum.Add(int64(len(data)))
			}
		})
	}
	group.Wait()
	if f := failure.Load(); f != nil {
		return 0, *f
	}
	return sum.Load(), nil
}

// metadata counts what etcd is asked while all partitions of a topic are written,
// and the puts into the bucket.
func (b *bench) metadata(ctx context.Context, c *harness.Cluster) error {
	for _, durability := range []string{"wal", "object"} {
		for _, partitions := range []int32{1, 100, 10_000} {
			name := fmt.Sprintf("metadata-%s-%d", durability, partitions)
			begun := time.Now()
			if err := topic(ctx, c, name, partitions, durability); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			taken := time.Since(begun)
			before, err := counters(append(brokers(c), c.Endpoints...)...)
			if err != nil {
				return err
			}
			const perSecond, size = 2000, 500
			records, took, err := b.flood(ctx, c, name, size, perSecond)
			if err != nil {
				return err
			}
			after, err := counters(append(brokers(c), c.Endpoints...)...)
			if err != nil {
				return err
			}
			own, err := counters(brokers(c)...)
			if err != nil {
				return err
			}
			rate := func(name string) float64 { return (after[name] - before[name]) / took.Seconds() }
			b.report(fmt.Sprintf("%d partitions on %d brokers, durability=%s, %.0f records/s of %d bytes over all of them", partitions, b.brokers, durability, float64(records)/took.Seconds(), size),
				fmt.Sprintf("first record in every partition %v after its creation; etcd's database %s in use; brokers resident %s together", taken.Round(10*time.Millisecond),
					megabytes(after["etcd_mvcc_db_total_size_in_use_in_bytes"]), megabytes(own["process_resident_memory_bytes"])),
				"etcd: %.1f transactions/s with writes, %.1f keys put/s, %.1f kB/s in, %.1f kB/s out; flushes %.1f/s; bucket: %.1f puts/s, %.2f MB/s",
				rate("etcd_server_proposals_applied_total"), rate("etcd_mvcc_put_total"),
				rate("etcd_network_client_grpc_received_bytes_total")/1e3, rate("etcd_network_client_grpc_sent_bytes_total")/1e3,
				rate("chronik_broker_flushes_total"), rate(`chronik_objstore_operations_total{op="put",outcome="ok"}`), rate(`chronik_objstore_bytes_total{op="put"}`)/1e6)
		}
	}
	return nil
}
