package compactor

import (
	"bytes"
	"context"
	"hash/crc32"
	"slices"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/objstore"
)

// mask stores the offsets of removed records, which rise, so that queries leave
// them out until merges make the derived files anew.
func (p *pass) mask(ctx context.Context, removed []removedRecord) error {
	offsets := slices.Concat(maskRows(p.section.Columnar, removed), maskRows(p.section.Text, removed), maskRows(p.section.Vector, removed))
	slices.Sort(offsets)
	return p.storeMask(ctx, slices.Compact(offsets))
}

// maskShards is mask for records that a shard came with, and that were removed
// before. Other derived files count those that they have already.
func (p *pass) maskShards(ctx context.Context, removed []removedRecord) error {
	return p.maskUnnamed(ctx, maskRows(p.section.Vector, removed))
}

// maskUnnamed stores a mask of those offsets, which rise, that no mask names yet.
func (p *pass) maskUnnamed(ctx context.Context, offsets []int64) error {
	for _, m := range p.section.Masks {
		if len(offsets) == 0 {
			return nil
		}
		if m.Next <= offsets[0] || m.First > offsets[len(offsets)-1] {
			continue
		}
		named, err := p.readMask(ctx, m)
		if err != nil {
			return err
		}
		offsets = slices.DeleteFunc(offsets, func(offset int64) bool {
			_, found := slices.BinarySearch(named, offset)
			return found
		})
	}
	return p.storeMask(ctx, offsets)
}

// storeMask stores a mask of offsets, which rise.
func (p *pass) storeMask(ctx context.Context, offsets []int64) error {
	if len(offsets) == 0 {
		return nil
	}
	out := &object{id: p.newID()}
	if err := columnar.WriteOffsets(out, offsets); err != nil {
		return err
	}
	file := manifest.File{
		Object: objstore.ParquetName(p.section.Partition, out.id), First: offsets[0], Next: offsets[len(offsets)-1] + 1,
		Records: int64(len(offsets)), Format: "parquet", CreatedAt: p.now.UnixMilli(),
	}
	var err error
	if file.Size, file.CRC, err = p.put(ctx, "mask", file.Object, out.parts); err != nil {
		return err
	}
	p.section.Masks = append(p.section.Masks, file)
	slices.SortStableFunc(p.section.Masks, func(a, b manifest.File) int { return int(min(1, max(-1, a.First-b.First))) })
	return nil
}

// maskRows counts, file by file, the rows that are to be left out, and returns
// their offsets. Files are sorted by First, and removed by offset.
func maskRows(files []manifest.File, removed []removedRecord) []int64 {
	var offsets []int64
	var open []int // files that may hold the offset
	next := 0
	for _, r := range removed {
		for next < len(files) && files[next].First <= r.offset {
			open = append(open, next)
			next++
		}
		open = slices.DeleteFunc(open, func(i int) bool { return files[i].Next <= r.offset })
		for _, i := range open {
			f := &files[i]
			if len(open) > 1 && partitioningOf(f.TimePartition).Name(r.timestamp) != f.TimePartition {
				continue
			}
			f.Masked = min(f.Masked+1, f.Records) // a shard need not have the record
			offsets = append(offsets, r.offset)
			break
		}
	}
	return offsets
}

// masks tells whether a mask may name records of a derived file.
func masks(mask, f manifest.File) bool {
	return f.Masked > 0 && f.First < mask.Next && f.Next > mask.First
}

// expireMasks takes out the masks that no derived file needs any more.
func (p *pass) expireMasks() {
	p.section.Masks = slices.DeleteFunc(p.section.Masks, func(m manifest.File) bool {
		needs := func(f manifest.File) bool { return masks(m, f) }
		if slices.ContainsFunc(p.section.Collections, func(c manifest.Collection) bool { return c.Needs(m) }) {
			return false
		}
		if m.Next > p.section.LogStart && (slices.ContainsFunc(p.section.Columnar, needs) || slices.ContainsFunc(p.section.Text, needs) || slices.ContainsFunc(p.section.Vector, needs)) {
			return false
		}
		p.gone = append(p.gone, m)
		p.changed = true
		return true
	})
	if len(p.section.Collections) == 0 {
		return
	}
	all := slices.Clone(p.section.Collections)
	for i := range all {
		all[i] = p.pruned(all[i])
	}
	p.section.Collections = all
}

// masked reads the offsets that masks take out of files, as a set.
func (c *Compactor) masked(ctx context.Context, all, files []manifest.File) (map[int64]bool, error) {
	offsets := make(map[int64]bool)
	for _, m := range all {
		if !slices.ContainsFunc(files, func(f manifest.File) bool { return masks(m, f) }) {
			continue
		}
		named, err := c.readMask(ctx, m)
		if err != nil {
			return nil, err
		}
		for _, offset := range named {
			offsets[offset] = true
		}
	}
	return offsets, nil
}

// readMask reads the offsets that a mask names.
func (c *Compactor) readMask(ctx context.Context, m manifest.File) ([]int64, error) {
	data, err := c.source.get(ctx, m.Object, 0, m.Size)
	if err != nil {
		return nil, err
	}
	if crc := crc32.Checksum(data, format.Castagnoli); crc != m.CRC {
		return nil, format.In(m.Object, format.Corrupt(0, "CRC-32C %08x, the manifest says %08x", crc, m.CRC))
	}
	offsets, err := columnar.ReadOffsets(bytes.NewReader(data))
	if err != nil {
		return nil, format.In(m.Object, err)
	}
	return offsets, nil
}
