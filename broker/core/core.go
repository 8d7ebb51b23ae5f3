// Package core holds what the two halves of a broker's log (ingest, fetch) and
// the protocol handlers (api) say to each other: options, answers, errors.
package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Errors of Log and Reader.
var (
	// ErrNotOwner: this broker does not own the partition (any more), or can no
	// longer prove that it does. The client looks for the owner again.
	ErrNotOwner = errors.New("not the owner of the partition")
	// ErrMoving is an ErrNotOwner of a partition that is being given to another
	// broker, and is still this one's.
	ErrMoving = fmt.Errorf("%w: it is being given to another broker", ErrNotOwner)
	// ErrFencedEpoch and ErrUnknownEpoch: the client named a leader epoch that
	// is older, or newer, than the one here.
	ErrFencedEpoch  = errors.New("leader epoch is older than the current one")
	ErrUnknownEpoch = errors.New("leader epoch is newer than the current one")
	// ErrStorage: the disk or the object store failed; nothing was acknowledged.
	ErrStorage = errors.New("storage failed")
	// ErrOverBudget: no room in memory or in the WAL; trying later is right.
	ErrOverBudget = errors.New("over the budget of bytes in flight")
	// ErrTimeout: the outcome was not known in time. The records may stay; an
	// idempotent retry is recognised.
	ErrTimeout = errors.New("timed out")
	// ErrClosed: the broker is stopping.
	ErrClosed = errors.New("broker is closed")

	// ErrCorruptBatch: CRC, length or structure of a batch is wrong.
	ErrCorruptBatch = errors.New("corrupt record batch")
	// ErrInvalidRecord: intact, but breaks a rule (several batches, a control
	// batch, a timestamp type or an offset delta that no client may send).
	// *RecordError says which record when one is to blame.
	ErrInvalidRecord = errors.New("invalid record")
	// ErrInvalidTimestamp: outside message.timestamp.{before,after}.max.ms.
	ErrInvalidTimestamp = errors.New("timestamp outside the allowed range")
	// ErrTooLarge: the batch is over max.message.bytes.
	ErrTooLarge = errors.New("record batch too large")
	// ErrMagic: a message format older than v2.
	ErrMagic = errors.New("unsupported message format")

	// ErrDuplicateSequence: a duplicate so old that its offset is forgotten.
	// (One that is remembered is no error: Appended.Duplicate.)
	ErrDuplicateSequence = errors.New("duplicate sequence number")
	// ErrOutOfOrderSequence: a gap in the producer's sequence.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch: a newer epoch of this producer was seen.
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
	// ErrUnknownProducer: the producer's state is gone, and its batch does not
	// begin at sequence 0.
	ErrUnknownProducer = errors.New("unknown producer id")
	// ErrSalvageLater: a batch that is salvaged has to wait for what its producer may
	// be sending again.
	ErrSalvageLater = errors.New("producers go before what is salvaged")
	// ErrSalvageStale: who salvages a batch has to look again for it in the log.
	ErrSalvageStale = errors.New("something was salvaged since the log was looked at")
	// ErrTransactional: a transactional batch outside any open transaction.
	ErrTransactional = errors.New("no transaction is open for this partition")

	// ErrOffsetOutOfRange: outside [LogStart, HighWatermark].
	ErrOffsetOutOfRange = errors.New("offset out of range")
)

// RecordError is an ErrInvalidRecord or ErrInvalidTimestamp that names the record.
type RecordError struct {
	Index int32 // within the batch, from 0
	Err   error
}

func (e *RecordError) Error() string { return e.Err.Error() }

// Unwrap gives errors.Is the reason.
func (e *RecordError) Unwrap() error { return e.Err }

// SalvageClient is the client id of brokers that append again what another owner
// has overtaken.
const SalvageClient = "chronik-salvage"

// Up to where a batch that is salvaged was looked for, if not up to an offset.
const (
	Unseen   = 1 << 62 // it need not be looked for
	Unlooked = -1      // its sender has not looked yet
)

// AppendOptions are what the topic's configuration and the request say. Limits
// are meant as they stand: zero allows nothing.
type AppendOptions struct {
	Acks                 int16 // 0, 1, −1
	Object               bool  // durability=object: what acks −1 waits for
	LogAppendTime        bool  // message.timestamp.type
	MessageBytesMax      int32 // max.message.bytes, of the whole batch
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms
	Compacted            bool  // cleanup.policy has compact: a record must have a key
	Recompress           bool  // compression.type is not that of the producer but
	Codec                batch.Codec
	CompressionLevel     int // 0: the codec's default
	// Salvage: it comes from the write-ahead log of a former owner, who has looked for
	// it in the log below the batch's base offset − 1 (Unseen: need not look; Unlooked:
	// asks whether it is time to).
	Salvage bool
	// Begun is when the request came: its batches wait for room together, and not
	// one after the other. Zero is now.
	Begun time.Time
}

// ActiveProducer is what a partition knows of one idempotent producer.
type ActiveProducer struct {
	ID           int64
	Epoch        int16
	LastSequence int32 // −1: none of this epoch yet
	LastUsed     int64 // ms since the epoch, by the broker's clock
}

// LogDir is where a broker keeps its write-ahead log, and the room on its disk.
type LogDir struct {
	Path          string
	Total, Usable int64 // bytes; −1: not known
}

// Pending is a batch that has its offsets and waits to be durable.
type Pending interface {
	// Wait returns when the batch is as durable as its acks ask for and the
	// broker has seen itself to be still the owner, or with ErrTimeout when ctx
	// ends first.
	Wait(ctx context.Context) (Appended, error)

	// Confirm is called when the answer is about to be sent, which may be long
	// after Wait returned: other batches of the request were waited for. It
	// returns ErrNotOwner when the acknowledgement may not be given any more.
	Confirm() error
}

// Appended is the acknowledgement of one batch.
type Appended struct {
	First     int64 // offset of its first record
	Timestamp int64 // ms: its log append time, or −1 under CreateTime
	LogStart  int64
	Duplicate bool // it was there already; the values are those of the original
}

// Bounds are the offsets of a partition as a client may know them. They never
// go back, whichever broker tells them.
type Bounds struct {
	LogStart      int64
	HighWatermark int64
	LastStable    int64
}

// RecordTime is a record's offset and timestamp, with the leader epoch under
// which it was written (−1 when not known).
type RecordTime struct {
	Offset    int64
	Timestamp int64
	Epoch     metastore.Epoch
}

// Position is where a client wants to go on reading a partition.
type Position struct {
	Partition topic.Partition
	First     int64
	BytesMax  int
	Epoch     metastore.Epoch // the client's leader epoch, −1: do not check
	Last      metastore.Epoch // of the last record that it has, −1: none
}

// FetchOptions hold for all positions of one Fetch.
type FetchOptions struct {
	BytesMin, BytesMax int
	WaitMax            time.Duration
	Committed          bool // read_committed: up to the last stable offset

	// Enough ends the wait, with what there is: the request's other partitions,
	// which are another broker's, have something to say. nil: there are none.
	Enough <-chan struct{}

	// Room, unless nil, bounds what all answers together may have.
	Room AnswerRoom

	// Replica names the broker that the client should rather read a partition's
	// older records from (KIP-392); nil, or false: there is none.
	Replica func(topic.Partition) (metastore.BrokerID, bool)
	// AsReplica lets this broker serve what is committed of partitions that
	// another one owns, to clients that were sent here so.
	AsReplica bool
}

// AnswerRoom is memory for one answer, out of what there is for all of them.
type AnswerRoom interface {
	// Take sets aside as much of wanted bytes as there is, what was taken before
	// included.
	Take(wanted int) int
	// First sets aside all of so many bytes for what cannot be less, a first
	// batch, unless other answers fill the room: one answer may go past it.
	First(bytes int) bool
	// Wait is for an answer that First found no room for: freed gets something
	// when it is worth another try, until done is called.
	Wait() (freed <-chan struct{}, done func())
	// Keep gives back all but used bytes.
	Keep(used int)
}

// Fetched answers one Position.
type Fetched struct {
	// Records are whole batches, in one or more pieces that need no copying to
	// be sent. Nobody changes the bytes any more; they may be kept.
	Records [][]byte
	Bounds  // set also with ErrOffsetOutOfRange
	// Replica is where the client should read on instead, when Elsewhere is set:
	// then there are no records.
	Elsewhere bool
	Replica   metastore.BrokerID
	// Aborted transactions that overlap the records; only when Committed.
	Aborted []AbortedTxn
	// Err is ErrNotOwner, ErrFencedEpoch, ErrUnknownEpoch, ErrOffsetOutOfRange,
	// ErrStorage, a format error (that range is damaged), or nil.
	Err error
}

// AbortedTxn is an aborted transaction of a producer, from its first offset on.
type AbortedTxn struct {
	ProducerID int64
	First      int64
}

// Leader is one ownership of a partition.
type Leader struct {
	Broker metastore.BrokerID
	Epoch  metastore.Epoch
}
