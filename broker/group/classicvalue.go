package group

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
)

// What is stored of a group of the classic protocol (metastore adds names, a CRC
// and the cutting into chunks):
//
//	head:
//	  kind       1 byte, 1: classic
//	  version    1 byte, 1
//	  phase      1 byte: 0 Empty, 1 Stable
//	  generation varint
//	  since      varint: ms, when it became Empty
//	  protocol type, protocol, leader: uvarint length, bytes each
//	  members    uvarint
//
//	a row for each member, named by its id:
//	  version    1 byte, 1
//	  place      uvarint: in the order of joining
//	  instance id, client id, host: uvarint length, bytes each
//	  session timeout, rebalance timeout: uvarint, ms each
//	  protocols  uvarint; name and metadata of each: uvarint length, bytes
//	  assignment uvarint length, bytes
const classicVersion = 1

// classicHead is a head, decoded.
type classicHead struct {
	phase                  Phase
	generation             int32
	since                  time.Time
	protocolType, protocol string
	leader                 string
	members                int
}

func (h classicHead) summary() Summary {
	return Summary{Kind: Classic, ProtocolType: h.protocolType, Phase: h.phase, Generation: h.generation, Members: h.members}
}

// durable is a copy of what is to be stored, made when it came to be: the state
// may be in the middle of the next rebalance when it is written.
type durable struct {
	head    classicHead
	members []Member
}

func (d *durable) encode() Stored {
	h := d.head
	b := []byte{headClassic, classicVersion, 0}
	if h.phase == Stable {
		b[2] = 1
	}
	b = binary.AppendVarint(b, int64(h.generation))
	b = binary.AppendVarint(b, h.since.UnixMilli())
	b = appendString(b, h.protocolType)
	b = appendString(b, h.protocol)
	b = appendString(b, h.leader)
	b = binary.AppendUvarint(b, uint64(len(d.members)))
	stored := Stored{Head: b, Rows: make(map[string][]byte, len(d.members))}
	for i, m := range d.members {
		stored.Rows[m.ID] = encodeMember(&m, i)
	}
	return stored
}

func encodeMember(m *Member, place int) []byte {
	b := append(make([]byte, 0, 256), classicVersion)
	b = binary.AppendUvarint(b, uint64(place))
	b = appendString(b, m.InstanceID)
	b = appendString(b, m.ClientID)
	b = appendString(b, m.Host)
	b = binary.AppendUvarint(b, uint64(m.sessionTimeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(m.rebalanceTimeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(len(m.Protocols)))
	for _, p := range m.Protocols {
		b = appendString(b, p.Name)
		b = appendString(b, string(p.Metadata))
	}
	return appendString(b, string(m.Assignment))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decodeClassicHead(head []byte) (classicHead, error) {
	var h classicHead
	d := decoder{data: head}
	if k := d.byte(); k != headClassic {
		return h, format.Version(0, int(k), headClassic)
	}
	if v := d.byte(); v != classicVersion {
		return h, format.Version(1, int(v), classicVersion)
	}
	switch phase := d.byte(); phase {
	case 0:
		h.phase = Empty
	case 1:
		h.phase = Stable
	default:
		d.fail("phase %d", phase)
	}
	generation := d.varint()
	if h.generation = int32(generation); int64(h.generation) != generation {
		d.fail("generation %d", generation)
	}
	h.since = time.UnixMilli(d.varint())
	h.protocolType, h.protocol, h.leader = d.string(), d.string(), d.string()
	h.members = int(d.uvarint(1<<31 - 1))
	return h, d.end()
}

func decodeMember(id string, row []byte) (m *Member, place int64, err error) {
	d := decoder{data: row}
	if v := d.byte(); v != classicVersion {
		return nil, 0, format.Version(0, int(v), classicVersion)
	}
	m = &Member{ID: id}
	place = d.uvarint(1<<31 - 1)
	m.InstanceID, m.ClientID, m.Host = d.string(), d.string(), d.string()
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	m.sessionTimeout = time.Duration(d.uvarint(longest)) * time.Millisecond
	m.rebalanceTimeout = time.Duration(d.uvarint(longest)) * time.Millisecond
	for range d.uvarint(int64(len(row))) {
		if d.err != nil {
			break
		}
		m.Protocols = append(m.Protocols, Protocol{Name: d.string(), Metadata: []byte(d.string())})
	}
	m.Assignment = []byte(d.string())
	return m, place, d.end()
}

// restoreClassic makes the group that was stored go on: its members have a whole
// session timeout from now.
func restoreClassic(stored Stored, limits Limits, now time.Time) (*State, error) {
	h, err := decodeClassicHead(stored.Head)
	if err != nil {
		return nil, err
	}
	if len(stored.Rows) != h.members {
		return nil, format.Corrupt(0, "group of %d members, %d are stored", h.members, len(stored.Rows))
	}
	s := NewState(limits)
	s.phase, s.generation, s.since = h.phase, h.generation, h.since
	s.protocolType, s.protocol, s.leader = h.protocolType, h.protocol, h.leader
	places := make(map[*Member]int64, h.members)
	for id, row := range stored.Rows {
		m, place, err := decodeMember(id, row)
		if err != nil {
			return nil, format.In(fmt.Sprintf("member %s", id), err)
		}
		m.synced = true
		s.keepAlive(now, m)
		s.members = append(s.members, m)
		places[m] = place
	}
	slices.SortFunc(s.members, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(places[a], places[b]), cmp.Compare(a.ID, b.ID))
	})
	s.keep()
	s.changed = false
	return s, nil
}

// decoder walks a value. After the first error every read gives zero.
type decoder struct {
	data []byte
	at   int
	err  error
}

func (d *decoder) fail(reason string, args ...any) {
	if d.err == nil {
		d.err = format.Corrupt(int64(d.at), reason, args...)
	}
}

func (d *decoder) uvarint(largest int64) int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.data[d.at:])
	if n <= 0 || v > uint64(largest) {
		d.fail("number is cut off or above %d", largest)
		return 0
	}
	d.at += n
	return int64(v)
}

func (d *decoder) varint() int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Varint(d.data[d.at:])
	if n <= 0 {
		d.fail("number is cut off")
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) byte() byte {
	if d.err != nil || d.at == len(d.data) {
		d.fail("cut off")
		return 0
	}
	d.at++
	return d.data[d.at-1]
}

func (d *decoder) string() string {
	n := int(d.uvarint(int64(len(d.data) - d.at)))
	if d.err != nil {
		return ""
	}
	if n > len(d.data)-d.at {
		d.fail("%d bytes announced, %d are left", n, len(d.data)-d.at)
		return ""
	}
	d.at += n
	return string(d.data[d.at-n : d.at])
}

func (d *decoder) end() error {
	if d.err == nil && d.at != len(d.data) {
		d.fail("%d bytes after the end", len(d.data)-d.at)
	}
	return d.err
}
