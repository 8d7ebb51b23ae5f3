package embedder

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Skip is why a record has no text to embed; "" if it has one.
type Skip string

const (
	SkipEmpty   Skip = "empty"    // a tombstone, no key, nothing but white space
	SkipNotUTF8 Skip = "not_utf8" // bytes that are no text
	SkipNotJSON Skip = "not_json" // a path is asked for, and the value is not JSON
	SkipNoField Skip = "no_field" // it is JSON, and has nothing at that path

	// What Text does not know:
	SkipUnfit   Skip = "unfit"   // its vector has numbers that cannot be indexed
	skipRefused Skip = "refused" // by the provider
)

// Text is what vector.field names of a record: its value, its key, or what its
// value has at a JSON path. Strings are taken as they are, numbers and booleans as
// they are written; an array on the way means each of its elements, one text a
// line, and [2] after a name one of them; an object at the end is its JSON.
func Text(field string, key, value []byte) (string, Skip) {
	raw := value
	if field == "key" {
		raw = key
	}
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return "", SkipEmpty
	case !utf8.Valid(raw):
		return "", SkipNotUTF8
	case field == "value" || field == "key":
		return string(raw), ""
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // numbers stay as they are written
	var document any
	if d.Decode(&document) != nil {
		return "", SkipNotJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return "", SkipNotJSON
	}
	texts := leaves(nil, document, steps(field))
	if len(texts) == 0 {
		return "", SkipNoField
	}
	text := strings.Join(texts, "\n")
	if strings.TrimSpace(text) == "" {
		return "", SkipEmpty
	}
	return text, ""
}

// steps are the parts of a JSON path: names, and the [n] after them.
func steps(path string) []string {
	var parts []string
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "$."), ".") {
		name, index, indexed := strings.Cut(name, "[")
		if name != "" {
			parts = append(parts, name)
		}
		for indexed {
			var n string
			n, index, _ = strings.Cut(index, "]")
			parts = append(parts, "["+n)
			index, indexed = strings.CutPrefix(index, "[")
		}
	}
	return parts
}

// leaves appends the texts at a path below v.
func leaves(texts []string, v any, path []string) []string {
	if list, ok := v.([]any); ok {
		if len(path) > 0 && strings.HasPrefix(path[0], "[") {
			n, err := strconv.Atoi(path[0][1:])
			switch {
			case err != nil: // [*] is each of them, as without
				path = path[1:]
			case n < 0 || n >= len(list):
				return texts
			default:
				return leaves(texts, list[n], path[1:])
			}
		}
		for _, element := range list {
			texts = leaves(texts, element, path)
		}
		return texts
	}
	if len(path) == 0 {
		return leaf(texts, v)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return texts
	}
	// A name may itself have dots: {"a.b": 1} is found as {"a": {"b": 1}} is.
	for n := range path {
		if member, ok := object[strings.Join(path[:n+1], ".")]; ok {
			texts = leaves(texts, member, path[n+1:])
		}
	}
	return texts
}

// leaf appends what is at the end of a path.
func leaf(texts []string, v any) []string {
	switch v := v.(type) {
	case nil:
		return texts
	case string:
		return append(texts, v)
	case json.Number:
		return append(texts, v.String())
	case bool:
		return append(texts, strconv.FormatBool(v))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return texts // cannot be: it was JSON
	}
	return append(texts, strings.TrimSpace(b.String()))
}
