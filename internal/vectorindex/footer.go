package vectorindex

import (
	"encoding/binary"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// A file is a header, sections, a footer that tells where they are, and a trailer
// that tells where the footer is: see docs/formats/shard.md.
const (
	magic         = "CHRONIKV"
	version       = 1
	headerBytes   = 16
	trailerBytes  = 20
	footerGuess   = 64 << 10 // what a reader fetches that does not know the footer's length
	footerMax     = 1 << 30
	crcBytes      = 4
	documentsEach = 4096 // documents of a block
)

// fileList is what the footer says of a list.
type fileList struct {
	list
	rows, copies part
}

// block is a run of documents in the order of their offsets.
type block struct {
	part
	documents int64
	bounds    bounds
}

// footer is all that is needed to find the rest.
type footer struct {
	options   Options // of which a reader needs the first
	kind      Kind
	rows      int
	documents int64
	bounds    bounds
	mean      []float32
	lists     []fileList
	middles   []byte // records of centroids; none in a flat shard
	vectors   section
	graph     *graph // without its parts
	ground    part
	upper     part
	blocks    []block

	calibration Calibration
}

// append encodes the footer. u is an unsigned varint, v a zig-zag one.
func (f *footer) append(b []byte) []byte {
	u := func(v int64) { b = binary.AppendUvarint(b, uint64(v)) }
	crc := func(v uint32) { b = binary.LittleEndian.AppendUint32(b, v) }
	span := func(s bounds) {
		b = binary.AppendVarint(b, s.offsetMin)
		u(s.offsetMax - s.offsetMin)
		b = binary.AppendVarint(b, s.timestampMin)
		u(s.timestampMax - s.timestampMin)
	}
	u(int64(f.options.Dimensions))
	b = append(b, byte(f.options.Metric), byte(f.options.Encoding), byte(f.kind))
	b = format.AppendString(b, f.options.Model)
	u(int64(f.rows))
	u(f.documents)
	span(f.bounds)
	for _, x := range f.mean {
		crc(math.Float32bits(x))
	}
	u(int64(len(f.lists)))
	for _, l := range f.lists {
		u(int64(l.next - l.first))
		u(l.documents)
		span(l.bounds)
		crc(l.rows.crc)
		u(l.copies.length)
		crc(l.copies.crc)
	}
	b = append(b, f.middles...)
	if f.kind == HNSW {
		u(int64(f.graph.m))
		u(int64(f.graph.entry))
		u(int64(f.graph.levels))
		u(int64(f.graph.nodes))
		u(f.upper.length)
		crc(f.ground.crc)
		crc(f.upper.crc)
	}
	u(int64(len(f.blocks)))
	for _, k := range f.blocks {
		u(k.documents)
		span(k.bounds)
		u(k.length)
		crc(k.crc)
	}
	u(int64(f.calibration.Queries))
	u(int64(len(f.calibration.Curves)))
	for _, c := range f.calibration.Curves {
		u(int64(c.K))
		u(int64(c.Rerank))
		for _, points := range [][]Point{c.Graph, c.Lists} {
			u(int64(len(points)))
			for _, p := range points {
				u(int64(p.Effort))
				u(int64(p.Recall))
			}
		}
	}
	return b
}

// footerReader decodes a footer, and lays out the sections it announces.
type footerReader struct {
	*format.Decoder
	at, body int64
}

func (d *footerReader) number() int64 { return int64(d.Uvarint(math.MaxInt64)) }

func (d *footerReader) fixed() uint32 {
	b := d.Bytes(4)
	if d.Failed() {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (d *footerReader) take(length int64) section {
	s := section{d.at, length}
	if length < 0 || length > d.body-d.at {
		d.Fail("a section of %d bytes at byte %d of %d", length, d.at, d.body)
		return section{}
	}
	d.at += length
	return s
}

func (d *footerReader) span() (s bounds) {
	s.offsetMin = d.Varint()
	s.offsetMax = s.offsetMin + int64(d.Uvarint(math.MaxUint64))
	s.timestampMin = d.Varint()
	s.timestampMax = s.timestampMin + int64(d.Uvarint(math.MaxUint64))
	if s.offsetMin < 0 || s.offsetMax < s.offsetMin || s.timestampMax < s.timestampMin {
		d.Fail("bounds %+v", s)
	}
	return s
}

// parseFooter decodes the footer of a file whose body has so many bytes.
func parseFooter(data []byte, body int64) (*footer, error) {
	d := &footerReader{format.NewDecoder(data), headerBytes, body}
	f := &footer{}
	f.options.Dimensions = int(d.Uvarint(DimensionsMax))
	f.options.Metric, f.options.Encoding, f.kind = Metric(d.Byte()), Encoding(d.Byte()), Kind(d.Byte())
	o := f.options
	if o.Dimensions < 1 || o.Metric < Cosine || o.Metric > Dot || o.Encoding < F32 || o.Encoding > Binary || f.kind < Flat || f.kind > HNSW || f.kind == HNSW && o.Encoding == Binary {
		d.Fail("%d dimensions, %s, %s, %s", o.Dimensions, o.Metric, o.Encoding, f.kind)
	}
	f.options.Model = d.String()
	if f.rows = int(d.Uvarint(DocumentsMax)); f.rows == 0 {
		d.Fail("no rows")
	}
	f.documents = int64(d.Uvarint(DocumentsMax))
	f.bounds = d.span()
	if d.Failed() {
		return nil, d.End()
	}
	mean := d.Bytes(4 * o.Dimensions)
	for i := 0; i < len(mean); i += 4 {
		x := getFloat(mean[i:])
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			d.Fail("a mean of %v", x)
		}
		f.mean = append(f.mean, x)
	}
	f.parseLists(d)
	if f.kind != Flat && !d.Failed() {
		f.middles = d.Bytes(len(f.lists) * recordBytes(o.Dimensions, false))
	}
	f.parseGraph(d)
	f.parseBlocks(d)
	f.calibration.Queries = int(d.Uvarint(math.MaxInt32))
	for n := d.Count(); n > 0 && !d.Failed(); n-- {
		c := Curve{K: int(d.Uvarint(KMax)), Rerank: int(d.Uvarint(DocumentsMax))}
		c.Graph, c.Lists = parsePoints(d), parsePoints(d)
		f.calibration.Curves = append(f.calibration.Curves, c)
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	if d.at != body {
		return nil, format.Corrupt(0, "sections end at byte %d, the body has %d bytes", d.at, body)
	}
	return f, nil
}

// parseLists lays out rows, copies and vectors.
func (f *footer) parseLists(d *footerReader) {
	stride := int64(recordBytes(f.options.Dimensions, f.options.Encoding == Binary))
	var copies []int64
	row, documents := int64(0), int64(0)
	for n := d.Count(); n > 0 && !d.Failed(); n-- {
		var l fileList
		count := int64(d.Uvarint(DocumentsMax))
		l.first, l.next = uint32(row), uint32(row+count)
		l.documents = int64(d.Uvarint(DocumentsMax))
		l.bounds = d.span()
		if row, documents = row+count, documents+l.documents; row > int64(f.rows) || l.documents < count || count == 0 {
			d.Fail("a list of %d rows and %d documents after %d of %d rows", count, l.documents, row-count, f.rows)
			return
		}
		l.rows.section, l.rows.crc = d.take(count*stride), d.fixed()
		copies = append(copies, d.number())
		l.copies.crc = d.fixed()
		f.lists = append(f.lists, l)
	}
	for i, length := range copies {
		f.lists[i].copies.section = d.take(length)
	}
	if row != int64(f.rows) || documents != f.documents {
		d.Fail("lists of %d rows and %d documents, there are %d and %d", row, documents, f.rows, f.documents)
	}
	if f.options.Encoding != Int8 {
		f.vectors = d.take(int64(f.rows) * int64(stored{f.options.Encoding, f.options.Dimensions}.bytes()+crcBytes))
	}
}

func (f *footer) parseGraph(d *footerReader) {
	if f.kind != HNSW || d.Failed() {
		return
	}
	g := &graph{m: int(d.Uvarint(mMax)), entry: uint32(d.Uvarint(DocumentsMax)), levels: int(d.Uvarint(levelsMost)), nodes: int(d.Uvarint(DocumentsMax))}
	upper := d.number()
	f.ground.crc, f.upper.crc = d.fixed(), d.fixed()
	f.ground.section, f.upper.section = d.take(int64(f.rows)*8*int64(g.m)), d.take(upper)
	if g.m < 2 || int64(g.entry) >= int64(f.rows) || upper < 8*int64(g.nodes) {
		d.Fail("a graph with m %d, entry %d, %d rows above the ground in %d bytes", g.m, g.entry, g.nodes, upper)
	}
	f.graph = g
}

func (f *footer) parseBlocks(d *footerReader) {
	documents := int64(0)
	for n := d.Count(); n > 0 && !d.Failed(); n-- {
		k := block{documents: int64(d.Uvarint(documentsEach))}
		k.bounds = d.span()
		k.section, k.crc = d.take(d.number()), d.fixed()
		documents += k.documents
		f.blocks = append(f.blocks, k)
	}
	if documents != f.documents {
		d.Fail("blocks of %d documents, there are %d", documents, f.documents)
	}
}

func parsePoints(d *footerReader) (points []Point) {
	for n := d.Count(); n > 0 && !d.Failed(); n-- {
		points = append(points, Point{int(d.Uvarint(math.MaxInt32)), int(d.Uvarint(RecallOne))})
	}
	return points
}
