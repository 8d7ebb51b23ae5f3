// Package safetensors reads tables of numbers that lie in files of Hugging Face's
// format safetensors: a header in JSON, then the numbers as they lie in memory,
// which are read in place.
package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// ErrCorrupt is returned for what is no such file, or a damaged one.
var ErrCorrupt = errors.New("the safetensors file is damaged")

// headerMax bounds the header as the format does.
const headerMax = 100 << 20

// Tensor is one table. Its numbers stay in the file's bytes.
type Tensor struct {
	Type  string // F32, F16, BF16, F64, I64, …
	Shape []int
	data  []byte
	width int
}

// widths are the bytes of a number, of the types that are read.
var widths = map[string]int{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}

// Parse reads the header. The tensors share data, which must not change.
func Parse(data []byte) (map[string]Tensor, error) {
	if len(data) < 8 {
		return nil, ErrCorrupt
	}
	size := binary.LittleEndian.Uint64(data)
	data = data[8:]
	if size > headerMax || size > uint64(len(data)) {
		return nil, fmt.Errorf("%w: a header of %d bytes", ErrCorrupt, size)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[:size], &header); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	data = data[size:]
	tensors := make(map[string]Tensor, len(header))
	for name, text := range header {
		if name == "__metadata__" {
			continue
		}
		t, err := parse(text, data)
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %v", ErrCorrupt, name, err)
		}
		tensors[name] = t
	}
	return tensors, nil
}

func parse(text json.RawMessage, data []byte) (Tensor, error) {
	var entry struct {
		Type    string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(text, &entry); err != nil {
		return Tensor{}, err
	}
	first, next := entry.Offsets[0], entry.Offsets[1]
	if first < 0 || next < first || next > int64(len(data)) {
		return Tensor{}, fmt.Errorf("bytes %d to %d of %d", first, next, len(data))
	}
	t := Tensor{entry.Type, entry.Shape, data[first:next], widths[entry.Type]}
	if t.width == 0 {
		return t, nil // of a type that nobody here reads
	}
	n := int64(t.width)
	for _, length := range t.Shape {
		if length < 0 || length > 0 && n > int64(len(data))/int64(length) {
			return Tensor{}, fmt.Errorf("a shape of %v in %d bytes", t.Shape, next-first)
		}
		n *= int64(length)
	}
	if n != next-first {
		return Tensor{}, fmt.Errorf("a shape of %v in %d bytes", t.Shape, next-first)
	}
	return t, nil
}

// Readable reports whether numbers of its type are read here.
func (t Tensor) Readable() bool { return t.width > 0 }

// Len is the number of numbers.
func (t Tensor) Len() int {
	if t.width == 0 {
		return 0
	}
	return len(t.data) / t.width
}

// At gives a number. An index beyond the last panics, as of a slice.
func (t Tensor) At(i int) float64 {
	b := t.data[i*t.width:][:t.width]
	switch t.Type {
	case "F64":
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case "F32":
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case "F16":
		return float64(kernel.F32(binary.LittleEndian.Uint16(b)))
	case "BF16":
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
	case "I64":
		return float64(int64(binary.LittleEndian.Uint64(b)))
	}
	return float64(int32(binary.LittleEndian.Uint32(b)))
}

// AddRow adds weight × row i of a table of len(sum) columns to sum.
func (t Tensor) AddRow(sum []float32, i int, weight float32) {
	row := t.data[i*len(sum)*t.width:][:len(sum)*t.width]
	switch t.Type {
	case "F32":
		for j := range sum {
			sum[j] += weight * math.Float32frombits(binary.LittleEndian.Uint32(row[4*j:4*j+4]))
		}
	case "F16":
		for j := range sum {
			sum[j] += weight * kernel.F32(binary.LittleEndian.Uint16(row[2*j:2*j+2]))
		}
	default:
		for j := range sum {
			sum[j] += weight * float32(t.At(i*len(sum)+j))
		}
	}
}
