package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker/group/consumer"
)

// SyncRequest fetches a member's assignment; the leader's hands them all in.
type SyncRequest struct {
	MemberID, InstanceID   string
	Generation             int32
	ProtocolType, Protocol string // "": not said
	Assignments            map[string][]byte
}

// Synced is the answer to a SyncRequest.
type Synced struct {
	ProtocolType, Protocol string
	Assignment             []byte
}

// Sync answers when the leader has handed in the assignments.
func (s *State) Sync(now time.Time, r SyncRequest, t Ticket) {
	m, err := s.find(r.MemberID, r.InstanceID)
	switch {
	case err != nil:
	case r.Generation != s.generation:
		err = ErrIllegalGeneration
	case r.ProtocolType != "" && r.ProtocolType != s.protocolType, r.Protocol != "" && r.Protocol != s.protocol:
		err = ErrProtocol
	case s.phase == Preparing:
		err = ErrRebalancing
	}
	if err != nil {
		s.answer(Answer{To: t, Err: err})
		return
	}
	s.keepAlive(now, m)
	if m.sync != nil {
		s.answer(Answer{To: m.sync, Err: ErrRebalancing}) // asked again meanwhile
	}
	m.sync = t
	s.fetched(m, true)
	if s.phase == Completing && m.ID == s.leader {
		for _, other := range s.members {
			other.Assignment = r.Assignments[other.ID]
		}
		s.phase = Stable
		s.keep()
		for _, other := range s.members {
			s.assigned(now, other)
		}
	}
	if s.phase == Stable {
		s.assigned(now, m)
	}
	if s.unsynced == 0 {
		s.syncBy = time.Time{}
	}
}

// assigned answers a member that waits for its assignment.
func (s *State) assigned(now time.Time, m *Member) {
	if m.sync == nil {
		return
	}
	s.answer(Answer{To: m.sync, Synced: Synced{s.protocolType, s.protocol, m.Assignment}})
	m.sync = nil
	s.keepAlive(now, m)
}

// Heartbeat keeps a member alive, and tells it of a rebalance.
func (s *State) Heartbeat(now time.Time, id, instance string, generation int32) error {
	m, err := s.find(id, instance)
	if err != nil {
		return err
	}
	if generation != s.generation {
		return ErrIllegalGeneration
	}
	s.keepAlive(now, m)
	if s.phase == Preparing {
		return ErrRebalancing
	}
	return nil
}

// Leave removes a member. A static one may be named by its instance id alone.
func (s *State) Leave(now time.Time, id, instance, reason string) error {
	if _, ok := s.pending[id]; ok && instance == "" {
		delete(s.pending, id)
		s.completeIfAllJoined(now)
		return nil
	}
	if instance != "" && id == "" {
		if m := s.instance(instance); m != nil {
			id = m.ID
		}
	}
	m, err := s.find(id, instance)
	if err != nil {
		return err
	}
	s.remove(now, because("a member left", m.ID, reason), m)
	return nil
}

// remove takes members out, which everybody else must hear of.
func (s *State) remove(now time.Time, why string, members ...*Member) {
	for _, m := range members {
		s.dismiss(m, ErrUnknownMember)
		s.unlink(m)
		if s.leader == m.ID {
			s.leader = ""
		}
	}
	s.members = slices.DeleteFunc(s.members, func(m *Member) bool { return s.byID[m.ID] != m })
	if s.leader == "" && len(s.members) > 0 {
		s.leader = s.members[0].ID
	}
	if s.phase == Stable || s.phase == Completing {
		s.prepare(now, why)
		return
	}
	s.completeIfAllJoined(now)
}

// Abandon gives up a parked request whose client is gone. The member has until
// the end of its session to come back.
func (s *State) Abandon(now time.Time, t Ticket) {
	for _, m := range s.members {
		if m.join == t || m.sync == t {
			s.park(m, nil)
			m.sync = nil
			s.keepAlive(now, m)
		}
	}
}

// Committable checks that a member may commit offsets, which keeps it alive. Who
// is no member, and says so (generation −1), may commit while the group is empty.
func (s *State) Committable(now time.Time, id, instance string, generation int32) error {
	if generation < 0 && s.phase == Empty {
		return nil
	}
	if generation < 0 && id == "" && instance == "" {
		return ErrUnknownMember
	}
	m, err := s.find(id, instance)
	switch {
	case err != nil:
		return err
	case generation != s.generation:
		return ErrIllegalGeneration
	case s.phase == Completing:
		return ErrRebalancing
	}
	s.keepAlive(now, m)
	return nil
}

// Subscribed implements kind. Topics are known of members who use the embedded
// protocol of Kafka's consumers, and say what can be read; others may read all.
func (s *State) Subscribed(topic string) bool {
	if s.protocolType != consumer.ClassicType {
		return len(s.members) > 0
	}
	for _, m := range s.members {
		for _, p := range m.Protocols {
			if s.protocol != "" && p.Name != s.protocol {
				continue
			}
			topics, err := consumer.Subscription(p.Metadata)
			if err != nil || slices.Contains(topics, topic) {
				return true
			}
		}
	}
	return false
}

// Since implements kind, as KIP-211 has it: offsets of an empty group expire from
// when it became empty, those of topics that nobody reads any more from when they
// were committed, and all others stay.
func (s *State) Since(topic string, committed time.Time) (time.Time, bool) {
	switch {
	case s.phase == Empty && s.since.After(committed):
		return s.since, true
	case s.phase == Empty:
		return committed, true
	case s.phase != Stable || s.protocolType != consumer.ClassicType:
		return time.Time{}, false
	}
	return committed, !s.Subscribed(topic)
}

// Expire does what is due at now: members whose session is over are removed, and
// a rebalance goes on without those who are late.
func (s *State) Expire(now time.Time) {
	defer s.rewatch()
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	for id, deadline := range s.pending {
		if due(deadline) {
			delete(s.pending, id)
			s.completeIfAllJoined(now)
		}
	}
	var gone []*Member
	late := due(s.syncBy)
	for _, m := range s.members {
		if !m.parked() && due(m.deadline) || late && !m.synced {
			gone = append(gone, m)
		}
	}
	if late {
		s.syncBy = time.Time{}
	}
	if len(gone) > 0 {
		why := because("a member was not heard of", gone[0].ID, "")
		if len(gone) > 1 {
			why = fmt.Sprintf("%d members were not heard of", len(gone))
		}
		s.remove(now, why, gone...)
	}
	if s.phase != Preparing || !due(s.rebalanceAt) {
		return
	}
	if s.initial && s.joinedSince && now.Before(s.initialUntil) {
		// More came during the delay: wait as long again, up to the bound.
		s.joinedSince = false
		s.rebalanceAt = now.Add(min(s.limits.InitialDelay, s.initialUntil.Sub(now)))
		return
	}
	s.initial = false
	s.complete(now)
}
