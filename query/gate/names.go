package gate

import (
	"slices"
	"strings"
)

// Kind says which of a topic's records a table holds.
type Kind int

// The kinds of tables of a topic t.
const (
	Latest Kind = iota // t: every acknowledged record, once
	Cold               // t_cold: the records in Parquet files
	Hot                // t_hot: those of t that are not in t_cold
)

// suffixes follow a topic's name where one of its parts is meant.
var suffixes = []struct {
	text string
	kind Kind
}{{"_cold", Cold}, {"_hot", Hot}}

// String is the word for logs and view names.
func (k Kind) String() string {
	switch k {
	case Cold:
		return "cold"
	case Hot:
		return "hot"
	}
	return "latest"
}

// Names finds topics by the names that a query may use for them. It is
// immutable once it is made.
type Names struct {
	real map[string]bool
	// bare holds the topics of each bare name in lower case: SQL does not tell
	// upper from lower, Kafka does.
	bare map[string][]string
	// embedded tells which topics' tables have the column of vectors; nil: none.
	embedded func(topic string) bool
}

// NewNames indexes the topics of a cluster.
func NewNames(topics []string) *Names {
	n := &Names{real: make(map[string]bool, len(topics)), bare: make(map[string][]string, len(topics))}
	for _, topic := range topics {
		n.real[topic] = true
		key := strings.ToLower(BareName(topic))
		n.bare[key] = append(n.bare[key], topic)
	}
	return n
}

// WithVectors says which topics' tables have the column of vectors; without it none
// has. It is called before the Names are used.
func (n *Names) WithVectors(embedded func(topic string) bool) *Names {
	n.embedded = embedded
	return n
}

// hasVectors reports whether a topic's table has the column of vectors.
func (n *Names) hasVectors(topic string) bool { return n.embedded != nil && n.embedded(topic) }

// BareName is the name by which a topic needs no quotes: characters outside
// [A-Za-z0-9_] become an underscore.
func BareName(topic string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && r != '-' && r != '.' {
			return r
		}
		return '_'
	}, topic)
}

// Collides reports whether another topic has the same bare name, so that both
// are reached by their quoted real names only.
func (n *Names) Collides(topic string) bool {
	return len(n.bare[strings.ToLower(BareName(topic))]) > 1
}

// Lookup finds the topic and the kind of table that name stands for: a topic by
// its real name, by its bare name, and either of them with a suffix. A topic's
// own name comes first, so that no topic is out of reach: where one is really
// called t_cold, that name means the topic, and the cold part of t has none.
func (n *Names) Lookup(name string) (topic string, kind Kind, err error) {
	topic, ok, err := n.topic(name)
	if ok || err != nil {
		return topic, Latest, err
	}
	for _, suffix := range suffixes {
		base, found := cutSuffixFold(name, suffix.text)
		if !found {
			continue
		}
		if topic, ok, err = n.topic(base); ok || err != nil {
			return topic, suffix.kind, err
		}
	}
	return "", 0, &refusal{ErrUnknownTable, "table " + quote(name) + " does not exist: no topic has that name"}
}

func (n *Names) topic(name string) (topic string, ok bool, err error) {
	if n.real[name] {
		return name, true, nil
	}
	candidates := n.bare[strings.ToLower(name)]
	switch len(candidates) {
	case 0:
		return "", false, nil
	case 1:
		return candidates[0], true, nil
	}
	quoted := make([]string, len(candidates))
	for i, c := range candidates {
		quoted[i] = quote(c)
	}
	slices.Sort(quoted)
	return "", false, invalid("table %s is ambiguous: write the topic's real name in quotes, one of %s", quote(name), strings.Join(quoted, ", "))
}

func cutSuffixFold(s, suffix string) (string, bool) {
	at := len(s) - len(suffix)
	if at <= 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
}

// quote writes an identifier as SQL quotes it.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
