package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// packed is a matrix by columns, each a row for the kernels.
type packed struct {
	depth, columns int
	data           []byte
}

// packColumns packs a matrix that lies by rows.
func packColumns(values []float32, depth, columns int) *packed {
	p := &packed{depth, columns, make([]byte, 4*depth*columns)}
	p.fill(values, columns, 1)
	return p
}

// fill writes the elements, whose distances from row to row and from column to
// column are given.
func (p *packed) fill(values []float32, row, column int) {
	for c := range p.columns {
		out := p.data[4*p.depth*c:][:4*p.depth]
		at := c * column
		for k := 0; k < len(out); k += 4 {
			binary.LittleEndian.PutUint32(out[k:k+4], math.Float32bits(values[at]))
			at += row
		}
	}
}

// rowsAtOnce is how many rows of the left-hand side stay in the nearest cache
// while the columns go by.
const rowsAtOnce = 8

// multiply computes out = a × p for rows that lie one after the other.
func (p *packed) multiply(out, a []float32, rows int) {
	width := 4 * p.depth
	for first := 0; first < rows; first += rowsAtOnce {
		next := min(rows, first+rowsAtOnce)
		for c := range p.columns {
			column := p.data[width*c:][:width]
			for r := first; r < next; r++ {
				out[r*p.columns+c] = kernel.DotF32(a[r*p.depth:][:p.depth], column)
			}
		}
	}
}

// multiplyPacked is a product with weights.
func multiplyPacked(a *Tensor, p *packed) (*Tensor, error) {
	rank := len(a.Shape)
	if a.Kind != Float || rank == 0 || a.Shape[rank-1] != p.depth {
		return nil, fmt.Errorf("a product of %v with [%d %d]", a.Shape, p.depth, p.columns)
	}
	shape := append(append([]int(nil), a.Shape[:rank-1]...), p.columns)
	out, err := newTensor(Float, shape)
	if err != nil || len(out.Floats) == 0 {
		return out, err
	}
	p.multiply(out.Floats, a.Floats, len(out.Floats)/p.columns)
	return out, nil
}

// matMul is numpy's: the last two axes are matrices, those before them repeat.
func matMul(_ *node, in []*Tensor) ([]*Tensor, error) {
	a, b := in[0], in[1]
	if a == nil || b == nil || a.Kind != Float || b.Kind != Float || len(a.Shape) == 0 || len(b.Shape) == 0 {
		return nil, fmt.Errorf("operands that are no matrices of numbers: %w", ErrUnsupported)
	}
	aShape, bShape := a.Shape, b.Shape
	if len(aShape) == 1 {
		aShape = []int{1, aShape[0]}
	}
	if len(bShape) == 1 {
		bShape = []int{bShape[0], 1}
	}
	ra, rb := len(aShape), len(bShape)
	rows, depth, columns := aShape[ra-2], aShape[ra-1], bShape[rb-1]
	if bShape[rb-2] != depth {
		return nil, fmt.Errorf("a product of %v with %v", a.Shape, b.Shape)
	}
	batch, err := broadcast(aShape[:ra-2], bShape[:rb-2])
	if err != nil {
		return nil, err
	}
	out, err := newTensor(Float, append(append([]int(nil), batch...), rows, columns))
	if err != nil {
		return nil, err
	}
	if len(out.Floats) > 0 {
		p := &packed{depth, columns, make([]byte, 4*depth*columns)}
		packedAt := -1
		n := 0
		walk(batch, [][]int{strides(aShape[:ra-2], batch), strides(bShape[:rb-2], batch)}, func(at []int) {
			if at[1] != packedAt {
				packedAt = at[1]
				p.fill(b.Floats[at[1]*depth*columns:], columns, 1)
			}
			p.multiply(out.Floats[n*rows*columns:], a.Floats[at[0]*rows*depth:], rows)
			n++
		})
	}
	shape := append([]int(nil), batch...)
	if len(a.Shape) > 1 {
		shape = append(shape, rows)
	}
	if len(b.Shape) > 1 {
		shape = append(shape, columns)
	}
	out.Shape = shape
	return []*Tensor{out}, nil
}

// gemm is alpha × a × b + beta × c, of either or its transpose.
func gemm(n *node, in []*Tensor) ([]*Tensor, error) {
	a, b, c := in[0], in[1], in[2]
	if a == nil || b == nil || a.Kind != Float || b.Kind != Float || len(a.Shape) != 2 || len(b.Shape) != 2 {
		return nil, fmt.Errorf("operands that are no matrices of numbers: %w", ErrUnsupported)
	}
	if n.whole("transA", 0) != 0 {
		a = transposed(a, []int{1, 0})
	}
	if n.whole("transB", 0) != 0 {
		b = transposed(b, []int{1, 0})
	}
	if a.Shape[1] != b.Shape[0] {
		return nil, fmt.Errorf("a product of %v with %v", a.Shape, b.Shape)
	}
	product, err := multiplyPacked(a, packColumns(b.Floats, b.Shape[0], b.Shape[1]))
	if err != nil {
		return nil, err
	}
	if alpha := n.number("alpha", 1); alpha != 1 {
		for i := range product.Floats {
			product.Floats[i] *= alpha
		}
	}
	if c == nil {
		return []*Tensor{product}, nil
	}
	if beta := n.number("beta", 1); beta != 1 {
		scaled := *c
		scaled.Floats = make([]float32, len(c.Floats))
		for i, v := range c.Floats {
			scaled.Floats[i] = beta * v
		}
		c = &scaled
	}
	return one(floatBinary(product, c, addition))
}

func (n *node) whole(name string, otherwise int64) int64 {
	if a, ok := n.attributes[name]; ok {
		return a.whole
	}
	return otherwise
}

func (n *node) number(name string, otherwise float32) float32 {
	if a, ok := n.attributes[name]; ok {
		return a.number
	}
	return otherwise
}
