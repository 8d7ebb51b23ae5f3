package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

// filled makes a topic with n numbered records, a second of time apart, spread
// round robin over its partitions.
func (x *t) filled(partitions int32, n int) (string, []driver.Record, error) {
	topic, err := x.topic(partitions)
	if err != nil {
		return "", nil, err
	}
	p, err := open(x, x.Env, func(c *sarama.Config) { c.Producer.Partitioner = sarama.NewManualPartitioner })
	if err != nil {
		return "", nil, err
	}
	defer p.close()
	sent := driver.Numbered(n)
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range sent {
		sent[i].Time = start.Add(time.Duration(i) * time.Second)
		sent[i].Partition = int32(i) % partitions
	}
	return topic, sent, p.produce(topic, sent)
}

var fromStart = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(3, 300)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for p := range int32(3) {
		of, err := x.read(topic, p, sarama.OffsetOldest, 100)
		if err != nil {
			return "", err
		}
		for i, r := range of {
			if r.Offset != int64(i) {
				return "", fmt.Errorf("partition %d: offset %d, want %d", p, r.Offset, i)
			}
		}
		read = append(read, of...)
	}
	return "300 records of 3 partitions, offsets dense", driver.SameSet(sent, read)
})

var fromTime = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	from, err := x.cl.GetOffset(topic, 0, sent[60].Time.Add(-time.Millisecond).UnixMilli())
	if err != nil {
		return "", err
	}
	read, err := x.read(topic, 0, from, 40)
	if err != nil {
		return "", err
	}
	return "record 60 of 100 by its time", driver.Same(sent[60:], read)
})

var offsets = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	for _, q := range []struct {
		what                string
		at, want, timestamp int64
	}{
		{"earliest", sarama.OffsetOldest, 0, -1},
		{"latest", sarama.OffsetNewest, 100, -1},
		{"just before record 50", sent[50].Time.UnixMilli() - 1, 50, sent[50].Time.UnixMilli()},
		{"at record 50", sent[50].Time.UnixMilli(), 50, sent[50].Time.UnixMilli()},
		{"after all", sent[99].Time.UnixMilli() + 1, -1, -1},
	} {
		got, err := x.adm.ListOffsets(map[string]map[int32]int64{topic: {0: q.at}}, nil)
		if err != nil {
			return "", fmt.Errorf("%s: %w", q.what, err)
		}
		o := got[topic][0]
		if o == nil || o.Err != nil && !errors.Is(o.Err, sarama.ErrNoError) || o.Offset != q.want || o.Timestamp != q.timestamp {
			return "", fmt.Errorf("%s: %+v, want offset %d at %d", q.what, o, q.want, q.timestamp)
		}
	}
	return "earliest, latest, exact by time, none after the last", nil
})
