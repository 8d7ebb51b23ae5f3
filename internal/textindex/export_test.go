package textindex

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/chronik-stream/chronik/internal/format"
)

// Seal makes the CRCs of a file right whose bytes were changed, as far as its
// trailer lets them be found.
func Seal(data []byte) {
	if len(data) < headerBytes+trailerBytes {
		return
	}
	length, err := parseTrailer(data, int64(len(data)))
	if err != nil {
		return
	}
	body := int64(len(data)) - length
	pages := (body + pageBytes - 1) / pageBytes
	crcs := data[int64(len(data))-trailerBytes-4*pages:]
	if int64(len(crcs)) > int64(len(data))-body {
		return
	}
	for n := range pages {
		binary.LittleEndian.PutUint32(crcs[4*n:], crc32.Checksum(data[n*pageBytes:min((n+1)*pageBytes, body)], format.Castagnoli))
	}
	tail := data[body:]
	binary.LittleEndian.PutUint32(tail[length-12:], crc32.Checksum(tail[:length-12], format.Castagnoli))
}

// LimitTo makes a Memory full at so many bytes.
func (m *Memory) LimitTo(bytes int64) { m.full = bytes }
