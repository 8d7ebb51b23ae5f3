package metastore

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
)

// The values of a group's state.
//
//	states/<group>, the head:
//	  version  1 byte, 1
//	  copy     uvarint: the copy of the rows that counts
//	  writing  uvarint: the copy that is being written, 0 for none
//	  chunks   uvarint: in how many chunks the rows of that copy lie
//	  pieces   uvarint: how many pieces of rows they hold together
//	  twin     uvarint: revision of the ownership of the slot under which a head
//	           was put where there was none and may be put a second time, 0 for none
//	  stamp    uvarint length, bytes: another one with every write
//	  data     uvarint length, bytes: the coordinator's own
//	  crc      4 bytes, big endian, CRC-32C of all before
//
//	chunks/<group>/<copy>/<chunk>; one without rows does not exist:
//	  version  1 byte, 1
//	  rows     uvarint; then, sorted by name, row by row:
//	    name   uvarint length, bytes
//	    piece  uvarint, of pieces, from 0
//	    pieces uvarint
//	    data   uvarint length, bytes
//	  crc      4 bytes, as above
const groupValueVersion = 1

// groupHead is the head, decoded.
type groupHead struct {
	copy, writing int64
	chunks        int
	pieces        int
	twin          int64
	stamp         string
	data          []byte
}

const (
	// groupChunkBytes is what a chunk has, about; so much at least is written
	// with each change.
	groupChunkBytes  = 4 << 10
	groupChunksMax   = 4096
	groupPieceBytes  = 64 << 10 // longer rows are cut
	groupRowBytesMin = 4        // bounds what a count may claim
)

// piece is a row, or a part of a long one.
type piece struct {
	name          string
	index, pieces int
	data          []byte
}

func cutRows(rows map[string][]byte) []piece {
	pieces := make([]piece, 0, len(rows))
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		data := rows[name]
		n := max(1, (len(data)+groupPieceBytes-1)/groupPieceBytes)
		for i := range n {
			pieces = append(pieces, piece{name, i, n, data[i*groupPieceBytes : min((i+1)*groupPieceBytes, len(data))]})
		}
	}
	return pieces
}

// groupChunks is in how many chunks rows are to lie, a power of two. It stays
// what it is until that is far from right.
func groupChunks(current int, pieces []piece) int {
	size := 0
	for _, p := range pieces {
		size += len(p.name) + len(p.data) + 8
	}
	right := 1
	for right*groupChunkBytes < size && right < groupChunksMax {
		right *= 2
	}
	if current > 0 && right <= 2*current && current <= 8*right {
		return current
	}
	return right
}

// encodeChunks returns the values of the chunks, nil for one without rows.
func encodeChunks(pieces []piece, count int) [][]byte {
	members := make([][]piece, count)
	for _, p := range pieces {
		h := fnv.New32a()
		_, _ = h.Write([]byte(p.name)) // writing to a hash never fails
		_, _ = h.Write([]byte{0, byte(p.index), byte(p.index >> 8)})
		sum := h.Sum32()
		i := int((sum ^ sum>>16) % uint32(count))
		members[i] = append(members[i], p)
	}
	chunks := make([][]byte, count)
	for i, pieces := range members {
		if len(pieces) == 0 {
			continue
		}
		b := append(make([]byte, 0, 2*groupChunkBytes), groupValueVersion)
		b = binary.AppendUvarint(b, uint64(len(pieces)))
		for _, p := range pieces {
			b = format.AppendString(b, p.name)
			b = binary.AppendUvarint(b, uint64(p.index))
			b = binary.AppendUvarint(b, uint64(p.pieces))
			b = format.AppendString(b, p.data)
		}
		chunks[i] = appendCRC(b)
	}
	return chunks
}

func encodeGroupHead(h groupHead) []byte {
	b := append(make([]byte, 0, 64+len(h.data)), groupValueVersion)
	b = binary.AppendUvarint(b, uint64(h.copy))
	b = binary.AppendUvarint(b, uint64(h.writing))
	b = binary.AppendUvarint(b, uint64(h.chunks))
	b = binary.AppendUvarint(b, uint64(h.pieces))
	b = binary.AppendUvarint(b, uint64(h.twin))
	b = format.AppendString(b, h.stamp)
	b = format.AppendString(b, h.data)
	return appendCRC(b)
}

// decodeGroupHead reads what encodeGroupHead wrote. data is value's.
func decodeGroupHead(key string, value []byte) (groupHead, error) {
	var h groupHead
	d, err := openValue(value, groupValueVersion)
	if err != nil {
		return h, format.In(key, err)
	}
	h.copy = d.uvarint(maxInt63)
	h.writing = d.uvarint(maxInt63)
	h.chunks = int(d.uvarint(groupChunksMax))
	h.pieces = int(d.uvarint(maxInt31))
	h.twin = d.uvarint(maxInt63)
	h.stamp = d.String()
	h.data = d.Bytes(int(d.uvarint(GroupHeadBytesMax)))
	return h, format.In(key, d.End())
}

// decodeChunk returns the pieces in a chunk. Their data is value's.
func decodeChunk(key string, value []byte) ([]piece, error) {
	d, err := openValue(value, groupValueVersion)
	if err != nil {
		return nil, format.In(key, err)
	}
	pieces := make([]piece, 0, d.uvarint(int64(len(value)/groupRowBytesMin)))
	for range cap(pieces) {
		p := piece{name: d.String(), index: int(d.uvarint(maxInt31)), pieces: int(d.uvarint(maxInt31))}
		p.data = d.Bytes(int(d.uvarint(groupPieceBytes)))
		if p.index >= p.pieces {
			d.Fail("piece %d of %d", p.index, p.pieces)
		}
		pieces = append(pieces, p)
	}
	return pieces, format.In(key, d.End())
}

// joinRows puts rows together again. There have to be count pieces.
func joinRows(key string, pieces []piece, count int) (map[string][]byte, error) {
	if len(pieces) != count {
		return nil, format.In(key, format.Corrupt(0, "%d of its %d pieces are there", len(pieces), count))
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.index, b.index)) })
	rows := make(map[string][]byte)
	for i := 0; i < len(pieces); {
		first := pieces[i]
		data := first.data
		if len(pieces)-i < first.pieces {
			return nil, format.In(key, format.Corrupt(0, "row %q is not whole", first.name))
		}
		for n, p := range pieces[i : i+first.pieces] {
			if p.name != first.name || p.index != n || p.pieces != first.pieces {
				return nil, format.In(key, format.Corrupt(0, "row %q is not whole", first.name))
			}
			if n > 0 {
				data = append(data[:len(data):len(data)], p.data...)
			}
		}
		rows[first.name] = data
		i += first.pieces
	}
	return rows, nil
}
