package textsearch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func analyzer(t testing.TB, name string) *analysis.Analyzer {
	t.Helper()
	a, err := analysis.ByName(name)
	require.NoError(t, err)
	return a
}

// cutting indexes values as the records of one partition, cut into so many splits
// of random sizes, every other of them a file.
func cutting(t testing.TB, a *analysis.Analyzer, splits int, values []string) *Searcher {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(splits), 7))
	cuts := []int{0, len(values)}
	for range splits - 1 {
		cuts = append(cuts, rng.IntN(len(values)+1))
	}
	slices.Sort(cuts)
	s := &Searcher{Now: testNow, Parallel: 2}
	for i := range splits {
		m := textindex.NewMemory(textindex.Options{Analyzer: a, Source: true})
		for offset := cuts[i]; offset < cuts[i+1]; offset++ {
			m.Append(textindex.Record{Offset: int64(offset), Timestamp: testNow.UnixMilli() + int64(offset), Key: fmt.Appendf(nil, "k%d", offset%7), Value: []byte(values[offset])})
		}
		split := m.Snapshot()
		if i%2 == 1 && cuts[i] < cuts[i+1] { // what lies at rest answers the same
			var file bytes.Buffer
			_, err := m.Write(&file)
			require.NoError(t, err)
			split, err = textindex.Open(t.Context(), textindex.Bytes(file.Bytes()), 0)
			require.NoError(t, err)
		}
		s.Parts = append(s.Parts, Part{Topic: "logs", Split: split, Analyzer: a})
	}
	return s
}

func parse(t testing.TB, body string) *textquery.Request {
	t.Helper()
	r, err := textquery.Parse([]byte(body))
	require.NoError(t, err, body)
	return r
}

func search(t testing.TB, s *Searcher, body string) *Result {
	t.Helper()
	result, err := s.Search(t.Context(), parse(t, body))
	require.NoError(t, err, body)
	return result
}

func offsets(hits []Hit) []int64 {
	all := make([]int64, 0, len(hits))
	for _, h := range hits {
		all = append(all, h.Offset)
	}
	return all
}

var zoo = []string{
	`{"title":"The quick brown fox","n":1,"price":1.5,"tag":["a","b"],"ok":true,"at":"2026-11-01T00:00:00Z","pin":{"lat":52.5,"lon":13.4}}`,
	`{"title":"A quick red dog jumps over the lazy fox","n":2,"price":2.5,"tag":["b"],"ok":false,"at":"2026-11-02T10:00:00Z","pin":{"lat":48.1,"lon":11.6}}`,
	`{"title":"Lazy brown dog","n":3,"tag":["c"],"at":"2026-11-02T11:00:00Z","deep":{"er":"found me"}}`,
	`{"title":"Foxes are quick; quick foxes jump","n":4,"price":-1,"tag":["a"],"ok":true,"at":"2026-11-20T00:00:00Z"}`,
	`plain text with a fox`,
	`{"title":"brown quick","n":"many","user":"Ada.Lovelace@example.org"}`,
}

func TestQueriesFindWhatTheySay(t *testing.T) {
	for query, want := range map[string][]int64{
		`{"match_all":{}}`:                {0, 1, 2, 3, 4, 5},
		`{"match_none":{}}`:               {},
		`{"match":{"title":"Quick FOX"}}`: {0, 1, 3, 5},
		`{"match":{"title":{"query":"quick fox","operator":"and"}}}`:                       {0, 1},
		`{"match":{"title":{"query":"quick brown dog","minimum_should_match":2}}}`:         {0, 1, 2, 5},
		`{"match":{"title":{"query":"quik","fuzziness":"AUTO"}}}`:                          {0, 1, 3, 5},
		`{"match":{"title":{"query":"qiuck","fuzziness":1}}}`:                              {0, 1, 3, 5},
		`{"match":{"title":{"query":"qiuck","fuzziness":1,"fuzzy_transpositions":false}}}`: {},
		`{"match":{"n":"3"}}`:                                               {2},
		`{"match":{"n":"many"}}`:                                            {5},
		`{"match":{"_all":"fox found"}}`:                                    {0, 1, 2, 4},
		`{"match":{"_all":{"query":"found lazy","operator":"and"}}}`:        {2},
		`{"match":{"value":"plain"}}`:                                       {4},
		`{"match_phrase":{"title":"quick brown"}}`:                          {0},
		`{"match_phrase":{"title":{"query":"quick fox","slop":1}}}`:         {0},
		`{"match_phrase":{"title":{"query":"brown quick","slop":2}}}`:       {0, 5},
		`{"match_phrase":{"title":"quick quick"}}`:                          {3},
		`{"match_phrase":{"title":{"query":"quick quick","slop":3}}}`:       {3},
		`{"match_phrase":{"_all":"a fox"}}`:                                 {4},
		`{"match_phrase_prefix":{"title":"quick br"}}`:                      {0},
		`{"match_phrase_prefix":{"title":"fo"}}`:                            {0, 1, 3},
		`{"multi_match":{"query":"found fox","fields":["title","deep.*"]}}`: {0, 1, 2},
		`{"multi_match":{"query":"lazy found","fields":["title","deep.er"],"type":"cross_fields","operator":"and"}}`: {2},
		`{"multi_match":{"query":"quick br","fields":["title"],"type":"phrase_prefix"}}`:                             {0},
		`{"term":{"title":"quick"}}`:                                                        {0, 1, 3, 5},
		`{"term":{"title":"Quick"}}`:                                                        {},
		`{"term":{"title.keyword":"brown quick"}}`:                                          {5},
		`{"term":{"tag":{"value":"A","case_insensitive":true}}}`:                            {0, 3},
		`{"term":{"ok":true}}`:                                                              {0, 3},
		`{"term":{"n":2}}`:                                                                  {1},
		`{"term":{"_index":"logs"}}`:                                                        {0, 1, 2, 3, 4, 5},
		`{"term":{"_partition":1}}`:                                                         {},
		`{"term":{"_id":"logs-0-3"}}`:                                                       {3},
		`{"term":{"_key":"k2"}}`:                                                            {2},
		`{"terms":{"tag":["a","c"]}}`:                                                       {0, 2, 3},
		`{"terms":{"n":[1,4,9]}}`:                                                           {0, 3},
		`{"range":{"n":{"gt":1,"lte":3}}}`:                                                  {1, 2},
		`{"range":{"n":{"gt":1.5,"lt":3.5}}}`:                                               {1, 2},
		`{"range":{"price":{"gte":-1,"lt":2.5}}}`:                                           {0, 3},
		`{"range":{"at":{"gte":"2026-11-02","lt":"2026-11-03"}}}`:                           {1, 2},
		`{"range":{"at":{"lte":"2026-11-02||/d"}}}`:                                         {0, 1, 2},
		`{"range":{"at":{"gt":"2026-11-02||/d"}}}`:                                          {3},
		`{"range":{"at":{"gte":"now-5d"}}}`:                                                 {3},
		`{"range":{"at":{"gte":"02/11/2026","lte":"02/11/2026","format":"dd/MM/yyyy"}}}`:    {1, 2},
		`{"range":{"tag":{"gte":"b"}}}`:                                                     {0, 1, 2},
		`{"range":{"_offset":{"gte":4}}}`:                                                   {4, 5},
		`{"exists":{"field":"price"}}`:                                                      {0, 1, 3},
		`{"exists":{"field":"deep"}}`:                                                       {2},
		`{"prefix":{"title":"fox"}}`:                                                        {0, 1, 3},
		`{"prefix":{"title.keyword":"The"}}`:                                                {0},
		`{"prefix":{"title.keyword":{"value":"the","case_insensitive":true}}}`:              {0},
		`{"wildcard":{"title":"*x*s"}}`:                                                     {3},
		`{"wildcard":{"title":"d?g"}}`:                                                      {1, 2},
		`{"regexp":{"title":"fox(es)?"}}`:                                                   {0, 1, 3},
		`{"regexp":{"tag":"[ac]"}}`:                                                         {0, 2, 3},
		`{"fuzzy":{"title":"foxs"}}`:                                                        {0, 1, 3},
		`{"fuzzy":{"title":{"value":"jumpz","prefix_length":4}}}`:                           {1, 3},
		`{"ids":{"values":["logs-0-1","logs-0-99","other-0-2","x"]}}`:                       {1},
		`{"bool":{"must":[{"match":{"title":"quick"}}],"must_not":[{"term":{"tag":"a"}}]}}`: {1, 5},
		`{"bool":{"filter":{"term":{"ok":true}},"should":[{"match":{"title":"brown"}}]}}`:   {0, 3},
		`{"bool":{"must_not":[{"exists":{"field":"title"}}]}}`:                              {4},
		`{"bool":{}}`: {0, 1, 2, 3, 4, 5},
		`{"bool":{"should":[{"term":{"n":1}},{"term":{"n":2}}],"minimum_should_match":2}}`:                           {},
		`{"constant_score":{"filter":{"term":{"n":1}}}}`:                                                             {0},
		`{"dis_max":{"queries":[{"term":{"n":1}},{"match":{"title":"dog"}}]}}`:                                       {0, 1, 2},
		`{"boosting":{"positive":{"match":{"title":"dog"}},"negative":{"term":{"n":2}},"negative_boost":0.1}}`:       {1, 2},
		`{"query_string":{"query":"title:(quick AND NOT fox) OR n:3"}}`:                                              {2, 3, 5},
		`{"query_string":{"query":"fox AND lazy"}}`:                                                                  {1},
		`{"query_string":{"query":"QUI*"}}`:                                                                          {0, 1, 3, 5},
		`{"query_string":{"query":"n:[2 TO 3]"}}`:                                                                    {1, 2},
		`{"query_string":{"query":"at:>2026-11-02T10"}}`:                                                             {2, 3},
		`{"query_string":{"query":"*:*"}}`:                                                                           {0, 1, 2, 3, 4, 5},
		`{"query_string":{"query":"-fox"}}`:                                                                          {2, 3, 5},
		`{"query_string":{"query":"ada.lovelace EXAMPLE.ORG","default_operator":"and"}}`:                             {5},
		`{"simple_query_string":{"query":"\"quick brown\" | dog -red","fields":["title"],"default_operator":"and"}}`: {0, 2},
		`{"geo_distance":{"distance":"100km","pin":{"lat":52.0,"lon":13.0}}}`:                                        {0},
		`{"geo_bounding_box":{"pin":{"top_left":[10,50],"bottom_right":[12,45]}}}`:                                   {1},
		`{"geo_polygon":{"pin":{"points":[[10,45],[20,45],[15,60]]}}}`:                                               {0, 1},
		`{"match":{"nowhere":"x"}}`:                                                                                  {},
	} {
		for splits := 1; splits <= 4; splits++ {
			s := cutting(t, analyzer(t, "standard"), splits, zoo)
			result := search(t, s, `{"query":`+query+`}`)
			got := offsets(result.Hits)
			slices.Sort(got)
			require.Equal(t, want, got, "%s in %d splits", query, splits)
			require.EqualValues(t, len(want), result.Total, query)
		}
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	s := cutting(t, analyzer(t, "standard"), 2, zoo)
	for body, want := range map[string]string{
		`{"query":{"term":{"price":"cheap"}}}`:                             `For input string: "cheap"`,
		`{"query":{"range":{"at":{"gte":"yesterday"}}}}`:                   `failed to parse date field`,
		`{"query":{"prefix":{"price":"1"}}}`:                               `not on [price] which is of type [double]`,
		`{"query":{"regexp":{"title":"("}}}`:                               `failed to create query`,
		`{"query":{"geo_distance":{"distance":"1km","nowhere":[1,2]}}}`:    `failed to find geo field`,
		`{"sort":["nowhere"]}`:                                             `No mapping found for [nowhere]`,
		`{"sort":["_doc"],"search_after":[1]}`:                             `search_after does not work with [_doc]`,
		`{"aggs":{"a":{"avg":{"field":"title"}}}}`:                         `is not supported for aggregation [avg]`,
		`{"query":{"match":{"title":{"query":"x","analyzer":"klingon"}}}}`: `klingon`,
	} {
		_, err := s.Search(t.Context(), parse(t, body))
		require.ErrorContains(t, err, want, body)
		var ours *textquery.Error
		require.ErrorAs(t, err, &ours, body)
	}
	_, err := s.Search(t.Context(), parse(t, `{"query":{"match":{"price":{"query":"cheap","lenient":true}}}}`))
	require.NoError(t, err)
}

func TestHiddenDocumentsAreNotFound(t *testing.T) {
	s := cutting(t, analyzer(t, "standard"), 1, zoo)
	s.Parts[0].Hidden = roaring.BitmapOf(0, 3)
	result := search(t, s, `{"query":{"match":{"title":"quick"}},"aggs":{"n":{"value_count":{"field":"title.keyword"}}}}`)
	require.ElementsMatch(t, []int64{1, 5}, offsets(result.Hits))
	require.EqualValues(t, 2, result.Aggs[0].Values["value"])
}

// words makes documents whose words are as unevenly frequent as those of texts.
func words(rng *rand.Rand, documents int) []string {
	zipf := rand.NewZipf(rng, 1.3, 2, 400)
	var all []string
	for i := range documents {
		var title, body []string
		for range 1 + rng.IntN(6) {
			title = append(title, fmt.Sprintf("w%d", zipf.Uint64()))
		}
		for range rng.IntN(60) {
			body = append(body, fmt.Sprintf("w%d", zipf.Uint64()))
		}
		doc, _ := json.Marshal(map[string]any{
			"title": strings.Join(title, " "), "body": strings.Join(body, " "), "n": rng.IntN(50),
			"x": math.Round(rng.NormFloat64()*1e6) / 1e3, "level": []string{"info", "warn", "error"}[min(2, rng.IntN(6)/2)],
			"at": testNow.Add(time.Duration(i) * 7 * time.Minute).Format(time.RFC3339),
		})
		all = append(all, string(doc))
	}
	return all
}

// direct is BM25 written down from the formula, over the words of documents.
func direct(documents [][]string, query []string) []float64 {
	total := 0
	for _, d := range documents {
		total += len(d)
	}
	have := len(documents) // an empty text is one too
	scores := make([]float64, len(documents))
	for _, word := range query {
		df := 0
		for _, d := range documents {
			if slices.Contains(d, word) {
				df++
			}
		}
		rare := math.Log(1 + (float64(have)-float64(df)+0.5)/(float64(df)+0.5))
		for i, d := range documents {
			tf := 0.0
			for _, w := range d {
				if w == word {
					tf++
				}
			}
			if tf > 0 {
				scores[i] += rare * (tf * 2.2) / (tf + 1.2*(1-0.75+0.75*float64(len(d))/(float64(total)/float64(have))))
			}
		}
	}
	return scores
}

func TestScoresAreBM25(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := words(rng, 3000)
	var bodies [][]string
	for _, v := range values {
		var doc struct{ Body string }
		require.NoError(t, json.Unmarshal([]byte(v), &doc))
		bodies = append(bodies, strings.Fields(doc.Body))
	}
	s := cutting(t, analyzer(t, "standard"), 5, values)
	for range 30 {
		var query []string
		for range 1 + rng.IntN(4) {
			query = append(query, fmt.Sprintf("w%d", rng.IntN(60)))
		}
		result := search(t, s, fmt.Sprintf(`{"query":{"match":{"body":%q}},"size":100,"track_total_hits":%d}`, strings.Join(query, " "), 1+rng.IntN(5000)))
		want := direct(bodies, query)
		best := slices.Clone(want)
		slices.SortFunc(best, func(a, b float64) int {
			if a > b {
				return -1
			} else if a < b {
				return 1
			}
			return 0
		})
		for i, h := range result.Hits {
			require.InEpsilon(t, want[h.Offset], *h.Score, 1e-12, "%v: offset %d", query, h.Offset)
			require.InEpsilon(t, best[i], *h.Score, 1e-12, "%v: hit %d is not the best", query, i)
		}
	}
}

// The answer is the same to the last digit, however the records are cut.
func TestAnswersDoNotDependOnTheCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	values := words(rng, 2000)
	var searchers []*Searcher
	for _, splits := range []int{1, 2, 5, 16} {
		searchers = append(searchers, cutting(t, analyzer(t, "standard"), splits, values))
	}
	for range 150 {
		word := func() string { return fmt.Sprintf("w%d", rng.IntN(80)) }
		queries := []string{
			fmt.Sprintf(`{"match":{"body":"%s %s %s"}}`, word(), word(), word()),
			fmt.Sprintf(`{"multi_match":{"query":"%s %s","fields":["title^3","body"],"tie_breaker":0.3}}`, word(), word()),
			fmt.Sprintf(`{"multi_match":{"query":"%s %s","fields":["title","body"],"type":"cross_fields"}}`, word(), word()),
			fmt.Sprintf(`{"match_phrase":{"body":{"query":"%s %s","slop":%d}}}`, word(), word(), rng.IntN(8)),
			fmt.Sprintf(`{"bool":{"must":[{"match":{"body":"%s %s"}}],"should":[{"match":{"title":"%s"}}],"filter":[{"range":{"n":{"gte":%d}}}],"must_not":[{"term":{"title":"%s"}}]}}`, word(), word(), word(), rng.IntN(40), word()),
			fmt.Sprintf(`{"query_string":{"query":"title:%s^2 OR body:(%s AND -%s) level:e*"}}`, word(), word(), word()),
			fmt.Sprintf(`{"match":{"body":{"query":"%s1","fuzziness":1}}}`, word()),
			fmt.Sprintf(`{"match_phrase_prefix":{"body":"%s w1"}}`, word()),
			fmt.Sprintf(`{"boosting":{"positive":{"match":{"body":"%s"}},"negative":{"match":{"title":"%s"}},"negative_boost":0.5}}`, word(), word()),
		}
		extra := []string{
			``, `,"track_total_hits":false`, `,"track_total_hits":5`, `,"from":3,"size":7`,
			`,"sort":[{"level":"desc"},{"x":"asc"}],"track_total_hits":true`,
			`,"min_score":1.5`,
			`,"size":3,"aggs":{"l":{"terms":{"field":"level"},"aggs":{"s":{"extended_stats":{"field":"x"}},"top":{"top_hits":{"size":2}}}},"c":{"cardinality":{"field":"n"}},"h":{"date_histogram":{"field":"at","calendar_interval":"day","time_zone":"America/New_York"}}}`,
		}[rng.IntN(7)]
		body := `{"query":` + queries[rng.IntN(len(queries))] + extra + `}`
		var want string
		for i, s := range searchers {
			result := search(t, s, body)
			result.PartsTotal, result.PartsSkipped = 0, 0
			got := digits(t, result)
			if i == 0 {
				want = got
			}
			require.Equal(t, want, got, body)
		}
	}
}

// digits is a result with all of its digits.
func digits(t *testing.T, r *Result) string {
	t.Helper()
	text, err := json.Marshal(r)
	require.NoError(t, err)
	return string(text)
}

// Logs are alike: most of what matches scores the same. What is not looked at for
// that reason is never what should have been shown.
func TestAmongEqualsTheFirstAreShown(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	messages := []string{"payment accepted", "payment accepted ok", "payment accepted ok ok", "request finished", "payment refused payment", "request for payment"}
	var values []string
	for range 6000 {
		values = append(values, fmt.Sprintf(`{"message":%q,"level":%q}`, messages[rng.IntN(len(messages))], []string{"info", "warn"}[rng.IntN(2)]))
	}
	for _, query := range []string{
		`{"match":{"message":"payment"}}`, `{"match":{"message":"payment ok"}}`, `{"match":{"message":{"query":"payment ok","operator":"and"}}}`,
		`{"term":{"level.keyword":"info"}}`, `{"prefix":{"message":"pay"}}`, `{"match_phrase":{"message":"payment accepted"}}`,
		`{"bool":{"must":[{"match":{"message":"payment"}}],"should":[{"match":{"message":"ok"}},{"term":{"level.keyword":"warn"}}]}}`,
		`{"dis_max":{"tie_breaker":0.7,"queries":[{"match":{"message":"payment ok"}},{"term":{"level.keyword":"warn"}}]}}`,
		`{"bool":{"should":[{"match":{"message":"ok"}},{"match":{"message":"finished"}},{"term":{"level.keyword":"warn"}}],"minimum_should_match":2}}`,
	} {
		for _, splits := range []int{1, 5} {
			s := cutting(t, analyzer(t, "standard"), splits, values)
			all := search(t, s, `{"size":25,"track_total_hits":true,"query":`+query+`}`)
			for _, upTo := range []string{"false", "1", "100"} {
				some := search(t, s, `{"size":25,"track_total_hits":`+upTo+`,"query":`+query+`}`)
				require.Equal(t, offsets(all.Hits), offsets(some.Hits), "%s in %d splits, counted up to %s", query, splits, upTo)
			}
		}
	}
}
