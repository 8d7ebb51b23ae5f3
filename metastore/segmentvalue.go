package metastore

import (
	"encoding/binary"
	"fmt"
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

// segmentPartRangesMax bounds the value of one key.
const segmentPartRangesMax = 4000

// A range takes at least this many bytes, which bounds what a count may claim.
const segmentRangeBytesMin = 8

// encodeSegment returns the values of a segment's keys, one a part.
func encodeSegment(s *Segment) [][]byte {
	parts := max(1, (len(s.Ranges)+segmentPartRangesMax-1)/segmentPartRangesMax)
	values := make([][]byte, parts)
	for i := range values {
		ranges := s.Ranges[i*segmentPartRangesMax : min((i+1)*segmentPartRangesMax, len(s.Ranges))]
		values[i] = encodeSegmentPart(s, i, parts, ranges)
	}
	return values
}

func encodeSegmentPart(s *Segment, part, parts int, ranges []SegmentRange) []byte {
	b := make([]byte, 0, 64+len(s.ID)+len(s.Object)+24*len(ranges))
	b = append(b, segmentValueVersion)
	b = binary.AppendUvarint(b, uint64(part))
	b = binary.AppendUvarint(b, uint64(parts))
	b = appendString(b, s.ID)
	b = appendString(b, s.Object)
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

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// segmentPart is what one key holds: a Segment with the ranges of this part.
type segmentPart struct {
	Segment
	part, parts int
}

// decodeSegmentPart reads what encodeSegmentPart wrote. Errors are format.Errors.
func decodeSegmentPart(value []byte) (segmentPart, error) {
	var p segmentPart
	if len(value) < 5 {
		return p, format.Corrupt(0, "segment value of %d bytes", len(value))
	}
	body := value[:len(value)-4]
	if got, want := crc32.Checksum(body, format.Castagnoli), binary.BigEndian.Uint32(value[len(body):]); got != want {
		return p, format.Corrupt(int64(len(body)), "crc is %08x, computed %08x", want, got)
	}
	if body[0] != segmentValueVersion {
		return p, format.Version(0, int(body[0]), segmentValueVersion)
	}
	d := decoder{data: body, at: 1}
	p.part = int(d.uvarint(maxInt31))
	p.parts = int(d.uvarint(maxInt31))
	p.ID = d.string()
	p.Object = d.string()
	p.Size = d.uvarint(maxInt63)
	p.Broker = BrokerID(d.varint())
	p.Session = Session(d.uvarint(maxInt63))
	p.Sequence = d.uvarint(maxInt63)
	base := d.varint()
	ranges := d.uvarint(int64(len(body) / segmentRangeBytesMin))
	if d.err == nil && p.part >= p.parts {
		d.fail("part %d of %d", p.part, p.parts)
	}
	if d.err != nil {
		return p, d.err
	}
	p.Ranges = make([]SegmentRange, ranges)
	d.ranges(p.Ranges, base)
	if d.err == nil && d.at != len(body) {
		d.fail("%d bytes after the last range", len(body)-d.at)
	}
	return p, d.err
}

func (d *decoder) ranges(ranges []SegmentRange, base int64) {
	var last topic.ID
	var end int64
	for i := range ranges {
		r := &ranges[i]
		switch other := d.byte(); other {
		case 0:
		case 1:
			copy(last[:], d.bytes(len(last)))
		default:
			d.fail("topic mark %d", other)
		}
		r.Partition = topic.Partition{Topic: last, Index: int32(d.uvarint(maxInt31))}
		r.Epoch = Epoch(d.uvarint(maxInt31))
		r.First = d.uvarint(maxInt63)
		r.Next = r.First + d.uvarint(maxInt63-r.First)
		r.Position = end + d.varint()
		r.Length = d.uvarint(maxInt63)
		r.MaxTimestamp = base + d.varint()
		end = r.Position + r.Length
		if d.err == nil && (r.Position < 0 || end < r.Position) {
			d.fail("range %d lies at %d with %d bytes", i, r.Position, r.Length)
		}
		if d.err != nil {
			return
		}
	}
}

const (
	maxInt31 = 1<<31 - 1
	maxInt63 = 1<<63 - 1
)

// decoder walks a value. After the first error every read gives zero.
type decoder struct {
	data []byte
	at   int
	err  error
}

func (d *decoder) fail(reason string, args ...any) {
	if d.err == nil {
		d.err = format.Corrupt(int64(d.at), "%s", fmt.Sprintf(reason, args...))
	}
}

func (d *decoder) uvarint(largest int64) int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.data[d.at:])
	if n <= 0 || v > uint64(largest) {
		d.fail("number is cut off or above %d", largest)
		return 0
	}
	d.at += n
	return int64(v)
}

func (d *decoder) varint() int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Varint(d.data[d.at:])
	if n <= 0 {
		d.fail("number is cut off")
		return 0
	}
	d.at += n
	return v
}

// bytes returns the next n bytes, not copied.
func (d *decoder) bytes(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.data)-d.at {
		d.fail("%d bytes announced, %d are left", n, len(d.data)-d.at)
		return nil
	}
	d.at += n
	return d.data[d.at-n : d.at]
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *decoder) string() string {
	n := d.uvarint(int64(len(d.data)))
	return string(d.bytes(int(n)))
}
