package group

import (
	"context"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Offset is what a group committed for one partition.
type Offset struct {
	Offset      int64           // the next record to read
	LeaderEpoch metastore.Epoch // of the last record read; −1: not known
	Metadata    string          // the client's own words
	CommittedAt time.Time
	ExpiresAt   time.Time // as an old client wished; zero: as all others do
}

// Offsets keeps committed offsets. When Commit returns nil they are durable and
// seen by every later Fetch, whichever broker asks.
type Offsets interface {
	// FetchOffsets returns all that the group committed; an unknown group has none.
	FetchOffsets(ctx context.Context, group string) (map[topic.Partition]Offset, error)
	CommitOffsets(ctx context.Context, group string, offsets map[topic.Partition]Offset) error
	// DeleteGroupOffsets forgets the group's offsets; of an unknown group too.
	DeleteGroupOffsets(ctx context.Context, group string) error
	// DeleteOffsets forgets offsets of some partitions; those never committed too.
	DeleteOffsets(ctx context.Context, group string, partitions []topic.Partition) error
	// ExpireOffsets forgets offsets, but those that were committed anew since.
	ExpireOffsets(ctx context.Context, group string, expired map[topic.Partition]Offset) error
	// GroupsWithOffsets lists the groups that have committed anything.
	GroupsWithOffsets(ctx context.Context) ([]string, error)
}
