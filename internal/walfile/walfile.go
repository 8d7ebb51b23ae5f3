// Package walfile is the format of the files of a broker's write-ahead log.
//
// A file begins with a header and holds frames, each one record batch. Files
// are used again when their frames are committed, so a file holds old frames
// behind its new ones; the generation, new at each use, tells them apart.
//
//	file    header (64 bytes) | frame | frame | … | anything
//	header  0 magic "CHRONWAL" | 8 version u32 | 12 reserved u32 | 16 generation u64
//	        | 24 reserved, zero | 60 CRC-32C of bytes 0..60 u32
//	frame   0 generation u64 | 8 kind u8, 3 zero bytes | 12 length u32 | 16 durable u32
//	        | 20 partition i32 | 24 leader epoch i32 | 28 reserved u32 | 32 first offset i64
//	        | 40 topic id [16] | 56 CRC-32C of the batch u32 | 60 CRC-32C of bytes 0..60 u32
//	        | 64 batch [length] | zero bytes to a multiple of 8
//
// All integers are little-endian. The header's CRC covers the generation and
// the batch's CRC, so a frame of an earlier use can never pass for a new one,
// and a frame whose batch is damaged still tells whose it is.
//
// durable is the position up to which the file was known to be on disk when the
// frame was written. It tells a torn write from damage: behind the point where
// a crash cut the log off, a whole frame may stand, but none that says that this
// point had been durable.
//
// A full file ends with a frame of kind End. A file that is followed by a newer
// one and has no End lost its tail.
//
// The package is pure: package broker/wal does the I/O.
package walfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
)

// Sizes of the format, in bytes.
const (
	Version         = 1
	HeaderSize      = 64
	FrameHeaderSize = 64
	alignment       = 8
	// FileSizeMax is bounded by the width of durable.
	FileSizeMax = 1<<32 - 1
)

var magic = [8]byte{'C', 'H', 'R', 'O', 'N', 'W', 'A', 'L'}

// Kind says what a frame holds.
type Kind uint8

// The kinds of frames.
const (
	Batch Kind = 1 // one record batch of one partition
	End   Kind = 2 // nothing: the file is full, a newer one goes on
)

// Frame is the header of a frame. The generation is the file's.
type Frame struct {
	Kind      Kind
	Length    uint32 // bytes of the batch
	Durable   uint32 // bytes of this file that were on disk when the frame was written
	Partition topic.Partition
	Epoch     int32
	First     int64  // offset of the batch's first record
	CRC       uint32 // of the batch
}

// Size is what a frame with a batch of length bytes takes in the file.
func Size(length int) int64 {
	return int64(FrameHeaderSize + (length+alignment-1)/alignment*alignment)
}

// Checksum is the CRC of a batch that Frame.CRC holds.
func Checksum(batch []byte) uint32 { return crc32.Checksum(batch, format.Castagnoli) }

// PutHeader writes a file header into the first HeaderSize bytes of b.
func PutHeader(b []byte, generation uint64) {
	h := b[:HeaderSize]
	clear(h)
	copy(h, magic[:])
	binary.LittleEndian.PutUint32(h[8:], Version)
	binary.LittleEndian.PutUint64(h[16:], generation)
	binary.LittleEndian.PutUint32(h[60:], Checksum(h[:60]))
}

// ParseHeader reads a file header and returns the generation.
func ParseHeader(b []byte) (uint64, error) {
	if len(b) < HeaderSize {
		return 0, format.Corrupt(int64(len(b)), "file ends within its header of %d bytes", HeaderSize)
	}
	if [8]byte(b[:8]) != magic {
		return 0, format.Corrupt(0, "not a WAL file: magic is %q", b[:8])
	}
	if got := Checksum(b[:60]); got != binary.LittleEndian.Uint32(b[60:]) {
		return 0, format.Corrupt(60, "header CRC is %08x, computed %08x", binary.LittleEndian.Uint32(b[60:]), got)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != Version {
		return 0, format.Version(8, int(v), Version)
	}
	return binary.LittleEndian.Uint64(b[16:]), nil
}

// PutFrame writes the frame's header into the first FrameHeaderSize bytes of b.
func PutFrame(b []byte, generation uint64, f *Frame) {
	h := b[:FrameHeaderSize]
	binary.LittleEndian.PutUint64(h[0:], generation)
	binary.LittleEndian.PutUint32(h[8:], uint32(f.Kind))
	binary.LittleEndian.PutUint32(h[12:], f.Length)
	binary.LittleEndian.PutUint32(h[16:], f.Durable)
	binary.LittleEndian.PutUint32(h[20:], uint32(f.Partition.Index))
	binary.LittleEndian.PutUint32(h[24:], uint32(f.Epoch))
	binary.LittleEndian.PutUint32(h[28:], 0)
	binary.LittleEndian.PutUint64(h[32:], uint64(f.First))
	copy(h[40:56], f.Partition.Topic[:])
	binary.LittleEndian.PutUint32(h[56:], f.CRC)
	binary.LittleEndian.PutUint32(h[60:], Checksum(h[:60]))
}

// ParseFrame reads a frame header that belongs to generation. ok is false when
// the bytes are no frame header of that generation: the end of the log, or damage.
func ParseFrame(b []byte, generation uint64) (f Frame, ok bool) {
	if len(b) < FrameHeaderSize ||
		binary.LittleEndian.Uint64(b) != generation ||
		Checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return Frame{}, false
	}
	f = Frame{
		Kind:    Kind(b[8]),
		Length:  binary.LittleEndian.Uint32(b[12:]),
		Durable: binary.LittleEndian.Uint32(b[16:]),
		Partition: topic.Partition{
			Topic: topic.ID(b[40:56]),
			Index: int32(binary.LittleEndian.Uint32(b[20:])),
		},
		Epoch: int32(binary.LittleEndian.Uint32(b[24:])),
		First: int64(binary.LittleEndian.Uint64(b[32:])),
		CRC:   binary.LittleEndian.Uint32(b[56:]),
	}
	return f, f.Kind == Batch || f.Kind == End
}

// Check tells whether batch is what the frame was written with.
func (f *Frame) Check(batch []byte) error {
	if len(batch) != int(f.Length) {
		return fmt.Errorf("batch has %d bytes, frame says %d", len(batch), f.Length)
	}
	if got := Checksum(batch); got != f.CRC {
		return fmt.Errorf("batch CRC is %08x, computed %08x", f.CRC, got)
	}
	return nil
}
