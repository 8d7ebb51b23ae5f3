package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// Stored is the durable part of a group's state.
type Stored = metastore.GroupState

// Storage keeps the groups of a slot for one ownership of it. Once that is over,
// what is written under it fails with metastore.ErrSlotLost.
type Storage interface {
	Offsets
	// Valid reports whether the ownership certainly lasts: nobody else can have
	// begun to coordinate the groups.
	Valid() bool
	// LoadGroup reads the state of a group; an unknown one has none.
	LoadGroup(ctx context.Context, group string) (Record, error)
	// GroupHeads returns the heads of all groups of the slot with a state.
	GroupHeads(ctx context.Context) (map[string][]byte, error)
	// Sweep deletes what deleted groups and deleted topics have left.
	Sweep(ctx context.Context) error
}

// Record is a group's stored state. One call at a time.
type Record interface {
	State() Stored
	// Write replaces the state, and tries until it knows the outcome or ctx
	// ends. After an error the record is of no use: metastore.ErrConflict,
	// somebody else wrote it; metastore.ErrSlotLost.
	Write(ctx context.Context, state Stored) error
}

// InMetastore returns the storage of a slot that the broker owns.
func InMetastore(store *metastore.Store, held *metastore.HeldSlot) Storage {
	return &inMetastore{store, held}
}

type inMetastore struct {
	store *metastore.Store
	held  *metastore.HeldSlot
}

func (m *inMetastore) Valid() bool { return m.held.Valid() }

func (m *inMetastore) LoadGroup(ctx context.Context, name string) (Record, error) {
	return m.store.LoadGroup(ctx, m.held, name)
}

func (m *inMetastore) GroupHeads(ctx context.Context) (map[string][]byte, error) {
	return m.store.GroupHeads(ctx, m.held.Slot())
}

func (m *inMetastore) FetchOffsets(ctx context.Context, name string) (map[topic.Partition]Offset, error) {
	stored, err := m.store.FetchOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	all := make(map[topic.Partition]Offset, len(stored))
	for p, c := range stored {
		o := Offset{Offset: c.Offset, LeaderEpoch: c.LeaderEpoch, Metadata: c.Metadata, CommittedAt: time.UnixMilli(c.CommittedAt)}
		if c.ExpiresAt != 0 {
			o.ExpiresAt = time.UnixMilli(c.ExpiresAt)
		}
		all[p] = o
	}
	return all, nil
}

func (m *inMetastore) CommitOffsets(ctx context.Context, name string, offsets map[topic.Partition]Offset) error {
	err := m.store.CommitOffsets(ctx, m.held, name, commits(offsets))
	if errors.Is(err, kv.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrCommitTooLarge, err)
	}
	return err
}

func commits(offsets map[topic.Partition]Offset) map[topic.Partition]metastore.OffsetCommit {
	commits := make(map[topic.Partition]metastore.OffsetCommit, len(offsets))
	for p, c := range offsets {
		o := metastore.OffsetCommit{Offset: c.Offset, LeaderEpoch: c.LeaderEpoch, Metadata: c.Metadata, CommittedAt: c.CommittedAt.UnixMilli()}
		if !c.ExpiresAt.IsZero() {
			o.ExpiresAt = c.ExpiresAt.UnixMilli()
		}
		commits[p] = o
	}
	return commits
}

func (m *inMetastore) ExpireOffsets(ctx context.Context, name string, expired map[topic.Partition]Offset) error {
	return m.store.ExpireOffsets(ctx, m.held, name, commits(expired))
}

func (m *inMetastore) Sweep(ctx context.Context) error {
	return errors.Join(m.store.SweepGroups(ctx, m.held), m.store.SweepOffsets(ctx, m.held))
}

func (m *inMetastore) DeleteGroupOffsets(ctx context.Context, name string) error {
	return m.store.DeleteGroupOffsets(ctx, m.held, name)
}

func (m *inMetastore) GroupsWithOffsets(ctx context.Context) ([]string, error) {
	return m.store.OffsetGroups(ctx, m.held.Slot())
}
