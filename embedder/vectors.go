package embedder

import (
	"fmt"
	"math"
)

// Vectors are what texts became, in their order.
type Vectors struct {
	// Model is what made them, with its dimensions.
	Model Model
	// Values has the vectors one after the other, zeros where there is none.
	Values []float32
	// Cut is how many texts were longer than the model takes, and were cut.
	Cut int
	// Tokens is what the provider counted, or an estimate where it does not count.
	Tokens int

	settled []settled
}

// settled is what became of a text.
type settled uint8

const (
	pending settled = iota
	embedded
	refused // by the provider, alone and shortened: it has no vector
)

// Len is how many texts are answered for: all of them, or when Embed failed those
// before the first that it has no answer for.
func (v Vectors) Len() int { return len(v.settled) }

// At is the vector of a text; nil if it has none, because it is blank or the
// provider refuses it, whatever it comes with. It is part of Values.
func (v Vectors) At(i int) []float32 {
	if v.settled[i] != embedded {
		return nil
	}
	d := v.Model.Dimensions
	return v.Values[i*d : (i+1)*d : (i+1)*d]
}

// checkVectors reports what is wrong with vectors of the given dimensions.
func checkVectors(values []float32, dimensions int) error {
	for i, value := range values {
		if f := float64(value); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("dimension %d of vector %d is %v", i%dimensions, i/dimensions, f)
		}
	}
	return nil
}
