package textsearch

import (
	"context"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/geopoint"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// shownField is a field that hits show, by the name that the client knows.
type shownField struct {
	name   string
	kinds  []textindex.Field
	format textquery.DateFormat
}

// showFields gives hits the values of the fields that the request asks for: those
// of their columns, and of texts that are too long for a keyword those of the
// record.
func (x *execution) showFields(ctx context.Context, hits []Hit) error {
	if len(x.request.Fields) == 0 || len(hits) == 0 {
		return nil
	}
	fields, err := x.shownFields()
	if err != nil {
		return err
	}
	v := fieldValues{execution: x, columns: map[partField]textindex.Column{}}
	for i := range hits {
		h := &hits[i]
		for _, f := range fields {
			values, err := v.of(ctx, h, f)
			if err != nil {
				return err
			}
			if len(values) == 0 {
				continue
			}
			if h.Fields == nil {
				h.Fields = map[string][]any{}
			}
			h.Fields[f.name] = values
		}
	}
	return nil
}

// shownFields are the fields that the request's names and patterns stand for.
func (x *execution) shownFields() ([]shownField, error) {
	otherwise, err := textquery.NewDateFormat(textquery.DefaultDateFormat)
	if err != nil {
		return nil, err
	}
	var all []shownField
	for _, asked := range x.request.Fields {
		format := otherwise
		if asked.Format != nil {
			format = *asked.Format
		}
		if !strings.Contains(asked.Field, "*") {
			all = append(all, shownField{asked.Field, x.schema.resolve(asked.Field), format})
			continue
		}
		for _, name := range x.schema.names {
			if textquery.MatchPattern(asked.Field, name) && !strings.HasPrefix(name, "_") {
				all = append(all, shownField{name, x.schema.fields[name], format})
			}
		}
	}
	return all, nil
}

// fieldValues reads the values of hits, and each column once.
type fieldValues struct {
	*execution
	columns map[partField]textindex.Column
}

type partField struct {
	part  int
	field textindex.Field
}

func (v *fieldValues) column(ctx context.Context, part int, f textindex.Field) (textindex.Column, error) {
	if c := v.columns[partField{part, f}]; c != nil {
		return c, nil
	}
	c, err := v.search.Parts[part].Split.Column(ctx, f)
	if err == nil {
		v.columns[partField{part, f}] = c
	}
	return c, err
}

// of are the values that a hit has of a field.
func (v *fieldValues) of(ctx context.Context, h *Hit, f shownField) ([]any, error) {
	split := v.search.Parts[h.part].Split
	var out []any
	texts := false
	for _, k := range f.kinds {
		if _, there := split.Field(k); !there {
			continue
		}
		if k.Kind == textindex.Text {
			texts = true
			continue
		}
		column, err := v.column(ctx, h.part, k)
		if err != nil {
			return nil, err
		}
		values := column.Append(nil, h.doc)
		if k.Kind != textindex.Keyword {
			for _, value := range values {
				out = append(out, f.show(k.Kind, value))
			}
			continue
		}
		var ordinals []uint32
		for _, value := range values {
			ordinals = append(ordinals, uint32(value))
		}
		for t, err := range split.TermsAt(ctx, k, ordinals) {
			if err != nil {
				return nil, err
			}
			out = append(out, string(t.Bytes))
		}
	}
	if texts && len(out) == 0 && h.Found {
		for _, t := range textsOf(h.Value) {
			if t.name == f.name {
				out = append(out, t.text)
			}
		}
	}
	return out, nil
}

func (f *shownField) show(kind textindex.Kind, v int64) any {
	switch kind {
	case textindex.Double:
		return textindex.DoubleOf(v)
	case textindex.Boolean:
		return v != 0
	case textindex.Date:
		return f.format.Show(time.UnixMilli(v), time.UTC)
	case textindex.GeoPoint:
		p := geopoint.Decode(v)
		return map[string]any{"type": "Point", "coordinates": []float64{p.Lon, p.Lat}}
	}
	return v
}
