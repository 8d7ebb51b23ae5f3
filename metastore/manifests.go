package metastore

import (
	"context"
	"fmt"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// ManifestSwap replaces what a partition's manifest key says.
type ManifestSwap struct {
	Partition topic.Partition
	Seen, New ManifestRef // New.Version is Seen.Version + 1
}

// check holds a swap against what may never happen to a manifest.
func (w ManifestSwap) check() error {
	o, n := w.Seen, w.New
	switch {
	case n.Object == "" || n.Position < 0 || n.Length <= 0:
		return fmt.Errorf("%w: manifest %q at %d with %d bytes", ErrInvalid, n.Object, n.Position, n.Length)
	case n.Version != o.Version+1:
		return fmt.Errorf("%w: version %d after %d", ErrInvalid, n.Version, o.Version)
	case n.LogStart < o.LogStart:
		return fmt.Errorf("%w: log start %d after %d", ErrInvalid, n.LogStart, o.LogStart)
	case n.Marks.Log < o.Marks.Log:
		// The other marks may go back: a feature that is disabled starts anew.
		return fmt.Errorf("%w: log mark %d after %d", ErrInvalid, n.Marks.Log, o.Marks.Log)
	}
	return nil
}

// SwapManifests replaces the manifests of some partitions, all or none, and with
// them puts the deletions of what the new ones do not name any more.
//
// Up to 64 partitions of one topic, or 50 of as many topics, and some thirty
// deletions are one transaction. More are several, in the order given, and
// deletions always come with or after the last swap: an object is never marked
// while a manifest may name it. A log start that somebody raised meanwhile is
// kept and is no conflict.
//
// Errors: *ConflictError names the partitions whose manifest or topic somebody
// else changed; its transaction had no effect. Objects that the refused swaps
// name are left to the orphan sweep: if the error wraps kv.ErrUnknownOutcome too
// they may be in use.
func (s *Store) SwapManifests(ctx context.Context, swaps []ManifestSwap, deletions []Deletion) error {
	const what = "swap manifests"
	for _, w := range swaps {
		if err := w.check(); err != nil {
			return fmt.Errorf("%s: %s: %w", what, w.Partition, err)
		}
	}
	ops := make([]kv.Op, len(deletions))
	for i, d := range deletions {
		ops[i] = kv.Put(s.keys.deletion(d.Object), encode(d))
	}
	for len(swaps) > 0 {
		txn, n := s.packSwaps(swaps)
		if n == 0 {
			return fmt.Errorf("%s: %s: %w", what, swaps[0].Partition, kv.ErrTooLarge)
		}
		if n == len(swaps) {
			for len(ops) > 0 && fits(txn, 0, ops[0]) {
				txn.Then = append(txn.Then, ops[0])
				ops = ops[1:]
			}
		}
		if err := s.settleSwaps(ctx, what, txn, swaps[:n]); err != nil {
			return err
		}
		swaps = swaps[n:]
	}
	return s.writeAll(ctx, what, ops)
}

// packSwaps builds a transaction out of as many swaps as fit.
func (s *Store) packSwaps(swaps []ManifestSwap) (txn kv.Txn, n int) {
	topics := make(map[topic.ID]bool)
	for _, w := range swaps {
		put := kv.Put(s.keys.manifest(w.Partition), encode(w.New))
		compares := []kv.Compare{{Key: put.Key, ModRevision: w.Seen.ModRevision}} // [manifest-compare]
		if !topics[w.Partition.Topic] {
			compares = append(compares, kv.Compare{Key: s.keys.topicID(w.Partition.Topic), Exists: true}) // [topic-exists]
		}
		if !fits(txn, len(compares), put) {
			break
		}
		topics[w.Partition.Topic] = true
		txn.If = append(txn.If, compares...)
		txn.Then = append(txn.Then, put)
		n++
	}
	return txn, n
}

// settleSwaps sends one transaction until it is applied or in conflict. The
// first len(swaps) operations of txn are the puts of swaps, in order.
func (s *Store) settleSwaps(ctx context.Context, what string, txn kv.Txn, swaps []ManifestSwap) error {
	inAnyDoubt := false
	for {
		result, doubt, err := s.settle(ctx, what, txn)
		inAnyDoubt = inAnyDoubt || doubt
		if err != nil {
			return inDoubt(inAnyDoubt, err)
		}
		if result.Succeeded {
			s.caughtUp(ctx, result.Revision)
			return nil
		}
		current, err := s.look(ctx, what, txn)
		if err != nil {
			return inDoubt(inAnyDoubt, err)
		}
		conflict, applied, err := s.rebase(txn, swaps, current)
		switch {
		case err != nil:
			return inDoubt(inAnyDoubt, fmt.Errorf("%s: %w", what, err))
		case applied != 0:
			s.caughtUp(ctx, applied)
			return nil
		case len(conflict) > 0:
			return inDoubt(inAnyDoubt, fmt.Errorf("%s: %w", what, &ConflictError{Partitions: conflict}))
		}
	}
}

// rebase compares a refused transaction with the current entries. It returns
// the partitions in conflict, or the revision if a lost try of it was applied;
// if neither, it has changed txn so that it stands a chance.
func (s *Store) rebase(txn kv.Txn, swaps []ManifestSwap, current map[string]kv.Entry) (conflict []topic.Partition, applied int64, err error) {
	for i, w := range swaps {
		put := &txn.Then[i]
		entry := current[put.Key]
		now, err := manifestOf(entry)
		if err != nil {
			return nil, 0, fmt.Errorf("read %s: %w", put.Key, err)
		}
		if now.Object == w.New.Object && now.Version == w.New.Version {
			return nil, entry.ModRevision, nil // names are used once, so it was this one
		}
		_, exists := current[s.keys.topicID(w.Partition.Topic)]
		if !exists || now.Version != w.Seen.Version || now.Object != w.Seen.Object || now.LogStart < w.Seen.LogStart {
			conflict = append(conflict, w.Partition)
			continue
		}
		moved := w.New
		moved.LogStart = max(moved.LogStart, now.LogStart)
		put.Value = encode(moved)
		for j := range txn.If {
			if txn.If[j].Key == put.Key {
				txn.If[j].ModRevision = now.ModRevision
			}
		}
	}
	return conflict, 0, nil
}

// manifestOf decodes an entry; the zero Entry is no manifest yet.
func manifestOf(e kv.Entry) (ManifestRef, error) {
	if e.ModRevision == 0 {
		return ManifestRef{}, nil
	}
	return decodeManifest(e)
}

// SetLogStart raises a partition's log start to first; it never lowers it. It
// returns the manifest reference as it is then. Errors: ErrTopicUnknown.
func (s *Store) SetLogStart(ctx context.Context, p topic.Partition, first int64) (ManifestRef, error) {
	exists := kv.Compare{Key: s.keys.topicID(p.Topic), Exists: true}
	entry, err := s.change(ctx, fmt.Sprintf("set log start of %s to %d", p, first), s.keys.manifest(p),
		[]kv.Compare{exists}, ErrTopicUnknown, func(old kv.Entry) ([]byte, error) {
			ref, err := manifestOf(old)
			if err != nil {
				return nil, err
			}
			ref.LogStart = max(ref.LogStart, first)
			return encode(ref), nil
		})
	if err != nil {
		return ManifestRef{}, err
	}
	return decodeManifest(entry)
}
