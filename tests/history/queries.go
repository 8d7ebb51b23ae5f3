package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Query is a query over all records of a topic on its way.
type Query struct {
	h       *History
	by      string
	topic   string
	invoked int64
	latest  bool
	only    func(Record) bool // nil: all records are asked for
	floor   map[int32]int64   // everything below it had been acknowledged
	start   map[int32]int64   // everything below it had been deleted
}

// Record is what a query can choose by.
type Record struct {
	ID        ID
	Tombstone bool
}

// Covered are the offsets that an answer says it was computed over, and the end
// of the log that it names.
type Covered struct {
	From, To, End int64
}

// startsKnown is after how long everybody is to know where a log begins by now.
// Until then only those need to who were told, by what DeleteRecords is answered:
// the metadata store may be slow, to brokers and query nodes alike.
const startsKnown = time.Minute

// Query says that all records of a topic are about to be asked for. With latest
// everything that was acknowledged before is to be in the answer, and nothing that
// was deleted before and said to be.
func (h *History) Query(by, topic string, latest bool) *Query {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := &Query{h: h, by: by, topic: topic, invoked: h.tick(), latest: latest, floor: map[int32]int64{}, start: map[int32]int64{}}
	for p, part := range h.partitions {
		if p.Topic != topic {
			continue
		}
		if q.floor[p.Index] = 0; latest && !h.topics[topic].Salvaged {
			q.floor[p.Index] = part.readable
		}
		if latest {
			q.start[p.Index] = max(part.trimmed, part.startBefore(time.Now().Add(-startsKnown)))
		}
	}
	return q
}

// Only says that not all records are asked for, but those of which it holds. It is
// said before the answer is.
func (q *Query) Only(holds func(Record) bool) *Query {
	q.only = holds
	return q
}

// Of says that one partition alone is asked for.
func (q *Query) Of(partition int32) *Query {
	for index := range q.floor {
		if index != partition {
			delete(q.floor, index)
		}
	}
	return q
}

// wants tells whether a record is among those that are asked for.
func (q *Query) wants(s *Send) bool {
	return q.only == nil || q.only(Record{s.ID, s.tomb})
}

// Answered says what came: the rows of each partition in any order, and what
// they are said to cover. A query that failed is not answered.
func (q *Query) Answered(covered map[int32]Covered, rows map[int32][]Item) {
	h := q.h
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick()
	h.queries++
	for index := range rows {
		if _, ok := covered[index]; !ok {
			h.find(Uncovered, "%s was given %d rows of %s-%d, which its coverage does not name", q.by, len(rows[index]), q.topic, index)
		}
	}
	for index, c := range covered {
		q.partition(Partition{q.topic, index}, c, rows[index])
	}
	for index := range q.floor {
		if _, ok := covered[index]; !ok {
			h.find(Uncovered, "%s was answered about %s without partition %d", q.by, q.topic, index)
		}
	}
}

func (q *Query) partition(p Partition, c Covered, rows []Item) {
	h := q.h
	part, t := h.partition(p), h.topics[p.Topic]
	what := fmt.Sprintf("%s, which asked %s and was answered about [%d, %d) of %d,", q.by, p, c.From, c.To, c.End)
	switch {
	case c.To < q.floor[p.Index]:
		h.find(Stale, "%s was to see offset %d, which had been acknowledged", what, q.floor[p.Index]-1)
	case c.End < c.To:
		h.find(Uncovered, "%s is told of an end below what it covers", what)
	case c.From > c.To:
		h.find(Uncovered, "%s is told of less than nothing", what)
	case t.starts() && c.From < q.start[p.Index]:
		h.find(Undeleted, "%s begins below %d, to where all was deleted", what, q.start[p.Index])
	case len(part.starts) > 0 && c.From > part.start():
		h.find(Lost, "%s begins above %d, where the log does", what, part.start())
	case t.Trimmed && c.From > part.trimAsked, !t.starts() && c.From > 0:
		h.find(Lost, "%s begins above %d, below which nobody asked to delete", what, part.trimAsked)
	}
	rows = slices.SortedStableFunc(slices.Values(rows), func(a, b Item) int { return cmp.Compare(a.Offset, b.Offset) })
	for i, row := range rows {
		if row.Offset < c.From || row.Offset >= c.To {
			h.find(Uncovered, "%s has a row of offset %d", what, row.Offset)
		}
		if i > 0 && rows[i-1].Offset == row.Offset {
			h.find(Duplicated, "%s has two rows of offset %d", what, row.Offset)
		}
		if id, err := Parse(row.Value); err == nil { // else it is garbled
			if s := h.send(id); s != nil && !q.wants(s) {
				h.find(Unasked, "%s has a row of %s at offset %d, which was not asked for", what, id, row.Offset)
			}
		}
		if q.latest && t.Holes && part.final != nil && part.final.lacks(row.Offset) {
			h.find(Undeleted, "%s has a row of offset %d, which the log has no longer", what, row.Offset)
		}
	}
	q.acked(part, t, c, rows, what)
	// The rest is as for any reader that was given the log from there to there.
	gaps := len(part.gaps)
	if next := h.read(q.by, part, c.From, rows); next < c.To {
		part.gaps = append(part.gaps, gap{first: next, next: c.To, by: q.by})
	}
	for i := range part.gaps[gaps:] {
		part.gaps[gaps+i].of = q
	}
	if t.Holes && part.final != nil {
		part.gaps = part.gaps[:gaps] // compaction goes on after the log was read back
	}
}

// acked: what had been acknowledged when the query came, and is covered, has a row.
func (q *Query) acked(part *partition, t Topic, c Covered, rows []Item, what string) {
	there := make(map[int64]bool, len(rows))
	keys := map[string]int64{}
	for _, row := range rows {
		there[row.Offset] = true
		if id, err := Parse(row.Value); err == nil {
			if s := q.h.send(id); s != nil {
				keys[s.key] = max(keys[s.key], row.Offset)
			}
		}
	}
	for _, s := range part.acked {
		if s.offset < c.From || s.offset >= c.To || s.done >= q.invoked || there[s.offset] || t.salvages(s) || !q.wants(s) {
			continue
		}
		if t.Holes && s.key != "" && (q.superseded(part, s, keys) || part.buried(t, s, time.Now())) {
			continue
		}
		q.h.find(Unseen, "%s has no row of offset %d, where %s had been acknowledged", what, s.offset, s.ID)
	}
}

// superseded tells whether a record may be missing because there is a later one of
// its key, whose last offsets in the answer are given. Where that need not be in the
// answer, only the log itself can tell, once it was read back.
func (q *Query) superseded(part *partition, s *Send, keys map[string]int64) bool {
	switch {
	case q.only == nil:
		return keys[s.key] > s.offset
	case part.final == nil || part.final.lacks(s.offset):
		return true
	}
	return slices.ContainsFunc(part.final.items, func(item finalItem) bool {
		later := q.h.send(item.id)
		return item.offset > s.offset && later != nil && later.key == s.key
	})
}
