package onnx

import (
	"fmt"
	"slices"
)

// broadcast gives the shape that two shapes stretch to.
func broadcast(a, b []int) ([]int, error) {
	out := make([]int, max(len(a), len(b)))
	for i := range out {
		x, y := 1, 1
		if at := i - len(out) + len(a); at >= 0 {
			x = a[at]
		}
		if at := i - len(out) + len(b); at >= 0 {
			y = b[at]
		}
		switch {
		case x == y, y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil, fmt.Errorf("shapes %v and %v do not go together", a, b)
		}
	}
	return out, nil
}

// strides gives how far apart neighbours along each axis of to lie in a tensor
// of a shape that is stretched to it: 0 where it repeats.
func strides(shape, to []int) []int {
	out := make([]int, len(to))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		at := i + len(to) - len(shape)
		if shape[i] != 1 || to[at] == 1 {
			out[at] = step
		}
		step *= shape[i]
	}
	return out
}

// walk visits all places of a shape in order, and says where each lies by
// several sets of strides.
func walk(shape []int, strides [][]int, visit func(at []int)) {
	if slices.Contains(shape, 0) {
		return
	}
	place := make([]int, len(shape))
	at := make([]int, len(strides))
	for {
		visit(at)
		axis := len(shape) - 1
		for ; axis >= 0; axis-- {
			place[axis]++
			for i, s := range strides {
				at[i] += s[axis]
			}
			if place[axis] < shape[axis] {
				break
			}
			for i, s := range strides {
				at[i] -= s[axis] * shape[axis]
			}
			place[axis] = 0
		}
		if axis < 0 {
			return
		}
	}
}

// arithmetic computes rows: of two operands, or of one and a number that repeats.
type arithmetic struct {
	each  func(out, a, b []float32)
	right func(out, a []float32, b float32)
	left  func(out []float32, a float32, b []float32)
}

var addition = arithmetic{
	func(out, a, b []float32) {
		for i, v := range a {
			out[i] = v + b[i]
		}
	},
	func(out, a []float32, b float32) {
		for i, v := range a {
			out[i] = v + b
		}
	},
	func(out []float32, a float32, b []float32) {
		for i, v := range b {
			out[i] = a + v
		}
	},
}

var subtraction = arithmetic{
	func(out, a, b []float32) {
		for i, v := range a {
			out[i] = v - b[i]
		}
	},
	func(out, a []float32, b float32) {
		for i, v := range a {
			out[i] = v - b
		}
	},
	func(out []float32, a float32, b []float32) {
		for i, v := range b {
			out[i] = a - v
		}
	},
}

var multiplication = arithmetic{
	func(out, a, b []float32) {
		for i, v := range a {
			out[i] = v * b[i]
		}
	},
	func(out, a []float32, b float32) {
		for i, v := range a {
			out[i] = v * b
		}
	},
	func(out []float32, a float32, b []float32) {
		for i, v := range b {
			out[i] = a * v
		}
	},
}

var division = arithmetic{
	func(out, a, b []float32) {
		for i, v := range a {
			out[i] = v / b[i]
		}
	},
	func(out, a []float32, b float32) {
		for i, v := range a {
			out[i] = v / b
		}
	},
	func(out []float32, a float32, b []float32) {
		for i, v := range b {
			out[i] = a / v
		}
	},
}

// by makes rows of what is defined for two numbers.
func by(f func(a, b float32) float32) arithmetic {
	return arithmetic{
		func(out, a, b []float32) {
			for i, v := range a {
				out[i] = f(v, b[i])
			}
		},
		func(out, a []float32, b float32) {
			for i, v := range a {
				out[i] = f(v, b)
			}
		},
		func(out []float32, a float32, b []float32) {
			for i, v := range b {
				out[i] = f(a, v)
			}
		},
	}
}

// floatBinary stretches two operands and computes row by row.
func floatBinary(a, b *Tensor, f arithmetic) (*Tensor, error) {
	shape, err := broadcast(a.Shape, b.Shape)
	if err != nil {
		return nil, err
	}
	out, err := newTensor(Float, shape)
	if err != nil || len(out.Floats) == 0 {
		return out, err
	}
	as, bs := strides(a.Shape, shape), strides(b.Shape, shape)
	rank := len(shape)
	if rank == 0 {
		f.each(out.Floats, a.Floats, b.Floats)
		return out, nil
	}
	// As many of the last axes as both have in full are one row.
	width, axis := shape[rank-1], rank-1
	for axis > 0 && as[axis] != 0 && bs[axis] != 0 && as[axis-1] == width*as[rank-1] && bs[axis-1] == width*bs[rank-1] {
		axis--
		width *= shape[axis]
	}
	row := 0
	walk(shape[:axis], [][]int{as[:axis], bs[:axis]}, func(at []int) {
		o := out.Floats[row*width:][:width]
		x, y := a.Floats[at[0]:], b.Floats[at[1]:]
		switch {
		case as[rank-1] == 0:
			f.left(o, x[0], y[:width])
		case bs[rank-1] == 0:
			f.right(o, x[:width], y[0])
		default:
			f.each(o, x[:width], y[:width])
		}
		row++
	})
	return out, nil
}

// intBinary is the same for whole numbers, of which there are few.
func intBinary(a, b *Tensor, kind Kind, f func(a, b int64) int64) (*Tensor, error) {
	shape, err := broadcast(a.Shape, b.Shape)
	if err != nil {
		return nil, err
	}
	out, err := newTensor(kind, shape)
	if err != nil {
		return nil, err
	}
	n := 0
	walk(shape, [][]int{strides(a.Shape, shape), strides(b.Shape, shape)}, func(at []int) {
		out.Ints[n] = f(a.Ints[at[0]], b.Ints[at[1]])
		n++
	})
	return out, nil
}
