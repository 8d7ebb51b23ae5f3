package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// Kind is what the elements of a tensor are.
type Kind uint8

// The kinds. Numbers of other widths are read as one of these.
const (
	Float Kind = iota + 1 // float32
	Int                   // int64
	Bool                  // 0 or 1, in Ints
)

// Tensor is an array of numbers in row-major order. Operators share the elements
// of their operands, so nobody changes them.
type Tensor struct {
	Kind   Kind
	Shape  []int
	Floats []float32 // of Float
	Ints   []int64   // of Int and Bool
}

// elementsMax bounds what a shape can ask for: 2 GiB of float32.
const elementsMax = 1 << 29

// newTensor makes one of zeros.
func newTensor(kind Kind, shape []int) (*Tensor, error) {
	n, err := elements(shape)
	if err != nil {
		return nil, err
	}
	t := &Tensor{Kind: kind, Shape: slices.Clone(shape)}
	if kind == Float {
		t.Floats = make([]float32, n)
	} else {
		t.Ints = make([]int64, n)
	}
	return t, nil
}

// elements counts those of a shape.
func elements(shape []int) (int, error) {
	n := 1
	for _, length := range shape {
		if length < 0 || length > elementsMax {
			return 0, fmt.Errorf("a shape of %v", shape)
		}
		if n *= length; n > elementsMax {
			return 0, fmt.Errorf("a shape of %v is too large", shape)
		}
	}
	return n, nil
}

func (t *Tensor) len() int {
	if t.Kind == Float {
		return len(t.Floats)
	}
	return len(t.Ints)
}

// as gives the same elements in another shape.
func (t *Tensor) as(shape []int) *Tensor {
	return &Tensor{Kind: t.Kind, Shape: shape, Floats: t.Floats, Ints: t.Ints}
}

// axis counts an axis from the front; there are extra more than t has.
func (t *Tensor) axis(a int64, extra int) (int, error) {
	rank := int64(len(t.Shape) + extra)
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		return 0, fmt.Errorf("axis %d of a shape of %v", a, t.Shape)
	}
	return int(a), nil
}

// split counts the elements before, along and after an axis.
func (t *Tensor) split(axis int) (outer, length, inner int) {
	outer, inner = 1, 1
	for i, n := range t.Shape {
		switch {
		case i < axis:
			outer *= n
		case i == axis:
			length = n
		default:
			inner *= n
		}
	}
	return outer, length, inner
}

func ints(values []int64) *Tensor {
	return &Tensor{Kind: Int, Shape: []int{len(values)}, Ints: values}
}

// The types of elements that ONNX numbers.
const (
	typeFloat    = 1
	typeUint8    = 2
	typeInt8     = 3
	typeUint16   = 4
	typeInt16    = 5
	typeInt32    = 6
	typeInt64    = 7
	typeBool     = 9
	typeFloat16  = 10
	typeDouble   = 11
	typeUint32   = 12
	typeUint64   = 13
	typeBfloat16 = 16
)

func kindOf(element int) (Kind, bool) {
	switch element {
	case typeFloat, typeFloat16, typeDouble, typeBfloat16:
		return Float, true
	case typeUint8, typeInt8, typeUint16, typeInt16, typeInt32, typeInt64, typeUint32, typeUint64:
		return Int, true
	case typeBool:
		return Bool, true
	}
	return 0, false
}

// parseTensor reads TensorProto.
func parseTensor(data []byte) (name string, t *Tensor, err error) {
	var dims, wholes, longs []int64
	var reals []float32
	var doubles, raw []byte
	element, hasRaw := 0, false
	err = message(data).each(func(f field) (err error) {
		switch f.number {
		case 1:
			dims, err = f.ints(dims)
		case 2:
			element = int(f.value)
		case 4:
			reals, err = f.floats(reals)
		case 5:
			wholes, err = f.ints(wholes)
		case 7:
			longs, err = f.ints(longs)
		case 8:
			name = string(f.bytes)
		case 9:
			raw, hasRaw = f.bytes, true
		case 10:
			doubles = f.bytes
		case 13:
			return fmt.Errorf("weights in a file of their own: %w", ErrUnsupported)
		}
		return err
	})
	if err != nil {
		return name, nil, err
	}
	kind, ok := kindOf(element)
	if !ok {
		return name, nil, fmt.Errorf("weights %q of ONNX type %d: %w", name, element, ErrUnsupported)
	}
	shape := make([]int, len(dims))
	for i, d := range dims {
		shape[i] = int(d)
	}
	n, err := elements(shape)
	if err != nil {
		return name, nil, fmt.Errorf("%w: weights %q: %v", ErrCorrupt, name, err)
	}
	t = &Tensor{Kind: kind, Shape: shape}
	switch {
	case hasRaw:
		err = t.fill(raw, element, n)
	case kind == Float && len(doubles) > 0:
		err = t.fill(doubles, typeDouble, n)
	case element == typeFloat:
		t.Floats = reals
	case kind == Float: // halves, as bits
		for _, bits := range wholes {
			t.Floats = append(t.Floats, half(uint16(bits), element))
		}
	case len(longs) > 0:
		t.Ints = longs
	default:
		t.Ints = wholes
		for i, v := range t.Ints { // as int32, whose sign is in ten bytes
			t.Ints[i] = int64(int32(v))
		}
	}
	if err == nil && t.len() != n {
		err = fmt.Errorf("%d elements for a shape of %v", t.len(), shape)
	}
	if err != nil {
		return name, nil, fmt.Errorf("%w: weights %q: %v", ErrCorrupt, name, err)
	}
	return name, t, nil
}

// fill reads n elements as they lie in memory, little-endian.
func (t *Tensor) fill(raw []byte, element, n int) error {
	width := map[int]int{typeUint8: 1, typeInt8: 1, typeBool: 1, typeUint16: 2, typeInt16: 2, typeFloat16: 2, typeBfloat16: 2,
		typeInt32: 4, typeUint32: 4, typeFloat: 4, typeInt64: 8, typeUint64: 8, typeDouble: 8}[element]
	if len(raw) != n*width {
		return fmt.Errorf("%d bytes for %d elements of %d", len(raw), n, width)
	}
	if t.Kind == Float {
		t.Floats = make([]float32, n)
		for i := range t.Floats {
			switch element {
			case typeFloat:
				t.Floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			case typeDouble:
				t.Floats[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
			default:
				t.Floats[i] = half(binary.LittleEndian.Uint16(raw[2*i:]), element)
			}
		}
		return nil
	}
	t.Ints = make([]int64, n)
	for i := range t.Ints {
		switch element {
		case typeInt8:
			t.Ints[i] = int64(int8(raw[i]))
		case typeUint8, typeBool:
			t.Ints[i] = int64(raw[i])
		case typeInt16:
			t.Ints[i] = int64(int16(binary.LittleEndian.Uint16(raw[2*i:])))
		case typeUint16:
			t.Ints[i] = int64(binary.LittleEndian.Uint16(raw[2*i:]))
		case typeInt32:
			t.Ints[i] = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		case typeUint32:
			t.Ints[i] = int64(binary.LittleEndian.Uint32(raw[4*i:]))
		default:
			t.Ints[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
	}
	return nil
}

// half reads a number of 16 bits, of either kind.
func half(bits uint16, element int) float32 {
	if element == typeBfloat16 {
		return math.Float32frombits(uint32(bits) << 16)
	}
	return kernel.F32(bits)
}
