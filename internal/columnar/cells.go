package columnar

import (
	"math"
	"slices"
	"strconv"
)

// cells are the values of one JSON column within a row group, as Parquet wants
// them: those that are there, and for each row a definition level that says
// whether there is one.
type cells struct {
	typ     Type
	levels  levels
	bools   []bool
	ints    []int64 // Int64, Timestamp
	doubles []float64
	texts   texts
}

// levels are definition levels, 1 for a value and 0 for null. While there is no
// null they are not written down.
type levels struct {
	rows  int
	nulls int
	defs  []int16 // of all rows, once nulls > 0
	room  int     // rows to make room for then
}

func (l *levels) reset() { l.rows, l.nulls, l.defs = 0, 0, l.defs[:0] }

func (l *levels) value() {
	l.rows++
	if l.nulls > 0 {
		l.defs = append(l.defs, 1)
	}
}

// pad adds nulls until there are that many rows.
func (l *levels) pad(rows int) {
	if l.rows >= rows {
		return
	}
	if l.nulls == 0 {
		l.defs = allOnes(slices.Grow(l.defs[:0], max(rows, l.room)), l.rows)
	}
	for ; l.rows < rows; l.rows++ {
		l.defs = append(l.defs, 0)
		l.nulls++
	}
}

// all returns the levels of all rows. Those of columns without a null are in ones,
// which they share.
func (l *levels) all(ones *[]int16) []int16 {
	if l.nulls > 0 {
		return l.defs
	}
	if len(*ones) < l.rows {
		*ones = allOnes(*ones, l.rows)
	}
	return (*ones)[:l.rows]
}

// allOnes returns s with n elements, all 1.
func allOnes(s []int16, n int) []int16 {
	s = slices.Grow(s[:0], n)[:n]
	for i := range s {
		s[i] = 1
	}
	return s
}

// reserve makes room for a row group, so that it is not copied while it grows.
func (c *cells) reserve(rows int, r room) {
	c.levels.room = rows
	switch c.typ {
	case Bool:
		c.bools = make([]bool, 0, r.values)
	case Int64, Timestamp:
		c.ints = make([]int64, 0, r.values)
	case Double:
		c.doubles = make([]float64, 0, r.values)
	case Text:
		c.texts.reserve(r)
	}
}

func (c *cells) reset() {
	c.levels.reset()
	c.bools, c.ints, c.doubles = c.bools[:0], c.ints[:0], c.doubles[:0]
	c.texts.reset()
}

// append adds the value of a JSON field for a row; nothing when it does not fit.
// Rows without a value before it become null.
func (c *cells) append(row int, f *field) {
	if c.levels.rows > row || !c.take(f) {
		return // of a name that occurs twice the first counts, as in the engine's functions
	}
	c.levels.pad(row)
	c.levels.value()
}

// take adds the value itself.
func (c *cells) take(f *field) bool {
	switch c.typ {
	case Text:
		return c.text(f)
	case Int64:
		if f.kind == kindInteger {
			c.ints = append(c.ints, f.integer)
			return true
		}
	case Double:
		if v, ok := double(f); ok {
			c.doubles = append(c.doubles, v)
			return true
		}
	case Bool:
		if f.kind == kindTrue || f.kind == kindFalse {
			c.bools = append(c.bools, f.kind == kindTrue)
			return true
		}
	case Timestamp:
		if f.kind == kindString {
			if micros, ok := parseTimestamp(f.text); ok {
				c.ints = append(c.ints, micros)
				return true
			}
		}
	}
	return false
}

// text adds a string's text, or the literal that stands in the JSON.
func (c *cells) text(f *field) bool {
	switch f.kind {
	case kindNull, kindNested:
		return false
	case kindEscaped:
		c.texts.scratch = appendUnescaped(c.texts.scratch[:0], f.text)
		c.texts.append(c.texts.scratch)
	default:
		c.texts.append(f.text)
	}
	return true
}

func double(f *field) (float64, bool) {
	switch f.kind {
	case kindInteger:
		return float64(f.integer), true
	case kindNumber:
		v, err := strconv.ParseFloat(string(f.text), 64)
		return v, err == nil && !math.IsInf(v, 0)
	}
	return 0, false
}
