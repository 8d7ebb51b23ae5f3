package metastore

import (
	"context"
	"encoding/json"
	"fmt"

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

// Deletions returns the objects that are marked for deletion.
func (s *Store) Deletions(ctx context.Context) ([]Deletion, error) {
	entries, _, err := s.kv.Range(ctx, s.keys.under(dirDeletions))
	if err != nil {
		return nil, fmt.Errorf("read the deletions: %w", err)
	}
	deletions := make([]Deletion, len(entries))
	for i, e := range entries {
		if err := json.Unmarshal(e.Value, &deletions[i]); err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Key, err)
		}
		deletions[i].ModRevision = e.ModRevision
	}
	return deletions, nil
}

// ForgetDeletions removes marks of objects that have been deleted. A mark that
// was put again since it was read stays.
func (s *Store) ForgetDeletions(ctx context.Context, deletions ...Deletion) error {
	for _, d := range deletions {
		key := s.keys.deletion(d.Object)
		_, _, err := s.settle(ctx, fmt.Sprintf("forget the deletion of %s", d.Object), kv.Txn{
			If:   []kv.Compare{{Key: key, ModRevision: d.ModRevision}},
			Then: []kv.Op{kv.Delete(key)},
		})
		if err != nil {
			return err
		}
	}
	return nil
}
