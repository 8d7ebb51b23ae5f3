package api

import (
	"encoding/binary"
	"fmt"

	"github.com/chronik-stream/chronik/broker/wire"
)

// decoder reads the primitive types of the protocol. After the first thing that
// does not fit, everything reads as zero and failed is true. Nothing is copied
// and nothing allocated: an array's length is only a number.
type decoder struct {
	b        []byte
	flexible bool
	failed   bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.failed = nil, true
		return nil
	}
	head := d.b[:n:n]
	d.b = d.b[n:]
	return head
}

func (d *decoder) int16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) uuid() (id [16]byte) {
	copy(id[:], d.take(len(id)))
	return id
}

// length reads the length of an array, of bytes or of a compact string; −1 is null.
func (d *decoder) length() int {
	if !d.flexible {
		return int(d.int32())
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > 1<<31 {
		d.b, d.failed = nil, true
		return 0
	}
	d.b = d.b[n:]
	return int(v) - 1
}

// count reads the length of an array that cannot be null.
func (d *decoder) count() int {
	n := d.length()
	if n < 0 {
		d.b, d.failed = nil, true
		return 0
	}
	return n
}

// bytes reads nullable bytes.
func (d *decoder) bytes() []byte {
	n := d.length()
	if n == -1 {
		return nil
	}
	return d.take(n)
}

// string reads a nullable string, and copies it.
func (d *decoder) string() (s string, null bool) {
	n := 0
	if d.flexible {
		n = d.length()
	} else {
		n = int(d.int16())
	}
	if n == -1 {
		return "", true
	}
	return string(d.take(n)), false
}

// name reads a string that cannot be null, and copies it.
func (d *decoder) name() string {
	s, null := d.string()
	if null {
		d.b, d.failed = nil, true
	}
	return s
}

// tags skips tagged fields, which only flexible versions have.
func (d *decoder) tags() {
	if !d.flexible || d.failed {
		return
	}
	rest, err := wire.SkipTags(d.b)
	if err != nil {
		d.b, d.failed = nil, true
		return
	}
	d.b = rest
}

// uvarint reads a number that is not larger than an int32.
func (d *decoder) uvarint() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > 1<<31-1 {
		d.b, d.failed = nil, true
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

// tag reads one tagged field.
func (d *decoder) tag() (number int, field []byte) {
	number = d.uvarint()
	return number, d.take(d.uvarint())
}

func (d *decoder) err(what string) error {
	if d.failed {
		return fmt.Errorf("%w: %s ends early", wire.ErrMalformed, what)
	}
	return nil
}

// encoder appends the primitive types of the protocol.
type encoder struct {
	b        []byte
	flexible bool
}

func (e *encoder) int16(v int16) { e.b = binary.BigEndian.AppendUint16(e.b, uint16(v)) }
func (e *encoder) int32(v int32) { e.b = binary.BigEndian.AppendUint32(e.b, uint32(v)) }
func (e *encoder) int64(v int64) { e.b = binary.BigEndian.AppendUint64(e.b, uint64(v)) }
func (e *encoder) uvarint(v int) { e.b = binary.AppendUvarint(e.b, uint64(v)) }
func (e *encoder) raw(b []byte)  { e.b = append(e.b, b...) }

// length writes the length of an array or of bytes; −1 is null.
func (e *encoder) length(n int) {
	if e.flexible {
		e.uvarint(n + 1)
		return
	}
	e.int32(int32(n))
}

func (e *encoder) string(s string) {
	if e.flexible {
		e.uvarint(len(s) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.b = append(e.b, s...)
}

// nullable writes s, or null for the empty string.
func (e *encoder) nullable(s string) {
	switch {
	case s != "":
		e.string(s)
	case e.flexible:
		e.uvarint(0)
	default:
		e.int16(-1)
	}
}

// noTags ends a structure of a flexible version.
func (e *encoder) noTags() {
	if e.flexible {
		e.uvarint(0)
	}
}

// tag writes one tagged field whose content write appends. Its size, which comes
// first, must fit one byte of varint, or be moved in.
func (e *encoder) tag(number int, write func()) {
	e.uvarint(number)
	at := len(e.b)
	e.b = append(e.b, 0)
	write()
	size := len(e.b) - at - 1
	var prefix [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(prefix[:], uint64(size))
	if n > 1 {
		e.b = append(e.b, prefix[1:n]...)
		copy(e.b[at+n:], e.b[at+1:at+1+size])
	}
	copy(e.b[at:], prefix[:n])
}
