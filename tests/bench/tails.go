package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// tails asks for 100 tables of 12 partitions at once, whose records are in no file
// yet, and again when their tails are at hand.
func (b *bench) tails(ctx context.Context) error {
	const topics, each, records = 100, 12, 20
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	yes := "true"
	names := make([]string, topics)
	var made []*kgo.Record
	for i := range names {
		names[i] = fmt.Sprintf("bench-tails-%d", i)
		for n := range each * records {
			made = append(made, &kgo.Record{Topic: names[i], Partition: int32(n % each), Value: event(int64(n))})
		}
	}
	admin := kadm.NewClient(client)
	_, _ = admin.DeleteTopics(ctx, names...) // of an earlier run, if any
	if _, err := admin.CreateTopics(ctx, each, 1, map[string]*string{"columnar.enabled": &yes}, names...); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, made...).FirstErr(); err != nil {
		return err
	}
	for round, what := range []string{"no tail is there", "all tails are there"} {
		open, use, begun := openFiles(b.pid), b.usage(), time.Now()
		took, failed := make([]time.Duration, topics), make([]error, topics)
		var all sync.WaitGroup
		for i, name := range names {
			all.Go(func() {
				n, err := b.count(ctx, name, "latest", round)
				if err == nil && n != each*records {
					err = fmt.Errorf("%s has %d records, %d were acknowledged", name, n, each*records)
				}
				took[i], failed[i] = time.Since(begun), err
			})
		}
		all.Wait()
		if err := errors.Join(failed...); err != nil {
			return err
		}
		b.report(fmt.Sprintf("%d tables of %d partitions asked at once, %s", topics, each, what),
			fmt.Sprintf("%s; open files and connections %d, before %d", use.since(time.Since(begun)), openFiles(b.pid), open),
			"%s", quantiles(took))
	}
	return nil
}

// openFiles counts a process's file descriptors.
func openFiles(pid int) int {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(all)
}
