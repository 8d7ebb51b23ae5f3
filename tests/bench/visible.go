package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// visible measures, beside producers of so many records a second, how long it takes
// from the acknowledgement of a record until a count has it, in turn with the same
// count without a target (freshness available) and over the files alone (cold).
// A count that lacks an acknowledged record is an error.
func (b *bench) visible(ctx context.Context) error {
	for _, rate := range []float64{0, 1_000, 50_000} {
		if err := b.visibleAt(ctx, rate); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) visibleAt(ctx context.Context, rate float64) error {
	const name = "bench-visible"
	yes := "true"
	if err := b.topic(ctx, name, map[string]*string{"columnar.enabled": &yes}); err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.DefaultProduceTopic(name), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var acked atomic.Int64
	var all sync.WaitGroup
	var failed error
	begun := time.Now()
	all.Go(func() { failed = b.paced(ctx, name, rate, begun.Add(b.seconds), &acked) })
	took := map[string][]time.Duration{}
	var counts int
	for time.Since(begun) < b.seconds && ctx.Err() == nil {
		for _, freshness := range []string{"latest", "available", "cold"} {
			if err := client.ProduceSync(ctx, &kgo.Record{Value: event(int64(counts))}).FirstErr(); err != nil {
				return err
			}
			least := acked.Add(1)
			asked := time.Now()
			n, err := b.count(ctx, name, freshness, counts)
			if err != nil {
				return err
			}
			took[freshness] = append(took[freshness], time.Since(asked))
			if freshness == "latest" && n < least {
				return fmt.Errorf("a count has %d records, %d were acknowledged before", n, least)
			}
		}
		counts++
	}
	all.Wait()
	if failed != nil {
		return failed
	}
	var latest, available, cold string
	for freshness, text := range map[string]*string{"latest": &latest, "available": &available, "cold": &cold} {
		*text = quantiles(took[freshness])
	}
	b.report(fmt.Sprintf("ack to a count that has the record, beside %.0f records/s", rate), fmt.Sprintf("the same count, available: %s; cold: %s", available, cold),
		"%s", latest)
	return nil
}

// event is a record's value, of about 200 bytes.
func event(n int64) []byte {
	return fmt.Appendf(nil, `{"city":"city-%d","amount":%d.5,"user":"user-%d","ok":%t,"session":"%032x","page":"/products/%d/details/and/more","agent":"Mozilla/5.0 (X11; Linux)"}`,
		n%97, n%1000, n%5003, n%7 == 0, n*7919, n%317)
}

// paced produces at a rate until a moment.
func (b *bench) paced(ctx context.Context, topic string, rate float64, until time.Time, acked *atomic.Int64) error {
	if rate == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(2*time.Millisecond),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	var failure atomic.Pointer[error]
	begun := time.Now()
	for n := int64(0); time.Now().Before(until) && ctx.Err() == nil && failure.Load() == nil; n++ {
		if ahead := time.Duration(float64(n)/rate*float64(time.Second)) - time.Since(begun); ahead > 2*time.Millisecond {
			<-time.After(ahead)
		}
		client.Produce(ctx, &kgo.Record{Value: event(n)}, func(_ *kgo.Record, err error) {
			if err != nil {
				failure.Store(&err)
				return
			}
			acked.Add(1)
		})
	}
	err = client.Flush(ctx)
	if f := failure.Load(); f != nil {
		err = errors.Join(err, *f)
	}
	return err
}

// count asks for the number of records, by a statement that no other is equal to: no
// answer that was kept is one to it.
func (b *bench) count(ctx context.Context, topic, freshness string, number int) (n int64, err error) {
	body, err := json.Marshal(map[string]any{"query": fmt.Sprintf("SELECT count(*), %d FROM %q", number, topic), "freshness": freshness, "row_format": "array"})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.http+"/_sql", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	var answer struct{ Rows [][]int64 }
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Rows) != 1 {
		return 0, fmt.Errorf("no count: %.200s", text)
	}
	return answer.Rows[0][0], nil
}
