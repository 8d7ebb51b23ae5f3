package vectortest

import (
	"math"
	"math/rand/v2"
	"strings"
	"unicode"
)

// Semantics is latent semantic analysis: it projects the weights of a text's words
// (TF-IDF) onto the directions in which those of the texts that it has learned vary
// most. Deerwester et al., Indexing by Latent Semantic Analysis, 1990.
type Semantics struct {
	dimensions int
	texts      int
	number     map[string]int // of terms
	frequency  []int          // by term: in how many texts
	basis      [][]float64    // by term
}

// Learn finds the directions, by subspace iteration. Words of one text alone count
// for nothing.
func Learn(texts []string, dimensions int) *Semantics {
	s := &Semantics{dimensions: dimensions, texts: len(texts), number: map[string]int{}}
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
	for _, text := range texts { // in the order of texts: a map's is none
		for _, w := range split(text) {
			if _, ok := s.number[w]; !ok && frequency[w] > 1 {
				s.number[w] = len(s.frequency)
				s.frequency = append(s.frequency, frequency[w])
			}
		}
	}
	documents := make([][]weight, len(texts))
	for i, text := range texts {
		documents[i] = s.weigh(text)
	}
	r := rand.New(rand.NewPCG(1, 1))
	s.basis = s.matrix(r.NormFloat64)
	for range 5 {
		next := s.matrix(func() float64 { return 0 })
		for _, document := range documents {
			p := s.project(document)
			for _, w := range document {
				for d, x := range p {
					next[w.term][d] += w.by * x
				}
			}
		}
		orthonormal(next)
		s.basis = next
	}
	return s
}

// Vector is where a text lies. One without a known word has a vector of zeros.
func (s *Semantics) Vector(text string) []float32 {
	v := make([]float32, s.dimensions)
	for d, x := range s.project(s.weigh(text)) {
		v[d] = float32(x)
	}
	return v
}

func split(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
}

type weight struct {
	term int
	by   float64
}

func (s *Semantics) weigh(text string) []weight {
	counts := make(map[int]float64)
	var terms []int
	for _, w := range split(text) {
		if n, ok := s.number[w]; ok {
			if counts[n] == 0 {
				terms = append(terms, n)
			}
			counts[n]++
		}
	}
	all := make([]weight, len(terms))
	for i, n := range terms {
		all[i] = weight{n, (1 + math.Log(counts[n])) * math.Log(float64(s.texts)/float64(s.frequency[n]))}
	}
	return all
}

func (s *Semantics) project(of []weight) []float64 {
	to := make([]float64, s.dimensions)
	for _, w := range of {
		for d, x := range s.basis[w.term] {
			to[d] += w.by * x
		}
	}
	return to
}

func (s *Semantics) matrix(fill func() float64) [][]float64 {
	m := make([][]float64, len(s.frequency))
	for i := range m {
		m[i] = make([]float64, s.dimensions)
		for d := range m[i] {
			m[i][d] = fill()
		}
	}
	return m
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
