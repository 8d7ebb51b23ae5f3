package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/chronik-stream/chronik/internal/format"
)

// scratchKeptMax is how much scratch a Decoder keeps for the next batch.
const scratchKeptMax = 8 << 20

// Decoder opens batches of any codec. It holds the decompressors and their
// scratch and is meant to be kept: one for each goroutine, since it is not for
// concurrent use. It needs no closing.
type Decoder struct {
	bytesMax int
	it       Iter
	scratch  []byte
	source   bytes.Reader
	gzip     gzip.Reader
	lz4      *lz4.Reader
	zstd     *zstd.Decoder
}

// NewDecoder returns a Decoder that refuses, with ErrTooLarge, batches whose
// records decompress to more than bytesMax.
func NewDecoder(bytesMax int) *Decoder { return &Decoder{bytesMax: bytesMax} }

// Open decompresses the records of the batch and returns an iterator over them.
// The iterator, and the bytes of its records, are valid until the Decoder is
// used again; records of an uncompressed batch are parts of raw. The CRC is not
// checked.
func (d *Decoder) Open(h Header, raw []byte) (*Iter, error) {
	data, err := d.records(h, raw)
	if err != nil {
		return nil, err
	}
	d.it = newIter(h, data)
	return &d.it, nil
}

// Inspect walks the records of a batch of any codec, held to what a producer
// has to obey. Errors: ErrTooLarge, format.ErrCorrupt, *RecordError.
func (d *Decoder) Inspect(h Header, raw []byte) (Facts, error) {
	if err := h.checkProduced(); err != nil {
		return Facts{}, err
	}
	// Kafka refuses such frames and its clients cannot read them: a log with one
	// would stop every Java consumer.
	if at := HeaderSize + lz4FlagsAt; h.Attributes.Codec() == LZ4 && len(raw) > at && raw[at]&lz4Independent == 0 {
		return Facts{}, format.Corrupt(int64(at), "an lz4 frame whose blocks depend on each other")
	}
	data, err := d.records(h, raw)
	if err != nil {
		return Facts{}, err
	}
	return inspect(h, data)
}

const (
	lz4FlagsAt     = 4 // in a frame, after its magic number
	lz4Independent = 0x20
)

// VerifyRecords is Inspect for those who only want to know that it succeeds.
func (d *Decoder) VerifyRecords(h Header, raw []byte) error {
	_, err := d.Inspect(h, raw)
	return err
}

// records returns the decompressed records.
func (d *Decoder) records(h Header, raw []byte) ([]byte, error) {
	if len(raw) != h.Size() || len(raw) < HeaderSize {
		return nil, truncated(int64(len(raw)), "%d bytes, the batch has %d", len(raw), h.Size())
	}
	packed := raw[HeaderSize:]
	codec := h.Attributes.Codec()
	if codec == None {
		return packed, nil
	}
	if cap(d.scratch) > scratchKeptMax {
		d.scratch = nil
	}
	data, err := d.decompress(codec, packed)
	switch {
	case err == nil:
		if cap(data) > cap(d.scratch) {
			d.scratch = data[:0]
		}
		return data, nil
	case errors.Is(err, ErrTooLarge), errors.Is(err, format.ErrCorrupt):
		return nil, err
	}
	return nil, format.Corrupt(HeaderSize, "decompressing %s: %v", codec, err)
}

func (d *Decoder) decompress(codec Codec, packed []byte) ([]byte, error) {
	switch codec {
	case Gzip:
		d.source.Reset(packed)
		if err := d.gzip.Reset(&d.source); err != nil {
			return nil, err
		}
		return d.readAll(&d.gzip)
	case Snappy:
		return d.snappy(packed)
	case LZ4:
		d.source.Reset(packed)
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(&d.source)
		} else {
			d.lz4.Reset(&d.source)
		}
		return d.readAll(d.lz4)
	case Zstd:
		return d.unzstd(packed)
	}
	return nil, format.Corrupt(attributesAt, "unknown codec %d", int8(codec))
}

// readAll reads r into the scratch, up to one byte more than is allowed.
func (d *Decoder) readAll(r io.Reader) ([]byte, error) {
	data := d.scratch[:0]
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		room := min(cap(data), d.bytesMax+1)
		n, err := r.Read(data[len(data):room])
		data = data[:len(data)+n]
		if len(data) > d.bytesMax {
			return nil, ErrTooLarge
		}
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (d *Decoder) unzstd(packed []byte) ([]byte, error) {
	if d.zstd == nil {
		// One decoder, no goroutines of its own: it is garbage when we are. Its
		// bound holds for windows too, and those of the usual encoders go up to
		// 8 MiB however little they hold.
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(uint64(max(d.bytesMax, zstdWindowMax))))
		if err != nil {
			return nil, fmt.Errorf("building a zstd decoder: %w", err)
		}
		d.zstd = z
	}
	data, err := d.zstd.DecodeAll(packed, d.scratch[:0])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(data) > d.bytesMax {
		return nil, ErrTooLarge
	}
	return data, err
}

const zstdWindowMax = 8 << 20

// xerialMagic begins the framing of snappy-java, which the Java client writes:
// magic, version and least compatible version (4 bytes each), then chunks of
// length and raw snappy block. Other clients send one raw block.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderSize = 16

func (d *Decoder) snappy(packed []byte) ([]byte, error) {
	if !bytes.HasPrefix(packed, xerialMagic) {
		return d.snappyBlock(d.scratch[:0], packed)
	}
	if len(packed) < xerialHeaderSize {
		return nil, truncated(HeaderSize, "a xerial header of %d bytes", len(packed))
	}
	data := d.scratch[:0]
	for at := xerialHeaderSize; at < len(packed); {
		if len(packed)-at < 4 {
			return nil, truncated(int64(HeaderSize+at), "a xerial chunk cut off")
		}
		length := int64(binary.BigEndian.Uint32(packed[at:]))
		at += 4
		if length > int64(len(packed)-at) {
			return nil, truncated(int64(HeaderSize+at), "a xerial chunk of %d bytes, %d are left", length, len(packed)-at)
		}
		var err error
		if data, err = d.snappyBlock(data, packed[at:at+int(length)]); err != nil {
			return nil, err
		}
		at += int(length)
	}
	return data, nil
}

// snappyBlock appends the decompressed block to dst.
func (d *Decoder) snappyBlock(dst, block []byte) ([]byte, error) {
	length, err := s2.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if length > d.bytesMax-len(dst) {
		return nil, ErrTooLarge
	}
	if length > snappyRatioMax*len(block) {
		return nil, format.Corrupt(HeaderSize, "a snappy block of %d bytes announces %d", len(block), length)
	}
	if cap(dst)-len(dst) < length {
		grown := make([]byte, len(dst), max(len(dst)+length, 2*cap(dst)))
		copy(grown, dst)
		dst = grown
	}
	out, err := s2.Decode(dst[len(dst):len(dst)+length], block)
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)+len(out)], nil
}

// snappyRatioMax is above the best that snappy can do, 64 bytes out of a copy
// of 3 (S2, whose decoder reads it, does better only by its own extensions):
// so a short block cannot announce a large allocation.
const snappyRatioMax = 64
