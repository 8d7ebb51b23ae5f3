package group

import "time"

// The members of a State are in a list, in the order in which they joined, and
// what the steps ask of all of them is kept beside it: a step of one member does
// not look at the others, or a large group would spend its rebalances on that.

// insert adds a member.
func (s *State) insert(m *Member) {
	s.members = append(s.members, m)
	s.byID[m.ID] = m
	if m.InstanceID != "" {
		s.byInstance[m.InstanceID] = m
	}
	s.count(m, 1)
}

// unlink forgets a member that is, or will be, taken out of the list.
func (s *State) unlink(m *Member) {
	delete(s.byID, m.ID)
	if s.byInstance[m.InstanceID] == m {
		delete(s.byInstance, m.InstanceID)
	}
	s.count(m, -1)
}

// count notes what a member adds to the sums over all, or no longer does.
func (s *State) count(m *Member, by int) {
	for name := range names(m.Protocols) {
		if s.knowing[name] += by; s.knowing[name] == 0 {
			delete(s.knowing, name)
		}
	}
	if m.join != nil {
		s.joining += by
	}
	if !m.synced {
		s.unsynced += by
	}
}

// alter changes what is counted of a member.
func (s *State) alter(m *Member, change func()) {
	s.count(m, -1)
	change()
	s.count(m, 1)
}

// park sets a member's parked JoinGroup, nil for none.
func (s *State) park(m *Member, t Ticket) {
	switch {
	case m.join == nil && t != nil:
		s.joining++
	case m.join != nil && t == nil:
		s.joining--
	}
	m.join = t
}

// fetched notes whether a member has fetched this generation's assignment.
func (s *State) fetched(m *Member, synced bool) {
	switch {
	case m.synced && !synced:
		s.unsynced++
	case !m.synced && synced:
		s.unsynced--
	}
	m.synced = synced
}

// names are those of protocols, each once.
func names(protocols []Protocol) map[string]struct{} {
	names := make(map[string]struct{}, len(protocols))
	for _, p := range protocols {
		names[p.Name] = struct{}{}
	}
	return names
}

// known reports whether all members know a protocol, without one, if not nil.
func (s *State) known(protocol string, without *Member) bool {
	knowing, members := s.knowing[protocol], len(s.members)
	if without != nil {
		members--
		if without.knows(protocol) {
			knowing--
		}
	}
	return knowing == members
}

// watch makes sure that Expire is called at t. It may be called earlier too, for
// what was put off since, and looks again then.
func (s *State) watch(t time.Time) {
	if s.soonest.IsZero() || t.Before(s.soonest) {
		s.soonest = t
	}
}

// rewatch finds when the next session ends.
func (s *State) rewatch() {
	s.soonest = time.Time{}
	for _, m := range s.members {
		if !m.parked() {
			s.watch(m.deadline)
		}
	}
	for _, t := range s.pending {
		s.watch(t)
	}
}
