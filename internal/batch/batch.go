// Package batch reads and writes Kafka record batches of format v2, the only
// format that Chronik knows, by hand and without allocating per record.
//
// A batch is stored and served as the producer sent it. Only the base offset
// and the leader epoch are written over (both lie outside the CRC), and, under
// LogAppendTime, the timestamp type and maximum timestamp, with a new CRC. One
// that is salvaged may get another producer.
//
//	byte  size  field                 (all integers big-endian)
//	   0     8  base offset           ┐ given by the owner of the partition
//	   8     4  length                │ of everything after this field
//	  12     4  leader epoch          ┘
//	  16     1  magic, 2
//	  17     4  CRC-32C of bytes 21 to the end
//	  21     2  attributes            codec 0-2, LogAppendTime 3, transactional 4,
//	                                  control 5, delete horizon 6
//	  23     4  last offset delta     records − 1, unless keys were compacted away
//	  27     8  base timestamp        ms; of the first record
//	  35     8  maximum timestamp     ms
//	  43     8  producer id           −1: not idempotent
//	  51     2  producer epoch
//	  53     4  base sequence
//	  57     4  number of records
//	  61     …  records, compressed as one block if there is a codec
//
// A record, all integers zig-zag varints, a length of −1 meaning null:
//
//	length | attributes (1 byte, unused) | timestamp delta | offset delta |
//	key length | key | value length | value | headers | per header: key length |
//	key | value length | value
//
// ParseHeader looks at structure alone, Verify adds the CRC, Check adds what a
// producer has to obey. Bytes that fail give a *format.Error, never a panic;
// nothing is allocated because the input announces it, except that a Decoder
// decompresses up to the bound that it was built with.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// HeaderSize is the number of bytes before the records.
const HeaderSize = 61

// Positions within a header.
const (
	lengthAt       = 8
	leaderEpochAt  = 12
	magicAt        = 16
	crcAt          = 17
	attributesAt   = 21 // the CRC covers everything from here
	lastDeltaAt    = 23
	baseTimeAt     = 27
	maxTimeAt      = 35
	producerAt     = 43
	producerEpoAt  = 51
	baseSequenceAt = 53
	recordsAt      = 57

	lengthMin    = HeaderSize - leaderEpochAt
	recordBytes  = 7 // of the smallest record: seven one-byte fields
	magicCurrent = 2
)

// ErrTruncated means that bytes end before the batch does. It wraps
// format.ErrCorrupt; a reader of a stream may take it as "wait for more".
var ErrTruncated = fmt.Errorf("truncated: %w", format.ErrCorrupt)

// ErrTooLarge means that records decompress to more than the Decoder's bound.
var ErrTooLarge = errors.New("records decompress to more than the limit")

// Header is the parsed header of a batch, a plain value.
type Header struct {
	BaseOffset      int64
	Length          int32 // bytes after the length field
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      Attributes
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms
	MaxTimestamp    int64 // ms
	ProducerID      int64 // −1: not idempotent
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32
}

// Size is the length of the whole batch in bytes.
func (h Header) Size() int { return leaderEpochAt + int(h.Length) }

// Next is the offset after the last one that the batch covers.
func (h Header) Next() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) + 1 }

// LastSequence is the sequence number of the last record. Sequences wrap from
// math.MaxInt32 to 0.
func (h Header) LastSequence() int32 {
	if h.BaseSequence < 0 {
		return h.BaseSequence
	}
	return int32((int64(h.BaseSequence) + int64(h.LastOffsetDelta)) & math.MaxInt32)
}

// Idempotent reports whether the producer numbered its batches.
func (h Header) Idempotent() bool { return h.ProducerID >= 0 }

// ParseHeader reads the header of the batch that b begins with; b may hold
// more, or less, than the batch, but no less than HeaderSize bytes. Structure
// alone is checked: magic 2 (else format.ErrVersion), and lengths, counts and
// offsets that do not contradict each other, so that Size and Next can be
// trusted not to be negative or to overflow.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, truncated(int64(len(b)), "%d bytes, a batch header has %d", len(b), HeaderSize)
	}
	b = b[:HeaderSize:HeaderSize] // one bounds check for all
	h := Header{
		BaseOffset:      int64(binary.BigEndian.Uint64(b)),
		Length:          int32(binary.BigEndian.Uint32(b[lengthAt:])),
		LeaderEpoch:     int32(binary.BigEndian.Uint32(b[leaderEpochAt:])),
		Magic:           int8(b[magicAt]),
		CRC:             binary.BigEndian.Uint32(b[crcAt:]),
		Attributes:      Attributes(binary.BigEndian.Uint16(b[attributesAt:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[lastDeltaAt:])),
		BaseTimestamp:   int64(binary.BigEndian.Uint64(b[baseTimeAt:])),
		MaxTimestamp:    int64(binary.BigEndian.Uint64(b[maxTimeAt:])),
		ProducerID:      int64(binary.BigEndian.Uint64(b[producerAt:])),
		ProducerEpoch:   int16(binary.BigEndian.Uint16(b[producerEpoAt:])),
		BaseSequence:    int32(binary.BigEndian.Uint32(b[baseSequenceAt:])),
		Records:         int32(binary.BigEndian.Uint32(b[recordsAt:])),
	}
	if h.Magic == magicCurrent && h.Length >= lengthMin && h.LastOffsetDelta >= 0 &&
		uint64(h.BaseOffset) < math.MaxInt64-math.MaxInt32 &&
		h.Records >= 0 && int64(h.Records) <= int64(h.LastOffsetDelta)+1 {
		return h, nil
	}
	return Header{}, h.fault()
}

// fault says what ParseHeader did not like.
func (h Header) fault() error {
	switch {
	case h.Magic != magicCurrent:
		return format.Version(magicAt, int(h.Magic), magicCurrent)
	case h.Length < lengthMin:
		return format.Corrupt(lengthAt, "batch length %d, the least is %d", h.Length, lengthMin)
	case h.LastOffsetDelta < 0:
		return format.Corrupt(lastDeltaAt, "last offset delta %d", h.LastOffsetDelta)
	case h.BaseOffset < 0 || h.BaseOffset >= math.MaxInt64-math.MaxInt32:
		return format.Corrupt(0, "base offset %d", h.BaseOffset)
	default:
		return format.Corrupt(recordsAt, "%d records within %d offsets", h.Records, int64(h.LastOffsetDelta)+1)
	}
}

// Verify reads a batch at rest: b is exactly one whole batch and its CRC holds.
func Verify(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Header{}, err
	}
	if len(b) < h.Size() {
		return Header{}, truncated(int64(len(b)), "%d bytes of a batch of %d", len(b), h.Size())
	}
	if len(b) > h.Size() {
		return Header{}, format.Corrupt(int64(h.Size()), "%d bytes after the batch", len(b)-h.Size())
	}
	if got := crc32.Checksum(b[attributesAt:], format.Castagnoli); got != h.CRC {
		return Header{}, format.Corrupt(crcAt, "batch CRC is %08x, its bytes give %08x", h.CRC, got)
	}
	return h, nil
}

// Check is Verify for a batch that comes from a producer: the codec is known,
// there is at least one record, and offsets are dense. The records of an
// uncompressed batch are walked; those of a compressed one only by
// Decoder.VerifyRecords or Decoder.Inspect. A bad record gives a *RecordError.
func Check(b []byte) (Header, error) {
	h, err := Verify(b)
	if err != nil {
		return Header{}, err
	}
	if err := h.checkProduced(); err != nil {
		return Header{}, err
	}
	if h.Attributes.Codec() == None {
		if _, err := inspect(h, b[HeaderSize:]); err != nil {
			return Header{}, err
		}
	}
	return h, nil
}

func (h Header) checkProduced() error {
	switch {
	case h.Attributes.Codec() > Zstd:
		return format.Corrupt(attributesAt, "unknown codec %d", h.Attributes.Codec())
	case h.Records < 1:
		return format.Corrupt(recordsAt, "a batch without records")
	case h.LastOffsetDelta != h.Records-1:
		return format.Corrupt(lastDeltaAt, "last offset delta %d with %d records", h.LastOffsetDelta, h.Records)
	case h.Attributes.Codec() == None && int64(h.Records)*recordBytes > int64(h.Size()-HeaderSize):
		return format.Corrupt(recordsAt, "%d records in %d bytes", h.Records, h.Size()-HeaderSize)
	}
	return nil
}

// Each calls f for every batch of b, which is a concatenation of whole ones,
// with raw as a part of b. Headers are parsed, CRCs are not looked at. It stops
// at f's first error, which it returns as it is, or at damage, whose position
// counts from the start of b; a last batch that is cut off is ErrTruncated.
func Each(b []byte, f func(h Header, raw []byte) error) error {
	for at := 0; at < len(b); {
		h, err := ParseHeader(b[at:])
		if err != nil {
			return format.At("", int64(at), err)
		}
		if h.Size() > len(b)-at {
			return truncated(int64(at), "%d bytes of a batch of %d", len(b)-at, h.Size())
		}
		end := at + h.Size()
		if err := f(h, b[at:end:end]); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// PatchOffset gives the batch its place in the log, in place. The CRC does not
// cover what it writes.
func PatchOffset(raw []byte, base int64, epoch int32) {
	binary.BigEndian.PutUint64(raw, uint64(base))
	binary.BigEndian.PutUint32(raw[leaderEpochAt:], uint32(epoch))
}

// PatchLogAppendTime gives all records of the batch the time ms, in place: it
// sets the timestamp type and the maximum timestamp, and computes the CRC anew.
func PatchLogAppendTime(raw []byte, ms int64) {
	attributes := binary.BigEndian.Uint16(raw[attributesAt:])
	binary.BigEndian.PutUint16(raw[attributesAt:], attributes|uint16(logAppendTime))
	PatchMaxTimestamp(raw, ms)
}

// PatchMaxTimestamp corrects the maximum timestamp in place, and computes the
// CRC anew. Look-ups by time trust the field, and not every client fills it in.
func PatchMaxTimestamp(raw []byte, ms int64) {
	binary.BigEndian.PutUint64(raw[maxTimeAt:], uint64(ms))
	patchCRC(raw)
}

func patchCRC(raw []byte) {
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[attributesAt:], format.Castagnoli))
}

// PatchCreateTime takes back that the broker set the timestamps, in a whole
// batch. The records' own are as their producer sent them.
func PatchCreateTime(raw []byte) {
	attributes := Attributes(binary.BigEndian.Uint16(raw[attributesAt:]))
	if attributes.LogAppendTime() {
		binary.BigEndian.PutUint16(raw[attributesAt:], uint16(attributes&^logAppendTime))
		patchCRC(raw)
	}
}

// PatchProducer gives a whole batch to another producer.
func PatchProducer(raw []byte, id int64, epoch int16, sequence int32) {
	binary.BigEndian.PutUint64(raw[producerAt:], uint64(id))
	binary.BigEndian.PutUint16(raw[producerEpoAt:], uint16(epoch))
	binary.BigEndian.PutUint32(raw[baseSequenceAt:], uint32(sequence))
	patchCRC(raw)
}

func truncated(at int64, reason string, args ...any) error {
	return &format.Error{Offset: at, Reason: fmt.Sprintf(reason, args...), Kind: ErrTruncated}
}
