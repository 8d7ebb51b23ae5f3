package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every error about bytes that are no request.
var ErrMalformed = errors.New("malformed request")

// headerBytesMin is key, version, correlation and the length of the client id.
const headerBytesMin = 10

// Header is what every request begins with.
type Header struct {
	Key         int16
	Version     int16
	Correlation int32
	ClientID    []byte // into the frame; nil is null
}

// ParseHeader reads the request header v1, which is also the beginning of v2,
// from a frame without its length. rest is what follows the client id.
func ParseHeader(frame []byte) (h Header, rest []byte, err error) {
	if len(frame) < headerBytesMin {
		return h, nil, fmt.Errorf("%w: a frame of %d bytes has no room for a header", ErrMalformed, len(frame))
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.Correlation = int32(binary.BigEndian.Uint32(frame[4:]))
	n := int(int16(binary.BigEndian.Uint16(frame[8:])))
	rest = frame[headerBytesMin:]
	if n < 0 {
		if n != -1 {
			return h, nil, fmt.Errorf("%w: client id of %d bytes", ErrMalformed, n)
		}
		return h, rest, nil
	}
	if n > len(rest) {
		return h, nil, fmt.Errorf("%w: client id of %d bytes in a frame with %d left", ErrMalformed, n, len(rest))
	}
	h.ClientID = rest[:n:n]
	return h, rest[n:], nil
}

// SkipTags returns what follows the tagged fields at the start of b.
func SkipTags(b []byte) ([]byte, error) {
	count, b, err := uvarint(b)
	if err != nil {
		return nil, err
	}
	for ; count > 0; count-- {
		if _, b, err = uvarint(b); err != nil {
			return nil, err
		}
		var size uint32
		if size, b, err = uvarint(b); err != nil {
			return nil, err
		}
		if uint64(size) > uint64(len(b)) {
			return nil, fmt.Errorf("%w: tagged field of %d bytes with %d left", ErrMalformed, size, len(b))
		}
		b = b[size:]
	}
	return b, nil
}

func uvarint(b []byte) (uint32, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > 1<<32-1 {
		return 0, nil, fmt.Errorf("%w: bad varint", ErrMalformed)
	}
	return uint32(v), b[n:], nil
}

// Request is one frame on its way through a Handler.
type Request struct {
	Key         int16
	Version     int16
	Correlation int32
	ClientID    string // "" for null too
	Body        []byte // what follows the header; gone after Release
	Conn        *Conn  // where it came from
	Size        int    // of the frame, without its length field

	frame *buffer
}

// SkipHeaderTags turns a header v1 into a header v2: it removes the tagged
// fields from the start of Body.
func (r *Request) SkipHeaderTags() error {
	rest, err := SkipTags(r.Body)
	if err != nil {
		return fmt.Errorf("request header: %w", err)
	}
	r.Body = rest
	return nil
}

// Release gives the frame back early, for a handler that has copied what it
// needs. Without it the frame lives until its answer has been written.
func (r *Request) Release() {
	if r.frame == nil {
		return
	}
	r.Conn.server.memory.giveBack(r.frame)
	r.frame, r.Body = nil, nil
	r.Conn.bytes.Add(-int64(r.Size))
	r.Conn.wake()
}

// Handler gives requests their meaning.
type Handler interface {
	// FrameBytesMax bounds the frames of an API key; 0 refuses the key, and the
	// connection is closed as Kafka does.
	FrameBytesMax(key int16) int

	// Start is called in the connection's reading goroutine, in the order of
	// the requests. It does what must happen in that order and returns the rest.
	// ctx ends with the connection. An error closes the connection.
	Start(ctx context.Context, r *Request) (Work, error)
}

// Work is the rest of a request.
type Work interface {
	// Finish waits for what Start began and appends the answer to w. It is
	// called once, in the connection's writing goroutine, when all earlier
	// requests have been answered; also when the connection is gone, with an
	// ended ctx. An error closes the connection.
	Finish(ctx context.Context, w *Response) error
}
