// Package fusion makes one ranking of several: of the records that a search for
// words found and those that a search by meaning found, say.
//
// Whatever the method, records of equal scores are in the order of topic,
// partition and offset, so that the same lists always make the same ranking.
package fusion

import (
	"cmp"
	"math"
	"slices"
)

// Key is a record.
type Key struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Compare is the order of records of equal scores.
func Compare(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// Candidate is a record in a list, with what the list's own measure makes of it.
type Candidate struct {
	Key
	Score float64 // higher is better
}

// List is a ranking, the best first. A record that is in it again counts where it
// is first.
type List struct {
	Weight     float64
	Candidates []Candidate
}

// Merged is a record of the ranking that was made.
type Merged struct {
	Key
	Score  float64
	Places []Place // by list
}

// Place is where a record is in a list.
type Place struct {
	Rank  int // from 1; 0: it is not there
	Score float64
}

// RankConstant is the usual constant of ReciprocalRank.
const RankConstant = 60

// ReciprocalRank is reciprocal rank fusion (Cormack, Clarke, Büttcher 2009): the
// score is the sum, over the lists that have the record, of weight/(constant +
// rank). What lists make of their records otherwise has no influence, so that
// lists of any measures can be merged.
func ReciprocalRank(constant float64, lists []List) []Merged {
	return merge(lists, func(list int, p Place) float64 {
		return lists[list].Weight / (constant + float64(p.Rank))
	})
}

// MinMax is the weighted sum of scores that were brought to the range from 0, the
// worst of a list, to 1, its best. Where all of a list are equally good, all are 1;
// a record that is not in a list has 0 of it.
func MinMax(lists []List) []Merged {
	type bounds struct{ low, high float64 }
	of := make([]bounds, len(lists))
	for i, l := range lists {
		of[i] = bounds{math.Inf(1), math.Inf(-1)}
		for _, c := range l.Candidates {
			of[i].low, of[i].high = min(of[i].low, c.Score), max(of[i].high, c.Score)
		}
	}
	return merge(lists, func(list int, p Place) float64 {
		share := 1.0
		if b := of[list]; b.high > b.low {
			share = (p.Score - b.low) / (b.high - b.low)
		}
		return lists[list].Weight * share
	})
}

// merge sums up what each list gives a record for its place, the best first.
func merge(lists []List, gives func(list int, p Place) float64) []Merged {
	var merged []Merged
	at := map[Key]int{}
	for list, l := range lists {
		for rank, c := range l.Candidates {
			i, known := at[c.Key]
			if !known {
				i = len(merged)
				at[c.Key] = i
				merged = append(merged, Merged{Key: c.Key, Places: make([]Place, len(lists))})
			}
			m := &merged[i]
			if m.Places[list].Rank > 0 {
				continue
			}
			m.Places[list] = Place{Rank: rank + 1, Score: c.Score}
			m.Score += gives(list, m.Places[list])
		}
	}
	Sort(merged)
	return merged
}

// Sort puts the best first.
func Sort(merged []Merged) {
	slices.SortFunc(merged, func(a, b Merged) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), Compare(a.Key, b.Key))
	})
}
