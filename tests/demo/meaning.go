package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// near is what a search by meaning answers, alone or with words.
type near struct {
	Results []struct {
		Partition int32   `json:"partition"`
		Offset    int64   `json:"offset"`
		Score     float64 `json:"score"`
		Words     *int    `json:"text_rank"`
		Meaning   *int    `json:"vector_rank"`
		Value     string  `json:"value"`
	} `json:"results"`
	Total    int64   `json:"total_vectors"`
	Took     float64 `json:"execution_time_ms"`
	Coverage map[string]struct {
		Lag int64 `json:"lag_records"`
	} `json:"coverage"`
}

// review writes what customers said to a topic whose records are embedded, by a
// local model that the demo makes.
func (d *run) review(ctx context.Context) error {
	d.step(fmt.Sprintf("produce %d reviews to a topic whose texts are embedded, by a model in the data folder that the demo makes", reviews))
	if err := writeModel(d.server.Dir()); err != nil {
		return fmt.Errorf("make a model: %w", err)
	}
	client, err := d.client()
	if err != nil {
		return err
	}
	defer client.Close()
	config := map[string]*string{}
	for key, value := range map[string]string{
		"searchable": "true", "vector.enabled": "true", "vector.field": "$.text", "vector.embedding.provider": "local",
		"vector.embedding.model": modelName, "vector.embedding.dimensions": strconv.Itoa(modelDimensions),
	} {
		config[key] = &value
	}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 2, 1, config, "reviews"); err != nil {
		return fmt.Errorf("create topic reviews: %w", err)
	}
	var records []*kgo.Record
	for _, r := range inventReviews(d.seed) {
		records = append(records, &kgo.Record{Topic: "reviews", Value: r.JSON()})
	}
	began := time.Now()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	d.say("acknowledged in %s; their vectors come while you read on", short(time.Since(began)))
	return nil
}

// meaning searches the reviews by what they mean, and by words and meaning.
func (d *run) meaning(ctx context.Context) error {
	const question = "my shipment is delayed"
	d.step(fmt.Sprintf("find reviews by what they mean: %q, of which no review has more than the small words", question))
	began := time.Now()
	n, err := d.near(ctx, "search", map[string]any{"query": question, "k": 20, "freshness": "latest", "include_value": true})
	if err != nil {
		return err
	}
	if n.Total != reviews || n.Coverage["reviews"].Lag != 0 || len(n.Results) != 20 {
		return fmt.Errorf("%d of %d reviews have vectors, %d were found", n.Total, reviews, len(n.Results))
	}
	for i, r := range n.Results {
		about, err := d.about(r.Value, i < 3, "%.4f", r.Score)
		if err != nil {
			return err
		}
		if about != "delay" {
			return fmt.Errorf("among the first is a review about %s: %s", about, r.Value)
		}
	}
	d.say("all 20 are about late parcels: checked; %d vectors, in %.1f ms (%s with the wait for the last vectors)", n.Total, n.Took, short(time.Since(began)))

	d.step("the same with words: \"teapot shipment delayed\", by words and meaning at once")
	if n, err = d.near(ctx, "hybrid", map[string]any{"query": "teapot shipment delayed", "k": 10, "include_value": true}); err != nil {
		return err
	}
	if len(n.Results) != 10 {
		return fmt.Errorf("%d reviews were found, 10 were asked for", len(n.Results))
	}
	both := 0
	for i, r := range n.Results {
		about, err := d.about(r.Value, i < 3, "%.5f", r.Score)
		if err != nil {
			return err
		}
		if about == "delay" && strings.Contains(r.Value, "teapot") {
			both++
		}
	}
	if both == 0 {
		return fmt.Errorf("none of the reviews is about a late teapot")
	}
	d.say("%d of 10 are about late teapots; in %.1f ms", both, n.Took)
	return nil
}

// about is what the review in a record is about; it is shown if it is to be.
func (d *run) about(value string, show bool, format string, score float64) (string, error) {
	var r review
	if err := json.Unmarshal([]byte(value), &r); err != nil {
		return "", fmt.Errorf("this is no review: %.100q", value)
	}
	if show {
		d.say("  "+format+"  %s", score, r.Text)
	}
	for about, texts := range opinions {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(r.Text, text) }) {
			return about, nil
		}
	}
	return "", fmt.Errorf("this review the demo did not make: %.100q", value)
}

func (d *run) near(ctx context.Context, what string, request map[string]any) (*near, error) {
	request["timeout_secs"] = 120
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	n := &near{}
	return n, d.server.Into(ctx, n, http.MethodPost, "/_vector/reviews/"+what, string(body))
}
