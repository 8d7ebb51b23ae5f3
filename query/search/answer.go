// Package search is full-text search over topics: it binds them to the splits of
// their manifests and, from the text marks on, to the tail, and searches all of
// these as one index. Every surface that searches speaks in its values.
//
// Promises: an answer is computed over each record of the ranges that it says it
// covers once, and over no other; with freshness "latest" these are all that were
// acknowledged before the request. Scores do not depend on how the records are cut
// into splits. Records that were deleted, compacted away, or cut off the log are
// not found. A split that is damaged or missing is reported, and makes the search
// fail: never is it passed over.
package search

import (
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/query/snapshot"
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
type Coverage = snapshot.Coverage

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

// DamagedError: a part of the index cannot be read.
type DamagedError = snapshot.DamagedError
