//go:build cgo

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// loading is held while the library is loaded. The library, and the Go package
// around it, have one environment a process: it is made once and stays.
var loading sync.Mutex

// loadRuntime loads ONNX Runtime, unless that has been done.
func loadRuntime(file string) error {
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("load ONNX Runtime: %w", err)
	}
	loading.Lock()
	defer loading.Unlock()
	if ort.IsInitialized() {
		return nil
	}
	ort.SetSharedLibraryPath(file)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return fmt.Errorf("load ONNX Runtime: %w", err)
	}
	return ort.DisableTelemetry()
}

// cRuntime runs an encoder on ONNX Runtime, each batch on one thread.
type cRuntime struct {
	session *ort.DynamicAdvancedSession
	inputs  []string
	output  string
}

func openRuntime(d *directory, _ string) (backend, error) {
	ins, outs, err := ort.GetInputOutputInfo(d.onnx)
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime %s: %w", ort.GetVersion(), err)
	}
	r := &cRuntime{}
	for _, in := range ins {
		r.inputs = append(r.inputs, in.Name)
		if in.DataType != ort.TensorElementDataTypeInt64 {
			return nil, fmt.Errorf("its input %q is %v, not of whole numbers of 64 bits", in.Name, in.DataType)
		}
	}
	var outputs []output
	for _, out := range outs {
		outputs = append(outputs, output{out.Name, len(out.Dimensions)})
	}
	if r.output, err = choose(r.inputs, outputs); err != nil {
		return nil, err
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = options.Destroy() // the session has taken what it needs
	}()
	// Texts differ in length: what is kept for one shape is of no use to the next.
	if err := errors.Join(options.SetIntraOpNumThreads(1), options.SetInterOpNumThreads(1), options.SetMemPattern(false)); err != nil {
		return nil, err
	}
	r.session, err = ort.NewDynamicAdvancedSession(d.onnx, r.inputs, []string{r.output}, options)
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime %s: %w", ort.GetVersion(), err)
	}
	return r, nil
}

func (r *cRuntime) String() string { return "ONNX Runtime " + ort.GetVersion() }

func (r *cRuntime) close() error { return r.session.Destroy() }

func (r *cRuntime) run(ctx context.Context, b *batch) (h hidden, err error) {
	if err := ctx.Err(); err != nil {
		return hidden{}, err
	}
	inputs := make([]ort.Value, 0, len(r.inputs))
	outputs := []ort.Value{nil}
	defer func() {
		for _, v := range append(inputs, outputs...) {
			if v != nil {
				err = errors.Join(err, v.Destroy())
			}
		}
	}()
	shape := ort.NewShape(int64(len(b.texts)), int64(b.length))
	for _, name := range r.inputs {
		v, err := ort.NewTensor(shape, b.input(name))
		if err != nil {
			return hidden{}, err
		}
		inputs = append(inputs, v)
	}
	if err := r.session.Run(inputs, outputs); err != nil {
		return hidden{}, fmt.Errorf("ONNX Runtime: %w", err)
	}
	out, ok := outputs[0].(*ort.Tensor[float32])
	if !ok {
		return hidden{}, fmt.Errorf("its output %q is not of numbers of 32 bits", r.output)
	}
	dims := make([]int, 0, 3)
	for _, n := range out.GetShape() {
		dims = append(dims, int(n))
	}
	values := append([]float32(nil), out.GetData()...) // the library's memory goes
	return hiddenOf(values, dims, b)
}
