package onnx

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrCorrupt is returned for what is no model, or a damaged one.
var ErrCorrupt = errors.New("the ONNX model is damaged")

// message walks the fields of a message of protocol buffers.
type message []byte

// field is one of them: its number, and its value as a number or as bytes.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte
}

func (m message) each(visit func(f field) error) error {
	for len(m) > 0 {
		f := field{}
		var n int
		if f.number, f.kind, n = protowire.ConsumeTag(m); n < 0 {
			return ErrCorrupt
		}
		m = m[n:]
		switch f.kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(m)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(m)
			f.value = uint64(v)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(m)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(m)
		default:
			n = protowire.ConsumeFieldValue(f.number, f.kind, m)
		}
		if n < 0 {
			return ErrCorrupt
		}
		m = m[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// ints appends a field of numbers, which are packed or single.
func (f field) ints(to []int64) ([]int64, error) {
	if f.kind == protowire.VarintType {
		return append(to, int64(f.value)), nil
	}
	for rest := f.bytes; len(rest) > 0; {
		v, n := protowire.ConsumeVarint(rest)
		if n < 0 {
			return nil, ErrCorrupt
		}
		to, rest = append(to, int64(v)), rest[n:]
	}
	return to, nil
}

// floats appends a field of numbers of 32 bits, which are packed or single.
func (f field) floats(to []float32) ([]float32, error) {
	if f.kind == protowire.Fixed32Type {
		return append(to, math.Float32frombits(uint32(f.value))), nil
	}
	for rest := f.bytes; len(rest) > 0; {
		v, n := protowire.ConsumeFixed32(rest)
		if n < 0 {
			return nil, ErrCorrupt
		}
		to, rest = append(to, math.Float32frombits(v)), rest[n:]
	}
	return to, nil
}

// graph is GraphProto.
type graph struct {
	nodes        []*node
	initializers map[string]*Tensor
	inputs       []Value
	outputs      []Value
}

// node is NodeProto.
type node struct {
	op, name, domain string
	inputs, outputs  []string
	attributes       map[string]attribute
	opset            int
}

// attribute is AttributeProto.
type attribute struct {
	number float32
	whole  int64
	text   string
	tensor *Tensor
	wholes []int64
	reals  []float32
	graph  bool
}

// Value is an input or an output of a model. A dimension that may have any
// length is -1.
type Value struct {
	Name  string
	Kind  Kind
	Shape []int
}

// parseModel reads ModelProto.
func parseModel(data []byte) (*graph, error) {
	var g *graph
	opset := 0
	err := message(data).each(func(f field) (err error) {
		switch f.number {
		case 7:
			g, err = parseGraph(f.bytes)
		case 8:
			var domain string
			var version int
			err = message(f.bytes).each(func(f field) error {
				switch f.number {
				case 1:
					domain = string(f.bytes)
				case 2:
					version = int(f.value)
				}
				return nil
			})
			if domain == "" || domain == "ai.onnx" {
				opset = version
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if g == nil || opset == 0 {
		return nil, fmt.Errorf("%w: no graph, or none with operators of ONNX", ErrCorrupt)
	}
	for _, n := range g.nodes {
		n.opset = opset
	}
	return g, nil
}

func parseGraph(data []byte) (*graph, error) {
	g := &graph{initializers: make(map[string]*Tensor)}
	err := message(data).each(func(f field) error {
		switch f.number {
		case 1:
			n, err := parseNode(f.bytes)
			g.nodes = append(g.nodes, n)
			return err
		case 5:
			name, t, err := parseTensor(f.bytes)
			g.initializers[name] = t
			return err
		case 11:
			v, err := parseValue(f.bytes)
			g.inputs = append(g.inputs, v)
			return err
		case 12:
			v, err := parseValue(f.bytes)
			g.outputs = append(g.outputs, v)
			return err
		case 15:
			return fmt.Errorf("sparse weights: %w", ErrUnsupported)
		}
		return nil
	})
	return g, err
}

func parseNode(data []byte) (*node, error) {
	n := &node{attributes: make(map[string]attribute)}
	err := message(data).each(func(f field) error {
		switch f.number {
		case 1:
			n.inputs = append(n.inputs, string(f.bytes))
		case 2:
			n.outputs = append(n.outputs, string(f.bytes))
		case 3:
			n.name = string(f.bytes)
		case 4:
			n.op = string(f.bytes)
		case 5:
			name, a, err := parseAttribute(f.bytes)
			n.attributes[name] = a
			return err
		case 7:
			n.domain = string(f.bytes)
		}
		return nil
	})
	return n, err
}

func parseAttribute(data []byte) (name string, a attribute, err error) {
	err = message(data).each(func(f field) (err error) {
		switch f.number {
		case 1:
			name = string(f.bytes)
		case 2:
			a.number = math.Float32frombits(uint32(f.value))
		case 3:
			a.whole = int64(f.value)
		case 4:
			a.text = string(f.bytes)
		case 5:
			_, a.tensor, err = parseTensor(f.bytes)
		case 6, 11:
			a.graph = true
		case 7:
			a.reals, err = f.floats(a.reals)
		case 8:
			a.wholes, err = f.ints(a.wholes)
		}
		return err
	})
	return name, a, err
}

func parseValue(data []byte) (v Value, err error) {
	err = message(data).each(func(f field) error {
		switch f.number {
		case 1:
			v.Name = string(f.bytes)
		case 2: // TypeProto
			return message(f.bytes).each(func(f field) error {
				if f.number != 1 { // a sequence, a map
					return nil
				}
				return v.parseTensorType(f.bytes)
			})
		}
		return nil
	})
	return v, err
}

func (v *Value) parseTensorType(data []byte) error {
	return message(data).each(func(f field) error {
		switch f.number {
		case 1:
			v.Kind, _ = kindOf(int(f.value))
		case 2:
			return message(f.bytes).each(func(f field) error {
				length := -1
				err := message(f.bytes).each(func(f field) error {
					if f.number == 1 {
						length = int(f.value)
					}
					return nil
				})
				v.Shape = append(v.Shape, length)
				return err
			})
		}
		return nil
	})
}
