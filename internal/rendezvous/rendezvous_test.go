package rendezvous

import (
	"fmt"
	"slices"
	"testing"
)

func TestSharesAreEvenAndMoveOnlyWithTheirMember(t *testing.T) {
	members := []string{"1", "2", "3", "4"}
	const keys = 4000
	counts := map[string]int{}
	for i := range keys {
		key := fmt.Sprintf("topic/%d", i)
		before := Pick(key, members)
		counts[before]++
		shuffled := slices.Clone(members)
		slices.Reverse(shuffled)
		if after := Pick(key, shuffled); after != before {
			t.Fatalf("%s: %s or %s, by the order of the members", key, before, after)
		}
		if after := Pick(key, members[:3]); before != "4" && after != before {
			t.Fatalf("%s moved from %s to %s although %s stayed", key, before, after, before)
		}
	}
	for m, n := range counts {
		if n < keys/4*8/10 || n > keys/4*12/10 {
			t.Errorf("member %s has %d of %d keys", m, n, keys)
		}
	}
	if got := Pick("x", nil); got != "" {
		t.Errorf("picked %q out of nobody", got)
	}
}
