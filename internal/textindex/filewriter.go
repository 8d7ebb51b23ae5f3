package textindex

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/chronik-stream/chronik/internal/format"
)

// A file is a header, sections, a footer that tells where they are, and a trailer
// that tells where the footer is: see docs/formats/split.md.
const (
	magic        = "CHRONIKT"
	version      = 1
	headerBytes  = 16
	trailerBytes = 20
	pageBytes    = 32 << 10
	sourceBytes  = 64 << 10 // of records that are compressed together
	footerGuess  = 64 << 10 // what a reader fetches that does not know the footer's length
	footerMax    = 1 << 30
	documentsMax = 1<<32 - 2
	termBytesMax = 1 << 16
)

// Result says what was written.
type Result struct {
	Bounds
	Size   int64
	Footer int64 // bytes at the end that a reader opens the file with: see Open
	// Overflow counts the values that the limit of fields left to FieldAll.
	Overflow int64
}

// fileWriter writes sections one after another and remembers their CRCs.
type fileWriter struct {
	out   io.Writer
	at    int64
	pages []uint32
	crc   uint32 // of the current page
	err   error

	footer footer
	terms  termWriter
	column []byte
}

func newFileWriter(out io.Writer) (*fileWriter, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make a zstd encoder: %w", err)
	}
	w := &fileWriter{out: out, terms: termWriter{encoder: encoder}}
	head := append([]byte(magic), version, 0, 0, 0)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, format.Castagnoli))
	w.write(head)
	return w, nil
}

// write appends bytes to the body.
func (w *fileWriter) write(b []byte) section {
	s := section{at: w.at, length: int64(len(b))}
	if w.err == nil {
		_, w.err = w.out.Write(b)
	}
	for len(b) > 0 {
		n := min(int64(len(b)), pageBytes-w.at%pageBytes)
		w.crc = crc32.Update(w.crc, format.Castagnoli, b[:n])
		w.at += n
		b = b[n:]
		if w.at%pageBytes == 0 {
			w.pages, w.crc = append(w.pages, w.crc), 0
		}
	}
	return s
}

// field writes a field whose terms, if it has any, have been added to w.terms.
func (w *fileWriter) field(stats Stats, docs []uint32, values []int64) {
	f := fileField{Stats: stats}
	if stats.Kind.HasTerms() {
		w.terms.finish()
		f.Distinct = w.terms.count
		f.dict = w.write(w.terms.dict)
		f.blocks = append([]termBlock(nil), w.terms.index...)
	}
	w.column = appendColumn(w.column[:0], stats.Kind, w.footer.bounds.Documents, docs, values)
	f.column = w.write(w.column)
	if stats.Kind.HasTerms() {
		f.postings = w.write(w.terms.postings)
		f.positions = w.write(w.terms.positions)
	}
	w.footer.fields = append(w.footer.fields, f)
}

// finish writes footer and trailer.
func (w *fileWriter) finish() (Result, error) {
	body := w.at
	if w.at%pageBytes != 0 {
		w.pages = append(w.pages, w.crc)
	}
	w.footer.pages = w.pages
	foot := w.footer.append(nil)
	if len(foot) > footerMax {
		return Result{}, fmt.Errorf("write a split: a footer of %d bytes", len(foot))
	}
	tail := binary.LittleEndian.AppendUint32(nil, uint32(len(foot)))
	tail = append(tail, version, 0, 0, 0)
	crc := crc32.Update(crc32.Checksum(foot, format.Castagnoli), format.Castagnoli, tail)
	tail = binary.LittleEndian.AppendUint32(tail, crc)
	tail = append(tail, magic...)
	for _, b := range [][]byte{foot, tail} {
		if w.err == nil {
			_, w.err = w.out.Write(b)
		}
	}
	if w.err != nil {
		return Result{}, fmt.Errorf("write a split: %w", w.err)
	}
	length := int64(len(foot) + len(tail))
	return Result{Bounds: w.footer.bounds, Size: body + length, Footer: length, Overflow: w.footer.overflow}, nil
}
