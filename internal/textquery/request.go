package textquery

import (
	"slices"
	"strings"
	"time"
)

// Request is the body of a search.
type Request struct {
	Query      Query // nil: every document
	From, Size int
	Sort       []Sort
	After      []AfterValue // sort values of the last hit seen; nil: from the beginning
	Source     Source
	Fields     []FieldShown // of records, beside their source
	Highlight  *Highlight
	Aggs       []Agg
	Total      Total
	Timeout    time.Duration // 0: none of its own
	MinScore   *float64
	Scores     bool // scores are wanted also where hits are sorted by something else
	// Freshness says how much of what was written has to be searched: Chronik's own
	// member, which whoever searches gives a meaning. Empty: not said.
	Freshness string
}

// AfterValue is a sort value of a hit, or that it has none.
type AfterValue struct {
	Value
	Null bool
}

// Total says how exactly hits are counted.
type Total struct {
	Off   bool
	Exact bool
	UpTo  int // counted so far, if not Exact
}

// Source says which parts of a record a hit shows.
type Source struct {
	Off      bool
	Includes []string // patterns; none: everything
	Excludes []string
}

// FieldShown is a field, or a pattern of such, whose values hits show.
type FieldShown struct {
	Field  string
	Format *DateFormat // of dates; nil: as they are by default
}

// fieldsMax bounds the fields that are asked for by name.
const fieldsMax = 100

// fields reads names, and objects of a name and a format.
func (r *Request) fields(n *node) error {
	if n.kind != arrayNode {
		return n.fail("expected an array of fields, found %s", n.show())
	}
	for _, item := range n.items {
		f, format := FieldShown{Field: item.text}, ""
		switch item.kind {
		case stringNode:
		case objectNode:
			// What no document has is not shown, whether it is asked for or not.
			if err := item.params("fields", setters{"field": text(&f.Field), "format": text(&format), "include_unmapped": boolean(new(bool))}); err != nil {
				return err
			}
		default:
			return item.fail("expected a field, found %s", item.show())
		}
		if f.Field == "" {
			return item.fail("[fields] needs a [field]")
		}
		if format == "use_field_mapping" { // as before there were formats
			format = ""
		}
		if format != "" {
			d, err := NewDateFormat(format)
			if err != nil {
				return err
			}
			f.Format = &d
		}
		r.Fields = append(r.Fields, f)
	}
	if len(r.Fields) > fieldsMax {
		return n.fail("%d fields are asked for, at most %d", len(r.Fields), fieldsMax)
	}
	return nil
}

// Limits of a request.
const (
	windowMax   = 10_000 // from + size
	sizeDefault = 10
	totalUpTo   = 10_000
	// sourcePatternsMax bounds what each member of each hit is held against.
	sourcePatternsMax = 1_000
)

// Parse reads the body of a search request. An empty body asks for everything.
func Parse(body []byte) (*Request, error) {
	r := NewRequest()
	if len(strings.TrimSpace(string(body))) == 0 {
		return r, nil
	}
	n, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	p := newParser()
	if err := n.params("search", r.setters(p)); err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return r, nil
}

// ParseCount reads the body of a count, which has a query and a freshness only.
func ParseCount(body []byte) (q Query, freshness string, err error) {
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil, "", nil
	}
	n, err := parseJSON(body)
	if err != nil {
		return nil, "", err
	}
	p := newParser()
	err = n.params("count", setters{"query": p.queryInto(&q), "freshness": text(&freshness)})
	return q, freshness, err
}

// NewRequest is the request of an empty body.
func NewRequest() *Request {
	return &Request{Size: sizeDefault, Total: Total{UpTo: totalUpTo}}
}

func (r *Request) setters(p *parser) setters {
	aggs := func(n *node) error {
		if r.Aggs != nil {
			return n.fail("found two aggregations: [aggs] and [aggregations]")
		}
		return p.aggs(&r.Aggs, 0)(n)
	}
	// What is off by default may be said to be off.
	never := func(n *node) error {
		var on bool
		if err := boolean(&on)(n); err != nil {
			return err
		}
		if on {
			return n.failValue("is not supported; leave it out or say false")
		}
		return nil
	}
	return setters{
		"query": p.queryInto(&r.Query),
		"from":  integer(&r.From, 0, 1<<31-1), "size": integer(&r.Size, 0, 1<<31-1),
		"sort": parseSort(&r.Sort), "search_after": r.after, "_source": r.Source.parse,
		"highlight": p.highlight(&r.Highlight), "aggs": aggs, "aggregations": aggs,
		"track_total_hits": r.Total.parse, "min_score": func(n *node) error {
			r.MinScore = new(float64)
			return number(r.MinScore)(n)
		},
		"timeout": func(n *node) error {
			if n.text == "-1" {
				return nil
			}
			d, err := parseInterval(n.text)
			if err == nil && d <= 0 {
				err = n.fail("[timeout] has to be above 0")
			}
			r.Timeout = d
			return err
		},
		"fields": r.fields, "docvalue_fields": r.fields,
		"script_fields": func(n *node) error {
			if n.kind != objectNode || len(n.members) > 0 {
				return n.fail("[script_fields] is not supported: there are no scripts")
			}
			return nil
		},
		"track_scores": boolean(&r.Scores), "freshness": text(&r.Freshness),
		"explain": never, "profile": never, "version": never, "seq_no_primary_term": never,
	}
}

// Check looks at what parts of a request say about one another.
func (r *Request) Check() error {
	if n := len(r.Source.Includes) + len(r.Source.Excludes); n > sourcePatternsMax {
		return Refuse("[_source] has %d patterns, at most %d are allowed", n, sourcePatternsMax)
	}
	if r.From+r.Size > windowMax {
		return Refuse("Result window is too large, from + size must be less than or equal to: [%d] but was [%d]. See search_after for a way to request large data sets.", windowMax, r.From+r.Size)
	}
	if r.After != nil {
		if r.From > 0 {
			return Refuse("`from` parameter must be set to 0 when `search_after` is used")
		}
		if len(r.Sort) == 0 {
			return Refuse("Sort must contain at least one field when `search_after` is used")
		}
		if len(r.After) != len(r.Sort) {
			return Refuse("search_after has %d value(s) but sort has %d.", len(r.After), len(r.Sort))
		}
	}
	return nil
}

func (r *Request) after(n *node) error {
	if n.kind != arrayNode {
		return n.fail("[search_after] expected an array of sort values, found %s", n.show())
	}
	r.After = []AfterValue{}
	for _, item := range n.items {
		if item.kind == nullNode {
			r.After = append(r.After, AfterValue{Null: true})
			continue
		}
		v, err := item.scalar()
		if err != nil {
			return err
		}
		r.After = append(r.After, AfterValue{Value: v})
	}
	return nil
}

func (t *Total) parse(n *node) error {
	switch n.text {
	case "true":
		*t = Total{Exact: true}
	case "false":
		*t = Total{Off: true}
	case "-1":
		*t = Total{UpTo: totalUpTo}
	default:
		*t = Total{}
		return integer(&t.UpTo, 0, 1<<31-1)(n)
	}
	return nil
}

func (s *Source) parse(n *node) error {
	switch n.kind {
	case boolNode:
		s.Off = n.text == "false"
		return nil
	case objectNode:
		return n.params("_source", setters{
			"includes": list(&s.Includes), "include": list(&s.Includes),
			"excludes": list(&s.Excludes), "exclude": list(&s.Excludes),
		})
	default:
		return list(&s.Includes)(n)
	}
}

// Shows reports whether a hit shows the part of its record at a path. With
// within, it reports whether it may show something below the path.
func (s *Source) Shows(path string, within bool) bool {
	if s.Off {
		return false
	}
	if slices.ContainsFunc(s.Excludes, func(p string) bool { return covers(p, path) }) {
		return false
	}
	if len(s.Includes) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Includes, func(p string) bool {
		return covers(p, path) || (within && reaches(p, path))
	})
}

// covers reports whether a pattern names a path or what the path lies in.
func covers(pattern, path string) bool {
	for end := range len(path) + 1 {
		if (end == len(path) || path[end] == '.') && MatchPattern(pattern, path[:end]) {
			return true
		}
	}
	return false
}

// reaches reports whether a pattern may name something below a path.
func reaches(pattern, path string) bool {
	for end := range len(pattern) {
		if pattern[end] == '*' {
			return strings.HasPrefix(path, pattern[:end]) || strings.HasPrefix(pattern[:end], path+".") || MatchPattern(pattern[:end+1], path)
		}
	}
	return strings.HasPrefix(pattern, path+".")
}

// MatchPattern reports whether a name is like a pattern, in which * stands for
// any characters.
func MatchPattern(pattern, name string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return strings.HasSuffix(name, last)
}
