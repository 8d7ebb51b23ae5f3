package answer

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// cell appends the JSON of one row's value to a buffer.
type cell func(into []byte, row int) []byte

// cellOf makes the cell of a column. Making it looks at types; calling it does
// not.
func cellOf(a arrow.Array, binary Binary) cell {
	value := valueOf(a, binary)
	if a.NullN() == 0 {
		return value
	}
	return func(into []byte, row int) []byte {
		if a.IsNull(row) {
			return append(into, "null"...)
		}
		return value(into, row)
	}
}

// valueOf makes the cell of a column whose rows are not null.
func valueOf(a arrow.Array, binary Binary) cell {
	switch a := a.(type) {
	case *array.Null:
		return func(into []byte, _ int) []byte { return append(into, "null"...) }
	case *array.Boolean:
		return func(into []byte, row int) []byte { return strconv.AppendBool(into, a.Value(row)) }
	case *array.Int8:
		return integer(a)
	case *array.Int16:
		return integer(a)
	case *array.Int32:
		return integer(a)
	case *array.Int64:
		return integer(a)
	case *array.Uint8:
		return integer(a)
	case *array.Uint16:
		return integer(a)
	case *array.Uint32:
		return integer(a)
	case *array.Uint64:
		return func(into []byte, row int) []byte { return strconv.AppendUint(into, a.Value(row), 10) }
	case *array.Float32:
		return func(into []byte, row int) []byte { return appendFloat(into, float64(a.Value(row)), 32) }
	case *array.Float64:
		return func(into []byte, row int) []byte { return appendFloat(into, a.Value(row), 64) }
	case *array.Decimal128:
		scale := int(a.DataType().(*arrow.Decimal128Type).Scale)
		return func(into []byte, row int) []byte { return appendDecimal(into, a.Value(row), scale) }
	case *array.String:
		return func(into []byte, row int) []byte { return appendString(into, a.Value(row)) }
	case *array.LargeString:
		return func(into []byte, row int) []byte { return appendString(into, a.Value(row)) }
	case *array.StringView:
		return func(into []byte, row int) []byte { return appendString(into, a.Value(row)) }
	case *array.Binary:
		return func(into []byte, row int) []byte { return appendBinary(into, a.Value(row), binary) }
	case *array.LargeBinary:
		return func(into []byte, row int) []byte { return appendBinary(into, a.Value(row), binary) }
	case *array.BinaryView:
		return func(into []byte, row int) []byte { return appendBinary(into, a.Value(row), binary) }
	case *array.FixedSizeBinary:
		return func(into []byte, row int) []byte { return appendBinary(into, a.Value(row), binary) }
	case *array.Date32:
		return func(into []byte, row int) []byte {
			return quoted(into, func(b []byte) []byte { return appendDate(b, int64(a.Value(row))) })
		}
	case *array.Time64:
		unit := a.DataType().(*arrow.Time64Type).Unit
		return func(into []byte, row int) []byte {
			return quoted(into, func(b []byte) []byte { return appendTimeOfDay(b, int64(a.Value(row)), unit) })
		}
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		return func(into []byte, row int) []byte {
			return quoted(into, func(b []byte) []byte { return appendTimestamp(b, int64(a.Value(row)), t) })
		}
	case *array.MonthDayNanoInterval:
		return func(into []byte, row int) []byte {
			return quoted(into, func(b []byte) []byte { return appendInterval(b, a.Value(row)) })
		}
	}
	return nestedOf(a, binary)
}

// nestedOf makes the cell of a column whose values hold others.
func nestedOf(a arrow.Array, binary Binary) cell {
	switch a := a.(type) {
	case *array.Map:
		return mapCell(a, binary)
	case array.ListLike: // lists of any kind
		elements := cellOf(a.ListValues(), binary)
		return func(into []byte, row int) []byte {
			into = append(into, '[')
			first, next := a.ValueOffsets(row)
			for i := first; i < next; i++ {
				if i > first {
					into = append(into, ',')
				}
				into = elements(into, int(i))
			}
			return append(into, ']')
		}
	case *array.Struct:
		return structCell(a, binary)
	case *array.Dictionary:
		values := cellOf(a.Dictionary(), binary)
		return func(into []byte, row int) []byte { return values(into, a.GetValueIndex(row)) }
	case array.ExtensionArray:
		return cellOf(a.Storage(), binary)
	}
	return func(into []byte, row int) []byte { return appendString(into, a.ValueStr(row)) }
}

// structCell writes an object, with its members in order; one whose members have no
// names, as row(1, 'x'), is an array.
func structCell(a *array.Struct, binary Binary) cell {
	t := a.DataType().(*arrow.StructType)
	members, names := make([]cell, a.NumField()), make([][]byte, a.NumField())
	for i := range members {
		members[i] = cellOf(a.Field(i), binary)
		if t.Field(i).Name != "" {
			names[i] = append(appendString(nil, t.Field(i).Name), ':')
		}
	}
	begin, end := byte('{'), byte('}')
	if len(names) > 0 && names[0] == nil {
		begin, end = '[', ']'
	}
	return func(into []byte, row int) []byte {
		into = append(into, begin)
		for i, member := range members {
			if i > 0 {
				into = append(into, ',')
			}
			into = member(append(into, names[i]...), row)
		}
		return append(into, end)
	}
}

// mapCell writes an object. Keys that are no text are written as their text.
func mapCell(a *array.Map, binary Binary) cell {
	keys, items := cellOf(a.Keys(), binary), cellOf(a.Items(), binary)
	return func(into []byte, row int) []byte {
		into = append(into, '{')
		first, next := a.ValueOffsets(row)
		for i := first; i < next; i++ {
			if i > first {
				into = append(into, ',')
			}
			at := len(into)
			into = keys(into, int(i))
			if into[at] != '"' {
				into = appendString(into[:at], string(into[at:]))
			}
			into = items(append(into, ':'), int(i))
		}
		return append(into, '}')
	}
}

// integer is the cell of integers that an int64 holds.
func integer[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](a interface{ Value(int) T }) cell {
	return func(into []byte, row int) []byte { return strconv.AppendInt(into, int64(a.Value(row)), 10) }
}

func quoted(into []byte, text func([]byte) []byte) []byte {
	return append(text(append(into, '"')), '"')
}

// appendFloat writes the shortest digits that read back the same, in the form of
// JavaScript, and as text what JSON has no number for.
func appendFloat(into []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(into, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(into, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(into, `"-Infinity"`...)
	}
	form := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(into, f, form, -1, bits)
}

// appendDecimal writes all digits of the scale: 1.50 stays 1.50.
func appendDecimal(into []byte, n decimal128.Num, scale int) []byte {
	digits := n.BigInt()
	if digits.Sign() < 0 {
		into = append(into, '-')
		digits.Neg(digits)
	}
	at := len(into)
	into = digits.Append(into, 10)
	for len(into)-at <= scale {
		into = append(into, 0)
		copy(into[at+1:], into[at:])
		into[at] = '0'
	}
	if scale > 0 {
		point := len(into) - scale
		into = append(into, 0)
		copy(into[point+1:], into[point:])
		into[point] = '.'
	}
	return into
}

func appendBinary(into []byte, b []byte, as Binary) []byte {
	switch {
	case as == Base64:
		return append(base64.StdEncoding.AppendEncode(append(into, '"'), b), '"')
	case utf8.Valid(b):
		return appendString(into, b)
	}
	return append(base64.StdEncoding.AppendEncode(append(into, `{"$binary":"`...), b), `"}`...)
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string.
func appendString[T string | []byte](into []byte, s T) []byte {
	into = append(into, '"')
	plain := 0 // s[plain:i] is not written yet
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		into = append(into, s[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			into = append(into, '\\', c)
		case '\n':
			into = append(into, `\n`...)
		case '\r':
			into = append(into, `\r`...)
		case '\t':
			into = append(into, `\t`...)
		default:
			into = append(into, `\u00`...)
			into = append(into, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(into, s[plain:]...), '"')
}

// DuckDB's dates and timestamps know infinity, as the ends of their range.
func appendInfinity(into []byte, negative bool) []byte {
	if negative {
		into = append(into, '-')
	}
	return append(into, "infinity"...)
}

func appendDate(into []byte, days int64) []byte {
	if days == math.MaxInt32 || days == -math.MaxInt32 {
		return appendInfinity(into, days < 0)
	}
	return time.Unix(days*24*60*60, 0).UTC().AppendFormat(into, time.DateOnly)
}

// appendTimestamp writes RFC 3339, without a zone where the type has none.
func appendTimestamp(into []byte, v int64, t *arrow.TimestampType) []byte {
	if v == math.MaxInt64 || v == -math.MaxInt64 {
		return appendInfinity(into, v < 0)
	}
	into = arrow.Timestamp(v).ToTime(t.Unit).AppendFormat(into, "2006-01-02T15:04:05.999999999")
	if t.TimeZone != "" {
		into = append(into, 'Z')
	}
	return into
}

// appendTimeOfDay writes hh:mm:ss with what is behind the second. DuckDB has
// 24:00:00 too, which Go's clock has not.
func appendTimeOfDay(into []byte, v int64, unit arrow.TimeUnit) []byte {
	nanos := v * int64(unit.Multiplier())
	seconds := nanos / 1e9
	for i, part := range []int64{seconds / 3600, seconds / 60 % 60, seconds % 60} {
		if i > 0 {
			into = append(into, ':')
		}
		into = append(into, byte('0'+part/10), byte('0'+part%10))
	}
	return appendFraction(into, nanos%1e9)
}

// appendFraction writes nanoseconds as .5 or .000001, and 0 as nothing.
func appendFraction(into []byte, nanos int64) []byte {
	if nanos == 0 {
		return into
	}
	text := strconv.AppendInt(nil, nanos+1e9, 10)
	text[0] = '.'
	return append(into, bytes.TrimRight(text, "0")...)
}

// appendInterval writes an ISO 8601 duration, which most languages read.
func appendInterval(into []byte, v arrow.MonthDayNanoInterval) []byte {
	into = append(into, 'P')
	if v.Months != 0 {
		into = append(strconv.AppendInt(into, int64(v.Months), 10), 'M')
	}
	if v.Days != 0 {
		into = append(strconv.AppendInt(into, int64(v.Days), 10), 'D')
	}
	if v.Nanoseconds == 0 && (v.Months != 0 || v.Days != 0) {
		return into
	}
	into = append(into, 'T')
	seconds, rest := v.Nanoseconds/1e9, v.Nanoseconds%1e9
	if v.Nanoseconds < 0 {
		into, seconds, rest = append(into, '-'), -seconds, -rest
	}
	return append(appendFraction(strconv.AppendInt(into, seconds, 10), rest), 'S')
}
