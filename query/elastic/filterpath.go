package elastic

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/textquery"
)

// pathFilter is the parameter filter_path: which parts of an answer are wanted,
// and which are not.
type pathFilter struct {
	includes, excludes [][]string // patterns of member names, from the top
}

// filterStepsMax bounds the steps of all paths: each member of an answer is held
// against them.
const filterStepsMax = 1_000

func newPathFilter(text string) *pathFilter {
	f := &pathFilter{}
	for _, path := range strings.Split(text, ",") {
		path = strings.TrimSpace(path)
		if inner, out := strings.CutPrefix(path, "-"); out {
			f.excludes = append(f.excludes, strings.Split(inner, "."))
		} else if path != "" {
			f.includes = append(f.includes, strings.Split(path, "."))
		}
	}
	return f
}

// apply keeps what is wanted of an answer. Objects and arrays of which nothing is
// left are left out themselves.
func (f *pathFilter) apply(text []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	w := &writer{}
	kept := f.filter(decoder, w, f.includes, f.excludes, len(f.includes) == 0)
	if !kept {
		return []byte("{}")
	}
	return w.out
}

// filter copies one value, and reports whether anything of it was kept. whole:
// what contains it is included as a whole.
func (f *pathFilter) filter(decoder *json.Decoder, w *writer, includes, excludes [][]string, whole bool) bool {
	token, err := decoder.Token()
	if err != nil {
		return false // the text is our own
	}
	delimiter, composed := token.(json.Delim)
	if !composed {
		if whole {
			if n, ok := token.(json.Number); ok {
				w.raw([]byte(n))
			} else {
				w.value(token)
			}
		}
		return whole
	}
	before, comma := len(w.out), w.comma
	any, empty := false, true
	body := func() {
		for decoder.More() {
			empty = false
			if delimiter == '[' {
				any = f.filter(decoder, w, includes, excludes, whole) || any
				continue
			}
			name, _ := decoder.Token()
			any = f.member(decoder, w, name.(string), includes, excludes, whole) || any
		}
		_, _ = decoder.Token() // the end
	}
	if delimiter == '[' {
		w.array(body)
	} else {
		w.object(body)
	}
	if any || (empty && whole) {
		return true
	}
	w.out, w.comma = w.out[:before], comma
	return false
}

func (f *pathFilter) member(decoder *json.Decoder, w *writer, name string, includes, excludes [][]string, whole bool) bool {
	in, all := below(includes, name)
	out, none := below(excludes, name)
	before, comma := len(w.out), w.comma
	w.name(name)
	kept := f.filter(decoder, w, in, out, (whole || all) && !none)
	if none || !kept {
		w.out, w.comma = w.out[:before], comma
		return false
	}
	return true
}

// below are the patterns for what a member has, and whether one names the member
// itself. Patterns are ends of those that the client gave, and each end is followed
// once, however many ways ** leads to it.
func below(patterns [][]string, name string) (rest [][]string, named bool) {
	seen := map[*string]bool{}
	rest, named = follow(nil, patterns, name)
	return slices.DeleteFunc(rest, func(p []string) bool {
		known := seen[&p[0]]
		seen[&p[0]] = true
		return known
	}), named
}

func follow(rest, patterns [][]string, name string) (_ [][]string, named bool) {
	for _, p := range patterns {
		if p[0] == "**" {
			rest = append(rest, p)
			if len(p) == 1 {
				named = true
				continue
			}
			var here bool
			rest, here = follow(rest, [][]string{p[1:]}, name)
			named = named || here
			continue
		}
		if !textquery.MatchPattern(p[0], name) {
			continue
		}
		if len(p) == 1 {
			named = true
		} else {
			rest = append(rest, p[1:])
		}
	}
	return rest, named
}

// indent makes an answer readable.
func indent(text []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, text, "", "  ") != nil {
		return text
	}
	out.WriteByte('\n')
	return out.Bytes()
}
