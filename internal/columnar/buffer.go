package columnar

import (
	"math"
	"strconv"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// The buffers below have Arrow's own layout, so that a row group becomes an
// Arrow record without a copy. They are reused for the next row group: the
// Parquet writer keeps nothing of what it has written.

// validity is Arrow's validity bitmap.
type validity struct {
	bits  []byte
	rows  int
	nulls int
}

func (v *validity) reset() { v.bits, v.rows, v.nulls = v.bits[:0], 0, 0 }

func (v *validity) append(valid bool) {
	if v.rows&7 == 0 {
		v.bits = append(v.bits, 0)
	}
	if valid {
		v.bits[v.rows>>3] |= 1 << (v.rows & 7)
	} else {
		v.nulls++
	}
	v.rows++
}

func (v *validity) buffer() *memory.Buffer {
	if v.nulls == 0 {
		return nil
	}
	return memory.NewBufferBytes(v.bits)
}

// blobs is a column of byte strings.
type blobs struct {
	validity
	data    []byte
	offsets []int32 // rows + 1 of them
}

func (b *blobs) reset() {
	b.validity.reset()
	b.data = b.data[:0]
	b.offsets = append(b.offsets[:0], 0)
}

// append adds a value; nil is null.
func (b *blobs) append(v []byte) {
	b.data = append(b.data, v...)
	b.end(v != nil)
}

// end makes a value of what was added to data since the last one.
func (b *blobs) end(valid bool) {
	b.offsets = append(b.offsets, int32(len(b.data)))
	b.validity.append(valid)
}

func (b *blobs) arrow(t arrow.DataType) arrow.ArrayData {
	return array.NewData(t, b.rows, []*memory.Buffer{b.buffer(), bytesOf(b.offsets), memory.NewBufferBytes(b.data)}, nil, b.nulls, 0)
}

// bytesOf gives the memory of a slice of plain numbers to Arrow.
func bytesOf[T int8 | int32 | int64 | float64](s []T) *memory.Buffer {
	if len(s) == 0 {
		return memory.NewBufferBytes(nil)
	}
	return memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0]))))
}

// cells are the values of one JSON column.
type cells struct {
	typ     Type
	blobs             // Text: everything; others: only the validity
	bools   []byte    // a bitmap
	ints    []int64   // Int64, Timestamp
	doubles []float64 // Double
}

func (c *cells) reset() {
	c.blobs.reset()
	c.bools, c.ints, c.doubles = c.bools[:0], c.ints[:0], c.doubles[:0]
}

// pad adds nulls until the column has that many rows.
func (c *cells) pad(rows int) {
	for c.rows < rows {
		c.null()
	}
}

func (c *cells) null() {
	switch c.typ {
	case Bool:
		c.bit(false)
	case Int64, Timestamp:
		c.ints = append(c.ints, 0)
	case Double:
		c.doubles = append(c.doubles, 0)
	case Text:
		c.end(false)
		return
	}
	c.validity.append(false)
}

// append adds the value of a JSON field, or null when it does not fit.
func (c *cells) append(f *field) {
	switch c.typ {
	case Text:
		c.text(f)
		return
	case Int64:
		if f.kind == kindInteger {
			c.ints = append(c.ints, f.integer)
			c.validity.append(true)
			return
		}
	case Double:
		if v, ok := double(f); ok {
			c.doubles = append(c.doubles, v)
			c.validity.append(true)
			return
		}
	case Bool:
		if f.kind == kindTrue || f.kind == kindFalse {
			c.bit(f.kind == kindTrue)
			c.validity.append(true)
			return
		}
	case Timestamp:
		if f.kind == kindString {
			if micros, ok := parseTimestamp(f.text); ok {
				c.ints = append(c.ints, micros)
				c.validity.append(true)
				return
			}
		}
	}
	c.null()
}

// text adds a string's text, or the literal that stands in the JSON.
func (c *cells) text(f *field) {
	switch f.kind {
	case kindNull, kindNested:
		c.end(false)
		return
	case kindEscaped:
		c.data = appendUnescaped(c.data, f.text)
	default:
		c.data = append(c.data, f.text...)
	}
	c.end(true)
}

func (c *cells) bit(v bool) {
	if c.rows&7 == 0 {
		c.bools = append(c.bools, 0)
	}
	if v {
		c.bools[c.rows>>3] |= 1 << (c.rows & 7)
	}
}

func double(f *field) (float64, bool) {
	switch f.kind {
	case kindInteger:
		return float64(f.integer), true
	case kindNumber:
		v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(f.text), len(f.text)), 64)
		return v, err == nil && !math.IsInf(v, 0)
	}
	return 0, false
}

func (c *cells) arrow() arrow.ArrayData {
	t := arrowType(c.typ)
	if c.typ == Text {
		return c.blobs.arrow(t)
	}
	var values *memory.Buffer
	switch c.typ {
	case Bool:
		values = memory.NewBufferBytes(c.bools)
	case Double:
		values = bytesOf(c.doubles)
	default:
		values = bytesOf(c.ints)
	}
	return array.NewData(t, c.rows, []*memory.Buffer{c.buffer(), values}, nil, c.nulls, 0)
}

// bytes is about how much memory the column's values take.
func (c *cells) bytes() int {
	return len(c.data) + 4*len(c.offsets) + 8*len(c.ints) + 8*len(c.doubles)
}
