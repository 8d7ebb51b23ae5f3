// Package segment reads and writes the container of record batches at rest.
//
// One format has two kinds: a segment is what a broker flushes, with ranges of
// many partitions; a log file is a segment with one partition, rewritten by a
// compactor. Batches lie in it as they were appended, so ranges of them can be
// served without decoding. The footer alone says what is where: a reader gets
// it with one read of the object's end, then gets whole blocks.
//
//	┌────────────────────────────────────────────────┐ 0
//	│ header, 16 bytes                               │
//	│   magic "CHRONIKS" · version 2 · kind ·        │
//	│   zero (2) · CRC-32C of the 12 bytes before    │
//	├────────────────────────────────────────────────┤ 16
//	│ range: batches of one partition, one epoch     │
//	│   block: whole batches, 128 KiB or one batch   │ ← a CRC-32C in the footer,
//	│   block …                                      │   an entry of the index
//	├────────────────────────────────────────────────┤
//	│ range …      (by partition, then offset;       │
//	│               no byte lies between them)       │
//	├────────────────────────────────────────────────┤ size − 20 − footer length
//	│ footer: see footer.go                          │
//	├────────────────────────────────────────────────┤ size − 20
//	│ trailer, 20 bytes, the same in every version   │
//	│   footer length (4) · version 2 · kind ·       │
//	│   zero (2) · CRC-32C of footer and the 8 bytes │
//	│   before · magic "CHRONIKS"                    │
//	└────────────────────────────────────────────────┘ size
//
// Integers outside the batches are little-endian or varints. Every byte of an
// object is under a CRC or is a constant, so one flipped bit anywhere is found
// by Check, ReadFooter or Block.Verify; it costs one block, not the object.
//
// The package does no I/O beyond the io.ReaderAt that it is given.
package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sort"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
)

// Version is the newest version, the one that is written.
const Version = 2

const (
	// HeaderSize is the number of bytes before the first batch.
	HeaderSize = 16
	// TrailerSize is the number of bytes after the footer.
	TrailerSize = 20
	// BlockBytes is the size from which a block is closed: small enough for a
	// read of one record, large enough that a GET is worth its price.
	BlockBytes = 128 << 10

	footerBytesMax = 64 << 20
	idBytesMax     = 64
)

var magic = []byte("CHRONIKS")

// Kind tells the two uses of the container apart.
type Kind uint8

// The kinds.
const (
	KindSegment Kind = 1 // many partitions, by a broker
	KindLog     Kind = 2 // one partition, by a compactor
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case KindSegment:
		return "segment"
	case KindLog:
		return "log"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Meta says where an object comes from. It is for people and for recovery by
// hand: readers find objects by the metadata store.
type Meta struct {
	Kind      Kind
	ID        string // ULID
	Broker    int32  // −1 in a log file
	Session   int64  // under which the offsets were given; 0 in a log file
	Sequence  int64  // of the broker's commits in the session; 0 in a log file
	CreatedAt int64  // ms since the epoch
}

// Block is a run of whole batches: the unit of reading, checking and indexing.
type Block struct {
	First        int64 // offset of its first batch
	Position     int64 // bytes from the start of the object
	Length       int64 // bytes
	MaxTimestamp int64 // ms; the largest of its batches
	CRC          uint32
}

// Range is what an object holds of one partition under one leader epoch.
// Offsets are [First, Next); batches rise, and may leave out offsets whose
// records were compacted away.
type Range struct {
	Partition    topic.Partition
	Epoch        int32
	First, Next  int64
	Position     int64 // bytes from the start of the object
	Length       int64 // bytes
	MinTimestamp int64 // ms; the smallest base timestamp of its batches
	MaxTimestamp int64 // ms; the largest of its batches
	Records      int64
	Blocks       []Block
	Producers    []producer.State // of the producers in the range, as they were after it
}

// Footer is the index of an object. It is not changed after it was read or
// written, and so may be shared.
type Footer struct {
	Meta
	Ranges []Range // by partition, then First; a partition may have several
}

// IndexAfter is the index of the first range of p that ends above offset. If
// there is none, the index is that of another partition's range, or len(Ranges).
func (f *Footer) IndexAfter(p topic.Partition, offset int64) int {
	return sort.Search(len(f.Ranges), func(i int) bool {
		r := &f.Ranges[i]
		if c := r.Partition.Compare(p); c != 0 {
			return c > 0
		}
		return r.Next > offset
	})
}

// Find returns the range of p that holds offset.
func (f *Footer) Find(p topic.Partition, offset int64) (*Range, bool) {
	i := f.IndexAfter(p, offset)
	if i < len(f.Ranges) && f.Ranges[i].Partition == p && f.Ranges[i].First <= offset {
		return &f.Ranges[i], true
	}
	return nil, false
}

// BlockAt is the index of the block that holds offset, or, when the offset was
// compacted away at the end of a block, of the block before the gap. Offsets
// below First give 0.
func (r *Range) BlockAt(offset int64) int {
	return max(0, sort.Search(len(r.Blocks), func(i int) bool { return r.Blocks[i].First > offset })-1)
}

// Verify checks data, the bytes of the block, against its CRC. The error's
// position is the block's in the object.
func (b Block) Verify(data []byte) error {
	if int64(len(data)) != b.Length {
		return format.Corrupt(b.Position, "%d bytes of a block of %d", len(data), b.Length)
	}
	if got := crc32.Checksum(data, format.Castagnoli); got != b.CRC {
		return format.Corrupt(b.Position, "block CRC is %08x, its %d bytes give %08x", b.CRC, b.Length, got)
	}
	return nil
}

// CheckHeader checks the first HeaderSize bytes of an object.
func CheckHeader(b []byte) (Kind, error) {
	if len(b) < HeaderSize || !bytes.Equal(b[:8], magic) {
		return 0, format.Corrupt(0, "no segment or log file: it does not begin with %q", magic)
	}
	if crc32.Checksum(b[:12], format.Castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return 0, format.Corrupt(0, "header CRC")
	}
	return checkTag(0, b[8:12])
}

// checkTag reads version, kind and two zero bytes.
func checkTag(at int64, b []byte) (Kind, error) {
	if b[0] == 0 || b[0] > Version {
		return 0, format.Version(at, int(b[0]), Version)
	}
	kind := Kind(b[1])
	if kind != KindSegment && kind != KindLog || b[2] != 0 || b[3] != 0 {
		return 0, format.Corrupt(at, "kind % x", b[1:4])
	}
	return kind, nil
}

func appendHeader(dst []byte, kind Kind) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, Version, byte(kind), 0, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], format.Castagnoli))
}
