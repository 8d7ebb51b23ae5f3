package embedder

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// vectorJSON is a vector in an answer: an array of numbers, or base64 of their
// little-endian bytes.
type vectorJSON []float32

// UnmarshalJSON reads either form. It is given valid JSON.
func (v *vectorJSON) UnmarshalJSON(b []byte) error {
	text := string(b)
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		return v.base64(strings.TrimSuffix(quoted, `"`))
	}
	inner, ok := strings.CutPrefix(text, "[")
	if !ok {
		return errors.New("a vector is neither numbers nor base64")
	}
	inner = strings.TrimSpace(strings.TrimSuffix(inner, "]"))
	if inner == "" {
		return errors.New("a vector is empty")
	}
	*v = make(vectorJSON, 0, strings.Count(inner, ",")+1)
	for number := range strings.SplitSeq(inner, ",") {
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 32)
		if err != nil {
			return fmt.Errorf("a vector has %q, which is no number of 32 bits", clip(number))
		}
		*v = append(*v, float32(f))
	}
	return nil
}

func (v *vectorJSON) base64(text string) error {
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, `\/`, "/"))
	if err != nil || len(raw) == 0 || len(raw)%4 != 0 {
		return errors.New("a vector is not base64 of 32-bit numbers")
	}
	*v = make(vectorJSON, len(raw)/4)
	for i := range *v {
		(*v)[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return nil
}

// together puts vectors one after the other; they have to have one length.
func together(vectors []vectorJSON) ([]float32, int, error) {
	d := len(vectors[0])
	values := make([]float32, 0, len(vectors)*d)
	for i, v := range vectors {
		if len(v) != d {
			return nil, 0, &Error{Kind: BadAnswer, Err: fmt.Errorf("vector %d has %d dimensions, the first has %d", i, len(v), d)}
		}
		values = append(values, v...)
	}
	return values, d, nil
}

// answerBytesMax is what an answer with so many vectors may have at most: more
// than any number needs, and the rest of the JSON.
func answerBytesMax(texts, dimensions int) int64 {
	if dimensions == 0 {
		dimensions = dimensionsMax
	}
	return int64(texts)*int64(dimensions)*32 + int64(texts)*1024 + 1<<20
}

// dimensionsMax is the most that topics may ask for.
const dimensionsMax = 4096
