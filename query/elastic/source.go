package elastic

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
)

// writeSource writes the _source of a hit: the members of its JSON object as they
// are, or its value as _value, and what the log knows of the record. Members of
// the object that begin with an underscore are called as they are indexed, so that
// a name means one thing.
func writeSource(w *writer, h *textsearch.Hit, source *textquery.Source) {
	w.object(func() {
		before, comma := len(w.out), w.comma
		if !writeMembers(w, h.Value, source) {
			w.out, w.comma = w.out[:before], comma
			record(w, source, "_value", func() { writeBinary(w, h.Value) })
		}
		record(w, source, "_topic", func() { w.value(h.Topic) })
		record(w, source, "_partition", func() { w.value(h.Partition) })
		record(w, source, "_offset", func() { w.value(h.Offset) })
		record(w, source, "_timestamp", func() { w.value(h.Timestamp) })
		record(w, source, "_key", func() { writeBinary(w, h.Key) })
	})
}

func record(w *writer, source *textquery.Source, name string, value func()) {
	if source.Shows(name, false) {
		w.name(name)
		value()
	}
}

// writeBinary writes bytes as text where they are, as SQL does.
func writeBinary(w *writer, b []byte) {
	switch {
	case b == nil:
		w.value(nil)
	case utf8.Valid(b):
		w.value(string(b))
	default:
		w.object(func() { w.member("$binary", base64.StdEncoding.EncodeToString(b)) })
	}
}

// writeMembers writes what is wanted of a JSON object; false if it is none.
func writeMembers(w *writer, value []byte, source *textquery.Source) bool {
	if trimmed := bytes.TrimLeft(value, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return false
	}
	if !utf8.Valid(value) { // JSON is UTF-8, and so are answers
		value = bytes.ToValidUTF8(value, []byte("\ufffd"))
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	if _, err := decoder.Token(); err != nil {
		return false
	}
	for decoder.More() {
		token, err := decoder.Token()
		name, ok := token.(string)
		var text json.RawMessage
		if err != nil || !ok || decoder.Decode(&text) != nil {
			return false
		}
		if strings.HasPrefix(name, "_") {
			name = textindex.NamePrefix + name
		}
		writeMember(w, name, name, text, source)
	}
	if _, err := decoder.Token(); err != nil {
		return false
	}
	_, err := decoder.Token()
	return errors.Is(err, io.EOF)
}

// writeMember writes what is wanted of the value at a path.
func writeMember(w *writer, name, path string, text json.RawMessage, source *textquery.Source) {
	all := len(source.Excludes) == 0
	switch {
	case source.Shows(path, false) && (all || text[0] != '{' && text[0] != '['):
		w.name(name)
		w.raw(compact(text))
	case source.Shows(path, true):
		before, comma := len(w.out), w.comma
		w.name(name)
		if !writePart(w, path, text, source) {
			w.out, w.comma = w.out[:before], comma
		}
	}
}

// writePart writes what is wanted of a value that is wanted in part; false if
// that is nothing.
func writePart(w *writer, path string, text json.RawMessage, source *textquery.Source) bool {
	whole := source.Shows(path, false)
	switch text[0] {
	case '{':
		var members []struct {
			name string
			text json.RawMessage
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		_, _ = decoder.Token() // it is valid: it was decoded before
		for decoder.More() {
			token, _ := decoder.Token()
			name, _ := token.(string)
			var member json.RawMessage
			if decoder.Decode(&member) != nil {
				return false
			}
			members = append(members, struct {
				name string
				text json.RawMessage
			}{name, member})
		}
		before := 0
		w.object(func() {
			before = len(w.out)
			for _, m := range members {
				writeMember(w, m.name, path+"."+m.name, m.text, source)
			}
			before = len(w.out) - before
		})
		return before > 0 || whole
	case '[':
		var items []json.RawMessage
		if json.Unmarshal(text, &items) != nil {
			return false
		}
		some := false
		w.array(func() {
			for _, item := range items {
				before, comma := len(w.out), w.comma
				if writePart(w, path, item, source) {
					some = true
				} else {
					w.out, w.comma = w.out[:before], comma
				}
			}
		})
		return some || whole
	}
	if whole {
		w.raw(compact(text))
	}
	return whole
}

// compact leaves out what is between the tokens of JSON.
func compact(text []byte) []byte {
	if !bytes.ContainsAny(text, " \t\r\n") {
		return text
	}
	var out bytes.Buffer
	if json.Compact(&out, text) != nil {
		return text
	}
	return out.Bytes()
}
