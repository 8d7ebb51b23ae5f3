package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// produceKey is the API key of the requests that carry records.
const produceKey = 0

// A frame first gets room for frameBytesFirst, however long it says it is, and
// from there frameGrowth times what has arrived. So a peer must send bytes to
// make us hold bytes, and an honest large frame is copied by a fifteenth only.
const (
	frameBytesFirst = 8 << 10
	frameGrowth     = 16
)

// frameReader reads frames from one connection.
type frameReader struct {
	r        *bufio.Reader
	bytesMax func(key int16) int
	memory   *memory
	born     time.Time // the server's
	hold     hold
}

// length reads the length that begins a frame. io.EOF is a clean end.
func (f *frameReader) length() (int, error) {
	b, err := f.r.Peek(4) // reading into an array of ours would allocate it
	if err != nil {
		if len(b) > 0 {
			err = unexpected(err)
		}
		return 0, err
	}
	n := int(int32(binary.BigEndian.Uint32(b)))
	if _, err := f.r.Discard(4); err != nil {
		return 0, err
	}
	if n < headerBytesMin {
		return 0, fmt.Errorf("%w: a frame announces %d bytes", ErrMalformed, n)
	}
	return n, nil
}

// check decides by the key alone how large a frame may be, before it costs
// anything.
func (f *frameReader) check(length int) error {
	head, err := f.r.Peek(2)
	if err != nil {
		return unexpected(err)
	}
	key := int16(binary.BigEndian.Uint16(head))
	switch limit := f.bytesMax(key); {
	case limit == 0:
		return fmt.Errorf("%w: api key %d is not served%s", ErrMalformed, key, f.whose(length))
	case length > limit && key == produceKey:
		return fmt.Errorf("%w: %d bytes of Produce, at most %d are allowed: raise kafka.request_bytes_max, or have the client send less at once%s",
			errRequestBytes, length, limit, f.whose(length))
	case length > limit: // hardly Kafka
		return fmt.Errorf("%w: a frame of %d bytes for api key %d, at most %d are allowed", ErrMalformed, length, key, limit)
	}
	if needs := peakBytes(length); needs > f.memory.bytesMax {
		return fmt.Errorf("%w: %d bytes for api key %d need %d of memory, and all requests together have %d: raise kafka.frame_bytes_max, or have the client send less at once%s",
			errFrameBytes, length, key, needs, f.memory.bytesMax, f.whose(length))
	}
	return nil
}

// roomFor is how large a buffer a frame gets when n of its bytes have arrived.
func roomFor(length, n int) int { return min(length, max(frameGrowth*n, frameBytesFirst)) }

// peakBytes is what a frame has of the memory at most, while it arrives: the
// buffer that is full and the next one.
func peakBytes(length int) (peak int64) {
	for n, had := 0, 0; n < length; {
		_, size := bufferClass(roomFor(length, n))
		peak = max(peak, int64(had)+int64(size))
		n, had = size, size
	}
	return peak
}

// whose is what can be told, without waiting for more, of a frame that will not
// be read: who maintains the client must learn what it asked for.
func (f *frameReader) whose(length int) string {
	head, err := f.r.Peek(min(length, f.r.Buffered()))
	if err != nil {
		return ""
	}
	h, _, err := ParseHeader(head)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (version %d, client id %q)", h.Version, h.ClientID)
}

// body reads the length bytes of a frame into lent memory.
func (f *frameReader) body(ctx context.Context, length int) (*buffer, error) {
	var buf *buffer
	defer f.hold.end()
	for n := 0; n < length; {
		if buf != nil {
			f.hold.begin(f.born, len(buf.data)) // it may have to wait with what it has
		}
		grown, err := f.memory.lend(ctx, roomFor(length, n))
		if err != nil {
			f.memory.giveBack(buf)
			return nil, err
		}
		if buf != nil {
			copy(grown.data, buf.data[:n])
			f.memory.giveBack(buf)
		}
		buf = grown
		f.hold.begin(f.born, len(buf.data))
		m, err := io.ReadFull(f.r, buf.data[n:min(length, len(buf.data))])
		if n += m; err != nil {
			f.memory.giveBack(buf)
			return nil, unexpected(err)
		}
	}
	return buf, nil
}

// unexpected turns an end within a frame into an error of its own.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
