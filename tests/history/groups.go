package history

import (
	"fmt"
	"slices"
)

type groupKey struct {
	group string
	p     Partition
}

// groupPartition are the commits of a group for a partition that can still be
// the current one.
type groupPartition struct {
	key     groupKey
	commits []*GroupCommit
	highest int64            // what members were acknowledged
	given   map[int32]string // to which member, by epoch
	last    []given          // to each member, the newest
}

// given is that a member was given a partition.
type given struct {
	member string
	epoch  int32
	at     int64
}

// GroupCommit is a commit of a group's offset on its way.
type GroupCommit struct {
	h       *History
	g       *groupPartition
	offset  int64
	invoked int64
	done    int64
	outcome outcome
	member  string // "": of nobody
	epoch   int32
}

// Given says that a member of a group was told that it has these partitions at an
// epoch of the group, or in a generation of it: no other member has them then.
func (h *History) Given(group, member string, epoch int32, partitions ...Partition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.tick()
	for _, p := range partitions {
		g := h.group(group, p)
		if other, taken := g.given[epoch]; taken && other != member {
			h.find(Shared, "group %s gives %s at epoch %d to %s and to %s", group, p, epoch, other, member)
		}
		g.given[epoch] = member
		g.last = slices.DeleteFunc(g.last, func(one given) bool { return one.member == member })
		g.last = append(g.last, given{member, epoch, now})
	}
}

// MemberCommit is GroupCommit by a member that was given the partition at that
// epoch. Members go on where the group stands, so what they commit only grows;
// whatever one sends after another was given the partition is to be refused.
func (h *History) MemberCommit(group string, p Partition, offset int64, member string, epoch int32) *GroupCommit {
	c := h.GroupCommit(group, p, offset)
	c.member, c.epoch = member, epoch
	return c
}

// GroupCommit says that a group's offset is about to be committed.
func (h *History) GroupCommit(group string, p Partition, offset int64) *GroupCommit {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.group(group, p)
	c := &GroupCommit{h: h, g: g, offset: offset, invoked: h.tick()}
	g.commits = append(g.commits, c)
	return c
}

func (h *History) group(group string, p Partition) *groupPartition {
	key := groupKey{group, p}
	if h.groups[key] == nil {
		h.groups[key] = &groupPartition{key: key, highest: None, given: map[int32]string{}}
	}
	return h.groups[key]
}

// Acked says that the commit was acknowledged.
func (c *GroupCommit) Acked() { c.end(acked) }

// Unknown says that who committed has given up waiting. Should a later commit be
// acknowledged, this one must not replace it.
func (c *GroupCommit) Unknown() { c.end(unknown) }

// Refused says that the commit was refused.
func (c *GroupCommit) Refused() { c.end(refused) }

func (c *GroupCommit) end(o outcome) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.outcome == acked && o == unknown {
		return // a reader has seen it meanwhile
	}
	c.outcome, c.done = o, c.h.tick()
	if o != acked || c.member == "" {
		return
	}
	c.g.highest = max(c.g.highest, c.offset)
	for _, other := range c.g.last {
		if other.member != c.member && other.epoch > c.epoch && other.at < c.invoked {
			c.h.find(Shared, "%s of group %s commits %d of %s at epoch %d, when %s had been given it at epoch %d",
				c.member, c.g.key.group, c.offset, c.g.key.p, c.epoch, other.member, other.epoch)
		}
	}
}

// ended tells whether who committed had stopped waiting before that event.
func (c *GroupCommit) ended(before int64) bool { return c.done != 0 && c.done < before }

// GroupFetch is a question for a group's committed offset.
type GroupFetch struct {
	h       *History
	g       *groupPartition
	invoked int64
	floor   int64 // members were acknowledged that much
}

// GroupFetch says that a group's committed offset is about to be asked for.
func (h *History) GroupFetch(group string, p Partition) *GroupFetch {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.group(group, p)
	return &GroupFetch{h: h, g: g, invoked: h.tick(), floor: g.highest}
}

// Got says what the answer was; None when the group had committed nothing. It is
// right if it is the last commit that was acknowledged before the question, or
// any that was not over before that one was sent.
func (f *GroupFetch) Got(offset int64) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	now := f.h.tick()
	if offset < f.floor {
		f.h.find(GroupBack, "group %s in %s is at %s, when a member had been acknowledged %d", f.g.key.group, f.g.key.p, offsetText(offset), f.floor)
		return
	}
	var last *GroupCommit
	for _, c := range f.g.commits {
		if c.outcome == acked && c.ended(f.invoked) && (last == nil || c.invoked > last.invoked) {
			last = c
		}
	}
	if last == nil && offset == None {
		return
	}
	lowest := offset
	if last != nil {
		lowest = last.offset
	}
	var source *GroupCommit
	possible := f.g.commits[:0:0]
	for _, c := range f.g.commits {
		if c.outcome == refused || (last != nil && c.ended(last.invoked)) {
			continue
		}
		possible = append(possible, c)
		lowest = min(lowest, c.offset)
		if c.offset == offset && (source == nil || c.outcome == acked) {
			source = c
		}
	}
	switch {
	case source != nil:
		f.g.commits = possible
		if source.outcome != acked {
			// Whoever asks from now on has to see it too.
			source.outcome, source.done = acked, now
		}
	case offset < lowest:
		f.h.find(GroupBack, "group %s in %s is at %s, when %d had been acknowledged", f.g.key.group, f.g.key.p, offsetText(offset), last.offset)
	default:
		f.h.find(GroupPhantom, "group %s in %s is at %s, which nobody committed", f.g.key.group, f.g.key.p, offsetText(offset))
	}
}

func offsetText(offset int64) string {
	if offset == None {
		return "nothing"
	}
	return fmt.Sprint(offset)
}
