package safetensors

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// file puts a header before bytes.
func file(header string, data ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func TestNumbersOfAllTypesAreRead(t *testing.T) {
	var data []byte
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1.5))
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(-2))
	data = append(data, 0x00, 0x3E, 0x00, 0xC0) // 1.5 and -2 in sixteen bits
	data = append(data, 0xC0, 0x3F, 0x00, 0xC0) // the same as bfloat16
	data = binary.LittleEndian.AppendUint64(data, math.Float64bits(1.5))
	data = binary.LittleEndian.AppendUint64(data, math.Float64bits(-2))
	data = append(data, 7, 0, 0, 0, 0, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF, 1)
	tensors, err := Parse(file(`{"__metadata__":{"format":"pt"},"f32":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
		"f16":{"dtype":"F16","shape":[2,1],"data_offsets":[8,12]},"bf16":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]},
		"f64":{"dtype":"F64","shape":[2],"data_offsets":[16,32]},"i64":{"dtype":"I64","shape":[1],"data_offsets":[32,40]},
		"i32":{"dtype":"I32","shape":[],"data_offsets":[40,44]},"b":{"dtype":"BOOL","shape":[1],"data_offsets":[44,45]}}`, data...))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f32", "f16", "bf16", "f64"} {
		tensor := tensors[name]
		if tensor.Len() != 2 || tensor.At(0) != 1.5 || tensor.At(1) != -2 {
			t.Errorf("%s: %d numbers, %v", name, tensor.Len(), tensor)
		}
		sum := []float32{1, 1}
		tensor.AddRow(sum, 0, 2)
		if sum[0] != 4 || sum[1] != -3 {
			t.Errorf("%s: sum %v", name, sum)
		}
	}
	if tensors["i64"].At(0) != 7 || tensors["i32"].At(0) != -2 || tensors["b"].Readable() || len(tensors) != 7 {
		t.Errorf("%v", tensors)
	}
}

func TestDamageIsNoticed(t *testing.T) {
	for _, data := range [][]byte{
		nil,
		{1, 2, 3},
		binary.LittleEndian.AppendUint64(nil, 1<<60),
		file(`{`),
		file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 1, 2, 3, 4),
		file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 1, 2, 3, 4),
		file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 1, 2, 3, 4),
		file(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`),
		file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 1, 2, 3, 4),
	} {
		if tensors, err := Parse(data); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, %v", data, tensors, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}`, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := Parse(data)
		if err != nil {
			return
		}
		for _, tensor := range tensors { // all that the shape promises is there
			n := 1
			for _, length := range tensor.Shape {
				n *= length
			}
			if tensor.Readable() && n != tensor.Len() {
				t.Fatalf("%v has %d numbers", tensor.Shape, tensor.Len())
			}
			for i := range tensor.Len() {
				tensor.At(i)
			}
		}
	})
}
