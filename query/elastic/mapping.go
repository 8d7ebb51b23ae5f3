package elastic

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// mapping answers what fields there are.
func (c *call) mapping() error {
	found, fields, err := c.fields()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			for _, t := range found {
				w.name(t.Name)
				w.object(func() { writeMappings(w, t, fields[t.Name]) })
			}
		})
	})
}

// fields returns the topics of a request and the fields of each.
func (c *call) fields() ([]Topic, map[string][]textindex.Field, error) {
	x, err := c.expansion()
	if err != nil {
		return nil, nil, err
	}
	c.harmless("local", "master_timeout", "include_defaults", "flat_settings")
	found, err := c.topics(c.Param("index"), x)
	if err != nil {
		return nil, nil, err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return nil, nil, err
	}
	if err := c.nearOnly(found); err != nil {
		return nil, nil, err
	}
	fields, err := c.surface.o.Backend.Mapping(c.Request.Context(), namesOf(found))
	return found, fields, err
}

// ofRecords are the fields that all records have, whatever their values.
var ofRecords = []property{
	{name: "_key", kinds: []textindex.Kind{textindex.Keyword}}, {name: "_offset", kinds: []textindex.Kind{textindex.Long}},
	{name: "_partition", kinds: []textindex.Kind{textindex.Long}}, {name: "_timestamp", kinds: []textindex.Kind{textindex.Date}},
	{name: "_topic", kinds: []textindex.Kind{textindex.Keyword}},
}

// property is a member of a mapping: a field, an object with fields, or both.
type property struct {
	name     string
	kinds    []textindex.Kind
	children map[string]*property
}

func writeMappings(w *writer, t Topic, fields []textindex.Field) {
	root := &property{}
	for _, r := range ofRecords {
		root.at([]string{r.name}).kinds = r.kinds
	}
	for path, name := range t.Mapping {
		if kind, ok := textindex.KindByName(name); ok {
			root.at(strings.Split(path, ".")).add(kind)
		}
	}
	for _, f := range fields {
		if f == textindex.FieldAll {
			continue
		}
		root.at(strings.Split(f.Name, ".")).add(f.Kind)
	}
	w.name("mappings")
	w.object(func() { root.writeChildren(w) })
}

// at returns the property of a path.
func (p *property) at(path []string) *property {
	for _, name := range path {
		if p.children == nil {
			p.children = map[string]*property{}
		}
		child := p.children[name]
		if child == nil {
			child = &property{name: name}
			p.children[name] = child
		}
		p = child
	}
	return p
}

func (p *property) add(k textindex.Kind) {
	if !slices.Contains(p.kinds, k) {
		p.kinds = append(p.kinds, k)
		slices.Sort(p.kinds)
	}
}

func (p *property) writeChildren(w *writer) {
	w.name("properties")
	w.object(func() {
		for _, name := range slices.Sorted(maps.Keys(p.children)) {
			w.name(name)
			w.object(func() { p.children[name].write(w) })
		}
	})
}

// write writes a field as a mapping has it: a text has a keyword beside it; of
// several kinds the first is the field's type, and the others stand beside it too.
func (p *property) write(w *writer) {
	if len(p.kinds) > 0 {
		w.member("type", p.kinds[0].String())
		if p.kinds[0] == textindex.Keyword {
			w.member("ignore_above", textindex.KeywordBytesMax)
		}
		if len(p.kinds) > 1 {
			w.name("fields")
			w.object(func() {
				for _, k := range p.kinds[1:] {
					w.name(k.String())
					w.object(func() {
						w.member("type", k.String())
						if k == textindex.Keyword {
							w.member("ignore_above", textindex.KeywordBytesMax)
						}
					})
				}
			})
		}
	}
	if p.children != nil {
		p.writeChildren(w)
	}
}
