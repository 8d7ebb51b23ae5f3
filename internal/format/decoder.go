package format

import "encoding/binary"

// Decoder walks a value of varints and counted strings. After the first error
// every read gives zero, so that a caller checks once, at the end. It never reads
// beyond the value, nor allocates more than the value is long.
type Decoder struct {
	data []byte
	at   int
	err  error
}

// NewDecoder returns a Decoder at the first byte of data.
func NewDecoder(data []byte) *Decoder { return &Decoder{data: data} }

// Fail notes that what was read last makes no sense.
func (d *Decoder) Fail(reason string, args ...any) {
	if d.err == nil {
		d.err = Corrupt(int64(d.at), reason, args...)
	}
}

// Version reads the version byte, which must be newest or less.
func (d *Decoder) Version(newest int) int {
	at := d.at
	v := int(d.Byte())
	if d.err == nil && (v == 0 || v > newest) {
		d.err = Version(int64(at), v, newest)
	}
	return v
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if d.err != nil || d.at == len(d.data) {
		d.Fail("cut off")
		return 0
	}
	d.at++
	return d.data[d.at-1]
}

// Bytes reads n bytes, which lie in the value.
func (d *Decoder) Bytes(n int) []byte {
	if d.err != nil || n > len(d.data)-d.at {
		d.Fail("%d bytes announced, %d are left", n, len(d.data)-d.at)
		return nil
	}
	d.at += n
	return d.data[d.at-n : d.at : d.at]
}

// Uvarint reads a number from 0 to most.
func (d *Decoder) Uvarint(most uint64) uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.data[d.at:])
	if n <= 0 || v > most {
		d.Fail("number is cut off or above %d", most)
		return 0
	}
	d.at += n
	return v
}

// Varint reads a signed number.
func (d *Decoder) Varint() int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Varint(d.data[d.at:])
	if n <= 0 {
		d.Fail("number is cut off")
		return 0
	}
	d.at += n
	return v
}

// Int32 reads a signed number of 32 bits.
func (d *Decoder) Int32() int32 {
	v := d.Varint()
	if v != int64(int32(v)) {
		d.Fail("number %d has more than 32 bits", v)
		return 0
	}
	return int32(v)
}

// Count reads how many things follow, each of which has at least one byte.
func (d *Decoder) Count() int {
	if d.err != nil {
		return 0
	}
	return int(d.Uvarint(uint64(len(d.data) - d.at)))
}

// String reads a counted string.
func (d *Decoder) String() string { return string(d.Bytes(d.Count())) }

// Failed reports whether a read has failed.
func (d *Decoder) Failed() bool { return d.err != nil }

// End returns the first error; bytes that are left are one.
func (d *Decoder) End() error {
	if d.err == nil && d.at != len(d.data) {
		d.Fail("%d bytes after the end", len(d.data)-d.at)
	}
	return d.err
}

// AppendString appends what Decoder.String reads: the length, and the bytes.
func AppendString[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Left is how many bytes have not been read.
func (d *Decoder) Left() int { return len(d.data) - d.at }

// Rest returns the bytes that have not been read, and leaves them there.
func (d *Decoder) Rest() []byte { return d.data[d.at:len(d.data):len(d.data)] }
