// Package vectortest makes vectors to try an index with: easy ones, hard ones, and
// some that mean something.
package vectortest

import (
	"math"
	"math/rand/v2"
)

// Clustered are vectors around centers, as embeddings of texts about a few
// subjects lie: none is 0, none has length 1.
func Clustered(seed uint64, n, dimensions, centers int) [][]float32 {
	r := rand.New(rand.NewPCG(seed, 11))
	middles := make([][]float64, centers)
	for i := range middles {
		middles[i] = make([]float64, dimensions)
		for d := range middles[i] {
			middles[i][d] = r.NormFloat64()
		}
	}
	all := make([][]float32, n)
	for i := range all {
		m := middles[r.IntN(centers)]
		all[i] = make([]float32, dimensions)
		for d := range all[i] {
			all[i][d] = float32(m[d] + 0.6*r.NormFloat64())
		}
	}
	return all
}

// Words are hard: counts of words by Zipf's law, hashed to dimensions. All share
// the frequent words, none lies in a cluster, and what is near is hardly nearer.
func Words(seed uint64, n, dimensions int) [][]float32 {
	r := rand.New(rand.NewPCG(seed, 12))
	zipf := rand.NewZipf(r, 1.1, 2, 20_000)
	all := make([][]float32, n)
	for i := range all {
		all[i] = make([]float32, dimensions)
		for range 60 {
			word := zipf.Uint64()
			hash := word * 0x9e3779b97f4a7c15
			idf := float32(math.Log(2 + float64(word)))
			for k := range 4 { // a word is in several dimensions
				all[i][(hash>>(16*k)&0xffff)%uint64(dimensions)] += idf * (1 - float32(hash>>(k+5)&1)*2)
			}
		}
	}
	return all
}
