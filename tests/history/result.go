package history

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is a way to break the promises.
type Kind string

// All kinds, in the order of the table.
const (
	Lost         Kind = "lost"                       // acknowledged, and not in the log
	Duplicated   Kind = "duplicated"                 // twice, though its writer was idempotent
	Reordered    Kind = "reordered"                  // before one that its writer sent earlier
	Moved        Kind = "moved"                      // at another offset than was acknowledged
	Dirty        Kind = "dirty reads"                // read, and then changed or gone
	Skipped      Kind = "skipped by a reader"        // there, and not given to who read past it
	Unseen       Kind = "missing in an answer"       // acknowledged before the query that says it covers it
	Unasked      Kind = "not asked for"              // an answer has what was not asked for
	Uncovered    Kind = "untrue coverage"            // an answer says that it covers what it does not
	Garbled      Kind = "garbled"                    // bytes that nobody wrote
	Phantom      Kind = "never sent"                 // in the log, and not sent there, or refused
	Hole         Kind = "holes"                      // an offset without a record
	Disorder     Kind = "offsets that fall"          // a reader is given what is before its position
	Undeleted    Kind = "deleted and there again"    // below what DeleteRecords was answered with
	Stale        Kind = "stale ends"                 // the end of the log is told below what was acknowledged
	EarlyAck     Kind = "acknowledged too early"     // under object before its commit
	CommitTwice  Kind = "committed twice"            // two segments hold the same offsets
	CommitGap    Kind = "committed with a gap"       // a segment begins above the committed next
	CommitOrder  Kind = "commits out of order"       // of one session, by their sequence
	GroupBack    Kind = "group offsets that go back" // below what was acknowledged
	GroupPhantom Kind = "group offsets of nobody"    // one that was never committed
	Shared       Kind = "partitions of two members"  // of one group, at one epoch or beyond
	Missing      Kind = "missing objects"            // named in the metadata, and not in the bucket
	Leaked       Kind = "leaked objects"             // in the bucket, and never to be deleted
	Orphaned     Kind = "keys of deleted topics"     // written when the topic was gone, or never swept
	Unread       Kind = "partitions not read back"   // the check is not complete
	Twice        Kind = "answered twice"             // the workload contradicts itself
	Other        Kind = "other breaches"             // found by the workload by itself

	// Cut is no breach: readers saw what an owner that was away for too long
	// under durability=wal had not committed. Only topics that are Salvaged.
	Cut Kind = "cut under a reader"
)

var kinds = []Kind{
	Lost, Duplicated, Reordered, Moved, Dirty, Skipped, Unseen, Unasked, Uncovered, Garbled, Phantom, Hole, Disorder, Undeleted, Stale, EarlyAck,
	CommitTwice, CommitGap, CommitOrder, GroupBack, GroupPhantom, Shared, Missing, Leaked, Orphaned, Unread, Twice, Other,
}

// witnessesMax is how many witnesses of a kind are kept.
const witnessesMax = 5

type finding struct {
	count     int64
	witnesses []string
}

func (f *finding) clone() *finding {
	return &finding{f.count, slices.Clone(f.witnesses)}
}

// find counts a breach; the caller holds the lock.
func (h *History) find(k Kind, format string, args ...any) {
	f := h.found[k]
	if f == nil {
		f = &finding{}
		h.found[k] = f
	}
	f.count++
	if len(f.witnesses) < witnessesMax {
		f.witnesses = append(f.witnesses, fmt.Sprintf(format, args...))
	}
}

type counts struct {
	sent, acked, unknown, unknownThere, refused, unacked, expired, superseded, gone, salvaged int64
}

// Row is a line of the table.
type Row struct {
	Name      string   `json:"name"`
	Count     int64    `json:"count"`
	Breach    bool     `json:"breach"` // is to be zero
	Witnesses []string `json:"witnesses,omitempty"`
}

// Result is what Check found.
type Result struct {
	Rows []Row `json:"rows"`
}

func (h *History) result(c *counts) Result {
	var r Result
	add := func(name string, n int64, always bool) {
		if n > 0 || always {
			r.Rows = append(r.Rows, Row{Name: name, Count: n})
		}
	}
	add("acked", c.acked, true)
	add("of unknown outcome", c.unknown, false)
	add("  of these in the log", c.unknownThere, false)
	add("refused", c.refused, false)
	add("sent without acks", c.unacked, false)
	add("read", h.reads, false)
	add("queries answered", h.queries, false)
	add("segments committed", h.commits, false)
	add("expired", c.expired, false)
	add("deleted by request", h.trims, false)
	add("with a topic deleted", c.gone, false)
	add("superseded by key", c.superseded, false)
	add("salvaged", c.salvaged, false)
	if f := h.found[Cut]; f != nil {
		add(string(Cut), f.count, false)
	}
	for i, k := range kinds {
		row := Row{Name: string(k), Breach: true}
		if f := h.found[k]; f != nil {
			row.Count, row.Witnesses = f.count, f.witnesses
		}
		// The promises that everybody asks about are shown when they are kept, too.
		if row.Count > 0 || i < 5 {
			r.Rows = append(r.Rows, row)
		}
	}
	return r
}

// OK tells whether every promise was kept.
func (r Result) OK() bool {
	return !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Breach && row.Count > 0 })
}

// Count returns a row's count; 0 if the table has no such row.
func (r Result) Count(name string) int64 {
	for _, row := range r.Rows {
		if row.Name == name {
			return row.Count
		}
	}
	return 0
}

// String is the table, with the first witnesses of each breach below it.
func (r Result) String() string {
	var b strings.Builder
	for _, row := range r.Rows {
		mark := ""
		if row.Breach && row.Count > 0 {
			mark = "  <-- must be 0"
		}
		fmt.Fprintf(&b, "%-28s %10d%s\n", row.Name, row.Count, mark)
	}
	for _, row := range r.Rows {
		for _, w := range row.Witnesses {
			fmt.Fprintf(&b, "%s: %s\n", row.Name, w)
		}
	}
	return b.String()
}
