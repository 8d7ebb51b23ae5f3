package textsearch

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textquery"
)

// TestRelevanceOnCranfield ranks 1,400 abstracts for 225 questions that people
// have judged. It needs the collection: CHRONIK_TESTDATA names the folder that has
// it.
func TestRelevanceOnCranfield(t *testing.T) {
	data := os.Getenv("CHRONIK_TESTDATA")
	if data == "" {
		t.Skip("CHRONIK_TESTDATA is not set: the Cranfield collection is not in the repository")
	}
	documents, questions, judgments := cranfield(t, filepath.Join(data, "cranfield"))
	scores := map[string]float64{}
	for _, name := range []string{"standard", "en"} {
		for _, splits := range []int{1, 4, 16} {
			s := cutting(t, analyzer(t, name), splits, documents)
			sum := 0.0
			for i, q := range questions {
				r := textquery.NewRequest()
				r.Query = &textquery.MultiMatch{Boost: 1, Type: textquery.MostFields, TieBreaker: 1,
					Fields: []textquery.FieldBoost{{Field: "title", Boost: 1}, {Field: "text", Boost: 1}}, Match: textquery.Match{Boost: 1, Text: q}}
				result, err := s.Search(t.Context(), r)
				require.NoError(t, err)
				sum += ndcg(result.Hits, judgments[i+1])
			}
			got := sum / float64(len(questions))
			if before, known := scores[name]; known {
				require.Equal(t, before, got, "%s in %d splits: another ranking", name, splits)
			}
			scores[name] = got
		}
		t.Logf("nDCG@10 with analyzer %s: %.4f, in 1, 4 and 16 splits", name, scores[name])
	}
	require.GreaterOrEqual(t, scores["en"], 0.38)
}

// ndcg is nDCG@10 where a document's gain is whether it was judged relevant.
func ndcg(hits []Hit, relevant map[int64]bool) float64 {
	gained, ideal := 0.0, 0.0
	for i := range 10 {
		discount := 1 / math.Log2(float64(i+2))
		if i < len(hits) && relevant[hits[i].Offset+1] {
			gained += discount
		}
		if i < len(relevant) {
			ideal += discount
		}
	}
	if ideal == 0 {
		return 0
	}
	return gained / ideal
}

func cranfield(t *testing.T, dir string) (documents, questions []string, judgments map[int]map[int64]bool) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return b
	}
	var docs struct {
		Doc []struct {
			Number int64  `xml:"docno"`
			Title  string `xml:"title"`
			Text   string `xml:"text"`
		} `xml:"doc"`
	}
	body := string(read("cran.all.1400.xml"))
	if !strings.Contains(body, "<xml>") && !strings.Contains(body, "<root>") {
		body = "<root>" + body + "</root>"
	}
	require.NoError(t, xml.Unmarshal([]byte(body), &docs))
	require.Len(t, docs.Doc, 1400)
	slices.SortFunc(docs.Doc, func(a, b struct {
		Number int64  `xml:"docno"`
		Title  string `xml:"title"`
		Text   string `xml:"text"`
	}) int {
		return int(a.Number - b.Number)
	})
	for i, d := range docs.Doc {
		require.EqualValues(t, i+1, d.Number)
		b, err := json.Marshal(map[string]string{"title": d.Title, "text": d.Text})
		require.NoError(t, err)
		documents = append(documents, string(b))
	}
	var top struct {
		Top []struct {
			Title string `xml:"title"`
		} `xml:"top"`
	}
	require.NoError(t, xml.Unmarshal(read("cran.qry.xml"), &top))
	for _, q := range top.Top {
		questions = append(questions, q.Title)
	}
	require.Len(t, questions, 225)
	judgments = map[int]map[int64]bool{}
	for _, line := range strings.Split(string(read("cranqrel.trec.txt")), "\n") {
		words := strings.Fields(line)
		if len(words) != 4 {
			continue
		}
		question, err := strconv.Atoi(words[0])
		require.NoError(t, err)
		document, err := strconv.ParseInt(words[2], 10, 64)
		require.NoError(t, err)
		if grade, err := strconv.Atoi(words[3]); err == nil && grade > 0 {
			if judgments[question] == nil {
				judgments[question] = map[int64]bool{}
			}
			judgments[question][document] = true
		}
	}
	require.NotEmpty(t, judgments, fmt.Sprint(len(judgments)))
	return documents, questions, judgments
}
