package textsearch

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/search/query"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textquery"
)

var bleveQuestions = flag.Int("bleve.questions", 1000, "how many questions bleve is asked too")

// TestBleveFindsTheSame asks bleve, which shares none of the code that finds
// documents, the same questions: sets of hits have to be equal. Scores are not
// compared: bleve's are not BM25.
func TestBleveFindsTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	values := proseLike(rng, 500)
	index := bleveIndex(t, values)
	cuts := []*Searcher{cutting(t, analyzer(t, "standard"), 1, values), cutting(t, analyzer(t, "standard"), 6, values)}
	found := 0
	var took [2]time.Duration
	for i := range *bleveQuestions {
		ours, theirs := questions{rng}.question(3)
		begin := time.Now()
		want, err := index.Search(bleve.NewSearchRequestOptions(theirs, len(values), 0, false))
		require.NoError(t, err)
		took[0] += time.Since(begin)
		ids := make([]int64, 0, len(want.Hits))
		for _, h := range want.Hits {
			var id int64
			_, err := fmt.Sscan(h.ID, &id)
			require.NoError(t, err)
			ids = append(ids, id)
		}
		slices.Sort(ids)
		r := textquery.NewRequest()
		r.Query, r.Size, r.Total.Exact, r.Source.Off = ours, len(values), true, true
		begin = time.Now()
		result, err := cuts[i%2].Search(t.Context(), r)
		took[1] += time.Since(begin)
		require.NoError(t, err)
		got := offsets(result.Hits)
		slices.Sort(got)
		text, _ := json.Marshal(theirs)
		require.Equal(t, ids, got, "%s", text)
		found += len(got)
	}
	t.Logf("%d hits; bleve took %v, we took %v", found, took[0], took[1])
	require.Greater(t, found, 40**bleveQuestions, "the questions find next to nothing: they show nothing")
}

func bleveIndex(t testing.TB, values []string) bleve.Index {
	t.Helper()
	mapping := bleve.NewIndexMapping()
	require.NoError(t, mapping.AddCustomAnalyzer("plain", map[string]any{
		"type": custom.Name, "tokenizer": unicode.Name, "token_filters": []string{lowercase.Name},
	}))
	mapping.DefaultAnalyzer = "plain"
	index, err := bleve.NewMemOnly(mapping)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, index.Close()) })
	batch := index.NewBatch()
	for i, v := range values {
		var doc map[string]any
		require.NoError(t, json.Unmarshal([]byte(v), &doc))
		require.NoError(t, batch.Index(fmt.Sprint(i), doc))
		if batch.Size() >= 5000 {
			require.NoError(t, index.Batch(batch))
			batch.Reset()
		}
	}
	require.NoError(t, index.Batch(batch))
	return index
}

// prose are words of which many are near one another, and some are not ASCII.
var prose = strings.Fields(`error errors Error warn warning warned timeout timed out connection connections connect
	connected reset by peer peers broker brokers broke partition partitions offset offsets leader leaders election elected
	größe grösse café cafe naïve Ünïcode 世界 user-agent foo_bar a.b.c 3.14 v1.2 x86 it's don't e-mail`)

func proseLike(rng *rand.Rand, documents int) []string {
	var all []string
	sentence := func(most int) string {
		var s []string
		for range rng.IntN(most) + 1 {
			s = append(s, prose[min(rng.IntN(len(prose)), rng.IntN(len(prose)))])
		}
		return strings.Join(s, []string{" ", ", ", " - "}[rng.IntN(3)])
	}
	for range documents {
		doc := map[string]any{"body": sentence(25), "n": rng.IntN(100), "flag": rng.IntN(2) == 0}
		var plain []string
		for _, w := range strings.Fields(sentence(6)) {
			if ascii(w) {
				plain = append(plain, w)
			}
		}
		doc["ascii"] = strings.Join(plain, " ")
		if rng.IntN(3) > 0 {
			doc["title"] = sentence(4)
		}
		if rng.IntN(2) > 0 {
			doc["x"] = rng.NormFloat64() * 10
		}
		b, _ := json.Marshal(doc)
		all = append(all, string(b))
	}
	return all
}

func ascii(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0 }

// questions makes the same question for both.
type questions struct{ *rand.Rand }

func (g questions) word() string  { return prose[g.IntN(len(prose))] }
func (g questions) field() string { return []string{"title", "body"}[g.IntN(2)] }

// term is a word as it is indexed.
func (g questions) term() string {
	for {
		if w := strings.ToLower(g.word()); !strings.ContainsAny(w, "-世") {
			return w
		}
	}
}

func (g questions) question(depth int) (textquery.Query, query.Query) {
	if depth > 0 && g.IntN(3) == 0 {
		return g.boolean(depth - 1)
	}
	f := g.field()
	on := func(q query.FieldableQuery) query.Query {
		q.SetField(f)
		return q
	}
	switch g.IntN(9) {
	case 0:
		text := g.word() + " " + g.word()
		q := bleve.NewMatchQuery(text)
		op := textquery.Or
		if g.IntN(2) == 0 {
			q.SetOperator(query.MatchQueryOperatorAnd)
			op = textquery.And
		}
		return &textquery.Match{Boost: 1, Field: f, Text: text, Operator: op}, on(q)
	case 1:
		text := g.word() + " " + g.word()
		if g.IntN(3) == 0 {
			text += " " + g.word()
		}
		return &textquery.MatchPhrase{Boost: 1, Field: f, Text: text}, on(bleve.NewMatchPhraseQuery(text))
	case 2:
		w := g.term()
		return &textquery.Term{Boost: 1, Field: f, Value: textquery.Value{Text: w}}, on(bleve.NewTermQuery(w))
	case 3:
		runes := []rune(g.term())
		p := string(runes[:1+g.IntN(len(runes))])
		return &textquery.Prefix{Boost: 1, Field: f, Text: p}, on(bleve.NewPrefixQuery(p))
	case 4:
		p := g.pattern()
		return &textquery.Wildcard{Boost: 1, Field: f, Pattern: p}, on(bleve.NewWildcardQuery(p))
	case 5:
		p := []string{"err(or)?s?", "[a-c].*", "(warn|time)(ed|d)?", "[^a-p].{2,4}", ".*(ion|er)s?", "v[0-9]+.*"}[g.IntN(6)]
		return &textquery.Regexp{Boost: 1, Field: f, Pattern: p, StatesMax: 10_000}, on(bleve.NewRegexpQuery(p))
	case 6:
		w, edits, prefix := g.term(), 1+g.IntN(2), g.IntN(3)
		for !ascii(w) {
			w = g.term()
		}
		q := bleve.NewFuzzyQuery(w)
		q.SetFuzziness(edits)
		q.SetPrefix(prefix)
		expand := textquery.Expansion{Fuzziness: textquery.Fuzziness{Edits: edits}, PrefixLength: prefix, Terms: 1024}
		q.SetField("ascii") // bleve counts edits in bytes
		return &textquery.Fuzzy{Boost: 1, Field: "ascii", Text: w, Expand: expand}, q
	case 7:
		return g.numbers()
	default:
		flag := g.IntN(2) == 0
		q := bleve.NewBoolFieldQuery(flag)
		q.SetField("flag")
		return &textquery.Term{Boost: 1, Field: "flag", Value: textquery.Value{Kind: textquery.BoolValue, Text: fmt.Sprint(flag)}}, q
	}
}

func (g questions) pattern() string {
	runes := []rune(g.term())
	for range 1 + g.IntN(2) {
		runes[g.IntN(len(runes))] = []rune("*?")[g.IntN(2)]
	}
	return string(runes)
}

func (g questions) numbers() (textquery.Query, query.Query) {
	f := []string{"n", "x"}[g.IntN(2)]
	low := float64(g.IntN(60) - 10)
	high := low + float64(g.IntN(30))
	withLow, withHigh := g.IntN(2) == 0, g.IntN(2) == 0
	q := bleve.NewNumericRangeInclusiveQuery(&low, &high, &withLow, &withHigh)
	q.SetField(f)
	bound := func(x float64, inclusive bool) *textquery.Bound {
		return &textquery.Bound{Value: textquery.Value{Kind: textquery.NumberValue, Text: fmt.Sprint(x)}, Inclusive: inclusive}
	}
	return &textquery.Range{Boost: 1, Field: f, Low: bound(low, withLow), High: bound(high, withHigh)}, q
}

func (g questions) boolean(depth int) (textquery.Query, query.Query) {
	ours, theirs := &textquery.Bool{Boost: 1}, bleve.NewBooleanQuery()
	for i := range 1 + g.IntN(3) {
		a, b := g.question(depth)
		switch kind := g.IntN(3); {
		case kind == 0 || i == 0:
			ours.Must = append(ours.Must, a)
			theirs.AddMust(b)
		case kind == 1:
			ours.Should = append(ours.Should, a)
			theirs.AddShould(b)
		default:
			ours.MustNot = append(ours.MustNot, a)
			theirs.AddMustNot(b)
		}
	}
	if n := len(ours.Should); n > 0 {
		least := 1 + g.IntN(n)
		ours.Minimum = textquery.MinimumOf(least)
		theirs.SetMinShould(float64(least))
	}
	return ours, theirs
}
