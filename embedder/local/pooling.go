package local

import (
	"fmt"
	"math"
	"path/filepath"
)

// pooling is how the vectors of a text's tokens become the text's.
type pooling int

const (
	byMean  pooling = iota
	byFirst         // the token that begins every text, which the model was taught to put it into
)

// readPooling reads what sentence-transformers writes beside a model.
func readPooling(path string) (pooling, error) {
	var modes map[string]any
	if err := readJSON(&modes, path, filepath.Join("1_Pooling", "config.json")); err != nil {
		return 0, err
	}
	first, _ := modes["pooling_mode_cls_token"].(bool)
	mean, _ := modes["pooling_mode_mean_tokens"].(bool)
	for mode, v := range modes {
		if on, ok := v.(bool); !ok || !on {
			continue
		}
		switch mode {
		case "pooling_mode_cls_token", "pooling_mode_mean_tokens", "include_prompt":
		default:
			return 0, fmt.Errorf("its 1_Pooling/config.json has %s, which is not supported", mode)
		}
	}
	if first && mean {
		return 0, fmt.Errorf("its 1_Pooling/config.json joins two kinds of vectors, which is not supported")
	}
	if first {
		return byFirst, nil
	}
	return byMean, nil
}

// pool joins the vectors of the first tokens of each row, which has length of
// them, and appends one of length 1 for each.
func (p pooling) pool(to []float32, h hidden, tokens []int, length int) []float32 {
	for row, n := range tokens {
		begin := len(to)
		switch {
		case !h.perToken:
			to = append(to, h.values[row*h.width:][:h.width]...)
		case p == byFirst:
			to = append(to, h.values[row*length*h.width:][:h.width]...)
		default:
			to = append(to, make([]float32, h.width)...)
			sum := to[begin:]
			for token := range n {
				for i, v := range h.values[(row*length+token)*h.width:][:h.width] {
					sum[i] += v
				}
			}
		}
		normalize(to[begin:])
	}
	return to
}

// normalize makes a vector one of length 1; one of zeros stays.
func normalize(v []float32) {
	square := float64(0)
	for _, x := range v {
		square += float64(x) * float64(x)
	}
	if square == 0 {
		return
	}
	scale := float32(1 / math.Sqrt(square))
	for i := range v {
		v[i] *= scale
	}
}
