package filecache

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"golang.org/x/sync/errgroup"

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

// Blooms returns the bloom filters that a leaf has in some row groups, by group.
// They are kept in memory.
func (c *Cache) Blooms(ctx context.Context, o Object, f *parquetfile.Footer, leaf int, groups []int) (map[int]parquetfile.Bloom, error) {
	found := make([]parquetfile.Bloom, len(groups))
	all, inner := errgroup.WithContext(ctx)
	for i, g := range groups {
		r, ok := f.Bloom(g, leaf)
		if !ok {
			continue
		}
		all.Go(func() (err error) {
			found[i], err = c.blooms.get(inner, fmt.Sprintf("%s/%d", o.Name, r.Offset), func(ctx context.Context) (parquetfile.Bloom, int64, error) {
				bloom, err := c.bloom(ctx, o, r)
				return bloom, r.Length, err
			})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, c.named("read the bloom filters of", o, err)
	}
	blooms := make(map[int]parquetfile.Bloom, len(groups))
	for i, g := range groups {
		if _, ok := f.Bloom(g, leaf); ok {
			blooms[g] = found[i]
		}
	}
	return blooms, nil
}

func (c *Cache) bloom(ctx context.Context, o Object, r parquetfile.Range) (parquetfile.Bloom, error) {
	b, err := c.get(ctx, o.Name, r.Offset, r.Length)
	if err != nil {
		return parquetfile.Bloom{}, err
	}
	if sum := crc32.Checksum(b, format.Castagnoli); sum != r.CRC {
		return parquetfile.Bloom{}, format.Corrupt(r.Offset, "a bloom filter's CRC-32C is %08x, the footer says %08x", sum, r.CRC)
	}
	bloom, err := parquetfile.ParseBloom(b)
	return bloom, format.At("", r.Offset, err)
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
