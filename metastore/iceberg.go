package metastore

import (
	"context"
	"fmt"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// IcebergTable is the value of iceberg/<topic-id>: which metadata file is the
// current one of the Iceberg table that a topic is.
type IcebergTable struct {
	Object  string `json:"object"`  // the metadata file
	Version int64  `json:"version"` // counts the swaps, from 1

	// Revision is the catalog's that the oldest snapshot of the table shows, among
	// those that it still has. What lost its name in a manifest later than that may
	// be read through a snapshot; what lost it by then is in none of them.
	Revision int64 `json:"revision"`

	// Shown is the catalog's revision that the newest snapshot shows.
	Shown int64 `json:"shown,omitempty"`

	ModRevision int64 `json:"-"` // 0: the key does not exist yet
}

// Iceberg returns the Iceberg table of a topic.
func (v *View) Iceberg(id topic.ID) (IcebergTable, bool) {
	t, ok := v.iceberg[id]
	return t, ok
}

func (v *View) applyIceberg(rest string, e kv.Event) error {
	id, err := topic.ParseID(rest)
	if err != nil {
		return err
	}
	if e.Deleted {
		delete(v.iceberg, id)
		return nil
	}
	t, err := decodeIceberg(e.Entry)
	if err != nil {
		return err
	}
	v.iceberg[id] = t
	return nil
}

func decodeIceberg(e kv.Entry) (IcebergTable, error) {
	var t IcebergTable
	err := decode(e, &t)
	t.ModRevision = e.ModRevision
	return t, err
}

// SwapIceberg makes another metadata file the current one of a topic's Iceberg
// table, if seen still is, and puts with it or after it the deletions of what no
// snapshot needs any more. next.Version is seen.Version + 1.
//
// Errors: ErrConflict (somebody else was first, or the topic is gone), and then
// nothing has changed; the caller's objects are left to the orphan sweep.
func (s *Store) SwapIceberg(ctx context.Context, id topic.ID, seen, next IcebergTable, deletions []Deletion) error {
	what := fmt.Sprintf("swap the Iceberg table of %s", id)
	if next.Object == "" || next.Version != seen.Version+1 || next.Revision < seen.Revision {
		return fmt.Errorf("%s: %w: %+v after %+v", what, ErrInvalid, next, seen)
	}
	key := s.keys.iceberg(id)
	txn := kv.Txn{
		If: []kv.Compare{
			{Key: key, ModRevision: seen.ModRevision}, // [iceberg-compare]
			{Key: s.keys.topicID(id), Exists: true},   // [topic-exists]
		},
		Then: []kv.Op{kv.Put(key, encode(next))},
		Read: []string{key},
	}
	ops := make([]kv.Op, len(deletions))
	for i, d := range deletions {
		ops[i] = kv.Put(s.keys.deletion(d.Object), encode(d))
	}
	for len(ops) > 0 && fits(txn, 0, ops[0]) {
		txn.Then = append(txn.Then, ops[0])
		ops = ops[1:]
	}
	result, doubt, err := s.settle(ctx, what, txn)
	if err != nil {
		return err
	}
	if !result.Succeeded {
		now := IcebergTable{}
		if e := result.Read[key]; e.ModRevision != 0 {
			if now, err = decodeIceberg(e); err != nil {
				return inDoubt(doubt, fmt.Errorf("%s: read %s: %w", what, key, err))
			}
		}
		if now.Object != next.Object { // names are used once: this one would be ours
			return inDoubt(doubt, fmt.Errorf("%s: %w", what, ErrConflict))
		}
	}
	s.caughtUp(ctx, result.Revision)
	return s.writeAll(ctx, what, ops)
}

// DropIceberg ends the Iceberg table of a topic, if it is still as seen. Its
// metadata files are left to the orphan sweep. Errors: ErrConflict.
func (s *Store) DropIceberg(ctx context.Context, id topic.ID, seen IcebergTable) error {
	what := fmt.Sprintf("drop the Iceberg table of %s", id)
	key := s.keys.iceberg(id)
	result, doubt, err := s.settle(ctx, what, kv.Txn{
		If:   []kv.Compare{{Key: key, ModRevision: seen.ModRevision}},
		Then: []kv.Op{kv.Delete(key)},
		Read: []string{key},
	})
	if err != nil {
		return err
	}
	if !result.Succeeded && result.Read[key].ModRevision != 0 {
		return inDoubt(doubt, fmt.Errorf("%s: %w", what, ErrConflict))
	}
	s.caughtUp(ctx, result.Revision)
	return nil
}
