package main

import (
	"context"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

const (
	crashRecords = 3000
	crashes      = 4
)

// crash kills the server again and again while it embeds. In the end every record
// has its vector, once.
func crash(ctx context.Context, s *suite) error {
	const topic = "crash"
	vectors := vectortest.Clustered(4, crashRecords, 16, 20)
	err := s.topic(ctx, topic, 16, func(text string) []float32 {
		var i int
		if _, err := fmt.Sscanf(text, "crash %d", &i); err != nil {
			return nil
		}
		return vectors[i]
	}, map[string]string{"vector.batch_size": "32", "vector.embedding_concurrency": "2", "durability": "wal"})
	if err != nil {
		return err
	}
	s.embeddings.delay(100 * time.Millisecond)
	for n := range crashes {
		c, err := s.client(topic)
		if err != nil {
			return err
		}
		err = produce(ctx, c, crashRecords*n/crashes, crashRecords*(n+1)/crashes, func(i int) []byte { return fmt.Appendf(nil, "crash %d", i) })
		c.Close()
		if err != nil {
			return err
		}
		// Each time at another moment: before, while and after it embeds.
		select {
		case <-time.After(time.Duration(n) * 1300 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.Crash(); err != nil {
			return err
		}
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	s.embeddings.delay(0)
	if err := s.settled(ctx, topic, vectors[0]); err != nil {
		return err
	}
	again := 0
	for i := range crashRecords {
		again += s.embeddings.times(fmt.Sprintf("crash %d", i)) - 1
	}
	var stats struct {
		TotalVectors int `json:"total_vectors"`
	}
	if err := s.Into(ctx, &stats, "GET", "/_vector/"+topic+"/stats", ""); err != nil {
		return err
	}
	if stats.TotalVectors != crashRecords {
		return fmt.Errorf("%d vectors of %d records", stats.TotalVectors, crashRecords)
	}
	for i := 0; i < crashRecords; i += 10 {
		a, err := s.vector(ctx, topic, "search_by_vector", map[string]any{"vector": vectors[i], "k": 2})
		if err != nil {
			return err
		}
		if len(a.Results) != 2 || a.number(0) != i || a.number(1) == i || a.Results[0].TextPreview != fmt.Sprintf("crash %d", i) {
			return fmt.Errorf("record %d: %+v", i, a.Results)
		}
	}
	fmt.Printf("ok    crash: killed %d times while %d records were embedded: each has its vector once; %d were embedded again\n", crashes, crashRecords, again)
	return nil
}
