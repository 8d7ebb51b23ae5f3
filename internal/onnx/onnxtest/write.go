// Package onnxtest writes ONNX models for tests: any graph, and encoders of
// sentences as they are exported from PyTorch, with weights that are drawn and
// mean nothing. They prove the path, not the meaning.
package onnxtest

import (
	"encoding/binary"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Graph is a model that is being written.
type Graph struct {
	Opset   int
	nodes   [][]byte
	weights [][]byte
	inputs  [][]byte
	outputs [][]byte
}

// The types of elements.
const (
	Float = 1
	Int64 = 7
	Bool  = 9
)

func bytesField(to []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, number, protowire.BytesType), value)
}

func intField(to []byte, number protowire.Number, value int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, number, protowire.VarintType), uint64(value))
}

// Input names an input; -1 is any length.
func (g *Graph) Input(name string, element int, shape ...int) {
	g.inputs = append(g.inputs, value(name, element, shape))
}

// Output names an output.
func (g *Graph) Output(name string, element int, shape ...int) {
	g.outputs = append(g.outputs, value(name, element, shape))
}

func value(name string, element int, shape []int) []byte {
	var dims []byte
	for axis, length := range shape {
		var dim []byte
		if length >= 0 {
			dim = intField(nil, 1, int64(length))
		} else {
			dim = bytesField(nil, 2, []byte("any"+strconv.Itoa(axis)))
		}
		dims = bytesField(dims, 1, dim)
	}
	tensor := bytesField(intField(nil, 1, int64(element)), 2, dims)
	return bytesField(bytesField(nil, 1, []byte(name)), 2, bytesField(nil, 1, tensor))
}

// Floats adds weights, and gives their name.
func (g *Graph) Floats(name string, values []float32, shape ...int) string {
	g.weights = append(g.weights, floats(name, values, shape))
	return name
}

// Ints adds whole numbers, and gives their name.
func (g *Graph) Ints(name string, values []int64, shape ...int) string {
	g.weights = append(g.weights, wholes(name, values, shape))
	return name
}

func tensor(name string, element int, shape []int) []byte {
	var t []byte
	for _, length := range shape {
		t = intField(t, 1, int64(length))
	}
	return bytesField(intField(t, 2, int64(element)), 8, []byte(name))
}

func floats(name string, values []float32, shape []int) []byte {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return bytesField(tensor(name, Float, shape), 9, raw)
}

func wholes(name string, values []int64, shape []int) []byte {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return bytesField(tensor(name, Int64, shape), 9, raw)
}

// Attribute is a setting of a node.
type Attribute []byte

// Whole is an attribute with a whole number.
func Whole(name string, v int64) Attribute {
	return intField(intField(bytesField(nil, 1, []byte(name)), 3, v), 20, 2)
}

// Number is an attribute with a number.
func Number(name string, v float32) Attribute {
	a := protowire.AppendTag(bytesField(nil, 1, []byte(name)), 2, protowire.Fixed32Type)
	return intField(protowire.AppendFixed32(a, math.Float32bits(v)), 20, 1)
}

// Text is an attribute with a text.
func Text(name, v string) Attribute {
	return intField(bytesField(bytesField(nil, 1, []byte(name)), 4, []byte(v)), 20, 3)
}

// Wholes is an attribute with whole numbers.
func Wholes(name string, vs ...int64) Attribute {
	a := bytesField(nil, 1, []byte(name))
	for _, v := range vs {
		a = intField(a, 8, v)
	}
	return intField(a, 20, 7)
}

// TensorOfFloats is an attribute with an array.
func TensorOfFloats(name string, values []float32, shape ...int) Attribute {
	return intField(bytesField(bytesField(nil, 1, []byte(name)), 5, floats("", values, shape)), 20, 4)
}

// TensorOfInts is an attribute with an array of whole numbers.
func TensorOfInts(name string, values []int64, shape ...int) Attribute {
	return intField(bytesField(bytesField(nil, 1, []byte(name)), 5, wholes("", values, shape)), 20, 4)
}

// Node adds an operator with one output, which has the node's name, and gives
// that name.
func (g *Graph) Node(name, op string, inputs []string, attributes ...Attribute) string {
	var n []byte
	for _, input := range inputs {
		n = bytesField(n, 1, []byte(input))
	}
	n = bytesField(n, 2, []byte(name))
	n = bytesField(n, 3, []byte("node_"+name))
	n = bytesField(n, 4, []byte(op))
	for _, a := range attributes {
		n = bytesField(n, 5, a)
	}
	g.nodes = append(g.nodes, n)
	return name
}

// Bytes is the model as a file.
func (g *Graph) Bytes() []byte {
	var graph []byte
	for number, parts := range map[protowire.Number][][]byte{1: g.nodes, 5: g.weights, 11: g.inputs, 12: g.outputs} {
		for _, part := range parts {
			graph = bytesField(graph, number, part)
		}
	}
	graph = bytesField(graph, 2, []byte("graph"))
	model := intField(nil, 1, 8) // the version of the format
	model = bytesField(model, 7, graph)
	return bytesField(model, 8, intField(bytesField(nil, 1, nil), 2, int64(g.Opset)))
}
