package local

import (
	"context"
	"fmt"
	"os"

	"github.com/chronik-stream/chronik/internal/onnx"
	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// goRuntime runs an encoder without any library.
type goRuntime struct {
	model  *onnx.Model
	inputs []string
	output string
}

func openGo(d *directory) (backend, error) {
	data, err := os.ReadFile(d.onnx)
	if err != nil {
		return nil, err
	}
	model, err := onnx.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w (ONNX Runtime, if its library is installed, may take it)", err)
	}
	g := &goRuntime{model: model}
	for _, v := range model.Inputs() {
		g.inputs = append(g.inputs, v.Name)
	}
	var outputs []output
	for _, v := range model.Outputs() {
		outputs = append(outputs, output{v.Name, len(v.Shape)})
	}
	if g.output, err = choose(g.inputs, outputs); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *goRuntime) String() string { return "Go, " + kernel.Set() }

func (g *goRuntime) close() error { return nil }

func (g *goRuntime) run(ctx context.Context, b *batch) (hidden, error) {
	inputs := make(map[string]*onnx.Tensor, len(g.inputs))
	for _, name := range g.inputs {
		inputs[name] = &onnx.Tensor{Kind: onnx.Int, Shape: []int{len(b.texts), b.length}, Ints: b.input(name)}
	}
	out, err := g.model.Run(ctx, inputs, g.output)
	if err != nil {
		return hidden{}, err
	}
	if out.Kind != onnx.Float {
		return hidden{}, fmt.Errorf("its output %q is not of numbers", g.output)
	}
	return hiddenOf(out.Floats, out.Shape, b)
}

// output is one of a model: its name, and how many axes it has.
type output struct {
	name string
	rank int
}

// The inputs of encoders.
const (
	inputIDs   = "input_ids"
	inputMask  = "attention_mask"
	inputTypes = "token_type_ids"
)

// choose looks whether a model takes what there is to give, and names the output
// to read: the text's vector if the model makes it, else the tokens'.
func choose(inputs []string, outputs []output) (string, error) {
	for _, name := range inputs {
		if name != inputIDs && name != inputMask && name != inputTypes {
			return "", fmt.Errorf("it wants an input %q, which encoders of sentences do not have", name)
		}
	}
	for _, name := range []string{"sentence_embedding", "token_embeddings", "last_hidden_state"} {
		for _, o := range outputs {
			if o.name == name {
				return name, nil
			}
		}
	}
	for _, o := range outputs {
		if o.rank == 3 {
			return o.name, nil
		}
	}
	if len(outputs) != 1 {
		return "", fmt.Errorf("none of its outputs is known to be the tokens' vectors: %v", outputs)
	}
	return outputs[0].name, nil
}

// input is a batch as one of a model's inputs.
func (b *batch) input(name string) []int64 {
	values := make([]int64, len(b.ids))
	switch name {
	case inputIDs:
		for i, id := range b.ids {
			values[i] = int64(id)
		}
	case inputMask:
		for row, n := range b.tokens {
			for i := range n {
				values[row*b.length+i] = 1
			}
		}
	}
	return values // token_type_ids are zeros: there is one text
}

// hiddenOf reads an output as vectors of the texts or of their tokens.
func hiddenOf(values []float32, shape []int, b *batch) (hidden, error) {
	switch {
	case len(shape) == 2 && shape[0] == len(b.texts):
		return hidden{values, shape[1], false}, nil
	case len(shape) == 3 && shape[0] == len(b.texts) && shape[1] == b.length:
		return hidden{values, shape[2], true}, nil
	}
	return hidden{}, fmt.Errorf("its output has the shape %v for %d texts of %d tokens", shape, len(b.texts), b.length)
}
