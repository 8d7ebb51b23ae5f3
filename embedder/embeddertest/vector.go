package embeddertest

import (
	"hash/fnv"
	"math"
	"strings"
	"unicode"
)

// Vector is the bag of a text's words: each word is a direction that its letters
// decide, and texts are the nearer the more words they share. It has length 1,
// and is always the same.
func Vector(text string, dimensions int) []float32 {
	sum := make([]float64, dimensions)
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for _, word := range words {
		h := fnv.New64a()
		h.Write([]byte(word))
		state := h.Sum64()
		for i := range sum {
			if i%64 == 0 {
				state = mix(state + 0x9e3779b97f4a7c15)
			}
			if state>>(i%64)&1 == 1 {
				sum[i]++
			} else {
				sum[i]--
			}
		}
	}
	square := 0.0
	for _, f := range sum {
		square += f * f
	}
	vector := make([]float32, dimensions)
	if square == 0 {
		vector[0] = 1 // no words, or they cancel out
		return vector
	}
	for i, f := range sum {
		vector[i] = float32(f / math.Sqrt(square))
	}
	return vector
}

// mix is the finalizer of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
