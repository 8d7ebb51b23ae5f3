package textindex

import "encoding/binary"

// arena holds the growing byte strings of many terms, each a chain of pieces
// that get larger. It has no pointer per term, and what was written is never
// moved: a reader that knows how long a chain was can read that much of it while
// more is appended.
type arena struct {
	chunks [][]byte
	used   uint32 // of the last chunk
}

// chain is one byte string: where it begins and, for who appends, where it goes on.
type chain struct {
	first  uint32 // address of the first piece; 0: none yet
	at     uint32 // address of the next byte
	end    uint32 // address after the current piece
	piece  uint32 // bytes of the current piece, its header included
	length uint32 // bytes in all
}

// A piece is the address of the next one (4 bytes) and its content. An address is
// a chunk's number and a place in it; no piece crosses a chunk. Address 0 is
// nobody's.
const (
	chunkBits  = 16
	chunkBytes = 1 << chunkBits
	pieceHead  = 4
	pieceMin   = 16
	pieceMax   = 4096
)

// bytes is what the arena takes.
func (a *arena) bytes() int64 { return int64(len(a.chunks)) * chunkBytes }

// allocate returns the address of n new bytes, zero.
func (a *arena) allocate(n uint32) uint32 {
	if len(a.chunks) == 0 || a.used+n > chunkBytes {
		a.chunks = append(a.chunks, make([]byte, chunkBytes))
		a.used = 0
		if len(a.chunks) == 1 {
			a.used = pieceMin
		}
	}
	address := uint32(len(a.chunks)-1)<<chunkBits | a.used
	a.used += n
	return address
}

func (a *arena) slice(address, end uint32) []byte {
	from := address & (chunkBytes - 1)
	return a.chunks[address>>chunkBits][from : from+end-address]
}

// append adds bytes to a chain.
func (a *arena) append(c *chain, b []byte) {
	c.length += uint32(len(b))
	for len(b) > 0 {
		if c.at == c.end {
			a.extend(c)
		}
		n := copy(a.slice(c.at, c.end), b)
		c.at += uint32(n)
		b = b[n:]
	}
}

func (a *arena) extend(c *chain) {
	size := min(max(c.piece*2, pieceMin), pieceMax)
	address := a.allocate(size)
	if c.first == 0 {
		c.first = address
	} else {
		head := c.end - c.piece
		binary.LittleEndian.PutUint32(a.slice(head, head+pieceHead), address)
	}
	c.at, c.end, c.piece = address+pieceHead, address+size, size
}

// read appends the first length bytes of a chain.
func (a *arena) read(to []byte, c chain) []byte {
	left, address, size := c.length, c.first, uint32(pieceMin)
	for left > 0 {
		n := min(left, size-pieceHead)
		to = append(to, a.slice(address+pieceHead, address+pieceHead+n)...)
		if left -= n; left > 0 {
			address = binary.LittleEndian.Uint32(a.slice(address, address+pieceHead))
			size = min(size*2, pieceMax)
		}
	}
	return to
}
