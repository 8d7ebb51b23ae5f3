package compactor

import (
	"context"
	"slices"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/objstore"
)

// mask stores the offsets of removed records, which rise, so that queries leave
// out their rows until a merge makes the columnar files anew.
func (p *pass) mask(ctx context.Context, removed []removedRecord) error {
	offsets := maskRows(p.section.Columnar, removed)
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
			f.Masked++
			offsets = append(offsets, r.offset)
			break
		}
	}
	return offsets
}

// expireMasks takes out the masks that no columnar file needs any more.
func (p *pass) expireMasks() {
	p.section.Masks = slices.DeleteFunc(p.section.Masks, func(m manifest.File) bool {
		needed := m.Next > p.section.LogStart && slices.ContainsFunc(p.section.Columnar, func(f manifest.File) bool {
			return f.Masked > 0 && f.First < m.Next && f.Next > m.First
		})
		if !needed {
			p.gone = append(p.gone, m)
			p.changed = true
		}
		return !needed
	})
}
