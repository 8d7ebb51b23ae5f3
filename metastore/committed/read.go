package committed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Chunk is a row of whole batches.
type Chunk struct {
	Batches []byte // concatenated; the caller's
	First   int64  // base offset of the first batch: may lie before the offset asked for, or after it where keys were compacted away
	Next    int64  // where to read on; above First
}

// Read returns batches from the one that holds offset on. There is at least
// one, and further ones as long as all together stay within bytesMax; nothing
// is read ahead. Batches may come out of several objects. Without batches, and
// with First = Next, it says that all from offset to the committed next was
// compacted away.
//
// Errors: ErrBelowStart, ErrNotCommitted, *HoleError, *format.Error for damage
// at the very place that was asked for, and the bucket's. Trouble further on
// shortens the answer and shows when it is read on from there.
func (r *Reader) Read(ctx context.Context, p topic.Partition, offset int64, bytesMax int) (Chunk, error) {
	return r.ReadWithin(ctx, p, offset, bytesMax, math.MaxInt)
}

// LargeError means that more memory is needed than there is, for the first
// batch and what has to be read with it.
type LargeError struct{ Bytes int }

// Error implements error.
func (e *LargeError) Error() string { return fmt.Sprintf("the first batch needs %d bytes", e.Bytes) }

// ReadWithin is Read for callers whose memory is bounded: where more than
// firstMax bytes have to be read at once for the first batch, they are not, and
// the error is a *LargeError. segment.BlockBytes are always enough for a batch
// that is not larger itself.
func (r *Reader) ReadWithin(ctx context.Context, p topic.Partition, offset int64, bytesMax, firstMax int) (Chunk, error) {
	var chunk Chunk
	err := r.planned(ctx, p, func(v metastore.PartitionView) error {
		section, err := r.FetchManifest(ctx, v.Manifest, p)
		if err != nil {
			return err
		}
		l := newLayout(v, section)
		chunk, err = r.read(ctx, &l, offset, bytesMax, firstMax)
		return err
	})
	if err != nil {
		return Chunk{}, fmt.Errorf("reading %v from offset %d: %w", p, offset, err)
	}
	return chunk, nil
}

// read fills a chunk from source after source.
func (r *Reader) read(ctx context.Context, l *layout, offset int64, bytesMax, firstMax int) (Chunk, error) {
	chunk := Chunk{First: -1, Next: offset}
	for {
		s, err := l.find(chunk.Next)
		if err == nil {
			err = r.readSource(ctx, l.partition, s, &chunk, bytesMax, firstMax)
		}
		switch {
		case err == nil:
		case chunk.First >= 0: // errFull, or trouble further on
			return chunk, nil
		case err == ErrNotCommitted && chunk.Next > offset:
			chunk.First = chunk.Next
			return chunk, nil
		default:
			return Chunk{}, err
		}
	}
}

// errFull ends a read that has got as much as it may.
var errFull = errors.New("enough was read")

// readSource appends the source's batches from chunk.Next on, and moves Next to
// its end, or says errFull.
func (r *Reader) readSource(ctx context.Context, p topic.Partition, s source, chunk *Chunk, bytesMax, firstMax int) error {
	f, err := r.footer(ctx, s.object, s.size)
	if err != nil {
		return err
	}
	for chunk.Next < s.next {
		rng := rangeAfter(f, p, chunk.Next)
		if rng == nil || rng.First >= s.next {
			break
		}
		first := rng.BlockAt(chunk.Next)
		last := lastBlock(rng, first, bytesMax-len(chunk.Batches))
		if chunk.First >= 0 && rng.Blocks[first].Length > int64(bytesMax-len(chunk.Batches)) {
			return errFull
		}
		if size := rng.Blocks[first].Length; chunk.First < 0 && size > int64(firstMax) {
			return &LargeError{int(size)}
		}
		if err := r.readBlocks(ctx, s, rng, first, last, chunk, bytesMax); err != nil {
			return err
		}
	}
	chunk.Next = max(chunk.Next, s.next)
	return nil
}

// rangeAfter is the first range of p in an object that ends above offset.
func rangeAfter(f *segment.Footer, p topic.Partition, offset int64) *segment.Range {
	if i := f.IndexAfter(p, offset); i < len(f.Ranges) && f.Ranges[i].Partition == p {
		return &f.Ranges[i]
	}
	return nil
}

// lastBlock is the last block that, with those from first on, still fits into
// bytesMax; first itself always does.
func lastBlock(rng *segment.Range, first, bytesMax int) int {
	last, size := first, rng.Blocks[first].Length
	for last+1 < len(rng.Blocks) && size+rng.Blocks[last+1].Length <= int64(bytesMax) {
		last++
		size += rng.Blocks[last].Length
	}
	return last
}

// blockNext is the offset at which the block after i begins.
func blockNext(rng *segment.Range, i int) int64 {
	if i+1 < len(rng.Blocks) {
		return rng.Blocks[i+1].First
	}
	return rng.Next
}

// readBlocks gets a run of blocks, checks each, and appends what is asked for.
func (r *Reader) readBlocks(ctx context.Context, s source, rng *segment.Range, first, last int, chunk *Chunk, bytesMax int) error {
	blocks := rng.Blocks[first : last+1]
	begin := blocks[0].Position
	data, err := r.get(ctx, s.object, begin, blocks[len(blocks)-1].Position+blocks[len(blocks)-1].Length-begin)
	if err != nil {
		return err
	}
	chunk.Batches = slices.Grow(chunk.Batches, min(len(data), max(0, bytesMax-len(chunk.Batches))))
	for i, b := range blocks {
		block := data[b.Position-begin : b.Position-begin+b.Length]
		if err := b.Verify(block); err != nil {
			return r.damage(s.object, 0, err)
		}
		if err := chunk.add(block, bytesMax); err != nil {
			if err == errFull {
				return err
			}
			return r.damage(s.object, b.Position, err)
		}
		// What lies between the last batch and the next block was compacted away.
		chunk.Next = max(chunk.Next, min(blockNext(rng, first+i), s.next))
	}
	return nil
}

// add appends the batches of a block that end above c.Next, as long as they
// fit. The first one always does.
func (c *Chunk) add(block []byte, bytesMax int) error {
	return batch.Each(block, func(h batch.Header, raw []byte) error {
		if h.Next() <= c.Next {
			return nil
		}
		if c.First >= 0 && len(c.Batches)+len(raw) > bytesMax {
			return errFull
		}
		if c.First < 0 {
			c.First = h.BaseOffset
		}
		c.Batches = append(c.Batches, raw...)
		c.Next = h.Next()
		return nil
	})
}

// get reads a part of an object. One that ends before it is cut off.
func (r *Reader) get(ctx context.Context, object string, position, length int64) ([]byte, error) {
	data, err := r.bucket.Get(ctx, object, position, length)
	if errors.Is(err, objstore.ErrRange) || err == nil && int64(len(data)) != length {
		return nil, r.damage(object, position, format.Corrupt(0, "cut off: there are no %d bytes (%v)", length, err))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object, err)
	}
	r.options.Metrics.bytes.Add(float64(length))
	return data, nil
}

// damage names the object, and the place in it, of a format error that was
// found at base.
func (r *Reader) damage(object string, base int64, err error) error {
	r.options.Metrics.damaged.Inc()
	return format.At(object, base, err)
}
