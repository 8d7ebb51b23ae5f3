// Package parquetfile reads what a Parquet file says about itself: the footer
// with its row groups, column chunks and their statistics, and bloom filters.
// And it makes a new footer for some of the row groups and column chunks of a
// file, so that these alone are a Parquet file, for a reader that wants files
// and not ranges of an object.
//
// Bytes in, plans out: which bytes to fetch, and where to put them. A new footer
// has everything that the old one has but for what is left out; nothing is lost
// in translation, since nothing is translated: fields are moved as they are
// encoded. (parquet-go's structs are not up to that: a null count that is not
// there reads as 0 and is written as 0, which readers take for a promise.)
//
// The checksums that package columnar puts into a footer are checked here for
// the footer, and told for the other parts.
package parquetfile

import (
	"encoding/binary"
	"strings"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
)

const (
	magic       = "PAR1"
	trailerSize = 8 // length of the footer, magic
)

// Fields of Parquet's structs, by their ids in parquet.thrift.
const (
	metaSchema, metaRows, metaGroups, metaKeyValues = 2, 3, 4, 5

	elementType, elementName, elementChildren = 1, 4, 5

	groupColumns, groupRows, groupOffset, groupCompressed, groupOrdinal = 1, 3, 5, 6, 7

	chunkOffset, chunkMeta                              = 2, 3
	chunkOffsetIndex, chunkOffsetIndexLength            = 4, 5
	chunkColumnIndex, chunkColumnIndexLength            = 6, 7
	columnValues, columnCompressed, columnData          = 5, 7, 9
	columnIndexPage, columnDictionary, columnStatistics = 10, 11, 12
	columnBloom, columnBloomLength                      = 14, 15
	statisticsNulls, statisticsMax, statisticsMin       = 3, 5, 6
	keyValueKey, keyValueValue                          = 1, 2
)

// Leaf is a column that has values.
type Leaf struct {
	Path string // with dots: _headers.key_value.key
	Top  string // the column of the table that it is of
	Type int    // physical: 0 boolean, 1 int32, 2 int64, 5 double, 6 byte array
}

// Range is a part of the file, with its checksum.
type Range struct {
	Offset, Length int64
	CRC            uint32 // CRC-32C
}

// End is where the range ends.
func (r Range) End() int64 { return r.Offset + r.Length }

// Statistics are what a footer says of the values of a column chunk.
type Statistics struct {
	Min, Max       []byte // plain encoding; bounds, maybe not values
	HasMin, HasMax bool
	Nulls          int64 // −1: not known
	Values         int64 // nulls included
}

// Footer is what a file says about itself.
type Footer struct {
	Size   int64 // of the file
	Leaves []Leaf
	Bytes  int64 // of the footer itself, with its trailer

	meta   record
	groups []group
	sums   columnar.Checksums
}

// group is a row group.
type group struct {
	record record
	rows   int64
	chunks []chunk
}

// chunk is a column chunk.
type chunk struct {
	outer, meta   record
	begin, length int64
}

// Length says how many bytes the footer of a file takes at its end, given at
// least its last eight.
func Length(tail []byte, size int64) (int64, error) {
	n := len(tail)
	if n < trailerSize || string(tail[n-4:]) != magic {
		return 0, format.Corrupt(size-4, "no Parquet file: it does not end with %q", magic)
	}
	length := int64(binary.LittleEndian.Uint32(tail[n-trailerSize:])) + trailerSize
	if length > size-int64(len(magic)) {
		return 0, format.Corrupt(size-trailerSize, "a footer of %d bytes in a file of %d", length, size)
	}
	return length, nil
}

// Parse reads the footer from the last bytes of a file, at least Length of them,
// and checks it. ok is false when it carries no checksums: then nothing that it
// says, and no part of the file, can be trusted by itself.
func Parse(tail []byte, size int64) (f *Footer, ok bool, err error) {
	length, err := Length(tail, size)
	if err != nil {
		return nil, false, err
	}
	if int64(len(tail)) < length {
		return nil, false, format.Corrupt(size-length, "%d bytes of a footer of %d", len(tail), length)
	}
	begin := size - length
	raw := tail[int64(len(tail))-length : len(tail)-trailerSize]
	f = &Footer{Size: size, Bytes: length}
	if err := f.parse(raw); err != nil {
		return nil, false, format.At("", begin, err)
	}
	value, found, err := f.keyValue(columnar.ChecksumsKey)
	if err != nil || !found {
		return nil, false, err
	}
	if f.sums, err = columnar.ParseChecksums(value, raw, len(f.groups), len(f.Leaves)); err != nil {
		return nil, false, format.At("", begin, err)
	}
	return f, true, nil
}

func (f *Footer) parse(raw []byte) error {
	var n int
	var err error
	if f.meta, n, err = readRecord(raw); err != nil {
		return err
	}
	if n != len(raw) {
		return format.Corrupt(int64(n), "%d bytes after the footer", len(raw)-n)
	}
	if err := f.schema(); err != nil {
		return err
	}
	groups, err := f.meta.records(metaGroups)
	if err != nil {
		return err
	}
	for i, b := range groups {
		g, err := f.group(b)
		if err != nil {
			return err
		}
		if len(g.chunks) != len(f.Leaves) {
			return format.Corrupt(0, "row group %d has %d column chunks, the schema %d columns", i, len(g.chunks), len(f.Leaves))
		}
		f.groups = append(f.groups, g)
	}
	return nil
}

// schema lists the leaves, in the order of the column chunks.
func (f *Footer) schema() error {
	elements, err := f.meta.records(metaSchema)
	if err != nil {
		return err
	}
	if len(elements) == 0 {
		return format.Corrupt(0, "a footer without a schema")
	}
	var open []int64 // children to come of each group around
	var path []string
	for i, b := range elements {
		e, _, err := readRecord(b)
		if err != nil {
			return err
		}
		name, _ := e.bytes(elementName)
		children, isGroup := e.int(elementChildren)
		if children < 0 || children > int64(len(elements)) {
			return format.Corrupt(0, "a schema element with %d children", children)
		}
		switch {
		case i == 0:
			open = append(open, children)
		case len(open) == 0:
			return format.Corrupt(0, "a schema element outside of the schema")
		case isGroup && children > 0:
			open[len(open)-1]--
			open, path = append(open, children), append(path, string(name))
		default:
			open[len(open)-1]--
			typ, _ := e.int(elementType)
			full := append(path[:len(path):len(path)], string(name))
			f.Leaves = append(f.Leaves, Leaf{strings.Join(full, "."), full[0], int(typ)})
		}
		for len(open) > 0 && open[len(open)-1] == 0 {
			open = open[:len(open)-1]
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
		}
	}
	if len(open) > 0 {
		return format.Corrupt(0, "the schema ends early")
	}
	return nil
}

func (f *Footer) group(b []byte) (g group, err error) {
	if g.record, _, err = readRecord(b); err != nil {
		return g, err
	}
	var ok bool
	if g.rows, ok = g.record.int(groupRows); !ok || g.rows < 0 {
		return g, format.Corrupt(0, "a row group without a number of rows")
	}
	columns, err := g.record.records(groupColumns)
	if err != nil {
		return g, err
	}
	g.chunks = make([]chunk, len(columns))
	for i, b := range columns {
		c := &g.chunks[i]
		if c.outer, _, err = readRecord(b); err != nil {
			return g, err
		}
		if c.meta, err = c.outer.record(chunkMeta); err != nil {
			return g, err
		}
		data, hasData := c.meta.int(columnData)
		length, hasLength := c.meta.int(columnCompressed)
		c.begin, c.length = data, length
		if dictionary, ok := c.meta.int(columnDictionary); ok && dictionary > 0 {
			c.begin = min(data, dictionary)
		}
		if !hasData || !hasLength || c.begin < 0 || length < 0 || length > f.Size-f.Bytes || c.begin > f.Size-f.Bytes-length {
			return g, format.Corrupt(0, "a column chunk at byte %d, %d bytes long, in a file of %d", c.begin, length, f.Size)
		}
	}
	return g, nil
}

func (f *Footer) keyValue(key string) (value string, found bool, err error) {
	pairs, err := f.meta.records(metaKeyValues)
	if err != nil {
		return "", false, err
	}
	for _, b := range pairs {
		pair, _, err := readRecord(b)
		if err != nil {
			return "", false, err
		}
		if k, _ := pair.bytes(keyValueKey); string(k) == key {
			v, _ := pair.bytes(keyValueValue)
			return string(v), true, nil
		}
	}
	return "", false, nil
}

// Groups is the number of row groups.
func (f *Footer) Groups() int { return len(f.groups) }

// Rows is the number of rows of a row group.
func (f *Footer) Rows(group int) int64 { return f.groups[group].rows }

// Chunk is where a column chunk lies.
func (f *Footer) Chunk(group, leaf int) Range {
	c := f.groups[group].chunks[leaf]
	return Range{c.begin, c.length, f.sums.Of(group, leaf, columnar.Chunk)}
}

// Bloom is where a column chunk's bloom filter lies; ok is false when it has
// none.
func (f *Footer) Bloom(group, leaf int) (r Range, ok bool) {
	meta := f.groups[group].chunks[leaf].meta
	offset, hasOffset := meta.int(columnBloom)
	length, hasLength := meta.int(columnBloomLength)
	if !hasOffset || !hasLength || length <= 0 || offset < 0 || length > f.Size || offset > f.Size-length {
		return Range{}, false
	}
	return Range{offset, length, f.sums.Of(group, leaf, columnar.BloomFilter)}, true
}

// Statistics are those of a column chunk; ok is false when it has none.
func (f *Footer) Statistics(group, leaf int) (s Statistics, ok bool) {
	meta := f.groups[group].chunks[leaf].meta
	stats, err := meta.record(columnStatistics)
	if err != nil || stats == nil {
		return Statistics{}, false
	}
	s.Min, s.HasMin = stats.bytes(statisticsMin)
	s.Max, s.HasMax = stats.bytes(statisticsMax)
	if s.Nulls, ok = stats.int(statisticsNulls); !ok {
		s.Nulls = -1
	}
	s.Values, _ = meta.int(columnValues)
	return s, true
}
