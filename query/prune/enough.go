package prune

import "slices"

// First says that a query wants only some rows: the first Rows in the order of a
// column, or any when Column is empty.
type First struct {
	Rows       int64 // 0: all
	Column     string
	Descending bool
}

// Some is a file or a row group: what is known of its rows, and how many there
// surely are.
type Some struct {
	Facts Facts
	Rows  int64
}

// Enough picks those of all that hold the first rows. The order is kept.
func (n First) Enough(all []Some) (kept []int) {
	if n.Rows <= 0 {
		return places(len(all))
	}
	if n.Column == "" {
		rows := int64(0)
		for i := range all {
			if rows >= n.Rows {
				break
			}
			kept = append(kept, i)
			rows += all[i].Rows
		}
		return kept
	}
	limit, ok := n.threshold(all)
	if !ok {
		return places(len(all))
	}
	for i, s := range all {
		if fact, ok := s.Facts.Column(n.Column); !ok || !fact.Bounded || !n.behind(fact, limit) {
			kept = append(kept, i)
		}
	}
	return kept
}

func places(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// threshold is a value that enough rows do not come behind.
func (n First) threshold(all []Some) (limit Value, ok bool) {
	type reach struct {
		to   Value // no row comes behind it
		rows int64
	}
	var reaches []reach
	for _, s := range all {
		fact, ok := s.Facts.Column(n.Column)
		if !ok || !fact.Bounded || fact.Nulls != NoNulls || (fact.Kind != Int && fact.Kind != Time) {
			continue
		}
		to := fact.Max
		if n.Descending {
			to = fact.Min
		}
		reaches = append(reaches, reach{to, s.Rows})
	}
	slices.SortFunc(reaches, func(a, b reach) int {
		if n.Descending {
			return b.to.compare(a.to)
		}
		return a.to.compare(b.to)
	})
	rows := int64(0)
	for _, r := range reaches {
		if rows += r.rows; rows >= n.Rows {
			return r.to, true
		}
	}
	return Value{}, false
}

// behind reports that all rows with this fact come behind the threshold.
func (n First) behind(fact Fact, limit Value) bool {
	if n.Descending {
		return surelyLess(fact.Max, limit)
	}
	return surelyLess(limit, fact.Min)
}
