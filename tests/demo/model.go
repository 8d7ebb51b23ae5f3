package main

import (
	"hash/fnv"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/embedder/local/localtest"
)

// The demo's model: a table with a vector for each word of the shop, made here
// and now, so that nothing has to be downloaded.
const (
	modelName       = "words-of-the-shop"
	modelDimensions = 64
)

// meanings are the words that the model understands: what they are about. Other
// words count a little, each for itself. Real models know more; how their vectors
// are searched is the same.
var meanings = func() map[string]int {
	words := map[string]int{}
	for i, about := range []string{
		"parcel package delivery waiting arrived late forever promised weeks shipment delayed slow overdue courier",
		"crack glass handle fell pieces leaks broken damaged cracked faulty shattered splinters",
		"expensive bargain paid cent worth cheap price costly",
		"phone clerk hotline mails answers ignored help friendly support staff rude",
	} {
		for word := range strings.FieldsSeq(about) {
			words[word] = i
		}
	}
	return words
}()

// writeModel writes the model where `chronik dev` looks for local ones.
func writeModel(data string) error {
	dir := filepath.Join(data, "models", modelName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tokens := append(slices.Clone(localtest.Specials), vocabulary()...)
	var table []float32
	for _, token := range tokens {
		table = append(table, vectorOf(token)...)
	}
	return localtest.WriteStatic(dir, tokens, table, modelDimensions)
}

// vocabulary are the words that reviews have, and those that are understood.
func vocabulary() []string {
	words := make(map[string]bool)
	for word := range meanings {
		words[word] = true
	}
	for _, texts := range [][]string{slices.Concat(slices.Collect(maps.Values(opinions))...), products, openings, closings, {"my order is the an of"}} {
		for _, text := range texts {
			for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return r < 'a' || r > 'z' }) {
				words[word] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(words))
}

// vectorOf is a word's: mostly what it is about, else a direction of its own.
func vectorOf(word string) []float32 {
	v := make([]float32, modelDimensions)
	if meaning, known := meanings[word]; known {
		v[meaning] = 1
		return v
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(word)) // into memory
	state := h.Sum64()
	for i := len(topicsOfReviews); i < modelDimensions; i++ {
		state = state*6364136223846793005 + 1442695040888963407
		v[i] = 0.1 * float32(int32(state>>32)) / math.MaxInt32 / 4
	}
	return v
}
