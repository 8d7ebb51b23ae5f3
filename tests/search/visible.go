package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// visibleRecords are produced one after the other.
const visibleRecords = 200

// visible measures how long it takes from the moment at which a record is
// acknowledged until a search that waits for nothing finds it; and that one which
// waits always does.
func visible(ctx context.Context, _ options, s *server) error {
	const index = "visible"
	if err := s.Into(ctx, nil, "PUT", "/"+index, ""); err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Kafka), kgo.DefaultProduceTopic(index), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer client.Close()
	find := func(n int, freshness string) (bool, error) {
		var f found
		err := s.Into(ctx, &f, "POST", "/"+index+"/_search", fmt.Sprintf(`{"freshness":%q,"size":1,"query":{"term":{"n":%d}}}`, freshness, n))
		return len(f.Hits.Hits) == 1, err
	}
	var took, waited []time.Duration
	for n := range visibleRecords {
		if err := client.ProduceSync(ctx, &kgo.Record{Value: fmt.Appendf(nil, `{"n":%d,"text":"record number %d"}`, n, n)}).FirstErr(); err != nil {
			return err
		}
		acknowledged := time.Now()
		if n%2 == 0 {
			there, err := find(n, "latest")
			if err != nil || !there {
				return fmt.Errorf("record %d is acknowledged, and not found: %w", n, err)
			}
			waited = append(waited, time.Since(acknowledged))
			continue
		}
		for {
			there, err := find(n, "available")
			if err != nil {
				return err
			}
			if there {
				break
			}
		}
		took = append(took, time.Since(acknowledged))
	}
	fmt.Printf("ok    visible: from the acknowledgement until it is found: p50 %s, p99 %s; with one search that waits: p50 %s, p99 %s\n",
		quantile(took, 50), quantile(took, 99), quantile(waited, 50), quantile(waited, 99))
	return nil
}

func quantile(all []time.Duration, percent int) time.Duration {
	slices.Sort(all)
	return all[min(len(all)-1, len(all)*percent/100)].Round(100 * time.Microsecond)
}
