package vectorindex

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/chronik-stream/chronik/internal/format"
)

// Result says what was written.
type Result struct {
	// Rows are different vectors, Documents the records that have them.
	Rows, Documents int64
	// First and Next bound the offsets; TimestampMin and TimestampMax the times, in ms.
	First, Next                int64
	TimestampMin, TimestampMax int64
	Kind                       Kind
	Calibration                Calibration
	Size                       int64
	Footer                     int64 // bytes at the end that a reader opens the file with: see Open
}

// fileWriter writes sections one after another.
type fileWriter struct {
	out io.Writer
	at  int64
	err error
}

func (w *fileWriter) write(b []byte) part {
	p := part{section{w.at, int64(len(b))}, crc32.Checksum(b, format.Castagnoli)}
	if w.err == nil {
		_, w.err = w.out.Write(b)
	}
	w.at += int64(len(b))
	return p
}

// write writes the shard: docs/formats/shard.md.
func (s *shard) write(out io.Writer) (Result, error) {
	w := &fileWriter{out: out}
	head := append([]byte(magic), version, 0, 0, 0)
	w.write(binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, format.Castagnoli)))
	f := &footer{options: s.options, kind: s.kind, rows: s.rows, documents: int64(len(s.documents)), bounds: noBounds(), mean: s.space.mean, graph: s.graph, calibration: s.calibration, middles: s.middles.data}
	for _, l := range s.lists {
		data := s.table[int(l.first)*s.space.stride : int(l.next)*s.space.stride]
		f.lists = append(f.lists, fileList{list: l, rows: w.write(data)})
	}
	for i, l := range s.lists {
		f.lists[i].copies = w.write(s.listCopies(l))
	}
	if err := s.writeVectors(w); err != nil {
		return Result{}, err
	}
	if s.kind == HNSW {
		f.ground, f.upper = w.write(s.graph.ground), w.write(s.graph.upper)
	}
	s.writeDocuments(w, f)
	return w.finish(f)
}

// listCopies encodes the further documents of a list's rows.
func (s *shard) listCopies(l list) (data []byte) {
	if l.documents == int64(l.next-l.first) {
		return nil
	}
	for row := l.first; row < l.next; row++ {
		record := s.table[int(row)*s.space.stride:]
		offset, timestamp := int64(binary.LittleEndian.Uint64(record[atOffset:])), int64(binary.LittleEndian.Uint64(record[atTimestamp:]))
		for _, d := range s.copies[row] {
			data = binary.AppendUvarint(data, uint64(d.offset-offset))
			data = binary.AppendVarint(data, d.timestamp-timestamp)
			offset, timestamp = d.offset, d.timestamp
		}
	}
	return data
}

// writeVectors writes the vectors in the order of rows, each with its CRC.
func (s *shard) writeVectors(w *fileWriter) error {
	if s.options.Encoding == Int8 {
		return nil // the records have it all
	}
	var buffer []byte
	for row := range uint32(s.rows) {
		v, err := s.vectors.vector(row)
		if err != nil {
			return err
		}
		buffer = append(buffer, v...)
		buffer = binary.LittleEndian.AppendUint32(buffer, crc32.Checksum(v, format.Castagnoli))
		if len(buffer) > 1<<20 {
			w.plain(buffer)
			buffer = buffer[:0]
		}
	}
	w.plain(buffer)
	return nil
}

// plain writes what has CRCs of its own.
func (w *fileWriter) plain(b []byte) {
	if w.err == nil {
		_, w.err = w.out.Write(b)
	}
	w.at += int64(len(b))
}

// writeDocuments writes which row each document has.
func (s *shard) writeDocuments(w *fileWriter, f *footer) {
	var data []byte
	for first := 0; first < len(s.documents); first += documentsEach {
		run := s.documents[first:min(first+documentsEach, len(s.documents))]
		k := block{documents: int64(len(run)), bounds: noBounds()}
		for _, d := range run {
			k.bounds.add(d.offset, d.timestamp)
			f.bounds.add(d.offset, d.timestamp)
		}
		data = data[:0]
		offset, timestamp := k.bounds.offsetMin, k.bounds.timestampMin
		for _, d := range run {
			data = binary.AppendUvarint(data, uint64(d.offset-offset))
			data = binary.AppendVarint(data, d.timestamp-timestamp)
			data = binary.AppendUvarint(data, uint64(d.row))
			offset, timestamp = d.offset, d.timestamp
		}
		k.part = w.write(data)
		f.blocks = append(f.blocks, k)
	}
}

// finish writes footer and trailer.
func (w *fileWriter) finish(f *footer) (Result, error) {
	foot := f.append(nil)
	if len(foot) > footerMax {
		return Result{}, fmt.Errorf("write a shard: a footer of %d bytes", len(foot))
	}
	tail := binary.LittleEndian.AppendUint32(nil, uint32(len(foot)))
	tail = append(tail, version, 0, 0, 0)
	crc := crc32.Update(crc32.Checksum(foot, format.Castagnoli), format.Castagnoli, tail)
	tail = append(binary.LittleEndian.AppendUint32(tail, crc), magic...)
	w.plain(foot)
	w.plain(tail)
	if w.err != nil {
		return Result{}, fmt.Errorf("write a shard: %w", w.err)
	}
	return Result{
		Rows: int64(f.rows), Documents: f.documents, First: f.bounds.offsetMin, Next: f.bounds.offsetMax + 1,
		TimestampMin: f.bounds.timestampMin, TimestampMax: f.bounds.timestampMax, Kind: f.kind, Calibration: f.calibration,
		Size: w.at, Footer: int64(len(foot) + len(tail)),
	}, nil
}
