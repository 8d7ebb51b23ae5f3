package faultplan

import (
	"strings"
	"testing"
)

var words = Language{Ops: []Op{"put", "get"}, Plain: []Effect{"fail", "cut"}, Timed: []Effect{"delay"}, Naming: "NAME"}

func TestPlansPrintAsTheyAreRead(t *testing.T) {
	p, err := words.Parse("# what went wrong in May\nseed 7; put a/b fail p=0.05\nget * delay=20ms every=10; * * cut nth=3")
	if err != nil {
		t.Fatal(err)
	}
	want := "seed 7; put a/b fail p=0.05; get * delay=20ms every=10; * * cut nth=3"
	if p.String() != want {
		t.Errorf("printed %q", p)
	}
	again, err := words.Parse(p.String())
	if err != nil || again.String() != want {
		t.Errorf("read again as %q, %v", again, err)
	}
}

func TestWrongRulesAreRefusedByTheWord(t *testing.T) {
	for text, names := range map[string]string{
		"pull * fail p=1": "pull", "put * burn p=1": "burn", "put * fail=1s p=1": "takes no value", "put * delay p=1": "duration",
		"put * delay=-1s p=1": "above zero", "put * fail p=0": "probability", "put * fail p=NaN": "probability", "put * fail nth=0": "count",
		"put * fail often": "often", "put fail": "NAME", "seed x": "x",
	} {
		if _, err := words.Parse(text); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestChanceReplaysAndIsFair(t *testing.T) {
	r := Rule{Probability: 0.25}
	struck := 0
	for call := range uint64(4000) {
		chance := Hash(1, 0, "put x", call)
		if chance != Hash(1, 0, "put x", call) {
			t.Fatal("the same call has two chances")
		}
		if r.Strikes(1, chance) {
			struck++
		}
	}
	if struck < 900 || struck > 1100 {
		t.Errorf("a quarter of 4000 calls is %d", struck)
	}
	if n := (Rule{Nth: 3}); n.Strikes(2, 0) || !n.Strikes(3, 0) || n.Strikes(6, 0) {
		t.Error("nth=3 strikes the third call alone")
	}
	if e := (Rule{Every: 3}); e.Strikes(2, 0) || !e.Strikes(3, 0) || !e.Strikes(6, 0) {
		t.Error("every=3 strikes each third call")
	}
}
