// Package producer keeps the state by which idempotent produce works: per
// partition and producer, the epoch and the last five batches.
//
// It is pure: no clock, no I/O. It travels with the partition: the footers of
// segments hold what changed in them, manifests hold a snapshot at the log mark.
package producer

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

// State is what one partition knows of one producer.
type State struct {
	ID       int64
	Epoch    int16
	LastUsed int64   // ms since the epoch, wall clock: for expiry
	Batches  []Batch // oldest first, 0..BatchesMax
}
