package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Consume reads a topic from its start to the end that it has when the run
// begins. Clients share out the partitions. Latency is that of fetch requests.
type Consume struct {
	Load
	Topic string
}

// Run reads until everything is read, or time is over.
func (o Consume) Run(ctx context.Context, connect Connect) (Report, error) {
	spans, err := spansOf(ctx, connect, o.Topic)
	if err != nil {
		return Report{}, err
	}
	readers := make([]*reader, o.Clients)
	for i := range readers {
		readers[i] = &reader{from: make(map[int32]kgo.Offset), ends: make(map[int32]int64)}
	}
	n := 0
	for partition, span := range spans {
		if span.first < span.next {
			r := readers[n%len(readers)]
			r.from[partition], r.ends[partition] = kgo.NewOffset().At(span.first), span.next
			n++
		}
	}
	return drive(ctx, o.Load, func(ctx context.Context, i int, p *pace, m *meter) {
		if len(readers[i].ends) > 0 {
			readers[i].run(ctx, connect, o.Topic, p, m)
		}
	}), nil
}

// span is what a partition has.
type span struct{ first, next int64 }

func spansOf(ctx context.Context, connect Connect, topic string) (map[int32]span, error) {
	client, err := connect()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	spans := make(map[int32]span)
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, end.Partition)
		spans[end.Partition] = span{start.Offset, end.Offset}
	})
	return spans, nil
}

// shortPoll is the shortest that clients have. A broker of which all is read would
// hold a fetch until it is over, as no measure of anything.
const shortPoll = 10 * time.Millisecond

// reader is one client that consumes its share of the partitions.
type reader struct {
	from map[int32]kgo.Offset
	ends map[int32]int64
}

func (r *reader) run(ctx context.Context, connect Connect, topic string, p *pace, m *meter) {
	client, err := connect(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: r.from}), kgo.WithHooks(fetchTimes(m.waited)),
		kgo.FetchMaxPartitionBytes(8<<20), kgo.KeepControlRecords(), // so that the last offset is seen
		kgo.FetchMaxWait(shortPoll),
	)
	if err != nil {
		m.failed(1, err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithDeadline(ctx, p.began.Add(p.load.Duration))
	defer cancel()
	for len(r.ends) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			m.spent()
			return
		}
		fetches.EachError(func(_ string, partition int32, err error) {
			m.failed(1, fmt.Errorf("fetch partition %d: %w", partition, err))
			pause(ctx, pauseAfterError)
		})
		var count, bytes int64
		fetches.EachRecord(func(record *kgo.Record) {
			end, open := r.ends[record.Partition]
			if open && !record.Attrs.IsControl() {
				count++
				bytes += int64(len(record.Key) + len(record.Value))
			}
			if open && record.Offset+1 >= end {
				delete(r.ends, record.Partition)
				client.PauseFetchPartitions(map[string][]int32{topic: {record.Partition}})
			}
		})
		m.counted(count, bytes)
	}
}

// fetchTimes is told how long requests took.
type fetchTimes func(time.Duration)

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (took fetchTimes) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if key == int16(kmsg.Fetch) && e.Err() == nil {
		took(e.DurationE2E())
	}
}
