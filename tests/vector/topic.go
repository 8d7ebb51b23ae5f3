package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partitions are those of all topics here. Record i is in partition i%partitions,
// at offset i/partitions.
const partitions = 2

// stamp is the time of record i.
func stamp(i int) time.Time { return time.UnixMilli(1_767_225_600_000 + int64(i)*1000) }

// topic makes one with vectors, which are what makes makes of the values.
func (s *suite) topic(ctx context.Context, name string, dimensions int, makes func(text string) []float32, settings map[string]string) error {
	config := map[string]string{
		"retention.ms": "-1", "vector.enabled": "true", "vector.embedding.provider": "external", "vector.embedding.model": name,
		"vector.embedding.endpoint": s.embeddings.serve(name, makes), "vector.embedding.dimensions": strconv.Itoa(dimensions),
	}
	maps.Copy(config, settings)
	return s.create(ctx, name, config)
}

func (s *suite) create(ctx context.Context, name string, config map[string]string) error {
	body, err := json.Marshal(map[string]any{"name": name, "partitions": partitions, "config": config})
	if err != nil {
		return err
	}
	a, err := s.Ask(ctx, "POST", "/admin/topics", string(body))
	if err == nil && a.Status/100 != 2 {
		err = fmt.Errorf("create %s: status %d: %s", name, a.Status, a.Body)
	}
	return err
}

// client is one that produces to a topic.
func (s *suite) client(topic string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(s.Kafka), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
}

// produce writes the records from first to next of a topic.
func produce(ctx context.Context, c *kgo.Client, first, next int, value func(i int) []byte) error {
	records := make([]*kgo.Record, 0, next-first)
	for i := first; i < next; i++ {
		records = append(records, &kgo.Record{Partition: int32(i % partitions), Timestamp: stamp(i), Value: value(i)})
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

// answer is what is looked at of a vector or hybrid search.
type answer struct {
	Results []struct {
		Partition   int32
		Offset      int64
		Distance    *float64
		TextPreview string `json:"text_preview"`
	}
	TotalVectors int64 `json:"total_vectors"`
	Coverage     map[string]struct {
		Partitions map[string]struct{ From, To int64 }
		Lag        int64 `json:"lag_records"`
	}
}

// number is which record a result is.
func (a *answer) number(i int) int {
	return int(a.Results[i].Offset)*partitions + int(a.Results[i].Partition)
}

// vector searches a topic; how is search, search_by_vector or hybrid.
func (s *suite) vector(ctx context.Context, topic, how string, request map[string]any) (*answer, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var out answer
	return &out, s.Into(ctx, &out, "POST", "/_vector/"+topic+"/"+how, string(body))
}

// settled waits until all that was produced to a topic can be found. It searches
// for a vector, so that no text is embedded for it.
func (s *suite) settled(ctx context.Context, topic string, v []float32) error {
	_, err := s.vector(ctx, topic, "search_by_vector", map[string]any{"vector": v, "k": 1, "freshness": "latest", "timeout_secs": 120})
	return err
}

// refused asks what has to be refused, with a status and a word in what is said.
func (s *suite) refused(ctx context.Context, status int, method, path, body string) error {
	a, err := s.Ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	if a.Status != status {
		return fmt.Errorf("%s %s: status %d, want %d (%s): %.300s", method, path, a.Status, status, http.StatusText(status), a.Body)
	}
	return nil
}
