package embedder

import (
	"strings"
	"unicode/utf8"
)

// limits are what a model takes. Tokens are only estimated, since each model has
// its own: tokenBytes bytes are one. That is about right for English and too few
// tokens for most else; what a provider refuses for its length is cut further.
type limits struct {
	inputBytesMax    int // of one text; 0: none
	requestTokensMax int // estimated, of one request
	requestBytesMax  int
}

const tokenBytes = 4

// bytes that one request has at most, so that neither side has to hold more.
const requestBytesMax = 8 << 20

// openAITokensMax is what OpenAI takes in one request.
const openAITokensMax = 300_000

func limitsOf(m Model, inputTokensMax int) limits {
	l := limits{inputBytesMax: inputTokensMax * tokenBytes, requestTokensMax: requestBytesMax, requestBytesMax: requestBytesMax}
	switch {
	case m.Provider == providerLocal:
		l.inputBytesMax = 0 // it counts tokens itself
	case strings.HasPrefix(m.Name, "text-embedding-"):
		l.inputBytesMax = 8191 * tokenBytes
		l.requestTokensMax = openAITokensMax
	}
	return l
}

// tokensOf is an estimate, and never 0.
func tokensOf(text string) int { return len(text)/tokenBytes + 1 }

// cut shortens a text to n bytes at most, between characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
