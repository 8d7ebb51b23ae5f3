package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.UnixMilli(1_700_000_000_000)

// play runs a State by a script: members are named, time is virtual, answers
// are kept by member.
type play struct {
	t     *testing.T
	s     *State
	now   time.Time
	ids   int
	named map[Ticket]string
	last  map[string]Answer
	count map[Ticket]int // answers per ticket
}

func newPlay(t *testing.T, delay time.Duration) *play {
	return &play{
		t: t, now: start, named: make(map[Ticket]string), last: make(map[string]Answer), count: make(map[Ticket]int),
		s: NewState(Limits{SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Hour, InitialDelay: delay, MembersMax: 100}),
	}
}

func (p *play) collect() {
	for _, a := range p.s.Take() {
		p.last[p.named[a.To]] = a
		p.count[a.To]++
		require.Equal(p.t, 1, p.count[a.To], "one answer for each ticket")
	}
}

func (p *play) ticket(name string) Ticket {
	t := make(Ticket, 1)
	p.named[t] = name
	delete(p.last, name)
	return t
}

// request is a join by a client that knows the protocols.
func (p *play) request(id string, protocols ...string) JoinRequest {
	p.ids++
	r := JoinRequest{
		MemberID: id, NewMemberID: fmt.Sprintf("m%d", p.ids), ClientID: "c", ProtocolType: "consumer",
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 30 * time.Second,
	}
	for _, name := range protocols {
		r.Protocols = append(r.Protocols, Protocol{Name: name, Metadata: []byte("meta " + id)})
	}
	return r
}

func (p *play) join(name, id string, protocols ...string) {
	if len(protocols) == 0 {
		protocols = []string{"range"}
	}
	p.joinAs(name, p.request(id, protocols...))
}

func (p *play) joinAs(name string, r JoinRequest) {
	p.s.Join(p.now, r, p.ticket(name))
	p.collect()
}

func (p *play) sync(name, id string, generation int32, assignments map[string][]byte) {
	p.s.Sync(p.now, SyncRequest{MemberID: id, Generation: generation, Assignments: assignments}, p.ticket(name))
	p.collect()
}

func (p *play) pass(d time.Duration) {
	p.now = p.now.Add(d)
	p.s.Expire(p.now)
	p.collect()
}

// joined is the answer that name has got.
func (p *play) joined(name string) Joined {
	p.t.Helper()
	a, ok := p.last[name]
	require.True(p.t, ok, "%s has no answer", name)
	require.NoError(p.t, a.Err, name)
	return a.Joined
}

func (p *play) failed(name string, want error) {
	p.t.Helper()
	a, ok := p.last[name]
	require.True(p.t, ok, "%s has no answer", name)
	require.ErrorIs(p.t, a.Err, want, name)
}

func (p *play) waits(name string) {
	p.t.Helper()
	require.NotContains(p.t, p.last, name, "%s should wait", name)
}

// pair is a stable group of a (leader) and b in generation 2.
func pair(t *testing.T) (p *play, a, b string) {
	p = newPlay(t, 0)
	p.join("a", "")
	a = p.joined("a").MemberID
	p.sync("a", a, 1, nil)
	p.join("b", "")
	p.waits("b")
	require.ErrorIs(t, p.s.Heartbeat(p.now, a, "", 1), ErrRebalancing)
	p.join("a", a)
	b = p.joined("b").MemberID
	require.Equal(t, int32(2), p.joined("a").Generation)
	p.sync("b", b, 2, nil)
	p.waits("b")
	p.sync("a", a, 2, map[string][]byte{a: []byte("for a"), b: []byte("for b")})
	require.Equal(t, "for a", string(p.last["a"].Synced.Assignment))
	require.Equal(t, "for b", string(p.last["b"].Synced.Assignment))
	require.Equal(t, Stable, p.s.phase)
	return p, a, b
}

func TestMembersJoinSyncAndLearnTheirAssignments(t *testing.T) {
	p, a, b := pair(t)
	leader, follower := p.s.Describe().Members[0], p.s.Describe().Members[1]
	require.Equal(t, a, leader.ID)
	require.Equal(t, b, follower.ID)
	require.NoError(t, p.s.Heartbeat(p.now, b, "", 2))
	require.ErrorIs(t, p.s.Heartbeat(p.now, b, "", 1), ErrIllegalGeneration)
	require.ErrorIs(t, p.s.Heartbeat(p.now, "who", "", 2), ErrUnknownMember)
}

func TestAnEmptyGroupWaitsForMoreMembersBeforeItsFirstGeneration(t *testing.T) {
	p := newPlay(t, 3*time.Second)
	p.join("a", "")
	p.waits("a")
	p.pass(2 * time.Second)
	p.join("b", "")
	p.pass(time.Second) // b came during the delay: it begins again
	p.waits("a")
	p.pass(3 * time.Second)
	require.Len(t, p.joined("a").Members, 2, "one rebalance for the whole fleet")
	require.Equal(t, int32(1), p.joined("b").Generation)
}

func TestTheInitialDelayEndsWithTheRebalanceTimeout(t *testing.T) {
	p := newPlay(t, 20*time.Second)
	p.join("a", "")
	for i := range 10 {
		p.pass(5 * time.Second)
		p.join(fmt.Sprintf("late%d", i), "")
		if _, answered := p.last["a"]; answered {
			require.LessOrEqual(t, p.now.Sub(start), 30*time.Second)
			return
		}
	}
	t.Fatal("new members hold the first generation back for ever")
}

func TestAFollowerThatAsksAgainRebalancesNobody(t *testing.T) {
	p, a, b := pair(t)
	p.joinAs("b", p.request(b, "range")) // other metadata than at first: that counts as a change
	p.waits("b")
	p.join("a", a)
	require.Equal(t, int32(3), p.joined("a").Generation)
	p.sync("a", a, 3, nil)
	p.sync("b", b, 3, nil)
	p.join("b", b) // the same again
	require.Equal(t, int32(3), p.joined("b").Generation)
	require.Equal(t, Stable, p.s.phase)
}

func TestTheLeaderThatJoinsAgainRebalances(t *testing.T) {
	p, a, b := pair(t)
	p.join("a", a)
	p.waits("a")
	p.join("b", b)
	require.Equal(t, int32(3), p.joined("a").Generation)
}

func TestAMemberThatIsSilentIsRemovedAndTheOthersRebalance(t *testing.T) {
	p, a, _ := pair(t)
	p.pass(9 * time.Second)
	require.NoError(t, p.s.Heartbeat(p.now, a, "", 2))
	p.pass(2 * time.Second) // b's session is over
	require.Len(t, p.s.members, 1)
	require.ErrorIs(t, p.s.Heartbeat(p.now, a, "", 2), ErrRebalancing)
	p.join("a", a)
	require.Equal(t, int32(3), p.joined("a").Generation)
}

func TestWaitingInAJoinKeepsAMemberAlive(t *testing.T) {
	p, a, _ := pair(t)
	p.join("c", "") // a and b do not come back for long
	for range 5 {
		p.pass(5 * time.Second)
		_ = p.s.Heartbeat(p.now, a, "", 2)
		p.waits("c")
	}
	p.pass(6 * time.Second) // the rebalance timeout
	require.Equal(t, int32(3), p.joined("c").Generation)
	require.Equal(t, p.joined("c").MemberID, p.joined("c").Leader, "the old leader did not come back")
}

func TestAClientThatHangsUpIsNotWaitedForBeyondItsSession(t *testing.T) {
	p, a, b := pair(t)
	r := p.request("", "range")
	gone := p.ticket("gone")
	p.s.Join(p.now, r, gone)
	p.s.Abandon(p.now, gone)
	p.collect()
	p.join("a", a)
	p.join("b", b)
	p.waits("a")
	p.pass(10 * time.Second)
	require.Len(t, p.joined("a").Members, 2)
}

func TestLeavingHandsTheLeadershipOn(t *testing.T) {
	p, a, b := pair(t)
	require.NoError(t, p.s.Leave(p.now, a, "", ""))
	require.ErrorIs(t, p.s.Leave(p.now, a, "", ""), ErrUnknownMember)
	p.join("b", b)
	require.Equal(t, b, p.joined("b").Leader)
	require.NoError(t, p.s.Leave(p.now, b, "", ""))
	p.collect()
	require.Equal(t, Empty, p.s.phase)
	require.True(t, p.s.Idle())
	require.Zero(t, p.s.Next())
}

func TestANewMemberIDIsForgottenWhenNobodyComesWithIt(t *testing.T) {
	p := newPlay(t, 0)
	r := p.request("", "range")
	r.IDFirst = true
	p.joinAs("a", r)
	p.failed("a", ErrMemberIDRequired)
	require.Equal(t, r.NewMemberID, p.last["a"].Joined.MemberID)
	require.False(t, p.s.Idle())
	p.pass(10 * time.Second)
	require.True(t, p.s.Idle())
	p.join("a", r.NewMemberID)
	p.failed("a", ErrUnknownMember)
}

func TestTheProtocolIsOneThatAllKnowAndMostPrefer(t *testing.T) {
	p := newPlay(t, time.Second)
	p.join("a", "", "range", "sticky", "round")
	p.join("b", "", "sticky", "range", "other")
	p.join("c", "", "sticky", "range")
	p.join("d", "", "other")
	p.failed("d", ErrProtocol)
	r := p.request("", "range")
	r.ProtocolType = "connect"
	p.joinAs("e", r)
	p.failed("e", ErrProtocol)
	p.pass(time.Second)
	p.pass(time.Second)
	require.Equal(t, "sticky", p.joined("a").Protocol)
}

func TestAJoinIsRefusedForItsOwnFaults(t *testing.T) {
	p := newPlay(t, 0)
	r := p.request("", "range")
	r.SessionTimeout = time.Millisecond
	p.joinAs("a", r)
	p.failed("a", ErrSessionTimeout)
	p.join("a", "nobody")
	p.failed("a", ErrUnknownMember)
	p.joinAs("a", p.request(""))
	p.failed("a", ErrProtocol)
	require.True(t, p.s.Idle())
}

func TestAMemberThatDoesNotFetchItsAssignmentIsGivenUp(t *testing.T) {
	p := newPlay(t, time.Second)
	p.join("a", "")
	p.join("b", "")
	p.pass(time.Second)
	p.pass(time.Second)
	a, b := p.joined("a").MemberID, p.joined("b").MemberID
	p.sync("b", b, 1, nil)
	for range 6 { // the leader is alive and does not do its work
		p.pass(5 * time.Second)
		_ = p.s.Heartbeat(p.now, a, "", 1)
	}
	p.failed("b", ErrRebalancing)
	require.Nil(t, p.s.member(a))
}

func TestAStaticMemberComesBackToItsAssignmentWithoutARebalance(t *testing.T) {
	p := newPlay(t, time.Second)
	static := func(name, instance string) JoinRequest {
		r := p.request("", "range")
		r.InstanceID, r.IDFirst, r.CanSkip = instance, true, true
		return r
	}
	p.joinAs("a", static("a", "i1"))
	p.joinAs("b", static("b", "i2"))
	p.pass(time.Second)
	p.pass(time.Second)
	a, b := p.joined("a").MemberID, p.joined("b").MemberID
	sync := func(name, id, instance string, assignments map[string][]byte) {
		p.s.Sync(p.now, SyncRequest{MemberID: id, InstanceID: instance, Generation: 1, Assignments: assignments}, p.ticket(name))
		p.collect()
	}
	sync("a", a, "i1", map[string][]byte{a: []byte("for 1"), b: []byte("for 2")})
	sync("b", b, "i2", nil)

	p.joinAs("b", static("b", "i2")) // a new life of b
	again := p.joined("b")
	require.NotEqual(t, b, again.MemberID)
	require.Equal(t, int32(1), again.Generation)
	require.Empty(t, again.Members)
	sync("b", again.MemberID, "i2", nil)
	require.Equal(t, "for 2", string(p.last["b"].Synced.Assignment))
	require.ErrorIs(t, p.s.Heartbeat(p.now, b, "i2", 1), ErrFencedInstance, "the former life is fenced")

	p.joinAs("a", static("a", "i1")) // and one of the leader
	leader := p.joined("a")
	require.True(t, leader.SkipAssignment)
	require.Equal(t, leader.MemberID, leader.Leader)
	require.Equal(t, Stable, p.s.phase)

	old := static("a", "i1")
	old.CanSkip = false
	p.joinAs("a", old)
	require.NotEqual(t, p.joined("a").MemberID, p.joined("a").Leader, "an old client would assign anew as the leader")
	require.NoError(t, p.s.Leave(p.now, "", "i2", ""), "tools remove static members by instance")
}

func TestWhoMayCommit(t *testing.T) {
	p := newPlay(t, 0)
	require.NoError(t, p.s.Committable(p.now, "", "", -1), "a simple consumer, in an empty group")
	require.NoError(t, p.s.Committable(p.now, "m", "", -1), "tools say who they are")
	require.ErrorIs(t, p.s.Committable(p.now, "m", "", 3), ErrUnknownMember)
	p, a, b := pair(t)
	require.NoError(t, p.s.Committable(p.now, a, "", 2))
	require.ErrorIs(t, p.s.Committable(p.now, a, "", 1), ErrIllegalGeneration)
	require.ErrorIs(t, p.s.Committable(p.now, "", "", -1), ErrUnknownMember, "not beside members")
	p.join("a", a)
	require.NoError(t, p.s.Committable(p.now, b, "", 2), "the last chance before the partitions move")
	p.join("b", b)
	require.ErrorIs(t, p.s.Committable(p.now, a, "", 3), ErrRebalancing, "what it owns is not settled")
}

// TestAnyOrderOfEventsKeepsTheInvariants plays random events and checks after
// each of them what always holds.
func TestAnyOrderOfEventsKeepsTheInvariants(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		p := newPlay(t, time.Duration(random.IntN(3))*time.Second)
		var parked []Ticket
		generation := int32(0)
		var ids []string
		for step := range 200 {
			id, instance := "", ""
			if len(ids) > 0 && random.IntN(4) > 0 {
				id = ids[random.IntN(len(ids))]
			}
			if m := p.s.member(id); m != nil {
				instance = m.InstanceID
			}
			name := fmt.Sprint(step)
			switch random.IntN(8) {
			case 0, 1, 2:
				r := p.request(id, []string{"range", "sticky"}[:1+random.IntN(2)]...)
				r.IDFirst, r.CanSkip, r.InstanceID = random.IntN(2) == 0, random.IntN(2) == 0, instance
				if id == "" && random.IntN(3) == 0 {
					r.InstanceID = fmt.Sprint("i", random.IntN(3))
				}
				ids = append(ids, r.NewMemberID)
				ticket := p.ticket(name)
				parked = append(parked, ticket)
				p.s.Join(p.now, r, ticket)
			case 3, 4:
				ticket := p.ticket(name)
				parked = append(parked, ticket)
				p.s.Sync(p.now, SyncRequest{MemberID: id, InstanceID: instance, Generation: p.s.generation}, ticket)
			case 5:
				_ = p.s.Heartbeat(p.now, id, instance, p.s.generation)
				_ = p.s.Committable(p.now, id, instance, p.s.generation)
			case 6:
				if random.IntN(3) == 0 {
					_ = p.s.Leave(p.now, id, instance, "")
				} else if len(parked) > 0 {
					p.s.Abandon(p.now, parked[random.IntN(len(parked))])
				}
			case 7:
				p.pass(time.Duration(random.IntN(8)) * time.Second)
			}
			p.collect()
			p.invariants(seed, step)
			require.GreaterOrEqual(t, p.s.generation, generation, "generations never go back")
			generation = p.s.generation
		}
		p.ends(seed)
	}
}

func (p *play) invariants(seed uint64, step int) {
	s, at := p.s, fmt.Sprintf("seed %d step %d phase %s", seed, step, p.s.phase)
	require.Equal(p.t, len(s.members) == 0 && s.phase != Preparing, s.phase == Empty, at)
	if len(s.members) > 0 {
		require.NotNil(p.t, s.member(s.leader), "%s: the leader is a member", at)
		require.NotEmpty(p.t, s.choose(), "%s: there is a common protocol", at)
	}
	for i, m := range s.members {
		require.False(p.t, slices.ContainsFunc(s.members[:i], func(o *Member) bool {
			return o.ID == m.ID || m.InstanceID != "" && o.InstanceID == m.InstanceID
		}), "%s: %s twice", at, m.ID)
		require.False(p.t, m.join != nil && m.sync != nil, "%s: %s waits twice", at, m.ID)
		require.True(p.t, m.join == nil || s.phase == Preparing, "%s: a join is parked", at)
		require.True(p.t, m.sync == nil || s.phase == Completing, "%s: a sync is parked", at)
	}
	joining, unsynced, knowing := 0, 0, make(map[string]int)
	for _, m := range s.members {
		require.Same(p.t, m, s.member(m.ID), at)
		if m.InstanceID != "" {
			require.Same(p.t, m, s.instance(m.InstanceID), at)
		}
		if m.join != nil {
			joining++
		}
		if !m.synced {
			unsynced++
		}
		for _, protocol := range m.Protocols {
			knowing[protocol.Name]++
		}
		require.True(p.t, m.parked() || !m.deadline.Before(s.Next()), "%s: the end of %s's session is watched", at, m.ID)
	}
	require.Len(p.t, s.byID, len(s.members), at)
	require.Equal(p.t, []any{joining, unsynced, knowing}, []any{s.joining, s.unsynced, s.knowing}, at)
	if s.phase == Preparing || s.phase == Completing {
		require.False(p.t, s.Next().IsZero(), "%s: nothing would ever end this phase", at)
	}
}

// ends checks that a group that is left alone comes to an end.
func (p *play) ends(seed uint64) {
	for ticket := range p.named {
		p.s.Abandon(p.now, ticket)
	}
	for range 100 {
		next := p.s.Next()
		if next.IsZero() {
			break
		}
		p.pass(max(0, next.Sub(p.now)))
	}
	require.True(p.t, p.s.Idle(), "seed %d: members outlive everything: %+v", seed, p.s.Describe())
	require.Equal(p.t, Empty, p.s.phase, "seed %d", seed)
}

func TestAGroupOfStaticMembersThatAreAwayDoesNotSpin(t *testing.T) {
	p := newPlay(t, 0)
	hasty := func(id, instance string) JoinRequest {
		r := p.request(id, "range")
		r.InstanceID, r.RebalanceTimeout = instance, 0
		return r
	}
	p.joinAs("s", hasty("", "i1"))
	id := p.last["s"].Joined.MemberID
	p.sync("s", id, p.last["s"].Joined.Generation, nil)
	p.joinAs("d", hasty("", "")) // begins a rebalance, and is late as well
	for range 10 {
		if next := p.s.Next(); next.After(p.now) {
			return
		}
		p.s.Expire(p.now)
	}
	t.Fatal("there is always something to do at once")
}
