package elastic

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
)

// Whatever a record is, and whatever is wanted of it, its _source is a JSON object
// in UTF-8.
func FuzzASourceIsJSON(f *testing.F) {
	for _, value := range []string{`{"a":{"b":[1,{"c":null}]},"_key":"x"}`, `text`, ``, "{\"\xff\":\"\xfe\"}", `{"a":1}{`, `{"a":1,"a":2}`, `[1]`, "\x00"} {
		f.Add([]byte(value), []byte("k"), "a.b", "*.c")
		f.Add([]byte(value), []byte("\xff"), "", "")
	}
	f.Fuzz(func(t *testing.T, value, key []byte, include, exclude string) {
		source := &textquery.Source{}
		if include != "" {
			source.Includes = []string{include}
		}
		if exclude != "" {
			source.Excludes = []string{exclude}
		}
		w := &writer{}
		writeSource(w, &textsearch.Hit{Topic: "t", Key: key, Value: value, Found: true}, source)
		if !json.Valid(w.out) || !utf8.Valid(w.out) || w.out[0] != '{' {
			t.Fatalf("%q of %q", w.out, value)
		}
	})
}

// What filter_path leaves of an answer is JSON, and what excludes nothing and
// includes everything changes nothing.
func FuzzAFilteredAnswerIsJSON(f *testing.F) {
	for _, filter := range []string{"a", "**.c", "-a.b", "*,-**.c", "a.*.c,-", ".", "..", "**"} {
		f.Add([]byte(`{"a":{"b":{"c":[1,{"c":2.50}]},"d":[]},"e":"\u00e9"}`), filter)
	}
	f.Fuzz(func(t *testing.T, text []byte, filter string) {
		if !json.Valid(text) || len(text) == 0 || bytes.TrimSpace(text)[0] != '{' || !utf8.Valid(text) {
			return
		}
		if got := newPathFilter(filter).apply(text); !json.Valid(got) {
			t.Fatalf("%q filtered by %q is %q", text, filter, got)
		}
		var compacted bytes.Buffer
		if json.Compact(&compacted, text) != nil {
			return
		}
		var want, got any
		if json.Unmarshal(newPathFilter("**").apply(text), &got) == nil && json.Unmarshal(text, &want) == nil {
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			if !bytes.Equal(a, b) {
				t.Fatalf("%q filtered by ** is %q", text, a)
			}
		}
	})
}

// A bulk request is refused as a whole, or each of its documents is a line of it.
func FuzzABulkRequestIsItsLines(f *testing.F) {
	f.Add([]byte("{\"index\":{}}\n{\"a\":1}\n"))
	f.Add([]byte("{\"delete\":{\"_id\":\"x\"}}\n\n{\"create\":{\"_index\":\"t\",\"routing\":\"r\"}}\r\n{}\r\n"))
	f.Add([]byte("{\"update\":{}}\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, err := splitBulk(body, "index", "key")
		if err != nil {
			return
		}
		lines := map[string]bool{}
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			lines[string(bytes.TrimSpace(line))] = true
		}
		for _, item := range items {
			if item.op != "delete" && !lines[string(item.source)] {
				t.Fatalf("%q is no line of %q", item.source, body)
			}
			if item.check() == nil && !json.Valid(item.source) {
				t.Fatalf("%q is no JSON", item.source)
			}
		}
	})
}

// A definition of an index is refused, or its settings are ones that can be stored.
func FuzzADefinitionBecomesSettings(f *testing.F) {
	f.Add([]byte(`{"settings":{"index":{"number_of_shards":"3"}},"mappings":{"dynamic":false,"properties":{"a":{"type":"keyword"},"b":{"properties":{"c":{"type":"geo_point"}}}}}}`))
	f.Add([]byte(`{"mappings":{"properties":{"t":{"type":"text","analyzer":"german","fields":{"keyword":{"type":"keyword"}}}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := readDefinition(body)
		if err != nil {
			return
		}
		config := d.config()
		if mapping := config["search.mapping"]; mapping != "" && !json.Valid([]byte(mapping)) || d.partitions < 0 {
			t.Fatalf("%v of %q", config, body)
		}
	})
}

// Searches of one request are refused together, or each has a header and a body.
func FuzzSeveralSearchesAreTheirLines(f *testing.F) {
	f.Add([]byte("{}\n{}\n"))
	f.Add([]byte("\n{\"size\":0}\n{\"index\":[\"a\",\"b\"]}\n{}\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		searches, err := splitSearches(body)
		if err == nil && 2*len(searches) > bytes.Count(body, []byte("\n")) {
			t.Fatalf("%d searches of %q", len(searches), body)
		}
	})
}
