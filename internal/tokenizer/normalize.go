package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites a text before words are cut: case, accents, forms of
// Unicode.
type normalizer func(text string) string

func parseNormalizer(text json.RawMessage) (normalizer, error) {
	if absent(text) {
		return nil, nil
	}
	name, err := kind(text)
	if err != nil {
		return nil, err
	}
	switch name {
	case "Sequence":
		return parseNormalizers(text)
	case "BertNormalizer":
		return parseBertNormalizer(text)
	case "Lowercase":
		return lowercase, nil
	case "NFC":
		return norm.NFC.String, nil
	case "NFD":
		return norm.NFD.String, nil
	case "NFKC":
		return norm.NFKC.String, nil
	case "NFKD":
		return norm.NFKD.String, nil
	case "StripAccents":
		return func(text string) string { return dropMarks(text, unicode.M) }, nil
	case "Nmt":
		return nmt, nil
	case "Strip":
		return parseStrip(text)
	case "Prepend":
		return parsePrepend(text)
	case "Replace":
		return parseReplace(text)
	case "Precompiled":
		return parsePrecompiled(text)
	}
	return nil, fmt.Errorf("normalizer %q: %w", name, ErrUnsupported)
}

func parseNormalizers(text json.RawMessage) (normalizer, error) {
	var s struct {
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	var steps []normalizer
	for _, part := range s.Normalizers {
		step, err := parseNormalizer(part)
		if err != nil {
			return nil, err
		}
		if step != nil {
			steps = append(steps, step)
		}
	}
	return func(text string) string {
		for _, step := range steps {
			text = step(text)
		}
		return text
	}, nil
}

func parseStrip(text json.RawMessage) (normalizer, error) {
	var s struct {
		Left  bool `json:"strip_left"`
		Right bool `json:"strip_right"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	return func(text string) string {
		if s.Left {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
		if s.Right {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		return text
	}, nil
}

func parsePrepend(text json.RawMessage) (normalizer, error) {
	var s struct {
		Prepend string `json:"prepend"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	return func(text string) string {
		if text == "" {
			return text
		}
		return s.Prepend + text
	}, nil
}

func parseReplace(text json.RawMessage) (normalizer, error) {
	var s struct {
		Pattern pattern `json:"pattern"`
		Content string  `json:"content"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	find, err := s.Pattern.compile()
	if err != nil {
		return nil, err
	}
	return func(text string) string {
		var out strings.Builder
		from := 0
		for from < len(text) {
			first, next := find(text, from)
			if first < 0 {
				break
			}
			out.WriteString(text[from:first])
			out.WriteString(s.Content)
			from = next
		}
		if from == 0 {
			return text
		}
		out.WriteString(text[from:])
		return out.String()
	}, nil
}

// lowercase maps rune by rune: a sigma at a word's end stays an inner one, as
// the models saw it.
func lowercase(text string) string {
	if lower(text) {
		return text
	}
	if !strings.ContainsRune(text, 'İ') {
		return strings.Map(unicode.ToLower, text)
	}
	var out strings.Builder
	for _, r := range text {
		if r == 'İ' { // the only one whose small form is two runes
			out.WriteString("i\u0307")
			continue
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// lower says that a text is ASCII without capitals.
func lower(text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 0x80 || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// dropMarks removes marks; accents are marks once the text is decomposed.
func dropMarks(text string, marks *unicode.RangeTable) string {
	if ascii(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unicode.Is(marks, r) {
			return -1
		}
		return r
	}, text)
}

// nmt is what Google's translation models do to odd spaces and controls.
func nmt(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 0x01 <= r && r <= 0x08, r == 0x0B, 0x0E <= r && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return -1
		case r == 0x09, r == 0x0A, r == 0x0C, r == 0x0D, r == 0x1680, 0x200B <= r && r <= 0x200F,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' '
		}
		return r
	}, text)
}
