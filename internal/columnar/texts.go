package columnar

import (
	"bytes"
	"hash/maphash"
)

// Bounds of a dictionary. Past them, and when every second value is a new one,
// plain values compress as well and cost less.
const (
	dictionaryEntriesMax = 1 << 14
	dictionaryBytesMax   = 512 << 10
	dictionaryTrial      = 1 << 11 // values before the share of new ones counts
)

// texts are the byte strings of one column within a row group. They begin as a
// dictionary and indices into it, and turn into plain values where that does
// not pay; then they stay so for the rest of the file.
type texts struct {
	values  blobs // the dictionary's entries, or all values
	indices []int32
	plain   bool
	slots   []slot // a hash table of the entries, open, a power of two
	seed    maphash.Seed
	scratch []byte
	room    room // for plain values
}

type slot struct {
	hash  uint32
	entry int32 // index of the entry plus one; 0 is free
}

// newTexts returns an empty column, with a dictionary if that is wanted.
func newTexts(dictionary bool) texts {
	return texts{plain: !dictionary, seed: maphash.MakeSeed(), values: blobs{offsets: []int32{0}}}
}

// reserve makes room for values, so that they are not copied while they grow.
func (t *texts) reserve(r room) {
	t.room = r
	if t.plain {
		t.values.reserve(r)
		return
	}
	t.indices = make([]int32, 0, r.values)
}

func (t *texts) reset() {
	t.values.reset()
	t.indices = t.indices[:0]
	clear(t.slots)
}

func (t *texts) append(v []byte) {
	if t.plain {
		t.values.append(v)
		return
	}
	entry := t.entry(v)
	t.indices = append(t.indices, entry)
	if entries := t.values.len(); int(entry) == entries-1 && t.overflows(entries) {
		t.expand()
	}
}

// repeat makes n of the one value there is.
func (t *texts) repeat(n int) {
	if t.plain {
		for t.values.len() < n {
			t.values.append(t.values.at(0))
		}
		t.values.data = t.values.data[:n*len(t.values.at(0))]
		t.values.offsets = t.values.offsets[:n+1]
		return
	}
	for len(t.indices) < n {
		t.indices = append(t.indices, 0)
	}
	t.indices = t.indices[:n]
}

// overflows says whether a dictionary of so many entries does not pay.
func (t *texts) overflows(entries int) bool {
	return entries > dictionaryEntriesMax || len(t.values.data) > dictionaryBytesMax ||
		len(t.indices) >= dictionaryTrial && entries > len(t.indices)/2
}

// entry returns the index of v in the dictionary, adding it if it is new. The
// indices do not depend on the hash, only on the order of values.
func (t *texts) entry(v []byte) int32 {
	if entries := t.values.len(); 2*entries >= len(t.slots) {
		t.grow()
	}
	hash := uint32(maphash.Bytes(t.seed, v))
	mask := uint32(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s.entry == 0 {
			t.values.append(v)
			t.slots[i] = slot{hash, int32(t.values.len())}
			return int32(t.values.len() - 1)
		}
		if s.hash == hash && bytes.Equal(t.values.at(int(s.entry-1)), v) {
			return s.entry - 1
		}
	}
}

func (t *texts) grow() {
	old := t.slots
	t.slots = make([]slot, max(256, 2*len(old)))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s.entry == 0 {
			continue
		}
		i := s.hash & mask
		for t.slots[i].entry != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}

// expand turns the dictionary and its indices into plain values.
func (t *texts) expand() {
	var all blobs
	all.reserve(t.room)
	for _, i := range t.indices {
		all.append(t.values.at(int(i)))
	}
	t.values, t.plain = all, true
	t.indices, t.slots = nil, nil
}

// blobs are byte strings in Arrow's layout.
type blobs struct {
	data    []byte
	offsets []int32 // one more than there are strings
}

func (b *blobs) reset() {
	b.data = b.data[:0]
	b.offsets = append(b.offsets[:0], 0)
}

// reserve empties b and makes room.
func (b *blobs) reserve(r room) {
	b.data, b.offsets = make([]byte, 0, r.bytes), make([]int32, 1, r.values+1)
}

func (b *blobs) append(v []byte) {
	b.data = append(b.data, v...)
	b.offsets = append(b.offsets, int32(len(b.data)))
}

func (b *blobs) len() int { return len(b.offsets) - 1 }

func (b *blobs) at(i int) []byte { return b.data[b.offsets[i]:b.offsets[i+1]] }

// bounds returns the least and the greatest string; there must be one.
func (b *blobs) bounds() (least, greatest []byte) {
	least, greatest = b.at(0), b.at(0)
	for i := 1; i < b.len(); i++ {
		v := b.at(i)
		if bytes.Compare(v, least) < 0 {
			least = v
		}
		if bytes.Compare(v, greatest) > 0 {
			greatest = v
		}
	}
	return least, greatest
}
