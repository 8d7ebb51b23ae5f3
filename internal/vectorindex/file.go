package vectorindex

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/format"
)

// File is a shard at rest. It keeps its footer, with the middles of its lists; all
// else is read when it is asked for, from where the file lies. Its methods may be
// called at once.
type File struct {
	blob    Blob
	mapped  Bytes // nil: it lies elsewhere
	size    int64
	footer  *footer
	space   *space
	stored  stored
	middles centroids

	// Of one that is mapped: what was looked at and is sound.
	lists          []atomic.Pointer[table]
	vectorsChecked marks

	ready sync.Once // the graph of one that is mapped
	graph *graph
	walks *walks
	wrong error
}

// Open reads the footer of a shard, which has so many bytes with its trailer, as
// Result.Footer said; 0 if that is not known.
func Open(ctx context.Context, b Blob, footerBytes int64) (*File, error) {
	size := b.Size()
	if size < headerBytes+trailerBytes {
		return nil, format.Corrupt(0, "a shard of %d bytes", size)
	}
	if footerBytes <= 0 {
		footerBytes = footerGuess
	}
	footerBytes = min(max(footerBytes, trailerBytes), size-headerBytes)
	tail, err := blob.Footer(ctx, b, footerBytes, func(end []byte) (int64, error) { return parseTrailer(end, size) })
	if err != nil {
		return nil, err
	}
	length := int64(len(tail))
	body := size - length
	if crc32.Checksum(tail[:length-12], format.Castagnoli) != binary.LittleEndian.Uint32(tail[length-12:]) {
		return nil, format.Corrupt(body, "CRC of the footer")
	}
	f := &File{blob: b, size: size}
	if f.footer, err = parseFooter(tail[:length-trailerBytes], body); err != nil {
		return nil, format.At("", body, err)
	}
	o := f.footer.options
	f.space = newSpace(o.Metric, o.Encoding == Binary, f.footer.mean)
	f.stored = stored{o.Encoding, o.Dimensions}
	f.middles = newCentroids(newSpace(o.Metric, false, f.footer.mean))
	for at := 0; at < len(f.footer.middles); at += f.middles.space.stride {
		f.middles.addRecord(f.footer.middles[at:][:f.middles.space.stride])
	}
	if f.mapped, _ = b.(Bytes); f.mapped != nil {
		f.lists, f.vectorsChecked = make([]atomic.Pointer[table], len(f.footer.lists)), newMarks(f.footer.rows)
	}
	return f, nil
}

// parseTrailer returns the length of footer and trailer of a shard, given its end.
func parseTrailer(tail []byte, size int64) (int64, error) {
	at := size - trailerBytes
	t := tail[len(tail)-trailerBytes:]
	if string(t[trailerBytes-len(magic):]) != magic {
		return 0, format.Corrupt(at, "no shard ends here")
	}
	if t[4] != version {
		return 0, format.Version(at, int(t[4]), version)
	}
	length := int64(binary.LittleEndian.Uint32(t)) + trailerBytes
	if length > size-headerBytes {
		return 0, format.Corrupt(at, "a footer of %d bytes in a shard of %d", length, size)
	}
	return length, nil
}

// headerSound reports whether a header has its CRC.
func headerSound(head []byte) bool {
	return crc32.Checksum(head[:headerBytes-crcBytes], format.Castagnoli) == binary.LittleEndian.Uint32(head[headerBytes-crcBytes:])
}

// Info is what a shard is.
type Info struct {
	Dimensions  int
	Metric      Metric
	Encoding    Encoding
	Kind        Kind
	Model       string
	Rows        int64 // different vectors
	Documents   int64
	Lists       int
	Calibration Calibration
	// First and Next bound the offsets; TimestampMin and TimestampMax the times.
	First, Next                int64
	TimestampMin, TimestampMax int64
	Size                       int64
}

// Info says what the shard is.
func (f *File) Info() Info {
	t := f.footer
	return Info{
		Dimensions: t.options.Dimensions, Metric: t.options.Metric, Encoding: t.options.Encoding, Kind: t.kind, Model: t.options.Model,
		Rows: int64(t.rows), Documents: t.documents, Lists: len(t.lists), Calibration: t.calibration,
		First: t.bounds.offsetMin, Next: t.bounds.offsetMax + 1, TimestampMin: t.bounds.timestampMin, TimestampMax: t.bounds.timestampMax, Size: f.size,
	}
}

// table are the records of one list, of which the first is row first.
type table struct {
	first, next uint32
	data        []byte
	copies      map[uint32][]document // of rows that have several documents
}

func (t *table) record(s *space, row uint32) []byte {
	return t.data[int(row-t.first)*s.stride:][:s.stride]
}

// parseTable takes what was read of a list.
func (f *File) parseTable(n uint32, data, copies []byte) (*table, error) {
	l := &f.footer.lists[n]
	t := &table{first: l.first, next: l.next, data: data}
	if err := check(l.rows, data); err != nil {
		return nil, err
	}
	if err := check(l.copies, copies); err != nil {
		return nil, err
	}
	var err error
	if t.copies, err = f.parseCopies(t, copies); err != nil {
		return nil, format.At("", l.copies.at, err)
	}
	documents := int64(t.next - t.first)
	for _, more := range t.copies {
		documents += int64(len(more))
	}
	if documents != l.documents {
		return nil, format.Corrupt(l.rows.at, "%d documents in a list of %d", documents, l.documents)
	}
	return t, nil
}

func (f *File) parseCopies(t *table, data []byte) (map[uint32][]document, error) {
	if len(data) == 0 {
		return nil, nil
	}
	all := make(map[uint32][]document)
	d := format.NewDecoder(data)
	for row := t.first; row < t.next && !d.Failed(); row++ {
		record := t.record(f.space, row)
		last := documentOf(record, row)
		for n := binary.LittleEndian.Uint32(record[atCopies:]); n > 0 && !d.Failed(); n-- {
			last.offset += int64(d.Uvarint(1<<63 - 1))
			last.timestamp += d.Varint()
			all[row] = append(all[row], last)
		}
	}
	return all, d.End()
}

// documentOf is the first document of a row.
func documentOf(record []byte, row uint32) document {
	return document{int64(binary.LittleEndian.Uint64(record[atOffset:])), int64(binary.LittleEndian.Uint64(record[atTimestamp:])), row}
}

// table is a list of a mapped shard. It is checked once.
func (f *File) table(n uint32) (*table, error) {
	if t := f.lists[n].Load(); t != nil {
		return t, nil
	}
	l := &f.footer.lists[n]
	t, err := f.parseTable(n, f.mapped[l.rows.at:][:l.rows.length], f.mapped[l.copies.at:][:l.copies.length])
	if err == nil {
		f.lists[n].Store(t)
	}
	return t, err
}

// tables reads lists, which rise, in one round.
func (f *File) tables(ctx context.Context, lists []uint32) ([]*table, error) {
	if f.mapped != nil {
		all := make([]*table, len(lists))
		for i, n := range lists {
			var err error
			if all[i], err = f.table(n); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	sections := make([]section, 0, 2*len(lists))
	for _, n := range lists {
		sections = append(sections, f.footer.lists[n].rows.section)
	}
	for _, n := range lists {
		if c := f.footer.lists[n].copies.section; c.length > 0 {
			sections = append(sections, c)
		}
	}
	data, err := f.gather(ctx, sections, 0)
	if err != nil {
		return nil, err
	}
	copies := data[len(lists):]
	all := make([]*table, len(lists))
	for i, n := range lists {
		var more []byte
		if f.footer.lists[n].copies.length > 0 {
			more, copies = copies[0], copies[1:]
		}
		if all[i], err = f.parseTable(n, data[i], more); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// vectorGap is how far apart vectors may lie that are read with one read.
const vectorGap = 4 << 10

// exact reads the vectors of rows, which rise, in one round; nil when the records
// are all that is kept.
func (f *File) exact(ctx context.Context, rows []uint32) ([][]byte, error) {
	return f.exactly(ctx, rows, vectorGap)
}

// exactly is exact with another gap.
func (f *File) exactly(ctx context.Context, rows []uint32, gap int64) ([][]byte, error) {
	if f.stored.encoding == Int8 {
		return nil, nil
	}
	size := int64(f.stored.bytes() + crcBytes)
	if f.mapped != nil {
		all := make([][]byte, len(rows))
		for i, row := range rows {
			at := f.footer.vectors.at + int64(row)*size
			v, err := f.vectorOf(row, f.mapped[at:at+size])
			if err != nil {
				return nil, err
			}
			all[i] = v
		}
		return all, nil
	}
	sections := make([]section, len(rows))
	for i, row := range rows {
		sections[i] = section{f.footer.vectors.at + int64(row)*size, size}
	}
	data, err := f.gather(ctx, sections, gap)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		if data[i], err = f.vectorOf(row, data[i]); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// vectorOf checks what was read of a row's vector.
func (f *File) vectorOf(row uint32, data []byte) ([]byte, error) {
	n := len(data) - crcBytes
	if !f.vectorsChecked.has(row) {
		if crc32.Checksum(data[:n], format.Castagnoli) != binary.LittleEndian.Uint32(data[n:]) {
			return nil, format.Corrupt(f.footer.vectors.at+int64(row)*int64(len(data)), "CRC of the vector of row %d", row)
		}
		f.vectorsChecked.set(row)
	}
	return data[:n:n], nil
}

// walkable makes the graph of a mapped shard ready: the first time all of its
// records are checked, since a walk goes everywhere.
func (f *File) walkable() (*graph, error) {
	f.ready.Do(func() { f.graph, f.wrong = f.openGraph(context.Background()) })
	return f.graph, f.wrong
}

func (f *File) openGraph(ctx context.Context) (*graph, error) {
	g := *f.footer.graph
	var err error
	if g.ground, err = f.read(ctx, f.footer.ground); err != nil {
		return nil, err
	}
	if g.upper, err = f.read(ctx, f.footer.upper); err != nil {
		return nil, err
	}
	if err := g.validate(f.footer.rows); err != nil {
		return nil, format.At("", f.footer.ground.at, err)
	}
	if f.mapped != nil {
		for n := range f.footer.lists {
			if _, err := f.table(uint32(n)); err != nil {
				return nil, err
			}
		}
		f.walks = newWalks(f.footer.rows, g.m)
	}
	return &g, nil
}

// validate looks whether walks stay within the graph.
func (g *graph) validate(rows int) error {
	lists := int64(len(g.upper)-8*g.nodes) / int64(4*g.m)
	within := func(links []byte) error {
		for at := 0; at < len(links); at += 4 {
			if id := binary.LittleEndian.Uint32(links[at:]); id != none && int64(id) >= int64(rows) {
				return format.Corrupt(0, "a neighbour %d of %d rows", id, rows)
			}
		}
		return nil
	}
	if int64(len(g.upper)) != int64(8*g.nodes)+lists*int64(4*g.m) {
		return format.Corrupt(0, "%d bytes above the ground", len(g.upper))
	}
	before, list := int64(-1), int64(0)
	levels := make(map[uint32]int64, g.nodes)
	for n := range g.nodes {
		row, at := binary.LittleEndian.Uint32(g.upper[8*n:]), int64(binary.LittleEndian.Uint32(g.upper[8*n+4:]))
		next := lists
		if n+1 < g.nodes {
			next = int64(binary.LittleEndian.Uint32(g.upper[8*n+12:]))
		}
		if int64(row) <= before || int64(row) >= int64(rows) || at != list || next <= at || next-at > levelsMost {
			return format.Corrupt(0, "row %d after %d has lists [%d,%d) of %d above the ground", row, before, at, next, lists)
		}
		before, list = int64(row), next
		levels[row] = next - at
	}
	if int(levels[g.entry]) != g.levels {
		return format.Corrupt(0, "the entry %d is on level %d, not %d", g.entry, levels[g.entry], g.levels)
	}
	for row := range levels {
		for level := int64(1); level <= levels[row]; level++ {
			for at := g.at(row, int(level)); len(at) > 0; at = at[4:] {
				if id := binary.LittleEndian.Uint32(at); id != none && levels[id] < level {
					return format.Corrupt(0, "row %d has neighbour %d on level %d, where it is not", row, id, level)
				}
			}
		}
	}
	return within(g.ground)
}
