package batch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Filter takes records out of batches at rest, as compaction by key does. What
// is left keeps its offsets, timestamps and bytes; the batch keeps its base and
// last offset, its producer and sequence, its codec and its leader epoch. It is
// not for concurrent use.
type Filter struct {
	decoder *Decoder
	builder Builder
	records []byte
	kept    []span
}

// span is where a record lies in the decompressed records.
type span struct{ first, next int }

// NewFilter returns a Filter that opens batches with d, whose last Iter it ends.
func NewFilter(d *Decoder) *Filter { return &Filter{decoder: d} }

// Filtered is what is left of a batch. Without records it is the zero value:
// Empty makes the batch that then holds its place.
type Filtered struct {
	Header     Header
	Raw        []byte // the very bytes that came in when nothing had to change, else new ones
	Tombstones int    // records without a value that are left
}

// Apply asks keep about every record, in order, and returns the batch of those
// that are kept. When tombstones are among them and the batch has no delete
// horizon yet, it gets this one: the time, in ms, from which they may go. 0 gives
// it none. Records are compressed at level again, where they must be.
//
// Errors are those of Decoder.Open and Iter; keep may have been asked by then.
func (f *Filter) Apply(h Header, raw []byte, horizon int64, level int, keep func(*Record) bool) (Filtered, error) {
	it, err := f.decoder.Open(h, raw)
	if err != nil {
		return Filtered{}, err
	}
	f.kept = f.kept[:0]
	out := Filtered{Header: h, Raw: raw}
	maxTimestamp := int64(math.MinInt64)
	for at := 0; it.Next(); at = it.at {
		r := &it.record
		if !keep(r) {
			continue
		}
		f.kept = append(f.kept, span{at, it.at})
		maxTimestamp = max(maxTimestamp, r.Timestamp)
		if r.Value == nil {
			out.Tombstones++
		}
	}
	if it.err != nil {
		return Filtered{}, it.err
	}
	if out.Tombstones == 0 || h.Attributes.DeleteHorizon() {
		horizon = 0
	}
	switch {
	case len(f.kept) == 0:
		return Filtered{}, nil
	case len(f.kept) == int(h.Records) && horizon == 0:
		return out, nil
	}
	f.gather(h, it.data, horizon)
	f.builder.options = Options{Codec: h.Attributes.Codec(), Level: level}
	packed, err := f.builder.compress(f.records)
	if err != nil {
		return Filtered{}, fmt.Errorf("compressing what is left of a batch: %w", err)
	}
	if len(packed) > math.MaxInt32-lengthMin {
		return Filtered{}, fmt.Errorf("what is left of a batch: %w: %d bytes are more than a batch holds", ErrTooLarge, len(packed))
	}
	b := make([]byte, HeaderSize+len(packed))
	copy(b, raw[:HeaderSize])
	copy(b[HeaderSize:], packed)
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(lengthMin+len(packed)))
	if horizon != 0 {
		binary.BigEndian.PutUint16(b[attributesAt:], uint16(h.Attributes|deleteHorizon))
		binary.BigEndian.PutUint64(b[baseTimeAt:], uint64(horizon))
	}
	binary.BigEndian.PutUint32(b[recordsAt:], uint32(len(f.kept)))
	PatchMaxTimestamp(b, maxTimestamp) // under LogAppendTime every record has it; and the CRC
	out.Raw = b
	out.Header, err = ParseHeader(b)
	return out, err
}

// gather puts the kept records one after the other. Their bytes stay as they
// are, but for the timestamps' distance to a new horizon.
func (f *Filter) gather(h Header, data []byte, horizon int64) {
	f.records = f.records[:0]
	for _, s := range f.kept {
		if horizon == 0 {
			f.records = append(f.records, data[s.first:s.next]...)
			continue
		}
		_, at := varint(data, s.first)
		attributes := data[at]
		delta, at := varint(data, at+1)
		delta += h.BaseTimestamp - horizon
		rest := data[at:s.next]
		f.records = binary.AppendVarint(f.records, int64(1+varintSize(delta)+len(rest)))
		f.records = append(f.records, attributes)
		f.records = binary.AppendVarint(f.records, delta)
		f.records = append(f.records, rest...)
	}
}

// Empty returns the batch that holds the place of one whose records are all
// gone: the same offsets, producer and sequence, and no record.
func Empty(h Header) (Header, []byte) {
	b := make([]byte, HeaderSize)
	binary.BigEndian.PutUint32(b[lengthAt:], lengthMin)
	b[magicAt] = magicCurrent
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(h.Attributes&(logAppendTime|Transactional|Control)))
	binary.BigEndian.PutUint32(b[lastDeltaAt:], uint32(h.LastOffsetDelta))
	binary.BigEndian.PutUint64(b[baseTimeAt:], math.MaxUint64) // −1: none
	binary.BigEndian.PutUint64(b[producerAt:], uint64(h.ProducerID))
	binary.BigEndian.PutUint16(b[producerEpoAt:], uint16(h.ProducerEpoch))
	binary.BigEndian.PutUint32(b[baseSequenceAt:], uint32(h.BaseSequence))
	PatchOffset(b, h.BaseOffset, h.LeaderEpoch)
	PatchMaxTimestamp(b, h.MaxTimestamp) // and the CRC
	h.Length, h.Attributes, h.BaseTimestamp, h.Records = lengthMin, h.Attributes&(logAppendTime|Transactional|Control), -1, 0
	h.CRC = binary.BigEndian.Uint32(b[crcAt:])
	return h, b
}
