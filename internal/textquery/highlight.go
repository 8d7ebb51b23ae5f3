package textquery

import "math"

// Highlight says how hits show where they match.
type Highlight struct {
	Fields []HighlightField
}

// HighlightField is one field, or a pattern of fields, and how it is shown.
type HighlightField struct {
	Field string
	HighlightStyle
}

// HighlightStyle is what can be said for all fields and for one.
type HighlightStyle struct {
	Pre, Post    string
	FragmentSize int   // characters; 0: the whole text
	Fragments    int   // at most so many; 0: the whole text
	NoMatchSize  int   // characters of a text that has nothing to show; 0: the field is left out
	OtherFields  bool  // terms that were looked for in other fields count too
	ByScore      bool  // the best fragments first, not the first ones
	HTML         bool  // the text is escaped
	Query        Query // in place of the search's; nil: that
}

var highlightTypes = map[string]bool{"unified": true, "plain": true}

func (p *parser) highlight(to **Highlight) func(*node) error {
	return func(n *node) error {
		h := &Highlight{}
		style := HighlightStyle{Pre: "<em>", Post: "</em>", FragmentSize: 100, Fragments: 5}
		set := p.highlightStyle(&style)
		var list []member
		set["fields"] = func(n *node) error {
			objects := n.items
			if n.kind != arrayNode {
				objects = []*node{n}
			}
			for _, o := range objects {
				if o.kind != objectNode {
					return o.fail("[fields] expected an object, found %s", o.show())
				}
				list = append(list, o.members...)
			}
			return nil
		}
		set["encoder"] = oneOf(&style.HTML, map[string]bool{"default": false, "html": true})
		set["tags_schema"] = func(n *node) error {
			if n.text != "styled" {
				return n.fail("%s is not supported, only styled", n.show())
			}
			style.Pre, style.Post = `<em class="hlt1">`, "</em>"
			return nil
		}
		if err := n.params("highlight", set); err != nil {
			return err
		}
		if len(list) == 0 {
			return n.fail("[highlight] needs [fields]")
		}
		for _, m := range list {
			f := HighlightField{m.name, style}
			if err := m.value.params("highlight field", p.highlightStyle(&f.HighlightStyle)); err != nil {
				return err
			}
			h.Fields = append(h.Fields, f)
		}
		*to = h
		return nil
	}
}

func (p *parser) highlightStyle(s *HighlightStyle) setters {
	tag := func(to *string) func(*node) error {
		return func(n *node) error {
			var tags []string
			if err := list(&tags)(n); err != nil {
				return err
			}
			if len(tags) == 0 {
				return n.fail("expected a tag")
			}
			*to = tags[0] // further ones are for highlighters that number their terms
			return nil
		}
	}
	match := !s.OtherFields
	return setters{
		"pre_tags": tag(&s.Pre), "post_tags": tag(&s.Post),
		"fragment_size":       integer(&s.FragmentSize, 0, math.MaxInt32),
		"number_of_fragments": integer(&s.Fragments, 0, 1000),
		"no_match_size":       integer(&s.NoMatchSize, 0, 1<<20),
		"require_field_match": func(n *node) error {
			err := boolean(&match)(n)
			s.OtherFields = !match
			return err
		},
		"order": func(n *node) error {
			if n.text != "score" && n.text != "none" {
				return n.fail("%s is not supported, only score and none", n.show())
			}
			s.ByScore = n.text == "score"
			return nil
		},
		"type":            oneOf(new(bool), highlightTypes), // they differ in how they work, not in what they show
		"highlight_query": p.queryInto(&s.Query),
	}
}
