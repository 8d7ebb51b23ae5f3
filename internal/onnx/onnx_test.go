package onnx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/onnx/onnxtest"
)

func TestFunctionsHaveSinglePrecision(t *testing.T) {
	for x := float64(-12); x < 12; x += 0.001 {
		single := float32(x)
		if got, want := float64(erf(single)), math.Erf(float64(single)); math.Abs(got-want) > 1e-6 {
			t.Fatalf("erf(%v) is %v, want %v", single, got, want)
		}
		for _, v := range []float32{single, 7 * single} {
			if got, want := float64(exp(v)), math.Exp(float64(v)); math.Abs(got-want) > 1e-6*want {
				t.Fatalf("exp(%v) is %v, want %v", v, got, want)
			}
		}
	}
	for _, x := range []float32{-math.MaxFloat32, float32(math.Inf(-1)), -1000} {
		if exp(x) != 0 {
			t.Errorf("exp(%v) is %v", x, exp(x))
		}
	}
}

// run writes a graph of one node, reads it and computes it.
func run(t *testing.T, opset int, op string, inputs []*Tensor, attributes ...onnxtest.Attribute) (*Tensor, error) {
	t.Helper()
	g := &onnxtest.Graph{Opset: opset}
	given := make(map[string]*Tensor)
	var names []string
	for i, in := range inputs {
		if in == nil {
			names = append(names, "")
			continue
		}
		name := fmt.Sprint("in", i)
		g.Input(name, map[Kind]int{Float: onnxtest.Float, Int: onnxtest.Int64, Bool: onnxtest.Bool}[in.Kind])
		names, given[name] = append(names, name), in
	}
	g.Node("out", op, names, attributes...)
	g.Output("out", onnxtest.Float)
	m, err := Parse(g.Bytes())
	if err != nil {
		return nil, err
	}
	return m.Run(t.Context(), given, "out")
}

func numbers(shape []int, values ...float32) *Tensor {
	return &Tensor{Kind: Float, Shape: shape, Floats: values}
}

func wholes(shape []int, values ...int64) *Tensor {
	return &Tensor{Kind: Int, Shape: shape, Ints: values}
}

// TestOperatorsCompute has one case for each way of an operator that the
// encoders of the tests do not go; the whole of the operators is held against the
// ONNX project's tests by TestOperatorsConform.
func TestOperatorsCompute(t *testing.T) {
	six := numbers([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	for _, test := range []struct {
		opset      int
		op         string
		in         []*Tensor
		attributes []onnxtest.Attribute
		want       *Tensor
	}{
		{14, "Add", []*Tensor{six, numbers([]int{2, 1}, 10, 20)}, nil, numbers([]int{2, 3}, 11, 12, 13, 24, 25, 26)},
		{14, "Sub", []*Tensor{numbers([]int{2, 1}, 10, 20), six}, nil, numbers([]int{2, 3}, 9, 8, 7, 16, 15, 14)},
		{14, "Div", []*Tensor{six, numbers([]int{3}, 1, 2, 3)}, nil, numbers([]int{2, 3}, 1, 1, 1, 4, 2.5, 2)},
		{14, "Div", []*Tensor{wholes([]int{2}, 7, -7), wholes(nil, 2)}, nil, wholes([]int{2}, 3, -3)},
		{14, "Mul", []*Tensor{numbers([]int{2, 1}, 1, 2), numbers([]int{1, 2}, 3, 4)}, nil, numbers([]int{2, 2}, 3, 4, 6, 8)},
		{14, "MatMul", []*Tensor{six, numbers([]int{3}, 1, 0, -1)}, nil, numbers([]int{2}, -2, -2)},
		{14, "MatMul", []*Tensor{numbers([]int{2, 1, 2}, 1, 2, 3, 4), numbers([]int{2, 1}, 1, 1)}, nil, numbers([]int{2, 1, 1}, 3, 7)},
		{14, "Gemm", []*Tensor{six, six, numbers([]int{2}, 1, 2)}, []onnxtest.Attribute{onnxtest.Whole("transB", 1), onnxtest.Number("alpha", 2)}, numbers([]int{2, 2}, 29, 66, 65, 156)},
		{14, "Slice", []*Tensor{six, wholes([]int{1}, -1), wholes([]int{1}, math.MinInt64), wholes([]int{1}, 1), wholes([]int{1}, -2)}, nil, numbers([]int{2, 2}, 3, 1, 6, 4)},
		{9, "Slice", []*Tensor{six}, []onnxtest.Attribute{onnxtest.Wholes("starts", 1), onnxtest.Wholes("ends", math.MaxInt64), onnxtest.Wholes("axes", 0)}, numbers([]int{1, 3}, 4, 5, 6)},
		{14, "Gather", []*Tensor{six, wholes([]int{2}, -1, 0)}, []onnxtest.Attribute{onnxtest.Whole("axis", 1)}, numbers([]int{2, 2}, 3, 1, 6, 4)},
		{14, "Concat", []*Tensor{six, numbers([]int{2, 1}, 7, 8)}, []onnxtest.Attribute{onnxtest.Whole("axis", -1)}, numbers([]int{2, 4}, 1, 2, 3, 7, 4, 5, 6, 8)},
		{14, "Transpose", []*Tensor{six}, nil, numbers([]int{3, 2}, 1, 4, 2, 5, 3, 6)},
		{14, "Expand", []*Tensor{numbers([]int{2, 1}, 1, 2), wholes([]int{3}, 2, 1, 2)}, nil, numbers([]int{2, 2, 2}, 1, 1, 2, 2, 1, 1, 2, 2)},
		{14, "Squeeze", []*Tensor{numbers([]int{1, 2, 1}, 1, 2), wholes([]int{1}, -1)}, nil, numbers([]int{1, 2}, 1, 2)},
		{11, "Unsqueeze", []*Tensor{numbers([]int{2}, 1, 2)}, []onnxtest.Attribute{onnxtest.Wholes("axes", 0, 2)}, numbers([]int{1, 2, 1}, 1, 2)},
		{18, "ReduceSum", []*Tensor{six, wholes([]int{1}, 0)}, []onnxtest.Attribute{onnxtest.Whole("keepdims", 0)}, numbers([]int{3}, 5, 7, 9)},
		{14, "CumSum", []*Tensor{wholes([]int{2, 3}, 1, 1, 1, 1, 1, 0), wholes(nil, 1)}, nil, wholes([]int{2, 3}, 1, 2, 3, 1, 2, 2)},
		{14, "Range", []*Tensor{wholes(nil, 2), wholes(nil, 8), wholes(nil, 3)}, nil, wholes([]int{2}, 2, 5)},
		{14, "Where", []*Tensor{{Kind: Bool, Shape: []int{2, 1}, Ints: []int64{1, 0}}, six, numbers(nil, 0)}, nil, numbers([]int{2, 3}, 1, 2, 3, 0, 0, 0)},
		{14, "Softmax", []*Tensor{numbers([]int{1, 2}, 0, float32(math.Log(3)))}, nil, numbers([]int{1, 2}, 0.25, 0.75)},
		{14, "Trilu", []*Tensor{six}, nil, numbers([]int{2, 3}, 1, 2, 3, 0, 5, 6)},
		{14, "Clip", []*Tensor{six, nil, numbers(nil, 4)}, nil, numbers([]int{2, 3}, 1, 2, 3, 4, 4, 4)},
		{14, "Equal", []*Tensor{wholes([]int{2}, 1, 2), wholes(nil, 2)}, nil, &Tensor{Kind: Bool, Shape: []int{2}, Ints: []int64{0, 1}}},
		{14, "Tile", []*Tensor{numbers([]int{1, 2}, 1, 2), wholes([]int{2}, 2, 2)}, nil, numbers([]int{2, 4}, 1, 2, 1, 2, 1, 2, 1, 2)},
	} {
		t.Run(test.op, func(t *testing.T) {
			got, err := run(t, test.opset, test.op, test.in, test.attributes...)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, test.want)
		})
	}
}

func TestWhatIsNotKnownIsNamedAndWhatIsWrongIsRefused(t *testing.T) {
	six := numbers([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	if _, err := run(t, 14, "DynamicQuantizeLinear", []*Tensor{six}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "DynamicQuantizeLinear") {
		t.Errorf("an operator that is not known: %v", err)
	}
	for _, test := range []struct {
		op string
		in []*Tensor
	}{
		{"MatMul", []*Tensor{six, six}},
		{"Add", []*Tensor{six, numbers([]int{2}, 1, 2)}},
		{"Gather", []*Tensor{six, wholes([]int{1}, 2)}},
		{"Reshape", []*Tensor{six, wholes([]int{1}, 5)}},
		{"Expand", []*Tensor{numbers(nil, 1), wholes([]int{3}, 1<<20, 1<<20, 1<<20)}},
		{"Transpose", []*Tensor{nil}},
		{"Where", []*Tensor{six}},
	} {
		if got, err := run(t, 14, test.op, test.in); err == nil {
			t.Errorf("%s of what does not go together is %v", test.op, got)
		}
	}
}

func TestRunsEndWithTheirContext(t *testing.T) {
	m, err := Parse(onnxtest.Encoder{Layers: 1, Width: 8, Heads: 2, Inner: 8, Vocabulary: 8, Positions: 8, Types: 1, Opset: 14}.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextCanceled()
	defer cancel()
	ids := wholes([]int{1, 2}, 1, 2)
	zeros := wholes([]int{1, 2}, 0, 0)
	_, err = m.Run(ctx, map[string]*Tensor{"input_ids": ids, "attention_mask": ids, "token_type_ids": zeros}, "last_hidden_state")
	if !errors.Is(err, ctx.Err()) {
		t.Errorf("err = %v", err)
	}
	if _, err := m.Run(t.Context(), map[string]*Tensor{"input_ids": ids}, "last_hidden_state"); err == nil || !strings.Contains(err.Error(), "attention_mask") {
		t.Errorf("without a mask: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, opset := range []int{14, 20} {
		f.Add(onnxtest.Encoder{Layers: 1, Width: 4, Heads: 2, Inner: 4, Vocabulary: 4, Positions: 4, Types: 1, Opset: opset}.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		inputs := make(map[string]*Tensor)
		for _, v := range m.Inputs() {
			inputs[v.Name] = wholes([]int{1, 2}, 1, 2)
		}
		for _, v := range m.Outputs() {
			_, err := m.Run(t.Context(), inputs, v.Name) // must return
			if err == nil {
				continue
			}
		}
	})
}

func contextCanceled() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}
