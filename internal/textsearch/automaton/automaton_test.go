package automaton

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegularExpressionsOfLucene(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no string }{
		{"", "", "a"},
		{"a.c", "abc aéc a世c", "ac abbc abcd"},
		{"ab?c*", "a ab acc abccc", "b abb"},
		{"(ab)+", "ab abab", "a aba"},
		{"a{2}", "aa", "a aaa"},
		{"a{1,3}b", "ab aaab", "b aaaab"},
		{"a{2,}", "aa aaaaa", "a"},
		{"[a-cx]", "a b c x", "d y"},
		{"[^a-c]", "d é 世", "a bb"},
		{"[é-ü]+", "êëü", "e"},
		{"cat|dog", "cat dog", "catdog"},
		{`"a.c"*`, "a.c a.ca.c", "abc"},
		{`\.\*`, ".*", "ab"},
		{"~(foo)", "fo fooo bar", "foo"},
		{"a.*&.*b", "ab axxb", "a b ba"},
		{"@", "x abc", ""},
		{"<5-12>", "5 7 12 007", "4 13 120"},
		{"foo<01-12>", "foo01 foo12", "foo1 foo13 foo00"},
		{`\d+\w`, "12a 1_", "a1 12-"},
		{`\D`, "a é", "1 ab"},
	} {
		a, err := Regexp(c.pattern, false, 10_000)
		require.NoError(t, err, c.pattern)
		for _, term := range strings.Fields(c.yes) {
			require.True(t, a.Match([]byte(term)), "%s %s", c.pattern, term)
		}
		for _, term := range strings.Fields(c.no) {
			require.False(t, a.Match([]byte(term)), "%s %s", c.pattern, term)
		}
		require.NoError(t, a.Err())
	}
	a, err := Regexp("straSSe[a-c]", true, 1000)
	require.NoError(t, err)
	require.True(t, a.Match([]byte("STRasseB")))
	for _, bad := range []string{"(", "[a", "a{", "*", "a)", `"x`, "<1>", `\`, "a{3,1}", "[z-a]", "a{5000}"} {
		_, err := Regexp(bad, false, 1000)
		require.Error(t, err, bad)
	}
}

// The classic bombs: they end, and say that they were too much.
func TestStatesAreBounded(t *testing.T) {
	a, err := Regexp("(a|b)*a(a|b){30}", false, 1000)
	if err == nil {
		a.Match(bytes.Repeat([]byte("ab"), 5000))
		x := uint32(1)
		for range 200_000 { // a walk that repeats no state soon
			x = x*1664525 + 1013904223
			if a.start = a.Accept(a.start, 'a'+byte(x>>31)); a.Err() != nil {
				break
			}
		}
		err = a.Err()
	}
	require.ErrorIs(t, err, ErrTooComplex)
	_, err = Regexp("((((a{1000}){1000}){1000}){1000})", false, 10_000)
	require.ErrorIs(t, err, ErrTooComplex)
	_, err = Regexp(strings.Repeat("(", 5000), false, 10_000)
	require.Error(t, err)
}

func TestWildcardsAndPrefixes(t *testing.T) {
	w, err := Wildcard(`a*b?\*`, false)
	require.NoError(t, err)
	for term, want := range map[string]bool{"abc*": true, "axxbé*": true, "ab*": false, "abcd": false} {
		require.Equal(t, want, w.Match([]byte(term)), term)
	}
	p, err := Prefix("Ab", true)
	require.NoError(t, err)
	for term, want := range map[string]bool{"ab": true, "ABsolute": true, "a": false, "ba": false} {
		require.Equal(t, want, p.Match([]byte(term)), term)
	}
	state := p.Accept(p.Accept(p.Start(), 'A'), 'b')
	require.True(t, p.WillAlwaysMatch(state))
	require.False(t, p.CanMatch(p.Accept(p.Start(), 'x')))
}

func FuzzRangeIsByteOrder(f *testing.F) {
	f.Add([]byte("b"), []byte("bcd"), []byte("bc"), true, false)
	f.Fuzz(func(t *testing.T, low, high, term []byte, withLow, withHigh bool) {
		for _, r := range []Range{{Low: low, WithLow: withLow}, {High: high, WithHigh: withHigh}, {low, high, withLow, withHigh}} {
			want := true
			if r.Low != nil {
				c := bytes.Compare(term, r.Low)
				want = c > 0 || (c == 0 && r.WithLow)
			}
			if c := bytes.Compare(term, r.High); r.High != nil {
				want = want && (c < 0 || (c == 0 && r.WithHigh))
			}
			state := r.Start()
			for _, b := range term {
				if r.WillAlwaysMatch(state) && !want {
					t.Fatal("will not always match")
				}
				state = r.Accept(state, b)
			}
			if r.IsMatch(state) != want {
				t.Fatalf("%q in %+v: %v", term, r, !want)
			}
		}
	})
}

// What both Go and Lucene can write means the same.
func FuzzRegexp(f *testing.F) {
	f.Add("a(b|c)*[d-f]?", "abcf")
	f.Add("[^a]{2,3}x", "éßx")
	f.Fuzz(func(t *testing.T, pattern, term string) {
		a, err := Regexp(pattern, false, 500)
		if err != nil || strings.ContainsAny(pattern, `~&@#<>"\^$-[{`) || strings.Contains(pattern, "(?") {
			return
		}
		// Repetitions of repetitions are refused or mean something else in Go.
		if regexp.MustCompile(`[?*+]{2}`).MatchString(pattern) {
			return
		}
		re, err := regexp.Compile(`(?s)\A(?:` + pattern + `)\z`)
		got := a.Match([]byte(term))
		if err != nil || a.Err() != nil || !bytes.Equal([]byte(term), []byte(strings.ToValidUTF8(term, ""))) {
			return
		}
		if want := re.MatchString(term); got != want {
			t.Errorf("%q on %q: %v", pattern, term, got)
		}
	})
}
