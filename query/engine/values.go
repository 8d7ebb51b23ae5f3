//go:build !nosql

package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// plain turns a value of the driver into one that JSON can say. Its type tells
// what Go's time.Time does not: whether it is a date, a time of day or an
// instant.
func plain(v any, t Type) any {
	switch v := v.(type) {
	case []byte:
		if t.Name == "UUID" && len(v) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", v[0:4], v[4:6], v[6:8], v[8:10], v[10:16])
		}
		return Binary(v)
	case float64:
		return number(v, 64)
	case float32:
		return number(float64(v), 32)
	case time.Time:
		return v.UTC().Format(layout(t))
	case duckdb.UUID:
		return v.String()
	case duckdb.Decimal:
		return decimal(v)
	case duckdb.Interval:
		return interval(v)
	case duckdb.Bit:
		return v.String()
	case *big.Int:
		return v
	case []any:
		return plainList(v, t)
	case map[string]any:
		return plainStruct(v, t)
	case duckdb.OrderedMap:
		return plainMap(v.Keys(), v.Values(), t)
	case duckdb.Map:
		keys, values := make([]any, 0, len(v)), make([]any, 0, len(v))
		for k, value := range v {
			keys, values = append(keys, k), append(values, value)
		}
		return plainMap(keys, values, t)
	case duckdb.Union:
		return map[string]any{v.Tag: v.Value}
	}
	return v // nil, bool, integers, string
}

// number keeps a float32 from growing digits, and writes as text what JSON
// has no number for.
func number(f float64, bits int) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case bits == 32:
		return float32(f)
	}
	return f
}

func layout(t Type) string {
	switch t.Name {
	case "DATE":
		return time.DateOnly
	case "TIME":
		return "15:04:05.999999"
	case "TIME_NS":
		return "15:04:05.999999999"
	case "TIMETZ":
		return "15:04:05.999999Z07:00"
	}
	return time.RFC3339Nano
}

// decimal writes all digits of the scale: 1.50 stays 1.50.
func decimal(d duckdb.Decimal) json.Number {
	digits := new(big.Int).Abs(d.Value).String()
	if scale := int(d.Scale); scale > 0 {
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale-len(digits)+1) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if d.Value.Sign() < 0 {
		digits = "-" + digits
	}
	return json.Number(digits)
}

// interval writes ISO 8601 durations, the form that most languages read.
func interval(i duckdb.Interval) string {
	var b strings.Builder
	b.WriteString("P")
	if i.Months != 0 {
		fmt.Fprintf(&b, "%dM", i.Months)
	}
	if i.Days != 0 {
		fmt.Fprintf(&b, "%dD", i.Days)
	}
	if i.Micros != 0 || b.Len() == 1 {
		seconds := decimal(duckdb.Decimal{Width: 18, Scale: 6, Value: big.NewInt(i.Micros)}).String()
		b.WriteString("T" + strings.TrimSuffix(strings.TrimRight(seconds, "0"), ".") + "S")
	}
	return b.String()
}

func plainList(v []any, t Type) []any {
	var elem Type
	if t.Elem != nil {
		elem = *t.Elem
	}
	out := make([]any, len(v))
	for i, e := range v {
		out[i] = plain(e, elem)
	}
	return out
}

func plainStruct(v map[string]any, t Type) map[string]any {
	out := make(map[string]any, len(v))
	for name, value := range v {
		var member Type
		for _, f := range t.Fields {
			if f.Name == name {
				member = f.Type
			}
		}
		out[name] = plain(value, member)
	}
	return out
}

// plainMap writes a map as a JSON object; keys of other types as their text.
func plainMap(keys, values []any, t Type) map[string]any {
	var key, value Type
	if len(t.Fields) == 2 {
		key, value = t.Fields[0].Type, t.Fields[1].Type
	}
	out := make(map[string]any, len(keys))
	for i, k := range keys {
		name := ""
		switch k := plain(k, key).(type) {
		case string:
			name = k
		case Binary:
			name = string(k)
		default:
			name = fmt.Sprint(k)
		}
		out[name] = plain(values[i], value)
	}
	return out
}

// weight estimates the bytes that a value holds.
func weight(v any) int64 {
	const flat = 16
	switch v := v.(type) {
	case string:
		return flat + int64(len(v))
	case Binary:
		return flat + int64(len(v))
	case []any:
		sum := int64(flat)
		for _, e := range v {
			sum += weight(e)
		}
		return sum
	case map[string]any:
		sum := int64(flat)
		for k, e := range v {
			sum += flat + int64(len(k)) + weight(e)
		}
		return sum
	}
	return flat
}
