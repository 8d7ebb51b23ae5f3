package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rows are the records of topic orders. Drivers know how each is made from its
// number.
const rows = 30_000

func produce(ctx context.Context, kafka string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		return err
	}
	defer client.Close()
	yes := "true"
	answers, err := kadm.NewClient(client).CreateTopics(ctx, 3, 1, map[string]*string{"columnar.enabled": &yes}, "orders")
	if err = errors.Join(err, answers.Error()); err != nil {
		return fmt.Errorf("create the topic: %w", err)
	}
	records := make([]*kgo.Record, rows)
	for i := range records {
		records[i] = &kgo.Record{Key: fmt.Appendf(nil, "k%d", i%1000), Value: fmt.Appendf(nil,
			`{"id":%d,"city":%q,"amount":%g,"ok":%t,"made":"2026-01-02T03:04:05Z"}`, i, []string{"Oslo", "Rome", "Bern"}[i%3], float64(i)/4, i%2 == 0)}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}
