package tokenizer

import (
	"encoding/json"
	"fmt"
)

// parsedModel is a model and what it says of itself.
type parsedModel struct {
	model   model
	unknown int32
	size    int // one more than the greatest id
}

// vocabulary are a model's tokens.
type vocabulary map[string]int32

func (v vocabulary) size() int {
	size := 0
	for _, id := range v {
		size = max(size, int(id)+1)
	}
	return size
}

// check refuses ids that no row of a table has.
func (v vocabulary) check() error {
	if len(v) == 0 {
		return fmt.Errorf("the vocabulary is empty: %w", ErrUnsupported)
	}
	for token, id := range v {
		if id < 0 {
			return fmt.Errorf("token %q has id %d", token, id)
		}
	}
	return nil
}

// id gives a token's id, -1 if there is none.
func (v vocabulary) id(token string) int32 {
	if id, ok := v[token]; ok {
		return id
	}
	return -1
}

func parseModel(text json.RawMessage) (parsedModel, error) {
	if absent(text) {
		return parsedModel{}, fmt.Errorf("it is missing: %w", ErrUnsupported)
	}
	var probe struct {
		Type   string          `json:"type"`
		Merges json.RawMessage `json:"merges"`
		Prefix *string         `json:"continuing_subword_prefix"`
		UnkID  *int            `json:"unk_id"`
	}
	if err := json.Unmarshal(text, &probe); err != nil {
		return parsedModel{}, err
	}
	name := probe.Type
	if name == "" { // old files do not say
		switch {
		case probe.Merges != nil:
			name = "BPE"
		case probe.UnkID != nil:
			name = "Unigram"
		case probe.Prefix != nil:
			name = "WordPiece"
		}
	}
	switch name {
	case "WordPiece":
		return parseWordPiece(text)
	case "WordLevel":
		return parseWordLevel(text)
	case "BPE":
		return parseBPE(text)
	case "Unigram":
		return parseUnigram(text)
	}
	return parsedModel{}, fmt.Errorf("model %q: %w", probe.Type, ErrUnsupported)
}

// wordLevel knows whole words only.
type wordLevel struct {
	vocabulary vocabulary
	unknown    int32
}

func parseWordLevel(text json.RawMessage) (parsedModel, error) {
	var m struct {
		Vocab   vocabulary `json:"vocab"`
		Unknown string     `json:"unk_token"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return parsedModel{}, err
	}
	if err := m.Vocab.check(); err != nil {
		return parsedModel{}, err
	}
	unknown := m.Vocab.id(m.Unknown)
	return parsedModel{&wordLevel{m.Vocab, unknown}, unknown, m.Vocab.size()}, nil
}

func (w *wordLevel) encode(ids []int32, word string) []int32 {
	if id, ok := w.vocabulary[word]; ok {
		return append(ids, id)
	}
	if w.unknown < 0 {
		return ids
	}
	return append(ids, w.unknown)
}
