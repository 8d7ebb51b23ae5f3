package textquery

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQueriesOfElasticsearchAreRead(t *testing.T) {
	for body, want := range map[string]string{
		`{"match_all":{"boost":1.5}}`: `(*:*)^1.5`,
		`{"match":{"m":"a b"}}`:       `m:'a b'`,
		`{"match":{"m":{"query":"a b","operator":"AND","fuzziness":"AUTO"}}}`: `m:'a b'&~-1`,
		`{"match":{"m":{"query":5,"minimum_should_match":"75%"}}}`:            `m:'5'm[{-1 75 true}]`,
		`{"match_phrase":{"m":{"query":"a b","slop":2}}}`:                     `m:"a b"~2`,
		`{"match_phrase_prefix":{"m":"a b"}}`:                                 `m:"a b"*`,
		`{"term":{"s":{"value":"x","boost":2}}}`:                              `(s=x)^2`,
		`{"term":{"n":5}}`:                                                    `n=5`,
		`{"terms":{"s":["a",1,true],"boost":2}}`:                              `(s in [{0 a} {1 1} {2 true}])^2`,
		`{"range":{"n":{"gte":1,"lt":"now-1d/d","time_zone":"+01:00"}}}`:      `n:[1,now-1d/d)`,
		`{"exists":{"field":"a"}}`:                                            `exists:a`,
		`{"prefix":{"a":"b"}}`:                                                `a:b*`,
		`{"wildcard":{"a":{"wildcard":"b*c"}}}`:                               `a:?b*c`,
		`{"regexp":{"a":{"value":"b.*","flags":"ALL"}}}`:                      `a:/b.*/`,
		`{"fuzzy":{"a":{"value":"b","fuzziness":2}}}`:                         `a:b~2`,
		`{"bool":{"must":{"match_all":{}},"filter":[{"term":{"a":1}}],"must_not":[],"should":[{"term":{"b":2}}]}}`: `(+*:* #a=1 b=2)`,
		`{"query_string":{"query":"a:b OR c","default_field":"d","boost":3}}`:                                      `((+(a:'b' d:'c')))^3`,
		`{"simple_query_string":{"query":"a + b","fields":["x^2","y"]}}`:                                           `(+{x:'a'^2 | y:'a'}~1 +{x:'b'^2 | y:'b'}~1)`,
	} {
		q, _, err := ParseCount([]byte(`{"query":` + body + `}`))
		require.NoError(t, err, body)
		require.Equal(t, want, show(q), body)
	}
	for _, body := range []string{
		`{"ids":{"values":["t-0-1"]}}`,
		`{"constant_score":{"filter":{"term":{"a":1}}}}`,
		`{"dis_max":{"queries":[{"term":{"a":1}}],"tie_breaker":0.5}}`,
		`{"boosting":{"positive":{"match_all":{}},"negative":{"term":{"a":1}},"negative_boost":0.5}}`,
		`{"multi_match":{"query":"x","fields":["a^2","b.*"],"type":"cross_fields","operator":"and"}}`,
		`{"geo_distance":{"distance":"12km","pin":{"lat":40,"lon":-70}}}`,
		`{"geo_distance":{"distance":"1mi","pin":"drm3btev3e86","distance_type":"plane"}}`,
		`{"geo_bounding_box":{"pin":{"top_left":[-74.1,40.73],"bottom_right":"40.01,-71.12"}}}`,
		`{"geo_bounding_box":{"pin":{"top":40.73,"left":-74.1,"bottom":40.01,"right":-71.12}}}`,
		`{"geo_polygon":{"pin":{"points":[[-70,40],[-80,30],"POINT (-90 20)"]}}}`,
	} {
		_, _, err := ParseCount([]byte(`{"query":` + body + `}`))
		require.NoError(t, err, body)
	}
}

// What is not supported is refused by name, with its place.
func TestUnknownPartsAreNamed(t *testing.T) {
	for body, want := range map[string]string{
		`{"query":{"matsch":{"a":"b"}}}`:                                           `[1:20] unknown query [matsch]; did you mean "match"?`,
		`{"query":{"match":{"a":{"query":"b","slop":1}}}}`:                         `[match] does not support [slop]`,
		`{"query":{"more_like_this":{}}}`:                                          `unknown query [more_like_this]`,
		`{"query":{"match":{"a":"b","c":"d"}}}`:                                    `exactly one field, found 2`,
		`{"query":{"terms":{"a":{"index":"x"}}}}`:                                  `look-up in another index is not supported`,
		`{"filters":[]}`:                                                           `[search] does not support [filters]`,
		`{"query":{"bool":{"musst":[]}}}`:                                          `[bool] does not support [musst]`,
		`{"query":{"bool":{"must":[{"term":{"a":[1]}}]}}}`:                         `[a] expected a value, found an array`,
		`{"size":10000,"from":1}`:                                                  `Result window is too large`,
		`{"search_after":[1]}`:                                                     `Sort must contain at least one field`,
		`{"aggs":{"a":{"termz":{"field":"x"}}}}`:                                   `unknown aggregation type [termz]`,
		`{"aggs":{"a":{"terms":{"field":"x","order":{"y":"asc"}}}}}`:               `invalid aggregation order path`,
		`{"aggs":{"a":{"avg":{"field":"x"},"aggs":{"b":{"avg":{"field":"x"}}}}}}`:  `cannot accept sub-aggregations`,
		`{"aggs":{"a":{"terms":{}}}}`:                                              `needs a [field]`,
		`{"aggs":{"a":{"date_histogram":{"field":"x","calendar_interval":"2d"}}}}`: `could not be parsed as a calendar interval`,
		`{"suggest":{}}`:                                                           `[search] does not support [suggest]`,
		`{"explain":true}`:                                                         `[explain] is not supported`,
		`{"size":-1}`:                                                              `[size] expected a whole number`,
		`{"track_scores":3}`:                                                       `[track_scores] expected true or false`,
		`{"query":{}}`:                                                             `query: expected exactly one field, found 0`,
		`{"query":{"match_all":{}},"query":{}}`:                                    `duplicate field [query]`,
		`{"query":`:                                                                `not JSON`,
		`{} x`:                                                                     `something follows`,
		`[]`:                                                                       `expected an object`,
		"{\n  \"query\": {\"match_all\": 3}}":                                      `[2:26] match_all: expected an object`,
		`{"query":{"geo_distance":{"pin":[0,0]}}}`:                                 `needs a [distance]`,
		`{"query":{"geo_distance":{"distance":"1m","pin":[0,91]}}}`:                `illegal latitude value`,
		`{"query":{"match":{"a":{"query":"b","fuzziness":3}}}}`:                    `fuzziness`,
		`{"query":{"range":{"a":{"gte":1,"gt":2}}}}`:                               `two bounds on one side`,
		`{"query":{"range":{"a":{"gte":1,"time_zone":"Mars"}}}}`:                   `unknown time zone`,
		`{"query":{"range":{"a":{"gte":1,"format":"QQQ"}}}}`:                       `is not supported`,
	} {
		_, err := Parse([]byte(body))
		require.Error(t, err, body)
		require.ErrorContains(t, err, want, body)
		var ours *Error
		require.ErrorAs(t, err, &ours, body)
	}
	_, err := Parse([]byte(strings.Repeat(`{"query":{"constant_score":{"filter":`, 200)))
	require.ErrorContains(t, err, "nested deeper")
}

func TestRequestIsRead(t *testing.T) {
	r, err := Parse([]byte(`{
		"query": {"match_all": {}}, "from": 5, "size": 3,
		"sort": ["a", {"b": "desc"}, {"c": {"order": "desc", "missing": "_first", "mode": "avg", "unmapped_type": "long"}}, "_score",
			{"_geo_distance": {"pin": [1, 2], "unit": "km", "order": "asc"}}],
		"_source": {"includes": ["a.*"], "excludes": ["*.secret"]},
		"highlight": {"pre_tags": ["<b>"], "fields": {"m": {"fragment_size": 20}, "n": {}}},
		"track_total_hits": true, "timeout": "2s", "min_score": 0.5,
		"aggs": {"by": {"terms": {"field": "k", "size": 5, "order": [{"avg_n": "desc"}, {"_key": "asc"}]},
			"aggs": {"avg_n": {"avg": {"field": "n"}}, "top": {"top_hits": {"size": 1}}}},
			"t": {"date_histogram": {"field": "@timestamp", "fixed_interval": "30s", "min_doc_count": 0, "extended_bounds": {"min": 1, "max": 2}, "format": "epoch_millis"}},
			"p": {"percentiles": {"field": "n", "percents": [99, 50]}}}
	}`))
	require.NoError(t, err)
	require.Equal(t, []int{5, 3}, []int{r.From, r.Size})
	require.Len(t, r.Sort, 5)
	require.True(t, r.Sort[1].Descending && r.Sort[2].Descending && r.Sort[2].Missing.First && r.Sort[3].Descending)
	require.Equal(t, 1000.0, r.Sort[4].Geo.Unit)
	require.Equal(t, Point{Lat: 2, Lon: 1}, r.Sort[4].Geo.From[0])
	require.True(t, r.Total.Exact)
	require.Equal(t, 2*time.Second, r.Timeout)
	require.Equal(t, 20, r.Highlight.Fields[0].FragmentSize)
	require.Equal(t, "<b>", r.Highlight.Fields[1].Pre)
	require.Len(t, r.Aggs, 3)
	require.Equal(t, "avg_n", r.Aggs[0].Spec.(*TermsAgg).Order[0].By)
	require.Equal(t, 30*time.Second, r.Aggs[1].Spec.(*DateHistogramAgg).Fixed)
	require.Equal(t, []float64{50, 99}, r.Aggs[2].Spec.(*PercentilesAgg).Percents)

	for path, want := range map[string]bool{"a": false, "a.b": true, "a.b.c": true, "a.secret": false, "x": false} {
		require.Equal(t, want, r.Source.Shows(path, false), path)
	}
	require.True(t, r.Source.Shows("a", true))
	require.False(t, r.Source.Shows("x", true))
}

func TestURIParametersAreRead(t *testing.T) {
	r := NewRequest()
	values := url.Values{"q": {"a:b"}, "size": {"5"}, "sort": {"a:desc,_score"}, "_source_includes": {"a,b"}, "default_operator": {"AND"}, "pretty": {""}}
	require.NoError(t, ParseURI(values, r))
	require.Equal(t, "a:'b'&", show(r.Query))
	require.Equal(t, url.Values{"pretty": {""}}, values)
	require.Equal(t, 5, r.Size)
	require.True(t, r.Sort[0].Descending && r.Sort[1].Descending)
	require.ErrorContains(t, ParseURI(url.Values{"size": {"x"}}, NewRequest()), "URL parameter [size]")
}

func TestMinimumShouldMatch(t *testing.T) {
	for text, want := range map[string][]int{ // of 1, 2, 4 and 10 clauses
		"2": {2, 2, 2, 2}, "-1": {0, 1, 3, 9}, "75%": {0, 1, 3, 7}, "-25%": {1, 2, 3, 8},
		"2<75%": {1, 2, 3, 7}, "2<-25% 9<-3": {1, 2, 3, 7}, "100": {100, 100, 100, 100},
	} {
		m, err := parseMinimum(text)
		require.NoError(t, err)
		require.Equal(t, want, []int{m.Of(1), m.Of(2), m.Of(4), m.Of(10)}, text)
	}
	for _, text := range []string{"", "x", "1 2", "<3", "101%", "a<1"} {
		_, err := parseMinimum(text)
		require.Error(t, err, text)
	}
}

func TestDateMath(t *testing.T) {
	now := time.Date(2026, 11, 23, 13, 45, 30, 123_000_000, time.UTC)
	format, err := NewDateFormat(DefaultDateFormat)
	require.NoError(t, err)
	berlin, err := Zone("Europe/Berlin")
	require.NoError(t, err)
	for _, c := range []struct {
		text string
		zone *time.Location
		up   bool
		want string // empty: refused
	}{
		{"now", time.UTC, false, "2026-11-23T13:45:30.123Z"},
		{"now-1d/d", time.UTC, false, "2026-11-22T00:00:00.000Z"},
		{"now-1d/d", time.UTC, true, "2026-11-22T23:59:59.999Z"},
		{"now/w", time.UTC, false, "2026-11-23T00:00:00.000Z"},
		{"now/d", berlin, false, "2026-11-22T23:00:00.000Z"},
		{"2026-10-31||+1M", time.UTC, false, "2026-11-30T00:00:00.000Z"},
		{"2026-11-23||+1M/M", time.UTC, false, "2026-12-01T00:00:00.000Z"},
		{"now+1h-30m", time.UTC, false, "2026-11-23T14:15:30.123Z"},
		{"2026-11", time.UTC, false, "2026-11-01T00:00:00.000Z"},
		{"2026-11", time.UTC, true, "2026-11-01T23:59:59.999Z"},
		{"2026-11-23", berlin, false, "2026-11-22T23:00:00.000Z"},
		{"2026-11-23T10", time.UTC, true, "2026-11-23T10:59:59.999Z"},
		{"2026-11-23T10:11:12.5+01:00", time.UTC, true, "2026-11-23T09:11:12.500Z"},
		{"2026-11-23T10:11Z", berlin, false, "2026-11-23T10:11:00.000Z"},
		{"1700000000000", time.UTC, false, "2023-11-14T22:13:20.000Z"},
		{"now-", time.UTC, false, ""},
		{"now-1x", time.UTC, false, ""},
		{"now/2d", time.UTC, false, ""},
		{"2026-13-01", time.UTC, false, ""},
		{"yesterday", time.UTC, false, ""},
	} {
		got, err := DateMath(c.text, format, c.zone, now, c.up)
		if c.want == "" {
			require.Error(t, err, c.text)
			continue
		}
		require.NoError(t, err, c.text)
		require.Equal(t, c.want, format.Show(got, time.UTC), c.text)
	}
	java, err := NewDateFormat("dd/MM/yyyy HH:mm||epoch_second")
	require.NoError(t, err)
	got, err := java.Parse("23/11/2026 10:11", berlin, false)
	require.NoError(t, err)
	require.Equal(t, "23/11/2026 09:11", java.Show(got, time.UTC))
	got, err = java.Parse("1700000000", berlin, false)
	require.NoError(t, err)
	require.EqualValues(t, 1700000000, got.Unix())
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"query":{"bool":{"must":[{"match":{"a":{"query":"b"}}}]}},"aggs":{"a":{"terms":{"field":"x"},"aggs":{}}},"sort":[{"a":"desc"}]}`))
	f.Add([]byte(`{"query":{"geo_polygon":{"a":{"points":["u09","1,2",[3,4],{"lat":1,"lon":2}]}}},"highlight":{"fields":{"a":{}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Parse(body)
		if err == nil && r.From+r.Size > windowMax {
			t.Error("the window is larger than allowed")
		}
		format, _ := NewDateFormat(DefaultDateFormat)
		_, _ = DateMath(string(body), format, time.UTC, time.Unix(0, 0), true)
	})
}

func TestASourceHasSoManyPatterns(t *testing.T) {
	body := func(n int) []byte { return []byte(`{"_source":["a"` + strings.Repeat(`,"a*"`, n-1) + `]}`) }
	_, err := Parse(body(1000))
	require.NoError(t, err)
	_, err = Parse(body(1001))
	require.ErrorContains(t, err, "at most 1000")
}
