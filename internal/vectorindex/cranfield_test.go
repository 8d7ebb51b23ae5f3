package vectorindex_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

// TestRecallHoldsOnCranfield: latent semantic analysis of 1,400 abstracts, asked
// by the 225 questions about them. It needs the collection: CHRONIK_TESTDATA names
// the folder that has it.
func TestRecallHoldsOnCranfield(t *testing.T) {
	data := os.Getenv("CHRONIK_TESTDATA")
	if data == "" {
		t.Skip("CHRONIK_TESTDATA is not set: the Cranfield collection is not in the repository")
	}
	texts, questions := cranfield(t, filepath.Join(data, "cranfield"))
	const dimensions = 100
	learned := vectortest.Learn(texts, dimensions)
	var vectors, queries [][]float32
	for _, text := range texts {
		vectors = append(vectors, learned.Vector(text))
	}
	for _, question := range questions {
		queries = append(queries, learned.Vector(question))
	}
	for _, e := range []vectorindex.Encoding{vectorindex.F32, vectorindex.F16, vectorindex.Int8, vectorindex.Binary} {
		for _, kind := range []vectorindex.Kind{vectorindex.HNSW, vectorindex.IVF, vectorindex.Flat} {
			if kind == vectorindex.HNSW && e == vectorindex.Binary {
				continue
			}
			o := options(dimensions, kind)
			o.Encoding = e
			bytes, _ := built(t, o, vectors, 0)
			for at, f := range map[string]*vectorindex.File{"mapped": open(t, vectorindex.Bytes(bytes)), "by ranges": open(t, newObject(bytes))} {
				got, how := measured(t, f, vectors, queries, vectorindex.Query{K: 10}, nil)
				t.Logf("%s %s %s: recall %.4f, %s", e, kind, at, got, how)
				require.GreaterOrEqual(t, got, 0.95, "%s %s %s", e, kind, at)
			}
		}
	}
}

func cranfield(t *testing.T, dir string) (texts, questions []string) {
	read := func(name string, to any, inner string) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		text := string(b)
		if inner != "" && !strings.Contains(text, "<"+inner+">") {
			text = "<" + inner + ">" + text + "</" + inner + ">"
		}
		d := xml.NewDecoder(strings.NewReader(text))
		d.Strict = false
		require.NoError(t, d.Decode(to))
	}
	var docs struct {
		Doc []struct {
			Title string `xml:"title"`
			Text  string `xml:"text"`
		} `xml:"doc"`
	}
	read("cran.all.1400.xml", &docs, "xml")
	var tops struct {
		Top []struct {
			Title string `xml:"title"`
		} `xml:"top"`
	}
	read("cran.qry.xml", &tops, "xml")
	for _, d := range docs.Doc {
		texts = append(texts, d.Title+" "+d.Text)
	}
	for _, q := range tops.Top {
		questions = append(questions, q.Title)
	}
	require.Len(t, texts, 1400)
	require.Len(t, questions, 225)
	return texts, questions
}
