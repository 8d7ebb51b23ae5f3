// Package search is full-text search over topics: what is asked of it, and what
// it answers. Every surface that searches speaks in these values.
package search

import (
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/textsearch"
)

// Options say how a request is answered, beyond what it looks for.
type Options struct {
	// Freshness is latest, available or cold.
	Freshness string
	// Timeout is after how long an answer is an error. The request's own timeout,
	// which may be shorter, makes an answer of what was found so far.
	Timeout   time.Duration
	Principal string // who asks
}

// Answer is what was found.
type Answer struct {
	textsearch.Result
	TimedOut bool // the request's own timeout cut the search off
	Shards   Shards
	Coverage map[string]Coverage // by topic
}

// Shards count the partitions that were asked, as Elasticsearch counts shards.
type Shards struct {
	Total, Successful, Skipped, Failed int
}

// Coverage is what of a topic an answer is computed over.
type Coverage struct {
	Partitions map[int32]Extent `json:"partitions"`
	LagRecords int64            `json:"lag_records"`
}

// Extent is what of a partition an answer is computed over: [From, To), while
// its log ended at HighWatermark.
type Extent struct {
	From          int64 `json:"from"`
	To            int64 `json:"to"`
	HighWatermark int64 `json:"high_watermark"`
}

// Counts are the size of a topic's index.
type Counts struct {
	Documents int64
	Deleted   int64 // still in splits, and not found
	Bytes     int64 // of splits in the bucket
}

// UnknownTopicError: there is no such topic.
type UnknownTopicError struct{ Topic string }

// Error implements error.
func (e *UnknownTopicError) Error() string { return fmt.Sprintf("there is no topic %s", e.Topic) }

// NotSearchableError: the topic has no full-text index.
type NotSearchableError struct{ Topic string }

// Error implements error.
func (e *NotSearchableError) Error() string {
	return fmt.Sprintf("topic %s is not searchable; its setting searchable=true makes it so", e.Topic)
}

// DamagedError: a part of the index cannot be read, and is being made again.
type DamagedError struct{ Topic, Object string }

// Error implements error.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("a part of the index of topic %s cannot be read, and is being made again: %s", e.Topic, e.Object)
}
