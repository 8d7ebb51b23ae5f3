package committed

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Producers returns the state of the partition's producers at the committed
// next, sorted by id: the manifest's snapshot, and laid over it, in the order of
// offsets, what the ranges above the log mark say of the producers in them. The
// states are shared: do not change the batches in them.
func (r *Reader) Producers(ctx context.Context, p topic.Partition) ([]producer.State, error) {
	var states map[int64]producer.State
	err := r.planned(ctx, p, func(v metastore.PartitionView) error {
		section, err := r.FetchManifest(ctx, v.Manifest, p)
		if err != nil {
			return err
		}
		states = make(map[int64]producer.State, len(section.Producers))
		for _, s := range section.Producers {
			states[s.ID] = s
		}
		for _, ref := range v.Ranges {
			if ref.Next <= v.Manifest.Marks.Log {
				continue
			}
			f, err := r.footer(ctx, ref.Segment.Object, ref.Segment.Size)
			if err != nil {
				return err
			}
			rng, ok := f.Find(p, ref.First)
			if !ok {
				return r.damage(ref.Segment.Object, 0, format.Corrupt(0, "its footer has no range of %v at offset %d, the metadata do", p, ref.First))
			}
			for _, s := range rng.Producers {
				states[s.ID] = s
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the producers of %v: %w", p, err)
	}
	return slices.SortedFunc(maps.Values(states), func(a, b producer.State) int { return cmp.Compare(a.ID, b.ID) }), nil
}
