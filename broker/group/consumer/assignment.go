package consumer

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/internal/topic"
)

// Assignment is a set of partitions: per topic its indexes, ascending, none
// empty. It is a value: nobody changes one that was handed out.
type Assignment map[topic.ID][]int32

// NewAssignment makes a set of what a client sent in any order.
func NewAssignment(partitions iter.Seq2[topic.ID, []int32]) Assignment {
	a := make(Assignment)
	for id, indexes := range partitions {
		if len(indexes) > 0 {
			a[id] = append(a[id], indexes...) // a new slice: nothing of the client's is kept
		}
	}
	for id, indexes := range a {
		slices.Sort(indexes)
		a[id] = slices.Compact(indexes)
	}
	return a
}

// Len is how many partitions there are.
func (a Assignment) Len() int {
	n := 0
	for _, indexes := range a {
		n += len(indexes)
	}
	return n
}

// Has reports whether p is one of them.
func (a Assignment) Has(p topic.Partition) bool {
	_, found := slices.BinarySearch(a[p.Topic], p.Index)
	return found
}

// Equal reports whether both are the same set.
func (a Assignment) Equal(b Assignment) bool {
	return maps.EqualFunc(a, b, func(x, y []int32) bool { return slices.Equal(x, y) })
}

// All yields the partitions, by topic and index.
func (a Assignment) All() iter.Seq[topic.Partition] {
	return func(yield func(topic.Partition) bool) {
		for _, id := range a.Topics() {
			for _, index := range a[id] {
				if !yield(topic.Partition{Topic: id, Index: index}) {
					return
				}
			}
		}
	}
}

// Topics are the ids of the topics, in their order.
func (a Assignment) Topics() []topic.ID {
	return slices.SortedFunc(maps.Keys(a), compareIDs)
}

func compareIDs(a, b topic.ID) int {
	return cmp.Or(slices.Compare(a[:], b[:]))
}

// split returns what is in a and in b, and what is in a alone.
func (a Assignment) split(b Assignment) (both, rest Assignment) {
	both, rest = make(Assignment, len(a)), make(Assignment)
	for id, indexes := range a {
		other := b[id]
		if slices.Equal(indexes, other) {
			both[id] = indexes
			continue
		}
		var in, out []int32
		for _, index := range indexes {
			for len(other) > 0 && other[0] < index {
				other = other[1:]
			}
			if len(other) > 0 && other[0] == index {
				in = append(in, index)
			} else {
				out = append(out, index)
			}
		}
		if len(in) > 0 {
			both[id] = in
		}
		if len(out) > 0 {
			rest[id] = out
		}
	}
	return both, rest
}

// without returns what is in a and not in b.
func (a Assignment) without(b Assignment) Assignment {
	_, rest := a.split(b)
	return rest
}

// with returns what is in a or in b.
func (a Assignment) with(b Assignment) Assignment {
	if len(b) == 0 {
		return a
	}
	all := maps.Clone(a)
	if all == nil {
		all = make(Assignment, len(b))
	}
	for id, indexes := range b {
		merged := slices.Concat(all[id], indexes)
		slices.Sort(merged)
		all[id] = slices.Compact(merged)
	}
	return all
}

// meets reports whether a and b have a partition in common.
func (a Assignment) meets(b Assignment) bool {
	for id, indexes := range a {
		other := b[id]
		if len(other) == 0 {
			continue
		}
		for _, index := range indexes {
			if _, found := slices.BinarySearch(other, index); found {
				return true
			}
		}
	}
	return false
}
