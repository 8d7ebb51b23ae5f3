package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitter cuts words into the parts that the model encodes each for itself.
// first says that they begin the text.
type splitter func(words []string, first bool) []string

// cutter cuts one word and appends its parts.
type cutter func(words []string, text string, first bool) []string

func parseSplitter(text json.RawMessage) (splitter, error) {
	if absent(text) {
		return nil, nil
	}
	steps, err := parseCutters(text)
	if err != nil {
		return nil, err
	}
	return func(words []string, first bool) []string {
		for _, step := range steps {
			if len(words) == 1 { // always so in the first step, which is most often the only one
				words = step(words[:0], words[0], first)
				continue
			}
			var next []string
			for i, word := range words {
				next = step(next, word, first && i == 0)
			}
			words = next
		}
		return words
	}, nil
}

func parseCutters(text json.RawMessage) ([]cutter, error) {
	name, err := kind(text)
	if err != nil {
		return nil, err
	}
	if name == "Sequence" {
		var s struct {
			Steps []json.RawMessage `json:"pretokenizers"`
		}
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, err
		}
		var all []cutter
		for _, part := range s.Steps {
			steps, err := parseCutters(part)
			if err != nil {
				return nil, err
			}
			all = append(all, steps...)
		}
		return all, nil
	}
	var o struct {
		AddPrefixSpace *bool    `json:"add_prefix_space"`
		UseRegex       *bool    `json:"use_regex"`
		Replacement    string   `json:"replacement"`
		PrependScheme  string   `json:"prepend_scheme"`
		Split          *bool    `json:"split"`
		Pattern        pattern  `json:"pattern"`
		Behavior       behavior `json:"behavior"`
		Invert         bool     `json:"invert"`
		Individual     bool     `json:"individual_digits"`
		Delimiter      string   `json:"delimiter"`
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, err
	}
	or := func(b *bool, otherwise bool) bool {
		if b == nil {
			return otherwise
		}
		return *b
	}
	one := func(c cutter) ([]cutter, error) { return []cutter{c}, nil }
	switch name {
	case "BertPreTokenizer":
		return one(func(words []string, text string, _ bool) []string { return bertWords(words, text) })
	case "Whitespace":
		return one(cutAt(findWords, removed, true))
	case "WhitespaceSplit":
		return one(cutAt(findRune(unicode.IsSpace), removed, false))
	case "ByteLevel":
		return byteLevelCutters(or(o.AddPrefixSpace, true), or(o.UseRegex, true))
	case "Metaspace":
		scheme := o.PrependScheme
		if scheme == "" {
			scheme = map[bool]string{true: "always", false: "never"}[or(o.AddPrefixSpace, true)]
		}
		return one(metaspace(o.Replacement, scheme, or(o.Split, true)))
	case "Punctuation":
		if o.Behavior == "" {
			o.Behavior = isolated
		}
		if !o.Behavior.known() {
			break
		}
		return one(cutAt(findRune(isPunctuation), o.Behavior, false))
	case "Digits":
		if o.Individual {
			return one(cutAt(findRune(isNumeric), isolated, false))
		}
		return one(cutAt(findRune(isNumeric), contiguous, false))
	case "CharDelimiterSplit":
		return one(cutAt(findText(o.Delimiter), removed, false))
	case "Split":
		find, err := o.Pattern.compile()
		if err != nil {
			return nil, err
		}
		if !o.Behavior.known() {
			break
		}
		return one(cutAt(find, o.Behavior, o.Invert))
	}
	return nil, fmt.Errorf("pre-tokenizer %q: %w", name, ErrUnsupported)
}

// findWords finds runs of letters and digits, and runs of what is neither those
// nor space.
func findWords(text string, from int) (int, int) {
	class := func(r rune) int {
		switch {
		case unicode.IsSpace(r):
			return 0
		case isWord(r):
			return 1
		}
		return 2
	}
	for first := from; first < len(text); {
		r, n := utf8.DecodeRuneInString(text[first:])
		of := class(r)
		if of == 0 {
			first += n
			continue
		}
		rest := strings.IndexFunc(text[first:], func(r rune) bool { return class(r) != of })
		if rest < 0 {
			return first, len(text)
		}
		return first, first + rest
	}
	return -1, -1
}

// metaspace writes spaces as a visible mark and puts one before the text, so
// that a word at its beginning is the same token as one within.
func metaspace(mark, scheme string, split bool) cutter {
	if mark == "" {
		mark = "▁"
	}
	return func(words []string, text string, first bool) []string {
		text = strings.ReplaceAll(text, " ", mark)
		if (scheme == "always" || scheme == "first" && first) && !strings.HasPrefix(text, mark) {
			text = mark + text
		}
		if !split {
			return append(words, text)
		}
		for text != "" { // a mark goes with what follows it
			next := 0
			if strings.HasPrefix(text, mark) {
				next = len(mark)
			}
			if i := strings.Index(text[next:], mark); i >= 0 {
				next += i
			} else {
				next = len(text)
			}
			words = append(words, text[:next])
			text = text[next:]
		}
		return words
	}
}
