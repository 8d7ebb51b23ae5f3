package embedder_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/embedder"
)

func TestTextIsWhatTheFieldNames(t *testing.T) {
	const shop = `{"title":"Red shoes","price":12.50,"stock":true,"none":null,"blank":"  ","a":{"b":{"c":"deep"}},"a.x":"dotted",
		"tags":["red","leather"],"items":[{"name":"left","n":1},{"name":"right"},{"n":12345678901234567890}],"big":1e400,"html":{"x":"<a&b>"}}`
	for _, test := range []struct {
		name, field, key, value string
		text                    string
		skip                    embedder.Skip
	}{
		{"value", "value", "k", "some words", "some words", ""},
		{"value keeps its white space", "value", "", " a\n", " a\n", ""},
		{"JSON as it is", "value", "", `{"a":1}`, `{"a":1}`, ""},
		{"key", "key", "the key", "v", "the key", ""},
		{"no key", "key", "", "v", "", embedder.SkipEmpty},
		{"tombstone", "value", "k", "", "", embedder.SkipEmpty},
		{"white space", "value", "k", " \n\t", "", embedder.SkipEmpty},
		{"bytes", "value", "", "a\xffb", "", embedder.SkipNotUTF8},
		{"bytes with a path", "$.title", "", "{\"title\":\"\xff\"}", "", embedder.SkipNotUTF8},
		{"string", "$.title", "", shop, "Red shoes", ""},
		{"number as it is written", "$.price", "", shop, "12.50", ""},
		{"number beyond 64 bits", "$.big", "", shop, "1e400", ""},
		{"boolean", "$.stock", "", shop, "true", ""},
		{"null", "$.none", "", shop, "", embedder.SkipNoField},
		{"nothing there", "$.nothing", "", shop, "", embedder.SkipNoField},
		{"below a string", "$.title.x", "", shop, "", embedder.SkipNoField},
		{"blank", "$.blank", "", shop, "", embedder.SkipEmpty},
		{"nested", "$.a.b.c", "", shop, "deep", ""},
		{"dots in a name", "$.a.x", "", shop, "dotted", ""},
		{"object", "$.a.b", "", shop, `{"c":"deep"}`, ""},
		{"object, not for HTML", "$.html", "", shop, `{"x":"<a&b>"}`, ""},
		{"array", "$.tags", "", shop, "red\nleather", ""},
		{"through an array", "$.items.name", "", shop, "left\nright", ""},
		{"numbers through an array", "$.items.n", "", shop, "1\n12345678901234567890", ""},
		{"one of an array", "$.items[1].name", "", shop, "right", ""},
		{"each of an array", "$.items[*].name", "", shop, "left\nright", ""},
		{"past an array", "$.items[3].name", "", shop, "", embedder.SkipNoField},
		{"not JSON", "$.title", "", "plain", "", embedder.SkipNotJSON},
		{"two documents", "$.title", "", `{"title":"a"}{"title":"b"}`, "", embedder.SkipNotJSON},
		{"an array at the top", "$.title", "", `[{"title":"a"},{"title":"b"}]`, "a\nb", ""},
	} {
		text, skip := embedder.Text(test.field, []byte(test.key), []byte(test.value))
		if text != test.text || skip != test.skip {
			t.Errorf("%s: %q, %q; want %q, %q", test.name, text, skip, test.text, test.skip)
		}
	}
}

func FuzzTextIsWhatCanBeEmbedded(f *testing.F) {
	f.Add("$.a[0].b", `{"a":[{"b":"text"},{"b":[1,{"c":null}]}],"a[0]":2}`)
	f.Add("value", "\xff")
	f.Add("key", " ")
	f.Add("$.[[]].[1", `[[["x"]]]`)
	f.Fuzz(func(t *testing.T, field, value string) {
		text, skip := embedder.Text(field, []byte(value), []byte(value))
		if (text == "") != (skip != "") || skip == "" && strings.TrimSpace(text) == "" || !utf8.ValidString(text) {
			t.Fatalf("%q of %q is %q, %q", field, value, text, skip)
		}
	})
}
