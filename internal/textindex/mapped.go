package textindex

import (
	"math"
	"strconv"

	"github.com/chronik-stream/chronik/internal/geopoint"
)

// mapped indexes a value as its mapping says, as Elasticsearch does: numbers may
// be written as texts, fractions of whole numbers are cut off, numbers in dates
// are ms since 1970. It reports false for a value that does not fit.
func (m *Memory) mapped(g *group, l *leaf) bool {
	switch g.mapped {
	case Text:
		m.words(&g.text, g.name, m.written(l))
		return true
	case Keyword:
		text := m.written(l)
		if len(text) > KeywordBytesMax {
			return false
		}
		m.keyword(&g.keyword, g.name, text)
		return true
	case Boolean:
		switch {
		case l.shape == shapeBoolean:
			m.value(&g.boolean, Field{g.name, Boolean}, l.integer)
		case l.shape == shapeText && string(l.text) == "true":
			m.value(&g.boolean, Field{g.name, Boolean}, 1)
		case l.shape == shapeText && (string(l.text) == "false" || len(l.text) == 0):
			m.value(&g.boolean, Field{g.name, Boolean}, 0)
		default:
			return false
		}
		return true
	case GeoPoint:
		return m.points(g, l)
	}
	return m.mappedNumber(g, l)
}

// written is a scalar as a text, good until the next.
func (m *Memory) written(l *leaf) []byte {
	switch l.shape {
	case shapeInteger:
		m.digits = strconv.AppendInt(m.digits[:0], l.integer, 10)
	case shapeNumber:
		m.digits = strconv.AppendFloat(m.digits[:0], l.number, 'g', -1, 64)
	case shapeBoolean:
		m.digits = strconv.AppendBool(m.digits[:0], l.integer != 0)
	default:
		return l.text
	}
	return m.digits
}

func (m *Memory) mappedNumber(g *group, l *leaf) bool {
	if g.mapped == Date && l.shape == shapeText {
		if ms, ok := parseDay(l.text); ok {
			m.value(&g.instant, Field{g.name, Date}, ms)
			return true
		}
	}
	whole, isWhole := l.integer, l.shape == shapeInteger
	fraction, isFraction := l.number, l.shape == shapeNumber
	if l.shape == shapeText {
		var err error
		if whole, err = strconv.ParseInt(string(l.text), 10, 64); err == nil {
			isWhole = true
		} else if fraction, err = strconv.ParseFloat(string(l.text), 64); err == nil {
			isFraction = !math.IsNaN(fraction) && !math.IsInf(fraction, 0)
		}
	}
	switch {
	case !isWhole && !isFraction:
		return false
	case g.mapped == Double && isWhole:
		m.value(&g.number, Field{g.name, Double}, SortableDouble(float64(whole)))
		return true
	case g.mapped == Double:
		m.value(&g.number, Field{g.name, Double}, SortableDouble(fraction))
		return true
	case isFraction && (fraction >= math.MaxInt64 || fraction <= math.MinInt64):
		return false
	case isFraction:
		whole = int64(fraction)
	}
	if g.mapped == Date {
		m.value(&g.instant, Field{g.name, Date}, whole)
	} else {
		m.value(&g.number, Field{g.name, Long}, whole)
	}
	return true
}

// points indexes a value of points: all of them, or none.
func (m *Memory) points(g *group, l *leaf) bool {
	var ok bool
	if m.places, ok = geopoint.AppendJSON(m.places[:0], l.text); !ok {
		return false
	}
	for _, p := range m.places {
		m.value(&g.point, Field{g.name, GeoPoint}, p.Encode())
	}
	return true
}
