package textindex_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/textindex"
)

// randomRecords are records of every shape that there is, with words of a small
// language, so that terms are in many documents, and some that are in one.
func randomRecords(seed uint64, n int) []textindex.Record {
	r := rand.New(rand.NewPCG(seed, 7))
	word := func() string {
		return fmt.Sprintf("w%d", int(math.Abs(r.NormFloat64())*float64(5+r.IntN(40))))
	}
	words := func(most int) string {
		all := make([]string, r.IntN(most+1))
		for i := range all {
			all[i] = word()
		}
		return strings.Join(all, " ")
	}
	all := make([]textindex.Record, n)
	offset := int64(1000)
	for i := range all {
		offset += 1 + int64(r.IntN(10)/9)
		var parts []string
		add := func(chance int, format string, args ...any) {
			if r.IntN(100) < chance {
				parts = append(parts, fmt.Sprintf(format, args...))
			}
		}
		add(90, `"body":%q`, words(30))
		add(30, `"tags":[%q,%q,%q]`, word(), word(), words(2))
		add(95, `"status":%d`, 200+r.IntN(4))
		add(20, `"nested":{"deep":{"n":%d},"list":[%d,%d,null]}`, r.IntN(1000)-500, r.IntN(9), r.IntN(9))
		add(50, `"price":%.2f`, r.Float64()*100)
		add(50, `"seconds":%d000`, r.IntN(1000))
		add(3, `"mixed":%d`, r.IntN(10))
		add(3, `"mixed":%g`, r.NormFloat64())
		add(3, `"mixed":%q`, words(3))
		add(40, `"ok":%v`, r.IntN(2) == 0)
		add(60, `"at":"2026-11-%02dT10:%02d:00Z"`, 1+r.IntN(28), r.IntN(60))
		add(1, `"rare":%q`, strings.Repeat(word(), 200))
		add(10, `"id":"%x"`, r.Uint64())
		all[i] = textindex.Record{Offset: offset, Timestamp: 1_760_000_000_000 + int64(r.IntN(100_000)), Value: []byte("{" + strings.Join(parts, ",") + "}")}
		switch r.IntN(20) {
		case 0:
			all[i].Value = nil
		case 1:
			all[i].Value = []byte(words(20))
		case 2:
			all[i].Value = []byte{}
		}
		if r.IntN(3) > 0 {
			all[i].Key = []byte(word())
		}
	}
	return all
}

func index(t testing.TB, records []textindex.Record) *textindex.Memory {
	t.Helper()
	m := textindex.NewMemory(textindex.Options{Analyzer: standard(t), Source: true})
	for _, r := range records {
		require.NoError(t, m.Append(r))
	}
	return m
}

// written writes a Memory and returns the file's bytes.
func written(t testing.TB, m *textindex.Memory) []byte {
	t.Helper()
	var out bytes.Buffer
	result, err := m.Write(&out)
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), result.Size)
	return out.Bytes()
}

func open(t testing.TB, data []byte) *textindex.File {
	t.Helper()
	f, err := textindex.Open(context.Background(), textindex.Bytes(data), 0)
	require.NoError(t, err)
	return f
}

// requireEqual asks two splits everything, and wants the same answers.
func requireEqual(t *testing.T, want, got textindex.Split) {
	t.Helper()
	ctx := context.Background()
	require.Equal(t, want.Bounds(), got.Bounds())
	require.Equal(t, want.Fields(), got.Fields())
	docs := make([]uint32, want.Bounds().Documents)
	for i := range docs {
		docs[i] = uint32(i)
	}
	wantSource, kept, err := want.Source(ctx, docs)
	require.NoError(t, err)
	require.True(t, kept)
	gotSource, kept, err := got.Source(ctx, docs)
	require.NoError(t, err)
	require.True(t, kept)
	require.Equal(t, wantSource, gotSource)
	for _, stats := range want.Fields() {
		requireEqualTermsAndColumns(t, want, got, stats)
	}
}

func requireEqualTermsAndColumns(t *testing.T, want, got textindex.Split, stats textindex.Stats) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	requireEqualColumns(t, r, want, got, stats)
	if stats.Kind.HasTerms() {
		requireEqualTerms(t, r, want, got, stats)
	}
}

func requireEqualColumns(t *testing.T, r *rand.Rand, want, got textindex.Split, stats textindex.Stats) {
	t.Helper()
	ctx := context.Background()
	require.Equal(t, values(t, want, stats.Field), values(t, got, stats.Field), stats.Field)
	a, err := want.Column(ctx, stats.Field)
	require.NoError(t, err)
	b, err := got.Column(ctx, stats.Field)
	require.NoError(t, err)
	require.Equal(t, a.Single(), b.Single(), stats.Field)
	require.True(t, a.Exists().Equals(b.Exists()), stats.Field)
	require.Equal(t, uint64(stats.Documents), a.Exists().GetCardinality())
	pick := func() int64 {
		v, ok := a.Value(uint32(r.IntN(int(a.Documents()))))
		if !ok {
			return stats.Least
		}
		return v + int64(r.IntN(3)-1)
	}
	for range 20 {
		low, high := pick(), pick()
		require.True(t, a.Match(low, high).Equals(b.Match(low, high)), "%s from %d to %d", stats.Field, low, high)
	}
	require.Equal(t, uint64(stats.Documents), b.Match(math.MinInt64, math.MaxInt64).GetCardinality(), stats.Field)
	require.True(t, b.Match(1, 0).IsEmpty())
}

func requireEqualTerms(t *testing.T, r *rand.Rand, want, got textindex.Split, stats textindex.Stats) {
	t.Helper()
	ctx := context.Background()
	wantTerms, gotTerms := collect(t, want, stats.Field, nil), collect(t, got, stats.Field, nil)
	require.Equal(t, shown(wantTerms), shown(gotTerms), stats.Field)
	require.Len(t, gotTerms, int(stats.Distinct))
	var wanted [][]byte
	for range 20 {
		wanted = append(wanted, wantTerms[r.IntN(len(wantTerms))].Bytes, fmt.Appendf(nil, "w%d", r.IntN(50)))
	}
	a, err := want.Lookup(ctx, stats.Field, wanted...)
	require.NoError(t, err)
	b, err := got.Lookup(ctx, stats.Field, wanted...)
	require.NoError(t, err)
	require.Equal(t, shown(a), shown(b), stats.Field)
	for _, prefix := range []string{"", "w", "w1", "x", "\xff"} {
		require.Equal(t, shown(collect(t, want, stats.Field, prefixAutomaton(prefix))), shown(collect(t, got, stats.Field, prefixAutomaton(prefix))))
	}
	var ordinals []uint32
	for _, term := range wantTerms {
		if r.IntN(3) == 0 {
			ordinals = append(ordinals, term.Ordinal)
		}
	}
	n := 0
	for term, err := range got.TermsAt(ctx, stats.Field, ordinals) {
		require.NoError(t, err)
		require.Equal(t, ordinals[n], term.Ordinal)
		require.Equal(t, string(wantTerms[term.Ordinal].Bytes), string(term.Bytes))
		n++
	}
	require.Len(t, ordinals, n)
	for i := range wantTerms {
		requireEqualPostings(t, r, want, got, wantTerms[i], gotTerms[i])
	}
}

func requireEqualPostings(t *testing.T, r *rand.Rand, want, got textindex.Split, a, b textindex.Term) {
	t.Helper()
	ctx := context.Background()
	lengths, err := want.Column(ctx, a.Field)
	require.NoError(t, err)
	wantAll := postings(t, want, a)
	require.Equal(t, wantAll, postings(t, got, b), "%s %q", a.Field, a.Bytes)
	// Advance goes where Next would; bounds hold.
	for _, s := range []struct {
		split textindex.Split
		term  textindex.Term
	}{{want, a}, {got, b}} {
		p, err := s.split.Postings(ctx, s.term, textindex.Frequencies)
		require.NoError(t, err)
		require.Equal(t, len(wantAll), p.Documents())
		target := uint32(0)
		for {
			target += uint32(r.IntN(40))
			i, _ := slices.BinarySearchFunc(wantAll, target, func(e posting, t uint32) int { return int(int64(e.doc) - int64(t)) })
			last, impacts := p.Bound(target)
			doc := p.Advance(target)
			if i == len(wantAll) {
				require.EqualValues(t, textindex.Done, doc)
				break
			}
			require.Equal(t, wantAll[i].doc, doc)
			require.GreaterOrEqual(t, last, doc)
			if a.Field.Kind == textindex.Text {
				require.Equal(t, wantAll[i].freq, p.Freq())
				length, _ := lengths.Value(doc)
				requireBound(t, impacts, p.Freq(), uint32(length))
				requireBound(t, p.Impacts(), p.Freq(), uint32(length))
			}
			target = doc
		}
	}
}

func requireBound(t *testing.T, impacts []textindex.Impact, freq, length uint32) {
	t.Helper()
	require.True(t, slices.ContainsFunc(impacts, func(i textindex.Impact) bool { return i.Freq >= freq && i.Length <= length }), "%v do not bound %d in %d", impacts, freq, length)
}

type posting struct {
	doc, freq uint32
	positions []uint32
}

func postings(t testing.TB, s textindex.Split, term textindex.Term) []posting {
	t.Helper()
	p, err := s.Postings(context.Background(), term, textindex.Positions)
	require.NoError(t, err)
	var all []posting
	for d := p.Next(); d != textindex.Done; d = p.Next() {
		e := posting{doc: d}
		if term.Field.Kind == textindex.Text {
			e.freq = p.Freq()
			e.positions = p.Positions(nil)
		}
		all = append(all, e)
	}
	require.NoError(t, p.Err())
	require.Len(t, all, int(term.Documents))
	return all
}

func collect(t testing.TB, s textindex.Split, f textindex.Field, a textindex.Automaton) []textindex.Term {
	t.Helper()
	var all []textindex.Term
	for term, err := range s.Terms(context.Background(), f, a) {
		require.NoError(t, err)
		term.Bytes = bytes.Clone(term.Bytes)
		all = append(all, term)
	}
	return all
}

// shown is what of terms does not depend on where they are.
func shown(terms []textindex.Term) []string {
	all := make([]string, len(terms))
	for i, term := range terms {
		all[i] = fmt.Sprintf("%s %q %d %d", term.Field, term.Bytes, term.Ordinal, term.Documents)
	}
	return all
}

// prefixAutomaton accepts what begins with a text: state n has seen n bytes of it.
type prefixAutomaton string

func (p prefixAutomaton) Start() int                     { return 0 }
func (p prefixAutomaton) IsMatch(state int) bool         { return state == len(p) }
func (p prefixAutomaton) CanMatch(state int) bool        { return state >= 0 }
func (p prefixAutomaton) WillAlwaysMatch(state int) bool { return state == len(p) }
func (p prefixAutomaton) Accept(state int, b byte) int {
	switch {
	case state == len(p):
		return state
	case state >= 0 && p[state] == b:
		return state + 1
	}
	return -1
}

func TestAFileAnswersAsTheMemoryThatItWasWrittenFrom(t *testing.T) {
	for _, n := range []int{1, 7, 1500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m := index(t, randomRecords(uint64(n), n))
			requireEqual(t, m.Snapshot(), open(t, written(t, m)))
		})
	}
}

func TestAMappedFileAnswersAsTheMemoryThatItWasWrittenFrom(t *testing.T) {
	m := index(t, randomRecords(12, 400))
	name := filepath.Join(t.TempDir(), "a.split")
	require.NoError(t, os.WriteFile(name, written(t, m), 0o600))
	mapping, err := disk.Map(name)
	require.NoError(t, err)
	requireEqual(t, m.Snapshot(), open(t, mapping.Bytes()))
	require.NoError(t, mapping.Close())
}
