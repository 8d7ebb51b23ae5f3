package columnar

// lexicon numbers the names of JSON fields.
//
// Producers write the fields of all records in one order, with the same bytes
// between the values. So a name is looked for where it was last time: each one
// knows its token, which is all from the opening quote to the value, and the
// name that came after it. One comparison then replaces scanning, unescaping
// and hashing.
type lexicon struct {
	names []name
	index map[string]int
	max   int // names beyond it are not remembered
}

type name struct {
	text  string // as it is meant, without escapes
	token string // `"name": ` as it was first written; empty: not met yet
	after int    // the name that last followed
}

// unknown is the number of a name that is not in the lexicon.
const unknown = -1

func newLexicon(most int) *lexicon {
	return &lexicon{index: make(map[string]int), max: most}
}

// begins reports whether the member at b[i:] begins with the token of a name.
func (l *lexicon) begins(b []byte, i, name int) (end int, ok bool) {
	if name >= len(l.names) {
		return 0, false
	}
	token := l.names[name].token
	end = i + len(token)
	return end, token != "" && end <= len(b) && string(b[i:end]) == token
}

// number returns the number of a name, remembering it with its token if it is
// new and there is room.
func (l *lexicon) number(raw []byte, escaped bool, token []byte) int {
	text := raw
	if escaped {
		text = appendUnescaped(nil, raw)
	}
	if n, ok := l.index[string(text)]; ok {
		if l.names[n].token == "" {
			l.names[n].token = string(token)
		}
		return n
	}
	if len(l.names) >= l.max {
		return unknown
	}
	return l.add(string(text), string(token))
}

func (l *lexicon) add(text, token string) int {
	n := len(l.names)
	l.names = append(l.names, name{text: text, token: token, after: n + 1})
	l.index[text] = n
	return n
}
