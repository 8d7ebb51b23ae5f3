package federated

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/query/fusion"
	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
	"github.com/chronik-stream/chronik/query/vector"
)

// backend is a mode of a topic that is asked.
type backend struct {
	searcher *Searcher
	request  *Request
	topic    string
	mode     Mode
	max      int // candidates

	found    []Found // the best first
	outcome  Backend
	warnings []string
}

// run asks. Only what is no lack of time is an error.
func (b *backend) run(ctx context.Context) error {
	b.outcome = Backend{Mode: b.mode, Topic: b.topic}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, b.request.Timeout)
	defer cancel()
	var err error
	switch b.mode {
	case Text:
		err = b.text(within)
	case Vector:
		err = b.vector(within)
	case SQL:
		err = b.sql(within)
	case Fetch:
		err = b.fetch(within)
	}
	b.outcome.Took = time.Since(began)
	if err != nil {
		b.found, b.outcome.Coverage = nil, nil
		b.outcome.TimedOut = errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
	}
	b.outcome.Candidates = len(b.found)
	if err == nil || b.outcome.TimedOut {
		return nil
	}
	return &BackendError{b.mode, b.topic, err}
}

func (b *backend) key(partition int32, offset int64) fusion.Key {
	return fusion.Key{Topic: b.topic, Partition: partition, Offset: offset}
}

func (b *backend) text(ctx context.Context) error {
	found, err := b.searcher.Text.Search(ctx, []string{b.topic}, hybrid.WordsRequest(b.request.Words, b.max, b.request.Filter), search.Options{
		Freshness: string(b.request.fresh(snapshot.Latest)), Timeout: b.request.Timeout, Principal: b.request.Principal,
	})
	if err != nil {
		return err
	}
	b.cover(found.Coverage)
	for _, h := range found.Hits {
		b.found = append(b.found, Found{Key: b.key(h.Partition, h.Offset), Score: h.Score, Timestamp: h.Timestamp})
	}
	return nil
}

func (b *backend) vector(ctx context.Context) error {
	found, err := b.searcher.Vectors.Search(ctx, vector.Request{
		Topic: b.topic, Text: b.request.Meaning, K: b.max, Filter: b.request.Filter, Bare: true,
		Freshness: string(b.request.fresh(snapshot.Available)), Timeout: b.request.Timeout,
	})
	if err != nil {
		return err
	}
	b.outcome.Coverage, b.warnings = &found.Coverage, found.Warnings
	for _, h := range found.Hits {
		score := float64(h.Score)
		b.found = append(b.found, Found{Key: b.key(h.Partition, h.Offset), Score: &score, Timestamp: h.Timestamp, distance: &h.Distance})
	}
	return nil
}

func (b *backend) fetch(ctx context.Context) error {
	partitions, wanted := b.request.Filter.Partitions, b.request.Fetch
	if wanted.Partition != nil {
		partitions = []int32{*wanted.Partition}
	}
	fetched, err := b.searcher.Log.Fetch(ctx, b.topic, partitions, wanted.Offset, b.max, wanted.BytesMax)
	if err != nil {
		return err
	}
	coverage := snapshot.Coverage{Partitions: map[int32]snapshot.PartitionCoverage{}}
	for _, f := range fetched {
		coverage.Partitions[f.Partition] = snapshot.PartitionCoverage{From: f.First, To: f.Next, HighWatermark: max(f.Next, f.End)}
		coverage.LagRecords += max(f.Next, f.End) - f.Next
	}
	b.outcome.Coverage = &coverage
	for _, r := range tail.Records(fetched) {
		if len(b.found) < b.max && b.takes(r.Partition, &r.Timestamp) {
			b.found = append(b.found, Found{Key: b.key(r.Partition, r.Offset), Timestamp: r.Timestamp, Preview: hybrid.Preview(r.Value)})
		}
	}
	return nil
}

// takes applies the filter to what is not searched by it. A record without a
// timestamp is in no range of times.
func (b *backend) takes(partition int32, timestamp *int64) bool {
	f := b.request.Filter
	switch {
	case f.Partitions != nil && !slices.Contains(f.Partitions, partition):
		return false
	case f.MinTimestamp == nil && f.MaxTimestamp == nil:
		return true
	}
	return timestamp != nil &&
		(f.MinTimestamp == nil || *timestamp >= *f.MinTimestamp) && (f.MaxTimestamp == nil || *timestamp <= *f.MaxTimestamp)
}

func (b *backend) cover(by map[string]snapshot.Coverage) {
	if c, ok := by[b.topic]; ok {
		b.outcome.Coverage = &c
	}
}
