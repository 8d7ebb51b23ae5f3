package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is found in the text as it stands, before any word
// is cut: [MASK], <s>.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

// added finds tokens in a text: the leftmost first, of several there the
// longest.
type added struct {
	begins [256]bool
	tokens []addedToken // longest first
}

// newAdded gives the tokens to look for in the text itself, and those to look
// for in the normalized one, which are normalized themselves.
func newAdded(tokens []addedToken, norm normalizer) (raw, normalized *added) {
	var groups [2][]addedToken
	for _, token := range tokens {
		at := 0
		if token.Normalized {
			at = 1
			if norm != nil {
				token.Content = norm(token.Content)
			}
		}
		if token.Content != "" {
			groups[at] = append(groups[at], token)
		}
	}
	var result [2]*added
	for i, group := range groups {
		if len(group) == 0 {
			continue
		}
		a := &added{tokens: group}
		slices.SortStableFunc(a.tokens, func(x, y addedToken) int { return len(y.Content) - len(x.Content) })
		for _, token := range a.tokens {
			a.begins[token.Content[0]] = true
		}
		result[i] = a
	}
	return result[0], result[1]
}

// cut calls token for what it finds and rest for the text between, in order,
// until one of them says that it is enough.
func (a *added) cut(text string, token func(id int32) bool, rest func(text string) bool) bool {
	if a == nil {
		return rest(text)
	}
	from := 0 // what was not handed on yet begins here
	for i := 0; i < len(text); i++ {
		if !a.begins[text[i]] {
			continue
		}
		found := a.at(text, i)
		if found == nil {
			continue
		}
		first, next := i, i+len(found.Content)
		if found.LStrip {
			first = from + len(strings.TrimRightFunc(text[from:first], unicode.IsSpace))
		}
		if found.RStrip {
			next = len(text) - len(strings.TrimLeftFunc(text[next:], unicode.IsSpace))
		}
		if first > from && !rest(text[from:first]) || !token(found.ID) {
			return false
		}
		from, i = next, next-1
	}
	if from < len(text) {
		return rest(text[from:])
	}
	return true
}

// at gives the token that stands at a place of the text, or nil.
func (a *added) at(text string, i int) *addedToken {
	for n := range a.tokens {
		token := &a.tokens[n]
		if !strings.HasPrefix(text[i:], token.Content) {
			continue
		}
		if token.SingleWord {
			before, _ := utf8.DecodeLastRuneInString(text[:i])
			after, _ := utf8.DecodeRuneInString(text[i+len(token.Content):])
			if i > 0 && isWord(before) || i+len(token.Content) < len(text) && isWord(after) {
				continue
			}
		}
		return token
	}
	return nil
}

// isWord says that a rune is one of \w.
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.In(r, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
