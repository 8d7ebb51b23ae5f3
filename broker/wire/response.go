package wire

import (
	"encoding/binary"
	"net"
	"time"
)

// responseKeptMax is how much of a response's buffer a connection keeps for its
// next answer.
const responseKeptMax = 32 << 10

// Response is the answer to one request, under construction. A handler appends
// to Buf, which begins behind the response header, and attaches large pieces
// that need no copying. It belongs to its connection and is used again.
type Response struct {
	Buf []byte

	cuts   []cut
	pieces int // bytes of all attached pieces
	silent bool
	out    net.Buffers // scratch of writeTo
}

// cut says that piece comes after Buf[:at].
type cut struct {
	at    int
	piece []byte
}

// Begin writes the response header: version 1, with an empty list of tagged
// fields, for a flexible response, else version 0. The correlation id and the
// length are filled in by the connection.
func (w *Response) Begin(flexible bool) {
	w.Buf = append(w.Buf[:0], 0, 0, 0, 0, 0, 0, 0, 0)
	if flexible {
		w.Buf = append(w.Buf, 0)
	}
}

// Attach sends piece after what is in Buf so far, without copying it. The bytes
// must not change until the answer has been written.
func (w *Response) Attach(piece []byte) {
	if len(piece) == 0 {
		return
	}
	w.cuts = append(w.cuts, cut{len(w.Buf), piece})
	w.pieces += len(piece)
}

// Silent says that this request has no answer: Produce with acks=0.
func (w *Response) Silent() { w.silent = true }

// Size is the length of the answer so far, without the length field.
func (w *Response) Size() int { return max(0, len(w.Buf)-4) + w.pieces }

// reset makes w ready for the next request.
func (w *Response) reset() {
	if cap(w.Buf) > responseKeptMax {
		w.Buf = nil
	}
	w.Buf = w.Buf[:0]
	clear(w.cuts)
	w.cuts, w.pieces, w.silent = w.cuts[:0], 0, false
}

// writeBytes is what a client must take of an answer within the write timeout:
// large answers may take longer as a whole, but not stand still.
const writeBytes = 256 << 10

// writeTo completes the header and writes everything, in as few calls to the
// system as the connection's gathering and writeBytes allow. piece is called before each.
func (w *Response) writeTo(conn net.Conn, correlation int32, timeout time.Duration, piece func()) (int64, error) {
	binary.BigEndian.PutUint32(w.Buf, uint32(w.Size()))
	binary.BigEndian.PutUint32(w.Buf[4:], uint32(correlation))
	if len(w.cuts) == 0 && len(w.Buf) <= writeBytes {
		if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return 0, err
		}
		piece()
		n, err := conn.Write(w.Buf)
		return int64(n), err
	}
	out, at := w.out[:0], 0
	for _, c := range w.cuts {
		if c.at > at {
			out = append(out, w.Buf[at:c.at])
			at = c.at
		}
		out = append(out, c.piece)
	}
	if at < len(w.Buf) {
		out = append(out, w.Buf[at:])
	}
	w.out = out
	defer clear(w.out) // hold no piece beyond its answer
	var written int64
	for len(out) > 0 {
		n, size := 0, 0
		for ; n < len(out) && size < writeBytes; n++ {
			size += len(out[n])
		}
		last, over := out[n-1], max(0, size-writeBytes)
		out[n-1] = last[:len(last)-over]
		part := out[:n:n]
		if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return written, err
		}
		piece()
		sent, err := part.WriteTo(conn)
		if written += sent; err != nil {
			return written, err
		}
		if out = out[n:]; over > 0 {
			out = w.out[len(w.out)-len(out)-1:]
			out[0] = last[len(last)-over:]
		}
	}
	return written, nil
}
