package vectorindex

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/chronik-stream/chronik/internal/format"
)

// Seal makes the CRC of a footer right whose bytes were changed, and with it those
// of what it points at.
func Seal(data []byte) {
	if len(data) < headerBytes+trailerBytes {
		return
	}
	length, err := parseTrailer(data, int64(len(data)))
	if err != nil {
		return
	}
	body := int64(len(data)) - length
	tail := data[body:]
	if f, err := parseFooter(tail[:length-trailerBytes], body); err == nil {
		sum := func(p *part) { p.crc = crc32.Checksum(data[p.at:][:p.length], format.Castagnoli) }
		for i := range f.lists {
			sum(&f.lists[i].rows)
			sum(&f.lists[i].copies)
		}
		for i := range f.blocks {
			sum(&f.blocks[i].part)
		}
		if f.graph != nil {
			sum(&f.ground)
			sum(&f.upper)
		}
		if again := f.append(nil); int64(len(again)) == length-trailerBytes {
			copy(tail, again)
		}
		if f.options.Encoding != Int8 {
			size := int64(stored{f.options.Encoding, f.options.Dimensions}.bytes())
			for row := range int64(f.rows) {
				v := data[f.vectors.at+row*(size+crcBytes):]
				binary.LittleEndian.PutUint32(v[size:], crc32.Checksum(v[:size], format.Castagnoli))
			}
		}
	}
	binary.LittleEndian.PutUint32(tail[length-12:], crc32.Checksum(tail[:length-12], format.Castagnoli))
}
