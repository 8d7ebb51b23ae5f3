// Package local turns texts into vectors with models that lie on this machine's
// disk, each in a directory of its own, as Hugging Face's repositories have them.
// Nothing is downloaded.
//
// A directory with model.onnx (or onnx/model.onnx) and tokenizer.json is an
// encoder of sentences. It runs on ONNX Runtime where its library is found, on
// internal/onnx otherwise: the vectors are the same but for the last digits. Those
// of the tokens are joined as 1_Pooling/config.json says: by their mean, unless it
// names the first one.
//
// A directory with model.safetensors and tokenizer.json is a table with a vector
// for each token, whose mean is the text's: a hundred times as fast, and not as
// discerning.
//
// All vectors have length 1. A text with more tokens than the model takes is cut,
// and counted. Threads bounds what all models of a process compute at once; one
// more thread is for single texts, so that a search does not wait behind
// documents.
package local
