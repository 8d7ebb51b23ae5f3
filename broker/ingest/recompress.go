package ingest

import (
	"fmt"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
)

// packer recompresses batches for topics whose compression.type is not that of
// their producers. It keeps compressors and a buffer from batch to batch.
type packer struct {
	builder batch.Builder
	buffer  []byte
}

// packerKeptMax is how large a buffer is kept.
const packerKeptMax = 4 << 20

// pack returns the batch with its records packed as the topic wants them. It is
// valid until the packer is used again.
func (p *packer) pack(records []byte, facts batch.Facts, o core.AppendOptions) (batch.Header, []byte, error) {
	if cap(p.buffer) > packerKeptMax {
		p.buffer = nil
	}
	packed, err := p.builder.Recompress(p.buffer[:0], records, facts, o.Codec, o.CompressionLevel)
	if err != nil {
		return batch.Header{}, nil, fmt.Errorf("%w: %w", core.ErrTooLarge, err)
	}
	p.buffer = packed
	if len(packed) > int(o.MessageBytesMax) {
		return batch.Header{}, nil, fmt.Errorf("%w: %d bytes with compression.type=%v, max.message.bytes is %d",
			core.ErrTooLarge, len(packed), o.Codec, o.MessageBytesMax)
	}
	h, err := batch.ParseHeader(packed)
	return h, packed, err
}
