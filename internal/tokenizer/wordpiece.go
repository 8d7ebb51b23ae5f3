package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// wordPiece takes the longest piece that a word begins with, then the longest
// of the rest, until nothing is left; a word that cannot be spelled so is
// unknown as a whole.
type wordPiece struct {
	words   vocabulary // pieces that begin a word
	rests   vocabulary // those within one, without their prefix
	unknown int32
	max     int // runes of a word; a longer one is unknown
	longest int // bytes of the longest piece
}

func parseWordPiece(text json.RawMessage) (parsedModel, error) {
	var m struct {
		Vocab   vocabulary `json:"vocab"`
		Unknown string     `json:"unk_token"`
		Prefix  *string    `json:"continuing_subword_prefix"`
		Max     int        `json:"max_input_chars_per_word"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return parsedModel{}, err
	}
	if err := m.Vocab.check(); err != nil {
		return parsedModel{}, err
	}
	prefix := "##"
	if m.Prefix != nil {
		prefix = *m.Prefix
	}
	w := &wordPiece{words: m.Vocab, rests: make(vocabulary), unknown: m.Vocab.id(m.Unknown), max: m.Max}
	if w.unknown < 0 {
		return parsedModel{}, fmt.Errorf("the unknown token %q is not in the vocabulary", m.Unknown)
	}
	if w.max == 0 {
		w.max = 100
	}
	for token, id := range m.Vocab {
		w.longest = max(w.longest, len(token))
		if rest, ok := strings.CutPrefix(token, prefix); ok {
			w.rests[rest] = id
		}
	}
	return parsedModel{w, w.unknown, m.Vocab.size()}, nil
}

func (w *wordPiece) encode(ids []int32, word string) []int32 {
	if len(word) > w.max && utf8.RuneCountInString(word) > w.max {
		return append(ids, w.unknown)
	}
	if id, ok := w.words[word]; ok {
		return append(ids, id)
	}
	begin := len(ids)
	pieces := w.words
	for word != "" {
		n := min(len(word), w.longest)
		for ; n > 0; n-- {
			if n < len(word) && !utf8.RuneStart(word[n]) {
				continue
			}
			if id, ok := pieces[word[:n]]; ok {
				ids = append(ids, id)
				break
			}
		}
		if n == 0 {
			return append(ids[:begin], w.unknown)
		}
		word, pieces = word[n:], w.rests
	}
	return ids
}
