package columnar

import (
	"bytes"

	"github.com/chronik-stream/chronik/internal/batch"
)

// output is a file that is being written, with its current row group.
type output struct {
	number int64
	part   *part
	out    File
	sink   *sink
	file   encoder
	bytes  int // an upper estimate of what the row group takes
	perRow int // what a row takes besides its bytes

	topic      texts
	partition  int32
	offsets    []int64
	timestamps []int64 // µs
	types      []int32 // of the timestamps
	keyLevels  levels
	keys       texts
	valLevels  levels
	values     texts
	headers    headers
	vectors    vectors
	cells      []cells
	ones       []int16 // definition levels of columns without a null
}

// encoder is a file format: rows come in as row groups.
type encoder interface {
	rowGroup(f *output) error // writes all rows of f
	close() error             // writes the footer
}

// begin opens the file and makes room for its first row group.
func (f *output) begin(o Options, p *plan, create Create) error {
	out, err := create(f.part.name)
	if err != nil {
		return err
	}
	f.out.Writer = out
	f.sink = &sink{out: out}
	valueBytes := max(1, p.bytes/p.result.Records)
	if o.Format == "arrow" {
		f.file, err = newArrowFile(f.sink, o, f.out.Columns)
	} else {
		f.file, err = newParquetFile(f.sink, properties(o, f.out.Columns, f.part.records, valueBytes), f.out.Columns, o.Embeddings != nil)
	}
	if err != nil {
		return err
	}

	f.partition = o.Partition.Index
	f.topic = newTexts(o.dictionary(colTopic))
	f.topic.append([]byte(o.Topic))
	f.keys, f.values = newTexts(o.dictionary(colKey)), newTexts(false)
	f.cells = make([]cells, len(f.out.Columns))
	for i, c := range f.out.Columns {
		f.cells[i] = cells{typ: c.Type, texts: newTexts(o.dictionary(c.Name))}
	}
	f.perRow = 8 + 8 + 4 + 4 + 4 + 4 + 10*len(f.cells)
	if o.Embeddings != nil {
		f.vectors.dimensions, f.out.Dimensions = o.Embeddings.Dimensions, o.Embeddings.Dimensions
		f.perRow += 4*f.vectors.dimensions + 2
	}
	f.reserve(p, int(valueBytes), o)
	f.reset()
	return nil
}

// reserve makes room for a row group, so that it is not copied while it grows.
func (f *output) reserve(p *plan, valueBytes int, o Options) {
	rows := int(min(f.part.records, int64(o.RowGroupRows), int64(o.RowGroupBytesMax/(f.perRow+2*valueBytes)+1)))
	for i := range f.cells {
		f.cells[i].reserve(rows, p.rooms[i].share(int64(rows), p.result.Records))
	}
	f.offsets, f.timestamps, f.types = make([]int64, 0, rows), make([]int64, 0, rows), make([]int32, 0, rows)
	f.values.values.offsets = make([]int32, 0, rows+1)
	f.vectors.values = make([]float32, 0, rows*f.vectors.dimensions)
	f.values.values.data = make([]byte, 0, rows*valueBytes+rows*valueBytes/16)
}

func (f *output) reset() {
	f.bytes = 0
	f.offsets, f.timestamps, f.types = f.offsets[:0], f.timestamps[:0], f.types[:0]
	f.keyLevels.reset()
	f.keys.reset()
	f.valLevels.reset()
	f.values.reset()
	f.headers.reset()
	f.vectors.reset()
	for i := range f.cells {
		f.cells[i].reset()
	}
}

// append adds the system columns of a record. It returns by how much the row
// group grew; text columns are counted as if they took the whole value.
func (f *output) append(r *batch.Record, appendTime bool) int {
	row := len(f.offsets)
	f.offsets = append(f.offsets, r.Offset)
	f.timestamps = append(f.timestamps, clampMs(r.Timestamp)*1000)
	typ := int32(0)
	if appendTime {
		typ = 1
	}
	f.types = append(f.types, typ)
	if r.Key != nil {
		f.keyLevels.pad(row)
		f.keyLevels.value()
		f.keys.append(r.Key)
	}
	if r.Value != nil {
		f.valLevels.pad(row)
		f.valLevels.value()
		f.values.append(r.Value)
	}
	grown := f.perRow + len(r.Key) + 2*len(r.Value) + f.headers.append(r.Headers)
	f.bytes += grown

	f.out.Records++
	f.out.First = min(f.out.First, r.Offset)
	f.out.Next = max(f.out.Next, r.Offset+1)
	f.out.MinTimestamp = min(f.out.MinTimestamp, r.Timestamp)
	f.out.MaxTimestamp = max(f.out.MaxTimestamp, r.Timestamp)
	return grown
}

// appendFields adds the fields that were found in the value of the last record.
func (f *output) appendFields(in *inference) {
	row := len(f.offsets) - 1
	for j := range in.found {
		member := &in.found[j]
		if uint(member.name) >= uint(len(in.fields)) {
			continue
		}
		if slot := in.fields[member.name].slot; slot >= 0 {
			f.cells[slot].append(row, member)
		}
	}
}

// flush writes the current row group and begins a new one.
func (f *output) flush() error {
	if f.vectors.dimensions > 0 {
		f.out.Embedded += int64(len(f.vectors.values) / f.vectors.dimensions)
	}
	if err := f.file.rowGroup(f); err != nil {
		return err
	}
	f.reset()
	return nil
}

// close writes the footer.
func (f *output) close() error {
	if err := f.file.close(); err != nil {
		return err
	}
	f.out.Size, f.out.CRC = f.sink.size, f.sink.crc
	return nil
}

func repeat(v int32, n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// headers are the headers of a row group's records, in order.
type headers struct {
	counts []int32 // of each row
	keys   blobs
	values blobs  // those that are not null
	nulls  []bool // for each header
}

func (h *headers) reset() {
	h.counts, h.nulls = h.counts[:0], h.nulls[:0]
	h.keys.reset()
	h.values.reset()
}

// append adds the headers of a record and returns how many bytes that took. A
// key that is not UTF-8, which Kafka's own clients cannot make, is mended.
func (h *headers) append(from batch.Headers) int {
	h.counts = append(h.counts, int32(from.Len()))
	if from.Len() == 0 {
		return 0
	}
	before := len(h.keys.data) + len(h.values.data)
	from.Each(func(key, value []byte) {
		h.keys.append(bytes.ToValidUTF8(key, []byte("\uFFFD")))
		h.nulls = append(h.nulls, value == nil)
		if value != nil {
			h.values.append(value)
		}
	})
	return len(h.keys.data) + len(h.values.data) - before + 16*from.Len()
}

// levels returns Parquet's levels of a required map with optional values: a row
// without headers has one entry of definition level 0.
func (h *headers) levels() (keys, values, reps []int16) {
	at := 0
	for _, count := range h.counts {
		if count == 0 {
			keys, values, reps = append(keys, 0), append(values, 0), append(reps, 0)
			continue
		}
		for i := range count {
			def := int16(2)
			if h.nulls[at] {
				def = 1
			}
			at++
			keys, values, reps = append(keys, 1), append(values, def), append(reps, min(1, int16(i)))
		}
	}
	return keys, values, reps
}
