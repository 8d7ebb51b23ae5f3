package textindex_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/geopoint"
	"github.com/chronik-stream/chronik/internal/textindex"
)

func mappedTo(t testing.TB, mapping map[string]textindex.Kind, values ...string) *textindex.Memory {
	t.Helper()
	m := textindex.NewMemory(textindex.Options{Analyzer: standard(t), Mapping: mapping, FieldsMax: 3})
	for i, v := range values {
		require.NoError(t, m.Append(record(i, v)))
	}
	return m
}

// Each value is in the field that the mapping says, and in no other; what does
// not fit is found in _all.
func TestAMappingDecidesWhatValuesAre(t *testing.T) {
	point := func(lat, lon float64) int64 { return geopoint.Point{Lat: lat, Lon: lon}.Encode() }
	for _, c := range []struct {
		kind  textindex.Kind
		value string
		want  []int64 // nil: it does not fit
	}{
		{textindex.Long, `7`, []int64{7}},
		{textindex.Long, `[7.9,-7.9]`, []int64{-7, 7}},
		{textindex.Long, `"12"`, []int64{12}},
		{textindex.Long, `"12.7"`, []int64{12}},
		{textindex.Long, `1e300`, nil},
		{textindex.Long, `"twelve"`, nil},
		{textindex.Long, `true`, nil},
		{textindex.Double, `7`, []int64{textindex.SortableDouble(7)}},
		{textindex.Double, `"0.5"`, []int64{textindex.SortableDouble(0.5)}},
		{textindex.Double, `"Inf"`, nil},
		{textindex.Boolean, `true`, []int64{1}},
		{textindex.Boolean, `["false",""]`, []int64{0, 0}},
		{textindex.Boolean, `1`, nil},
		{textindex.Date, `"2026-11-23T10:00:00+01:00"`, []int64{1795424400000}},
		{textindex.Date, `"2026-11-23T09"`, []int64{1795424400000}},
		{textindex.Date, `"2026-11-23T10:00+01:00"`, []int64{1795424400000}},
		{textindex.Date, `"2026-11-23"`, []int64{1795392000000}},
		{textindex.Date, `"2026-11"`, []int64{1793491200000}},
		{textindex.Date, `"2026"`, []int64{1767225600000}},
		{textindex.Date, `[1795424400000,"1795424400001"]`, []int64{1795424400000, 1795424400001}},
		{textindex.Date, `"2026-02-30"`, nil},
		{textindex.Date, `"soon"`, nil},
		{textindex.GeoPoint, `{"lat":52.5,"lon":13.25}`, []int64{point(52.5, 13.25)}},
		{textindex.GeoPoint, `[[2.5,48.75],{"lat":"52.5","lon":13.25}]`, []int64{point(48.75, 2.5), point(52.5, 13.25)}},
		{textindex.GeoPoint, `"POINT (13.25 52.5)"`, []int64{point(52.5, 13.25)}},
		{textindex.GeoPoint, `{"lat":52.5,"lon":213.25}`, nil},
		{textindex.GeoPoint, `[{"lat":52.5,"lon":13.25},"nowhere!"]`, nil},
	} {
		mapping := map[string]textindex.Kind{"deep.x": c.kind}
		s := mappedTo(t, mapping, `{"a":1}`, `{"deep":{"x":`+c.value+`}}`).Snapshot()
		f := textindex.Field{Name: "deep.x", Kind: c.kind}
		for _, stats := range s.Fields() {
			require.True(t, stats.Field == f || !strings.HasPrefix(stats.Name, "deep"), "%s as %s makes %s", c.value, c.kind, stats.Field)
		}
		require.Equal(t, [][]int64{nil, c.want}, values(t, s, f), "%s as %s", c.value, c.kind)
	}
}

func TestMappedTextsAreOneOfBoth(t *testing.T) {
	mapping := map[string]textindex.Kind{"id": textindex.Keyword, "body": textindex.Text}
	m := mappedTo(t, mapping,
		`{"id":"Order 7","body":"2026-11-23T10:00:00Z quick"}`, `{"id":8,"body":[9,true,1.5]}`, `{"id":"`+strings.Repeat("long ", 60)+`"}`)
	s := m.Snapshot()
	require.Equal(t, []uint32{0}, documents(t, s, keyword("id"), "Order 7"))
	require.Equal(t, []uint32{1}, documents(t, s, keyword("id"), "8"))
	require.Equal(t, []uint32{0}, documents(t, s, text("body"), "quick"))
	require.Equal(t, []uint32{1}, documents(t, s, text("body"), "true"))
	require.Equal(t, []uint32{1}, documents(t, s, text("body"), "1.5"))
	require.Equal(t, []uint32{2}, documents(t, s, textindex.FieldAll, "long"))
	require.EqualValues(t, 1, m.Overflow())
	for _, f := range []textindex.Field{text("id"), keyword("body"), {Name: "body", Kind: textindex.Date}, long("id")} {
		_, there := s.Field(f)
		require.False(t, there, f)
	}
}

func TestMappedFieldsAreThereHoweverManyThereAre(t *testing.T) {
	s := mappedTo(t, map[string]textindex.Kind{"z": textindex.Date}, `{"a":1,"b":1,"c":1,"d":1,"z":5}`).Snapshot()
	require.Equal(t, [][]int64{{5}}, values(t, s, textindex.Field{Name: "z", Kind: textindex.Date}))
	_, there := s.Field(long("d"))
	require.False(t, there)
}

func TestPointsAreWrittenMergedAndRead(t *testing.T) {
	mapping := map[string]textindex.Kind{"pin": textindex.GeoPoint}
	all := []string{`{"pin":{"lat":1,"lon":2}}`, `{"n":1}`, `{"pin":["3,4",[6,5]]}`, `{"pin":null}`, `{"pin":"u33dc1"}`}
	want := mappedTo(t, mapping, all...).Snapshot()
	var files []*textindex.File
	for i, v := range all {
		m := textindex.NewMemory(textindex.Options{Analyzer: standard(t), Mapping: mapping})
		require.NoError(t, m.Append(record(i, v)))
		files = append(files, open(t, written(t, m)))
	}
	var out bytes.Buffer
	_, err := textindex.Merge(t.Context(), &out, files, textindex.MergeOptions{})
	require.NoError(t, err)
	merged := open(t, out.Bytes())
	pin := textindex.Field{Name: "pin", Kind: textindex.GeoPoint}
	require.Equal(t, values(t, want, pin), values(t, merged, pin))
	require.Len(t, values(t, merged, pin)[2], 2)
	require.Empty(t, merged.Verify(t.Context()))
	kind, ok := textindex.KindByName("geo_point")
	require.True(t, ok)
	require.Equal(t, textindex.GeoPoint, kind)
	_, ok = textindex.KindByName("")
	require.False(t, ok)
}
