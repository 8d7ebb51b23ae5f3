package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

// filled makes a topic with n numbered records, a second of time apart, spread
// round robin over its partitions. The records are returned with their time.
func (x *t) filled(partitions int32, n int) (string, []driver.Record, error) {
	topic, err := x.topic(partitions)
	if err != nil {
		return "", nil, err
	}
	p, err := open(x, x.Env, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return "", nil, err
	}
	defer p.cl.Close()
	sent := driver.Numbered(n)
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range sent {
		sent[i].Time = start.Add(time.Duration(i) * time.Second)
		sent[i].Partition = int32(i) % partitions
	}
	return topic, sent, produce(x, p.cl, topic, sent)
}

func fromStart(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(3, 300)
	if err != nil {
		return "", err
	}
	read, err := x.read(topic, 300)
	if err != nil {
		return "", err
	}
	next := map[int32]int64{}
	for _, r := range read {
		if r.Offset != next[r.Partition] {
			return "", fmt.Errorf("partition %d: offset %d, want %d", r.Partition, r.Offset, next[r.Partition])
		}
		next[r.Partition]++
	}
	return "300 records of 3 partitions, offsets dense", driver.SameSet(sent, records(read))
}

func fromTime(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	at := sent[60].Time.Add(-time.Millisecond).UnixMilli()
	read, err := x.read(topic, 40, kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(at)))
	if err != nil {
		return "", err
	}
	return "record 60 of 100 by its time", driver.Same(sent[60:], records(read))
}

func offsetsByTime(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	check := func(what string, listed kadm.ListedOffsets, err error, offset, timestamp int64) error {
		if err != nil {
			return err
		}
		o, ok := listed.Lookup(topic, 0)
		if !ok || o.Err != nil || o.Offset != offset || o.Timestamp != timestamp {
			return fmt.Errorf("%s: offset %d at %d, want %d at %d (error %v)", what, o.Offset, o.Timestamp, offset, timestamp, o.Err)
		}
		return nil
	}
	earliest, err := x.adm.ListStartOffsets(ctx, topic)
	if err := check("earliest", earliest, err, 0, -1); err != nil {
		return "", err
	}
	latest, err := x.adm.ListEndOffsets(ctx, topic)
	if err := check("latest", latest, err, 100, -1); err != nil {
		return "", err
	}
	for _, i := range []int{0, 1, 50, 99} {
		at := sent[i].Time.UnixMilli()
		listed, err := x.adm.ListOffsetsAfterMilli(ctx, at-1, topic)
		if err := check(fmt.Sprintf("just before record %d", i), listed, err, int64(i), at); err != nil {
			return "", err
		}
		listed, err = x.adm.ListOffsetsAfterMilli(ctx, at, topic)
		if err := check(fmt.Sprintf("at record %d", i), listed, err, int64(i), at); err != nil {
			return "", err
		}
	}
	// kadm asks for the end where there is nothing at or after a time.
	after, err := x.adm.ListOffsetsAfterMilli(ctx, sent[99].Time.UnixMilli()+1, topic)
	if err := check("after all", after, err, 100, -1); err != nil {
		return "", err
	}
	highest, err := x.adm.ListMaxTimestampOffsets(ctx, topic)
	if err := check("max timestamp", highest, err, 99, sent[99].Time.UnixMilli()); err != nil {
		return "", err
	}
	return "earliest, latest, max timestamp, exact by time", nil
}
