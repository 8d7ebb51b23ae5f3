package consumer

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/topic"
)

// ClassicType is the protocol type of classic groups whose members are consumers.
const ClassicType = "consumer"

// Protocol is one way of assigning that a member of the classic protocol knows.
type Protocol struct {
	Name     string
	Metadata []byte
}

// Classic is what a group knows of a member of the classic protocol besides.
type Classic struct {
	SessionTimeout time.Duration
	Protocols      []Protocol
}

func (c *Classic) knows(protocol string) bool {
	return slices.ContainsFunc(c.Protocols, func(p Protocol) bool { return p.Name == protocol })
}

// ClassicJoin asks to become, or to stay, a member by the classic protocol.
type ClassicJoin struct {
	MemberID         string // "": not a member yet
	NewMemberID      string // the id to give then
	InstanceID       string
	ClientID, Host   string
	ProtocolType     string
	Protocols        []Protocol
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	IDFirst          bool // a new dynamic member is only told its id
}

// ClassicJoined is the answer to a ClassicJoin. There is no leader: the group
// assigns.
type ClassicJoined struct {
	MemberID   string
	Generation int32 // the member's epoch
	Protocol   string
}

// ClassicSync fetches the assignment of a member of the classic protocol.
type ClassicSync struct {
	MemberID, InstanceID   string
	Generation             int32
	ProtocolType, Protocol string // "": not said
}

// ClassicSynced is the answer to a ClassicSync.
type ClassicSynced struct {
	Protocol   string
	Assignment []byte
}

// Join takes in or keeps a member of the classic protocol. It answers at once:
// who shall get partitions that others have yet to give up joins again for them.
// With an error there is a MemberID nevertheless.
func (s *State) Join(now time.Time, t *Topics, r ClassicJoin) (ClassicJoined, error) {
	id := cmp.Or(r.MemberID, r.NewMemberID)
	m, err := s.joining(r, id)
	if err != nil {
		return ClassicJoined{MemberID: r.MemberID, Generation: -1}, err
	}
	sub, err := parseSubscription(r.Protocols[0].Metadata)
	if err != nil {
		return ClassicJoined{MemberID: r.MemberID, Generation: -1}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if r.MemberID == "" && r.InstanceID == "" && r.IDFirst {
		return ClassicJoined{MemberID: id, Generation: -1}, ErrMemberIDRequired
	}

	// From here on nothing fails.
	isNew := m == nil
	switch {
	case isNew:
		m = &Member{ID: id, InstanceID: r.InstanceID}
		s.insert(m)
	case m.ID != id:
		s.replace(m, id)
	}
	set(s, m, &m.ClientID, r.ClientID)
	set(s, m, &m.Host, r.Host)
	set(s, m, &m.Rack, sub.rack)
	set(s, m, &m.RebalanceTimeout, r.RebalanceTimeout)
	set(s, m, &m.Assignor, "")
	if m.Classic == nil {
		s.classic++
	}
	m.Classic = &Classic{SessionTimeout: r.SessionTimeout, Protocols: r.Protocols}
	s.changed(m) // its protocols, which hold what it owns
	resubscribed := isNew
	if !slices.Equal(sub.names, m.Names()) || m.Regex() != "" {
		s.subscribe(m, sub.names, "", nil)
		resubscribed = true
	}
	s.advance(now, t, m, resubscribed, sub.owns(t))
	s.due(m, &m.revokeBy, time.Time{})
	s.due(m, &m.joinBy, time.Time{})
	s.due(m, &m.syncBy, now.Add(r.RebalanceTimeout))
	s.touch(now, m)
	return ClassicJoined{MemberID: m.ID, Generation: m.Epoch, Protocol: r.Protocols[0].Name}, nil
}

// joining returns the member that joins again, or whose place the sender takes;
// nil when it is to be a new one.
func (s *State) joining(r ClassicJoin, id string) (*Member, error) {
	m := s.byID[id]
	if r.InstanceID != "" {
		holder := s.byInstance[r.InstanceID]
		switch {
		case holder == nil && (r.MemberID != "" || m != nil):
			return nil, ErrUnknownMember
		case holder != nil && r.MemberID != "" && holder.ID != r.MemberID:
			return nil, ErrFencedInstance
		}
		m = holder
	}
	switch {
	case m == nil && len(s.members) >= s.limits.MembersMax:
		return nil, ErrFull
	case r.ProtocolType != ClassicType || len(r.Protocols) == 0 || !s.supports(r.Protocols, m):
		return nil, ErrProtocol
	}
	return m, nil
}

// supports reports whether one of the protocols is known to all members of the
// classic protocol but without.
func (s *State) supports(protocols []Protocol, without *Member) bool {
	return slices.ContainsFunc(protocols, func(p Protocol) bool {
		return !slices.ContainsFunc(s.members, func(m *Member) bool {
			return m != without && m.Classic != nil && !m.Classic.knows(p.Name)
		})
	})
}

// findClassic returns the member that a request of the classic protocol is of.
func (s *State) findClassic(id, instance string) (*Member, error) {
	m, err := s.find(id, instance)
	if err == nil && m.Classic == nil {
		return nil, ErrUnknownMember
	}
	return m, err
}

// Sync returns what a member of the classic protocol may read.
func (s *State) Sync(now time.Time, t *Topics, r ClassicSync) (ClassicSynced, error) {
	m, err := s.findClassic(r.MemberID, r.InstanceID)
	if err != nil {
		return ClassicSynced{}, err
	}
	protocol := m.Classic.Protocols[0]
	switch {
	case r.Generation != m.Epoch:
		return ClassicSynced{}, ErrIllegalGeneration
	case r.ProtocolType != "" && r.ProtocolType != ClassicType, r.Protocol != "" && r.Protocol != protocol.Name:
		return ClassicSynced{}, ErrProtocol
	case s.epoch > m.Epoch && m.Status != Unrevoked:
		s.rejoin(now, m)
		return ClassicSynced{}, ErrRebalancing
	}
	s.due(m, &m.syncBy, time.Time{})
	s.touch(now, m)
	return ClassicSynced{Protocol: protocol.Name, Assignment: encodeAssignment(m.Assigned, t, versionOf(protocol.Metadata))}, nil
}

// ClassicHeartbeat keeps a member of the classic protocol alive, and tells it to
// join again when the group has moved on, also after it has given up what it was
// to, or when others have given up what it is to get.
func (s *State) ClassicHeartbeat(now time.Time, id, instance string, generation int32) error {
	m, err := s.findClassic(id, instance)
	if err != nil {
		return err
	}
	if generation != m.Epoch {
		return ErrIllegalGeneration
	}
	s.touch(now, m)
	if m.Epoch < s.epoch || m.Status == Unreleased && !s.waits(m) {
		s.rejoin(now, m)
		return ErrRebalancing
	}
	return nil
}

// rejoin gives a member of the classic protocol the time of a rebalance to join
// again, from when it was told so first.
func (s *State) rejoin(now time.Time, m *Member) {
	if m.joinBy.IsZero() {
		s.due(m, &m.joinBy, now.Add(m.RebalanceTimeout))
	}
}

// ClassicLeave removes a member of the classic protocol. A static one may be named
// by its instance id alone.
func (s *State) ClassicLeave(id, instance string) error {
	if instance != "" && id == "" {
		if m := s.byInstance[instance]; m != nil {
			id = m.ID
		}
	}
	m, err := s.findClassic(id, instance)
	if err != nil {
		return err
	}
	s.remove(m)
	return nil
}

// Committable checks that a member may commit offsets of partitions. One of the
// consumer protocol may with an epoch that it has left meanwhile, if it has held
// them all since (KIP-1251): nobody else has read them, and the answer that raised
// its epoch may have crossed its commit. Who is no member may while the group is
// empty.
func (s *State) Committable(id, instance string, epoch int32, partitions iter.Seq[topic.Partition]) error {
	if epoch < 0 && len(s.members) == 0 {
		return nil
	}
	m, err := s.find(id, instance)
	if err != nil {
		return err
	}
	err = m.current(epoch)
	if err == nil || m.Classic != nil || epoch <= 0 || epoch > m.Epoch {
		return err
	}
	for p := range partitions {
		if h := s.holders[p]; h.by != m || h.since > epoch {
			return err
		}
	}
	return nil
}

// Fetchable checks that a member may fetch committed offsets. Who does not say
// that it is one may always.
func (s *State) Fetchable(id string, epoch int32) error {
	if id == "" && epoch < 0 {
		return nil
	}
	m := s.byID[id]
	if m == nil {
		return ErrUnknownMember
	}
	return m.current(epoch)
}

func (m *Member) current(epoch int32) error {
	switch {
	case epoch == m.Epoch:
		return nil
	case m.Classic != nil:
		return ErrIllegalGeneration
	}
	return fmt.Errorf("%w: %d, not %d", ErrStaleEpoch, m.Epoch, epoch)
}

// ClassicGroup is a classic group as it becomes, or as it was made from, a State.
type ClassicGroup struct {
	Generation int32
	Members    []ClassicMember
}

// ClassicMember is one member of a ClassicGroup.
type ClassicMember struct {
	ID, InstanceID   string
	ClientID, Host   string
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	Protocols        []Protocol
	Assignment       []byte
}

// FromClassic returns the group that goes on where a classic one of consumers is:
// its members keep what they have, and are told to join again with the first
// change. ErrNotConsumers.
func FromClassic(limits Limits, now time.Time, t *Topics, g ClassicGroup) (*State, error) {
	s := NewState(limits)
	s.epoch, s.assignmentEpoch = g.Generation, g.Generation
	for _, c := range g.Members {
		if len(c.Protocols) == 0 {
			return nil, fmt.Errorf("%w: %s has none", ErrNotConsumers, c.ID)
		}
		sub, err := parseSubscription(c.Protocols[0].Metadata)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrNotConsumers, c.ID, err)
		}
		// Between a join and its sync a member has what it says that it owns.
		has := sub.owns(t)
		if len(c.Assignment) > 0 {
			if has, err = parseAssignment(c.Assignment, t); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrNotConsumers, c.ID, err)
			}
		}
		m := &Member{
			ID: c.ID, InstanceID: c.InstanceID, Rack: sub.rack, ClientID: c.ClientID, Host: c.Host,
			RebalanceTimeout: c.RebalanceTimeout, Epoch: g.Generation, PreviousEpoch: g.Generation,
			Classic: &Classic{SessionTimeout: c.SessionTimeout, Protocols: c.Protocols},
		}
		s.insert(m)
		s.subscribe(m, sub.names, "", nil)
		// A leader may have given one partition to two: the first has it.
		for p := range has.All() {
			if s.holders[p].by != nil {
				has = has.without(Assignment{p.Topic: {p.Index}})
			}
		}
		s.hold(m, has, nil)
		s.target[m.ID] = has
		s.changed(m)
		s.touch(now, m)
	}
	s.look(t, true)
	return s, nil
}

// ToClassic returns the classic group that goes on where this one is, whose
// members must all speak the classic protocol. Its generation is the epoch that
// they have: the last one to leave has raised the group's alone.
func (s *State) ToClassic(t *Topics) ClassicGroup {
	g := ClassicGroup{Generation: s.assignmentEpoch}
	for _, m := range s.members {
		g.Members = append(g.Members, ClassicMember{
			ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.Host,
			SessionTimeout: m.Classic.SessionTimeout, RebalanceTimeout: m.RebalanceTimeout, Protocols: m.Classic.Protocols,
			Assignment: encodeAssignment(s.target[m.ID], t, versionOf(m.Classic.Protocols[0].Metadata)),
		})
	}
	return g
}

// subscribed is what the embedded protocol of consumers says when they join.
type subscribed struct {
	names []string
	owned []kmsg.ConsumerMemberMetadataOwnedPartition
	rack  string
}

func parseSubscription(metadata []byte) (subscribed, error) {
	var parsed kmsg.ConsumerMemberMetadata
	if err := parsed.ReadFrom(metadata); err != nil {
		return subscribed{}, fmt.Errorf("subscription: %w", err)
	}
	sub := subscribed{names: sortedNames(parsed.Topics), owned: parsed.OwnedPartitions}
	if parsed.Rack != nil {
		sub.rack = *parsed.Rack
	}
	return sub, nil
}

// Subscription returns the names that the embedded protocol's metadata subscribes
// to, ascending.
func Subscription(metadata []byte) ([]string, error) {
	sub, err := parseSubscription(metadata)
	return sub.names, err
}

// owns is what the member says that it holds, never nil. Topics that are gone are
// left out.
func (u subscribed) owns(t *Topics) Assignment {
	return identified(t, func(yield func(string, []int32) bool) {
		for _, o := range u.owned {
			if !yield(o.Topic, o.Partitions) {
				return
			}
		}
	})
}

func parseAssignment(assignment []byte, t *Topics) (Assignment, error) {
	var parsed kmsg.ConsumerMemberAssignment
	if err := parsed.ReadFrom(assignment); err != nil {
		return nil, fmt.Errorf("assignment: %w", err)
	}
	return identified(t, func(yield func(string, []int32) bool) {
		for _, o := range parsed.Topics {
			if !yield(o.Topic, o.Partitions) {
				return
			}
		}
	}), nil
}

// identified makes a set of what is given by names.
func identified(t *Topics, named iter.Seq2[string, []int32]) Assignment {
	return NewAssignment(func(yield func(topic.ID, []int32) bool) {
		for name, indexes := range named {
			one, ok := t.Named(name)
			if !ok {
				continue
			}
			exist := slices.DeleteFunc(slices.Clone(indexes), func(i int32) bool { return i < 0 || i >= one.Partitions })
			if !yield(one.ID, exist) {
				return
			}
		}
	})
}

// versionOf is the version of the embedded protocol that a member speaks.
func versionOf(metadata []byte) int16 {
	var parsed kmsg.ConsumerMemberMetadata
	if err := parsed.ReadFrom(metadata); err != nil {
		return 0
	}
	return min(parsed.Version, 3)
}

// encodeAssignment is a in the embedded protocol, topics by name.
func encodeAssignment(a Assignment, t *Topics, version int16) []byte {
	msg := kmsg.NewConsumerMemberAssignment()
	msg.Version = version
	for _, id := range a.Topics() {
		one, ok := t.Identified(id)
		if !ok {
			continue // deleted: nothing to read there
		}
		entry := kmsg.NewConsumerMemberAssignmentTopic()
		entry.Topic, entry.Partitions = one.Name, a[id]
		msg.Topics = append(msg.Topics, entry)
	}
	return msg.AppendTo(nil)
}
