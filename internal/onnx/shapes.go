package onnx

import (
	"fmt"
	"slices"
)

func shapeOf(n *node, in []*Tensor) ([]*Tensor, error) {
	shape := in[0].Shape
	rank := int64(len(shape))
	bound := func(v int64) int64 {
		if v < 0 {
			v += rank
		}
		return min(max(v, 0), rank)
	}
	first, next := bound(n.whole("start", 0)), bound(n.whole("end", rank))
	values := []int64{}
	for _, length := range shape[first:max(first, next)] {
		values = append(values, int64(length))
	}
	return []*Tensor{ints(values)}, nil
}

func sizeOf(_ *node, in []*Tensor) ([]*Tensor, error) {
	return []*Tensor{{Kind: Int, Shape: []int{}, Ints: []int64{int64(in[0].len())}}}, nil
}

func reshape(n *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	shape := make([]int, len(in[1].Ints))
	guess, known := -1, 1
	for i, v := range in[1].Ints {
		switch {
		case v == 0 && n.whole("allowzero", 0) == 0:
			if i >= len(t.Shape) {
				return nil, fmt.Errorf("%v has no axis %d", t.Shape, i)
			}
			shape[i] = t.Shape[i]
		case v == -1 && guess < 0:
			guess = i
			continue
		default:
			shape[i] = int(v)
		}
		known *= shape[i]
	}
	if guess >= 0 && known > 0 {
		shape[guess] = t.len() / known
	}
	if count, err := elements(shape); err != nil || count != t.len() {
		return nil, fmt.Errorf("%v as %v", t.Shape, in[1].Ints)
	}
	return []*Tensor{t.as(shape)}, nil
}

func flatten(n *node, in []*Tensor) ([]*Tensor, error) {
	axis := int(n.whole("axis", 1))
	if axis < 0 {
		axis += len(in[0].Shape)
	}
	rows := 1
	for _, length := range in[0].Shape[:axis] {
		rows *= length
	}
	return []*Tensor{in[0].as([]int{rows, in[0].len() / max(rows, 1)})}, nil
}

func transpose(n *node, in []*Tensor) ([]*Tensor, error) {
	rank := len(in[0].Shape)
	order := make([]int, rank)
	for i := range order {
		order[i] = rank - 1 - i
	}
	if wanted := n.attributes["perm"].wholes; len(wanted) == rank {
		for i, v := range wanted {
			order[i] = int(v)
		}
	}
	return []*Tensor{transposed(in[0], order)}, nil
}

func transposed(t *Tensor, order []int) *Tensor {
	rank := len(order)
	own := strides(t.Shape, t.Shape)
	out := &Tensor{Kind: t.Kind, Shape: make([]int, rank)}
	from := make([]int, rank)
	for i, axis := range order {
		out.Shape[i], from[i] = t.Shape[axis], own[axis]
	}
	if t.Kind != Float {
		walk(out.Shape, [][]int{from}, func(at []int) { out.Ints = append(out.Ints, t.Ints[at[0]]) })
		return out
	}
	out.Floats = make([]float32, 0, len(t.Floats))
	if rank == 0 {
		return t
	}
	width, step := out.Shape[rank-1], from[rank-1]
	walk(out.Shape[:rank-1], [][]int{from[:rank-1]}, func(at []int) {
		if step == 1 {
			out.Floats = append(out.Floats, t.Floats[at[0]:][:width]...)
			return
		}
		for i := range width {
			out.Floats = append(out.Floats, t.Floats[at[0]+i*step])
		}
	})
	return out
}

// axesOf are the axes of an attribute, or, since opset 13, of an operand.
func (n *node) axesOf(operand *Tensor) []int64 {
	if operand != nil {
		return operand.Ints
	}
	return n.attributes["axes"].wholes
}

func unsqueeze(n *node, in []*Tensor) ([]*Tensor, error) {
	t, axes := in[0], n.axesOf(in[1])
	shape := make([]int, len(t.Shape)+len(axes))
	for _, a := range axes {
		axis, err := t.axis(a, len(axes))
		if err != nil {
			return nil, err
		}
		shape[axis] = 1
	}
	next := 0
	for i := range shape {
		if shape[i] == 1 {
			continue
		}
		shape[i] = t.Shape[next]
		next++
	}
	return []*Tensor{t.as(shape)}, nil
}

func squeeze(n *node, in []*Tensor) ([]*Tensor, error) {
	t, axes := in[0], n.axesOf(in[1])
	gone := make([]bool, len(t.Shape))
	for _, a := range axes {
		axis, err := t.axis(a, 0)
		if err != nil {
			return nil, err
		}
		gone[axis] = true
	}
	shape := []int{}
	for i, length := range t.Shape {
		switch {
		case gone[i] && length != 1:
			return nil, fmt.Errorf("axis %d of %v is not one long", i, t.Shape)
		case gone[i], len(axes) == 0 && length == 1:
		default:
			shape = append(shape, length)
		}
	}
	return []*Tensor{t.as(shape)}, nil
}

// picked makes a tensor of elements of another one, in the order in which their
// places come.
func picked(t *Tensor, shape []int, places func(yield func(at int))) (*Tensor, error) {
	out, err := newTensor(t.Kind, shape)
	if err != nil {
		return nil, err
	}
	n := 0
	places(func(at int) {
		if t.Kind == Float {
			out.Floats[n] = t.Floats[at]
		} else {
			out.Ints[n] = t.Ints[at]
		}
		n++
	})
	return out, nil
}

func wholeShape(t *Tensor) []int {
	shape := make([]int, len(t.Ints))
	for i, v := range t.Ints {
		shape[i] = int(v)
	}
	return shape
}

func expand(_ *node, in []*Tensor) ([]*Tensor, error) {
	shape, err := broadcast(in[0].Shape, wholeShape(in[1]))
	if err != nil {
		return nil, err
	}
	return one(picked(in[0], shape, func(yield func(int)) {
		walk(shape, [][]int{strides(in[0].Shape, shape)}, func(at []int) { yield(at[0]) })
	}))
}

func tile(_ *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	shape := make([]int, len(t.Shape))
	for i, n := range in[1].Ints {
		shape[i] = t.Shape[i] * int(n)
	}
	own := strides(t.Shape, t.Shape)
	count, err := elements(shape)
	if err != nil {
		return nil, err
	}
	return one(picked(t, shape, func(yield func(int)) {
		for n := range count {
			at := 0
			for axis := len(shape) - 1; axis >= 0; axis-- {
				at += n % shape[axis] % t.Shape[axis] * own[axis]
				n /= shape[axis]
			}
			yield(at)
		}
	}))
}

func concat(n *node, in []*Tensor) ([]*Tensor, error) {
	parts := in[:len(n.inputs)]
	axis, err := parts[0].axis(n.whole("axis", 0), 0)
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(parts[0].Shape)
	shape[axis] = 0
	for _, part := range parts {
		if part.Kind != parts[0].Kind || len(part.Shape) != len(shape) {
			return nil, fmt.Errorf("%v and %v", parts[0].Shape, part.Shape)
		}
		shape[axis] += part.Shape[axis]
	}
	out := &Tensor{Kind: parts[0].Kind, Shape: shape}
	outer, _, _ := out.split(axis)
	for i := range outer {
		for _, part := range parts {
			_, length, inner := part.split(axis)
			n := length * inner
			if part.Kind == Float {
				out.Floats = append(out.Floats, part.Floats[i*n:][:n]...)
			} else {
				out.Ints = append(out.Ints, part.Ints[i*n:][:n]...)
			}
		}
	}
	return []*Tensor{out}, nil
}

func splitInto(n *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	axis, err := t.axis(n.whole("axis", 0), 0)
	if err != nil {
		return nil, err
	}
	outer, length, inner := t.split(axis)
	lengths := n.attributes["split"].wholes
	if in[1] != nil {
		lengths = in[1].Ints
	}
	if len(lengths) == 0 {
		parts := len(n.outputs)
		size := (length + parts - 1) / parts
		for i := range parts {
			lengths = append(lengths, int64(min(size, length-i*size)))
		}
	}
	var results []*Tensor
	first := 0
	for _, l := range lengths {
		shape := slices.Clone(t.Shape)
		shape[axis] = int(l)
		part, err := picked(t, shape, func(yield func(int)) {
			for o := range outer {
				for i := range int(l) * inner {
					yield((o*length+first)*inner + i)
				}
			}
		})
		if err != nil {
			return nil, err
		}
		results = append(results, part)
		first += int(l)
	}
	return results, nil
}
