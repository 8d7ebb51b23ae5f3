package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// watch asks the first broker for the leaders of a topic until they are as wanted.
func watch(ctx context.Context, c *harness.Cluster, name string, wanted func(leaders map[int32]int) bool) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers[0].Kafka), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var last map[int32]int
	for deadline := time.Now().Add(3 * time.Minute); ; {
		details, err := admin.ListTopics(ctx, name)
		if err == nil {
			last = map[int32]int{}
			for _, p := range details[name].Partitions {
				last[p.Leader]++
			}
			if wanted(last) {
				return nil
			}
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("leaders of %s: %v, %w", name, last, errors.Join(err, context.DeadlineExceeded))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// moves measures how long it takes until other brokers have the partitions of one
// that stops, and until one that is new has its share.
func (b *bench) moves(ctx context.Context, c *harness.Cluster) error {
	const partitions = 3000
	if err := topic(ctx, c, "moves", partitions, "wal"); err != nil {
		return err
	}
	even := func(leaders map[int32]int) bool {
		for i := range c.Brokers {
			if n := leaders[int32(i+1)]; n < partitions/len(c.Brokers) || n > partitions/len(c.Brokers)+1 {
				return false
			}
		}
		return true
	}
	if err := watch(ctx, c, "moves", even); err != nil {
		return err
	}
	last := c.Brokers[len(c.Brokers)-1]
	step := func(what string, f func() error, wanted func(map[int32]int) bool) error {
		before, err := counters(c.Endpoints...)
		if err != nil {
			return err
		}
		begun := time.Now()
		if err := f(); err != nil {
			return err
		}
		ready := time.Since(begun)
		if err := watch(ctx, c, "moves", wanted); err != nil {
			return err
		}
		took := time.Since(begun)
		after, err := counters(c.Endpoints...)
		if err != nil {
			return err
		}
		count := func(name string) float64 { return (after[name] - before[name]) / float64(len(c.Endpoints)) }
		b.report(what, fmt.Sprintf("etcd, all that it was asked meanwhile: %.0f transactions with writes, %.0f keys put; the process itself took %v",
			count("etcd_server_proposals_applied_total"), count("etcd_mvcc_put_total"), ready.Round(10*time.Millisecond)),
			"%v", took.Round(10*time.Millisecond))
		return nil
	}
	stopped := func(leaders map[int32]int) bool {
		return leaders[int32(last.ID)] == 0 && leaders[-1] == 0
	}
	return errors.Join(
		step("1,000 of 3,000 partitions, from SIGTERM to their broker until two others lead them", func() error { return last.Stop(ctx) }, stopped),
		step("the same back, from the start of the process until it leads 1,000 (5 s of it `rebalance.delay`)", func() error { return last.Start(ctx) }, even),
	)
}

// failover measures the time from a broker's kill -9 to the first record that is
// acknowledged in each of the partitions that it owned.
func (b *bench) failover(ctx context.Context, c *harness.Cluster) error {
	topics := []string{"object", "wal"}
	const partitions = 12
	for _, durability := range topics {
		if err := topic(ctx, c, durability, partitions, durability); err != nil {
			return err
		}
	}
	cl, err := client(c, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.ProduceRequestTimeout(5*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	victim := c.Brokers[len(c.Brokers)-1]
	details, err := kadm.NewClient(cl).ListTopics(ctx, topics...)
	if err != nil {
		return err
	}
	victim.Kill()
	begun := time.Now()
	var mu sync.Mutex
	var failed error
	waits := map[string][]time.Duration{}
	var producing sync.WaitGroup
	for _, name := range topics {
		for _, p := range details[name].Partitions {
			if p.Leader != int32(victim.ID) {
				continue
			}
			producing.Go(func() {
				err := cl.ProduceSync(ctx, &kgo.Record{Topic: name, Partition: p.Partition, Value: []byte("next")}).FirstErr()
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				waits[name] = append(waits[name], time.Since(begun))
			})
		}
	}
	producing.Wait()
	if failed != nil {
		return failed
	}
	for _, name := range topics {
		if len(waits[name]) == 0 {
			return fmt.Errorf("the broker owned no partition of %s", name)
		}
		b.report(fmt.Sprintf("kill -9 of a broker that does not return, durability=%s, to the first acks=all in a partition of its", name),
			"`broker.lease` 10 s, renewed each third of it; `takeover.grace` 0",
			"%v to %v (%d partitions)", slices.Min(waits[name]).Round(10*time.Millisecond), slices.Max(waits[name]).Round(10*time.Millisecond), len(waits[name]))
	}
	return nil
}
