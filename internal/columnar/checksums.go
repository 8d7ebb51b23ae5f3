package columnar

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/chronik-stream/chronik/internal/format"
)

// ChecksumsKey is the key, in a file's footer, of the checksums of its parts.
//
// The manifest's checksum is that of the whole file, and the pages carry none
// (arrow-go writes none). So that a reader can trust the one column chunk that it
// fetched, the footer has the CRC-32C of everything that is fetched by itself:
// eight hex digits each, first the footer's own, with these digits as zeros;
// then, for each row group and in it for each leaf column, those of the chunk,
// of its bloom filter, of its column index and of its offset index. What is not
// there has the checksum 0.
const ChecksumsKey = "chronik.crc32c"

// Part is a part of a file that readers fetch by itself.
type Part int

// The parts of a column chunk.
const (
	Chunk Part = iota // all pages
	BloomFilter
	ColumnIndex
	OffsetIndex

	partsOfChunk = 4
	hexDigits    = 8
)

// Checksums are those of a file's parts.
type Checksums struct {
	leaves int
	sums   []byte // big endian, four bytes each
}

// ParseChecksums reads the value of ChecksumsKey in a footer, which is the
// Thrift bytes of a file's metadata, and checks the footer with it.
func ParseChecksums(value string, footer []byte, groups, leaves int) (Checksums, error) {
	sums, err := hex.DecodeString(value)
	if err != nil {
		return Checksums{}, format.Corrupt(0, "checksums of the footer: %v", err)
	}
	if want := 4 * (1 + groups*leaves*partsOfChunk); len(sums) != want {
		return Checksums{}, format.Corrupt(0, "checksums of the footer: %d bytes, want %d", len(sums), want)
	}
	at := bytes.LastIndex(footer, []byte(value))
	if at < 0 {
		return Checksums{}, format.Corrupt(0, "the footer does not hold its checksums")
	}
	if footerSum(footer, at) != binary.BigEndian.Uint32(sums) {
		return Checksums{}, format.Corrupt(0, "the footer's checksum is wrong")
	}
	return Checksums{leaves, sums[4:]}, nil
}

// Of is the checksum of a part of the chunk that a leaf column has in a row group.
func (c Checksums) Of(group, leaf int, part Part) uint32 {
	return binary.BigEndian.Uint32(c.sums[4*((group*c.leaves+leaf)*partsOfChunk+int(part)):])
}

// footerSum is the checksum of a footer whose own stands at a position.
func footerSum(footer []byte, at int) uint32 {
	sum := crc32.Update(0, format.Castagnoli, footer[:at])
	sum = crc32.Update(sum, format.Castagnoli, bytes.Repeat([]byte{'0'}, hexDigits))
	return crc32.Update(sum, format.Castagnoli, footer[at+hexDigits:])
}

// sink sums a file as it is written, and keeps the Parquet writer from closing
// what is below it.
type sink struct {
	out  io.Writer
	size int64
	crc  uint32

	begin int64  // of the current column chunk
	sum   uint32 // from there on
	cuts  []cut
	held  []byte // once holds: what comes after the last row group
	holds bool
}

// cut is a place at which a piece of a column chunk ends.
type cut struct {
	begin, end int64
	sum        uint32
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	if s.holds {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	n, err := s.out.Write(p)
	s.size += int64(n)
	s.crc = crc32.Update(s.crc, format.Castagnoli, p[:n])
	s.sum = crc32.Update(s.sum, format.Castagnoli, p[:n])
	s.cuts = append(s.cuts, cut{s.begin, s.size, s.sum})
	return n, err
}

// mark says that another column chunk begins.
func (s *sink) mark() { s.begin, s.sum = s.size, 0 }

// placeholder holds the place of the checksums in the footer. Its last occurrence
// there is it: statistics, which may be as many zeros, come before.
func placeholder(groups, leaves int) string {
	return string(bytes.Repeat([]byte{'0'}, hexDigits*(1+groups*leaves*partsOfChunk)))
}

// release writes what was held, with the checksums in the place of their
// placeholder.
func (s *sink) release(meta *metadata.FileMetaData, place string) error {
	s.holds = false
	length := len(s.held)
	if length < 8 {
		return fmt.Errorf("checksums: a file ends in %d bytes", length)
	}
	footer := s.held[length-8-int(binary.LittleEndian.Uint32(s.held[length-8:])) : length-8]
	at := bytes.LastIndex(footer, []byte(place))
	if at < 0 {
		return fmt.Errorf("checksums: there is no place for them in the footer")
	}
	sums, err := s.sums(meta)
	if err != nil {
		return err
	}
	hex.Encode(footer[at+hexDigits:], sums)
	hex.Encode(footer[at:], binary.BigEndian.AppendUint32(nil, footerSum(footer, at)))
	_, err = s.Write(s.held)
	return err
}

// sums are those of all chunks and what belongs to them.
func (s *sink) sums(meta *metadata.FileMetaData) ([]byte, error) {
	chunks := make(map[[2]int64]uint32, len(s.cuts))
	for _, c := range s.cuts {
		chunks[[2]int64{c.begin, c.end}] = c.sum
	}
	var sums []byte
	add := func(position, length int64) {
		sum := uint32(0)
		if length > 0 {
			sum = crc32.Checksum(s.held[position-s.size:][:length], format.Castagnoli)
		}
		sums = binary.BigEndian.AppendUint32(sums, sum)
	}
	for g := range meta.NumRowGroups() {
		group := meta.RowGroup(g)
		for i := range group.NumColumns() {
			c, err := group.ColumnChunk(i)
			if err != nil {
				return nil, fmt.Errorf("checksums: %w", err)
			}
			begin := c.DataPageOffset()
			if c.HasDictionaryPage() {
				begin = min(begin, c.DictionaryPageOffset())
			}
			sum, ok := chunks[[2]int64{begin, begin + c.TotalCompressedSize()}]
			if !ok {
				return nil, fmt.Errorf("checksums: no column chunk was written at byte %d, %d bytes long", begin, c.TotalCompressedSize())
			}
			sums = binary.BigEndian.AppendUint32(sums, sum)
			add(c.BloomFilterOffset(), int64(c.BloomFilterLength()))
			for _, index := range []*metadata.IndexLocation{c.GetColumnIndexLocation(), c.GetOffsetIndexLocation()} {
				if index == nil {
					index = &metadata.IndexLocation{}
				}
				add(index.Offset, int64(index.Length))
			}
		}
	}
	return sums, nil
}
