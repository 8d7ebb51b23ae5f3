package elastic

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// writer writes JSON whose members keep the order in which they are written.
type writer struct {
	out   []byte
	comma bool // a comma is due before what comes next
}

// object writes {…}; members writes what is in it.
func (w *writer) object(members func()) {
	w.separate()
	w.out = append(w.out, '{')
	members()
	w.out = append(w.out, '}')
	w.comma = true
}

// array writes […]; items writes what is in it.
func (w *writer) array(items func()) {
	w.separate()
	w.out = append(w.out, '[')
	items()
	w.out = append(w.out, ']')
	w.comma = true
}

func (w *writer) separate() {
	if w.comma {
		w.out = append(w.out, ',')
	}
	w.comma = false
}

// name writes the name of a member, whose value comes next.
func (w *writer) name(name string) {
	w.separate()
	w.out = appendText(w.out, name)
	w.out = append(w.out, ':')
}

func (w *writer) member(name string, value any) {
	w.name(name)
	w.value(value)
}

// raw writes JSON as it is.
func (w *writer) raw(text []byte) {
	w.separate()
	w.out = append(w.out, text...)
	w.comma = true
}

// value writes a scalar, or anything that encoding/json knows.
func (w *writer) value(v any) {
	w.separate()
	switch v := v.(type) {
	case nil:
		w.out = append(w.out, "null"...)
	case string:
		w.out = appendText(w.out, v)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case int:
		w.out = strconv.AppendInt(w.out, int64(v), 10)
	case int32:
		w.out = strconv.AppendInt(w.out, int64(v), 10)
	case int64:
		w.out = strconv.AppendInt(w.out, v, 10)
	case float64:
		w.out = appendDouble(w.out, v)
	case *float64:
		if v == nil {
			w.out = append(w.out, "null"...)
		} else {
			w.out = appendDouble(w.out, *v)
		}
	default:
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte("null") // nothing that is written has such values
		}
		w.out = append(w.out, text...)
	}
	w.comma = true
}

// appendDouble writes a number as Java does, so that clients which look at the
// text see a fraction: 3.0.
func appendDouble(out []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(out, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(out, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(out, `"-Infinity"`...)
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.AppendFloat(out, v, 'f', 1, 64)
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendText writes a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendText(out []byte, s string) []byte {
	out = append(out, '"')
	plain := 0 // from here on nothing was written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			out = append(append(out, s[plain:i]...), "\ufffd"...)
			i++
			plain = i
			continue
		}
		out = append(out, s[plain:i]...)
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\n':
			out = append(out, '\\', 'n')
		case '\t':
			out = append(out, '\\', 't')
		case '\r':
			out = append(out, '\\', 'r')
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		plain = i
	}
	return append(append(out, s[plain:]...), '"')
}
