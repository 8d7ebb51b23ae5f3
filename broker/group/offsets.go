package group

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/chronik-stream/chronik/broker/group/consumer"
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
	// ExpireOffsets forgets offsets, but those that were committed anew since.
	ExpireOffsets(ctx context.Context, group string, expired map[topic.Partition]Offset) error
	// GroupsWithOffsets lists the groups of the slot that have committed anything.
	GroupsWithOffsets(ctx context.Context) ([]string, error)
}

// CheckMetadata refuses what is too long to be stored with an offset.
func (c *Coordinator) CheckMetadata(metadata string) error {
	if len(metadata) > c.metadata {
		c.metrics.metadataRefused.Inc()
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMetadataTooLarge, len(metadata), c.metadata)
	}
	return nil
}

// Commit stores offsets for a member, or for somebody outside an empty group.
// ErrGroupUnknown for a member of a group that there is not.
func (c *Coordinator) Commit(ctx context.Context, group, id, instance string, generation int32, offsets map[topic.Partition]Offset) error {
	var refused error
	var batch *commitBatch
	_, err := c.with(ctx, group, func(g *running, now time.Time) {
		switch {
		case g.kind != nil:
			refused = g.committable(now, id, instance, generation, maps.Keys(offsets))
		case generation >= 0:
			refused = ErrGroupUnknown
		}
		if refused == nil && len(offsets) > 0 {
			// Here, so that nobody who may commit later comes before it.
			batch, refused = g.term.commits.add(group, offsets)
		}
	})
	if err = cmp.Or(err, refused); err != nil || batch == nil {
		return err
	}
	return batch.wait(ctx)
}

// Committed returns all that a group has committed; an unknown group nothing.
func (c *Coordinator) Committed(ctx context.Context, group string) (map[topic.Partition]Offset, error) {
	t, err := c.check(group)
	if err != nil {
		return nil, err
	}
	return t.storage.FetchOffsets(ctx, group)
}

// DeleteOffsets forgets offsets of topics that no member reads; of the others it
// returns ErrSubscribed. A group that does not use the protocol of Kafka's
// consumers has to be empty.
func (c *Coordinator) DeleteOffsets(ctx context.Context, group string, partitions map[string][]topic.Partition) (refused map[string]error, err error) {
	if group == "" {
		return nil, ErrInvalidGroupID
	}
	t, err := c.check(group)
	if err != nil {
		return nil, err
	}
	// Before it is looked who reads what: what a reader commits from then on stays.
	committed, err := t.storage.FetchOffsets(ctx, group)
	if err != nil {
		return nil, err
	}
	known, busy := false, false
	refused = make(map[string]error)
	_, err = c.with(ctx, group, func(g *running, _ time.Time) {
		if known = g.kind != nil; !known {
			return
		}
		s := g.kind.Summary()
		busy = s.Phase != Empty && s.ProtocolType != consumer.ClassicType
		for name := range partitions {
			if g.kind.Subscribed(name) {
				refused[name] = ErrSubscribed
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case busy:
		return nil, ErrNotEmpty
	case !known && len(committed) == 0:
		return nil, ErrGroupUnknown
	}
	gone := make(map[topic.Partition]Offset)
	for name, of := range partitions {
		for _, p := range of {
			if o, ok := committed[p]; ok && refused[name] == nil {
				gone[p] = o
			}
		}
	}
	return refused, t.storage.ExpireOffsets(ctx, group, gone)
}
