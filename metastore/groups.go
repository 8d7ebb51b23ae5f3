package metastore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// GroupState is what is kept of a group beside its offsets. What the bytes mean
// is the coordinator's business. A state without a Head is no state: the group
// does not exist.
type GroupState struct {
	Head []byte            // at most 64 KiB
	Rows map[string][]byte // a row changes without the others being written
}

// GroupHeadBytesMax bounds GroupState.Head.
const GroupHeadBytesMax = 64 << 10

// GroupRecord is one group's stored state as one ownership of its slot knows it.
// Its methods are called one at a time.
//
// Rows lie in chunks, by the hash of their name, so that a change writes little.
// A change that fits a transaction replaces the chunks that it touches; a larger
// one writes a whole new copy of the chunks, in several transactions, and the
// last of them makes it the one that counts. Every transaction compares the
// ownership of the slot [slot-compare] and the revision of the head, which it
// writes anew [key-compare]: so a change is applied whole or not at all, at most
// once, and never over somebody else's.
type GroupRecord struct {
	store *Store
	held  *HeldSlot
	name  string

	state    GroupState
	head     groupHead // as stored; zero: no such key
	revision int64     // of the head's key; 0: no such key
	chunks   [][]byte  // the values of the copy that counts; nil: no such key
	stray    []kv.Op   // deletions of chunks that do not count
}

// LoadGroup reads a group's state. An unknown group has none. What an interrupted
// write left is ignored, and deleted by a later write.
func (s *Store) LoadGroup(ctx context.Context, held *HeldSlot, group string) (*GroupRecord, error) {
	what := fmt.Sprintf("load group %q", group)
	if held.slot != SlotOf(group) {
		return nil, fmt.Errorf("%s: %w: it is of slot %d, not %d", what, ErrInvalid, SlotOf(group), held.slot)
	}
	r := &GroupRecord{store: s, held: held, name: group}
	for {
		entries, snapshot, err := s.kv.Range(ctx, s.keys.groupChunks(group))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		head, _, err := s.kv.Get(ctx, s.keys.group(group))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if head.ModRevision > snapshot {
			continue // it was written between the two reads
		}
		if err := r.decode(head, entries); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return r, nil
	}
}

// GroupHeads returns the heads of all groups of a slot that have a stored state.
func (s *Store) GroupHeads(ctx context.Context, slot int) (map[string][]byte, error) {
	prefix := s.keys.ofSlot(dirGroups, slot)
	entries, _, err := s.kv.Range(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	heads := make(map[string][]byte, len(entries))
	for _, e := range entries {
		name, err := url.PathUnescape(strings.TrimPrefix(e.Key, prefix))
		if err != nil {
			return nil, fmt.Errorf("list groups: key %q: %w", e.Key, err)
		}
		head, err := decodeGroupHead(e.Key, e.Value)
		switch {
		case err != nil:
			s.log.Error("the stored state of a group is damaged", "group", name, "error", err)
		case len(head.data) > 0: // else it is being deleted
			heads[name] = head.data
		}
	}
	return heads, nil
}

// State is the state as it is stored. It must not be changed.
func (r *GroupRecord) State() GroupState { return r.state }

// Write replaces the state, and returns nil when that is certain. A state without
// a Head deletes the group's. The caller leaves it alone from then on.
//
// Errors: ErrSlotLost, the ownership of the slot is over; ErrConflict, somebody else wrote the
// group since it was loaded; kv.ErrTooLarge. After these, and after any other
// error, the record is of no use any more: load it again.
func (r *GroupRecord) Write(ctx context.Context, state GroupState) error {
	what := fmt.Sprintf("store group %q", r.name)
	if state.Head == nil {
		return r.remove(ctx, what)
	}
	if len(state.Head) > GroupHeadBytesMax {
		return fmt.Errorf("%s: %w: its head has %d bytes", what, kv.ErrTooLarge, len(state.Head))
	}
	pieces := cutRows(state.Rows)
	count := groupChunks(len(r.chunks), pieces)
	chunks := encodeChunks(pieces, count)
	next := groupHead{copy: r.head.copy, chunks: count, pieces: len(pieces), data: state.Head}
	if count == len(r.chunks) {
		ops := r.changes(chunks)
		if len(ops) == 0 && r.revision != 0 && bytes.Equal(r.head.data, state.Head) {
			return nil
		}
		if fits(r.frame(), reserved, append(ops, r.put(next))...) {
			if err := r.apply(ctx, what, next, ops); err != nil {
				return err
			}
			r.state, r.chunks = state, chunks
			return r.discard(ctx, what)
		}
	}
	return r.writeCopy(ctx, what, state, next, chunks)
}

// reserved conditions find room in every transaction beside its operations.
const reserved = 2

// frame is a transaction that reads as much as each of ours does.
func (r *GroupRecord) frame() kv.Txn { return kv.Txn{Read: []string{r.name, r.name}} }

// changes are the operations that turn the stored chunks into these, as many.
func (r *GroupRecord) changes(chunks [][]byte) []kv.Op {
	var ops []kv.Op
	for i, value := range chunks {
		key := r.store.keys.groupChunk(r.name, r.head.copy, i)
		switch {
		case bytes.Equal(value, r.chunks[i]):
		case value == nil:
			ops = append(ops, kv.Delete(key))
		default:
			ops = append(ops, kv.Put(key, value))
		}
	}
	return ops
}

// writeCopy writes all chunks under names of their own.
func (r *GroupRecord) writeCopy(ctx context.Context, what string, state GroupState, next groupHead, chunks [][]byte) error {
	old, oldChunks := r.head.copy, len(r.chunks)
	next.copy = max(r.head.copy, r.head.writing) + 1
	// Until the last transaction, what is stored stays what it is.
	doing := r.head
	doing.writing = next.copy
	var ops []kv.Op
	for i, value := range chunks {
		if value == nil {
			continue
		}
		op := kv.Put(r.store.keys.groupChunk(r.name, next.copy, i), value)
		if !fits(r.frame(), reserved, append(ops, op, r.put(next))...) {
			if err := r.apply(ctx, what, doing, ops); err != nil {
				return err
			}
			ops = nil
		}
		ops = append(ops, op)
	}
	if err := r.apply(ctx, what, next, ops); err != nil {
		return err
	}
	r.state, r.chunks = state, chunks
	for i := range oldChunks {
		r.stray = append(r.stray, kv.Delete(r.store.keys.groupChunk(r.name, old, i)))
	}
	return r.discard(ctx, what)
}

// remove deletes the group's state.
func (r *GroupRecord) remove(ctx context.Context, what string) error {
	if r.revision == 0 {
		return nil
	}
	if r.head.data == nil && len(r.chunks) == 0 && r.head.twin == r.held.revision {
		return nil // it is deleted as far as it can be
	}
	for i := range r.chunks {
		r.stray = append(r.stray, kv.Delete(r.store.keys.groupChunk(r.name, r.head.copy, i)))
	}
	// A head without data first: one without its chunks would be damage.
	if err := r.apply(ctx, what, groupHead{copy: max(r.head.copy, r.head.writing) + 1}, nil); err != nil {
		return err
	}
	r.state, r.chunks = GroupState{}, nil
	if err := r.discard(ctx, what); err != nil || r.head.twin != 0 {
		return err // the head without data stays, for SweepGroups
	}
	if _, err := r.send(ctx, what, kv.Delete(r.store.keys.group(r.name)), nil); err != nil {
		return err
	}
	r.head, r.revision = groupHead{}, 0
	return nil
}

// discard deletes the chunks that do not count.
func (r *GroupRecord) discard(ctx context.Context, what string) error {
	for len(r.stray) > 0 {
		n := 0
		for n < len(r.stray) && fits(r.frame(), reserved, append(r.stray[:n+1:n+1], r.put(r.head))...) {
			n++
		}
		if err := r.apply(ctx, what, r.head, slices.Clone(r.stray[:n])); err != nil {
			return err
		}
		r.stray = r.stray[n:]
	}
	return nil
}

func (r *GroupRecord) put(h groupHead) kv.Op {
	return kv.Put(r.store.keys.group(r.name), encodeGroupHead(h))
}

// apply sends one transaction, which puts a head, until its outcome is known.
func (r *GroupRecord) apply(ctx context.Context, what string, head groupHead, ops []kv.Op) error {
	head.stamp = r.store.newID()
	// A head where there was none is put under a condition that holds again once
	// the head is deleted. So while a lost try of that may come late, that is as
	// long as this ownership of the slot lasts, the head is not deleted.
	head.twin = r.head.twin
	created := r.revision == 0
	if created {
		head.twin = r.held.revision
	} else if head.twin != r.held.revision {
		head.twin = 0
	}
	doubt, err := r.send(ctx, what, r.put(head), ops)
	if err != nil {
		return err
	}
	if created && !doubt {
		head.twin = 0
	}
	r.head = head
	return nil
}

// SweepGroups deletes what deleted groups of the slot had to leave.
func (s *Store) SweepGroups(ctx context.Context, held *HeldSlot) error {
	const what = "sweep deleted groups"
	prefix := s.keys.ofSlot(dirGroups, held.slot)
	entries, _, err := s.kv.Range(ctx, prefix)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, e := range entries {
		head, err := decodeGroupHead(e.Key, e.Value)
		if err != nil || len(head.data) > 0 || head.twin == held.revision {
			continue
		}
		name, err := url.PathUnescape(strings.TrimPrefix(e.Key, prefix))
		if err != nil {
			return fmt.Errorf("%s: key %q: %w", what, e.Key, err)
		}
		r, err := s.LoadGroup(ctx, held, name)
		if err != nil {
			return err
		}
		if r.revision != e.ModRevision {
			continue // it lives again
		}
		if err := r.remove(ctx, what); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// send returns whether a lost try of what was applied may still arrive.
func (r *GroupRecord) send(ctx context.Context, what string, head kv.Op, ops []kv.Op) (doubt bool, err error) {
	owned := r.held.owned(r.store.keys)
	result, doubt, err := r.store.settle(ctx, what, kv.Txn{
		If:   []kv.Compare{owned, {Key: head.Key, ModRevision: r.revision}}, // [slot-compare] [key-compare]
		Then: append(ops, head),
		Read: []string{owned.Key, head.Key},
	})
	if err != nil {
		return doubt, err
	}
	current := result.Read[head.Key]
	// A head has a stamp of its own: if it is there, a lost try was applied. A
	// deleted one leaves no stamp, but nobody writes a head that is not there
	// under an ownership that has given the group up.
	applied := doubt && bytes.Equal(current.Value, head.Value)
	if head.Delete {
		applied = doubt && current.ModRevision == 0
	}
	switch {
	case result.Succeeded, applied:
		r.revision = current.ModRevision
		return doubt, nil
	case !owned.Holds(result.Read[owned.Key].ModRevision):
		return doubt, inDoubt(doubt, fmt.Errorf("%s: %w", what, r.held.lost()))
	default:
		return doubt, inDoubt(doubt, fmt.Errorf("%s: %w", what, ErrConflict))
	}
}

// decode takes in what was read.
func (r *GroupRecord) decode(head kv.Entry, entries []kv.Entry) error {
	r.state, r.head, r.revision, r.chunks, r.stray = GroupState{}, groupHead{}, head.ModRevision, nil, nil
	var err error
	if head.ModRevision == 0 {
		for _, e := range entries {
			r.stray = append(r.stray, kv.Delete(e.Key))
		}
		return nil
	}
	if r.head, err = decodeGroupHead(head.Key, head.Value); err != nil {
		return err
	}
	r.chunks = make([][]byte, r.head.chunks)
	at := make(map[string]int, r.head.chunks)
	var pieces []piece
	for i := range r.chunks {
		at[r.store.keys.groupChunk(r.name, r.head.copy, i)] = i
	}
	for _, e := range entries {
		i, counts := at[e.Key]
		if !counts {
			// Of a write that was not finished, or of a copy that is given up.
			r.stray = append(r.stray, kv.Delete(e.Key))
			continue
		}
		more, cerr := decodeChunk(e.Key, e.Value)
		if cerr != nil {
			return cerr
		}
		r.chunks[i] = e.Value
		pieces = append(pieces, more...)
	}
	if len(r.head.data) == 0 {
		return nil // it was being deleted
	}
	r.state.Head = r.head.data
	r.state.Rows, err = joinRows(head.Key, pieces, r.head.pieces)
	return err
}
