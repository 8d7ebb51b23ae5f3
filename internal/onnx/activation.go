package onnx

import (
	"fmt"
	"math"
)

// erf is the error function to single precision, as a quotient of polynomials:
// the gelu between the two products of each layer needs it for every number, and
// math.Erf takes several times as long.
func erf(x float32) float32 {
	x = min(max(x, -4), 4) // 1 beyond, to single precision
	s := x * x
	p := float32(-2.72614225801306e-10)
	p = p*s + 2.77068142495902e-08
	p = p*s - 2.10102402082508e-06
	p = p*s - 5.69250639462346e-05
	p = p*s - 7.34990630326855e-04
	p = p*s - 2.95459980854025e-03
	p = p*s - 1.60960333262415e-02
	q := float32(-1.45660718464996e-05)
	q = q*s - 2.13374055278905e-04
	q = q*s - 1.68282697438203e-03
	q = q*s - 7.37332916720468e-03
	q = q*s - 1.42647390514189e-02
	return x * p / q
}

// gelu is the one of two kinds: exact, or by tanh.
func gelu(n *node, in []*Tensor) ([]*Tensor, error) {
	if a := n.attributes["approximate"].text; a == "tanh" {
		return unary(func(v float32) float32 {
			inner := math.Sqrt(2/math.Pi) * (float64(v) + 0.044715*float64(v)*float64(v)*float64(v))
			return v / 2 * (1 + float32(math.Tanh(inner)))
		}, nil)(n, in)
	}
	return unary(func(v float32) float32 { return v / 2 * (1 + erf(v/math.Sqrt2)) }, nil)(n, in)
}

// Beyond these, e to the power of a number is not a number of single precision.
const expLeast, expMost = -87, 88

// exp is e to the power of x to single precision: a power of two, and a
// polynomial for what is left of the exponent.
func exp(x float32) float32 {
	if x < expLeast {
		return 0
	}
	x = min(x, expMost)
	n := float32(math.RoundToEven(float64(x * math.Log2E)))
	r := x - n*0.693359375 - n*-2.12194440e-4 // ln 2 in two parts, so that nothing is lost
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	p = p*r*r + r + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

func softmax(n *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	otherwise := int64(-1)
	if n.opset < 13 {
		otherwise = 1
	}
	axis, err := t.axis(n.whole("axis", otherwise), 0)
	if err != nil {
		return nil, err
	}
	outer, length, inner := t.split(axis)
	if n.opset < 13 { // all axes from this one on are one
		length, inner = length*inner, 1
	}
	if inner != 1 || t.Kind != Float {
		return nil, fmt.Errorf("along an axis that is not the last: %w", ErrUnsupported)
	}
	out, err := newTensor(Float, t.Shape)
	if err != nil {
		return nil, err
	}
	for i := range outer {
		softmaxRow(out.Floats[i*length:][:length], t.Floats[i*length:][:length])
	}
	return []*Tensor{out}, nil
}

func softmaxRow(out, row []float32) {
	most := float32(math.Inf(-1))
	for _, v := range row {
		most = max(most, v)
	}
	total := float32(0)
	for i, v := range row {
		e := exp(v - most)
		out[i] = e
		total += e
	}
	scale := 1 / total
	for i := range out {
		out[i] *= scale
	}
}

func layerNormalization(n *node, in []*Tensor) ([]*Tensor, error) {
	t, scale, bias := in[0], in[1], in[2]
	axis, err := t.axis(n.whole("axis", -1), 0)
	if err != nil {
		return nil, err
	}
	outer, length, inner := t.split(axis)
	length *= inner
	if t.Kind != Float || len(scale.Floats) != length || bias != nil && len(bias.Floats) != length {
		return nil, fmt.Errorf("a scale of %v for %v: %w", scale.Shape, t.Shape, ErrUnsupported)
	}
	out, err := newTensor(Float, t.Shape)
	if err != nil {
		return nil, err
	}
	epsilon := float64(n.number("epsilon", 1e-5))
	for i := range outer {
		row, to := t.Floats[i*length:][:length], out.Floats[i*length:][:length]
		mean := float64(0)
		for _, v := range row {
			mean += float64(v)
		}
		mean /= float64(length)
		variance := float64(0)
		for _, v := range row {
			d := float64(v) - mean
			variance += d * d
		}
		factor := float32(1 / math.Sqrt(variance/float64(length)+epsilon))
		for j, v := range row {
			to[j] = (v - float32(mean)) * factor * scale.Floats[j]
		}
		if bias != nil {
			for j, b := range bias.Floats {
				to[j] += b
			}
		}
	}
	return []*Tensor{out}, nil
}

// reduction combines the elements along some axes.
func reduction(start float32, combine func(a, b float32) float32, finish func(v float32, n int) float32) operator {
	return func(n *node, in []*Tensor) ([]*Tensor, error) {
		t := in[0]
		if t.Kind == Bool {
			return nil, fmt.Errorf("of truths: %w", ErrUnsupported)
		}
		whole := t.Kind == Int
		t = asFloats(t)
		reduced, none, err := n.reducedAxes(t, in[1])
		if err != nil {
			return nil, err
		}
		if none {
			return one(in[0], nil)
		}
		var kept, squeezed []int
		count := 1
		for i, length := range t.Shape {
			if reduced[i] {
				count *= length
				kept = append(kept, 1)
				continue
			}
			kept = append(kept, length)
			squeezed = append(squeezed, length)
		}
		out, err := newTensor(Float, kept)
		if err != nil {
			return nil, err
		}
		for i := range out.Floats {
			out.Floats[i] = start
		}
		if last := len(t.Shape) - 1; last >= 0 && reduced[last] && count == t.Shape[last] { // the last alone, as norms do
			for i := range out.Floats {
				v := start
				for _, x := range t.Floats[i*count:][:count] {
					v = combine(v, x)
				}
				out.Floats[i] = v
			}
		} else {
			at := 0
			walk(t.Shape, [][]int{strides(kept, t.Shape)}, func(place []int) {
				out.Floats[place[0]] = combine(out.Floats[place[0]], t.Floats[at])
				at++
			})
		}
		if finish != nil {
			for i, v := range out.Floats {
				out.Floats[i] = finish(v, count)
			}
		}
		if n.whole("keepdims", 1) == 0 {
			out.Shape = squeezed
		}
		if whole {
			out = asInts(out)
		}
		return []*Tensor{out}, nil
	}
}

// reducedAxes are those that a reduction names, else all; none says that it is to
// leave its operand as it is.
func (n *node) reducedAxes(t, operand *Tensor) (reduced []bool, none bool, err error) {
	axes := n.attributes["axes"].wholes
	if operand != nil {
		axes = operand.Ints
	}
	reduced = make([]bool, len(t.Shape))
	if len(axes) == 0 {
		for i := range reduced {
			reduced[i] = true
		}
		return reduced, n.whole("noop_with_empty_axes", 0) != 0, nil
	}
	for _, a := range axes {
		axis, err := t.axis(a, 0)
		if err != nil {
			return nil, false, err
		}
		reduced[axis] = true
	}
	return reduced, false, nil
}
