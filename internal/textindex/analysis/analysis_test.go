package analysis_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/blevesearch/segment"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

func terms(t testing.TB, name, text string) []string {
	t.Helper()
	a, err := analysis.ByName(name)
	require.NoError(t, err)
	all := []string{}
	for _, token := range a.Analyze([]byte(text)) {
		all = append(all, string(token.Term))
	}
	return all
}

func TestAnalyzers(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"standard", "The QUICK brown-fox's dog, 3.14 jumped_over", "the quick brown fox's dog 3.14 jumped_over"},
		{"standard", "a.b 1,2 x:y a,b 1:2 10.0.0.1 --- __ _", "a.b 1,2 x:y a b 1 2 10.0.0.1"},
		{"standard", "Größe ΣΊΣΥΦΟΣ Ünïcode 東京 ひらがな カタカナ 서울 мир", "größe σίσυφοσ ünïcode 東 京 ひ ら が な カタカナ 서울 мир"},
		{"standard", "bad\xffbyte é\xfe\xff ok", "bad byte é ok"},
		{"standard", "e\u0301t\u0301e a\u0301", "e\u0301t\u0301e a\u0301"},
		{"simple", "It's 2 O'Clock, Zürich", "it s o clock zürich"},
		{"keyword", "As It Is", "As It Is"},
		{"en", "The runners were running to the connections", "runner were run connect"},
		{"de", "Häuser und Häusern, für die es keine Türen gibt", "haus haus tur gibt"},
		{"fr", "les connexions de la machine ne sont pas rétablies", "connex machin rétabl"},
		{"ru", "и книгами", "книг"},
		{"ta", "இது ஒரு", "இது ஒரு"},
	} {
		want := strings.Fields(test.want)
		if test.name == "keyword" {
			want = []string{test.want}
		}
		require.Equal(t, want, terms(t, test.name, test.text), "%s %q", test.name, test.text)
	}
	_, err := analysis.ByName("klingon")
	require.ErrorContains(t, err, "klingon")
	require.Len(t, analysis.Languages(), 18)
}

// Every language has the words that its files have, in the form in which texts
// come to be compared with them.
func TestStopWordsAreFoundInTexts(t *testing.T) {
	files, err := filepath.Glob("stop/*.txt")
	require.NoError(t, err)
	require.Len(t, files, len(analysis.Languages())-1, "all but Tamil")
	for _, file := range files {
		code := strings.TrimSuffix(filepath.Base(file), ".txt")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		license, words, _ := strings.Cut(string(text), "\n")
		require.Contains(t, license, "License", file)
		require.Empty(t, terms(t, code, words), file)
	}
}

func TestPositionsCountWordsThatAreLeftOut(t *testing.T) {
	a, err := analysis.ByName("en")
	require.NoError(t, err)
	text := "to be, or Not to BEE"
	tokens := a.Analyze([]byte(text))
	require.Len(t, tokens, 1)
	require.EqualValues(t, 5, tokens[0].Position)
	require.Equal(t, "BEE", text[tokens[0].Start:tokens[0].End])
}

func TestLongWordsAreCut(t *testing.T) {
	word := strings.Repeat("ab", 200) + strings.Repeat("ж", 200)
	all := terms(t, "standard", word)
	require.Equal(t, word, strings.Join(all, ""))
	for _, term := range all {
		require.LessOrEqual(t, len(term), analysis.TermBytesMax)
		require.Equal(t, term, strings.ToValidUTF8(term, "?"))
	}
}

// words are those that the state machine for all of Unicode finds.
func words(text []byte) []string {
	all := []string{}
	s := segment.NewWordSegmenterDirect(bytes.Clone(text))
	for s.Segment() {
		extends := func(r rune) bool { return unicode.In(r, unicode.Pc, unicode.M, unicode.Cf) }
		if s.Type() != segment.None && bytes.TrimFunc(s.Bytes(), extends) != nil {
			all = append(all, strings.Map(unicode.ToLower, string(s.Bytes())))
		}
	}
	return all
}

// FuzzStandard: the table for ASCII finds the words that the state machine finds,
// and tokens are where they say.
func FuzzStandard(f *testing.F) {
	for _, text := range []string{"a.b", "a'b'c 1.2,3;4", "x:y:z", "_a_1.2_", "a..b", "a.1 1.a", "a_.b", "1_,2", "don't \"x\"", "\r\n a", "é.a a.é a:\u0301b", "١a.b"} {
		f.Add(text)
	}
	a, err := analysis.ByName("standard")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ToValidUTF8(text, "?") != text {
			return
		}
		var got []string
		end := 0
		for _, token := range a.Analyze([]byte(text)) {
			require.GreaterOrEqual(t, token.Start, end, fmt.Sprint(token))
			require.LessOrEqual(t, token.End, len(text))
			end = token.Start
			got = append(got, string(token.Term))
		}
		require.Equal(t, strings.Join(words([]byte(text)), ""), strings.Join(got, ""))
		if len(text) < analysis.TermBytesMax/3 {
			require.Equal(t, words([]byte(text)), append([]string{}, got...))
		}
	})
}

// What the topic configuration takes as search.analyzer is there, and the other
// way round.
func TestTopicsCanHaveEachAnalyzer(t *testing.T) {
	for _, name := range append([]string{"standard", "simple", "keyword", "el", "xx"}, analysis.Languages()...) {
		_, err := analysis.ByName(name)
		_, taken := topicconfig.Validate(map[string]string{"search.analyzer": name}, topicconfig.Defaults{})
		require.Equal(t, err == nil, taken == nil, "%s: %v, %v", name, err, taken)
	}
}
