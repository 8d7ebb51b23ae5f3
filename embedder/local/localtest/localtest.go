// Package localtest writes directories of local models for tests: encoders with
// weights that are drawn, and tables of tokens.
package localtest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/chronik-stream/chronik/internal/onnx/onnxtest"
)

// words are some whole words of the vocabulary; all else is spelled.
const words = `the a an of to and or is was red green blue shoes order number payment failed refused connection broker
log topic segment shard vector search recall message what which where how many customer price house water fire`

// Specials are the tokens that begin a vocabulary.
var Specials = []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}

// Vocabulary is one in which every word of ASCII can be written.
func Vocabulary() []string {
	tokens := append([]string(nil), Specials...)
	for c := '!'; c <= '~'; c++ {
		if 'A' <= c && c <= 'Z' {
			continue
		}
		tokens = append(tokens, string(c), "##"+string(c))
	}
	return append(tokens, strings.Fields(words)...)
}

// WriteTokenizer writes tokenizer.json: WordPiece as BERT has it, of tokens that
// begin with Specials.
func WriteTokenizer(dir string, tokens []string) error {
	vocabulary := make(map[string]int, len(tokens))
	for id, token := range tokens {
		vocabulary[token] = id
	}
	type object map[string]any
	var added []object
	for id, token := range Specials {
		added = append(added, object{"id": id, "content": token, "special": true})
	}
	special := func(id int) object { return object{"ids": []int{id}} }
	return writeJSON(filepath.Join(dir, "tokenizer.json"), object{
		"added_tokens":  added,
		"normalizer":    object{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true},
		"pre_tokenizer": object{"type": "BertPreTokenizer"},
		"post_processor": object{"type": "TemplateProcessing",
			"single":         []object{{"SpecialToken": object{"id": "[CLS]"}}, {"Sequence": object{"id": "A"}}, {"SpecialToken": object{"id": "[SEP]"}}},
			"special_tokens": object{"[CLS]": special(2), "[SEP]": special(3)}},
		"model": object{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
	})
}

func writeJSON(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// WriteEncoder writes an encoder that takes so many tokens. Its vocabulary is
// Vocabulary, if the shape does not ask for a larger one.
func WriteEncoder(dir string, e onnxtest.Encoder, tokensMax int) error {
	tokens := Vocabulary()
	e.Vocabulary = max(e.Vocabulary, len(tokens))
	for len(tokens) < e.Vocabulary {
		tokens = append(tokens, fmt.Sprintf("[unused%d]", len(tokens)))
	}
	if err := WriteTokenizer(dir, tokens); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "sentence_bert_config.json"), map[string]any{"max_seq_length": tokensMax, "do_lower_case": false}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "model.onnx"), e.Bytes(), 0o644)
}

// WriteStatic writes a table with a vector of dimensions numbers for each of the
// tokens, which begin with Specials.
func WriteStatic(dir string, tokens []string, table []float32, dimensions int) error {
	if len(table) != len(tokens)*dimensions {
		return fmt.Errorf("%d numbers for %d tokens of %d", len(table), len(tokens), dimensions)
	}
	if err := WriteTokenizer(dir, tokens); err != nil {
		return err
	}
	header, err := json.Marshal(map[string]any{"embeddings": map[string]any{
		"dtype": "F32", "shape": []int{len(tokens), dimensions}, "data_offsets": []int{0, 4 * len(table)}}})
	if err != nil {
		return err
	}
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	for _, v := range table {
		file = binary.LittleEndian.AppendUint32(file, math.Float32bits(v))
	}
	return os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o644)
}
