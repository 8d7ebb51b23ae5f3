package textquery

import (
	"net/url"
	"strconv"
	"strings"
)

// ParseURI reads the parameters of a search that are in its URL into a request,
// where they win over its body's. It takes those that it knows out of the values:
// what is left is for others to know, or to refuse.
func ParseURI(values url.Values, r *Request) error {
	take := func(name string) (string, bool) {
		v, given := values[name]
		delete(values, name)
		if !given || len(v) == 0 {
			return "", false
		}
		return v[len(v)-1], true
	}
	o := NewStringOptions()
	set := []struct {
		name string
		to   func(*node) error
	}{
		{"from", integer(&r.From, 0, 1<<31-1)}, {"size", integer(&r.Size, 0, 1<<31-1)},
		{"track_total_hits", r.Total.parse}, {"track_scores", boolean(&r.Scores)}, {"freshness", text(&r.Freshness)},
		{"_source_includes", words(&r.Source.Includes)}, {"_source_excludes", words(&r.Source.Excludes)},
		{"_source", func(n *node) error {
			if n.text == "true" || n.text == "false" {
				r.Source.Off = n.text == "false"
				return nil
			}
			return words(&r.Source.Includes)(n)
		}},
		{"timeout", r.setters(nil)["timeout"]},
		{"analyzer", text(&o.Analyzer)}, {"analyze_wildcard", boolean(&o.AnalyzeWildcard)},
		{"default_operator", oneOf(&o.Operator, operators)}, {"lenient", boolean(&o.Lenient)},
		{"df", func(n *node) error {
			o.Fields = []FieldBoost{{n.text, 1}}
			return nil
		}},
		{"sort", func(n *node) error {
			r.Sort = nil
			return uriSort(n.text, &r.Sort)
		}},
	}
	for _, s := range set {
		v, given := take(s.name)
		if !given {
			continue
		}
		if err := s.to(&node{kind: stringNode, text: v, src: &source{}}); err != nil {
			return Refuse("URL parameter [%s]: %v", s.name, reason(err))
		}
	}
	if q, given := take("q"); given {
		query, err := ParseQueryString(q, o)
		if err != nil {
			return err
		}
		r.Query = query
	}
	return r.Check()
}

// reason is an error without the place, which a URL does not have.
func reason(err error) string {
	if ours, ok := err.(*Error); ok {
		return ours.Reason
	}
	return err.Error()
}

func words(to *[]string) func(*node) error {
	return func(n *node) error {
		*to = strings.Split(n.text, ",")
		return nil
	}
}

// uriSort reads "field:desc,other".
func uriSort(text string, to *[]Sort) error {
	for _, part := range strings.Split(text, ",") {
		s := Sort{Field: part, Descending: part == ScoreField}
		if at := strings.LastIndexByte(part, ':'); at >= 0 {
			descending, known := orders[part[at+1:]]
			if !known {
				return Refuse("%s is no order, asc or desc", strconv.Quote(cut(part[at+1:])))
			}
			s.Field, s.Descending = part[:at], descending
		}
		*to = append(*to, s)
	}
	if len(*to) > sortsMax {
		return Refuse("%d keys, at most %d", len(*to), sortsMax)
	}
	return nil
}
