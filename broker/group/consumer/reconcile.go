package consumer

import (
	"container/heap"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
)

// reconcile brings a member as near to its target as it can be now. owned is what
// it says that it holds; nil when it does not say.
//
// It first gives up what the target does not give it, and keeps its epoch until it
// has. Then its epoch becomes that of the target, and it gets what of it nobody
// else holds; what others have yet to give up it gets later, in the same epoch.
func (s *State) reconcile(now time.Time, m *Member, owned Assignment) {
	if m.reached(s.assignmentEpoch) {
		return
	}
	epoch, revoking := m.Epoch, m.Revoking
	if m.Status == Unrevoked {
		if !released(revoking, owned) {
			return
		}
		revoking = nil
		epoch++ // it has done what it was told in that epoch
	}
	target := s.target[m.ID]
	keep, drop := m.Assigned.split(target)
	if len(drop) > 0 && !released(drop, owned) {
		s.move(m, Unrevoked, epoch, keep, drop)
		if m.Classic == nil { // a classic one has the time that a rebalance takes
			s.due(m, &m.revokeBy, now.Add(m.RebalanceTimeout))
		}
		return
	}
	status, free := Settled, make(Assignment)
	for id, indexes := range target.without(keep) {
		for _, index := range indexes {
			if other := s.holders[topic.Partition{Topic: id, Index: index}].by; other == nil || other == m {
				free[id] = append(free[id], index)
			} else {
				status = Unreleased
			}
		}
		if len(free[id]) == 0 {
			delete(free, id)
		}
	}
	s.move(m, status, s.assignmentEpoch, keep.with(free), nil)
	s.due(m, &m.revokeBy, time.Time{})
}

// released reports whether a member that says what it holds has none of a.
func released(a, owned Assignment) bool { return owned != nil && !a.meets(owned) }

// move sets where a member stands.
func (s *State) move(m *Member, status Status, epoch int32, assigned, revoking Assignment) {
	same := m.Assigned.Equal(assigned) && m.Revoking.Equal(revoking)
	if same && m.Status == status && m.Epoch == epoch && m.PreviousEpoch == epoch {
		return
	}
	m.Status, m.PreviousEpoch, m.Epoch = status, m.Epoch, epoch
	if !same {
		s.hold(m, assigned, revoking)
	}
	s.changed(m)
}

// due sets one of a member's deadlines.
func (s *State) due(m *Member, deadline *time.Time, at time.Time) {
	if !deadline.Equal(at) {
		*deadline = at
		heap.Fix(&s.deadlines, m.place)
	}
}

// waits reports whether somebody else holds what the member is still to get.
func (s *State) waits(m *Member) bool {
	for id, indexes := range s.target[m.ID].without(m.Assigned) {
		for _, index := range indexes {
			if other := s.holders[topic.Partition{Topic: id, Index: index}].by; other != nil && other != m {
				return true
			}
		}
	}
	return false
}
