package textquery

import (
	"slices"
	"strconv"
	"strings"
)

// MinimumMatch is how many of several clauses have to match. The zero value
// leaves it to the query.
type MinimumMatch struct {
	steps []minimumStep // ascending by above
}

// minimumStep holds for more than above clauses.
type minimumStep struct {
	above   int
	n       int
	percent bool
}

// MinimumOf is the minimum of n clauses.
func MinimumOf(n int) MinimumMatch {
	return MinimumMatch{[]minimumStep{{above: -1, n: n}}}
}

// Given reports whether there is a minimum.
func (m MinimumMatch) Given() bool { return len(m.steps) > 0 }

// Of is how many of the given number of clauses have to match: never less than
// none and, unless more were asked for outright, never more than all. With more
// than all, nothing matches, as in Lucene.
func (m MinimumMatch) Of(clauses int) int {
	need := clauses // below the first step all have to match
	for _, s := range m.steps {
		if clauses <= s.above {
			break
		}
		switch {
		case s.percent && s.n < 0:
			need = clauses - clauses*-s.n/100
		case s.percent:
			need = clauses * s.n / 100
		case s.n < 0:
			need = clauses + s.n
		default:
			need = s.n
		}
	}
	return max(0, need)
}

// parseMinimum reads "2", "-1", "75%", "-25%", "2<75%" and "2<-25% 9<-3".
func parseMinimum(text string) (MinimumMatch, error) {
	bad := func() (MinimumMatch, error) {
		return MinimumMatch{}, Refuse("minimum_should_match %q is none of: 2, -1, 75%%, -25%%, 2<75%%, 2<-25%% 9<-3", text)
	}
	words := strings.Fields(text)
	if len(words) == 0 || len(words) > 16 {
		return bad()
	}
	var m MinimumMatch
	for _, word := range words {
		step := minimumStep{above: -1}
		above, amount, conditional := strings.Cut(word, "<")
		if conditional {
			n, err := strconv.Atoi(above)
			if err != nil || n < 0 {
				return bad()
			}
			step.above = n
		} else {
			amount = word
			if len(words) > 1 {
				return bad()
			}
		}
		amount, step.percent = strings.CutSuffix(amount, "%")
		n, err := strconv.Atoi(amount)
		if err != nil || n < -1_000_000 || n > 1_000_000 || (step.percent && (n < -100 || n > 100)) {
			return bad()
		}
		step.n = n
		m.steps = append(m.steps, step)
	}
	slices.SortStableFunc(m.steps, func(a, b minimumStep) int { return a.above - b.above })
	return m, nil
}
