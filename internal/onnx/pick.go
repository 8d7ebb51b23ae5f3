package onnx

import (
	"fmt"
	"math"
	"slices"
)

func slice(n *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	starts, ends, axes := n.attributes["starts"].wholes, n.attributes["ends"].wholes, n.attributes["axes"].wholes
	var steps []int64
	if in[1] != nil && in[2] != nil { // since opset 10
		starts, ends = in[1].Ints, in[2].Ints
		if in[3] != nil {
			axes = in[3].Ints
		}
		if in[4] != nil {
			steps = in[4].Ints
		}
	}
	shape := slices.Clone(t.Shape)
	own := strides(t.Shape, t.Shape)
	begin := 0
	for i := range starts {
		a := int64(i)
		if len(axes) > 0 {
			a = axes[i]
		}
		axis, err := t.axis(a, 0)
		if err != nil {
			return nil, err
		}
		step := int64(1)
		if len(steps) > 0 {
			step = steps[i]
		}
		first, count, err := steppedRange(starts[i], ends[i], step, int64(t.Shape[axis]))
		if err != nil {
			return nil, err
		}
		begin += int(first) * own[axis]
		own[axis] *= int(step)
		shape[axis] = int(count)
	}
	return one(picked(t, shape, func(yield func(int)) {
		walk(shape, [][]int{own}, func(at []int) { yield(begin + at[0]) })
	}))
}

// steppedRange counts the elements from start to end, which count from the back
// where they are negative and may lie beyond either end.
func steppedRange(start, end, step, length int64) (first, count int64, err error) {
	if step == 0 {
		return 0, 0, fmt.Errorf("a step of 0")
	}
	if start < 0 {
		start += length
	}
	if end < 0 {
		end = max(end+length, -1)
	}
	if step > 0 {
		start, end = min(max(start, 0), length), min(max(end, 0), length)
		return start, max(0, (end-start+step-1)/step), nil
	}
	start, end = min(max(start, 0), length-1), min(max(end, -1), length-1)
	return start, max(0, (start-end-step-1)/-step), nil
}

func gather(n *node, in []*Tensor) ([]*Tensor, error) {
	t, indices := in[0], in[1]
	axis, err := t.axis(n.whole("axis", 0), 0)
	if err != nil {
		return nil, err
	}
	outer, length, inner := t.split(axis)
	shape := slices.Concat(t.Shape[:axis], indices.Shape, t.Shape[axis+1:])
	out, err := newTensor(t.Kind, shape)
	if err != nil {
		return nil, err
	}
	to := 0
	for o := range outer {
		for _, index := range indices.Ints {
			if index < 0 {
				index += int64(length)
			}
			if index < 0 || index >= int64(length) {
				return nil, fmt.Errorf("element %d of %d", index, length)
			}
			from := (o*length + int(index)) * inner
			if t.Kind == Float {
				copy(out.Floats[to:], t.Floats[from:][:inner])
			} else {
				copy(out.Ints[to:], t.Ints[from:][:inner])
			}
			to += inner
		}
	}
	return []*Tensor{out}, nil
}

func gatherElements(n *node, in []*Tensor) ([]*Tensor, error) {
	t, indices := in[0], in[1]
	axis, err := t.axis(n.whole("axis", 0), 0)
	if err != nil {
		return nil, err
	}
	own := strides(t.Shape, t.Shape)
	along := own[axis]
	own[axis] = 0
	place := 0
	return one(picked(t, indices.Shape, func(yield func(int)) {
		walk(indices.Shape, [][]int{own}, func(at []int) {
			index := indices.Ints[place]
			if index < 0 {
				index += int64(t.Shape[axis])
			}
			yield(at[0] + int(index)*along)
			place++
		})
	}))
}

func constant(n *node, _ []*Tensor) ([]*Tensor, error) {
	for name, a := range n.attributes {
		switch name {
		case "value":
			return one(a.tensor, nil)
		case "value_float":
			return []*Tensor{{Kind: Float, Shape: []int{}, Floats: []float32{a.number}}}, nil
		case "value_floats":
			return []*Tensor{{Kind: Float, Shape: []int{len(a.reals)}, Floats: a.reals}}, nil
		case "value_int":
			return []*Tensor{{Kind: Int, Shape: []int{}, Ints: []int64{a.whole}}}, nil
		case "value_ints":
			return []*Tensor{ints(a.wholes)}, nil
		}
	}
	return nil, fmt.Errorf("a constant of a kind that is not known: %w", ErrUnsupported)
}

func constantOfShape(n *node, in []*Tensor) ([]*Tensor, error) {
	value := n.attributes["value"].tensor
	if value == nil {
		value = &Tensor{Kind: Float, Shape: []int{1}, Floats: []float32{0}}
	}
	out, err := newTensor(value.Kind, wholeShape(in[0]))
	if err != nil {
		return nil, err
	}
	for i := range out.Floats {
		out.Floats[i] = value.Floats[0]
	}
	for i := range out.Ints {
		out.Ints[i] = value.Ints[0]
	}
	return []*Tensor{out}, nil
}

func rangeOf(_ *node, in []*Tensor) ([]*Tensor, error) {
	if in[0].Kind == Float {
		start, limit, delta := in[0].Floats[0], in[1].Floats[0], in[2].Floats[0]
		count := math.Ceil(float64(limit-start) / float64(delta))
		if !(count <= elementsMax) {
			return nil, fmt.Errorf("a range of %v", count)
		}
		out := &Tensor{Kind: Float, Shape: []int{max(0, int(count))}}
		for i := range out.Shape[0] {
			out.Floats = append(out.Floats, start+float32(i)*delta)
		}
		return []*Tensor{out}, nil
	}
	start, limit, delta := in[0].Ints[0], in[1].Ints[0], in[2].Ints[0]
	if delta == 0 || (limit-start)/delta > elementsMax {
		return nil, fmt.Errorf("a range from %d to %d by %d", start, limit, delta)
	}
	values := []int64{}
	for v := start; delta > 0 && v < limit || delta < 0 && v > limit; v += delta {
		values = append(values, v)
	}
	return []*Tensor{ints(values)}, nil
}

func cumSum(n *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	axis, err := t.axis(in[1].Ints[0], 0)
	if err != nil {
		return nil, err
	}
	if n.whole("exclusive", 0) != 0 || n.whole("reverse", 0) != 0 {
		return nil, fmt.Errorf("exclusive or from the end: %w", ErrUnsupported)
	}
	_, length, inner := t.split(axis)
	out := &Tensor{Kind: t.Kind, Shape: t.Shape, Floats: slices.Clone(t.Floats), Ints: slices.Clone(t.Ints)}
	for i := range t.len() {
		if i/inner%length == 0 {
			continue
		}
		if t.Kind == Float {
			out.Floats[i] += out.Floats[i-inner]
		} else {
			out.Ints[i] += out.Ints[i-inner]
		}
	}
	return []*Tensor{out}, nil
}

func trilu(n *node, in []*Tensor) ([]*Tensor, error) {
	t := in[0]
	rank := len(t.Shape)
	rows, columns := t.Shape[rank-2], t.Shape[rank-1]
	shift := 0
	if in[1] != nil {
		shift = int(in[1].Ints[0])
	}
	upper := n.whole("upper", 1) != 0
	out := &Tensor{Kind: t.Kind, Shape: t.Shape, Floats: slices.Clone(t.Floats), Ints: slices.Clone(t.Ints)}
	for i := range t.len() {
		row, column := i/columns%rows, i%columns
		if upper && column >= row+shift || !upper && column <= row+shift {
			continue
		}
		if t.Kind == Float {
			out.Floats[i] = 0
		} else {
			out.Ints[i] = 0
		}
	}
	return []*Tensor{out}, nil
}
