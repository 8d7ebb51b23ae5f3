package api

import (
	"context"
	"log/slog"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/forward"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// This file is all that the handlers know of the broker behind them. What it
// takes and returns is in package core, its errors too: errors.go says which
// Kafka code each becomes.

// Log accepts records for the partitions that this broker owns.
type Log interface {
	// Append validates records (which must be exactly one batch v2), gives it
	// offsets and hands it to the WAL. It does not wait for the disk; it may
	// wait, until ctx ends, for room in a budget. Calls for one connection come
	// in the client's order, and offsets are given in the order of the calls.
	// Offsets and timestamps are patched into records, which are copied before
	// Append returns.
	//
	// The Pending is not nil when the error is nil, and Wait is called once.
	Append(ctx context.Context, p topic.Partition, records []byte, o core.AppendOptions) (core.Pending, error)

	// EpochEnd answers OffsetForLeaderEpoch: the largest epoch ≤ epoch that the
	// partition knows and the offset where it ended (the high watermark for the
	// current one). (−1, −1) for an epoch of the future. current is the client's idea of
	// the leader epoch, −1 for none: ErrFencedEpoch, ErrUnknownEpoch.
	EpochEnd(ctx context.Context, p topic.Partition, current, epoch metastore.Epoch) (found metastore.Epoch, end int64, err error)

	// DeleteRecords raises the log start to before (−1: the high watermark),
	// for good, and returns it as it is then. It never lowers it.
	// ErrOffsetOutOfRange above the high watermark.
	DeleteRecords(ctx context.Context, p topic.Partition, before int64) (low int64, err error)

	// Producers are the idempotent producers that the partition knows, by id.
	Producers(p topic.Partition) ([]core.ActiveProducer, error)

	// LogDir is the directory of the write-ahead log.
	LogDir() (core.LogDir, error)
}

// Reader reads what is visible: below the high watermark.
type Reader interface {
	// Fetch reads from all positions at once, and waits until together they
	// have o.BytesMin bytes, any of them has an error, or o.WaitMax is over. It
	// returns one Fetched per position, in the same order. Only whole batches;
	// the first batch of the first position that has data is returned whatever
	// its size, everything else keeps to the limits.
	// The answer may lie in into, which the caller does not need any more.
	Fetch(ctx context.Context, into []core.Fetched, positions []core.Position, o core.FetchOptions) []core.Fetched

	// Bounds returns the partition's offsets now. current is the client's
	// leader epoch or −1, as in EpochEnd. epoch is the current leader epoch.
	Bounds(ctx context.Context, p topic.Partition, current metastore.Epoch) (b core.Bounds, epoch metastore.Epoch, err error)

	// OffsetForTime finds the first record with a timestamp ≥ ms, looking inside
	// batches. ok is false when there is none below the last stable offset
	// (committed) or the high watermark.
	OffsetForTime(ctx context.Context, p topic.Partition, ms int64, committed bool) (r core.RecordTime, ok bool, err error)

	// MaxTimestamp finds the record with the largest timestamp, the first of
	// them when several share it. ok is false when the partition is empty.
	MaxTimestamp(ctx context.Context, p topic.Partition) (r core.RecordTime, ok bool, err error)

	// EpochAt is the leader epoch under which an offset was, or will be, given;
	// −1 when not known.
	EpochAt(p topic.Partition, offset int64) metastore.Epoch

	// Size is how many bytes of batches the partition has, in the bucket and
	// in the write-ahead log.
	Size(ctx context.Context, p topic.Partition) (bytes int64, err error)
}

// Topics is what exists, from the catalog in memory, and how to change it.
// A returned topic is shared: nobody changes it.
type Topics interface {
	Topic(name string) (*metastore.Topic, bool)
	TopicByID(id topic.ID) (*metastore.Topic, bool)
	// All returns the topics sorted by name.
	All() []*metastore.Topic

	// CreateTopic makes the topic and returns when this broker's own catalog
	// shows it. metastore.ErrTopicExists.
	CreateTopic(ctx context.Context, t metastore.Topic) (metastore.Topic, error)
	// DeleteTopic removes the topic of that id; nothing happens to a younger
	// topic of the same name. metastore.ErrTopicUnknown.
	DeleteTopic(ctx context.Context, id topic.ID) error
	// UpdateTopic applies change to the stored topic under compare-and-swap,
	// maybe several times. An error of change ends it and is wrapped.
	// metastore.ErrTopicUnknown.
	UpdateTopic(ctx context.Context, id topic.ID, change func(*metastore.Topic) error) error
}

// Configs is what is set on brokers and groups while they run.
type Configs interface {
	// Configs returns all of it, from the catalog in memory: the same pointer as
	// long as nothing changes.
	Configs() *metastore.Configs
	// UpdateConfig applies change to what is set on a resource under
	// compare-and-swap, maybe several times, and returns when this broker's own
	// catalog shows the result. An error of change ends it and is wrapped.
	UpdateConfig(ctx context.Context, r metastore.ConfigResource, change func(set map[string]string) (map[string]string, error)) (map[string]string, error)
}

// Quotas are the rates that clients are held to.
type Quotas interface {
	// Quotas returns all of them, from the catalog in memory: the same pointer as
	// long as nothing changes.
	Quotas() *metastore.Quotas
	// UpdateQuota applies change to what is set for an entity under
	// compare-and-swap, maybe several times, and returns when this broker's own
	// catalog shows the result. An error of change ends it and is wrapped.
	UpdateQuota(ctx context.Context, e metastore.QuotaEntity, change func(set map[string]float64) (map[string]float64, error)) error
}

// Cluster is who serves what.
type Cluster interface {
	ClusterID() string
	Self() metastore.BrokerID
	// Brokers are the live ones, sorted by id, this one among them.
	Brokers() []metastore.Broker
	// Revision is the revision of the metadata that this broker has seen.
	Revision() int64
	// Leader tells which live broker owns p. Broker is metastore.NoBroker when
	// nobody does at the moment.
	Leader(p topic.Partition) core.Leader
	// NextLeader tells, of a p that nobody owns, which live broker is about to, and
	// in which epoch. Broker is metastore.NoBroker when that is not known.
	NextLeader(p topic.Partition) core.Leader
	// Coordinator is the live broker that owns a group's coordinator slot. false
	// when nobody does at the moment.
	Coordinator(group string) (metastore.Broker, bool)
	// Await returns when holds does, which it asks again whenever there may be
	// other leaders, or when ctx ends.
	Await(ctx context.Context, holds func() bool)
}

// ProducerIDs hands out producer ids, never the same one twice in a cluster.
type ProducerIDs interface {
	NextProducerID(ctx context.Context) (int64, error)
}

// Deps is the broker behind the handlers.
type Deps struct {
	Log         Log
	Reader      Reader
	Topics      Topics
	Configs     Configs
	Quotas      Quotas
	Cluster     Cluster
	ProducerIDs ProducerIDs
	Groups      *group.Coordinator
	Forward     *forward.Forwarder // may be nil unless Config.Shared
	Away        func() bool        // likewise: what this broker knows of the others is old
	LogLevel    *slog.LevelVar     // least severity that the process logs; may be nil in tests
}
