package textindex_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
)

func standard(t testing.TB) *analysis.Analyzer {
	t.Helper()
	a, err := analysis.ByName("standard")
	require.NoError(t, err)
	return a
}

// memory indexes values at offsets from 100 on.
func memory(t testing.TB, values ...string) *textindex.Memory {
	t.Helper()
	m := textindex.NewMemory(textindex.Options{Analyzer: standard(t), Source: true})
	for i, v := range values {
		require.NoError(t, m.Append(record(i, v)))
	}
	return m
}

func record(i int, value string) textindex.Record {
	return textindex.Record{Offset: 100 + int64(i), Timestamp: 1_760_000_000_000 + int64(i)*1000, Key: fmt.Appendf(nil, "k%d", i%3), Value: []byte(value)}
}

func documents(t testing.TB, s textindex.Split, f textindex.Field, term string) []uint32 {
	t.Helper()
	found, err := s.Lookup(context.Background(), f, []byte(term))
	require.NoError(t, err)
	p, err := s.Postings(context.Background(), found[0], textindex.Documents)
	require.NoError(t, err)
	docs := []uint32{}
	for d := p.Next(); d != textindex.Done; d = p.Next() {
		docs = append(docs, d)
	}
	require.NoError(t, p.Err())
	require.Len(t, docs, int(found[0].Documents))
	return docs
}

func values(t testing.TB, s textindex.Split, f textindex.Field) [][]int64 {
	t.Helper()
	c, err := s.Column(context.Background(), f)
	require.NoError(t, err)
	all := make([][]int64, s.Bounds().Documents)
	for d := range all {
		all[d] = c.Append(nil, uint32(d))
	}
	return all
}

func text(name string) textindex.Field { return textindex.Field{Name: name, Kind: textindex.Text} }
func keyword(name string) textindex.Field {
	return textindex.Field{Name: name, Kind: textindex.Keyword}
}
func long(name string) textindex.Field { return textindex.Field{Name: name, Kind: textindex.Long} }

func TestJSONIsIndexedByPath(t *testing.T) {
	s := memory(t,
		`{"level":"warn","http":{"status":500,"tags":["slow","Very Slow"]},"at":"2026-11-23T10:00:00+01:00","ok":true}`,
		`{"level":"info","http.status":200,"none":null,"_id":"x"}`,
		`plain words, and Numbers 12`,
		`{"http":{"status":[7,3]}}`,
	).Snapshot()
	require.Equal(t, []uint32{0}, documents(t, s, text("http.tags"), "slow"))
	require.Equal(t, []uint32{0}, documents(t, s, keyword("http.tags"), "Very Slow"))
	require.Equal(t, []uint32{1}, documents(t, s, text("json__id"), "x"))
	require.Equal(t, []uint32{2}, documents(t, s, textindex.FieldValue, "numbers"))
	require.Equal(t, []uint32{0, 3}, documents(t, s, textindex.FieldKey, "k0"))
	require.Equal(t, [][]int64{{500}, {200}, nil, {3, 7}}, values(t, s, long("http.status")))
	require.Equal(t, [][]int64{{1795424400000}, nil, nil, nil}, values(t, s, textindex.Field{Name: "at", Kind: textindex.Date}))
	require.Equal(t, [][]int64{{1}, nil, nil, nil}, values(t, s, textindex.Field{Name: "ok", Kind: textindex.Boolean}))
	require.Equal(t, [][]int64{{100}, {101}, {102}, {103}}, values(t, s, textindex.FieldOffset))
	require.Equal(t, [][]int64{{3}, nil, nil, nil}, values(t, s, text("http.tags")), "a text's column is its length")
	_, there := s.Field(keyword("none"))
	require.False(t, there)
}

func TestAFullMemoryRefusesAndKeepsWhatItHas(t *testing.T) {
	records := randomRecords(13, 2000)
	m := textindex.NewMemory(textindex.Options{Analyzer: standard(t), Source: true})
	m.LimitTo(128 << 10)
	n := 0
	var err error
	for ; n < len(records) && err == nil; n++ {
		err = m.Append(records[n])
	}
	require.ErrorIs(t, err, textindex.ErrFull)
	require.ErrorIs(t, m.Append(records[n]), textindex.ErrFull)
	require.Equal(t, n-1, m.Documents())
	requireEqual(t, index(t, records[:n-1]).Snapshot(), m.Snapshot())
}
