package elastic

import (
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/textquery"
)

// expansion says what an index expression may stand for.
type expansion struct {
	ignoreUnavailable bool // names that are no searchable topic are left out
	allowNone         bool // patterns may match nothing
	literal           bool // * is no pattern
	any               bool // topics that are not searchable count too, where they are named
}

// expansion takes the parameters of index expressions.
func (c *call) expansion() (expansion, error) {
	x := expansion{allowNone: true}
	if err := c.flags(map[string]*bool{"ignore_unavailable": &x.ignoreUnavailable, "allow_no_indices": &x.allowNone}); err != nil {
		return x, err
	}
	c.harmless("ignore_throttled")
	return x, x.wildcards(c.text("expand_wildcards", "open"))
}

// wildcards reads expand_wildcards. All topics are open, and patterns that do not
// begin with an underscore or a dot leave out those that do.
func (x *expansion) wildcards(text string) error {
	for _, word := range strings.Split(text, ",") {
		switch word {
		case "open", "all", "hidden", "closed":
		case "none":
			x.literal = true
		default:
			return badRequest("No valid expand wildcard value [%s]", word)
		}
	}
	return nil
}

// topics returns the topics that an index expression stands for, by name and each
// once.
func (c *call) topics(expression string, x expansion) ([]Topic, error) {
	found, err := c.surface.expand(expression, x)
	if err == nil {
		return found, nil
	}
	// What is not known may have come just now, by another node.
	if late := c.surface.o.Backend.CatchUp(c.Request.Context()); late != nil {
		return nil, err
	}
	return c.surface.expand(expression, x)
}

func (s *Surface) expand(expression string, x expansion) ([]Topic, error) {
	chosen := map[string]Topic{}
	patterns := false
	parts := strings.Split(expression, ",")
	if expression == "" || expression == "_all" {
		parts = []string{"*"}
	}
	for _, part := range parts {
		part = strings.TrimSpace(part)
		out, excluded := strings.CutPrefix(part, "-")
		switch {
		case part == "":
		case excluded && patterns:
			for name := range chosen {
				if textquery.MatchPattern(out, name) {
					delete(chosen, name)
				}
			}
		case strings.Contains(part, "*") && !x.literal:
			patterns = true
			matched := false
			for _, name := range s.o.Backend.Names() {
				if !textquery.MatchPattern(part, name) || hidden(name) && !hidden(part) {
					continue
				}
				if t, ok := s.o.Backend.Topic(name); ok && t.Searchable {
					chosen[name], matched = t, true
				}
			}
			if !matched && !x.allowNone {
				return nil, notFound(part)
			}
		default:
			t, ok := s.o.Backend.Topic(part)
			switch {
			case ok && (t.Searchable || x.any):
				chosen[part] = t
			case x.ignoreUnavailable:
			case ok:
				return nil, notSearchable(part)
			default:
				return nil, notFound(part)
			}
		}
	}
	if len(chosen) == 0 && !x.allowNone {
		return nil, notFound(expression)
	}
	all := make([]Topic, 0, len(chosen))
	for _, t := range chosen {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// hidden names are those of programs.
func hidden(name string) bool { return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") }

func namesOf(topics []Topic) []string {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	return names
}
