package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
)

// Dump writes an object's footer as text. With verify it also reads every block
// and writes what is wrong with it; it goes on after a damaged block, and
// returns the damage of all of them, each with the object's name and byte.
func Dump(w io.Writer, name string, r io.ReaderAt, size int64, verify bool) error {
	f, err := Load(r, size)
	if err != nil {
		return format.In(name, err)
	}
	out := &printer{w: w}
	out.printf("%s\n%v id=%s broker=%d session=%d sequence=%d created=%s size=%d ranges=%d\n",
		name, f.Kind, f.ID, f.Broker, f.Session, f.Sequence, format.Time(f.CreatedAt), size, len(f.Ranges))
	var damage []error
	for i := range f.Ranges {
		rng := &f.Ranges[i]
		out.printf("range %v [%d,%d) epoch=%d bytes=%d+%d records=%d time=%s..%s\n", rng.Partition, rng.First, rng.Next, rng.Epoch,
			rng.Position, rng.Length, rng.Records, format.Time(rng.MinTimestamp), format.Time(rng.MaxTimestamp))
		out.producers(rng)
		for _, b := range rng.Blocks {
			out.printf("  block %d bytes=%d+%d time<=%s crc=%08x\n", b.First, b.Position, b.Length, format.Time(b.MaxTimestamp), b.CRC)
		}
	}
	if verify {
		damage = Verify(f, r)
		for _, err := range damage {
			out.printf("damage: %v\n", format.In(name, err))
		}
		if damage == nil {
			out.printf("verified: all blocks and batches are as written\n")
		}
	}
	return errors.Join(append(damage, out.err)...)
}

// Verify reads all blocks of an object and their batches. It returns every
// damage found: wrong CRCs, and batches that are not where the index has them.
func Verify(f *Footer, r io.ReaderAt) []error {
	var damage []error
	var data []byte
	for i := range f.Ranges {
		rng := &f.Ranges[i]
		for j, b := range rng.Blocks {
			if int64(cap(data)) < b.Length {
				data = make([]byte, b.Length)
			}
			data = data[:b.Length]
			if n, err := r.ReadAt(data, b.Position); int64(n) < b.Length {
				damage = append(damage, fmt.Errorf("reading the block at byte %d: %w", b.Position, err))
				continue
			}
			end := rng.Next
			if j+1 < len(rng.Blocks) {
				end = rng.Blocks[j+1].First
			}
			if err := verifyBlock(b, end, data); err != nil {
				damage = append(damage, err)
			}
		}
	}
	return damage
}

// verifyBlock holds a block's batches against the index: they fill [b.First, end).
func verifyBlock(b Block, end int64, data []byte) error {
	if err := b.Verify(data); err != nil {
		return err
	}
	at, next := b.Position, b.First
	return batch.Each(data, func(h batch.Header, raw []byte) error {
		if _, err := batch.Verify(raw); err != nil {
			return format.Corrupt(at, "batch at offset %d: %v", h.BaseOffset, err)
		}
		if at == b.Position && h.BaseOffset != b.First || h.BaseOffset < next || h.Next() > end {
			return format.Corrupt(at, "batch [%d,%d) in a block of [%d,%d)", h.BaseOffset, h.Next(), b.First, end)
		}
		at, next = at+int64(len(raw)), h.Next()
		return nil
	})
}

// printer keeps the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(text string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, text, args...)
	}
}

func (p *printer) producers(r *Range) {
	for _, s := range r.Producers {
		p.printf("  producer %d epoch=%d used=%s", s.ID, s.Epoch, format.Time(s.LastUsed))
		for _, b := range s.Batches {
			p.printf(" %d..%d@%d", b.FirstSequence, b.LastSequence, b.First)
		}
		if s.Run > s.Remembered() {
			p.printf(" run=%d", s.Run)
		}
		for _, r := range s.Past {
			p.printf(" past=%d:%d-%d", r.Epoch, r.Last, r.N)
		}
		p.printf("\n")
	}
}
