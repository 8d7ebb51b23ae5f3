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
//	  since      uvarint: ms, when it became Empty
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
	b = binary.AppendUvarint(b, uint64(max(0, h.since.UnixMilli())))
	b = format.AppendString(b, h.protocolType)
	b = format.AppendString(b, h.protocol)
	b = format.AppendString(b, h.leader)
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
	b = format.AppendString(b, m.InstanceID)
	b = format.AppendString(b, m.ClientID)
	b = format.AppendString(b, m.Host)
	b = binary.AppendUvarint(b, uint64(m.sessionTimeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(m.rebalanceTimeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(len(m.Protocols)))
	for _, p := range m.Protocols {
		b = format.AppendString(b, p.Name)
		b = format.AppendString(b, p.Metadata)
	}
	return format.AppendString(b, m.Assignment)
}

func decodeClassicHead(head []byte) (classicHead, error) {
	var h classicHead
	d := format.NewDecoder(head)
	if k := d.Byte(); k != headClassic {
		d.Fail("kind %d", k)
	}
	d.Version(classicVersion)
	switch phase := d.Byte(); phase {
	case 0:
		h.phase = Empty
	case 1:
		h.phase = Stable
	default:
		d.Fail("phase %d", phase)
	}
	h.generation = d.Int32()
	h.since = time.UnixMilli(int64(d.Uvarint(1<<63 - 1)))
	h.protocolType, h.protocol, h.leader = d.String(), d.String(), d.String()
	h.members = int(d.Uvarint(1<<31 - 1))
	return h, d.End()
}

func decodeMember(id string, row []byte) (m *Member, place uint64, err error) {
	const longest = uint64(1<<63-1) / uint64(time.Millisecond)
	d := format.NewDecoder(row)
	d.Version(classicVersion)
	m = &Member{ID: id}
	place = d.Uvarint(1<<31 - 1)
	m.InstanceID, m.ClientID, m.Host = d.String(), d.String(), d.String()
	m.sessionTimeout = time.Duration(d.Uvarint(longest)) * time.Millisecond
	m.rebalanceTimeout = time.Duration(d.Uvarint(longest)) * time.Millisecond
	for range d.Count() {
		m.Protocols = append(m.Protocols, Protocol{Name: d.String(), Metadata: []byte(d.String())})
	}
	m.Assignment = []byte(d.String())
	return m, place, d.End()
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
	places := make(map[*Member]uint64, h.members)
	for id, row := range stored.Rows {
		m, place, err := decodeMember(id, row)
		if err != nil {
			return nil, format.In(fmt.Sprintf("member %s", id), err)
		}
		m.synced = true
		s.keepAlive(now, m)
		s.insert(m)
		places[m] = place
	}
	slices.SortFunc(s.members, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(places[a], places[b]), cmp.Compare(a.ID, b.ID))
	})
	s.keep()
	s.changed = false
	return s, nil
}
