package answer

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// JSON writes rows as objects, or as arrays, with their values in the order of
// the columns.
type JSON struct {
	binary Binary
	keys   [][]byte // "name": of each column; nil: rows are arrays
}

// NewJSON makes a writer of rows.
func NewJSON(schema *arrow.Schema, o Options) *JSON {
	j := &JSON{binary: o.Binary}
	if o.Arrays {
		return j
	}
	j.keys = [][]byte{}
	for _, name := range Names(schema) {
		j.keys = append(j.keys, append(appendString(nil, name), ':'))
	}
	return j
}

// Append appends the rows of a batch to a buffer, with separator behind each but
// the last.
func (j *JSON) Append(into []byte, batch arrow.RecordBatch, separator byte) []byte {
	cells := make([]cell, batch.NumCols())
	for i := range cells {
		cells[i] = cellOf(batch.Column(i), j.binary)
	}
	opening, closing := byte('{'), byte('}')
	if j.keys == nil {
		opening, closing = '[', ']'
	}
	for row := range int(batch.NumRows()) {
		if row > 0 {
			into = append(into, separator)
		}
		into = append(into, opening)
		for i, cell := range cells {
			if i > 0 {
				into = append(into, ',')
			}
			if j.keys != nil {
				into = append(into, j.keys[i]...)
			}
			into = cell(into, row)
		}
		into = append(into, closing)
		if row == 0 {
			into = slices.Grow(into, len(into)) // rows are much alike
		}
	}
	return into
}
