package answer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// CSV writes rows as RFC 4180 has them: lines end with CRLF, and what has a
// comma, a quote or the end of a line in it is in quotes. Null is an empty field,
// an empty text one in quotes. What JSON shows as text is that text; structs,
// maps and lists are their JSON.
type CSV struct {
	binary  Binary
	scratch []byte // of one value
}

// NewCSV makes a writer of rows.
func NewCSV(o Options) *CSV { return &CSV{binary: o.Binary} }

// Header appends the line of the columns' names.
func (c *CSV) Header(into []byte, schema *arrow.Schema) []byte {
	for i, name := range Names(schema) {
		if i > 0 {
			into = append(into, ',')
		}
		into = appendField(into, []byte(name))
	}
	return append(into, "\r\n"...)
}

// Append appends a line for each row of a batch.
func (c *CSV) Append(into []byte, batch arrow.RecordBatch) []byte {
	texts := make([]cell, batch.NumCols())
	for i := range texts {
		texts[i] = textOf(batch.Column(i), c.binary)
	}
	for row := range int(batch.NumRows()) {
		for i, text := range texts {
			if i > 0 {
				into = append(into, ',')
			}
			if !isNull(batch.Column(i), row) {
				c.scratch = text(c.scratch[:0], row)
				into = appendField(into, c.scratch)
			}
		}
		into = append(into, "\r\n"...)
	}
	return into
}

// isNull also knows the arrays that are null by their type or by their values.
func isNull(a arrow.Array, row int) bool {
	if d, ok := a.(*array.Dictionary); ok {
		return d.IsNull(row) || d.Dictionary().IsNull(d.GetValueIndex(row))
	}
	return a.DataType().ID() == arrow.NULL || a.IsNull(row)
}

// appendField quotes where it has to.
func appendField(into, text []byte) []byte {
	if len(text) > 0 && !bytes.ContainsAny(text, ",\"\r\n") {
		return append(into, text...)
	}
	into = append(into, '"')
	for {
		at := bytes.IndexByte(text, '"')
		if at < 0 {
			return append(append(into, text...), '"')
		}
		into = append(append(into, text[:at+1]...), '"')
		text = text[at+1:]
	}
}

// textOf makes the cell of a column whose rows are not null, as text without
// JSON's quotes.
func textOf(a arrow.Array, binary Binary) cell {
	switch a := a.(type) {
	case interface{ Value(int) string }: // texts of any kind
		return func(into []byte, row int) []byte { return append(into, a.Value(row)...) }
	case interface{ Value(int) []byte }: // binary of any kind
		return func(into []byte, row int) []byte {
			switch b := a.Value(row); {
			case binary == Base64:
				return base64.StdEncoding.AppendEncode(into, b)
			case utf8.Valid(b):
				return append(into, b...)
			default:
				return appendBinary(into, b, binary)
			}
		}
	case *array.Dictionary:
		values := textOf(a.Dictionary(), binary)
		return func(into []byte, row int) []byte { return values(into, a.GetValueIndex(row)) }
	case array.ExtensionArray:
		return textOf(a.Storage(), binary)
	}
	value := valueOf(a, binary)
	return func(into []byte, row int) []byte { return unquoted(value(into, row), len(into)) }
}

// unquoted turns a JSON string behind the first bytes into its text.
func unquoted(into []byte, from int) []byte {
	quoted := into[from:]
	if len(quoted) < 2 || quoted[0] != '"' {
		return into
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return append(into[:from], quoted[1:len(quoted)-1]...)
	}
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return into // not reached: it was written here
	}
	return append(into[:from], text...)
}
