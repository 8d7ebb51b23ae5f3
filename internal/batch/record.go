package batch

import (
	"fmt"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
)

// Record is one record of a batch. Key, Value and Headers are parts of the
// bytes that it was read from; nil is Kafka's null, which is not empty.
type Record struct {
	Offset    int64
	Timestamp int64 // ms
	Key       []byte
	Value     []byte
	Headers   Headers
}

// Headers are the headers of a record, in order, duplicates included. They are
// well formed, as whoever made them has walked them once.
type Headers struct {
	raw   []byte
	count int
}

// Len is the number of headers.
func (h Headers) Len() int { return h.count }

// Each calls f for every header. A nil value is null; keys never are.
func (h Headers) Each(f func(key, value []byte)) {
	at := 0
	for range h.count {
		var key, value []byte
		key, at = field(h.raw, at)
		value, at = field(h.raw, at)
		f(key, value)
	}
}

// RecordError says which record of a batch is malformed.
type RecordError struct {
	Index int32 // from 0
	Err   error // a *format.Error; its position counts from the start of the (decompressed) records
}

// Error implements error.
func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index, e.Err) }

// Unwrap gives the format error.
func (e *RecordError) Unwrap() error { return e.Err }

// Iter walks the records of one batch:
//
//	for it.Next() {
//		r := it.Record()
//	}
//	if err := it.Err(); err != nil { … }
type Iter struct {
	record     Record
	data       []byte // decompressed records
	at         int    // start of the next record
	index      int32
	records    int32
	lastDelta  int64 // offset delta of the record before; −1 at first
	deltaMax   int64
	base       int64
	baseTime   int64
	appendTime int64
	isAppend   bool
	err        error
}

func newIter(h Header, data []byte) Iter {
	return Iter{
		data:       data,
		records:    h.Records,
		lastDelta:  -1,
		deltaMax:   int64(h.LastOffsetDelta),
		base:       h.BaseOffset,
		baseTime:   h.BaseTimestamp,
		appendTime: h.MaxTimestamp,
		isAppend:   h.Attributes.LogAppendTime(),
	}
}

// Record is the record that Next moved to. It is overwritten by the next call
// of Next; the bytes that it points to stay until the Decoder is used again.
func (it *Iter) Record() *Record { return &it.record }

// Err is why Next returned false, nil at the proper end. It is a *RecordError
// for a malformed record, a *format.Error for bytes after the last one.
func (it *Iter) Err() error { return it.err }

// Next moves to the next record. It returns false at the end and at damage,
// which includes offsets that do not rise or that lie outside the batch.
func (it *Iter) Next() bool {
	if it.index >= it.records || it.err != nil {
		if it.err == nil && it.at != len(it.data) {
			it.err = format.Corrupt(int64(it.at), "%d bytes after the last of %d records", len(it.data)-it.at, it.records)
			it.at = len(it.data)
		}
		return false
	}
	length, at := varint(it.data, it.at)
	if at < 0 || length < 0 || length > int64(len(it.data)-at) {
		return it.fail("its length runs over the %d bytes of records", len(it.data))
	}
	end := at + int(length)
	body := it.data[:end]
	timeDelta, at := varint(body, at+1) // skips the attributes, which have no use
	offsetDelta, at := varint(body, at)
	key, at := field(body, at)
	value, at := field(body, at)
	headers, at := varint(body, at)
	if at < 0 || headers < 0 {
		return it.fail("its fields run over its %d bytes", length)
	}
	first := at
	if headers > 0 {
		at = skipHeaders(body, at, headers)
	}
	if at != end {
		return it.fail("its fields do not fill its %d bytes", length)
	}
	if offsetDelta <= it.lastDelta || offsetDelta > it.deltaMax {
		return it.fail("offset delta %d after %d, at most %d", offsetDelta, it.lastDelta, it.deltaMax)
	}
	r := &it.record
	r.Offset = it.base + offsetDelta
	r.Timestamp = it.baseTime + timeDelta
	if it.isAppend {
		r.Timestamp = it.appendTime
	}
	r.Key, r.Value = key, value
	r.Headers = Headers{raw: body[first:], count: int(headers)}
	it.lastDelta = offsetDelta
	it.at = end
	it.index++
	return true
}

func (it *Iter) fail(reason string, args ...any) bool {
	it.err = &RecordError{Index: it.index, Err: format.Corrupt(int64(it.at), reason, args...)}
	return false
}

// skipHeaders returns the position after count headers, or −1.
func skipHeaders(b []byte, at int, count int64) int {
	if count > int64(len(b)-at)/2 { // a header has two bytes at least
		return -1
	}
	for range count {
		var key []byte
		if key, at = field(b, at); key == nil {
			return -1
		}
		if _, at = field(b, at); at < 0 {
			return -1
		}
	}
	return at
}

// field reads a length and that many bytes; −1 is null. The position after it
// is −1 when b does not hold it, and stays so through further reads.
func field(b []byte, at int) ([]byte, int) {
	length, at := varint(b, at)
	if at < 0 || length < -1 || length > int64(len(b)-at) {
		return nil, -1
	}
	if length == -1 {
		return nil, at
	}
	end := at + int(length)
	return b[at:end:end], end
}

// varint reads a zig-zag varint at a position of b. It returns the position
// after it, or −1 when there is none, also when at is negative already: so a
// chain of reads needs one check at its end. One or two bytes are the rule.
func varint(b []byte, at int) (int64, int) {
	if uint(at) < uint(len(b)) {
		c := b[at]
		if c < 0x80 {
			return int64(c>>1) ^ -int64(c&1), at + 1
		}
		if uint(at+1) < uint(len(b)) && b[at+1] < 0x80 {
			u := uint64(c&0x7f) | uint64(b[at+1])<<7
			return int64(u>>1) ^ -int64(u&1), at + 2
		}
	}
	return varintLong(b, at)
}

//go:noinline
func varintLong(b []byte, at int) (int64, int) {
	if at < 0 {
		return 0, -1
	}
	var v uint64
	for shift := uint(0); shift < 64 && at < len(b); shift += 7 {
		c := b[at]
		at++
		if shift == 63 && c > 1 {
			return 0, -1
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int64(v>>1) ^ -int64(v&1), at
		}
	}
	return 0, -1
}

// Facts are what the records of a batch say when all of them have been walked.
type Facts struct {
	MinTimestamp int64 // ms; the header does not hold it
	MaxTimestamp int64 // ms; to be compared with the header's
	Bytes        int   // of the records, decompressed
	Keyless      int32 // index of the first record with a null key, −1: none

	records []byte // decompressed; valid until the Decoder is used again
}

// inspect walks dense records, as a producer has to send them.
func inspect(h Header, data []byte) (Facts, error) {
	facts := Facts{MinTimestamp: math.MaxInt64, MaxTimestamp: math.MinInt64, Bytes: len(data), Keyless: -1, records: data}
	it := newIter(h, data)
	for it.Next() {
		r := &it.record
		facts.MinTimestamp = min(facts.MinTimestamp, r.Timestamp)
		facts.MaxTimestamp = max(facts.MaxTimestamp, r.Timestamp)
		if r.Key == nil && facts.Keyless < 0 {
			facts.Keyless = it.index - 1
		}
	}
	if it.err != nil {
		return Facts{}, it.err
	}
	return facts, nil
}
