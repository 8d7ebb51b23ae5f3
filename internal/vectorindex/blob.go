package vectorindex

import (
	"context"
	"hash/crc32"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/format"
)

// Blob is where a shard lies, and Bytes one in memory.
type (
	Blob  = blob.Blob
	Bytes = blob.Bytes
)

// section is a part of the file.
type section struct{ at, length int64 }

// part is a section that has a CRC of its own.
type part struct {
	section
	crc uint32
}

// readsMost is how many reads of one search are under way at once.
const readsMost = 32

// read returns a part, checked.
func (f *File) read(ctx context.Context, p part) ([]byte, error) {
	if p.length == 0 {
		return nil, nil
	}
	data, err := f.bytes(ctx, p.section)
	if err != nil {
		return nil, err
	}
	return data, check(p, data)
}

func check(p part, data []byte) error {
	if crc32.Checksum(data, format.Castagnoli) != p.crc {
		return format.Corrupt(p.at, "CRC of %d bytes", p.length)
	}
	return nil
}

func (f *File) bytes(ctx context.Context, s section) ([]byte, error) {
	data, err := f.blob.Read(ctx, s.at, s.length)
	if err == nil && int64(len(data)) != s.length {
		err = format.Corrupt(s.at, "%d bytes instead of %d", len(data), s.length)
	}
	return data, err
}

// gather reads sections, which rise, in one round: those that lie near one another
// with one read.
func (f *File) gather(ctx context.Context, sections []section, gap int64) ([][]byte, error) {
	found := make([][]byte, len(sections))
	reading, ctx := errgroup.WithContext(ctx)
	reading.SetLimit(readsMost)
	for i := 0; i < len(sections); {
		next, end := i+1, sections[i].at+sections[i].length
		for next < len(sections) && sections[next].at-end <= gap {
			end = max(end, sections[next].at+sections[next].length)
			next++
		}
		first := i
		reading.Go(func() error {
			begin := sections[first].at
			data, err := f.bytes(ctx, section{begin, end - begin})
			if err != nil {
				return err
			}
			for n := first; n < next; n++ {
				at := sections[n].at - begin
				found[n] = data[at : at+sections[n].length : at+sections[n].length]
			}
			return nil
		})
		i = next
	}
	return found, reading.Wait()
}

// marks remember what of a shard in memory was checked.
type marks []atomic.Uint64

func newMarks(n int) marks { return make(marks, (n+63)/64) }

func (m marks) has(i uint32) bool { return m != nil && m[i/64].Load()>>(i%64)&1 == 1 }

func (m marks) set(i uint32) {
	if m != nil {
		m[i/64].Or(1 << (i % 64))
	}
}
