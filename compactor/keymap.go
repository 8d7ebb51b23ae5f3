package compactor

import (
	"crypto/sha256"
	"encoding/binary"
)

// keyMap knows the latest offset of keys, within a bound of memory. Keys are
// known by 128 bits of their SHA-256: two of them that fell together would lose
// a record, so nobody may be able to make such keys, by chance or by design.
type keyMap struct {
	slots    []slot // a power of two; open addressing
	used     int
	slotsMax int
}

// slot is 24 bytes. A next of 0 is a free one.
type slot struct {
	key  digest
	next int64 // offset + 1
}

type digest [16]byte

const (
	slotBytes = 24
	slotsMin  = 1 << 4
)

func digestOf(key []byte) digest {
	sum := sha256.Sum256(key)
	return digest(sum[:])
}

// newKeyMap returns a map of no more than bytesMax, and for a moment half more
// while it grows; but sixteen slots it always has.
func newKeyMap(bytesMax int64) *keyMap {
	slotsMax := slotsMin
	for int64(2*slotsMax)*slotBytes <= bytesMax {
		slotsMax *= 2
	}
	return &keyMap{slots: make([]slot, slotsMin), slotsMax: slotsMax}
}

// room reports whether n more keys fit, and makes the map larger for them.
func (m *keyMap) room(n int) bool {
	for 4*(m.used+n) > 3*len(m.slots) {
		if len(m.slots) >= m.slotsMax {
			return false
		}
		m.grow()
	}
	return true
}

func (m *keyMap) grow() {
	old := m.slots
	m.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.next != 0 {
			*m.find(s.key) = s
		}
	}
}

// force makes the map larger than it may be, for n keys that come at once.
func (m *keyMap) force(n int) {
	for 4*(m.used+n) > 3*len(m.slots) {
		m.grow()
	}
}

// put notes the offset of a key, which is above those before. There is room.
func (m *keyMap) put(key digest, offset int64) {
	s := m.find(key)
	if s.next == 0 {
		s.key = key
		m.used++
	}
	s.next = offset + 1
}

// latest is the largest offset of a key, −1 if it is not known.
func (m *keyMap) latest(key []byte) int64 {
	if m.used == 0 {
		return -1
	}
	return m.find(digestOf(key)).next - 1
}

// find returns the slot of a key, or the free one where it belongs.
func (m *keyMap) find(key digest) *slot {
	mask := uint64(len(m.slots) - 1)
	for i := binary.LittleEndian.Uint64(key[:]) & mask; ; i = (i + 1) & mask {
		if s := &m.slots[i]; s.next == 0 || s.key == key {
			return s
		}
	}
}
