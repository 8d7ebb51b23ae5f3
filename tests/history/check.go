package history

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Check counts. Everything must have been recorded, and each partition that was
// written to must have been read back by Final.
func (h *History) Check() Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := &counts{}
	found := h.found
	h.found = map[Kind]*finding{}
	for k, f := range found {
		h.found[k] = f.clone() // so that Check may be called again
	}
	logs := make(map[Partition]*log)
	for _, p := range slices.SortedFunc(maps.Keys(h.partitions), comparePartitions) {
		logs[p] = h.checkLog(h.partitions[p])
	}
	for _, w := range h.order {
		for _, s := range w.sends {
			h.checkSend(counts, s, logs[s.p])
		}
	}
	result := h.result(counts)
	h.found = found
	return result
}

func comparePartitions(a, b Partition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Index, b.Index))
}

// log is a partition as it was read back.
type log struct {
	*partition
	topic   Topic
	at      map[int64]ID
	offsets map[ID][]int64
	keys    map[string]int64 // where the last record of each key is
}

// checkLog looks at one partition: what is in it, and what readers saw of it.
func (h *History) checkLog(p *partition) *log {
	l := &log{partition: p, topic: h.topics[p.p.Topic], at: map[int64]ID{}, offsets: map[ID][]int64{}, keys: map[string]int64{}}
	if p.final == nil {
		return l
	}
	h.checkStart(l)
	h.checkOrder(l)
	h.checkReads(l)
	return l
}

// checkStart: the log starts where DeleteRecords said.
func (h *History) checkStart(l *log) {
	if !l.topic.Trimmed {
		return
	}
	if start := l.final.start; start < l.trimmed {
		h.find(Undeleted, "%s starts at %d, and DeleteRecords was answered with %d", l.p, start, l.trimmed)
	} else if start > l.trimAsked {
		h.find(Lost, "%s starts at %d, and DeleteRecords was never asked for more than all below %d", l.p, start, l.trimAsked)
	}
}

// checkOrder goes through the log as it is: dense, in each writer's order, and
// nothing in it that was not sent there.
func (h *History) checkOrder(l *log) {
	expected := l.final.start
	last := make(map[string]int64)
	for _, item := range l.final.items {
		switch {
		case item.offset < expected:
			h.find(Disorder, "%s gives offset %d where %d is the next", l.p, item.offset, expected)
		case item.offset > expected && !l.topic.Holes:
			h.find(Hole, "%s has nothing from %d to %d", l.p, expected, item.offset-1)
		}
		expected = item.offset + 1
		if !item.ok {
			continue
		}
		l.at[item.offset] = item.id
		before := l.offsets[item.id]
		l.offsets[item.id] = append(before, item.offset)
		s := h.send(item.id)
		if s == nil || s.p != l.p {
			h.find(Phantom, "%s at %s offset %d was never sent there", item.id, l.p, item.offset)
			continue
		}
		l.keys[s.key] = item.offset
		if moved := l.topic.salvages(s) && s.offset != item.offset; len(before) > 0 || moved {
			continue
		}
		if previous, ok := last[item.id.Writer]; ok && item.id.Number < previous && s.w.o.Idempotent {
			h.find(Reordered, "%s at %s offset %d comes after %s/%d", item.id, l.p, item.offset, item.id.Writer, previous)
		}
		last[item.id.Writer] = max(last[item.id.Writer], item.id.Number)
	}
	if l.final.next > expected && !l.topic.Holes {
		h.find(Hole, "%s has nothing from %d to its end %d", l.p, expected, l.final.next)
	}
}

func (h *History) send(id ID) *Send {
	w := h.writers[id.Writer]
	if w == nil || id.Number < 0 || id.Number >= int64(len(w.sends)) {
		return nil
	}
	return w.sends[id.Number]
}

// salvages tells whether a record may have come back at another offset.
func (t Topic) salvages(s *Send) bool {
	return t.Salvaged || t.Object && (s.w.o.Acks == AcksLeader || s.outcome != acked)
}

// checkReads holds what readers got against what is there now.
func (h *History) checkReads(l *log) {
	dirty := Dirty
	if l.topic.Salvaged {
		dirty = Cut
	}
	look := func(offset int64, s sight) {
		switch now, there := l.at[offset]; {
		case there && now != s.id:
			h.find(dirty, "%s read %s at %s offset %d, where %s is now", s.by, s.id, l.p, offset, now)
		case !there && offset >= l.final.start && !l.topic.Holes:
			h.find(dirty, "%s read %s at %s offset %d, where nothing is now", s.by, s.id, l.p, offset)
		case !there && h.send(s.id) == nil:
			h.find(Phantom, "%s read %s at %s offset %d, which was never sent", s.by, s.id, l.p, offset)
		}
	}
	for _, offset := range slices.Sorted(maps.Keys(l.seen)) {
		look(offset, l.seen[offset])
	}
	for _, c := range l.changed {
		if _, there := l.at[c.offset]; there || l.topic.Salvaged {
			look(c.offset, c.sight)
			continue
		}
		h.find(dirty, "%s read %s at %s offset %d, where %s had read %s", c.by, c.id, l.p, c.offset, l.seen[c.offset].by, l.seen[c.offset].id)
	}
	for _, g := range l.gaps {
		if l.topic.Salvaged && g.of != nil && g.of.only != nil {
			continue // what lay there and was not asked for may have been cut off since
		}
		for offset := g.first; offset < g.next; offset++ {
			if id, there := l.at[offset]; there && g.wants(h.send(id)) {
				h.find(Skipped, "%s of %s was given %d after %d, and not offset %d, which is %s", g.by, l.p, g.next, g.first-1, offset, id)
				break
			}
			if offset-g.first > gapMax {
				break // a reader that begins anew far away
			}
		}
	}
}

// wants tells whether a record in the gap was to be given.
func (g gap) wants(s *Send) bool { return g.of == nil || s == nil || g.of.wants(s) }

// gapMax bounds how far a gap is looked at.
const gapMax = 1 << 20

// checkSend follows one record to where it is now.
func (h *History) checkSend(c *counts, s *Send, l *log) {
	c.sent++
	if l.final == nil {
		if l.gone {
			c.gone++
		} else if s.outcome == acked {
			h.find(Unread, "%s, which holds %s, was not read back", s.p, s.ID)
		}
		return
	}
	offsets := l.offsets[s.ID]
	if n := len(offsets); n > 1 && s.w.o.Idempotent {
		h.find(Duplicated, "%s is at %s offsets %v", s.ID, s.p, offsets)
	}
	switch {
	case s.w.o.Acks == AcksNone:
		c.unacked++
	case s.outcome == acked:
		c.acked++
		h.checkAcked(c, s, l, offsets)
	case s.outcome == refused:
		c.refused++
		if len(offsets) > 0 {
			h.find(Phantom, "%s was refused and is at %s offset %d", s.ID, s.p, offsets[0])
		}
	default:
		c.unknown++
		if len(offsets) > 0 {
			c.unknownThere++
		}
	}
}

// checkAcked: an acknowledged record is at its offset, with its bytes.
func (h *History) checkAcked(c *counts, s *Send, l *log, offsets []int64) {
	switch {
	case slices.Contains(offsets, s.offset), s.offset == None && len(offsets) > 0:
	case l.topic.starts() && (len(offsets) == 0 || !s.w.o.Idempotent) && (s.offset < l.final.start || l.topic.salvages(s) && (l.final.start > 0 || l.topic.Retention > 0)):
		c.expired++
		h.checkExpired(s, l)
	case len(offsets) > 0 && l.topic.salvages(s):
		c.salvaged++
	case l.topic.Holes && len(offsets) > 0 && s.key != "" && slices.Max(offsets) > s.offset && !s.w.o.Idempotent:
		c.superseded++ // by itself, sent once more
	case len(offsets) > 0:
		h.find(Moved, "%s was acknowledged at %s offset %d and is at %v", s.ID, s.p, s.offset, offsets)
	case l.topic.Holes && (l.superseded(s) || l.buried(l.topic, s, l.final.at)):
		c.superseded++
	default:
		there := "nothing"
		if id, ok := l.at[s.offset]; ok {
			there = id.String()
		}
		h.find(Lost, "%s was acknowledged at %s offset %d, where %s is now (log [%d, %d))", s.ID, s.p, s.offset, there, l.final.start, l.final.next)
	}
}

// checkExpired: what went by its age had that age.
func (h *History) checkExpired(s *Send, l *log) {
	if l.topic.Retention == 0 {
		return
	}
	if l.topic.salvages(s) { // or was not, since it had expired when its owner came back
		seen := l.final.at
		if n := len(l.starts); n > 0 && l.starts[n-1].at.After(seen) {
			seen = l.starts[n-1].at // it rose while it was read back
		}
		if age := seen.Sub(s.at); age < l.topic.Retention {
			h.find(Lost, "%s, which was acknowledged at %s offset %d, is gone, %s old, and is kept for %s", s.ID, s.p, s.offset, age, l.topic.Retention)
		}
		return
	}
	if len(l.starts) == 0 {
		return
	}
	went := l.starts[len(l.starts)-1]
	if i := slices.IndexFunc(l.starts, func(st start) bool { return st.offset > s.offset }); i >= 0 && s.offset != None {
		went = l.starts[i]
	}
	if age := went.at.Sub(s.at); age < l.topic.Retention {
		h.find(Lost, "%s at %s offset %d went when the log came to start at %d, %s old, and is kept for %s", s.ID, s.p, s.offset, went.offset, age, l.topic.Retention)
	}
}

// starts tells whether the start of the log may rise.
func (t Topic) starts() bool { return t.Expires || t.Trimmed }

// superseded tells whether a record may be missing because there is a later one
// of its key. One that was salvaged may have been anywhere.
func (l *log) superseded(s *Send) bool {
	last, there := l.keys[s.key]
	return s.key == "" || there && (last > s.offset || l.topic.salvages(s))
}

// buried tells whether a record may be missing because of a tombstone of its key
// that itself may be gone by then. A tombstone buries itself.
func (p *partition) buried(t Topic, s *Send, by time.Time) bool {
	return slices.ContainsFunc(p.tombs[s.key], func(tomb *Send) bool {
		after := tomb == s || tomb.offset > s.offset || tomb.outcome != acked || tomb.offset == None || t.salvages(tomb) || t.salvages(s)
		return after && tomb.outcome != refused && by.Sub(tomb.at) >= t.TombstonesKept
	})
}
