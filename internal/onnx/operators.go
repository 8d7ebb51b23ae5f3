package onnx

import (
	"fmt"
	"math"
)

// operators are those that are known, by name.
var operators = map[string]operator{
	"Add": arithmeticOf(addition, func(a, b int64) int64 { return a + b }),
	"Sub": arithmeticOf(subtraction, func(a, b int64) int64 { return a - b }),
	"Mul": arithmeticOf(multiplication, func(a, b int64) int64 { return a * b }),
	"Div": arithmeticOf(division, divide),
	"Pow": pow,
	"Max": fold(by(func(a, b float32) float32 { return max(a, b) }), func(a, b int64) int64 { return max(a, b) }),
	"Min": fold(by(func(a, b float32) float32 { return min(a, b) }), func(a, b int64) int64 { return min(a, b) }),
	"Sum": fold(addition, func(a, b int64) int64 { return a + b }),

	"Equal":          comparison(func(a, b float32) bool { return a == b }, func(a, b int64) bool { return a == b }),
	"Less":           comparison(func(a, b float32) bool { return a < b }, func(a, b int64) bool { return a < b }),
	"LessOrEqual":    comparison(func(a, b float32) bool { return a <= b }, func(a, b int64) bool { return a <= b }),
	"Greater":        comparison(func(a, b float32) bool { return a > b }, func(a, b int64) bool { return a > b }),
	"GreaterOrEqual": comparison(func(a, b float32) bool { return a >= b }, func(a, b int64) bool { return a >= b }),
	"And":            logic(func(a, b int64) int64 { return a & b }),
	"Or":             logic(func(a, b int64) int64 { return a | b }),
	"Xor":            logic(func(a, b int64) int64 { return a ^ b }),
	"Not":            not,
	"Where":          where,
	"IsNaN":          isNaN,

	"Neg":        unary(func(v float32) float32 { return -v }, func(v int64) int64 { return -v }),
	"Abs":        unary(func(v float32) float32 { return float32(math.Abs(float64(v))) }, func(v int64) int64 { return max(v, -v) }),
	"Sign":       unary(sign, func(v int64) int64 { return int64(sign(float32(v))) }),
	"Sqrt":       unary(of(math.Sqrt), nil),
	"Exp":        unary(of(math.Exp), nil),
	"Log":        unary(of(math.Log), nil),
	"Sin":        unary(of(math.Sin), nil),
	"Cos":        unary(of(math.Cos), nil),
	"Floor":      unary(of(math.Floor), nil),
	"Ceil":       unary(of(math.Ceil), nil),
	"Round":      unary(of(math.RoundToEven), nil),
	"Tanh":       unary(of(math.Tanh), nil),
	"Reciprocal": unary(func(v float32) float32 { return 1 / v }, nil),
	"Sigmoid":    unary(func(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }, nil),
	"Relu":       unary(func(v float32) float32 { return max(v, 0) }, func(v int64) int64 { return max(v, 0) }),
	"Softplus":   unary(func(v float32) float32 { return float32(math.Log1p(math.Exp(float64(v)))) }, nil),
	"Erf":        unary(erf, nil),
	"Gelu":       gelu,
	"Clip":       clip,
	"Cast":       cast,
	"Identity":   identity,
	"Dropout":    dropout,

	"MatMul": matMul,
	"Gemm":   gemm,

	"Shape":              shapeOf,
	"Size":               sizeOf,
	"Reshape":            reshape,
	"Flatten":            flatten,
	"Transpose":          transpose,
	"Unsqueeze":          unsqueeze,
	"Squeeze":            squeeze,
	"Expand":             expand,
	"Tile":               tile,
	"Concat":             concat,
	"Split":              splitInto,
	"Slice":              slice,
	"Gather":             gather,
	"GatherElements":     gatherElements,
	"Constant":           constant,
	"ConstantOfShape":    constantOfShape,
	"Range":              rangeOf,
	"CumSum":             cumSum,
	"Trilu":              trilu,
	"ReduceMean":         reduction(0, sum, func(v float32, n int) float32 { return v / float32(n) }),
	"ReduceSum":          reduction(0, sum, nil),
	"ReduceMax":          reduction(float32(math.Inf(-1)), func(a, b float32) float32 { return max(a, b) }, nil),
	"ReduceMin":          reduction(float32(math.Inf(1)), func(a, b float32) float32 { return min(a, b) }, nil),
	"ReduceProd":         reduction(1, func(a, b float32) float32 { return a * b }, nil),
	"ReduceSumSquare":    reduction(0, func(a, b float32) float32 { return a + b*b }, nil),
	"ReduceL1":           reduction(0, func(a, b float32) float32 { return a + float32(math.Abs(float64(b))) }, nil),
	"ReduceL2":           reduction(0, func(a, b float32) float32 { return a + b*b }, func(v float32, _ int) float32 { return float32(math.Sqrt(float64(v))) }),
	"Softmax":            softmax,
	"LayerNormalization": layerNormalization,
}

func sum(a, b float32) float32 { return a + b }

func of(f func(float64) float64) func(float32) float32 {
	return func(v float32) float32 { return float32(f(float64(v))) }
}

func sign(v float32) float32 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return v
}

func divide(a, b int64) int64 {
	if b == 0 {
		return 0 // what processors do instead differs; Go's would end the process
	}
	return a / b
}

// pair refuses operands that are not two of one kind.
func pair(in []*Tensor) (a, b *Tensor, err error) {
	a, b = in[0], in[1]
	if a == nil || b == nil || (a.Kind == Float) != (b.Kind == Float) {
		return nil, nil, fmt.Errorf("operands of two kinds: %w", ErrUnsupported)
	}
	return a, b, nil
}

func arithmeticOf(f arithmetic, whole func(a, b int64) int64) operator {
	return func(_ *node, in []*Tensor) ([]*Tensor, error) {
		a, b, err := pair(in)
		if err != nil {
			return nil, err
		}
		if a.Kind == Float {
			return one(floatBinary(a, b, f))
		}
		return one(intBinary(a, b, Int, whole))
	}
}

// fold takes any number of operands.
func fold(f arithmetic, whole func(a, b int64) int64) operator {
	two := arithmeticOf(f, whole)
	return func(n *node, in []*Tensor) ([]*Tensor, error) {
		result := in[0]
		for _, next := range in[1:len(n.inputs)] {
			out, err := two(n, []*Tensor{result, next})
			if err != nil {
				return nil, err
			}
			result = out[0]
		}
		return one(result, nil)
	}
}

// pow takes an exponent of another kind, too; squares are common.
func pow(_ *node, in []*Tensor) ([]*Tensor, error) {
	base, exponent := in[0], in[1]
	if base.Kind != Float {
		return one(intBinary(base, asInts(exponent), Int, func(a, b int64) int64 { return int64(math.Pow(float64(a), float64(b))) }))
	}
	exponent = asFloats(exponent)
	if len(exponent.Floats) == 1 && exponent.Floats[0] == 2 && len(exponent.Shape) <= len(base.Shape) {
		return one(floatBinary(base, base, multiplication))
	}
	return one(floatBinary(base, exponent, by(func(a, b float32) float32 { return float32(math.Pow(float64(a), float64(b))) })))
}

func asFloats(t *Tensor) *Tensor {
	if t.Kind == Float {
		return t
	}
	out := &Tensor{Kind: Float, Shape: t.Shape, Floats: make([]float32, len(t.Ints))}
	for i, v := range t.Ints {
		out.Floats[i] = float32(v)
	}
	return out
}

func asInts(t *Tensor) *Tensor {
	if t.Kind != Float {
		return &Tensor{Kind: Int, Shape: t.Shape, Ints: t.Ints}
	}
	out := &Tensor{Kind: Int, Shape: t.Shape, Ints: make([]int64, len(t.Floats))}
	for i, v := range t.Floats {
		out.Ints[i] = int64(v)
	}
	return out
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func comparison(real func(a, b float32) bool, whole func(a, b int64) bool) operator {
	return func(_ *node, in []*Tensor) ([]*Tensor, error) {
		a, b, err := pair(in)
		if err != nil {
			return nil, err
		}
		if a.Kind != Float {
			return one(intBinary(a, b, Bool, func(a, b int64) int64 { return bit(whole(a, b)) }))
		}
		out, err := floatBinary(a, b, by(func(a, b float32) float32 { return float32(bit(real(a, b))) }))
		if err != nil {
			return nil, err
		}
		out = asInts(out)
		out.Kind = Bool
		return []*Tensor{out}, nil
	}
}

func logic(f func(a, b int64) int64) operator {
	return func(_ *node, in []*Tensor) ([]*Tensor, error) {
		return one(intBinary(in[0], in[1], Bool, f))
	}
}

func not(_ *node, in []*Tensor) ([]*Tensor, error) {
	out := &Tensor{Kind: Bool, Shape: in[0].Shape, Ints: make([]int64, len(in[0].Ints))}
	for i, v := range in[0].Ints {
		out.Ints[i] = bit(v == 0)
	}
	return []*Tensor{out}, nil
}

func isNaN(_ *node, in []*Tensor) ([]*Tensor, error) {
	out := &Tensor{Kind: Bool, Shape: in[0].Shape, Ints: make([]int64, len(in[0].Floats))}
	for i, v := range in[0].Floats {
		out.Ints[i] = bit(v != v)
	}
	return []*Tensor{out}, nil
}

func where(_ *node, in []*Tensor) ([]*Tensor, error) {
	condition := in[0]
	a, b, err := pair(in[1:])
	if err != nil {
		return nil, err
	}
	shape, err := broadcast(a.Shape, b.Shape)
	if err != nil {
		return nil, err
	}
	if shape, err = broadcast(shape, condition.Shape); err != nil {
		return nil, err
	}
	out, err := newTensor(a.Kind, shape)
	if err != nil {
		return nil, err
	}
	n := 0
	walk(shape, [][]int{strides(condition.Shape, shape), strides(a.Shape, shape), strides(b.Shape, shape)}, func(at []int) {
		from, place := b, at[2]
		if condition.Ints[at[0]] != 0 {
			from, place = a, at[1]
		}
		if a.Kind == Float {
			out.Floats[n] = from.Floats[place]
		} else {
			out.Ints[n] = from.Ints[place]
		}
		n++
	})
	return []*Tensor{out}, nil
}

func unary(real func(v float32) float32, whole func(v int64) int64) operator {
	return func(_ *node, in []*Tensor) ([]*Tensor, error) {
		t := in[0]
		if t.Kind != Float && whole == nil {
			return nil, fmt.Errorf("of whole numbers: %w", ErrUnsupported)
		}
		out, err := newTensor(t.Kind, t.Shape)
		if err != nil {
			return nil, err
		}
		for i, v := range t.Floats {
			out.Floats[i] = real(v)
		}
		for i, v := range t.Ints {
			out.Ints[i] = whole(v)
		}
		return []*Tensor{out}, nil
	}
}

func identity(_ *node, in []*Tensor) ([]*Tensor, error) {
	return one(in[0], nil)
}

// dropout has no effect but in training.
func dropout(_ *node, in []*Tensor) ([]*Tensor, error) {
	if in[2] != nil && in[2].Ints[0] != 0 {
		return nil, fmt.Errorf("in training: %w", ErrUnsupported)
	}
	return one(in[0], nil)
}

func clip(n *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	if t.Kind != Float {
		return nil, fmt.Errorf("of whole numbers: %w", ErrUnsupported)
	}
	low, high := n.number("min", -math.MaxFloat32), n.number("max", math.MaxFloat32)
	if in[1] != nil {
		low = in[1].Floats[0]
	}
	if in[2] != nil {
		high = in[2].Floats[0]
	}
	return unary(func(v float32) float32 { return min(max(v, low), high) }, nil)(n, in)
}

func cast(n *node, in []*Tensor) ([]*Tensor, error) {
	kind, ok := kindOf(int(n.whole("to", 0)))
	if !ok {
		return nil, fmt.Errorf("to ONNX type %d: %w", n.whole("to", 0), ErrUnsupported)
	}
	switch kind {
	case Float:
		return one(asFloats(in[0]), nil)
	case Int:
		return one(asInts(in[0]), nil)
	}
	out := &Tensor{Kind: Bool, Shape: in[0].Shape}
	for _, v := range in[0].Floats {
		out.Ints = append(out.Ints, bit(v != 0))
	}
	for _, v := range in[0].Ints {
		out.Ints = append(out.Ints, bit(v != 0))
	}
	return []*Tensor{out}, nil
}
