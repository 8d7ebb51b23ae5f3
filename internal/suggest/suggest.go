// Package suggest finds the word that somebody probably meant.
//
// It serves error messages about unknown keys and commands; nothing decides
// anything by it.
package suggest

import "strings"

// Near returns the candidate closest to word, or "" when none is close enough
// to be worth naming: within a third of the word's length in edits, or word
// being the end or the beginning of the candidate. Of equally close ones the
// first in the given order is returned. Case does not count.
func Near(word string, candidates []string) string {
	if word == "" {
		return ""
	}
	lower := strings.ToLower(word)
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(lower, strings.ToLower(c), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" || len(word) < 4 {
		return best
	}
	for _, c := range candidates {
		l := strings.ToLower(c)
		if strings.HasSuffix(l, lower) || strings.HasPrefix(l, lower) {
			return c
		}
	}
	return ""
}

// Hint is Near as the end of a sentence: "; did you mean \"x\"?", or nothing.
func Hint(word string, candidates []string) string {
	near := Near(word, candidates)
	if near == "" {
		return ""
	}
	return `; did you mean "` + near + `"?`
}

// distance is the number of single-byte insertions, deletions, substitutions
// and swaps of neighbours that make a into b, or limit when it is at least that.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return min(previous[len(b)], limit)
}
