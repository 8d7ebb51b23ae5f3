package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// EndToEnd produces, and consumes what it produced. Latency is from the moment at
// which a record was due to its arrival. Records of others are passed over.
type EndToEnd struct{ Produce }

// Run produces until the load is done and everything acknowledged has arrived. An
// acknowledged record that does not is an error.
func (o EndToEnd) Run(ctx context.Context, connect Connect) (Report, error) {
	spans, err := spansOf(ctx, connect, o.Topic)
	if err != nil {
		return Report{}, err
	}
	from := make(map[int32]kgo.Offset)
	for partition, span := range spans {
		from[partition] = kgo.NewOffset().At(span.next)
	}
	consumer, err := connect(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: from}))
	if err != nil {
		return Report{}, err
	}
	defer consumer.Close()
	senders, err := o.senders(connect)
	if err != nil {
		return Report{}, err
	}
	mark := newMark()
	var acked, arrived atomic.Int64
	sent, running := context.WithCancel(context.WithoutCancel(ctx)) // over once all senders are
	left := atomic.Int64{}
	left.Store(int64(len(senders)))
	load := o.Load
	load.Clients++ // the consumer, whose meter counts
	return drive(ctx, load, func(ctx context.Context, i int, p *pace, m *meter) {
		if i == len(senders) {
			mark.receive(consumer, sent, &acked, &arrived, p, m)
			return
		}
		s := senders[i]
		s.stamp = func(r *kgo.Record, due time.Time) { mark.put(r, due.Sub(p.began)) }
		s.run(ctx, p, m.failed, func(*kgo.Record, time.Duration) { acked.Add(1) })
		if left.Add(-1) == 0 {
			running()
		}
	}), nil
}

// mark is a header by which a run knows its records, and when they were due.
type mark struct{ run uint64 }

const markHeader = "chronik-bench"

func newMark() mark { return mark{rand.Uint64()} }

func (k mark) put(r *kgo.Record, due time.Duration) {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 16), k.run)
	r.Headers = []kgo.RecordHeader{{Key: markHeader, Value: binary.BigEndian.AppendUint64(value, uint64(due))}}
}

func (k mark) of(r *kgo.Record) (due time.Duration, ours bool) {
	for _, h := range r.Headers {
		if h.Key == markHeader && len(h.Value) == 16 && binary.BigEndian.Uint64(h.Value) == k.run {
			return time.Duration(binary.BigEndian.Uint64(h.Value[8:])), true
		}
	}
	return 0, false
}

// receive counts records as they arrive, until all that were acknowledged have,
// or drainWithin after the last was sent.
func (k mark) receive(consumer *kgo.Client, sent context.Context, acked, arrived *atomic.Int64, p *pace, m *meter) {
	ctx, stop := context.WithCancel(context.WithoutCancel(sent))
	defer stop()
	complete := func() bool { return sent.Err() != nil && arrived.Load() >= acked.Load() }
	defer context.AfterFunc(sent, func() {
		if complete() {
			stop() // the poll below waits for nothing
			return
		}
		pause(ctx, drainWithin)
		stop()
	})()
	for !complete() {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			break
		}
		fetches.EachError(func(_ string, partition int32, err error) {
			m.failed(1, fmt.Errorf("fetch partition %d: %w", partition, err))
			pause(ctx, pauseAfterError)
		})
		now := time.Since(p.began)
		fetches.EachRecord(func(r *kgo.Record) {
			if due, ours := k.of(r); ours {
				arrived.Add(1)
				m.did(1, int64(len(r.Value)), now-due)
			}
		})
	}
	if missing := acked.Load() - arrived.Load(); missing > 0 {
		m.failed(missing, fmt.Errorf("%d acknowledged records did not arrive within %s", missing, drainWithin))
	}
}
