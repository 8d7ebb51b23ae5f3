package iceberg

import (
	"cmp"
	"slices"

	"github.com/apache/iceberg-go/table"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
)

// file is a data file that the manifests name, and so the table should.
type file struct {
	manifest.File
	partition topic.Partition
	spec      int
	value     int32 // of its partition in spec
	cut       int64 // the log start, if some of its rows lie below and some above; else 0
}

// gone reports whether rows of the file are to be left out.
func (f *file) gone() bool { return f.Masked > 0 || f.cut > 0 }

// liveFile is a data file of the table's current snapshot.
type liveFile struct {
	object      string
	partition   topic.Partition
	spec        int
	value       int32
	first, next int64 // its offsets are within
	records     int64
	size        int64
	deletes     *liveDeletes // nil: none
}

// liveDeletes is the file of a data file's rows that are no more.
type liveDeletes struct {
	object      string
	masked, cut int64 // what it was made for
	records     int64
	size        int64
}

// rows are those that readers get.
func (f *liveFile) rows() int64 {
	if f.deletes != nil {
		return f.records - f.deletes.records
	}
	return f.records
}

// current reports whether the rows left out are those that f wants left out.
func (f *liveFile) current(want *file) bool {
	if f.deletes == nil {
		return !want.gone()
	}
	return f.deletes.masked == want.Masked && f.deletes.cut == want.cut
}

// step is a change that becomes one snapshot.
type step struct {
	operation table.Operation
	remove    []*liveFile
	add       []*file
	redo      []*file // whose rows left out are others now
	redone    []*liveDeletes
}

func (s *step) empty() bool { return len(s.remove)+len(s.add)+len(s.redo)+len(s.redone) == 0 }

// changes are the snapshots that lead from what is live to what is wanted: what
// retention took goes (delete), files that hold the same rows take the place of
// others (replace), what is neither the one nor the other (overwrite), and what is
// new comes (append). Rows of new files that are no more go last (delete), since
// PyIceberg passes over position deletes of the data file's own snapshot. Readers that follow a table append by append see every
// record once as long as there is no overwrite, which comes of a merge that took
// in a file before the table had it.
func changes(live []liveFile, wanted []file) []step {
	want := make(map[string]*file, len(wanted))
	for i := range wanted {
		want[wanted[i].Object] = &wanted[i]
	}
	var deletes, replaces, overwrites, appends, cuts step
	deletes.operation, replaces.operation = table.OpDelete, table.OpReplace
	overwrites.operation, appends.operation, cuts.operation = table.OpOverwrite, table.OpAppend, table.OpDelete

	known := make(map[string]bool, len(live))
	var parts []part
	for i := range live {
		f := &live[i]
		known[f.object] = true
		w := want[f.object]
		if w == nil {
			parts = append(parts, part{old: f, class: class{f.partition, f.spec, f.value}, first: f.first, next: f.next})
			continue
		}
		if f.current(w) {
			continue
		}
		if w.gone() {
			deletes.redo = append(deletes.redo, w)
		}
		if f.deletes != nil {
			deletes.redone = append(deletes.redone, f.deletes)
		}
	}
	for i := range wanted {
		f := &wanted[i]
		if !known[f.Object] {
			if f.gone() {
				cuts.redo = append(cuts.redo, f)
			}
			parts = append(parts, part{fresh: f, class: class{f.partition, f.spec, f.value}, first: f.First, next: f.Next})
		}
	}
	for _, group := range overlapping(parts) {
		to := &appends
		removed, added, same := weigh(group)
		switch {
		case removed && !added:
			to = &deletes
		case removed && same:
			to = &replaces
		case removed:
			to = &overwrites
		}
		for _, p := range group {
			if p.old != nil {
				to.remove = append(to.remove, p.old)
			} else {
				to.add = append(to.add, p.fresh)
			}
		}
	}
	return slices.DeleteFunc([]step{deletes, replaces, overwrites, appends, cuts}, func(s step) bool { return s.empty() })
}

// class are files among which offsets are unique.
type class struct {
	partition topic.Partition
	spec      int
	value     int32
}

// part is a file that goes or comes.
type part struct {
	class
	old         *liveFile
	fresh       *file
	first, next int64
}

// overlapping groups files whose offsets overlap, directly or through others.
func overlapping(parts []part) [][]part {
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.partition.Index, b.partition.Index), cmp.Compare(a.spec, b.spec), cmp.Compare(a.value, b.value),
			cmp.Compare(a.first, b.first), cmp.Compare(a.next, b.next))
	})
	var groups [][]part
	next := int64(0) // of the last group
	for i, p := range parts {
		if i == 0 || parts[i-1].class != p.class || p.first >= next {
			groups, next = append(groups, nil), p.next
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], p)
		next = max(next, p.next)
	}
	return groups
}

// weigh reports what a group has, and whether the rows that come are as many as go.
func weigh(group []part) (removed, added, same bool) {
	var rows int64
	cut := false // it is not known how many rows
	for _, p := range group {
		if p.old != nil {
			removed = true
			rows -= p.old.rows()
			continue
		}
		added = true
		rows += p.fresh.Records - p.fresh.Masked
		cut = cut || p.fresh.cut > 0
	}
	return removed, added, rows == 0 && !cut
}
