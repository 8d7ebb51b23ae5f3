package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chronik-stream/chronik/internal/tokenizer"
)

const (
	// tokensDefault is what encoders take whose files do not say.
	tokensDefault = 512
	// tokensMost bounds what others say: an encoder's memory grows with the square, to
	// half a gigabyte for one text of so many tokens.
	tokensMost = 2048
)

// directory is a model's files, but for its weights.
type directory struct {
	path      string
	onnx      string // the file with the graph
	static    string // the file with the table
	tokenizer *tokenizer.Tokenizer
	tokensMax int
	pooling   pooling
	lower     bool // texts are made lower case before all else
}

// readDirectory reads what a directory says of its model.
func readDirectory(path string) (*directory, error) {
	d := &directory{path: path}
	text, err := os.ReadFile(filepath.Join(path, "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	if d.tokenizer, err = tokenizer.Parse(text); err != nil {
		return nil, err
	}
	for _, name := range []string{"model.onnx", filepath.Join("onnx", "model.onnx")} {
		if file := filepath.Join(path, name); d.onnx == "" && there(file) {
			d.onnx = file
		}
	}
	if file := filepath.Join(path, "model.safetensors"); d.onnx == "" {
		if !there(file) {
			return nil, errors.New("it has neither model.onnx nor model.safetensors")
		}
		d.static = file
	}
	if d.static == "" { // those of a table of tokens mean nothing
		if err := d.readModules(); err != nil {
			return nil, err
		}
		if d.pooling, err = readPooling(path); err != nil {
			return nil, err
		}
	}
	return d, d.readLengths()
}

func there(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// readJSON reads one of the small files that need not be there.
func readJSON(to any, path ...string) error {
	name := filepath.Join(path...)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// readModules refuses models that do more to a vector than is done here: theirs
// would be wrong, and nobody would see it.
func (d *directory) readModules() error {
	var modules []struct {
		Type string `json:"type"`
	}
	if err := readJSON(&modules, d.path, "modules.json"); err != nil {
		return err
	}
	for _, m := range modules {
		switch filepath.Ext(m.Type) {
		case ".Transformer", ".Pooling", ".Normalize":
		default:
			return fmt.Errorf("its modules.json has a %s, which is not supported", m.Type)
		}
	}
	return nil
}

// readLengths finds out how many tokens the model takes. Its files say so in four
// places; where they differ, it is what its authors measured it with.
func (d *directory) readLengths() error {
	var sentence struct {
		Length int  `json:"max_seq_length"`
		Lower  bool `json:"do_lower_case"`
	}
	var tokens struct {
		Length float64 `json:"model_max_length"` // 1e30 is none
	}
	var model struct {
		Positions int    `json:"max_position_embeddings"`
		Length    int    `json:"seq_length"` // of a table
		Type      string `json:"model_type"`
	}
	if err := errors.Join(readJSON(&sentence, d.path, "sentence_bert_config.json"), readJSON(&tokens, d.path, "tokenizer_config.json"),
		readJSON(&model, d.path, "config.json")); err != nil {
		return err
	}
	d.lower = sentence.Lower
	if model.Type == "roberta" || model.Type == "xlm-roberta" || model.Type == "camembert" || model.Type == "mpnet" {
		model.Positions -= 2 // theirs begin at 2
	}
	d.tokensMax = sentence.Length
	if d.tokensMax <= 0 {
		d.tokensMax = d.tokenizer.MaxLength()
	}
	if d.tokensMax <= 0 && 0 < tokens.Length && tokens.Length < 1<<20 {
		d.tokensMax = int(tokens.Length)
	}
	if d.tokensMax <= 0 {
		d.tokensMax = max(model.Positions, model.Length)
	}
	if d.tokensMax <= 0 {
		d.tokensMax = tokensDefault
	}
	if model.Positions > 0 {
		d.tokensMax = min(d.tokensMax, model.Positions)
	}
	d.tokensMax = min(d.tokensMax, tokensMost)
	return nil
}
