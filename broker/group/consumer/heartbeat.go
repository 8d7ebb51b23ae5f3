package consumer

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Heartbeat is what a member of the consumer protocol says. What is nil, or a
// negative RebalanceTimeout, has not changed since it said it last.
type Heartbeat struct {
	MemberID    string
	NewMemberID string // the id to give to who has none
	Epoch       int32  // the member's, or EpochJoin, EpochLeave, EpochLeaveStatic
	InstanceID  *string
	Rack        *string
	// RebalanceTimeout is how long it may take to give up partitions.
	RebalanceTimeout time.Duration
	Names            []string
	Regex            *string
	Assignor         *string
	Owned            Assignment // what it holds
	ClientID, Host   string
}

// Beat is the answer to a Heartbeat.
type Beat struct {
	MemberID string
	Epoch    int32
	// Assignment is what the member may read from now on; nil: what it knows.
	Assignment Assignment
}

// check refuses what no group could make sense of.
func (r *Heartbeat) check() error {
	for _, one := range []struct {
		value *string
		name  string
	}{{r.InstanceID, "InstanceId"}, {r.Rack, "RackId"}} {
		if one.value != nil && *one.value == "" {
			return fmt.Errorf("%w: %s must not be empty", ErrInvalid, one.name)
		}
	}
	switch {
	case r.Epoch < EpochLeaveStatic:
		return fmt.Errorf("%w: there is no epoch %d", ErrInvalid, r.Epoch)
	case r.MemberID == "" && (r.Epoch != EpochJoin || r.NewMemberID == ""):
		return fmt.Errorf("%w: MemberId must not be empty", ErrInvalid)
	case r.Epoch == EpochLeaveStatic && r.InstanceID == nil:
		return fmt.Errorf("%w: InstanceId must not be null", ErrInvalid)
	}
	if r.Epoch == EpochJoin {
		switch {
		case r.RebalanceTimeout < 0:
			return fmt.Errorf("%w: who joins says its RebalanceTimeoutMs", ErrInvalid)
		case r.Owned == nil || len(r.Owned) > 0:
			return fmt.Errorf("%w: who joins holds nothing: TopicPartitions must be empty", ErrInvalid)
		case r.Names == nil && r.Regex == nil:
			return fmt.Errorf("%w: who joins says SubscribedTopicNames or SubscribedTopicRegex", ErrInvalid)
		}
	}
	if r.Assignor != nil && *r.Assignor != "" && !slices.Contains(Assignors(), *r.Assignor) {
		return fmt.Errorf("%w: %q; there are %v", ErrAssignor, *r.Assignor, Assignors())
	}
	return nil
}

// full reports whether the member says everything anew: it joins, or it does not
// know whether its last heartbeat was answered. Then it is told everything.
func (r *Heartbeat) full() bool {
	return r.RebalanceTimeout >= 0 && (r.Names != nil || r.Regex != nil) && r.Owned != nil
}

// Heartbeat takes in, keeps, moves on or lets go a member.
func (s *State) Heartbeat(now time.Time, t *Topics, r Heartbeat) (Beat, error) {
	if err := r.check(); err != nil {
		return Beat{}, err
	}
	if r.Epoch < 0 {
		return s.leave(r)
	}
	if r.MemberID == "" {
		r.MemberID = r.NewMemberID
	}
	m, err := s.admissible(r)
	if err != nil {
		return Beat{}, err
	}
	var pattern *regexp.Regexp
	if r.Regex != nil && *r.Regex != "" {
		if m != nil && m.Regex() == *r.Regex {
			pattern = m.subscription.pattern
		} else if pattern, err = CompileRegex(*r.Regex); err != nil {
			return Beat{}, fmt.Errorf("%w %q: %w", ErrRegex, *r.Regex, err)
		}
	}

	// From here on nothing fails.
	isNew := m == nil
	switch {
	case isNew:
		m = &Member{ID: r.MemberID}
		if r.InstanceID != nil {
			m.InstanceID = *r.InstanceID
		}
		s.insert(m)
	case r.Epoch == EpochJoin && (m.ID != r.MemberID || m.Epoch == EpochLeaveStatic):
		s.replace(m, r.MemberID)
	}
	before := m.Assigned
	resubscribed := s.update(m, r, pattern) || isNew
	s.advance(now, t, m, resubscribed, r.Owned)
	s.touch(now, m)

	beat := Beat{MemberID: m.ID, Epoch: m.Epoch}
	if r.full() || !before.Equal(m.Assigned) {
		if beat.Assignment = m.Assigned; beat.Assignment == nil {
			beat.Assignment = Assignment{}
		}
	}
	return beat, nil
}

// advance brings the group up to its topics, and the member nearer to its target.
func (s *State) advance(now time.Time, t *Topics, m *Member, resubscribed bool, owned Assignment) {
	if s.look(t, resubscribed) || resubscribed {
		s.bump()
	}
	if s.epoch > s.assignmentEpoch && !now.Before(s.assignedAt.Add(s.pause())) {
		s.assign(t)
		s.assignedAt = now
	}
	s.reconcile(now, m, owned)
}

// pause is how long the group keeps a target before it computes another. That is
// work for every member: if a large fleet that starts did it with each that joins,
// it would grow with the square. Who comes meanwhile gets its share with a later
// heartbeat.
func (s *State) pause() time.Duration {
	const large, each = 1000, 20 * time.Microsecond
	if len(s.members) < large {
		return 0
	}
	return time.Duration(len(s.members)) * each
}

// admissible returns the member that a heartbeat is of, or whose place its sender
// takes; nil when it is to be a new one.
func (s *State) admissible(r Heartbeat) (*Member, error) {
	m := s.byID[r.MemberID]
	if r.InstanceID != nil {
		holder := s.byInstance[*r.InstanceID]
		switch {
		case holder == nil && r.Epoch != EpochJoin:
			return nil, ErrUnknownMember
		case holder == nil && m != nil:
			return nil, fmt.Errorf("%w: the member has no instance id", ErrInvalid)
		case holder != nil && holder.ID != r.MemberID && r.Epoch != EpochJoin:
			return nil, ErrFencedInstance
		case holder != nil && holder.ID != r.MemberID && m != nil:
			return nil, fmt.Errorf("%w: the member has another instance id", ErrInvalid)
		case holder != nil && r.Epoch == EpochJoin && (holder.Epoch == EpochLeaveStatic || holder.Classic != nil):
			return holder, nil // its place is free, or its next life speaks the newer protocol
		case holder != nil && holder.ID != r.MemberID:
			return nil, fmt.Errorf("%w: %s", ErrUnreleasedInstance, holder.ID)
		}
		m = holder
	}
	if m == nil {
		switch {
		case r.Epoch != EpochJoin:
			return nil, ErrUnknownMember
		case len(s.members) >= s.limits.MembersMax:
			return nil, ErrFull
		}
		return nil, nil
	}
	return m, m.checkEpoch(r.Epoch, r.Owned)
}

// checkEpoch fences a member that has another idea of its epoch than the group.
// One that comes with its previous epoch may have missed the answer that raised
// it, which is well as long as it holds nothing but what it was given.
func (m *Member) checkEpoch(epoch int32, owned Assignment) error {
	if epoch == m.Epoch || epoch < m.Epoch && epoch == m.PreviousEpoch && owned != nil && len(owned.without(m.Assigned)) == 0 {
		return nil
	}
	return fmt.Errorf("%w: it has %d, the group says %d", ErrFencedEpoch, epoch, m.Epoch)
}

// replace gives the place of a static member to its next life, which is to get
// what the former one had.
func (s *State) replace(m *Member, id string) {
	target, ok := s.target[m.ID]
	delete(s.target, m.ID)
	delete(s.byID, m.ID)
	m.ID = id
	s.byID[id] = m
	if ok {
		s.target[id] = target
	}
	s.hold(m, m.Assigned, nil)
	m.Epoch, m.PreviousEpoch, m.Status = EpochJoin, EpochJoin, Settled
	m.revokeBy, m.joinBy, m.syncBy = time.Time{}, time.Time{}, time.Time{}
	s.changed(m)
}

// update notes what a member says of itself, and reports whether it subscribes to
// something else than before.
func (s *State) update(m *Member, r Heartbeat, pattern *regexp.Regexp) (resubscribed bool) {
	if r.Rack != nil {
		set(s, m, &m.Rack, *r.Rack)
	}
	if r.RebalanceTimeout >= 0 {
		set(s, m, &m.RebalanceTimeout, r.RebalanceTimeout)
	}
	if r.Assignor != nil {
		set(s, m, &m.Assignor, *r.Assignor)
	}
	set(s, m, &m.ClientID, r.ClientID)
	set(s, m, &m.Host, r.Host)
	if m.Classic != nil {
		m.Classic, m.joinBy, m.syncBy = nil, time.Time{}, time.Time{}
		s.classic--
		s.changed(m)
	}
	names, regex := m.Names(), m.Regex()
	if r.Names != nil {
		names = sortedNames(r.Names)
	}
	if r.Regex != nil {
		regex = *r.Regex
	} else {
		pattern = m.subscription.pattern
	}
	if slices.Equal(names, m.Names()) && regex == m.Regex() {
		return false
	}
	s.subscribe(m, names, regex, pattern)
	s.changed(m)
	return true
}

// set changes one field that is kept.
func set[T comparable](s *State, m *Member, field *T, value T) {
	if *field != value {
		*field = value
		s.changed(m)
	}
}

// leave lets a member go: for good, or until its next life takes its place.
func (s *State) leave(r Heartbeat) (Beat, error) {
	instance := ""
	if r.InstanceID != nil {
		instance = *r.InstanceID
	}
	m, err := s.find(r.MemberID, instance)
	if err != nil {
		return Beat{}, err
	}
	if r.Epoch == EpochLeaveStatic {
		// What it was giving up is free: it reads no more. The rest waits for its
		// next life until the session ends.
		s.hold(m, m.Assigned, nil)
		m.Epoch, m.Status = EpochLeaveStatic, Settled
		s.due(m, &m.revokeBy, time.Time{})
		s.changed(m)
	} else {
		s.remove(m)
	}
	return Beat{MemberID: r.MemberID, Epoch: r.Epoch}, nil
}
