package filecache

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/parquetfile"
	"github.com/chronik-stream/chronik/objstore"
)

const (
	footerBytesMax = 64 << 20  // of footers in memory
	bloomBytesMax  = 128 << 20 // of bloom filters in memory
	footerGuess    = 64 << 10  // of bytes that have most footers whole
	footerFactor   = 4         // a footer in memory takes about that many of its bytes
)

// Footer returns what an object, a Parquet file, says about itself; nil when it
// has no checksums by which parts of it could be checked. It is read by one or
// two requests, and kept in memory.
func (c *Cache) Footer(ctx context.Context, o Object) (*parquetfile.Footer, error) {
	f, err := c.footers.get(ctx, o.Name, func(ctx context.Context) (*parquetfile.Footer, int64, error) {
		tail, err := c.get(ctx, o.Name, max(0, o.Size-footerGuess), min(o.Size, footerGuess))
		if err != nil {
			return nil, 0, err
		}
		length, err := parquetfile.Length(tail, o.Size)
		if err == nil && length > int64(len(tail)) {
			tail, err = c.get(ctx, o.Name, o.Size-length, length)
		}
		if err != nil {
			return nil, 0, err
		}
		f, ok, err := parquetfile.Parse(tail, o.Size)
		if err != nil || !ok {
			return nil, 0, err
		}
		return f, footerFactor * f.Bytes, nil
	})
	return f, c.named("read the footer of", o, err)
}

// Blooms returns the bloom filters of a leaf, by row group; a group without one
// has none. They are read together, and kept in memory.
func (c *Cache) Blooms(ctx context.Context, o Object, f *parquetfile.Footer, leaf int) (map[int]parquetfile.Bloom, error) {
	all, err := c.blooms.get(ctx, fmt.Sprintf("%s/%d", o.Name, leaf), func(ctx context.Context) (map[int]parquetfile.Bloom, int64, error) {
		var pieces []parquetfile.Piece
		for g := range f.Groups() {
			if r, ok := f.Bloom(g, leaf); ok {
				pieces = append(pieces, parquetfile.Piece{Group: g, Leaf: leaf, Range: r})
			}
		}
		filters, bytes := map[int]parquetfile.Bloom{}, int64(0)
		for _, request := range parquetfile.Fetches(pieces, gapBytesMax, requestBytesMax) {
			b, err := c.get(ctx, o.Name, request.Offset, request.Length)
			if err != nil {
				return nil, 0, err
			}
			for _, p := range request.Pieces {
				part := b[p.Offset-request.Offset:][:p.Length]
				if sum := crc32.Checksum(part, format.Castagnoli); sum != p.CRC {
					return nil, 0, format.Corrupt(p.Offset, "a bloom filter's CRC-32C is %08x, the footer says %08x", sum, p.CRC)
				}
				if filters[p.Group], err = parquetfile.ParseBloom(part); err != nil {
					return nil, 0, format.At("", p.Offset, err)
				}
				bytes += p.Length
			}
		}
		return filters, bytes, nil
	})
	return all, c.named("read the bloom filters of", o, err)
}

// get reads a range of an object, one of few at once.
func (c *Cache) get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	select {
	case c.requests <- struct{}{}:
		defer func() { <-c.requests }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b, err := c.bucket.Get(ctx, name, offset, length)
	if errors.Is(err, objstore.ErrRange) {
		return nil, format.Corrupt(offset, "it is shorter than the manifest says")
	}
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != length {
		return nil, format.Corrupt(offset, "%d bytes, %d were asked for", len(b), length)
	}
	c.count(func(n *Counts) { n.BytesFetched += length })
	return b, nil
}

// named says which object an error is about.
func (c *Cache) named(doing string, o Object, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, o.Name, c.damage(o, err))
}

// damage counts an error that is damage, and gives it the object's name.
func (c *Cache) damage(o Object, err error) error {
	if errors.Is(err, format.ErrCorrupt) {
		c.count(func(n *Counts) { n.Damaged++ })
	}
	return format.In(o.Name, err)
}
