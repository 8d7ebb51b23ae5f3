package vector

import (
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
)

// UnknownTopicError: there is no such topic.
type UnknownTopicError struct{ Topic string }

// Error implements error.
func (e *UnknownTopicError) Error() string { return fmt.Sprintf("there is no topic %s", e.Topic) }

// NotEnabledError: the records of the topic have no vectors.
type NotEnabledError struct {
	Topic   string
	Dropped bool // they were, and somebody has dropped them
}

// Error implements error.
func (e *NotEnabledError) Error() string {
	if e.Dropped {
		return fmt.Sprintf("the vectors of topic %s were dropped; a backfill makes them again", e.Topic)
	}
	return fmt.Sprintf("topic %s has no vectors; its setting vector.enabled=true makes them", e.Topic)
}

// RequestError: what is asked for makes no sense for this topic.
type RequestError struct{ Reason string }

// Error implements error.
func (e *RequestError) Error() string { return e.Reason }

// ProviderError: the text of a request could not be embedded.
type ProviderError struct {
	Topic      string
	Temporary  bool          // the same request may succeed later
	RetryAfter time.Duration // at the earliest; 0: the provider did not say
	Err        error
}

// Error implements error.
func (e *ProviderError) Error() string {
	return fmt.Sprintf("the text could not be embedded by the model of topic %s: %v", e.Topic, e.Err)
}

// Unwrap gives errors.Is and errors.As what was wrong.
func (e *ProviderError) Unwrap() error { return e.Err }

// UnavailableError: the Milvus that has the topic's index does not answer.
type UnavailableError struct {
	Topic string
	Err   error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the index of topic %s is in a Milvus that does not answer as it should: %v", e.Topic, e.Err)
}

// Unwrap gives errors.Is and errors.As what was wrong.
func (e *UnavailableError) Unwrap() error { return e.Err }

// TooLargeError: the keys and values that are asked for are more than an answer has,
// which is put together before it is sent.
type TooLargeError struct{ BytesMax int64 }

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the records have more than %d bytes of keys and values: ask for fewer, or without include_value", e.BytesMax)
}

// DamagedError: a shard, or the record of a hit, cannot be read.
type DamagedError = snapshot.DamagedError

// LaggingError: with freshness latest, some partitions did not have all their
// vectors in time.
type LaggingError = tail.LaggingError
