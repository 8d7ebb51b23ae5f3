package parquetfile

import (
	"encoding/binary"

	"github.com/chronik-stream/chronik/internal/format"
)

// The types of Thrift's compact protocol that Parquet uses.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// Bounds on what a footer may announce.
const (
	thriftDepthMax = 16
	elementsMax    = 1 << 24
)

// field is one field of a struct, its value as it is encoded.
type field struct {
	id    int16
	typ   byte
	value []byte
}

// record is a struct as its fields, in their order. What is not known to this
// package is kept as it is, so that a footer can be changed in places without
// being understood as a whole.
type record []field

// thriftReader walks over encoded bytes. It keeps the first error.
type thriftReader struct {
	b   []byte
	at  int
	err error
}

func (r *thriftReader) fail(reason string) {
	if r.err == nil {
		r.err = format.Corrupt(int64(r.at), "thrift: %s", reason)
	}
	r.at = len(r.b)
}

func (r *thriftReader) byte() byte {
	if r.at >= len(r.b) {
		r.fail("it ends early")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.fail("a number ends early")
		return 0
	}
	r.at += n
	return v
}

func (r *thriftReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *thriftReader) skipBytes(n uint64) {
	if n > uint64(len(r.b)-r.at) {
		r.fail("text ends early")
		return
	}
	r.at += int(n)
}

// list reads the head of a list.
func (r *thriftReader) list() (elements int, typ byte) {
	head := r.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = r.uvarint()
	}
	if n > elementsMax || n > uint64(len(r.b)-r.at) {
		r.fail("a list is longer than what is there")
		return 0, 0
	}
	return int(n), head & 15
}

// skip passes over a value; element says that it stands in a list, where truth
// values have a byte of their own.
func (r *thriftReader) skip(typ byte, element bool, depth int) {
	if depth > thriftDepthMax {
		r.fail("nested too deeply")
		return
	}
	switch typ {
	case thriftTrue, thriftFalse:
		if element {
			r.byte()
		}
	case thriftByte:
		r.byte()
	case thriftI16, thriftI32, thriftI64:
		r.uvarint()
	case thriftDouble:
		r.skipBytes(8)
	case thriftBinary:
		r.skipBytes(r.uvarint())
	case thriftList, thriftSet:
		for n, of := r.list(); n > 0 && r.err == nil; n-- {
			r.skip(of, true, depth+1)
		}
	case thriftMap:
		n := r.uvarint()
		if n > uint64(len(r.b)-r.at) {
			r.fail("a map is longer than what is there")
			return
		}
		if n == 0 {
			return
		}
		types := r.byte()
		for ; n > 0 && r.err == nil; n-- {
			r.skip(types>>4, true, depth+1)
			r.skip(types&15, true, depth+1)
		}
	case thriftStruct:
		r.fields(func(field) {}, depth)
	default:
		r.fail("a value of an unknown type")
	}
}

// fields reads a struct and calls f for each field.
func (r *thriftReader) fields(f func(field), depth int) {
	id := int16(0)
	for r.err == nil {
		head := r.byte()
		if r.err != nil || head == 0 {
			return
		}
		if delta := int16(head >> 4); delta > 0 {
			id += delta
		} else {
			id = int16(r.varint())
		}
		from := r.at
		r.skip(head&15, false, depth+1)
		if r.err == nil {
			f(field{id, head & 15, r.b[from:r.at]})
		}
	}
}

// readRecord reads a struct, and returns how many bytes it has.
func readRecord(b []byte) (record, int, error) {
	r := thriftReader{b: b}
	var out record
	r.fields(func(f field) { out = append(out, f) }, 0)
	return out, r.at, r.err
}

// append encodes the struct.
func (s record) append(dst []byte) []byte {
	last := int16(0)
	for _, f := range s {
		if delta := f.id - last; delta > 0 && delta <= 15 {
			dst = append(dst, byte(delta)<<4|f.typ)
		} else {
			dst = append(dst, f.typ)
			dst = appendVarint(dst, int64(f.id))
		}
		dst = append(dst, f.value...)
		last = f.id
	}
	return append(dst, 0)
}

func appendVarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

// find returns a field's value.
func (s record) find(id int16) (field, bool) {
	for _, f := range s {
		if f.id == id {
			return f, true
		}
	}
	return field{}, false
}

// int returns a number; ok is false when it is not there.
func (s record) int(id int16) (v int64, ok bool) {
	f, ok := s.find(id)
	if !ok || f.typ < thriftI16 || f.typ > thriftI64 {
		return 0, false
	}
	r := thriftReader{b: f.value}
	return r.varint(), true
}

// bytes returns a text.
func (s record) bytes(id int16) (b []byte, ok bool) {
	f, ok := s.find(id)
	if !ok || f.typ != thriftBinary {
		return nil, false
	}
	r := thriftReader{b: f.value}
	r.uvarint()
	return f.value[r.at:], true
}

// record returns a struct within it; an empty one when it is not there.
func (s record) record(id int16) (record, error) {
	f, ok := s.find(id)
	if !ok || f.typ != thriftStruct {
		return nil, nil
	}
	out, _, err := readRecord(f.value)
	return out, err
}

// records returns the encoded structs of a list.
func (s record) records(id int16) ([][]byte, error) {
	f, ok := s.find(id)
	if !ok || f.typ != thriftList {
		return nil, nil
	}
	r := thriftReader{b: f.value}
	n, typ := r.list()
	if n > 0 && typ != thriftStruct {
		r.fail("a list of something else than structs")
	}
	out := make([][]byte, 0, n)
	for range n {
		from := r.at
		r.fields(func(field) {}, 0)
		if r.err != nil {
			return nil, r.err
		}
		out = append(out, r.b[from:r.at])
	}
	return out, r.err
}

// with returns the struct with a field set: in its place, or in order.
func (s record) with(id int16, typ byte, value []byte) record {
	out := make(record, 0, len(s)+1)
	done := false
	for _, f := range s {
		if !done && f.id >= id {
			out = append(out, field{id, typ, value})
			done = true
		}
		if f.id != id {
			out = append(out, f)
		}
	}
	if !done {
		out = append(out, field{id, typ, value})
	}
	return out
}

// without returns the struct without some fields.
func (s record) without(ids ...int16) record {
	out := make(record, 0, len(s))
next:
	for _, f := range s {
		for _, id := range ids {
			if f.id == id {
				continue next
			}
		}
		out = append(out, f)
	}
	return out
}

func encodedInt(v int64) []byte { return appendVarint(nil, v) }

// encodedRecords is a list of encoded structs.
func encodedRecords(all [][]byte) []byte {
	var out []byte
	if len(all) < 15 {
		out = append(out, byte(len(all))<<4|thriftStruct)
	} else {
		out = binary.AppendUvarint(append(out, 15<<4|thriftStruct), uint64(len(all)))
	}
	for _, r := range all {
		out = append(out, r...)
	}
	return out
}
