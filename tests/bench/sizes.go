package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sizes asks four plain statements of tables of a thousand to ten million rows,
// all in Parquet files, warm, as latest: an answer has waited for what the brokers
// say is the end. Each is asked in words of its own, so no answer is a kept one.
func (b *bench) sizes(ctx context.Context) error {
	for rows := int64(1000); rows <= b.rows; rows *= 10 {
		table := fmt.Sprintf("bench-sizes-%d", rows)
		begun := time.Now()
		if err := b.fill(ctx, table, rows); err != nil {
			return err
		}
		produced := time.Since(begun)
		if err := b.converted(ctx, table, rows); err != nil {
			return err
		}
		made := fmt.Sprintf("%d rows were produced in %s and all in files after %s", rows, produced.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
		for _, statement := range []struct{ name, query string }{
			{"COUNT", "SELECT count(*), %d FROM %q"},
			{"WHERE", "SELECT count(*), %d FROM %q WHERE city = 'city-7' AND amount > 500"},
			{"GROUP BY", "SELECT city, sum(amount), %d FROM %q GROUP BY city"},
			{"MIN, MAX", "SELECT min(amount), max(amount), %d FROM %q"},
		} {
			var all []time.Duration
			for i := range 12 {
				took, err := b.ask(ctx, fmt.Sprintf(statement.query, i, table))
				if err != nil {
					return err
				}
				if i >= 2 { // the first bring files into the cache
					all = append(all, took)
				}
			}
			slices.Sort(all)
			b.report(fmt.Sprintf("%s of %d rows", statement.name, rows), made, "%s", quantiles(all))
		}
	}
	return nil
}

// fill makes a table of that many events.
func (b *bench) fill(ctx context.Context, table string, rows int64) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.DefaultProduceTopic(table), kgo.MaxBufferedRecords(100_000),
		kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	yes := "true"
	if err := b.topic(ctx, table, map[string]*string{"columnar.enabled": &yes}); err != nil {
		return err
	}
	failed := make(chan error, 1)
	for n := range rows {
		client.Produce(ctx, &kgo.Record{Value: event(n)}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	err = client.Flush(ctx)
	select {
	case first := <-failed:
		return errors.Join(err, first)
	default:
		return err
	}
}

// converted waits until all rows of a table are in files.
func (b *bench) converted(ctx context.Context, table string, rows int64) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for number := 0; ; number++ {
		n, err := b.count(ctx, table, "cold", number)
		if err != nil || n == rows {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d rows of %s are in files: %w", n, rows, table, ctx.Err())
		}
	}
}
