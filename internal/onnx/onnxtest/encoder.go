package onnxtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
)

// Encoder is the shape of an encoder of the BERT family.
type Encoder struct {
	Layers, Width, Heads, Inner  int
	Vocabulary, Positions, Types int
	// Opset is 14 for norms and gelus in parts, as older exports have them, 20 for
	// those in whole and a mask of truths.
	Opset int
	Seed  uint64
}

// MiniLM is the shape of all-MiniLM-L6-v2, to measure with.
func MiniLM(vocabulary int) Encoder {
	return Encoder{Layers: 6, Width: 384, Heads: 12, Inner: 1536, Vocabulary: vocabulary, Positions: 512, Types: 2, Opset: 14, Seed: 1}
}

// encoder is one that is being written.
type encoder struct {
	Encoder
	*Graph
	random *rand.Rand
	count  int
}

// Bytes is the model as a file: ids, mask and types of any number of texts in,
// one vector for each token out.
func (e Encoder) Bytes() []byte {
	w := &encoder{e, &Graph{Opset: e.Opset}, rand.New(rand.NewPCG(e.Seed, 2)), 0}
	for _, name := range []string{"input_ids", "attention_mask", "token_type_ids"} {
		w.Input(name, Int64, -1, -1)
	}
	w.Output("last_hidden_state", Float, -1, -1, e.Width)
	w.constants()
	mask := w.mask()
	x := w.embeddings()
	for layer := range e.Layers {
		x = w.norm(w.do("Add", w.attention(x, mask), x))
		inner := w.gelu(w.linear(x, e.Width, e.Inner))
		out := w.do("Add", w.linear(inner, e.Inner, e.Width), x)
		if layer == e.Layers-1 {
			w.Node("last_hidden_state", "Identity", []string{w.norm(out)})
			break
		}
		x = w.norm(out)
	}
	return w.Graph.Bytes()
}

func (w *encoder) name(kind string) string {
	w.count++
	return fmt.Sprintf("%s_%d", kind, w.count)
}

func (w *encoder) do(op string, inputs ...string) string { return w.Node(w.name(op), op, inputs) }

// draw adds weights around a mean.
func (w *encoder) draw(mean, deviation float64, shape ...int) string {
	n := 1
	for _, length := range shape {
		n *= length
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(mean + deviation*w.random.NormFloat64())
	}
	return w.Floats(w.name("weight"), values, shape...)
}

func (w *encoder) constants() {
	for name, v := range map[string]float32{"one": 1, "two": 2, "half": 0.5, "epsilon": 1e-12, "least": -math.MaxFloat32,
		"sqrt2": math.Sqrt2, "scale": float32(math.Sqrt(float64(w.Width / w.Heads)))} {
		w.Floats(name, []float32{v})
	}
	w.Ints("first", []int64{0}, 1)
	w.Ints("second", []int64{1}, 1)
	w.Ints("last", []int64{-1}, 1)
	w.Ints("axes12", []int64{1, 2}, 2)
	positions := make([]int64, w.Positions)
	for i := range positions {
		positions[i] = int64(i)
	}
	w.Ints("positions", positions, 1, w.Positions)
	w.Ints("index0", []int64{0})
	w.Ints("index1", []int64{1})
	w.Ints("heads", []int64{0, 0, int64(w.Heads), int64(w.Width / w.Heads)}, 4)
	w.Ints("width", []int64{int64(w.Width)}, 1)
}

// mask is 0 where a token is, and as little as can be where one fills up a row.
func (w *encoder) mask() string {
	wide := w.do("Unsqueeze", "attention_mask", "axes12")
	if w.Encoder.Opset >= 20 {
		there := w.Node(w.name("cast"), "Cast", []string{wide}, Whole("to", Bool))
		zeros := w.Node(w.name("zeros"), "ConstantOfShape", []string{w.do("Shape", there)}, TensorOfFloats("value", []float32{0}, 1))
		return w.do("Where", there, zeros, "least")
	}
	real := w.Node(w.name("cast"), "Cast", []string{wide}, Whole("to", Float))
	return w.do("Mul", w.do("Sub", "one", real), "least")
}

func (w *encoder) embeddings() string {
	length := w.do("Unsqueeze", w.do("Gather", w.do("Shape", "input_ids"), "index1"), "first")
	places := w.do("Slice", "positions", "first", length, "second", "second")
	words := w.do("Gather", w.draw(0, 0.05, w.Vocabulary, w.Width), "input_ids")
	kinds := w.do("Gather", w.draw(0, 0.05, w.Types, w.Width), "token_type_ids")
	sum := w.do("Add", w.do("Add", words, kinds), w.do("Gather", w.draw(0, 0.05, w.Positions, w.Width), places))
	return w.norm(sum)
}

func (w *encoder) linear(x string, from, to int) string {
	return w.do("Add", w.draw(0, 0.02, to), w.do("MatMul", x, w.draw(0, 0.9/math.Sqrt(float64(from)), from, to)))
}

func (w *encoder) attention(x, mask string) string {
	part := func(order ...int64) string {
		return w.Node(w.name("part"), "Transpose", []string{w.do("Reshape", w.linear(x, w.Width, w.Width), "heads")}, Wholes("perm", order...))
	}
	q, k, v := part(0, 2, 1, 3), part(0, 2, 3, 1), part(0, 2, 1, 3)
	scores := w.do("Add", w.do("Div", w.do("MatMul", q, k), "scale"), mask)
	weights := w.Node(w.name("softmax"), "Softmax", []string{scores}, Whole("axis", -1))
	mixed := w.Node(w.name("mixed"), "Transpose", []string{w.do("MatMul", weights, v)}, Wholes("perm", 0, 2, 1, 3))
	// The shape is put together from that of the operand, as exports do.
	shape := w.do("Shape", mixed)
	rows := w.do("Unsqueeze", w.do("Gather", shape, "index0"), "first")
	columns := w.do("Unsqueeze", w.do("Gather", shape, "index1"), "first")
	joined := w.Node(w.name("shape"), "Concat", []string{rows, columns, "width"}, Whole("axis", 0))
	return w.linear(w.do("Reshape", mixed, joined), w.Width, w.Width)
}

func (w *encoder) norm(x string) string {
	scale, bias := w.draw(1, 0.02, w.Width), w.draw(0, 0.02, w.Width)
	if w.Encoder.Opset >= 17 {
		return w.Node(w.name("norm"), "LayerNormalization", []string{x, scale, bias}, Whole("axis", -1), Number("epsilon", 1e-12))
	}
	mean := func(x string) string {
		return w.Node(w.name("mean"), "ReduceMean", []string{x}, Wholes("axes", -1))
	}
	centered := w.do("Sub", x, mean(x))
	variance := mean(w.do("Pow", centered, "two"))
	normal := w.do("Div", centered, w.do("Sqrt", w.do("Add", variance, "epsilon")))
	return w.do("Add", w.do("Mul", normal, scale), bias)
}

func (w *encoder) gelu(x string) string {
	if w.Encoder.Opset >= 20 {
		return w.do("Gelu", x)
	}
	return w.do("Mul", w.do("Mul", x, w.do("Add", w.do("Erf", w.do("Div", x, "sqrt2")), "one")), "half")
}

// String is the shape, for the names of tests.
func (e Encoder) String() string {
	return strconv.Itoa(e.Layers) + "x" + strconv.Itoa(e.Width) + "-opset" + strconv.Itoa(e.Opset)
}
