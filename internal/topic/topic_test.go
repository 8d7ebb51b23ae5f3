package topic

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestIDSurvivesTextAndJSON(t *testing.T) {
	seen := map[ID]bool{}
	for range 100 {
		id := NewID()
		if seen[id] || id.IsZero() {
			t.Fatalf("%s came twice, or is zero", id)
		}
		seen[id] = true
		if s := id.String(); s[14] != '4' || !strings.ContainsRune("89ab", rune(s[19])) {
			t.Fatalf("%s is no UUID of version 4", s)
		}
		data, err := json.Marshal(map[ID]ID{id: id})
		if err != nil {
			t.Fatal(err)
		}
		var back map[ID]ID
		if err := json.Unmarshal(data, &back); err != nil || back[id] != id {
			t.Fatalf("%s came back as %v, %v", id, back, err)
		}
	}
}

func TestParseIDRefusesWhatStringDoesNotWrite(t *testing.T) {
	for _, s := range []string{"", "x", strings.Repeat("0", 32), "00000000-0000-0000-0000-00000000000g", "00000000-0000-0000-0000-0000000000000", "000000000000-0000-0000-0000-00000000"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q was read as %s", s, id)
		}
	}
}

func TestPartitionsAreOrderedByTopicThenIndex(t *testing.T) {
	a, b := ID{1}, ID{2}
	sorted := []Partition{{a, 0}, {a, 2}, {a, 10}, {b, 0}, {b, 1}}
	shuffled := []Partition{sorted[3], sorted[2], sorted[4], sorted[0], sorted[1]}
	slices.SortFunc(shuffled, Partition.Compare)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("sorted to %v", shuffled)
	}
	if sorted[0].Compare(sorted[0]) != 0 {
		t.Error("a partition differs from itself")
	}
}

func TestNamesFollowKafkasRules(t *testing.T) {
	for _, name := range []string{"a", "orders", "A.b_c-9", "...", "_", strings.Repeat("x", NameLengthMax)} {
		if err := ValidateName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a/b", "grün", "a\x00", strings.Repeat("x", NameLengthMax+1)} {
		if err := ValidateName(name); !errors.Is(err, ErrInvalidName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if CollisionKey("a.b") != CollisionKey("a_b") || CollisionKey("a.b") == CollisionKey("a-b") {
		t.Error("names collide by '.' and '_' alone")
	}
}

func TestAForbiddenCharacterIsNamedWhole(t *testing.T) {
	if err := ValidateName("prix-ü"); err == nil || !strings.Contains(err.Error(), `'ü' at 5`) {
		t.Errorf("got %v, want an error that names 'ü' at 5", err)
	}
}
