package tokenizer

import "strings"

// letters gives every byte a visible letter, as GPT-2 does: vocabularies of
// byte-level models are written in them.
var letters = func() (table [256]rune) {
	next := rune(256)
	for b := range table {
		switch {
		case '!' <= b && b <= '~', 0xA1 <= b && b <= 0xAC, 0xAE <= b && b <= 0xFF:
			table[b] = rune(b)
		default:
			table[b] = next
			next++
		}
	}
	return table
}()

// byteLevelCutters cut words as GPT-2 does, if they are told to, and write
// their bytes as letters.
func byteLevelCutters(prefixSpace, words bool) ([]cutter, error) {
	var cut cutter
	if words {
		find, err := findRegex(gpt2)
		if err != nil {
			return nil, err
		}
		cut = cutAt(find, isolated, false)
	}
	first := func(parts []string, text string, begins bool) []string {
		if prefixSpace && !strings.HasPrefix(text, " ") {
			text = " " + text
		}
		if cut == nil {
			return append(parts, text)
		}
		return cut(parts, text, begins)
	}
	return []cutter{first, func(parts []string, text string, _ bool) []string {
		var out strings.Builder
		out.Grow(len(text) + 8)
		for i := range len(text) {
			out.WriteRune(letters[text[i]])
		}
		return append(parts, out.String())
	}}, nil
}
