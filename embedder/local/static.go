package local

import (
	"context"
	"fmt"
	"os"

	"github.com/chronik-stream/chronik/internal/safetensors"
)

// static is a table of tokens' vectors, as model2vec and sentence-transformers
// write them.
type static struct {
	table   safetensors.Tensor
	width   int
	weights *safetensors.Tensor // of each token
	rows    *safetensors.Tensor // of each token, its row
	unknown int32               // a token that does not count; -1: all do
	size    int                 // tokens
}

func openStatic(d *directory) (backend, error) {
	data, err := os.ReadFile(d.static)
	if err != nil {
		return nil, err
	}
	tensors, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	s := &static{unknown: -1, size: d.tokenizer.Size()}
	found := ""
	for _, name := range []string{"embeddings", "embedding.weight", "embeddings.weight"} {
		if t, ok := tensors[name]; ok && found == "" {
			found, s.table = name, t
		}
	}
	if found == "" {
		return nil, fmt.Errorf("model.safetensors has no table named embeddings or embedding.weight, and is no table of tokens")
	}
	if !s.table.Readable() || len(s.table.Shape) != 2 || s.table.Shape[1] == 0 || s.table.Len() == 0 {
		return nil, fmt.Errorf("its table is %s of shape %v", s.table.Type, s.table.Shape)
	}
	s.width = s.table.Shape[1]
	if found == "embeddings" { // model2vec's leave tokens out that are not known
		s.unknown = d.tokenizer.Unknown()
		s.weights, s.rows = optional(tensors, "weights"), optional(tensors, "mapping")
	}
	return s, s.check()
}

func optional(tensors map[string]safetensors.Tensor, name string) *safetensors.Tensor {
	if t, ok := tensors[name]; ok && t.Readable() {
		return &t
	}
	return nil
}

// check looks whether every token has a row.
func (s *static) check() error {
	if s.weights != nil && s.weights.Len() < s.size {
		return fmt.Errorf("%d tokens have %d weights", s.size, s.weights.Len())
	}
	if s.rows == nil {
		if s.table.Shape[0] < s.size {
			return fmt.Errorf("%d tokens have %d vectors", s.size, s.table.Shape[0])
		}
		return nil
	}
	if s.rows.Len() < s.size {
		return fmt.Errorf("%d tokens are mapped to %d rows", s.size, s.rows.Len())
	}
	for i := range s.rows.Len() {
		if row := s.rows.At(i); row < 0 || row >= float64(s.table.Shape[0]) {
			return fmt.Errorf("token %d is mapped to row %v of %d", i, row, s.table.Shape[0])
		}
	}
	return nil
}

func (s *static) String() string { return "static" }

func (s *static) close() error { return nil }

// run adds up rows. A text of which nothing is known has the vector of the
// unknown token, or the first there is: some vector it has to have.
func (s *static) run(ctx context.Context, b *batch) (hidden, error) {
	h := hidden{values: make([]float32, len(b.texts)*s.width), width: s.width}
	for i := range b.texts {
		if err := ctx.Err(); err != nil {
			return hidden{}, err
		}
		sum := h.values[i*s.width:][:s.width]
		counted := 0
		for _, id := range b.ids[i*b.length:][:b.tokens[i]] {
			if id != s.unknown {
				s.add(sum, id)
				counted++
			}
		}
		if counted == 0 {
			s.add(sum, max(s.unknown, 0))
		}
	}
	return h, nil
}

func (s *static) add(sum []float32, id int32) {
	row, weight := int(id), float32(1)
	if s.weights != nil {
		weight = float32(s.weights.At(int(id)))
	}
	if s.rows != nil {
		row = int(s.rows.At(int(id)))
	}
	s.table.AddRow(sum, row, weight)
}
