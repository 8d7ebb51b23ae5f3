package onnx

import (
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var conformance = flag.String("onnx.conformance", "", "the folder node of ONNX's own conformance tests: onnx/backend/test/data/node")

// TestOperatorsConform runs the tests that the ONNX project keeps for each
// operator, as far as all operators of one are known here. They are megabytes and
// not ours, so it is run by hand:
//
//	pip install onnx==1.23.2
//	go test ./internal/onnx -run Conform -onnx.conformance=$SITE_PACKAGES/onnx/backend/test/data/node -v
func TestOperatorsConform(t *testing.T) {
	if *conformance == "" {
		t.Skip("the ONNX project's tests are run by hand: -onnx.conformance")
	}
	dirs, err := filepath.Glob(filepath.Join(*conformance, "test_*"))
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, dir := range dirs {
		data, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(data)
		if err != nil {
			continue // of other operators
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			if strings.Contains(dir, "to_FLOAT16") || strings.Contains(dir, "to_BFLOAT16") || strings.Contains(dir, "fp16") {
				t.Skip("a run has single precision throughout, also where less would do")
			}
			inputs := make(map[string]*Tensor)
			for i, v := range m.Inputs() {
				if inputs[v.Name] = readTensor(t, dir, "input", i); inputs[v.Name] == nil {
					t.Skip("its inputs are no tensors")
				}
			}
			for i, v := range m.Outputs() {
				want := readTensor(t, dir, "output", i)
				got, err := m.Run(t.Context(), inputs, v.Name)
				if errors.Is(err, ErrUnsupported) {
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					t.Skip("its outputs are no tensors")
				}
				equal(t, got, want)
			}
			passed++
		})
	}
	t.Logf("%d of %d passed", passed, len(dirs))
	if passed < 100 {
		t.Errorf("only %d: is this the folder?", passed)
	}
}

func readTensor(t *testing.T, dir, kind string, i int) *Tensor {
	data, err := os.ReadFile(filepath.Join(dir, "test_data_set_0", kind+"_"+string(rune('0'+i))+".pb"))
	if err != nil {
		t.Fatal(err)
	}
	_, tensor, err := parseTensor(data)
	if err != nil {
		return nil
	}
	return tensor
}

// equal holds a result against what it has to be.
func equal(t *testing.T, got, want *Tensor) {
	t.Helper()
	if got.Kind != want.Kind || !slices.Equal(got.Shape, want.Shape) || got.len() != want.len() {
		t.Fatalf("kind %d, shape %v; want %d, %v", got.Kind, got.Shape, want.Kind, want.Shape)
	}
	for i, v := range want.Floats {
		g := got.Floats[i]
		if g == v || g != g && v != v {
			continue
		}
		if d := math.Abs(float64(g - v)); !(d <= 1e-5+1e-4*math.Abs(float64(v))) {
			t.Fatalf("element %d is %v, want %v", i, g, v)
		}
	}
	if !slices.Equal(got.Ints, want.Ints) {
		t.Fatalf("%v, want %v", got.Ints, want.Ints)
	}
}
