package broker

import (
	"context"
	"time"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// newGroups returns the coordinator of this broker: of the groups that clients
// are told to find here, while it has a session.
func newGroups(b *Broker) *group.Coordinator {
	serves := func(name string) bool {
		found, ok := api.Coordinator(name, cluster{b}.Brokers())
		return ok && found.ID == b.cfg.ID && b.current.Load() != nil
	}
	return group.New(b.cfg.Group, offsets{b.deps.Store}, serves, b.log)
}

// offsets keeps a group's offsets in the metadata store.
type offsets struct{ store *metastore.Store }

func (o offsets) FetchOffsets(ctx context.Context, name string) (map[topic.Partition]group.Offset, error) {
	stored, err := o.store.FetchOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	all := make(map[topic.Partition]group.Offset, len(stored))
	for p, c := range stored {
		all[p] = group.Offset{Offset: c.Offset, LeaderEpoch: c.LeaderEpoch, Metadata: c.Metadata, CommittedAt: time.UnixMilli(c.CommittedAt)}
	}
	return all, nil
}

func (o offsets) CommitOffsets(ctx context.Context, name string, offsets map[topic.Partition]group.Offset) error {
	commits := make(map[topic.Partition]metastore.OffsetCommit, len(offsets))
	for p, c := range offsets {
		commits[p] = metastore.OffsetCommit{Offset: c.Offset, LeaderEpoch: c.LeaderEpoch, Metadata: c.Metadata, CommittedAt: c.CommittedAt.UnixMilli()}
	}
	return o.store.CommitOffsets(ctx, name, commits)
}

func (o offsets) DeleteGroupOffsets(ctx context.Context, name string) error {
	return o.store.DeleteGroupOffsets(ctx, name)
}

func (o offsets) GroupsWithOffsets(ctx context.Context) ([]string, error) {
	return o.store.OffsetGroups(ctx)
}
