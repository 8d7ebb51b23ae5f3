package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Connect makes a Kafka client of the cluster under load.
type Connect func(...kgo.Opt) (*kgo.Client, error)

// Produce is a load of records. Latency is from the handing over of a record to
// its acknowledgement; without a rate most of that is the client's own queue.
type Produce struct {
	Load
	Topic   string
	Options []kgo.Opt // acknowledgement, compression, linger
	Values  Values
}

const (
	// queueBytes bounds the records that are not acknowledged, of all clients; a
	// client has no more than those of ownQueue would be.
	queueBytes   = 256 << 20
	queueRecords = 200_000
	ownQueue     = 4 // clients
	// drainWithin is for the last acknowledgements, and the last records to arrive.
	drainWithin = 30 * time.Second
)

// Run produces until the load is done and everything is acknowledged.
func (o Produce) Run(ctx context.Context, connect Connect) (Report, error) {
	senders, err := o.senders(connect)
	if err != nil {
		return Report{}, err
	}
	return drive(ctx, o.Load, func(ctx context.Context, i int, p *pace, m *meter) {
		senders[i].run(ctx, p, m.failed, func(r *kgo.Record, took time.Duration) { m.did(1, int64(len(r.Value)), took) })
	}), nil
}

// sender is one client that produces.
type sender struct {
	client *kgo.Client
	values *valueMaker
	queue  chan struct{}
	stamp  func(*kgo.Record, time.Time) // marks a record before it is sent; nil: not
}

// senders are as many as there are clients to be.
func (o Produce) senders(connect Connect) ([]*sender, error) {
	var all []*sender
	records := max(min(queueBytes/o.Values.Size, queueRecords)/max(o.Clients, ownQueue), 1)
	for _, values := range o.Values.makers(o.Clients) {
		options := append([]kgo.Opt{
			kgo.DefaultProduceTopic(o.Topic), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchMaxBytes(1 << 20),
			kgo.MaxBufferedRecords(2 * records), kgo.RecordDeliveryTimeout(drainWithin),
		}, o.Options...)
		client, err := connect(options...)
		if err != nil {
			for _, s := range all {
				s.client.Close()
			}
			return nil, err
		}
		all = append(all, &sender{client: client, values: values, queue: make(chan struct{}, records)})
	}
	return all, nil
}

// run sends until the run is over and the answers are there, and closes the
// client.
func (s *sender) run(ctx context.Context, p *pace, failed func(int64, error), acked func(*kgo.Record, time.Duration)) {
	// Records outlive an interrupt: what was sent is waited for, and counted.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer s.client.Close()
	for {
		due, ok := p.next(ctx)
		if !ok {
			break
		}
		select {
		case s.queue <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		if p.load.Rate == 0 {
			due = time.Now() // the queue is the client's own
		}
		record := &kgo.Record{Value: s.values.next()}
		if s.stamp != nil {
			s.stamp(record, due)
		}
		s.client.Produce(sending, record, func(r *kgo.Record, err error) {
			if err != nil {
				failed(1, fmt.Errorf("produce: %w", err))
			} else {
				acked(r, time.Since(due))
			}
			<-s.queue
		})
	}
	within, cancel := context.WithTimeout(sending, drainWithin)
	defer cancel()
	_ = s.client.Flush(within) // what it leaves, closing fails, and so it is counted
}
