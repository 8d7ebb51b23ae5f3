//go:build !cgo

package local

import "errors"

// errNoCgo is returned where this program cannot call libraries in C.
var errNoCgo = errors.New("this program was built without cgo, and cannot use ONNX Runtime: name go as the runtime")

func loadRuntime(string) error { return errNoCgo }

func openRuntime(*directory, string) (backend, error) { return nil, errNoCgo }
