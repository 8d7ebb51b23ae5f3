package committed

import (
	"cmp"
	"context"
	"errors"
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
//
// What is damaged is left out: then the states of the rest come with an error
// that wraps format.ErrCorrupt, and some may be older than they should be.
func (r *Reader) Producers(ctx context.Context, p topic.Partition) ([]producer.State, error) {
	var states map[int64]producer.State
	var damage []error
	err := r.planned(ctx, p, func(v metastore.PartitionView) error {
		damage = nil
		section, err := r.FetchManifest(ctx, v.Manifest, p)
		if errors.Is(err, format.ErrCorrupt) {
			damage = append(damage, err)
		} else if err != nil {
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
			if errors.Is(err, format.ErrCorrupt) {
				damage = append(damage, err)
				continue
			}
			if err != nil {
				return err
			}
			rng, ok := f.Find(p, ref.First)
			if !ok {
				damage = append(damage, r.damage(ref.Segment.Object, 0, format.Corrupt(0, "its footer has no range of %v at offset %d, the metadata do", p, ref.First)))
				continue
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
	sorted := slices.SortedFunc(maps.Values(states), func(a, b producer.State) int { return cmp.Compare(a.ID, b.ID) })
	if damage != nil {
		return sorted, fmt.Errorf("reading the producers of %v: %w", p, errors.Join(damage...))
	}
	return sorted, nil
}
