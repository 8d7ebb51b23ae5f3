package metastore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chronik-stream/chronik/internal/topic"
)

// Errors of this package, to be tested with errors.Is. One that also wraps
// kv.ErrUnknownOutcome leaves open whether the write was or will be applied.
var (
	// ErrFenced: the broker's session is over. Nothing is written under it any
	// more; what it had in flight may have been applied before it ended.
	ErrFenced = errors.New("session is over")
	// ErrSlotLost: the ownership of a coordinator slot is over, because it was
	// released, or taken anew. Nothing is written under it any more.
	ErrSlotLost = errors.New("coordinator slot was lost")
	// ErrLapsed: a lease was not renewed in time, as far as this side knows.
	ErrLapsed = errors.New("lease lapsed")
	// ErrClosed: the session, membership, lock or store was closed by its holder.
	ErrClosed = errors.New("closed")
	// ErrBrokerTaken: another machine lives under the broker's id, or did until
	// less than a lease ago.
	ErrBrokerTaken = errors.New("the broker's id is in use")
	// ErrOutOfOrder: a commit's sequence was used for another segment.
	ErrOutOfOrder = errors.New("commit out of order")
	// ErrTopicExists: the name is taken.
	ErrTopicExists = errors.New("topic already exists")
	// ErrTopicUnknown: there is no such topic, or it was deleted meanwhile.
	ErrTopicUnknown = errors.New("unknown topic")
	// ErrConflict: somebody else changed it first. Look at the catalog again.
	ErrConflict = errors.New("changed by somebody else")
	// ErrInvalid: the write would break an invariant and was not sent.
	ErrInvalid = errors.New("invalid metadata write")
)

// ConflictError is an ErrConflict that names the partitions in conflict. None
// of the swaps that shared their transaction was applied by this call.
type ConflictError struct {
	Partitions []topic.Partition
}

// Error implements error.
func (e *ConflictError) Error() string {
	names := make([]string, len(e.Partitions))
	for i, p := range e.Partitions {
		names[i] = p.String()
	}
	return fmt.Sprintf("%s: %v", strings.Join(names, ", "), ErrConflict)
}

// Unwrap gives errors.Is the kind.
func (e *ConflictError) Unwrap() error { return ErrConflict }
