package consumer

import (
	"container/heap"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
)

// Phase is where a group stands, by the names that Kafka's tools show.
type Phase string

// The phases.
const (
	Empty       Phase = "Empty"       // no members
	Assigning   Phase = "Assigning"   // the target is older than the group's epoch
	Reconciling Phase = "Reconciling" // members are on their way to the target
	Stable      Phase = "Stable"      // every member holds its target
)

// Epochs of heartbeats that are not a member's epoch.
const (
	EpochJoin        int32 = 0
	EpochLeave       int32 = -1
	EpochLeaveStatic int32 = -2 // to come back with the same instance id
)

// Limits bound a group.
type Limits struct {
	// SessionTimeout is how long a member of the consumer protocol may be
	// silent. Members of the classic one bring their own.
	SessionTimeout time.Duration
	MembersMax     int
}

// Status is how far a member is.
type Status uint8

// The states of a member.
const (
	Settled    Status = iota // it holds what the assignment of its epoch gives it
	Unrevoked                // it is to give up partitions before its epoch goes up
	Unreleased               // others have yet to give up what it is to get
)

// Member is one member of a group.
type Member struct {
	ID, InstanceID   string // InstanceID "": dynamic
	Rack             string
	ClientID, Host   string
	RebalanceTimeout time.Duration
	Assignor         string // "": any
	// Epoch is that of the assignment which the member has reached, or
	// EpochLeaveStatic while its place is kept for its next life.
	Epoch, PreviousEpoch int32
	Status               Status
	Assigned             Assignment // what it may read
	Revoking             Assignment // what it may read no more and has not given up yet
	Classic              *Classic   // nil: it speaks the consumer protocol

	subscription *subscription
	serial       uint64 // in the order in which they came
	row          []byte // as stored; nil: changed since
	settled      bool   // counted in State.settled

	// When the member is given up; zero: not on this account.
	session  time.Time // it was silent
	revokeBy time.Time // it did not give up partitions
	joinBy   time.Time // a classic one did not join after it was told to
	syncBy   time.Time // a classic one did not fetch its assignment
	place    int       // in the heap of deadlines
}

// Names are the topics that the member subscribes to by name, ascending.
func (m *Member) Names() []string { return m.subscription.names }

// Regex is the regular expression that it subscribes by; "" for none.
func (m *Member) Regex() string { return m.subscription.regex }

// due is the earliest of the member's deadlines.
func (m *Member) due() time.Time {
	first := m.session
	for _, t := range [...]time.Time{m.revokeBy, m.joinBy, m.syncBy} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// State is one group.
type State struct {
	limits Limits

	epoch           int32
	assignmentEpoch int32
	fingerprint     uint64    // of the topics that epoch knows
	members         []*Member // in the order in which they came
	byID            map[string]*Member
	byInstance      map[string]*Member
	target          map[string]Assignment // by member id

	// Derived from the above.
	subscriptions map[string]*subscription
	holders       map[topic.Partition]holding
	classic       int       // members of the classic protocol
	settled       int       // members that have reached the assignment's epoch
	serials       uint64    // the newest member's
	assignedAt    time.Time // when the target was computed
	seen          int64     // the version of Topics that fingerprint was compared with
	looked        bool      // seen is one
	deadlines     deadlines
	version       uint64
}

// NewState returns an empty group.
func NewState(limits Limits) *State {
	return &State{
		limits: limits, byID: make(map[string]*Member), byInstance: make(map[string]*Member),
		target: make(map[string]Assignment), subscriptions: make(map[string]*subscription),
		holders: make(map[topic.Partition]holding),
	}
}

// SetLimits changes the limits. They hold from each member's next heartbeat on.
func (s *State) SetLimits(l Limits) { s.limits = l }

// Version changes whenever a step has changed what Encode returns.
func (s *State) Version() uint64 { return s.version }

// Epoch is the group's epoch.
func (s *State) Epoch() int32 { return s.epoch }

// Len is how many members there are.
func (s *State) Len() int { return len(s.members) }

// AllClassic reports whether there are members, all of the classic protocol: then
// the group can become a classic one again.
func (s *State) AllClassic() bool { return len(s.members) > 0 && s.classic == len(s.members) }

// Phase is where the group stands.
func (s *State) Phase() Phase {
	switch {
	case len(s.members) == 0:
		return Empty
	case s.epoch > s.assignmentEpoch:
		return Assigning
	case s.settled < len(s.members):
		return Reconciling
	}
	return Stable
}

// reached reports whether the member holds all that the assignment of that epoch
// gives it, and nothing else.
func (m *Member) reached(epoch int32) bool { return m.Status == Settled && m.Epoch == epoch }

// Subscribed reports whether a member subscribes to the topic of that name.
func (s *State) Subscribed(name string) bool {
	for _, sub := range s.subscriptions {
		if _, found := slices.BinarySearch(sub.names, name); found || sub.pattern != nil && sub.pattern.MatchString(name) {
			return true
		}
	}
	return false
}

// changed notes that what is stored of the group, and of a member if m is not
// nil, is another.
func (s *State) changed(m *Member) {
	s.version++
	if m == nil {
		return
	}
	m.row = nil
	s.count(m)
}

// count keeps s.settled right after m has moved.
func (s *State) count(m *Member) {
	if now := m.reached(s.assignmentEpoch); now != m.settled {
		m.settled = now
		if now {
			s.settled++
		} else {
			s.settled--
		}
	}
}

// find returns the member that a request names by its id and, for a static one,
// its instance id.
func (s *State) find(id, instance string) (*Member, error) {
	if instance == "" {
		if m := s.byID[id]; m != nil {
			return m, nil
		}
		return nil, ErrUnknownMember
	}
	m := s.byInstance[instance]
	switch {
	case m == nil:
		return nil, ErrUnknownMember
	case m.ID != id:
		return nil, ErrFencedInstance
	}
	return m, nil
}

// insert takes in a new member, without a subscription yet.
func (s *State) insert(m *Member) {
	s.serials++
	m.serial = s.serials
	s.members = append(s.members, m)
	s.index(m)
	s.subscribe(m, nil, "", nil)
	s.changed(m)
}

// index makes a member of s.members found.
func (s *State) index(m *Member) {
	s.byID[m.ID] = m
	if m.InstanceID != "" {
		s.byInstance[m.InstanceID] = m
	}
	if m.Classic != nil {
		s.classic++
	}
	heap.Push(&s.deadlines, m)
}

// remove takes a member out and lets go what it holds; the group's epoch goes up.
func (s *State) remove(m *Member) {
	s.members = slices.DeleteFunc(s.members, func(other *Member) bool { return other == m })
	delete(s.byID, m.ID)
	delete(s.target, m.ID)
	if s.byInstance[m.InstanceID] == m {
		delete(s.byInstance, m.InstanceID)
	}
	if m.Classic != nil {
		s.classic--
	}
	if m.settled {
		s.settled--
	}
	s.unsubscribe(m)
	s.hold(m, nil, nil)
	heap.Remove(&s.deadlines, m.place)
	s.bump()
}

// bump begins a new epoch of the group.
func (s *State) bump() {
	s.epoch++
	s.changed(nil)
}

// holding is who has a partition: it is assigned to that member, or it is to give
// it up and has not yet.
type holding struct {
	by    *Member
	since int32 // the member's epoch when it got it, or when the group was loaded
}

// hold notes what a member may read and what it is still to give up.
func (s *State) hold(m *Member, assigned, revoking Assignment) {
	for _, a := range [...]Assignment{m.Assigned, m.Revoking} {
		for id, indexes := range a {
			for _, index := range indexes {
				if p := (topic.Partition{Topic: id, Index: index}); !assigned.Has(p) && !revoking.Has(p) {
					delete(s.holders, p)
				}
			}
		}
	}
	m.Assigned, m.Revoking = assigned, revoking
	for _, a := range [...]Assignment{assigned, revoking} {
		for id, indexes := range a {
			for _, index := range indexes {
				if p := (topic.Partition{Topic: id, Index: index}); s.holders[p].by != m {
					s.holders[p] = holding{m, m.Epoch}
				}
			}
		}
	}
}

// subscribe gives a member its subscription. pattern is regex compiled.
func (s *State) subscribe(m *Member, names []string, regex string, pattern *regexp.Regexp) {
	s.unsubscribe(m)
	key := subscriptionKey(names, regex)
	sub := s.subscriptions[key]
	if sub == nil {
		sub = &subscription{key: key, names: names, regex: regex, pattern: pattern}
		s.subscriptions[key] = sub
	}
	sub.members++
	m.subscription = sub
}

func (s *State) unsubscribe(m *Member) {
	if m.subscription == nil {
		return
	}
	if m.subscription.members--; m.subscription.members == 0 {
		delete(s.subscriptions, m.subscription.key)
	}
	m.subscription = nil
}

// sortedNames is names ascending, each once, and not the caller's slice.
func sortedNames(names []string) []string {
	sorted := slices.Clone(names)
	slices.SortFunc(sorted, strings.Compare)
	return slices.Compact(sorted)
}

// look compares the topics that members subscribe to with those that the group's
// epoch knows, and reports whether they are others. resubscribed: so are the
// subscriptions.
func (s *State) look(t *Topics, resubscribed bool) bool {
	if s.looked && s.seen == t.version && !resubscribed {
		return false
	}
	s.looked, s.seen = true, t.version
	now := fingerprint(s.topics(t))
	if now == s.fingerprint {
		return false
	}
	s.fingerprint = now
	s.changed(nil)
	return true
}

// topics are those that any member subscribes to and that exist, by name.
func (s *State) topics(t *Topics) []Topic {
	if len(s.subscriptions) == 1 {
		for _, sub := range s.subscriptions {
			return sub.resolve(t)
		}
	}
	wanted := make([]bool, len(t.all))
	for _, sub := range s.subscriptions {
		for _, one := range sub.resolve(t) {
			wanted[t.byName[one.Name]] = true
		}
	}
	var all []Topic
	for i, yes := range wanted {
		if yes {
			all = append(all, t.all[i])
		}
	}
	return all
}

// touch sets a member's deadline after it was heard of.
func (s *State) touch(now time.Time, m *Member) {
	timeout := s.limits.SessionTimeout
	if m.Classic != nil {
		timeout = m.Classic.SessionTimeout
	}
	m.session = now.Add(timeout)
	heap.Fix(&s.deadlines, m.place)
}

// Next returns when Expire has something to do; zero for never.
func (s *State) Next() time.Time {
	if len(s.deadlines) == 0 {
		return time.Time{}
	}
	return s.deadlines[0].due()
}

// Gone is a member that was given up.
type Gone struct {
	Member *Member
	Why    string
}

// Expire gives up the members whose time is over at now.
func (s *State) Expire(now time.Time) []Gone {
	var gone []Gone
	for len(s.deadlines) > 0 {
		m := s.deadlines[0]
		if due := m.due(); due.IsZero() || now.Before(due) {
			break
		}
		late := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
		why := "its session is over"
		switch {
		case late(m.revokeBy):
			why = "it did not give up its partitions in time"
		case late(m.joinBy):
			why = "it did not join again in time"
		case late(m.syncBy):
			why = "it did not fetch its assignment in time"
		}
		s.remove(m)
		gone = append(gone, Gone{m, why})
	}
	return gone
}

// deadlines is a heap of members by when they are given up.
type deadlines []*Member

func (d deadlines) Len() int { return len(d) }

// Less implements sort.Interface: who has no deadline comes last.
func (d deadlines) Less(i, j int) bool {
	a, b := d[i].due(), d[j].due()
	if a.IsZero() || b.IsZero() {
		return !a.IsZero() && b.IsZero()
	}
	return a.Before(b)
}

// Swap implements sort.Interface.
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push implements heap.Interface.
func (d *deadlines) Push(x any) {
	m := x.(*Member)
	m.place = len(*d)
	*d = append(*d, m)
}

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	old := *d
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return m
}
