package main

import (
	"context"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

// visibleRecords are produced one after the other.
const visibleRecords = 8

// visible measures how long it takes from the moment at which a record is
// acknowledged until a search finds it, with a provider that answers at once.
func visible(ctx context.Context, s *suite) error {
	const topic = "visible"
	vectors := vectortest.Clustered(3, visibleRecords, 16, 4)
	err := s.topic(ctx, topic, 16, func(text string) []float32 {
		var i int
		if _, err := fmt.Sscanf(text, "visible %d", &i); err != nil {
			return nil
		}
		return vectors[i]
	}, nil)
	if err != nil {
		return err
	}
	c, err := s.client(topic)
	if err != nil {
		return err
	}
	defer c.Close()
	var took []time.Duration
	for i := range visibleRecords {
		if err := produce(ctx, c, i, i+1, func(i int) []byte { return fmt.Appendf(nil, "visible %d", i) }); err != nil {
			return err
		}
		acknowledged := time.Now()
		for {
			a, err := s.vector(ctx, topic, "search_by_vector", map[string]any{"vector": vectors[i], "k": 1})
			if err != nil {
				return err
			}
			if len(a.Results) == 1 && a.number(0) == i {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("record %d is not found: %w", i, ctx.Err())
			}
		}
		took = append(took, time.Since(acknowledged))
	}
	fmt.Printf("ok    visible: from the acknowledgement until it is found: p50 %s, p99 %s\n", quantile(took, 50), quantile(took, 99))
	return nil
}
