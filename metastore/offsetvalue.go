package metastore

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
)

// The value of offsets/<slot>/<group>/<topic id>/<block>:
//
//	version   1 byte, 1
//	base      varint: ms, the earliest committed_at
//	offsets   uvarint; then, sorted by partition, one by one:
//	  gap          uvarint: partitions of the block left out before this one
//	  offset       varint
//	  leader epoch varint
//	  committed_at uvarint: ms after base
//	  expires_at   uvarint: ms, 0 for none
//	  metadata     uvarint length, bytes
//	crc       4 bytes, big endian, CRC-32C of all before
const offsetValueVersion = 1

// A group's offsets are stored in blocks, so that a commit of many partitions
// is few keys and one of few does not rewrite all. A block finds room in a
// transaction also if each of its offsets comes with the 4 KiB of metadata that
// brokers allow by default.
const offsetBlockPartitions = 64

const offsetBytesMin = 6 // bounds what a count may claim

// blockValue is a block, by partition index.
type blockValue map[int32]OffsetCommit

func encodeBlock(v blockValue) []byte {
	base := int64(math.MaxInt64)
	for _, c := range v {
		base = min(base, c.CommittedAt)
	}
	if len(v) == 0 {
		base = 0
	}
	b := append(make([]byte, 0, 24+16*len(v)), offsetValueVersion)
	b = binary.AppendVarint(b, base)
	b = binary.AppendUvarint(b, uint64(len(v)))
	next := int32(0)
	for _, index := range slices.Sorted(maps.Keys(v)) {
		c, within := v[index], index%offsetBlockPartitions
		b = binary.AppendUvarint(b, uint64(within-next))
		b = binary.AppendVarint(b, c.Offset)
		b = binary.AppendVarint(b, int64(c.LeaderEpoch))
		b = binary.AppendUvarint(b, uint64(c.CommittedAt-base))
		b = binary.AppendUvarint(b, uint64(c.ExpiresAt))
		b = format.AppendString(b, c.Metadata)
		next = within + 1
	}
	return appendCRC(b)
}

// decodeBlock reads what encodeBlock wrote of the block of that index.
func decodeBlock(key string, block int32, value []byte) (blockValue, error) {
	d, err := openValue(value, offsetValueVersion)
	if err != nil {
		return nil, format.In(key, err)
	}
	base := d.Varint()
	n := d.uvarint(min(offsetBlockPartitions, int64(len(value)/offsetBytesMin)))
	v := make(blockValue, n)
	within := int64(0)
	for range n {
		within += d.uvarint(offsetBlockPartitions)
		c := OffsetCommit{Offset: d.Varint(), LeaderEpoch: Epoch(d.Int32())}
		c.CommittedAt = base + int64(d.Uvarint(math.MaxUint64))
		c.ExpiresAt = int64(d.Uvarint(math.MaxUint64))
		c.Metadata = d.String()
		if within >= offsetBlockPartitions || c.CommittedAt < base {
			d.Fail("partition %d of the block, committed %d ms after %d", within, c.CommittedAt, base)
		}
		if d.Failed() {
			break
		}
		v[block*offsetBlockPartitions+int32(within)] = c
		within++
	}
	return v, format.In(key, d.End())
}
