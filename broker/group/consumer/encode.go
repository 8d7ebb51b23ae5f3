package consumer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
)

// What is stored of a group:
//
//	head:
//	  version           1 byte, 1
//	  epoch             varint
//	  assignment epoch  varint
//	  fingerprint       8 bytes, big endian: of the topics that epoch knows
//	  members           uvarint
//
//	a row for each member, named by its id:
//	  version           1 byte, 1
//	  serial            uvarint: ascending in the order in which members came
//	  instance id, rack, client id, host, assignor, regex: strings
//	  names             uvarint, strings
//	  rebalance timeout uvarint, ms
//	  epoch, previous   varint each
//	  status            1 byte
//	  assigned, revoking, target: assignments
//	  classic           1 byte, 0 or 1; if 1:
//	    session timeout uvarint, ms
//	    protocols       uvarint; name and metadata of each: strings
//
// A string is its length as uvarint, and its bytes. An assignment is the number of
// topics as uvarint, and of each, by id, the id (16 bytes), the number of its
// partitions as uvarint and their indexes, ascending, as uvarints: the first, and
// how far each is from the one before, less one.
const encodingVersion = 1

// Encode returns what Decode makes the same group of: a head, and a row for each
// member by its id. The rows are shared with the State, which does not change
// them; the map is the caller's.
func (s *State) Encode() (head []byte, rows map[string][]byte) {
	head = []byte{encodingVersion}
	head = binary.AppendVarint(head, int64(s.epoch))
	head = binary.AppendVarint(head, int64(s.assignmentEpoch))
	head = binary.BigEndian.AppendUint64(head, s.fingerprint)
	head = binary.AppendUvarint(head, uint64(len(s.members)))
	rows = make(map[string][]byte, len(s.members))
	for _, m := range s.members {
		if m.row == nil {
			m.row = m.encode(s.target[m.ID])
		}
		rows[m.ID] = m.row
	}
	return head, rows
}

func (m *Member) encode(target Assignment) []byte {
	b := append(make([]byte, 0, 256), encodingVersion)
	b = binary.AppendUvarint(b, m.serial)
	for _, text := range [...]string{m.InstanceID, m.Rack, m.ClientID, m.Host, m.Assignor, m.Regex()} {
		b = format.AppendString(b, text)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Names())))
	for _, name := range m.Names() {
		b = format.AppendString(b, name)
	}
	b = binary.AppendUvarint(b, uint64(m.RebalanceTimeout.Milliseconds()))
	b = binary.AppendVarint(b, int64(m.Epoch))
	b = binary.AppendVarint(b, int64(m.PreviousEpoch))
	b = append(b, byte(m.Status))
	for _, a := range [...]Assignment{m.Assigned, m.Revoking, target} {
		b = a.append(b)
	}
	if m.Classic == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(m.Classic.SessionTimeout.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(len(m.Classic.Protocols)))
	for _, p := range m.Classic.Protocols {
		b = format.AppendString(format.AppendString(b, p.Name), p.Metadata)
	}
	return b
}

func (a Assignment) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(a)))
	for _, id := range a.Topics() {
		b = append(b, id[:]...)
		b = binary.AppendUvarint(b, uint64(len(a[id])))
		next := int32(0)
		for _, index := range a[id] {
			b = binary.AppendUvarint(b, uint64(index-next))
			next = index + 1
		}
	}
	return b
}

// Head is what the head of a stored group tells.
type Head struct {
	Epoch, AssignmentEpoch int32
	Members                int

	fingerprint uint64
}

// DecodeHead reads a head.
func DecodeHead(head []byte) (Head, error) {
	d := format.NewDecoder(head)
	d.Version(encodingVersion)
	h := Head{Epoch: d.Int32(), AssignmentEpoch: d.Int32()}
	if sum := d.Bytes(8); sum != nil {
		h.fingerprint = binary.BigEndian.Uint64(sum)
	}
	h.Members = int(d.Uvarint(1<<31 - 1))
	return h, d.End()
}

// Decode makes the group go on that Encode was asked of. Its members have a whole
// session timeout from now, and as long as any to give up what they are to.
func Decode(limits Limits, now time.Time, head []byte, rows map[string][]byte) (*State, error) {
	h, err := DecodeHead(head)
	if err != nil {
		return nil, err
	}
	if h.Members != len(rows) {
		return nil, format.Corrupt(0, "group of %d members, %d are stored", h.Members, len(rows))
	}
	s := NewState(limits)
	s.epoch, s.assignmentEpoch, s.fingerprint = h.Epoch, h.AssignmentEpoch, h.fingerprint
	for id, row := range rows {
		if err := s.decodeMember(now, id, row); err != nil {
			return nil, format.In(fmt.Sprintf("member %s", id), err)
		}
	}
	slices.SortFunc(s.members, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.ID, b.ID))
	})
	if n := len(s.members); n > 0 {
		s.serials = s.members[n-1].serial
	}
	s.version = 0
	return s, nil
}

// decodeMember takes in the member of a row.
func (s *State) decodeMember(now time.Time, id string, row []byte) error {
	const longest = uint64(1<<63-1) / uint64(time.Millisecond)
	d := format.NewDecoder(row)
	d.Version(encodingVersion)
	serial := d.Uvarint(1<<63 - 1)
	m := &Member{ID: id, InstanceID: d.String(), Rack: d.String(), ClientID: d.String(), Host: d.String(), Assignor: d.String()}
	regex := d.String()
	var names []string
	for range d.Count() {
		names = append(names, d.String())
	}
	m.RebalanceTimeout = time.Duration(d.Uvarint(longest)) * time.Millisecond
	m.Epoch, m.PreviousEpoch = d.Int32(), d.Int32()
	m.Status = Status(d.Byte())
	assigned, revoking, target := decodeAssignment(d), decodeAssignment(d), decodeAssignment(d)
	if d.Byte() != 0 {
		m.Classic = &Classic{SessionTimeout: time.Duration(d.Uvarint(longest)) * time.Millisecond}
		for range d.Count() {
			m.Classic.Protocols = append(m.Classic.Protocols, Protocol{Name: d.String(), Metadata: []byte(d.String())})
		}
		if len(m.Classic.Protocols) == 0 {
			d.Fail("member of the classic protocol without protocols")
		}
	}
	switch {
	case m.Status > Unreleased:
		d.Fail("status %d", m.Status)
	case !slices.Equal(names, sortedNames(names)):
		d.Fail("names are not ascending")
	case m.InstanceID != "" && s.byInstance[m.InstanceID] != nil:
		d.Fail("instance id %q is of two members", m.InstanceID)
	}
	if assigned.meets(revoking) {
		d.Fail("a partition is assigned and to be given up")
	}
	for _, a := range [...]Assignment{assigned, revoking} {
		for p := range a.All() {
			if other := s.holders[p].by; other != nil {
				d.Fail("%v is of %s too", p, other.ID)
			}
		}
	}
	if err := d.End(); err != nil {
		return err
	}
	pattern, err := CompileRegex(regex)
	switch {
	case err != nil:
		return format.Corrupt(0, "regular expression %q: %v", regex, err)
	case regex == "":
		pattern = nil
	}
	s.insert(m)
	m.serial = serial
	s.subscribe(m, names, regex, pattern)
	s.hold(m, assigned, revoking)
	s.target[m.ID] = target
	s.changed(m)
	s.touch(now, m)
	if m.Status == Unrevoked && m.Classic == nil {
		s.due(m, &m.revokeBy, now.Add(m.RebalanceTimeout))
	}
	return nil
}

func decodeAssignment(d *format.Decoder) Assignment {
	topics := d.Count()
	if topics == 0 {
		return nil
	}
	a := make(Assignment, topics)
	var last topic.ID
	for i := range topics {
		var id topic.ID
		copy(id[:], d.Bytes(len(id)))
		if i > 0 && compareIDs(last, id) >= 0 {
			d.Fail("topics are not ascending")
		}
		last = id
		n := d.Count()
		if n == 0 {
			d.Fail("topic without partitions")
		}
		indexes := make([]int32, 0, n)
		next := uint64(0)
		for range n {
			next += d.Uvarint(1<<31 - 1)
			if next > 1<<31-1 {
				d.Fail("partition %d", next)
			}
			indexes = append(indexes, int32(next))
			next++
		}
		if d.Failed() {
			return nil
		}
		a[id] = indexes
	}
	return a
}
