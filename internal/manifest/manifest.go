// Package manifest reads and writes manifests: the list of a partition's files.
//
// A partition's history lives here and not in the metadata store, which only
// names the section that is current. One object holds the sections of up to
// SectionsMax partitions, those that one compaction pass has changed; readers
// fetch the bytes of a single section, which stands on its own.
//
//	object:  section · section · …
//
//	section: magic "CHMF" (4) · version 1 to 5 (1) · zero (3) · payload length (4)
//	         · CRC-32C of the 12 bytes before and the payload (4) · payload
//
// The payload is JSON: manifests are small, read seldom, and looked at by
// people when something is wrong. The files of a long log are listed in pages,
// objects of their own, but for the newest ones. Fields are added by a new version; a field
// that a version does not know is damage. A section is written in the oldest version that
// can say it, so that nodes of an older release read what concerns them. Integers of the
// frame are little-endian.
//
// The package is pure. What may follow what is the business of Check, to be
// called before every conditional write.
package manifest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
)

const (
	// Version is the newest version of a section.
	Version = 5
	// SectionsMax bounds the sections of an object: as many partitions as one
	// transaction of the metadata store may swap.
	SectionsMax = 64
	// FrameSize is what a section has besides its payload.
	FrameSize = 16

	payloadBytesMax = 256 << 20
)

const magic = "CHMF"

// Marks are a partition's progress: everything below a mark has been rewritten
// into files of that kind. The fields are those of metastore.Marks.
type Marks struct {
	Log      int64 `json:"log"`
	Columnar int64 `json:"columnar"`
	Text     int64 `json:"text"`
	Vector   int64 `json:"vector"`
}

// Column is a column that not every file has: one that was inferred from JSON
// values, or the vectors of the records.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // int64, double, bool, text, timestamp; of vectors float32[384] and the like
}

// File is one immutable object of a partition.
type File struct {
	Object        string   // name in the bucket
	Size          int64    // bytes
	CRC           uint32   // CRC-32C of all bytes; 0: not known
	First, Next   int64    // it covers the offsets [First, Next) of its time partition
	Records       int64    // may be fewer than offsets: markers, holes, other time partitions
	MinTimestamp  int64    // ms
	MaxTimestamp  int64    // ms
	TimePartition string   // "2026-11-23" or "2026-11-23T07"; empty: not partitioned by time
	Columns       []Column // inferred ones; shared between files of one schema: do not change
	Format        string   // "parquet"; empty for log files
	CreatedAt     int64    // ms since the epoch
	Masked        int64    // derived files: records that a mask takes away; of vector files, that it may take away

	// Of text and vector files: how many bytes at the end a reader opens the file
	// with, and what the records were indexed with, as textindex.Options and
	// vectorindex.Settings say it. 0 and empty: not known.
	Footer int64
	// Of columnar files with the column of vectors: what made them. Such a file has
	// the vectors of all its records that have one.
	Settings string
}

// Clean is how far compaction by key has come.
//
// Below Next every record was held against every later one below Next. While a
// cleaning is under way, the files below At have been held against the keys of
// [Next, Through) too.
type Clean struct {
	Next    int64 `json:"next"`
	Through int64 `json:"through,omitempty"` // 0: no cleaning is under way
	At      int64 `json:"at,omitempty"`
	Horizon int64 `json:"horizon,omitempty"` // ms, from which all tombstones that were met may go; 0: none was left
}

// Section is the manifest of one partition.
type Section struct {
	Partition topic.Partition
	Topic     string // its name when this was written, for people
	Version   int64  // counts the swaps of this partition, from 1
	LogStart  int64
	Marks     Marks
	Log       []File           // by First, not overlapping
	Columnar  []File           // by First, then TimePartition; not overlapping within one
	Text      []File           // as Columnar
	Vector    []File           // as Columnar; one counts for [First, Next) alone, and may hold more
	Clean     Clean            // compaction by key; zero without it
	Masks     []File           // by First: the offsets of records that cleaning took out of the log and not out of all derived files and collections
	Producers []producer.State // at Marks.Log, by ID
	// Collections are outside the bucket: the newest first, whose vectors count
	// where an older one has some of the same records.
	Collections []Collection
	Pages       []Page // where some of the files are listed; the lists above have them too
}

// Place is where a section lies in its object, in bytes.
type Place struct{ Position, Length int64 }

// Encode writes sections, one for each partition, into one object. It refuses
// sections that Decode would not accept.
func Encode(sections []Section) (object []byte, places []Place, err error) {
	if len(sections) == 0 || len(sections) > SectionsMax {
		return nil, nil, fmt.Errorf("encoding a manifest: %d sections, want 1 to %d", len(sections), SectionsMax)
	}
	for i := range sections {
		s := &sections[i]
		if err := s.validate(); err != nil {
			return nil, nil, fmt.Errorf("encoding the manifest of %v: %w", s.Partition, err)
		}
		own := s.inside()
		payload, err := marshal(&own)
		if err != nil {
			return nil, nil, fmt.Errorf("encoding the manifest of %v: %w", s.Partition, err)
		}
		position := len(object)
		object = appendSection(object, own.version(), payload)
		places = append(places, Place{Position: int64(position), Length: int64(len(object) - position)})
	}
	return object, places, nil
}

// version is the oldest that can say what the section says.
func (s *Section) version() byte {
	newer := func(f File) bool { return f.Footer != 0 || f.Settings != "" || f.Masked != 0 }
	ran := func(p producer.State) bool { return p.Run > p.Remembered() || len(p.Past) > 0 }
	if slices.ContainsFunc(s.Producers, ran) {
		return 5
	}
	embedded := func(f File) bool { return f.Settings != "" }
	if slices.ContainsFunc(s.Vector, newer) || slices.ContainsFunc(s.Columnar, embedded) || len(s.Collections) > 0 {
		return 4
	}
	if slices.ContainsFunc(s.Text, newer) || slices.ContainsFunc(s.Masks, func(m File) bool { return m.Next > s.Marks.Columnar }) {
		return 3
	}
	return 2
}

func appendSection(dst []byte, version byte, payload []byte) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, version, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	crc := crc32.Checksum(dst[start:], format.Castagnoli)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Update(crc, format.Castagnoli, payload))
	return append(dst, payload...)
}

// Decode reads one section that has no pages; b is exactly its bytes.
func Decode(b []byte) (Section, error) { return DecodePaged(b, nil) }

// DecodePaged is Decode of a section that may have pages, which it reads. Its
// errors are returned as they are.
func DecodePaged(b []byte, read PageReader) (Section, error) {
	length, err := frame(b)
	if err != nil {
		return Section{}, err
	}
	if length != len(b) {
		return Section{}, format.Corrupt(int64(length), "%d bytes after the section", len(b)-length)
	}
	s, err := unmarshal(b[4], b[FrameSize:])
	if err != nil {
		return Section{}, err
	}
	if err := s.expand(read); err != nil {
		return Section{}, err
	}
	return s, nil
}

// DecodeAll reads all sections of an object, none of which has pages.
func DecodeAll(object []byte) ([]Section, error) {
	var sections []Section
	for at := 0; at < len(object); {
		length, err := frame(object[at:])
		if err != nil {
			return nil, format.At("", int64(at), err)
		}
		s, err := unmarshal(object[at+4], object[at+FrameSize:at+length])
		if err != nil {
			return nil, format.At("", int64(at), err)
		}
		if err := s.expand(nil); err != nil {
			return nil, err
		}
		sections = append(sections, s)
		at += length
	}
	if len(sections) == 0 {
		return nil, format.Corrupt(0, "no manifest: it is empty")
	}
	return sections, nil
}

// frame checks the frame that b begins with and returns the section's length.
func frame(b []byte) (length int, err error) {
	if len(b) < FrameSize || string(b[:4]) != magic {
		return 0, format.Corrupt(0, "no manifest: it does not begin with %q", magic)
	}
	payload := int64(binary.LittleEndian.Uint32(b[8:]))
	if payload > int64(len(b)-FrameSize) || payload > payloadBytesMax {
		return 0, format.Corrupt(8, "a payload of %d bytes, %d are there", payload, len(b)-FrameSize)
	}
	end := FrameSize + int(payload)
	crc := crc32.Update(crc32.Checksum(b[:12], format.Castagnoli), format.Castagnoli, b[FrameSize:end])
	if want := binary.LittleEndian.Uint32(b[12:]); crc != want {
		return 0, format.Corrupt(0, "section CRC is %08x, its bytes give %08x", want, crc)
	}
	if b[4] == 0 || b[4] > Version {
		return 0, format.Version(4, int(b[4]), Version)
	}
	if b[5]|b[6]|b[7] != 0 {
		return 0, format.Corrupt(5, "reserved bytes % x", b[5:8])
	}
	return end, nil
}
