// Package onnx runs the encoders of sentences that are exported to ONNX, in Go
// alone: for machines on which ONNX Runtime is not installed, and for the
// builds without cgo.
//
// It knows the operators that exports of transformers use, in single precision,
// and no others: a model that needs more is refused when it is read, and the
// error names the operators. Products of matrices, which is where the time goes,
// run on the kernels of vector search. A run uses one thread; any number of runs
// may be under way at once.
//
// The answers are those of ONNX Runtime but for the last digits. What it does not
// do: rewriting graphs, half precision within a run, quantized operators.
package onnx
