package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/shop"
)

const partitions = 6

// truth is what the demo knows of the events that it made.
type truth struct {
	orders, views int64
	bytes         int64
	cents         int64
	country       map[string]int64 // cents
	unhappy       int64            // views with status 500
}

func (d *run) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(d.server.Kafka), kgo.ClientID("chronik-demo")}, options...)...)
}

func (d *run) create(ctx context.Context) error {
	d.step("create two topics that are tables, orders and page_views, 6 partitions each; orders are searchable, too")
	client, err := d.client()
	if err != nil {
		return err
	}
	defer client.Close()
	began, yes := time.Now(), "true"
	for name, config := range map[string]map[string]*string{
		"orders":     {"columnar.enabled": &yes, "searchable": &yes},
		"page_views": {"columnar.enabled": &yes},
	} {
		if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, config, name); err != nil {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	d.say("done in %s", short(time.Since(began)))
	return nil
}

func (d *run) produce(ctx context.Context) error {
	d.step(fmt.Sprintf("produce %d orders and %d page views as JSON with franz-go (acks=all, idempotent, snappy)", d.orders, d.views))
	client, err := d.client(kgo.MaxBufferedRecords(50_000), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	const days = 3
	made := shop.New(d.seed, time.Now().Add(-days*24*time.Hour), days*24*time.Hour, max(d.orders, d.views))
	d.truth = truth{country: make(map[string]int64)}
	var failed atomic.Pointer[error]
	send := func(topic string, key, value []byte, at time.Time) {
		d.truth.bytes += int64(len(value))
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: key, Value: value, Timestamp: at}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	began := time.Now()
	for i := range max(d.orders, d.views) {
		if failed.Load() != nil {
			break
		}
		if i < d.orders {
			o := made.Order()
			send("orders", o.Key(), o.JSON(), o.At)
			d.truth.orders++
			d.truth.cents += o.Cents
			d.truth.country[o.Country] += o.Cents
		}
		if i < d.views {
			v := made.View()
			send("page_views", v.Key(), v.JSON(), v.At)
			d.truth.views++
			if v.Status == 500 {
				d.truth.unhappy++
			}
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("produce: %w", *err)
	}
	took, n := time.Since(began), d.truth.orders+d.truth.views
	d.say("%d records, %.1f MB acknowledged in %s: %.0f records/s, making them included",
		n, float64(d.truth.bytes)/1e6, short(took), float64(n)/took.Seconds())
	return nil
}

// consume reads all orders in a consumer group and checks that each is there
// once, and that those of a customer come in the order in which they were sent.
func (d *run) consume(ctx context.Context) error {
	d.step("read all orders back with a consumer group")
	client, err := d.client(kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("demo"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("not all orders came within a minute"))
	defer cancel()
	began := time.Now()
	var first time.Duration
	last, seen := make(map[string]int), int64(0)
	for seen < d.truth.orders {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("consume: %w, %d of %d were seen", context.Cause(ctx), seen, d.truth.orders)
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("consume: %w", err)
		}
		if first == 0 && !fetches.Empty() {
			first = time.Since(began)
		}
		for records := fetches.RecordIter(); !records.Done(); seen++ {
			record := records.Next()
			number, err := orderNumber(record.Value)
			if err != nil {
				return err
			}
			if before := last[string(record.Key)]; number <= before {
				return fmt.Errorf("customer %s: order %d came after order %d", record.Key, number, before)
			}
			last[string(record.Key)] = number
		}
	}
	took := time.Since(began)
	d.say("%d records in %s (%s until the group had its first): each once, every customer's in order",
		seen, short(took), short(first))
	return nil
}

// orderNumber reads the number out of {"order":123,…
func orderNumber(value []byte) (int, error) {
	const prefix = `{"order":`
	if len(value) < len(prefix) || string(value[:len(prefix)]) != prefix {
		return 0, fmt.Errorf("this is no order: %.80q", value)
	}
	end := len(prefix)
	for end < len(value) && '0' <= value[end] && value[end] <= '9' {
		end++
	}
	return strconv.Atoi(string(value[len(prefix):end]))
}
