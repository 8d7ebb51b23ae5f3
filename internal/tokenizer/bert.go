package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// parseBertNormalizer reads what BERT does to a text before it cuts words.
func parseBertNormalizer(text json.RawMessage) (normalizer, error) {
	var b struct {
		Clean   bool  `json:"clean_text"`
		Chinese bool  `json:"handle_chinese_chars"`
		Accents *bool `json:"strip_accents"`
		Lower   bool  `json:"lowercase"`
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, err
	}
	strip := b.Lower // what it does unless it is told
	if b.Accents != nil {
		strip = *b.Accents
	}
	return func(text string) string {
		if plain(text) {
			if b.Lower {
				return strings.ToLower(text)
			}
			return text
		}
		if b.Clean {
			text = strings.Map(clean, text)
		}
		if b.Chinese {
			text = spaceOut(text)
		}
		if strip {
			text = dropMarks(norm.NFD.String(text), unicode.Mn)
		}
		if b.Lower {
			text = lowercase(text)
		}
		return text
	}, nil
}

// plain says that a text is printable ASCII, which only a change of case
// changes.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// clean drops controls and makes every space a blank. What Unicode has not
// assigned yet stays.
func clean(r rune) rune {
	switch {
	case r == '\t', r == '\n', r == '\r':
		return ' '
	case r == 0, r == utf8.RuneError, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co):
		return -1
	case unicode.IsSpace(r):
		return ' '
	}
	return r
}

// spaceOut puts blanks around each Chinese character, so that each is a word.
func spaceOut(text string) string {
	if strings.IndexFunc(text, isChinese) < 0 {
		return text
	}
	var out strings.Builder
	out.Grow(len(text) + len(text)/2)
	for _, r := range text {
		if !isChinese(r) {
			out.WriteRune(r)
			continue
		}
		out.WriteByte(' ')
		out.WriteRune(r)
		out.WriteByte(' ')
	}
	return out.String()
}

func isChinese(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF ||
		r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}

// bertWords cuts at spaces and makes each punctuation mark a word.
func bertWords(words []string, text string) []string {
	from := 0
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		switch {
		case unicode.IsSpace(r):
			if i > from {
				words = append(words, text[from:i])
			}
			from = i + n
		case isPunctuation(r):
			if i > from {
				words = append(words, text[from:i])
			}
			words = append(words, text[i:i+n])
			from = i + n
		}
		i += n
	}
	if from < len(text) {
		words = append(words, text[from:])
	}
	return words
}

// isPunctuation counts all marks of ASCII, also those that Unicode calls
// symbols.
func isPunctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return '!' <= r && r <= '/' || ':' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
	}
	return unicode.IsPunct(r)
}
