package metastore

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
)

// The value of segments/<ulid>, the only one that is not JSON: a flush of 2,000
// partitions takes about 35 kB of it, and each broker writes one a second.
//
//	version     1 byte, 1
//	part, parts uvarint: this is part of parts, from 0
//	id, object  uvarint length, bytes
//	size        uvarint
//	broker      varint
//	session     uvarint
//	sequence    uvarint
//	timestamp   varint: base of the ranges' timestamps, ms
//	ranges      uvarint, number of ranges; then, range by range:
//	  topic     1 byte: 0 as the range before, 1 another, whose 16 bytes follow
//	  index     uvarint
//	  epoch     uvarint
//	  first     uvarint
//	  records   uvarint, next - first
//	  gap       varint, position - end of the range before (0 in a segment as written)
//	  length    uvarint
//	  timestamp varint, MaxTimestamp - base
//	crc         4 bytes, big endian, CRC-32C of all before
//
// A segment with many ranges has several keys, put in one transaction.
const segmentValueVersion = 1

// SegmentRangesMax is how many ranges a segment may have and be sure to fit
// its transaction, whatever the numbers in them (74 bytes each at most). A flush
// of more partitions is cut into several segments.
const SegmentRangesMax = 6500

// SegmentPartRangesMax is how many ranges one key holds; more take more keys.
const SegmentPartRangesMax = 4000

// A range takes at least this many bytes, which bounds what a count may claim.
const segmentRangeBytesMin = 8

// encodeSegment returns the values of a segment's keys, one a part.
func encodeSegment(s *Segment) [][]byte {
	parts := max(1, (len(s.Ranges)+SegmentPartRangesMax-1)/SegmentPartRangesMax)
	values := make([][]byte, parts)
	for i := range values {
		ranges := s.Ranges[i*SegmentPartRangesMax : min((i+1)*SegmentPartRangesMax, len(s.Ranges))]
		values[i] = encodeSegmentPart(s, i, parts, ranges)
	}
	return values
}

func encodeSegmentPart(s *Segment, part, parts int, ranges []SegmentRange) []byte {
	b := make([]byte, 0, 64+len(s.ID)+len(s.Object)+24*len(ranges))
	b = append(b, segmentValueVersion)
	b = binary.AppendUvarint(b, uint64(part))
	b = binary.AppendUvarint(b, uint64(parts))
	b = format.AppendString(b, s.ID)
	b = format.AppendString(b, s.Object)
	b = binary.AppendUvarint(b, uint64(s.Size))
	b = binary.AppendVarint(b, int64(s.Broker))
	b = binary.AppendUvarint(b, uint64(s.Session))
	b = binary.AppendUvarint(b, uint64(s.Sequence))
	var base, end int64
	if len(ranges) > 0 {
		base = ranges[0].MaxTimestamp
	}
	b = binary.AppendVarint(b, base)
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	var last topic.ID
	for _, r := range ranges {
		if r.Partition.Topic == last {
			b = append(b, 0)
		} else {
			b = append(append(b, 1), r.Partition.Topic[:]...)
			last = r.Partition.Topic
		}
		b = binary.AppendUvarint(b, uint64(r.Partition.Index))
		b = binary.AppendUvarint(b, uint64(r.Epoch))
		b = binary.AppendUvarint(b, uint64(r.First))
		b = binary.AppendUvarint(b, uint64(r.Next-r.First))
		b = binary.AppendVarint(b, r.Position-end)
		b = binary.AppendUvarint(b, uint64(r.Length))
		b = binary.AppendVarint(b, r.MaxTimestamp-base)
		end = r.Position + r.Length
	}
	return appendCRC(b)
}

func appendCRC(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, format.Castagnoli))
}

// segmentPart is what one key holds: a Segment with the ranges of this part.
type segmentPart struct {
	Segment
	part, parts int
}

// decodeSegmentPart reads what encodeSegmentPart wrote. Errors are format.Errors.
func decodeSegmentPart(value []byte) (segmentPart, error) {
	var p segmentPart
	d, err := openValue(value, segmentValueVersion)
	if err != nil {
		return p, err
	}
	p.part = int(d.uvarint(maxInt31))
	p.parts = int(d.uvarint(maxInt31))
	p.ID = d.String()
	p.Object = d.String()
	p.Size = d.uvarint(maxInt63)
	p.Broker = BrokerID(d.Varint())
	p.Session = Session(d.uvarint(maxInt63))
	p.Sequence = d.uvarint(maxInt63)
	base := d.Varint()
	ranges := d.uvarint(int64(len(value) / segmentRangeBytesMin))
	if p.part >= p.parts {
		d.Fail("part %d of %d", p.part, p.parts)
	}
	if d.Failed() {
		return p, d.End()
	}
	p.Ranges = make([]SegmentRange, ranges)
	d.ranges(p.Ranges, base)
	return p, d.End()
}

func (d decoder) ranges(ranges []SegmentRange, base int64) {
	var last topic.ID
	var end int64
	for i := range ranges {
		r := &ranges[i]
		switch other := d.Byte(); other {
		case 0:
		case 1:
			copy(last[:], d.Bytes(len(last)))
		default:
			d.Fail("topic mark %d", other)
		}
		r.Partition = topic.Partition{Topic: last, Index: int32(d.uvarint(maxInt31))}
		r.Epoch = Epoch(d.uvarint(maxInt31))
		r.First = d.uvarint(maxInt63)
		r.Next = r.First + d.uvarint(maxInt63-r.First)
		r.Position = end + d.Varint()
		r.Length = d.uvarint(maxInt63)
		r.MaxTimestamp = base + d.Varint()
		end = r.Position + r.Length
		if r.Position < 0 || end < r.Position {
			d.Fail("range %d lies at %d with %d bytes", i, r.Position, r.Length)
		}
		if d.Failed() {
			return
		}
	}
}

const (
	maxInt31 = 1<<31 - 1
	maxInt63 = 1<<63 - 1
)

// openValue checks the CRC that a value ends with and the version that it begins
// with, and returns a decoder of what lies between.
func openValue(value []byte, version byte) (decoder, error) {
	if len(value) < 5 {
		return decoder{}, format.Corrupt(0, "value of %d bytes", len(value))
	}
	body := value[:len(value)-4]
	if got, want := crc32.Checksum(body, format.Castagnoli), binary.BigEndian.Uint32(value[len(body):]); got != want {
		return decoder{}, format.Corrupt(int64(len(body)), "crc is %08x, computed %08x", want, got)
	}
	if body[0] != version {
		return decoder{}, format.Version(0, int(body[0]), int(version))
	}
	d := decoder{format.NewDecoder(body)}
	d.Byte() // the version
	return d, nil
}

// decoder walks a value whose numbers are int64s that are not negative.
type decoder struct{ *format.Decoder }

func (d decoder) uvarint(most int64) int64 { return int64(d.Uvarint(uint64(most))) }
