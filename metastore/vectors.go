package metastore

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// VectorIndex is the value of vectors/<topic-id>: what somebody has asked to
// become of a topic's vector index. Without it the index is as the topic's
// configuration says.
type VectorIndex struct {
	// Dropped: the shards go, and none are made, until it is to be rebuilt.
	Dropped bool `json:"dropped,omitempty"`

	// Generation counts how often all of it was to be rebuilt, and Partitions how
	// often parts of it were besides. What was embedded in an earlier generation is
	// embedded again, and served meanwhile.
	Generation int64           `json:"generation,omitempty"`
	Partitions map[int32]int64 `json:"partitions,omitempty"`

	ModRevision int64 `json:"-"` // 0: the key does not exist
}

// Of is the generation of a partition.
func (x VectorIndex) Of(partition int32) int64 { return x.Generation + x.Partitions[partition] }

// VectorIndex returns what is asked of a topic's vector index.
func (v *View) VectorIndex(id topic.ID) VectorIndex { return v.vectors[id] }

func (v *View) applyVectors(rest string, e kv.Event) error {
	id, err := topic.ParseID(rest)
	if err != nil {
		return err
	}
	if e.Deleted {
		delete(v.vectors, id)
		return nil
	}
	x, err := decodeVectors(e.Entry)
	if err != nil {
		return err
	}
	v.vectors[id] = x
	return nil
}

func decodeVectors(e kv.Entry) (VectorIndex, error) {
	var x VectorIndex
	if e.ModRevision != 0 {
		if err := decode(e, &x); err != nil {
			return x, err
		}
	}
	x.ModRevision = e.ModRevision
	return x, nil
}

// RebuildVectors asks for the vector index of a topic's partitions, all if none
// is named, to be made anew of the log, whatever became of it before. What the
// compactors have made of an earlier generation is served until they have.
//
// Errors: ErrTopicUnknown.
func (s *Store) RebuildVectors(ctx context.Context, id topic.ID, partitions ...int32) error {
	return s.changeVectors(ctx, "rebuild the vector index of "+id.String(), id, func(x *VectorIndex) {
		if len(partitions) == 0 {
			x.Generation++
		}
		for _, p := range partitions {
			if x.Partitions == nil {
				x.Partitions = make(map[int32]int64)
			}
			x.Partitions[p]++
		}
		x.Dropped = false
	})
}

// DropVectors asks for a topic's vector index to be dropped, and not to be made
// again before RebuildVectors or ReviveVectors. Errors: ErrTopicUnknown.
func (s *Store) DropVectors(ctx context.Context, id topic.ID) error {
	return s.changeVectors(ctx, "drop the vector index of "+id.String(), id, func(x *VectorIndex) { x.Dropped = true })
}

// ReviveVectors forgets that a topic's vector index was dropped.
// Errors: ErrTopicUnknown.
func (s *Store) ReviveVectors(ctx context.Context, id topic.ID) error {
	return s.changeVectors(ctx, "forget that the vector index of "+id.String()+" was dropped", id, func(x *VectorIndex) { x.Dropped = false })
}

func (s *Store) changeVectors(ctx context.Context, what string, id topic.ID, change func(*VectorIndex)) error {
	key, topicKey := s.keys.vectors(id), s.keys.topicID(id)
	var seen VectorIndex
	s.catalog.View(func(v *View) { seen = v.VectorIndex(id) })
	for {
		next := seen
		next.Partitions = maps.Clone(seen.Partitions)
		change(&next)
		result, _, err := s.settle(ctx, what, kv.Txn{
			If: []kv.Compare{
				{Key: key, ModRevision: seen.ModRevision},
				{Key: topicKey, Exists: true}, // [topic-exists]
			},
			Then: []kv.Op{kv.Put(key, encode(next))},
			Read: []string{key, topicKey},
		})
		switch {
		case err != nil:
			return err
		case result.Succeeded:
			s.caughtUp(ctx, result.Revision)
			return nil
		case result.Read[topicKey].ModRevision == 0:
			return fmt.Errorf("%s: %w", what, ErrTopicUnknown)
		}
		if seen, err = decodeVectors(result.Read[key]); err != nil {
			return errors.Join(fmt.Errorf("%s: read %s", what, key), err)
		}
	}
}
