package textindex

import (
	"context"
	"hash/crc32"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/format"
)

// Blob is where a split lies, and Bytes one in memory.
type (
	Blob  = blob.Blob
	Bytes = blob.Bytes
)

// pages reads a file's body and checks it: what is read is read in whole pages,
// each of which has a CRC.
type pages struct {
	blob Blob
	body int64 // bytes that have pages
	crcs []uint32
	// checked has a bit for each page that was seen to be good; nil when the blob
	// gives new bytes at every read.
	checked []atomic.Uint64
}

func newPages(b Blob, body int64, crcs []uint32) *pages {
	p := &pages{blob: b, body: body, crcs: crcs}
	if _, ok := b.(Bytes); ok {
		p.checked = make([]atomic.Uint64, (len(crcs)+63)/64)
	}
	return p
}

// read returns a part of the body.
func (p *pages) read(ctx context.Context, s section) ([]byte, error) {
	if s.length == 0 {
		return nil, nil
	}
	first, next := s.at/pageBytes, (s.at+s.length+pageBytes-1)/pageBytes
	begin, end := first*pageBytes, min(next*pageBytes, p.body)
	data, err := p.blob.Read(ctx, begin, end-begin)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != end-begin {
		return nil, format.Corrupt(begin, "%d bytes instead of %d", len(data), end-begin)
	}
	for n := first; n < next; n++ {
		at := (n - first) * pageBytes
		if err := p.check(n, data[at:min(at+pageBytes, end-begin)]); err != nil {
			return nil, err
		}
	}
	from := s.at - begin
	return data[from : from+s.length : from+s.length], nil
}

func (p *pages) check(n int64, data []byte) error {
	if p.checked != nil && p.checked[n/64].Load()>>(n%64)&1 == 1 {
		return nil
	}
	if crc32.Checksum(data, format.Castagnoli) != p.crcs[n] {
		return format.Corrupt(n*pageBytes, "CRC of page %d", n)
	}
	if p.checked != nil {
		p.checked[n/64].Or(1 << (n % 64))
	}
	return nil
}
