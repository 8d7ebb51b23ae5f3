// Package tokenizer turns text into the tokens of a language model, as the
// model's tokenizer.json says, which is the format of Hugging Face's library
// tokenizers: WordPiece, BPE, Unigram and WordLevel with the normalizers,
// pre-tokenizers and post-processors that encoders of sentences use.
//
// The ids are those that Hugging Face's library gives: a model that sees other
// ones answers nonsense without an error. So whatever a file asks for that is
// not here is refused when it is parsed, by name. Left out are pairs of texts,
// offsets, and turning tokens back into text.
//
// Text is expected to be UTF-8; bytes that are not become U+FFFD.
package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported is returned for a file that needs what is not here.
var ErrUnsupported = errors.New("the tokenizer is of a kind that is not supported")

// Tokenizer encodes texts. Any number of callers may use one at once.
type Tokenizer struct {
	added    *added // tokens that are found in the text before all else
	addedLow *added // those that are found after normalization
	norm     normalizer
	split    splitter
	model    model
	unknown  int32 // -1: none
	prefix   []int32
	suffix   []int32
	pad      int32
	maxFile  int // 0: the file does not say
	size     int
}

// model encodes one word that the splitter cut off. It appends to ids.
type model interface {
	encode(ids []int32, word string) []int32
}

// file is tokenizer.json.
type file struct {
	Truncation *struct {
		MaxLength int `json:"max_length"`
	} `json:"truncation"`
	Padding *struct {
		PadID int32 `json:"pad_id"`
	} `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Model         json.RawMessage `json:"model"`
}

// Parse reads a tokenizer.json.
func Parse(text []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("parsing the tokenizer: %w", err)
	}
	t := &Tokenizer{}
	m, err := parseModel(f.Model)
	if err != nil {
		return nil, fmt.Errorf("parsing the tokenizer's model: %w", err)
	}
	t.model, t.unknown, t.size = m.model, m.unknown, m.size
	if t.norm, err = parseNormalizer(f.Normalizer); err != nil {
		return nil, fmt.Errorf("parsing the tokenizer's normalizer: %w", err)
	}
	if t.split, err = parseSplitter(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("parsing the tokenizer's pre-tokenizer: %w", err)
	}
	if t.prefix, t.suffix, err = parsePost(f.PostProcessor); err != nil {
		return nil, fmt.Errorf("parsing the tokenizer's post-processor: %w", err)
	}
	t.added, t.addedLow = newAdded(f.AddedTokens, t.norm)
	for _, token := range f.AddedTokens {
		t.size = max(t.size, int(token.ID)+1)
		if token.Content == "[PAD]" || token.Content == "<pad>" {
			t.pad = token.ID
		}
	}
	if f.Padding != nil {
		t.pad = f.Padding.PadID
	}
	if f.Truncation != nil {
		t.maxFile = f.Truncation.MaxLength
	}
	return t, nil
}

// Size is one more than the greatest id.
func (t *Tokenizer) Size() int { return t.size }

// Pad is the id that fills up short rows of a batch.
func (t *Tokenizer) Pad() int32 { return t.pad }

// Unknown is the id of what is not in the vocabulary, -1 if there is none.
func (t *Tokenizer) Unknown() int32 { return t.unknown }

// MaxLength is the number of tokens at which the file wants texts cut, 0 if it
// does not say.
func (t *Tokenizer) MaxLength() int { return t.maxFile }

// Encode gives the tokens of a text with those that the model wants around
// them, at most limit of all; cut says whether some of the text's are missing.
func (t *Tokenizer) Encode(text string, limit int) (ids []int32, cut bool) {
	around := len(t.prefix) + len(t.suffix)
	ids = append(make([]int32, 0, around+min(limit, 16+len(text)/3)), t.prefix...)
	ids, cut = t.Append(ids, text, max(0, limit-around))
	return append(ids, t.suffix...), cut
}

// Append appends the tokens of a text without any around them, at most limit;
// cut says whether there are more.
func (t *Tokenizer) Append(ids []int32, text string, limit int) (_ []int32, cut bool) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	e := encoder{t: t, ids: ids, first: true, stop: len(ids) + limit}
	e.text(text)
	if len(e.ids) > e.stop {
		return e.ids[:e.stop], true
	}
	return e.ids, false
}

// encoder encodes one text.
type encoder struct {
	t     *Tokenizer
	ids   []int32
	words []string // scratch
	stop  int      // more ids than these are not wanted
	first bool     // nothing of the text was encoded yet
}

// done says that a token beyond the last wanted one was found.
func (e *encoder) done() bool { return len(e.ids) > e.stop }

func (e *encoder) text(text string) {
	e.t.added.cut(text, e.token, e.normalize)
}

func (e *encoder) token(id int32) bool {
	e.ids = append(e.ids, id)
	e.first = false
	return !e.done()
}

func (e *encoder) normalize(text string) bool {
	if e.t.norm != nil {
		text = e.t.norm(text)
	}
	return e.t.addedLow.cut(text, e.token, e.encode)
}

func (e *encoder) encode(text string) bool {
	if text == "" {
		return !e.done()
	}
	e.words = append(e.words[:0], text)
	if e.t.split != nil {
		e.words = e.t.split(e.words, e.first)
	}
	e.first = false
	for _, word := range e.words {
		if word == "" {
			continue
		}
		e.ids = e.t.model.encode(e.ids, word)
		if e.done() {
			return false
		}
	}
	return true
}

// kind reads which of several things a part of the file is.
func kind(text json.RawMessage) (string, error) {
	var k struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(text, &k); err != nil {
		return "", err
	}
	return k.Type, nil
}

// absent says that a part of the file is not there.
func absent(text json.RawMessage) bool {
	return len(text) == 0 || string(text) == "null"
}
