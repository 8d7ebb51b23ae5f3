package textsearch

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textquery"
)

func TestHitsAreSorted(t *testing.T) {
	for sort, want := range map[string][]int64{
		`["n"]`:              {0, 1, 2, 3, 5, 4}, // numbers, texts, nothing
		`[{"price":"asc"}]`:  {3, 0, 1, 2, 4, 5},
		`[{"price":"desc"}]`: {1, 0, 3, 2, 4, 5},
		`[{"price":{"order":"asc","missing":"_first"}}]`:                          {2, 4, 5, 3, 0, 1},
		`[{"price":{"order":"asc","missing":2}}]`:                                 {3, 0, 2, 4, 5, 1},
		`[{"tag":"asc"},{"_offset":"desc"}]`:                                      {3, 0, 1, 2, 5, 4},
		`[{"tag":"desc"},"_offset"]`:                                              {2, 0, 1, 3, 4, 5},
		`[{"at":"desc"}]`:                                                         {3, 2, 1, 0, 4, 5},
		`[{"title.keyword":"asc"}]`:                                               {1, 3, 2, 0, 5, 4},
		`["_partition",{"_timestamp":"desc"}]`:                                    {5, 4, 3, 2, 1, 0},
		`["_doc"]`:                                                                {0, 1, 2, 3, 4, 5},
		`[{"_geo_distance":{"pin":[11,48],"order":"asc"}}]`:                       {1, 0, 2, 3, 4, 5},
		`[{"nowhere":{"order":"asc","unmapped_type":"long"}},{"_offset":"desc"}]`: {5, 4, 3, 2, 1, 0},
	} {
		for splits := 1; splits <= 3; splits++ {
			s := cutting(t, analyzer(t, "standard"), splits, zoo)
			result := search(t, s, `{"sort":`+sort+`}`)
			require.Equal(t, want, offsets(result.Hits), "%s in %d splits", sort, splits)
			require.Nil(t, result.MaxScore)
			for _, h := range result.Hits {
				require.Nil(t, h.Score)
				require.NotEmpty(t, h.Sort)
			}
		}
	}
}

// Going on behind the last hit, page by page, shows everything once.
func TestSearchAfterShowsEverythingOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	values := words(rng, 300)
	for _, order := range []string{
		`[{"level":"desc"},{"n":"asc"},"_offset"]`, `[{"x":"asc"},"_offset"]`, `[{"title.keyword":"asc"},"_offset"]`,
		`["_score","_offset"]`, `[{"at":"desc"},"_offset"]`, `[{"nowhere":{"unmapped_type":"long"}},"_offset"]`,
	} {
		s := cutting(t, analyzer(t, "standard"), 4, values)
		all := search(t, s, `{"query":{"match":{"body":"w1 w2 w3"}},"size":300,"sort":`+order+`}`)
		var paged []int64
		after := ""
		for {
			page := search(t, s, `{"query":{"match":{"body":"w1 w2 w3"}},"size":17,"sort":`+order+after+`}`)
			if len(page.Hits) == 0 {
				break
			}
			paged = append(paged, offsets(page.Hits)...)
			last, err := json.Marshal(page.Hits[len(page.Hits)-1].Sort)
			require.NoError(t, err)
			after = `,"search_after":` + string(last)
			require.EqualValues(t, all.Total, page.Total, "the total is of the query, not of the page")
		}
		require.Equal(t, offsets(all.Hits), paged, order)
	}
}

// shape is an aggregation's result in short.
func shape(list []AggResult) map[string]any {
	out := map[string]any{}
	for _, a := range list {
		switch {
		case a.Values != nil:
			out[a.Name] = a.Values
		case a.Percentiles != nil:
			out[a.Name] = a.Percentiles
		case a.Hits != nil:
			out[a.Name] = offsets(a.Hits)
		default:
			var buckets []any
			for _, b := range a.Buckets {
				key := b.Key
				if b.KeyText != "" {
					key = b.KeyText
				}
				entry := []any{key, b.Count}
				if len(b.Aggs) > 0 {
					entry = append(entry, shape(b.Aggs))
				}
				buckets = append(buckets, entry)
			}
			if a.Others > 0 {
				buckets = append(buckets, []any{"others", a.Others})
			}
			out[a.Name] = buckets
		}
	}
	return out
}

func TestAggregationsCount(t *testing.T) {
	for agg, want := range map[string]string{
		`{"terms":{"field":"tag"}}`:                                                                                                            `[["a",2],["b",2],["c",1]]`,
		`{"terms":{"field":"tag","size":1}}`:                                                                                                   `[["a",2],["others",3]]`,
		`{"terms":{"field":"tag","order":{"_key":"desc"}}}`:                                                                                    `[["c",1],["b",2],["a",2]]`,
		`{"terms":{"field":"tag","include":"[ab]","exclude":["b"]}}`:                                                                           `[["a",2]]`,
		`{"terms":{"field":"tag","missing":"none","min_doc_count":2}}`:                                                                         `[["a",2],["b",2],["none",2]]`,
		`{"terms":{"field":"ok"}}`:                                                                                                             `[["true",2],["false",1]]`,
		`{"terms":{"field":"n"}}`:                                                                                                              `[[1,1],[2,1],[3,1],[4,1],["many",1]]`,
		`{"terms":{"field":"_index"}}`:                                                                                                         `[["logs",6]]`,
		`{"terms":{"field":"tag","order":{"p":"desc"}},"aggs":{"p":{"max":{"field":"price"}}}}`:                                                `[["b",2,{"p":{"value":2.5}}],["a",2,{"p":{"value":1.5}}],["c",1,{"p":{"value":null}}]]`,
		`{"terms":{"field":"tag"},"aggs":{"t":{"top_hits":{"size":1,"sort":[{"n":"desc"}]}}}}`:                                                 `[["a",2,{"t":[3]}],["b",2,{"t":[1]}],["c",1,{"t":[2]}]]`,
		`{"date_histogram":{"field":"at","calendar_interval":"day","min_doc_count":1,"format":"yyyy-MM-dd"}}`:                                  `[["2026-11-01",1],["2026-11-02",2],["2026-11-20",1]]`,
		`{"date_histogram":{"field":"at","calendar_interval":"week","format":"yyyy-MM-dd"}}`:                                                   `[["2026-10-26",1],["2026-11-02",2],["2026-11-09",0],["2026-11-16",1]]`,
		`{"date_histogram":{"field":"at","calendar_interval":"month","format":"yyyy-MM-dd","time_zone":"America/New_York"}}`:                   `[["2026-10-01",1],["2026-11-01",3]]`,
		`{"date_histogram":{"field":"at","fixed_interval":"12h","min_doc_count":1,"format":"yyyy-MM-dd HH","offset":"+6h"}}`:                   `[["2026-10-31 18",1],["2026-11-02 06",2],["2026-11-19 18",1]]`,
		`{"date_histogram":{"field":"at","calendar_interval":"month","format":"yyyy-MM","extended_bounds":{"min":"2026-10","max":"2026-12"}}}`: `[["2026-10",0],["2026-11",4],["2026-12",0]]`,
		`{"histogram":{"field":"n","interval":2}}`:                                                                                             `[[0,1],[2,2],[4,1]]`,
		`{"histogram":{"field":"price","interval":1.5,"min_doc_count":1}}`:                                                                     `[[-1.5,1],[1.5,2]]`,
		`{"range":{"field":"n","ranges":[{"to":2},{"from":2,"to":4},{"key":"all","from":0}]}}`:                                                 `[["*-2.0",1],["2.0-4.0",2],["all",4]]`,
		`{"filter":{"term":{"ok":true}},"aggs":{"n":{"sum":{"field":"n"}}}}`:                                                                   `[[null,2,{"n":{"value":5}}]]`,
		`{"filters":{"filters":{"x":{"match":{"title":"fox"}},"y":{"term":{"n":3}}},"other_bucket_key":"rest"}}`:                               `[["x",2],["y",1],["rest",3]]`,
		`{"avg":{"field":"n"}}`:                         `{"value":2.5}`,
		`{"sum":{"field":"price"}}`:                     `{"value":3}`,
		`{"min":{"field":"nowhere"}}`:                   `{"value":null}`,
		`{"value_count":{"field":"tag"}}`:               `{"value":5}`,
		`{"cardinality":{"field":"tag"}}`:               `{"value":3}`,
		`{"cardinality":{"field":"n"}}`:                 `{"value":5}`,
		`{"stats":{"field":"n","missing":10}}`:          `{"avg":5,"count":6,"max":10,"min":1,"sum":30}`,
		`{"percentiles":{"field":"n","percents":[50]}}`: `[[50,2.5]]`,
	} {
		for splits := 1; splits <= 3; splits++ {
			s := cutting(t, analyzer(t, "standard"), splits, zoo)
			result := search(t, s, `{"size":0,"aggs":{"it":`+agg+`}}`)
			got, err := json.Marshal(shape(result.Aggs)["it"])
			require.NoError(t, err)
			require.JSONEq(t, want, string(got), "%s in %d splits", agg, splits)
		}
	}
	s := cutting(t, analyzer(t, "standard"), 1, zoo)
	_, err := s.Search(t.Context(), parse(t, `{"aggs":{"h":{"histogram":{"field":"price","interval":0.00001}}}}`))
	require.ErrorContains(t, err, "too many buckets")
	empty := &Searcher{Now: testNow}
	result := search(t, empty, `{"aggs":{"a":{"terms":{"field":"x"}},"b":{"stats":{"field":"x"}},"c":{"histogram":{"field":"x","interval":1}}}}`)
	require.Zero(t, result.Total)
	require.Len(t, result.Aggs, 3)
}

func TestExtendedStatsAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	var all exactSum
	var numbers []float64
	for range 10_000 {
		x := math.Ldexp(rng.NormFloat64(), rng.IntN(200)-100)
		numbers = append(numbers, x, -x)
	}
	numbers = append(numbers, 42.5)
	rng.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	parts := make([]exactSum, 7)
	for i, x := range numbers {
		all.add(x)
		parts[i%7].add(x)
	}
	require.Equal(t, 42.5, all.value())
	var merged exactSum
	for i := range parts {
		merged.merge(&parts[i])
	}
	require.Equal(t, 42.5, merged.value())
	all.add(math.Inf(1))
	require.Equal(t, math.Inf(1), all.value())
}

func TestCardinalityIsMergedExactlyAndThenWell(t *testing.T) {
	for _, n := range []int{100, 40_000, 300_000} {
		parts := []*distinct{newDistinct(), newDistinct(), newDistinct()}
		for i := range n {
			for p := range 1 + i%3 { // some are in several
				parts[p].add(bucketKey{kind: wholeValue, whole: int64(i)}.hash())
			}
		}
		for _, p := range parts[1:] {
			require.NoError(t, parts[0].merge(p))
		}
		if n <= distinctExact {
			require.EqualValues(t, n, parts[0].count())
		} else {
			require.InEpsilon(t, n, parts[0].count(), 0.02)
		}
	}
}

func TestHighlightsShowWhatMatched(t *testing.T) {
	s := cutting(t, analyzer(t, "standard"), 2, append(slices.Clone(zoo),
		`{"long":"`+fmt.Sprintf("%060d needle & <pin> in the haystack %060d another needle %0300d", 1, 2, 3)+`"}`))
	for body, want := range map[string]string{
		`"query":{"match":{"title":"quick red"}},"sort":["_offset"],"highlight":{"fields":{"title":{}}}`:                                                                `{"title":["The <em>quick</em> brown fox"]}`,
		`"query":{"match_phrase":{"title":"quick brown"}},"highlight":{"fields":{"title":{}}}`:                                                                          `{"title":["The <em>quick</em> <em>brown</em> fox"]}`,
		`"query":{"prefix":{"title":"bro"}},"sort":["_offset"],"highlight":{"fields":{"*":{}},"pre_tags":["["],"post_tags":["]"]}`:                                      `{"title":["The quick [brown] fox"]}`,
		`"query":{"fuzzy":{"title":"brwn"}},"sort":["_offset"],"highlight":{"fields":{"title":{"number_of_fragments":0}}}`:                                              `{"title":["The quick <em>brown</em> fox"]}`,
		`"query":{"match":{"_all":"found"}},"highlight":{"fields":{"deep.er":{},"title":{"no_match_size":6}}}`:                                                          `{"deep.er":["<em>found</em> me"],"title":["Lazy brown"]}`,
		`"query":{"bool":{"must":{"term":{"n":3}},"must_not":{"term":{"title":"fox"}}}},"highlight":{"fields":{"title":{"highlight_query":{"match":{"title":"dog"}}}}}`: `{"title":["Lazy brown <em>dog</em>"]}`,
		`"query":{"match":{"_value":"plain"}},"highlight":{"fields":{"_value":{}}}`:                                                                                     `{"_value":["<em>plain</em> text with a fox"]}`,
	} {
		result := search(t, s, `{`+body+`}`)
		require.NotEmpty(t, result.Hits, body)
		got, err := json.Marshal(result.Hits[0].Highlight)
		require.NoError(t, err)
		var plain map[string]any
		require.NoError(t, json.Unmarshal(got, &plain))
		var expect map[string]any
		require.NoError(t, json.Unmarshal([]byte(want), &expect))
		require.Equal(t, expect, plain, body)
	}
	result := search(t, s, `{"query":{"match":{"long":"needle"}},"highlight":{"encoder":"html","fields":{"long":{"fragment_size":40}}}}`)
	fragments := result.Hits[0].Highlight["long"]
	require.Len(t, fragments, 2)
	require.Contains(t, fragments[0], "<em>needle</em> &amp; &lt;pin&gt; in")
	require.Contains(t, fragments[1], "another <em>needle</em>")
}

func TestSourceIsFetchedWhereSplitsDoNotKeepIt(t *testing.T) {
	r := textquery.NewRequest()
	s := cutting(t, analyzer(t, "standard"), 2, zoo)
	result, err := s.Search(t.Context(), r)
	require.NoError(t, err)
	for _, h := range result.Hits {
		require.True(t, h.Found)
		require.Equal(t, zoo[h.Offset], string(h.Value))
		require.Equal(t, fmt.Sprintf("logs-0-%d", h.Offset), h.ID())
		require.Equal(t, fmt.Sprintf("k%d", h.Offset), string(h.Key))
		require.Equal(t, testNow.UnixMilli()+h.Offset, h.Timestamp)
	}
}

func TestTheFirstOfManyAreTheFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	for range 300 {
		all := make([]int, 1+rng.IntN(60))
		for i := range all {
			all[i] = rng.IntN(40)
		}
		sorted := slices.Sorted(slices.Values(all))
		most := 1 + rng.IntN(40)
		chosen, rest := firstOf(all, most, func(a, b int) int { return a - b })
		require.Equal(t, sorted[:min(most, len(sorted))], chosen)
		require.ElementsMatch(t, sorted[min(most, len(sorted)):], rest)
	}
}
