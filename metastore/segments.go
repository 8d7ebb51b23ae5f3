package metastore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// DropSegment deletes a segment, every range of which has been rewritten, from
// the metadata, and marks its object for deletion in the same transaction. A
// segment that is gone already is no error: whoever dropped it marked it.
func (s *Store) DropSegment(ctx context.Context, id string, d Deletion) error {
	what := fmt.Sprintf("drop segment %s", id)
	var known segmentEntry
	s.catalog.View(func(v *View) {
		if found := v.segments[id]; found != nil {
			known = *found
		}
	})
	if known.revision == 0 {
		return nil
	}
	if d.Object != known.Object {
		return fmt.Errorf("%s: %w: it lies in %s, not in %s", what, ErrInvalid, known.Object, d.Object)
	}
	txn := kv.Txn{Then: []kv.Op{kv.Put(s.keys.deletion(d.Object), encode(d))}}
	for part := range known.parts {
		key := s.keys.segment(id, part)
		txn.If = append(txn.If, kv.Compare{Key: key, ModRevision: known.revision})
		txn.Then = append(txn.Then, kv.Delete(key))
	}
	// Refused means that the key is gone, by us or by another: it never comes
	// back, for a segment's id is used once.
	result, _, err := s.settle(ctx, what, txn)
	if err != nil {
		return err
	}
	s.caughtUp(ctx, result.Revision)
	return nil
}

// MergeSegments puts merged segments in the place of old ones, in one
// transaction, and marks the objects of the old ones for deletion from notBefore
// on. It reports whether that came about: not if one of the old ones was dropped
// or merged by somebody else, and then the objects of the new ones are left to
// the orphan sweep. With an error that wraps kv.ErrUnknownOutcome they may be in use.
//
// What the old ones hold above the log marks the new ones have to hold in the
// same epochs, else it is ErrInvalid: that is what readers are left with. Readers
// see the old ones or the new ones, never both and never neither.
// Errors: kv.ErrTooLarge when it does not fit one transaction.
func (s *Store) MergeSegments(ctx context.Context, old []string, merged []Segment, notBefore time.Time) (bool, error) {
	what := fmt.Sprintf("merge %d segments", len(old))
	var known []segmentEntry
	var lost error
	s.catalog.View(func(v *View) {
		for _, id := range old {
			if found := v.segments[id]; found != nil {
				known = append(known, *found)
			}
		}
		lost = v.checkMerge(known, merged)
	})
	if len(known) < len(old) {
		return false, nil
	}
	if lost != nil {
		return false, fmt.Errorf("%s: %w", what, lost)
	}
	var txn kv.Txn
	for _, e := range known {
		for part := range e.parts {
			key := s.keys.segment(e.ID, part)
			txn.If = append(txn.If, kv.Compare{Key: key, ModRevision: e.revision})
			txn.Then = append(txn.Then, kv.Delete(key))
		}
		txn.Then = append(txn.Then, kv.Put(s.keys.deletion(e.Object), encode(Deletion{Object: e.Object, NotBefore: notBefore})))
	}
	for i := range merged {
		if err := checkSegment(&merged[i]); err != nil {
			return false, fmt.Errorf("%s: %w", what, err)
		}
		for part, value := range encodeSegment(&merged[i]) {
			txn.Then = append(txn.Then, kv.Put(s.keys.segment(merged[i].ID, part), value))
		}
	}
	if !fits(txn, 0) {
		return false, fmt.Errorf("%s: %w", what, kv.ErrTooLarge)
	}
	result, doubt, err := s.settle(ctx, what, txn)
	if err != nil {
		return false, err
	}
	s.caughtUp(ctx, result.Revision)
	if result.Succeeded || !doubt || len(merged) == 0 {
		return result.Succeeded, nil
	}
	// A lost try was applied if the new key is there; if it is not, that may have
	// been merged on since, which is nobody's loss.
	_, found, err := s.kv.Get(ctx, s.keys.segment(merged[0].ID, 0))
	if err != nil {
		return false, inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
	}
	return found, nil
}

// checkMerge wants everything of the old segments that readers need to be in the
// merged ones.
func (v *View) checkMerge(old []segmentEntry, merged []Segment) error {
	type kept struct {
		epoch       Epoch
		first, next int64
	}
	has := make(map[topic.Partition][]kept)
	for i := range merged {
		for _, r := range merged[i].Ranges {
			has[r.Partition] = append(has[r.Partition], kept{r.Epoch, r.First, r.Next})
		}
	}
	for i := range old {
		for _, r := range old[i].Ranges {
			held := func(k kept) bool { return k.epoch == r.Epoch && k.first <= r.First && r.Next <= k.next }
			if !v.Rewritten(r) && !slices.ContainsFunc(has[r.Partition], held) {
				return fmt.Errorf("%w: [%d, %d) of %s in segment %s would be lost", ErrInvalid, r.First, r.Next, r.Partition, old[i].ID)
			}
		}
	}
	return nil
}

// Rewritten reports that nobody needs a range of a segment any more: its offsets
// are below the log mark, or its topic is gone. [topic-exists]
func (v *View) Rewritten(r SegmentRange) bool {
	t := v.topicsByID[r.Partition.Topic]
	if t == nil || r.Partition.Index >= t.Partitions {
		return true
	}
	known := v.partitions[r.Partition]
	return known != nil && r.Next <= known.manifest.Marks.Log
}

// Deletions returns the objects that are marked for deletion.
func (s *Store) Deletions(ctx context.Context) ([]Deletion, error) {
	entries, _, err := s.kv.Range(ctx, s.keys.under(dirDeletions))
	if err != nil {
		return nil, fmt.Errorf("read the deletions: %w", err)
	}
	deletions := make([]Deletion, len(entries))
	for i, e := range entries {
		if err := decode(e, &deletions[i]); err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Key, err)
		}
		deletions[i].ModRevision = e.ModRevision
	}
	return deletions, nil
}

// ForgetDeletions removes marks of objects that have been deleted. A mark that
// was put again since it was read stays.
func (s *Store) ForgetDeletions(ctx context.Context, deletions ...Deletion) error {
	for len(deletions) > 0 {
		txn := kv.Txn{}
		n := 0
		for _, d := range deletions {
			key := s.keys.deletion(d.Object)
			if n > 0 && !fits(txn, 1, kv.Delete(key)) {
				break
			}
			txn.If = append(txn.If, kv.Compare{Key: key, ModRevision: d.ModRevision})
			txn.Then = append(txn.Then, kv.Delete(key))
			n++
		}
		result, _, err := s.settle(ctx, fmt.Sprintf("forget %d deletions", n), txn)
		if err != nil {
			return err
		}
		if !result.Succeeded && n > 1 { // one of them was put again: one by one
			for _, d := range deletions[:n] {
				if err := s.ForgetDeletions(ctx, d); err != nil {
					return err
				}
			}
		}
		deletions = deletions[n:]
	}
	return nil
}
