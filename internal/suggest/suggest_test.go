package suggest

import "testing"

func TestNearFindsTheLikelyWord(t *testing.T) {
	words := []string{"columnar.enabled", "columnar.format", "retention.ms", "retention.bytes", "vector.enabled", "ms"}
	for _, test := range []struct{ word, want string }{
		{"columnar.enabeld", "columnar.enabled"}, // neighbours swapped
		{"Columnar.Format", "columnar.format"},   // case
		{"retention.m", "retention.ms"},          // one missing
		{"retentoin.byts", "retention.bytes"},    // two wrong
		{"format", "columnar.format"},            // the end of one
		{"columnar", "columnar.enabled"},         // the beginning: first in order
		{"x", ""},                                // too short to guess
		{"", ""},                                 // nothing said
		{"something.else.entirely", ""},          // nothing near
		{"mz", "ms"},                             // one edit is always allowed
		{"vector.enabled.but.much.too.long", ""}, // longer by too much
	} {
		if got := Near(test.word, words); got != test.want {
			t.Errorf("Near(%q) = %q, want %q", test.word, got, test.want)
		}
	}
}

func TestHintIsEmptyWithoutASuggestion(t *testing.T) {
	if got := Hint("zzzzzz", []string{"retention.ms"}); got != "" {
		t.Errorf("Hint = %q, want nothing", got)
	}
	if got, want := Hint("retention.mss", []string{"retention.ms"}), `; did you mean "retention.ms"?`; got != want {
		t.Errorf("Hint = %q, want %q", got, want)
	}
}

func FuzzDistanceIsAMetric(f *testing.F) {
	f.Add("kitten", "sitting")
	f.Add("ab", "ba")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a) > 200 || len(b) > 200 {
			return
		}
		const far = 1 << 20
		d := distance(a, b, far)
		if d != distance(b, a, far) {
			t.Fatalf("distance(%q, %q) is not symmetric", a, b)
		}
		if (d == 0) != (a == b) {
			t.Fatalf("distance(%q, %q) = %d", a, b, d)
		}
		if d > max(len(a), len(b)) {
			t.Fatalf("distance(%q, %q) = %d is more than rewriting it", a, b, d)
		}
	})
}
