package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/chronik-stream/chronik/internal/format"
)

// Producer numbers a batch for idempotent produce.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the first record
}

// Options are how a Builder makes a batch. The zero value makes an uncompressed
// one without producer.
type Options struct {
	Codec    Codec
	Level    int        // of gzip (1–9), lz4 (1–9) and zstd (1–22); 0: the codec's default
	Producer *Producer  // nil: not idempotent
	Flags    Attributes // Transactional, Control
}

// RecordHeader is a header of a record to build; a nil value is null.
type RecordHeader struct{ Key, Value []byte }

// Builder makes batches. It copies what it is given, keeps its buffers and
// compressors, and is not for concurrent use. Call Reset before the first batch.
type Builder struct {
	options  Options
	records  []byte
	count    int32
	baseTime int64
	maxTime  int64
	packed   bytes.Buffer
	gzip     *gzip.Writer
	gzipAt   int // level
	lz4      *lz4.Writer
	zstd     *zstd.Encoder
	zstdAt   int // level
}

// Reset forgets the records and sets the options of the next batch.
func (b *Builder) Reset(o Options) {
	b.options = o
	b.records = b.records[:0]
	b.count = 0
}

// Append adds a record. A nil key or value is null.
func (b *Builder) Append(timestamp int64, key, value []byte, headers ...RecordHeader) {
	if b.count == 0 {
		b.baseTime, b.maxTime = timestamp, timestamp
	}
	b.maxTime = max(b.maxTime, timestamp)
	timeDelta, offsetDelta := timestamp-b.baseTime, int64(b.count)
	length := 1 + varintSize(timeDelta) + varintSize(offsetDelta) + fieldSize(key) + fieldSize(value) + varintSize(int64(len(headers)))
	for _, h := range headers {
		length += varintSize(int64(len(h.Key))) + len(h.Key) + fieldSize(h.Value)
	}
	out := binary.AppendVarint(b.records, int64(length))
	out = append(out, 0)
	out = binary.AppendVarint(out, timeDelta)
	out = binary.AppendVarint(out, offsetDelta)
	out = appendField(out, key)
	out = appendField(out, value)
	out = binary.AppendVarint(out, int64(len(headers)))
	for _, h := range headers {
		out = binary.AppendVarint(out, int64(len(h.Key))) // a header's key is never null
		out = append(out, h.Key...)
		out = appendField(out, h.Value)
	}
	b.records = out
	b.count++
}

// Build appends the batch to dst, with base offset 0 and leader epoch −1, as a
// producer sends it. A Builder without records, or with an unknown codec or
// level, is an error. The Builder keeps its records until Reset.
func (b *Builder) Build(dst []byte) ([]byte, error) {
	if b.count == 0 {
		return nil, fmt.Errorf("building a batch: it has no records")
	}
	records, err := b.compress(b.records)
	if err != nil {
		return nil, fmt.Errorf("building a batch: %w", err)
	}
	if len(records) > math.MaxInt32-lengthMin {
		return nil, fmt.Errorf("building a batch: %d bytes of records are more than a batch holds", len(records))
	}
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	dst = append(dst, records...)
	h := dst[start:]
	binary.BigEndian.PutUint32(h[lengthAt:], uint32(lengthMin+len(records)))
	h[magicAt] = magicCurrent
	binary.BigEndian.PutUint16(h[attributesAt:], uint16(b.options.Flags&(Transactional|Control))|uint16(b.options.Codec))
	binary.BigEndian.PutUint32(h[lastDeltaAt:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[baseTimeAt:], uint64(b.baseTime))
	producer := Producer{ID: -1, Epoch: -1, Sequence: -1}
	if b.options.Producer != nil {
		producer = *b.options.Producer
	}
	binary.BigEndian.PutUint64(h[producerAt:], uint64(producer.ID))
	binary.BigEndian.PutUint16(h[producerEpoAt:], uint16(producer.Epoch))
	binary.BigEndian.PutUint32(h[baseSequenceAt:], uint32(producer.Sequence))
	binary.BigEndian.PutUint32(h[recordsAt:], uint32(b.count))
	PatchOffset(h, 0, -1)
	PatchMaxTimestamp(h, b.maxTime) // and the CRC
	return dst, nil
}

// Recompress appends to dst the batch raw with its records packed by another
// codec. Everything else stays: the records to the byte, their count and times,
// the producer, the flags, the place in the log. facts are what Inspect said of
// raw, and its Decoder must not have been used since. What the Builder was
// building is lost: Reset it before it is used as such.
func (b *Builder) Recompress(dst, raw []byte, facts Facts, codec Codec, level int) ([]byte, error) {
	b.options = Options{Codec: codec, Level: level}
	records, err := b.compress(facts.records)
	if err != nil {
		return nil, fmt.Errorf("recompressing a batch: %w", err)
	}
	if len(records) > math.MaxInt32-lengthMin {
		return nil, fmt.Errorf("recompressing a batch: %w: %d bytes are more than a batch holds", ErrTooLarge, len(records))
	}
	start := len(dst)
	dst = append(dst, raw[:HeaderSize]...)
	dst = append(dst, records...)
	h := dst[start:]
	binary.BigEndian.PutUint32(h[lengthAt:], uint32(lengthMin+len(records)))
	attributes := binary.BigEndian.Uint16(h[attributesAt:])
	binary.BigEndian.PutUint16(h[attributesAt:], attributes&^codecMask|uint16(codec))
	binary.BigEndian.PutUint32(h[crcAt:], crc32.Checksum(h[attributesAt:], format.Castagnoli))
	return dst, nil
}

// compress returns records as the codec packs them, valid until the next call.
func (b *Builder) compress(records []byte) ([]byte, error) {
	b.packed.Reset()
	switch b.options.Codec {
	case None:
		return records, nil
	case Gzip:
		if b.gzip == nil || b.gzipAt != b.options.Level {
			w, err := gzip.NewWriterLevel(&b.packed, orDefault(b.options.Level, gzip.DefaultCompression))
			if err != nil {
				return nil, err
			}
			b.gzip, b.gzipAt = w, b.options.Level
		} else {
			b.gzip.Reset(&b.packed)
		}
		return b.pack(b.gzip, records)
	case Snappy: // one raw block: every client reads it, the Java one too
		return s2.EncodeSnappy(b.packed.AvailableBuffer(), records), nil
	case LZ4:
		if b.lz4 == nil {
			b.lz4 = lz4.NewWriter(&b.packed)
		} else {
			b.lz4.Reset(&b.packed)
		}
		level, err := lz4Level(b.options.Level)
		if err != nil {
			return nil, err
		}
		// Blocks of 64 KiB are all that old Kafka clients read.
		if err := b.lz4.Apply(lz4.CompressionLevelOption(level), lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
			return nil, err
		}
		return b.pack(b.lz4, records)
	case Zstd:
		if b.zstd == nil || b.zstdAt != b.options.Level {
			level := zstd.SpeedDefault
			if b.options.Level != 0 {
				level = zstd.EncoderLevelFromZstd(b.options.Level)
			}
			z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithZeroFrames(true))
			if err != nil {
				return nil, err
			}
			b.zstd, b.zstdAt = z, b.options.Level
		}
		return b.zstd.EncodeAll(records, b.packed.AvailableBuffer()), nil
	}
	return nil, fmt.Errorf("unknown codec %d", int8(b.options.Codec))
}

func (b *Builder) pack(w io.WriteCloser, records []byte) ([]byte, error) {
	if _, err := w.Write(records); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.packed.Bytes(), nil
}

func lz4Level(level int) (lz4.CompressionLevel, error) {
	levels := [...]lz4.CompressionLevel{lz4.Fast, lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9}
	if level < 0 || level >= len(levels) {
		return 0, fmt.Errorf("lz4 level %d: want 0 to %d", level, len(levels)-1)
	}
	return levels[level], nil
}

func orDefault(level, otherwise int) int {
	if level == 0 {
		return otherwise
	}
	return level
}

func appendField(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func fieldSize(b []byte) int {
	if b == nil {
		return 1 // −1
	}
	return varintSize(int64(len(b))) + len(b)
}

func varintSize(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
