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
	floor   map[int32]int64 // everything below it had been acknowledged
	start   map[int32]int64 // everything below it had been deleted
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
	}
	q.acked(part, t, c, rows, what)
	// The rest is as for any reader that was given the log from there to there.
	gaps := len(part.gaps)
	if next := h.read(q.by, part, c.From, rows); next < c.To {
		part.gaps = append(part.gaps, gap{next, c.To, q.by})
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
		if s.offset < c.From || s.offset >= c.To || s.done >= q.invoked || there[s.offset] || t.salvages(s) {
			continue
		}
		if t.Holes && s.key != "" && (keys[s.key] > s.offset || part.buried(t, s, time.Now())) {
			continue
		}
		q.h.find(Unseen, "%s has no row of offset %d, where %s had been acknowledged", what, s.offset, s.ID)
	}
}
