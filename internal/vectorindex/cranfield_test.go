package vectorindex_test

import (
	"encoding/xml"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
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
	vectors, queries := semantics(texts, questions, dimensions)
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

// semantics projects texts onto the directions in which the documents' weights of
// words vary most (a truncated SVD by subspace iteration).
func semantics(texts, questions []string, dimensions int) (vectors, queries [][]float32) {
	split := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) })
	}
	frequency := map[string]int{}
	for _, text := range texts {
		seen := map[string]bool{}
		for _, w := range split(text) {
			if !seen[w] {
				seen[w] = true
				frequency[w]++
			}
		}
	}
	var order []string // of terms, as they come: a map's order is none
	number := map[string]int{}
	for _, text := range texts {
		for _, w := range split(text) {
			if _, ok := number[w]; !ok && frequency[w] > 1 {
				number[w] = len(order)
				order = append(order, w)
			}
		}
	}
	type weight struct {
		term int
		by   float64
	}
	weigh := func(s string) []weight {
		counts := make(map[int]float64)
		var terms []int
		for _, w := range split(s) {
			if n, ok := number[w]; ok {
				if counts[n] == 0 {
					terms = append(terms, n)
				}
				counts[n]++
			}
		}
		var all []weight
		for _, n := range terms {
			all = append(all, weight{n, (1 + math.Log(counts[n])) * math.Log(float64(len(texts))/float64(frequency[order[n]]))})
		}
		return all
	}
	documents := make([][]weight, len(texts))
	for i, text := range texts {
		documents[i] = weigh(text)
	}
	r := rand.New(rand.NewPCG(1, 1))
	basis := make([][]float64, len(order)) // by term
	for i := range basis {
		basis[i] = make([]float64, dimensions)
		for d := range basis[i] {
			basis[i][d] = r.NormFloat64()
		}
	}
	project := func(of []weight) []float64 {
		to := make([]float64, dimensions)
		for _, w := range of {
			for d, x := range basis[w.term] {
				to[d] += w.by * x
			}
		}
		return to
	}
	for range 5 {
		next := make([][]float64, len(basis))
		for i := range next {
			next[i] = make([]float64, dimensions)
		}
		for _, doc := range documents {
			p := project(doc)
			for _, w := range doc {
				for d, x := range p {
					next[w.term][d] += w.by * x
				}
			}
		}
		orthonormal(next)
		basis = next
	}
	vector := func(of []weight) []float32 {
		v := make([]float32, dimensions)
		for d, x := range project(of) {
			v[d] = float32(x)
		}
		return v
	}
	for _, doc := range documents {
		vectors = append(vectors, vector(doc))
	}
	for _, q := range questions {
		queries = append(queries, vector(weigh(q)))
	}
	return vectors, queries
}

// orthonormal makes the columns of a matrix orthogonal and of length 1.
func orthonormal(m [][]float64) {
	for d := range m[0] {
		for before := range d {
			dot := 0.0
			for _, row := range m {
				dot += row[d] * row[before]
			}
			for _, row := range m {
				row[d] -= dot * row[before]
			}
		}
		sum := 0.0
		for _, row := range m {
			sum += row[d] * row[d]
		}
		for _, row := range m {
			row[d] /= math.Sqrt(sum)
		}
	}
}
