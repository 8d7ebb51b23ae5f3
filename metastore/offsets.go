package metastore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// OffsetCommit is what a group committed for one partition.
type OffsetCommit struct {
	Offset      int64
	LeaderEpoch Epoch // -1: unknown
	Metadata    string
	CommittedAt int64 // ms
	ExpiresAt   int64 // ms, as an old client wished; 0: as all others do
}

// offsetBlock names a block: the offsetBlockPartitions partitions from
// Index*offsetBlockPartitions on, of a topic.
type offsetBlock struct {
	Topic topic.ID
	Index int32
}

func blockOf(p topic.Partition) offsetBlock {
	return offsetBlock{Topic: p.Topic, Index: p.Index / offsetBlockPartitions}
}

// blockState is a block as last seen: its value and the revision of its key.
type blockState struct {
	value    blockValue
	revision int64
}

// FetchOffsets returns all offsets that a group committed. Linearizable.
func (s *Store) FetchOffsets(ctx context.Context, group string) (map[topic.Partition]OffsetCommit, error) {
	blocks, err := s.readBlocks(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("fetch the offsets of group %q: %w", group, err)
	}
	offsets := make(map[topic.Partition]OffsetCommit)
	for b, state := range blocks {
		for index, commit := range state.value {
			offsets[topic.Partition{Topic: b.Topic, Index: index}] = commit
		}
	}
	return offsets, nil
}

// OffsetGroups returns the groups of a slot that have committed offsets, sorted.
func (s *Store) OffsetGroups(ctx context.Context, slot int) ([]string, error) {
	what := fmt.Sprintf("list groups with offsets in slot %d", slot)
	entries, _, err := s.kv.Range(ctx, s.keys.ofSlot(dirOffsets, slot))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	groups := make(map[string]bool)
	for _, e := range entries {
		group, b, err := s.keys.parseOffsets(e.Key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if v, err := decodeBlock(e.Key, b.Index, e.Value); err != nil || len(v) > 0 {
			groups[group] = true // a damaged block is told of by who reads it
		}
	}
	return slices.Sorted(maps.Keys(groups)), nil
}

// CommitOffsets stores offsets of a group. Each block is written under compares
// of the ownership of the slot [slot-compare], so that nothing comes from who
// coordinated the group before, and of its own revision [key-compare], so that a
// commit that was acknowledged is never undone by an older one of the same
// coordinator that arrives late. Commits of one call that need several
// transactions may be applied in part when an error is returned. Offsets whose
// partition's block is too large for a transaction, which takes metadata of 8 KiB
// in each of its 64 partitions, are kv.ErrTooLarge.
//
// Nothing is written once the ownership is over: ErrSlotLost.
func (s *Store) CommitOffsets(ctx context.Context, held *HeldSlot, group string, offsets map[topic.Partition]OffsetCommit) error {
	edits := make(map[offsetBlock]func(blockValue))
	updates := make(map[offsetBlock]blockValue)
	for p, commit := range offsets {
		b := blockOf(p)
		if updates[b] == nil {
			updates[b] = make(blockValue)
			edits[b] = func(v blockValue) { maps.Copy(v, updates[b]) }
		}
		updates[b][p.Index] = commit
	}
	return s.editBlocks(ctx, held, fmt.Sprintf("commit offsets of group %q", group), group, edits)
}

// DeleteGroupOffsets forgets a group's offsets of some partitions, or all of
// them when none is named. bs is as in CommitOffsets.
func (s *Store) DeleteGroupOffsets(ctx context.Context, held *HeldSlot, group string, partitions ...topic.Partition) error {
	what := fmt.Sprintf("delete offsets of group %q", group)
	edits := make(map[offsetBlock]func(blockValue))
	if len(partitions) == 0 {
		blocks, err := s.readBlocks(ctx, group)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		for b := range blocks {
			edits[b] = func(v blockValue) { clear(v) }
		}
	}
	gone := make(map[offsetBlock][]int32)
	for _, p := range partitions {
		b := blockOf(p)
		gone[b] = append(gone[b], p.Index)
		edits[b] = func(v blockValue) {
			for _, index := range gone[b] {
				delete(v, index)
			}
		}
	}
	return s.editBlocks(ctx, held, what, group, edits)
}

// ExpireOffsets forgets offsets of a group, but those that were committed anew.
// Errors are those of CommitOffsets.
func (s *Store) ExpireOffsets(ctx context.Context, held *HeldSlot, group string, expired map[topic.Partition]OffsetCommit) error {
	edits := make(map[offsetBlock]func(blockValue))
	old := make(map[offsetBlock]blockValue)
	for p, commit := range expired {
		b := blockOf(p)
		if old[b] == nil {
			old[b] = make(blockValue)
			edits[b] = func(v blockValue) {
				maps.DeleteFunc(v, func(index int32, now OffsetCommit) bool {
					was, expires := old[b][index]
					return expires && was == now
				})
			}
		}
		old[b][p.Index] = commit
	}
	return s.editBlocks(ctx, held, fmt.Sprintf("expire offsets of group %q", group), group, edits)
}

// editBlocks changes blocks in as few transactions as fit, and tries again with
// what it then finds whenever somebody else changed one of them.
func (s *Store) editBlocks(ctx context.Context, held *HeldSlot, what, group string, edits map[offsetBlock]func(blockValue)) error {
	if held.slot != SlotOf(group) {
		return fmt.Errorf("%s: %w: it is of slot %d, not %d", what, ErrInvalid, SlotOf(group), held.slot)
	}
	if len(edits) == 0 {
		return nil
	}
	left := slices.SortedFunc(maps.Keys(edits), func(a, b offsetBlock) int {
		return cmp.Or(topic.Partition{Topic: a.Topic}.Compare(topic.Partition{Topic: b.Topic}), cmp.Compare(a.Index, b.Index))
	})
	known := s.blocks.get(group)
	doubt := false
	for len(left) > 0 {
		if known == nil {
			var err error
			if known, err = s.readBlocks(ctx, group); err != nil {
				return inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
			}
		}
		w, states := s.packBlocks(held, group, left, known, edits)
		if len(states) == 0 {
			return inDoubt(doubt, fmt.Errorf("%s: %w", what, kv.ErrTooLarge))
		}
		result, again, err := s.offsets.write(ctx, w)
		doubt = doubt || again
		switch {
		case err != nil:
			s.blocks.forget(group)
			return inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
		case !result.Succeeded:
			s.blocks.forget(group)
			if err := s.checkHeld(ctx, held); err != nil {
				return inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
			}
			known = nil
			continue
		}
		for i, state := range states {
			if !w.Then[i].Delete {
				state.revision = result.Revision
			}
			known[left[i]] = state
		}
		left = left[len(states):]
	}
	s.blocks.put(group, known)
	return nil
}

// packBlocks makes a write of the first blocks that find room in a transaction,
// and returns their new states, in order.
func (s *Store) packBlocks(
	held *HeldSlot, group string, blocks []offsetBlock, known map[offsetBlock]blockState, edits map[offsetBlock]func(blockValue),
) (w *offsetWrite, states []blockState) {
	w = &offsetWrite{held: held, group: group}
	frame := kv.Txn{If: []kv.Compare{held.owned(s.keys)}}
	for _, b := range blocks {
		old := known[b]
		value := maps.Clone(old.value)
		if value == nil {
			value = make(blockValue)
		}
		edits[b](value)
		key := s.keys.offsets(group, b)
		op := kv.Put(key, encodeBlock(value))
		if len(value) == 0 && !held.twin(key) {
			op = kv.Delete(key)
		}
		if !fits(frame, 1, op) {
			break
		}
		block := kv.Compare{Key: key, ModRevision: old.revision} // [key-compare]
		frame.If, frame.Then = append(frame.If, block), append(frame.Then, op)
		w.If, w.Then = append(w.If, block), append(w.Then, op)
		states = append(states, blockState{value: value})
	}
	return w, states
}

func (s *Store) readBlocks(ctx context.Context, group string) (map[offsetBlock]blockState, error) {
	entries, _, err := s.kv.Range(ctx, s.keys.offsetsOf(group))
	if err != nil {
		return nil, err
	}
	blocks := make(map[offsetBlock]blockState, len(entries))
	var broken error
	for _, e := range entries {
		_, b, err := s.keys.parseOffsets(e.Key)
		state := blockState{revision: e.ModRevision}
		if err == nil {
			state.value, err = decodeBlock(e.Key, b.Index, e.Value)
		}
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("read %s: %w", e.Key, err))
			continue
		}
		blocks[b] = state
	}
	return blocks, broken
}

// SweepOffsets deletes what is left of offsets in a slot: those of topics that
// are gone, and blocks without offsets that had to stay under an ownership before
// this one.
func (s *Store) SweepOffsets(ctx context.Context, held *HeldSlot) error {
	const what = "sweep offsets"
	dir := s.keys.ofSlot(dirOffsets, held.slot)
	broken := s.sweepDeletedTopics(ctx, dir)
	entries, _, err := s.kv.Range(ctx, dir)
	if err != nil {
		return errors.Join(broken, fmt.Errorf("%s: %w", what, err))
	}
	for _, e := range entries {
		_, b, err := s.keys.parseOffsets(e.Key)
		if err != nil {
			continue // told of above
		}
		if v, err := decodeBlock(e.Key, b.Index, e.Value); err != nil || len(v) > 0 || held.twin(e.Key) {
			continue
		}
		_, _, err = s.settle(ctx, what, kv.Txn{
			If:   []kv.Compare{held.owned(s.keys), {Key: e.Key, ModRevision: e.ModRevision}},
			Then: []kv.Op{kv.Delete(e.Key)},
		})
		if err != nil {
			return errors.Join(broken, err)
		}
	}
	return broken
}

// sweepDeletedTopics deletes the groups' offsets of topics that are gone, in a
// directory. That one is gone is compared in the transaction: ids of topics do
// not come back. Any node may call it at any time.
func (s *Store) sweepDeletedTopics(ctx context.Context, dir string) error {
	const what = "sweep offsets of deleted topics"
	entries, _, err := s.kv.Range(ctx, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	gone := make(map[topic.ID][]kv.Op)
	var broken error
	for _, e := range entries {
		_, block, err := s.keys.parseOffsets(e.Key)
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("%s: %w", what, err))
			continue
		}
		if _, known := s.catalog.TopicByID(block.Topic); !known {
			gone[block.Topic] = append(gone[block.Topic], kv.Delete(e.Key))
		}
	}
	for id, ops := range gone {
		absent := kv.Compare{Key: s.keys.topicID(id)}
		for len(ops) > 0 {
			txn := kv.Txn{If: []kv.Compare{absent}}
			for len(ops) > 0 && fits(txn, 0, ops[0]) {
				txn.Then = append(txn.Then, ops[0])
				ops = ops[1:]
			}
			// Refused: the catalog is behind, and the topic is a new one.
			if _, _, err := s.settle(ctx, what, txn); err != nil {
				return errors.Join(broken, err)
			}
		}
	}
	return broken
}

// blockCache remembers the blocks of the groups that committed last, so that a
// commit is one request and not two. It may be wrong: the compare finds out.
type blockCache struct {
	mu     sync.Mutex
	groups map[string]map[offsetBlock]blockState
	blocks int
}

const cachedBlocksMax = 4096

func newBlockCache() *blockCache {
	return &blockCache{groups: make(map[string]map[offsetBlock]blockState)}
}

// get takes a group's blocks out of the cache, nil if they are not there. They
// belong to the caller until put.
func (c *blockCache) get(group string) map[offsetBlock]blockState {
	c.mu.Lock()
	defer c.mu.Unlock()
	blocks := c.groups[group]
	delete(c.groups, group)
	c.blocks -= len(blocks)
	return blocks
}

func (c *blockCache) put(group string, blocks map[offsetBlock]blockState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks += len(blocks) - len(c.groups[group])
	c.groups[group] = blocks
	for other := range c.groups {
		if c.blocks <= cachedBlocksMax {
			return
		}
		c.blocks -= len(c.groups[other])
		delete(c.groups, other)
	}
}

func (c *blockCache) forget(group string) { c.get(group) }
