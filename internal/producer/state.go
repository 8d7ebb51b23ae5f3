// Package producer keeps the state by which idempotent produce works: per
// partition and producer, the epoch and the last five batches.
//
// It is pure: no clock, no I/O. It travels with the partition: the footers of
// segments hold what changed in them, manifests hold a snapshot at the log mark.
package producer

import (
	"fmt"
	"math"
)

// BatchesMax is how many batches are remembered per producer and partition,
// Kafka's own number: a client may have that many requests in flight.
const BatchesMax = 5

// Batch is what is remembered of one batch of a producer.
type Batch struct {
	FirstSequence int32
	LastSequence  int32
	First         int64 // offset of its first record
	Timestamp     int64 // ms: its log append time, or -1 under CreateTime
}

// RunsMax is how many runs of earlier epochs are remembered.
const RunsMax = 2

// Run is a stretch of the sequences of one epoch of a producer that are all in the
// log, or were: those up to Last, so many. How long ago, does not matter.
type Run struct {
	Epoch int16
	Last  int32
	N     int32 // from 1 to RunMax
}

// RunMax bounds the length of a run: sequences go round, and what is half of a round
// behind another is before it.
const RunMax = 1 << 30

// has tells whether sequences of the run's epoch lie in it.
func (r Run) has(first, last int32) bool {
	behind := int64((r.Last-last)&math.MaxInt32) + int64((last-first)&math.MaxInt32)
	return behind < int64(r.N)
}

// State is what one partition knows of one producer.
type State struct {
	ID       int64
	Epoch    int16
	LastUsed int64   // ms since the epoch, wall clock: for expiry
	Batches  []Batch // oldest first, 0..BatchesMax
	Run      int32   // how many sequences up to the last batch's are all in the log; 0: those of Batches
	Past     []Run   // those of earlier epochs, oldest first, 0..RunsMax
}

// Remembered is the run that the batches of a state make: the last ones, back to a
// gap.
func (s *State) Remembered() int32 {
	n := int64(0)
	for i := len(s.Batches) - 1; i >= 0; i-- {
		b := s.Batches[i]
		if i+1 < len(s.Batches) && s.Batches[i+1].FirstSequence != Successor(b.LastSequence) {
			break
		}
		n += int64(length(b)) + 1
	}
	return int32(min(n, RunMax))
}

// ValidateRuns tells what no state has.
func (s *State) ValidateRuns() error {
	if s.Run < 0 || s.Run > RunMax || s.Run > 0 && len(s.Batches) == 0 {
		return fmt.Errorf("a run of %d with %d batches", s.Run, len(s.Batches))
	}
	if len(s.Past) > RunsMax {
		return fmt.Errorf("%d runs of earlier epochs", len(s.Past))
	}
	for _, r := range s.Past {
		if r.N < 1 || r.N > RunMax || r.Epoch == s.Epoch {
			return fmt.Errorf("a run of %d in epoch %d beside the current epoch %d", r.N, r.Epoch, s.Epoch)
		}
	}
	return nil
}
