package iceberg

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/chronik-stream/chronik/internal/manifest"
)

const (
	// textBoundMax is how much of a text's or binary's least and greatest value a
	// table keeps, in characters or bytes: Iceberg's own default.
	textBoundMax = 16
	// columnsMeasured bounds the columns with statistics in a table, so that wide
	// files do not make its manifests large: Iceberg's own default.
	columnsMeasured = 100
)

// measures are what a table knows of a file's columns, by field id.
type measures struct {
	sizes, values, nulls map[int]int64
	lower, upper         map[int][]byte
	splits               []int64
}

// measure reads a Parquet footer. Bounds hold for all values of a column, or are
// absent: a row group that has values and says nothing of them, because they are
// long, takes the column's bounds away.
func measure(footer *metadata.FileMetaData, f *manifest.File, partition int32) (measures, error) {
	m := measures{
		sizes: make(map[int]int64), values: make(map[int]int64), nulls: make(map[int]int64),
		lower: make(map[int][]byte), upper: make(map[int][]byte),
	}
	columns := make(map[int]*extremes)
	for g := range footer.NumRowGroups() {
		group := footer.RowGroup(g)
		m.splits = append(m.splits, groupStart(group))
		jsonColumns := 0
		for i := range group.NumColumns() {
			node := footer.Schema.Column(i).SchemaNode()
			id := int(node.FieldID())
			if id >= fieldsSystem {
				if jsonColumns++; jsonColumns > columnsMeasured {
					break
				}
			}
			chunk, err := group.ColumnChunk(i)
			if err != nil {
				return m, err
			}
			m.sizes[id] += chunk.TotalCompressedSize()
			m.values[id] += chunk.NumValues()
			stats, err := chunk.Statistics()
			if err != nil {
				return m, err
			}
			if columns[id] == nil {
				columns[id] = &extremes{}
			}
			e := columns[id]
			if stats == nil || !stats.HasNullCount() {
				e.unknown, e.nullsUnknown = true, true
				continue
			}
			m.nulls[id] += stats.NullCount()
			switch {
			case stats.HasMinMax():
				e.add(footer.Schema.Column(i).PhysicalType(), stats)
			case stats.NullCount() < chunk.NumValues():
				e.unknown = true
			}
		}
	}
	for id, e := range columns {
		if e.nullsUnknown {
			delete(m.nulls, id)
		}
		if !e.unknown && e.lower != nil && id != fieldHeaderKey && id != fieldHeaderValue {
			m.bound(id, e)
		}
	}
	m.boundSystem(f, partition)
	return m, nil
}

// groupStart is the first byte of a row group.
func groupStart(group *metadata.RowGroupMetaData) int64 {
	chunk, err := group.ColumnChunk(0)
	if err != nil {
		return group.FileOffset()
	}
	if chunk.HasDictionaryPage() && chunk.DictionaryPageOffset() < chunk.DataPageOffset() {
		return chunk.DictionaryPageOffset()
	}
	return chunk.DataPageOffset()
}

// extremes gather the least and the greatest value of a column over row groups.
type extremes struct {
	lower, upper          []byte // as Parquet encodes them, which is as Iceberg does
	text                  bool
	unknown, nullsUnknown bool
}

func (e *extremes) add(physical parquet.Type, stats metadata.TypedStatistics) {
	lower, upper := stats.EncodeMin(), stats.EncodeMax()
	e.text = physical == parquet.Types.ByteArray
	if e.lower == nil || compare(physical, lower, e.lower) < 0 {
		e.lower = lower
	}
	if e.upper == nil || compare(physical, upper, e.upper) > 0 {
		e.upper = upper
	}
}

// compare compares plainly encoded values.
func compare(physical parquet.Type, a, b []byte) int {
	switch physical {
	case parquet.Types.Int32:
		return cmp.Compare(int32(binary.LittleEndian.Uint32(a)), int32(binary.LittleEndian.Uint32(b)))
	case parquet.Types.Int64:
		return cmp.Compare(int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b)))
	case parquet.Types.Double:
		return cmp.Compare(math.Float64frombits(binary.LittleEndian.Uint64(a)), math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return bytes.Compare(a, b)
}

// bound takes over what was gathered, with texts cut.
func (m *measures) bound(id int, e *extremes) {
	if !e.text {
		m.lower[id], m.upper[id] = e.lower, e.upper
		return
	}
	cut, next := cutText, nextText
	if id == fieldKey || id == fieldValue {
		cut, next = cutBinary, nextBinary
	}
	m.lower[id] = cut(e.lower)
	upper := cut(e.upper)
	if len(upper) < len(e.upper) {
		if upper = next(upper); upper == nil {
			return // nothing short is greater
		}
	}
	m.upper[id] = upper
}

// boundSystem gives the bounds that the manifest tells, where the file has no
// statistics.
func (m *measures) boundSystem(f *manifest.File, partition int32) {
	set := func(id int, lower, upper []byte) {
		if m.lower[id] == nil || m.upper[id] == nil {
			m.lower[id], m.upper[id] = lower, upper
		}
	}
	set(fieldPartition, int32Bytes(partition), int32Bytes(partition))
	set(fieldOffset, int64Bytes(f.First), int64Bytes(f.Next-1))
}

func int32Bytes(n int32) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
func int64Bytes(n int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

func cutBinary(b []byte) []byte { return b[:min(len(b), textBoundMax)] }

// nextBinary is the least value of no more bytes that is greater than all that
// begin with b; nil if there is none.
func nextBinary(b []byte) []byte {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < math.MaxUint8 {
			next := bytes.Clone(b[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}

func cutText(b []byte) []byte {
	at := 0
	for range textBoundMax {
		if at == len(b) {
			break
		}
		_, size := utf8.DecodeRune(b[at:])
		at += size
	}
	return b[:at]
}

// nextText is nextBinary in characters.
func nextText(b []byte) []byte {
	for len(b) > 0 {
		r, size := utf8.DecodeLastRune(b)
		b = b[:len(b)-size]
		if r == utf8.RuneError && size == 1 {
			return nil // no text
		}
		if r++; r == 0xD800 { // the first surrogate
			r = 0xE000
		}
		if r <= utf8.MaxRune {
			return utf8.AppendRune(bytes.Clone(b), r)
		}
	}
	return nil
}
