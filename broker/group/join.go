package group

import (
	"fmt"
	"slices"
	"time"
)

// JoinRequest asks to become, or to stay, a member.
type JoinRequest struct {
	MemberID         string // "": not a member yet
	NewMemberID      string // the id to give then
	InstanceID       string
	ClientID, Host   string
	ProtocolType     string
	Protocols        []Protocol
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	// IDFirst: a new dynamic member is only told its id and joins again with it,
	// so that a lost answer leaves no ghost among the members.
	IDFirst bool
	// CanSkip: a static leader that comes back understands that its group goes
	// on with the assignments it has.
	CanSkip bool
	Reason  string // the client's own words; "" for none
}

// Joined is the answer to a JoinRequest.
type Joined struct {
	Generation     int32
	ProtocolType   string
	Protocol       string
	Leader         string
	MemberID       string
	Members        []JoinedMember // only for the leader
	SkipAssignment bool
}

// JoinedMember is what the leader learns of a member.
type JoinedMember struct {
	ID, InstanceID string
	Metadata       []byte
}

// Join takes in a member. The answer comes when all members have joined, or at once.
func (s *State) Join(now time.Time, r JoinRequest, t Ticket) {
	if err := s.join(now, r, t); err != nil {
		id := r.MemberID
		if err == ErrMemberIDRequired {
			id = r.NewMemberID
		}
		s.answer(Answer{To: t, Joined: Joined{Generation: -1, MemberID: id}, Err: err})
	}
}

func (s *State) join(now time.Time, r JoinRequest, t Ticket) error {
	if err := s.limits.checkSession(r.SessionTimeout); err != nil {
		return err
	}
	if r.MemberID == "" {
		return s.joinNew(now, r, t)
	}
	if _, ok := s.pending[r.MemberID]; ok && r.InstanceID == "" {
		if !s.supports(r.ProtocolType, r.Protocols, nil) {
			return ErrProtocol
		}
		delete(s.pending, r.MemberID)
		s.add(now, r.MemberID, r, t)
		return nil
	}
	m, err := s.find(r.MemberID, r.InstanceID)
	if err != nil {
		return err
	}
	if !s.supports(r.ProtocolType, r.Protocols, m) {
		return ErrProtocol
	}
	changed := !sameProtocols(m.Protocols, r.Protocols)
	switch {
	case s.phase == Completing && !changed, s.phase == Stable && !changed && m.ID != s.leader:
		// Its answer was lost, or it merely asks again: nothing has changed.
		s.keepAlive(now, m)
		s.answer(Answer{To: t, Joined: s.joined(m)})
		return nil
	}
	s.update(now, m, r, t)
	why := "the leader joined again"
	if changed {
		why = "a member changed its protocols"
	}
	s.prepare(now, because(why, m.ID, r.Reason))
	return nil
}

func (l Limits) checkSession(timeout time.Duration) error {
	if timeout < l.SessionTimeoutMin || timeout > l.SessionTimeoutMax {
		return fmt.Errorf("%w: %v, allowed are %v to %v", ErrSessionTimeout, timeout, l.SessionTimeoutMin, l.SessionTimeoutMax)
	}
	return nil
}

// because says why a group rebalances, with the client's own reason.
func because(why, member, reason string) string {
	why += ": " + member
	if reason != "" {
		why += " (client reason: " + reason + ")"
	}
	return why
}

// joinNew takes in somebody who has no member id.
func (s *State) joinNew(now time.Time, r JoinRequest, t Ticket) error {
	if old := s.instance(r.InstanceID); old != nil {
		return s.replace(now, old, r, t)
	}
	if !s.supports(r.ProtocolType, r.Protocols, nil) {
		return ErrProtocol
	}
	if len(s.members)+len(s.pending) >= s.limits.MembersMax {
		return ErrGroupFull
	}
	if r.IDFirst && r.InstanceID == "" {
		s.pending[r.NewMemberID] = now.Add(r.SessionTimeout)
		s.watch(now.Add(r.SessionTimeout))
		return ErrMemberIDRequired
	}
	s.add(now, r.NewMemberID, r, t)
	return nil
}

// add makes a new member, which everybody must hear of.
func (s *State) add(now time.Time, id string, r JoinRequest, t Ticket) {
	m := &Member{ID: id, InstanceID: r.InstanceID}
	s.insert(m)
	s.protocolType = r.ProtocolType
	if s.leader == "" {
		s.leader = id
	}
	s.joinedSince = true
	s.update(now, m, r, t)
	s.prepare(now, because("a member joined", id, r.Reason))
}

// replace gives the place of a static member to its next life, which keeps the
// assignment: a restart within the session timeout moves nothing.
func (s *State) replace(now time.Time, m *Member, r JoinRequest, t Ticket) error {
	if !s.supports(r.ProtocolType, r.Protocols, m) {
		return ErrProtocol
	}
	s.dismiss(m, ErrFencedInstance)
	before := s.leader
	wasLeader := m.ID == s.leader
	delete(s.byID, m.ID)
	m.ID = r.NewMemberID
	s.byID[m.ID] = m
	if wasLeader {
		s.leader = m.ID
	}
	s.update(now, m, r, t)
	if s.phase != Stable || s.choose() != s.protocol {
		s.prepare(now, because("a static member was replaced", m.ID, r.Reason))
		return nil
	}
	s.park(m, nil)
	joined := s.joined(m)
	switch {
	case wasLeader && r.CanSkip:
		joined.SkipAssignment = true
	case wasLeader:
		// It would assign anew if it took itself for the leader.
		joined.Leader, joined.Members = before, nil
	}
	s.keepAlive(now, m)
	s.answer(Answer{To: t, Joined: joined})
	s.keep()
	return nil
}

// update notes what a member says of itself, and parks its request.
func (s *State) update(now time.Time, m *Member, r JoinRequest, t Ticket) {
	s.dismiss(m, ErrUnknownMember) // only one request of a member waits
	s.alter(m, func() { m.ClientID, m.Host, m.Protocols = r.ClientID, r.Host, r.Protocols })
	m.sessionTimeout, m.rebalanceTimeout = r.SessionTimeout, r.RebalanceTimeout
	s.park(m, t)
	s.keepAlive(now, m)
}

// dismiss answers a member's parked requests with err.
func (s *State) dismiss(m *Member, err error) {
	for _, t := range []Ticket{m.join, m.sync} {
		if t != nil {
			s.answer(Answer{To: t, Joined: Joined{Generation: -1, MemberID: m.ID}, Err: err})
		}
	}
	s.park(m, nil)
	m.sync = nil
}

func (s *State) keepAlive(now time.Time, m *Member) {
	m.deadline = now.Add(m.sessionTimeout)
	s.watch(m.deadline)
}

// prepare begins a rebalance, or goes on with one.
func (s *State) prepare(now time.Time, why string) {
	if s.phase != Preparing {
		s.why = why
	}
	switch s.phase {
	case Empty:
		s.initial = true
		s.joinedSince = false
		s.rebalanceAt = now.Add(s.limits.InitialDelay)
		s.initialUntil = now.Add(s.longestRebalance())
	case Completing, Stable:
		for _, m := range s.members {
			if m.sync != nil {
				s.answer(Answer{To: m.sync, Err: ErrRebalancing})
				m.sync = nil
				s.keepAlive(now, m)
			}
		}
		s.rebalanceAt = now.Add(s.longestRebalance())
	}
	s.syncBy = time.Time{}
	s.phase = Preparing
	s.completeIfAllJoined(now)
}

func (s *State) longestRebalance() time.Duration {
	var longest time.Duration
	for _, m := range s.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

func (s *State) completeIfAllJoined(now time.Time) {
	if s.phase != Preparing {
		return
	}
	if s.initial && s.limits.InitialDelay > 0 && len(s.members) > 0 {
		return // only Expire ends that wait
	}
	if len(s.pending) > 0 || s.joining < len(s.members) {
		return
	}
	s.complete(now)
}

// awayPause is the least between two looks at a group of which only static members
// that are away are left: they may have said that a rebalance takes no time.
const awayPause = time.Second

// complete begins the next generation with those who have joined. Static members
// that have not keep their place until their session ends.
func (s *State) complete(now time.Time) {
	s.members = slices.DeleteFunc(s.members, func(m *Member) bool {
		late := m.join == nil && m.InstanceID == ""
		if late {
			s.unlink(m)
		}
		return late
	})
	s.initial, s.rebalanceAt = false, time.Time{}
	if len(s.members) == 0 {
		s.generation++
		s.phase, s.leader, s.protocol, s.since = Empty, "", "", now
		s.keep()
		return
	}
	if leader := s.member(s.leader); leader == nil || leader.join == nil {
		next := slices.IndexFunc(s.members, func(m *Member) bool { return m.join != nil })
		if next < 0 {
			// Only static members that are away: wait for one of them, or for
			// the end of their sessions.
			s.rebalanceAt = now.Add(max(s.longestRebalance(), awayPause))
			return
		}
		s.leader = s.members[next].ID
	}
	s.generation++
	s.phase = Completing
	s.protocol = s.choose()
	s.syncBy = now.Add(s.longestRebalance())
	for _, m := range s.members {
		m.Assignment = nil
		s.fetched(m, m.join == nil)
		if m.join == nil {
			continue
		}
		s.answer(Answer{To: m.join, Joined: s.joined(m)})
		s.park(m, nil)
		s.keepAlive(now, m)
	}
}

// joined is what a member hears of the current generation.
func (s *State) joined(m *Member) Joined {
	j := Joined{Generation: s.generation, ProtocolType: s.protocolType, Protocol: s.protocol, Leader: s.leader, MemberID: m.ID}
	if m.ID == s.leader {
		for _, other := range s.members {
			j.Members = append(j.Members, JoinedMember{other.ID, other.InstanceID, other.metadata(s.protocol)})
		}
	}
	return j
}
