package metastore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// OffsetCommit is what a group committed for one partition.
type OffsetCommit struct {
	Offset      int64  `json:"offset"`
	LeaderEpoch Epoch  `json:"leader_epoch"` // -1: unknown
	Metadata    string `json:"metadata,omitempty"`
	CommittedAt int64  `json:"committed_at"`         // ms
	ExpiresAt   int64  `json:"expires_at,omitempty"` // ms, as an old client wished; 0: as all others do
}

// A group's offsets are stored in blocks, so that a commit of many partitions
// is few keys and one of few does not rewrite all.
const offsetBlockPartitions = 256

// offsetBlock names a block: partitions [Index*256, (Index+1)*256) of a topic.
type offsetBlock struct {
	Topic topic.ID
	Index int32
}

func blockOf(p topic.Partition) offsetBlock {
	return offsetBlock{Topic: p.Topic, Index: p.Index / offsetBlockPartitions}
}

// blockValue is what offsets/<group>/<topic-id>/<block> holds, by partition index.
type blockValue map[int32]OffsetCommit

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

// OffsetGroups returns the groups that have committed offsets, sorted.
func (s *Store) OffsetGroups(ctx context.Context) ([]string, error) {
	entries, _, err := s.kv.Range(ctx, s.keys.underGroups(dirOffsets))
	if err != nil {
		return nil, fmt.Errorf("list groups with offsets: %w", err)
	}
	groups := make(map[string]bool)
	for _, e := range entries {
		group, _, err := parseOffsets(strings.TrimPrefix(e.Key, s.keys.underGroups(dirOffsets)))
		if err != nil {
			return nil, fmt.Errorf("list groups with offsets: %w", err)
		}
		groups[group] = true
	}
	return slices.Sorted(maps.Keys(groups)), nil
}

// CommitOffsets stores offsets of a group. Each block is written under a
// compare of its own revision, so that a commit that was acknowledged is never
// undone by an older one that arrives late. Commits of one call that need
// several transactions may be applied in part when an error is returned.
// Offsets whose partition's block is too large for a transaction, which takes
// metadata of 2 KiB in each of its 256 partitions, are kv.ErrTooLarge.
//
// Nothing is written once session bs is over: ErrFenced. A nil bs is for those who
// do not coordinate groups.
func (s *Store) CommitOffsets(ctx context.Context, bs *BrokerSession, group string, offsets map[topic.Partition]OffsetCommit) error {
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
	return s.editBlocks(ctx, bs, fmt.Sprintf("commit offsets of group %q", group), group, edits)
}

// DeleteGroupOffsets forgets a group's offsets of some partitions, or all of
// them when none is named. bs is as in CommitOffsets.
func (s *Store) DeleteGroupOffsets(ctx context.Context, bs *BrokerSession, group string, partitions ...topic.Partition) error {
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
	return s.editBlocks(ctx, bs, what, group, edits)
}

// ExpireOffsets forgets offsets of a group, but those that were committed anew.
// bs is as in CommitOffsets.
func (s *Store) ExpireOffsets(ctx context.Context, bs *BrokerSession, group string, expired map[topic.Partition]OffsetCommit) error {
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
	return s.editBlocks(ctx, bs, fmt.Sprintf("expire offsets of group %q", group), group, edits)
}

// editBlocks changes blocks in as few transactions as fit, and tries again with
// what it then finds whenever somebody else changed one of them.
func (s *Store) editBlocks(
	ctx context.Context, bs *BrokerSession, what, group string, edits map[offsetBlock]func(blockValue),
) error {
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
		frame := kv.Txn{}
		if bs != nil {
			frame.If = []kv.Compare{bs.alive(s.keys)}
			frame.Read = []string{frame.If[0].Key}
		}
		txn, states := s.packBlocks(frame, group, left, known, edits)
		if len(states) == 0 {
			return inDoubt(doubt, fmt.Errorf("%s: %w", what, kv.ErrTooLarge))
		}
		result, again, err := s.settle(ctx, what, txn)
		doubt = doubt || again
		switch {
		case err != nil:
			s.blocks.forget(group)
			return inDoubt(doubt, err)
		case !result.Succeeded:
			if bs != nil && !frame.If[0].Holds(result.Read[frame.If[0].Key].ModRevision) {
				err := bs.fenced("its key is gone or belongs to another session")
				bs.lose(err)
				s.blocks.forget(group)
				return inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
			}
			known = nil
			continue
		}
		for i, state := range states {
			// A block that was deleted is at revision 0, and so is one that
			// was empty and stayed so.
			if len(state.value) > 0 {
				state.revision = result.Revision
			}
			known[left[i]] = state
		}
		left = left[len(states):]
	}
	s.blocks.put(group, known)
	return nil
}

// packBlocks adds the first blocks that fit to a transaction, and returns their
// new states, in order.
func (s *Store) packBlocks(
	txn kv.Txn, group string, blocks []offsetBlock, known map[offsetBlock]blockState, edits map[offsetBlock]func(blockValue),
) (_ kv.Txn, states []blockState) {
	for _, b := range blocks {
		old := known[b]
		value := maps.Clone(old.value)
		if value == nil {
			value = make(blockValue)
		}
		edits[b](value)
		key := s.keys.offsets(group, b)
		op := kv.Put(key, encode(value))
		if len(value) == 0 {
			op = kv.Delete(key)
		}
		if !fits(txn, 1, op) {
			break
		}
		txn.If = append(txn.If, kv.Compare{Key: key, ModRevision: old.revision})
		txn.Then = append(txn.Then, op)
		states = append(states, blockState{value: value})
	}
	return txn, states
}

func (s *Store) readBlocks(ctx context.Context, group string) (map[offsetBlock]blockState, error) {
	entries, _, err := s.kv.Range(ctx, s.keys.offsetsOf(group))
	if err != nil {
		return nil, err
	}
	blocks := make(map[offsetBlock]blockState, len(entries))
	var broken error
	for _, e := range entries {
		_, b, err := parseOffsets(strings.TrimPrefix(e.Key, s.keys.underGroups(dirOffsets)))
		state := blockState{revision: e.ModRevision}
		if err == nil {
			err = json.Unmarshal(e.Value, &state.value)
		}
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("read %s: %w", e.Key, err))
			continue
		}
		blocks[b] = state
	}
	return blocks, broken
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
