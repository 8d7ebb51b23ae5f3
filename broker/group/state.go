package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker/group/consumer"
)

// Phase is where a group stands in its life.
type Phase string

// The phases, by the names that Kafka's tools show.
const (
	Empty      Phase = "Empty"               // no members
	Preparing  Phase = "PreparingRebalance"  // members are to join again
	Completing Phase = "CompletingRebalance" // the leader is to hand in assignments
	Stable     Phase = "Stable"              // every member has its assignment
	Dead       Phase = "Dead"                // gone; only for descriptions
)

// Limits bound what members may ask for.
type Limits struct {
	SessionTimeoutMin, SessionTimeoutMax time.Duration
	// InitialDelay is how long an empty group waits for more members after its
	// first, so that a fleet that starts together rebalances once.
	InitialDelay time.Duration
	MembersMax   int
	// ConsumerSessionTimeout is that of members of the consumer protocol, who do
	// not say one.
	ConsumerSessionTimeout time.Duration
}

func (l Limits) consumer() consumer.Limits {
	return consumer.Limits{SessionTimeout: l.ConsumerSessionTimeout, MembersMax: l.MembersMax}
}

// Ticket is a parked request. Exactly one Answer with it comes out of the steps
// that follow, unless it is abandoned. It holds one Answer without blocking.
type Ticket chan Answer

// Answer ends the wait of a parked request.
type Answer struct {
	To     Ticket
	Joined Joined // of a Join without an error
	Synced Synced // of a Sync without an error
	Err    error
}

// Protocol is one way of assigning that a member knows.
type Protocol = consumer.Protocol

// Member is one member of a group.
type Member struct {
	ID         string
	InstanceID string // "": dynamic
	ClientID   string
	Host       string
	Protocols  []Protocol
	Assignment []byte

	sessionTimeout   time.Duration
	rebalanceTimeout time.Duration
	deadline         time.Time // given up then, unless a request of it is parked
	join, sync       Ticket    // parked requests
	synced           bool      // has fetched this generation's assignment
}

// parked reports whether the member waits for us: then it need not heartbeat.
func (m *Member) parked() bool { return m.join != nil || m.sync != nil }

func (m *Member) metadata(protocol string) []byte {
	for _, p := range m.Protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

func (m *Member) knows(protocol string) bool {
	return slices.ContainsFunc(m.Protocols, func(p Protocol) bool { return p.Name == protocol })
}

func sameProtocols(a, b []Protocol) bool {
	return slices.EqualFunc(a, b, func(a, b Protocol) bool { return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata) })
}

// State is one group.
type State struct {
	limits Limits

	phase        Phase
	generation   int32
	protocolType string
	protocol     string
	leader       string    // member id
	members      []*Member // in the order in which they joined
	pending      map[string]time.Time

	// See members.go.
	byID, byInstance  map[string]*Member
	knowing           map[string]int // how many members know a protocol
	joining, unsynced int            // members whose join is parked; who are to fetch their assignment
	soonest           time.Time      // no session ends before it; zero: none does

	// While Preparing: when to go on without those who have not joined.
	rebalanceAt time.Time
	// initial: the group was empty, and waits for more members until
	// rebalanceAt, which moves on while they come, up to initialUntil.
	initial      bool
	initialUntil time.Time
	joinedSince  bool // a member came since rebalanceAt was set
	// While members have yet to sync: when they are given up.
	syncBy time.Time

	why     string    // it rebalances, the first reason
	since   time.Time // when it became Empty
	kept    *durable  // what is to be stored; nil: nothing yet
	changed bool      // kept is another one since Changed was called

	answers []Answer
}

// keep notes what is to be stored: the state as it is now, in which the group
// can go on. That is when it has become Stable or Empty, and when the place of a
// static member has a new owner. What happens between those is begun anew by the
// members after a restart.
func (s *State) keep() {
	s.kept = &durable{
		head: classicHead{
			phase: s.phase, generation: s.generation, since: s.since,
			protocolType: s.protocolType, protocol: s.protocol, leader: s.leader, members: len(s.members),
		},
		members: make([]Member, len(s.members)),
	}
	for i, m := range s.members {
		s.kept.members[i] = *m
	}
	s.changed = true
}

// Changed implements kind.
func (s *State) Changed() bool {
	changed := s.changed
	s.changed = false
	return changed
}

// Durable implements kind.
func (s *State) Durable() Stored {
	if s.kept == nil {
		return Stored{}
	}
	return s.kept.encode()
}

// Summary implements kind.
func (s *State) Summary() Summary {
	return Summary{
		Kind: Classic, ProtocolType: s.protocolType, Phase: s.phase, Generation: s.generation, Members: len(s.members), Reason: s.why,
	}
}

// NewState returns an empty group.
func NewState(limits Limits) *State {
	return &State{
		limits: limits, phase: Empty, pending: make(map[string]time.Time),
		byID: make(map[string]*Member), byInstance: make(map[string]*Member), knowing: make(map[string]int),
	}
}

// Take returns the answers of the steps since the last Take.
func (s *State) Take() []Answer {
	answers := s.answers
	s.answers = nil
	return answers
}

// Idle implements kind.
func (s *State) Idle() bool { return len(s.members) == 0 && len(s.pending) == 0 }

func (s *State) answer(a Answer) { s.answers = append(s.answers, a) }

func (s *State) member(id string) *Member { return s.byID[id] }

func (s *State) instance(id string) *Member { return s.byInstance[id] }

// find returns the member that a request names by its id and, for a static one,
// its instance id.
func (s *State) find(id, instance string) (*Member, error) {
	if instance != "" {
		m := s.instance(instance)
		switch {
		case m == nil:
			return nil, ErrUnknownMember
		case m.ID != id:
			return nil, ErrFencedInstance
		}
		return m, nil
	}
	if m := s.member(id); m != nil {
		return m, nil
	}
	return nil, ErrUnknownMember
}

// supports reports whether a member with these protocols can be one of the group.
func (s *State) supports(protocolType string, protocols []Protocol, without *Member) bool {
	if protocolType == "" || len(protocols) == 0 {
		return false
	}
	others := len(s.members)
	if without != nil {
		others--
	}
	if others == 0 {
		return true
	}
	return protocolType == s.protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool { return s.known(p.Name, without) })
}

// choose returns the protocol that all members know and most of them prefer.
func (s *State) choose() string {
	votes := make(map[string]int)
	best := ""
	for _, m := range s.members {
		for _, p := range m.Protocols {
			if !s.known(p.Name, nil) {
				continue
			}
			votes[p.Name]++
			break // a member has one vote, for the first that all know
		}
	}
	for _, m := range s.members { // in member order, so that a tie has one outcome
		for _, p := range m.Protocols {
			if votes[p.Name] > votes[best] {
				best = p.Name
			}
		}
	}
	return best
}

// Next returns when Expire has something to do; zero for never.
func (s *State) Next() time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if !s.Idle() {
		earlier(s.soonest)
	}
	earlier(s.rebalanceAt)
	earlier(s.syncBy)
	return next
}

// Description is a group as the tools show it.
type Description struct {
	Phase        Phase
	ProtocolType string
	Protocol     string
	Members      []MemberDescription
}

// MemberDescription is one member of a Description.
type MemberDescription struct {
	ID, InstanceID, ClientID, Host string
	Metadata, Assignment           []byte
}

// Describe copies what the tools show. Metadata and assignments are those of a
// Stable group; they are not settled in any other phase.
func (s *State) Describe() Description {
	d := Description{Phase: s.phase, ProtocolType: s.protocolType}
	if s.phase == Stable {
		d.Protocol = s.protocol
	}
	for _, m := range s.members {
		member := MemberDescription{ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.Host}
		if s.phase == Stable {
			member.Metadata, member.Assignment = m.metadata(s.protocol), m.Assignment
		}
		d.Members = append(d.Members, member)
	}
	return d
}
