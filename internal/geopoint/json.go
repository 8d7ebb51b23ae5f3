package geopoint

import (
	"bytes"
	"math"
	"strconv"
)

// AppendJSON appends the points of a JSON value, which is well formed: an object
// of lat and lon, GeoJSON's Point, [lon, lat], a text that Parse reads, null, or
// an array of such. It reports false when anything in it is no point.
func AppendJSON(to []Point, value []byte) ([]Point, bool) {
	r := reader{value}
	to, ok := r.points(to, 0)
	r.space()
	return to, ok && len(r.rest) == 0
}

// reader walks JSON that is known to be well formed.
type reader struct{ rest []byte }

func (r *reader) space() { r.rest = bytes.TrimLeft(r.rest, " \t\r\n") }

// take goes past a character, if it is the next.
func (r *reader) take(c byte) bool {
	if r.space(); len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// arraysMax is how deep points lie in arrays.
const arraysMax = 16

func (r *reader) points(to []Point, depth int) ([]Point, bool) {
	switch {
	case r.take('{'):
		p, ok := r.object()
		return append(to, p), ok
	case r.take('"'):
		text, ok := r.text()
		if !ok {
			return to, false
		}
		p, err := Parse(text)
		return append(to, p), err == nil
	case r.take('['):
		if r.take(']') {
			return to, true
		}
		if c := r.rest[0]; c == '-' || '0' <= c && c <= '9' {
			p, ok := r.coordinates()
			return append(to, p), ok
		}
		for depth < arraysMax {
			var ok bool
			if to, ok = r.points(to, depth+1); !ok {
				return to, false
			}
			if !r.take(',') {
				return to, r.take(']')
			}
		}
		return to, false
	}
	if after, ok := bytes.CutPrefix(r.rest, []byte("null")); ok {
		r.rest = after
		return to, true
	}
	return to, false
}

// object reads the members of a point.
func (r *reader) object() (Point, bool) {
	p := Point{math.NaN(), math.NaN()}
	for !r.take('}') {
		r.take(',')
		if !r.take('"') {
			return p, false
		}
		name, ok := r.text()
		if !ok || !r.take(':') {
			return p, false
		}
		switch name {
		case "lat":
			p.Lat, ok = r.number()
		case "lon":
			p.Lon, ok = r.number()
		case "z":
			_, ok = r.number()
		case "type":
			kind := ""
			if ok = r.take('"'); ok {
				kind, ok = r.text()
			}
			ok = ok && kind == "Point"
		case "coordinates":
			if ok = r.take('['); ok {
				p, ok = r.coordinates()
			}
		default:
			ok = false
		}
		if !ok {
			return p, false
		}
	}
	return p, p.Check() == nil
}

// coordinates reads lon, lat and perhaps a height, up to the end of their array.
func (r *reader) coordinates() (p Point, ok bool) {
	if p.Lon, ok = r.number(); !ok || !r.take(',') {
		return p, false
	}
	if p.Lat, ok = r.number(); !ok {
		return p, false
	}
	if r.take(',') {
		if _, ok = r.number(); !ok {
			return p, false
		}
	}
	return p, r.take(']') && p.Check() == nil
}

// number reads a number, which may be written as a text.
func (r *reader) number() (float64, bool) {
	var text string
	if r.take('"') {
		var ok bool
		if text, ok = r.text(); !ok {
			return 0, false
		}
	} else {
		end := bytes.IndexAny(r.rest, ",]} \t\r\n")
		if end < 0 {
			end = len(r.rest)
		}
		text, r.rest = string(r.rest[:end]), r.rest[end:]
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

// text reads a string up to its end. Points have no escapes.
func (r *reader) text() (string, bool) {
	end := bytes.IndexAny(r.rest, `"\`)
	if end < 0 || r.rest[end] == '\\' {
		return "", false
	}
	s := string(r.rest[:end])
	r.rest = r.rest[end+1:]
	return s, true
}
