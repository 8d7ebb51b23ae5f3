package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"
)

// found is what a search answers.
type found struct {
	Took int64 `json:"took"`
	Hits struct {
		Total struct{ Value int64 } `json:"total"`
		Hits  []struct {
			ID     string         `json:"_id"`
			Score  float64        `json:"_score"`
			Source map[string]any `json:"_source"`
		} `json:"hits"`
	} `json:"hits"`
	Aggregations map[string]struct {
		Buckets []struct {
			Key   string `json:"key"`
			Count int64  `json:"doc_count"`
			Sum   struct{ Value float64 }
		} `json:"buckets"`
	} `json:"aggregations"`
	Coverage map[string]struct {
		Lag int64 `json:"lag_records"`
	} `json:"coverage"`
}

// searchNow searches the orders as Elasticsearch's clients do.
func (d *run) searchNow(ctx context.Context) error {
	d.step("search the orders as Elasticsearch's clients do: words, and sums by country")
	f, err := d.search(ctx, `{"size":2,"track_total_hits":true,"query":{"query_string":{"query":"status:returned AND product:espreso~"}}}`)
	if err != nil {
		return err
	}
	d.say("%d of %d orders, in %d ms; the best:", f.Hits.Total.Value, d.truth.orders, f.Took)
	for _, h := range f.Hits.Hits {
		d.say("  %-18s %.2f  %v, %v, %v", h.ID, h.Score, h.Source["product"], h.Source["city"], h.Source["amount"])
	}
	if f, err = d.search(ctx, `{"size":0,"track_total_hits":true,"aggs":{"by":{"terms":{"field":"country","size":1000},"aggs":{"Sum":{"sum":{"field":"amount"}}}}}}`); err != nil {
		return err
	}
	if f.Hits.Total.Value != d.truth.orders || len(f.Aggregations["by"].Buckets) != len(d.truth.country) {
		return fmt.Errorf("%d orders of %d countries are found, the demo made %d of %d", f.Hits.Total.Value, len(f.Aggregations["by"].Buckets), d.truth.orders, len(d.truth.country))
	}
	for _, b := range f.Aggregations["by"].Buckets {
		if got, want := math.Round(100*b.Sum.Value), d.truth.country[b.Key]; got != float64(want) {
			return fmt.Errorf("revenue of %s is %.0f cents, the demo made %d", b.Key, got, want)
		}
	}
	d.say("revenue of %d countries, in %d ms: checked", len(d.truth.country), f.Took)
	return nil
}

func (d *run) search(ctx context.Context, body string) (*found, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f := &found{}
	if err := d.server.Into(ctx, f, http.MethodPost, "/orders/_search", body); err != nil {
		return nil, err
	}
	if lag := f.Coverage["orders"].Lag; lag != 0 {
		return nil, fmt.Errorf("search %s: %d records are not covered", body, lag)
	}
	return f, nil
}
