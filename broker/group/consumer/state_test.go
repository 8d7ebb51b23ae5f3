package consumer

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
)

// scene is a group with one topic of as many partitions as it is told.
type scene struct {
	*testing.T
	s    *State
	now  time.Time
	view *Topics
	n    int64
}

func newScene(t *testing.T, partitions ...int32) *scene {
	c := &scene{T: t, now: time.Unix(1000, 0)}
	c.s = NewState(Limits{SessionTimeout: testSession, MembersMax: 4})
	c.exist(partitions...)
	return c
}

// exist makes topics t0, t1, … with that many partitions.
func (c *scene) exist(partitions ...int32) {
	var all []Topic
	for i, n := range partitions {
		if n > 0 {
			all = append(all, Topic{testID(i), fmt.Sprintf("t%d", i), n})
		}
	}
	c.n++
	c.view = NewTopics(c.n, all)
}

func of(partitions ...int32) Assignment {
	if len(partitions) == 0 {
		return Assignment{}
	}
	return Assignment{testID(0): partitions}
}

func joinRequest(id string, names ...string) Heartbeat {
	if names == nil {
		names = []string{"t0"}
	}
	return Heartbeat{MemberID: id, RebalanceTimeout: testRebalance, Names: names, Owned: Assignment{}}
}

func (c *scene) join(id string, names ...string) Beat {
	c.Helper()
	return c.ok(joinRequest(id, names...))
}

func (c *scene) ok(r Heartbeat) Beat {
	c.Helper()
	beat, err := c.s.Heartbeat(c.now, c.view, r)
	require.NoError(c, err)
	return beat
}

func (c *scene) fails(want error, r Heartbeat) {
	c.Helper()
	head, rows := c.s.Encode()
	_, err := c.s.Heartbeat(c.now, c.view, r)
	require.ErrorIs(c, err, want)
	sameHead, sameRows := c.s.Encode()
	require.Equal(c, head, sameHead, "a step that failed has changed the group")
	require.Equal(c, rows, sameRows, "a step that failed has changed a member")
}

// beat is a heartbeat that says nothing new but, perhaps, what the member owns.
func beat(id string, epoch int32, owned Assignment) Heartbeat {
	return Heartbeat{MemberID: id, Epoch: epoch, RebalanceTimeout: -1, Owned: owned}
}

func ptr[T any](v T) *T { return &v }

func TestTheFirstMemberGetsEverythingAtOnce(t *testing.T) {
	c := newScene(t, 3)
	require.Equal(t, Beat{MemberID: "a", Epoch: 1, Assignment: of(0, 1, 2)}, c.join("a"))
	require.Equal(t, Beat{MemberID: "a", Epoch: 1}, c.ok(beat("a", 1, nil)), "what has not changed is not said again")
	require.Equal(t, Stable, c.s.Phase())
}

func TestAPartitionIsGivenUpBeforeItIsGivenToAnother(t *testing.T) {
	c := newScene(t, 4)
	c.join("a")
	require.Equal(t, Beat{MemberID: "b", Epoch: 2, Assignment: of()}, c.join("b"), "everything is still read by a")
	require.Equal(t, Reconciling, c.s.Phase())

	// a keeps its epoch until it has given up.
	told := c.ok(beat("a", 1, nil))
	require.EqualValues(t, 1, told.Epoch)
	require.Equal(t, 2, told.Assignment.Len())
	require.Equal(t, Beat{MemberID: "a", Epoch: 1}, c.ok(beat("a", 1, nil)))
	require.Equal(t, Beat{MemberID: "a", Epoch: 1}, c.ok(beat("a", 1, of(0, 1, 2, 3))), "it says that it still reads all")
	require.Equal(t, Beat{MemberID: "b", Epoch: 2}, c.ok(beat("b", 2, nil)))

	require.Equal(t, Beat{MemberID: "a", Epoch: 2}, c.ok(beat("a", 1, told.Assignment)))
	got := c.ok(beat("b", 2, nil))
	require.Equal(t, of(0, 1, 2, 3), told.Assignment.with(got.Assignment))
	require.False(t, told.Assignment.meets(got.Assignment))
	require.Equal(t, Stable, c.s.Phase())
}

func TestAMemberThatGivesUpTwiceGoesOneEpochAtATime(t *testing.T) {
	c := newScene(t, 6)
	c.join("a")
	c.join("b")
	first := c.ok(beat("a", 1, nil)).Assignment // of three
	c.join("d")
	second := c.ok(beat("a", 1, first))
	require.EqualValues(t, 2, second.Epoch, "it has done what epoch 1 asked for, and is to give up more")
	require.Equal(t, 2, second.Assignment.Len())
	require.EqualValues(t, 3, c.ok(beat("a", 2, second.Assignment)).Epoch)
}

func TestAFullRequestIsAnsweredInFull(t *testing.T) {
	c := newScene(t, 2)
	c.join("a")
	full := joinRequest("a")
	full.Epoch, full.Owned = 1, of(0, 1)
	require.Equal(t, of(0, 1), c.ok(full).Assignment)
	full.Owned = nil
	require.Nil(t, c.ok(full).Assignment)
	lost := joinRequest("a") // the answer to its join was lost
	lost.RebalanceTimeout, lost.Regex = testRebalance, ptr("")
	require.Equal(t, Beat{MemberID: "a", Epoch: 1, Assignment: of(0, 1)}, c.ok(lost))
}

func TestEpochsFence(t *testing.T) {
	c := newScene(t, 4)
	c.join("a")
	c.join("b")
	half := c.ok(beat("a", 1, nil)).Assignment
	c.ok(beat("a", 1, half)) // epoch 2 now, previous 1
	c.fails(ErrFencedEpoch, beat("a", 3, half))
	c.fails(ErrFencedEpoch, beat("a", 1, nil))
	c.fails(ErrFencedEpoch, beat("a", 1, of(0, 1, 2, 3)))
	require.EqualValues(t, 2, c.ok(beat("a", 1, half)).Epoch, "it missed the answer that raised its epoch")
	c.fails(ErrFencedEpoch, joinRequest("a"))
	c.fails(ErrUnknownMember, beat("x", 2, nil))
	c.fails(ErrUnknownMember, Heartbeat{MemberID: "x", Epoch: EpochLeave, RebalanceTimeout: -1})
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	c := newScene(t, 4)
	for name, change := range map[string]func(*Heartbeat){
		"no member id":         func(r *Heartbeat) { r.MemberID = "" },
		"empty instance id":    func(r *Heartbeat) { r.InstanceID = ptr("") },
		"empty rack":           func(r *Heartbeat) { r.Rack = ptr("") },
		"unknown epoch":        func(r *Heartbeat) { r.Epoch = -3 },
		"no rebalance timeout": func(r *Heartbeat) { r.RebalanceTimeout = -1 },
		"owned not said":       func(r *Heartbeat) { r.Owned = nil },
		"owns something":       func(r *Heartbeat) { r.Owned = of(1) },
		"no subscription":      func(r *Heartbeat) { r.Names = nil },
		"static leave":         func(r *Heartbeat) { r.Epoch = EpochLeaveStatic },
	} {
		t.Run(name, func(t *testing.T) {
			r := joinRequest("a")
			change(&r)
			c.fails(ErrInvalid, r)
		})
	}
	r := joinRequest("a")
	r.Assignor = ptr("mine")
	c.fails(ErrAssignor, r)
	r = joinRequest("a")
	for _, regex := range []string{"t(", "a)|(b"} {
		r.Regex = &regex
		c.fails(ErrRegex, r)
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		c.join(id)
	}
	c.fails(ErrFull, joinRequest("e"))
	c.ok(Heartbeat{MemberID: "d", Epoch: EpochLeave, RebalanceTimeout: -1})
	c.join("e")
}

func TestWhoHasNoIDIsGivenOne(t *testing.T) {
	c := newScene(t, 1)
	r := joinRequest("")
	r.NewMemberID = "made"
	require.Equal(t, "made", c.ok(r).MemberID)
}

func TestARegularExpressionMatchesWholeNamesAndTopicsToCome(t *testing.T) {
	c := newScene(t, 1, 2)
	r := joinRequest("a")
	r.Names, r.Regex = nil, ptr("t1|t2")
	require.Equal(t, Assignment{testID(1): {0, 1}}, c.ok(r).Assignment)
	c.exist(1, 2, 1)
	got := c.ok(beat("a", 1, nil))
	require.EqualValues(t, 2, got.Epoch)
	require.Equal(t, Assignment{testID(1): {0, 1}, testID(2): {0}}, got.Assignment)

	require.True(t, c.s.Subscribed("t2"))
	require.False(t, c.s.Subscribed("t22"))
	r = beat("a", 2, nil)
	r.Regex = ptr("t")
	require.Equal(t, of(), c.ok(r).Assignment, "it matches no name whole")
	require.False(t, c.s.Subscribed("t2"))
}

func TestTopicsThatGrowComeAndGoMoveTheEpoch(t *testing.T) {
	c := newScene(t, 2)
	c.join("a", "t0", "t1")
	c.exist(3)
	require.Equal(t, Beat{MemberID: "a", Epoch: 2, Assignment: of(0, 1, 2)}, c.ok(beat("a", 1, nil)))
	c.exist(3, 1)
	require.Equal(t, Assignment{testID(0): {0, 1, 2}, testID(1): {0}}, c.ok(beat("a", 2, nil)).Assignment)
	c.exist(3, 1, 7)
	require.EqualValues(t, 3, c.ok(beat("a", 3, nil)).Epoch, "t2 is none of its topics")
	c.exist(0, 1)
	gone := c.ok(beat("a", 3, nil))
	require.Equal(t, Assignment{testID(1): {0}}, gone.Assignment)
	require.EqualValues(t, 4, c.ok(beat("a", 3, gone.Assignment)).Epoch)
}

func TestAGroupThatIsLoadedAgainMovesNothing(t *testing.T) {
	c := newScene(t, 4)
	c.join("a")
	c.join("b")
	half := c.ok(beat("a", 1, nil)).Assignment
	c.ok(beat("a", 1, half))
	c.ok(beat("b", 2, nil))
	head, rows := c.s.Encode()
	again, err := Decode(c.s.limits, c.now, head, rows)
	require.NoError(t, err)
	c.s = again
	require.Zero(t, again.Version())
	c.exist(4) // the same topics, seen anew
	require.Equal(t, Beat{MemberID: "a", Epoch: 2}, c.ok(beat("a", 2, nil)))
	require.Equal(t, Beat{MemberID: "b", Epoch: 2}, c.ok(beat("b", 2, nil)))
	require.EqualValues(t, 2, again.Epoch())
	require.Zero(t, again.Version(), "nothing to store")
	c.exist(5)
	require.EqualValues(t, 3, c.ok(beat("a", 2, nil)).Epoch)
}

func TestWhoIsSilentIsGivenUp(t *testing.T) {
	c := newScene(t, 2)
	c.join("a")
	require.Equal(t, c.now.Add(testSession), c.s.Next())
	c.now = c.now.Add(testSession - time.Second)
	require.Empty(t, c.s.Expire(c.now))
	c.join("b")
	c.now = c.now.Add(time.Second)
	require.Len(t, c.s.Expire(c.now), 1)
	require.Equal(t, Assigning, c.s.Phase())
	require.Equal(t, of(0, 1), c.ok(beat("b", 2, nil)).Assignment)
}

func TestWhoDoesNotGiveUpInTimeIsGivenUp(t *testing.T) {
	c := newScene(t, 2)
	r := joinRequest("a")
	r.RebalanceTimeout = 20 * time.Second
	c.ok(r)
	c.join("b")
	c.ok(beat("a", 1, nil))
	for range 4 { // heartbeats do not help
		c.now = c.now.Add(5 * time.Second)
		if gone := c.s.Expire(c.now); len(gone) > 0 {
			require.Equal(t, "a", gone[0].Member.ID)
			require.Equal(t, 20*time.Second, c.now.Sub(time.Unix(1000, 0)))
			require.Equal(t, of(0, 1), c.ok(beat("b", 2, nil)).Assignment)
			return
		}
		c.ok(beat("a", 1, nil))
	}
	t.Fatal("it is still there")
}

func TestAStaticMemberComesBackToWhatItHad(t *testing.T) {
	c := newScene(t, 4)
	static := func(id string, epoch int32) Heartbeat {
		r := joinRequest(id)
		if r.InstanceID = ptr("one"); epoch != EpochJoin {
			r = beat(id, epoch, nil)
			r.InstanceID = ptr("one")
		}
		return r
	}
	c.ok(static("a", EpochJoin))
	c.join("b")
	half := c.ok(beat("a", 1, nil)).Assignment
	c.ok(beat("a", 1, half))
	c.ok(beat("b", 2, nil))

	c.fails(ErrUnreleasedInstance, static("a2", EpochJoin))
	c.fails(ErrFencedInstance, static("a2", 2))
	require.EqualValues(t, EpochLeaveStatic, c.ok(static("a", EpochLeaveStatic)).Epoch)
	require.Equal(t, Beat{MemberID: "b", Epoch: 2}, c.ok(beat("b", 2, nil)), "nobody notices")
	c.fails(ErrFencedEpoch, static("a", 2))
	require.Equal(t, Beat{MemberID: "a2", Epoch: 2, Assignment: half}, c.ok(static("a2", EpochJoin)))
	require.EqualValues(t, 2, c.s.Epoch())
	c.fails(ErrFencedInstance, static("a", 2))
	c.fails(ErrUnknownMember, beat("a", 2, nil))

	c.ok(static("a2", EpochLeaveStatic))
	c.now = c.now.Add(testSession)
	c.s.Expire(c.now)
	c.fails(ErrUnknownMember, static("a2", 2))
}

func TestAStaticMemberThatLeavesForGoodIsGone(t *testing.T) {
	c := newScene(t, 2)
	r := joinRequest("a")
	r.InstanceID = ptr("one")
	c.ok(r)
	r = beat("a", EpochLeave, nil)
	r.InstanceID = ptr("one")
	c.ok(r)
	require.Equal(t, Empty, c.s.Phase())
	require.Zero(t, c.s.Len())
}

func TestMostMembersChooseTheAssignor(t *testing.T) {
	c := newScene(t, 2, 2)
	ask := func(id string, assignor string) {
		r := joinRequest(id, "t0", "t1")
		r.Assignor = &assignor
		c.ok(r)
	}
	require.Equal(t, Uniform, c.s.Describe().Assignor)
	ask("a", Range)
	require.Equal(t, Range, c.s.Describe().Assignor)
	ask("b", Range)
	ask("c", Uniform)
	require.Equal(t, Range, c.s.Describe().Assignor)
	ask("d", Uniform)
	require.Equal(t, Uniform, c.s.Describe().Assignor)
}

func TestCommitsAreFencedByTheMembersEpoch(t *testing.T) {
	c := newScene(t, 2)
	require.NoError(t, c.s.Committable("", "", -1, noPartitions), "an empty group takes commits of anybody")
	c.join("a")
	c.classicJoin("k", nil)
	require.ErrorIs(t, c.s.Committable("", "", -1, noPartitions), ErrUnknownMember)
	require.NoError(t, c.s.Committable("a", "", 1, noPartitions))
	require.ErrorIs(t, c.s.Committable("a", "", 2, noPartitions), ErrStaleEpoch, "of the future")
	require.NoError(t, c.s.Committable("k", "", 2, noPartitions))
	require.ErrorIs(t, c.s.Committable("k", "", 1, noPartitions), ErrIllegalGeneration)
	require.NoError(t, c.s.Fetchable("", -1))
	require.NoError(t, c.s.Fetchable("a", 1))
	require.ErrorIs(t, c.s.Fetchable("a", 0), ErrStaleEpoch)
	require.ErrorIs(t, c.s.Fetchable("x", 1), ErrUnknownMember)
}

func noPartitions(func(topic.Partition) bool) {}

func TestACommitThatCrossesAnEpochIsTakenForWhatTheMemberHeldAllTheTime(t *testing.T) {
	c := newScene(t, 4)
	c.join("a")
	c.join("b")
	half := c.ok(beat("a", 1, nil)).Assignment
	c.ok(beat("a", 1, half)) // a has epoch 2
	mine := c.ok(beat("b", 2, nil)).Assignment
	require.NoError(t, c.s.Committable("a", "", 1, half.All()))
	require.ErrorIs(t, c.s.Committable("a", "", 1, mine.All()), ErrStaleEpoch, "b reads them now")
	require.ErrorIs(t, c.s.Committable("b", "", 1, mine.All()), ErrStaleEpoch, "it did not have them then")
	require.ErrorIs(t, c.s.Committable("a", "", 0, half.All()), ErrStaleEpoch)

	// b goes, a gets its partitions back, in epoch 3: what it says of them in an
	// epoch before is from before b read them.
	c.ok(beat("b", EpochLeave, nil))
	require.EqualValues(t, 3, c.ok(beat("a", 2, nil)).Epoch)
	require.ErrorIs(t, c.s.Committable("a", "", 1, mine.All()), ErrStaleEpoch)
	require.NoError(t, c.s.Committable("a", "", 1, half.All()))
	head, rows := c.s.Encode()
	again, err := Decode(c.s.limits, c.now, head, rows)
	require.NoError(t, err)
	require.ErrorIs(t, again.Committable("a", "", 2, half.All()), ErrStaleEpoch, "since when is not known any more")
	require.NoError(t, again.Committable("a", "", 3, half.All()))
}

func (c *scene) classicJoin(id string, owned Assignment) ClassicJoined {
	c.Helper()
	joined, err := c.s.Join(c.now, c.view, classicRequest(c, id, owned))
	require.NoError(c, err)
	return joined
}

func classicRequest(c *scene, id string, owned Assignment) ClassicJoin {
	return ClassicJoin{
		MemberID: id, NewMemberID: "new", ProtocolType: ClassicType, SessionTimeout: 10 * time.Second, RebalanceTimeout: testRebalance,
		Protocols: []Protocol{{"cooperative-sticky", subscriptionBytes(c.view, []string{"t0"}, owned)}},
	}
}

func (c *scene) sync(id string, generation int32) (Assignment, error) {
	synced, err := c.s.Sync(c.now, c.view, ClassicSync{MemberID: id, Generation: generation})
	if err != nil {
		return nil, err
	}
	a, err := parseAssignment(synced.Assignment, c.view)
	require.NoError(c, err)
	return a, nil
}

func TestAClassicMemberIsLedByItsHeartbeats(t *testing.T) {
	c := newScene(t, 4)
	c.join("a")
	joined := c.classicJoin("k", nil)
	require.Equal(t, ClassicJoined{MemberID: "k", Generation: 2, Protocol: "cooperative-sticky"}, joined)
	got, err := c.sync("k", 2)
	require.NoError(t, err)
	require.Equal(t, of(), got)
	require.NoError(t, c.s.ClassicHeartbeat(c.now, "k", "", 2), "what it is to get is still read by a")

	half := c.ok(beat("a", 1, nil)).Assignment
	c.ok(beat("a", 1, half))
	require.ErrorIs(t, c.s.ClassicHeartbeat(c.now, "k", "", 2), ErrRebalancing, "it can get it now")
	require.Equal(t, joined, c.classicJoin("k", nil))
	mine, err := c.sync("k", 2)
	require.NoError(t, err)
	require.Equal(t, of(0, 1, 2, 3), half.with(mine))
	require.NoError(t, c.s.ClassicHeartbeat(c.now, "k", "", 2))
	require.ErrorIs(t, c.s.ClassicHeartbeat(c.now, "k", "", 1), ErrIllegalGeneration)
	require.ErrorIs(t, c.s.ClassicHeartbeat(c.now, "a", "", 2), ErrUnknownMember)
	require.ErrorIs(t, c.s.ClassicLeave("a", ""), ErrUnknownMember)

	// A third comes: k is told, gives up, and joins twice.
	c.join("b")
	_, err = c.sync("k", 2)
	require.ErrorIs(t, err, ErrRebalancing)
	require.EqualValues(t, 3, c.classicJoin("k", of()).Generation, "an eager one has given up everything before it joins")
	require.NoError(t, c.s.ClassicLeave("k", ""))
	require.False(t, c.s.AllClassic())
}

func TestAClassicMemberGivesUpBetweenTwoJoins(t *testing.T) {
	c := newScene(t, 4)
	c.classicJoin("k", nil)
	all, err := c.sync("k", 1)
	require.NoError(t, err)
	c.join("b")
	require.ErrorIs(t, c.s.ClassicHeartbeat(c.now, "k", "", 1), ErrRebalancing)
	require.EqualValues(t, 1, c.classicJoin("k", all).Generation)
	half, err := c.sync("k", 1)
	require.NoError(t, err)
	require.Equal(t, 2, half.Len())
	require.ErrorIs(t, c.s.ClassicHeartbeat(c.now, "k", "", 1), ErrRebalancing, "to join again when it has given up")
	require.EqualValues(t, 2, c.classicJoin("k", half).Generation)
	got := c.ok(beat("b", 2, nil))
	require.Equal(t, all, half.with(got.Assignment))
}

func TestAClassicMemberThatDoesNotComeIsGivenUp(t *testing.T) {
	for name, end := range map[string]time.Duration{
		"silent":          10 * time.Second,
		"does not sync":   testRebalance,
		"does not rejoin": time.Second + testRebalance, // from when it is told so first
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, 4)
			start := c.now
			c.classicJoin("k", nil)
			if name == "does not rejoin" {
				_, err := c.sync("k", 1)
				require.NoError(t, err)
				c.join("b")
			}
			for c.s.byID["k"] != nil {
				c.now = c.now.Add(time.Second)
				require.LessOrEqual(t, c.now.Sub(start), end, "it is still there")
				if name != "silent" {
					_ = c.s.ClassicHeartbeat(c.now, "k", "", 1)
				}
				if name == "does not rejoin" {
					c.ok(beat("b", 2, nil))
				}
				c.s.Expire(c.now)
			}
			require.Equal(t, end, c.now.Sub(start))
		})
	}
}

func TestAClassicMemberIsRefused(t *testing.T) {
	c := newScene(t, 4)
	c.join("a")
	refused := func(want error, change func(*ClassicJoin)) {
		t.Helper()
		r := classicRequest(c, "", nil)
		change(&r)
		_, err := c.s.Join(c.now, c.view, r)
		require.ErrorIs(t, err, want)
	}
	refused(ErrProtocol, func(r *ClassicJoin) { r.ProtocolType = "connect" })
	refused(ErrProtocol, func(r *ClassicJoin) { r.Protocols = nil })
	refused(ErrProtocol, func(r *ClassicJoin) { r.Protocols[0].Metadata = []byte{1} })
	refused(ErrMemberIDRequired, func(r *ClassicJoin) { r.IDFirst = true })
	refused(ErrUnknownMember, func(r *ClassicJoin) { r.MemberID, r.InstanceID = "x", "i" })
	c.classicJoin("k", nil)
	refused(ErrProtocol, func(r *ClassicJoin) { r.Protocols[0].Name = "range" })
	require.Equal(t, 2, c.s.Len())
}

func TestAGroupGoesOnWhenItsProtocolChangesAndChangesBack(t *testing.T) {
	c := newScene(t, 4)
	subscription := subscriptionBytes(c.view, []string{"t0"}, nil)
	g := ClassicGroup{Generation: 7}
	for i, id := range []string{"k1", "k2"} {
		g.Members = append(g.Members, ClassicMember{
			ID: id, SessionTimeout: testSession, RebalanceTimeout: testRebalance, Protocols: []Protocol{{"range", subscription}},
			Assignment: encodeAssignment(of(int32(2*i), int32(2*i+1)), c.view, 1),
		})
	}
	g.Members[1].Assignment = encodeAssignment(of(1, 2, 3), c.view, 1) // 1 is claimed twice
	s, err := FromClassic(c.s.limits, c.now, c.view, g)
	require.NoError(t, err)
	c.s = s
	require.True(t, s.AllClassic())
	require.EqualValues(t, 7, s.Epoch())
	require.NoError(t, s.ClassicHeartbeat(c.now, "k1", "", 7))
	require.Equal(t, of(2, 3), s.byID["k2"].Assigned)

	c.join("a")
	require.False(t, s.AllClassic())
	require.EqualValues(t, 8, s.Epoch())
	require.ErrorIs(t, s.ClassicHeartbeat(c.now, "k1", "", 7), ErrRebalancing)
	c.ok(Heartbeat{MemberID: "a", Epoch: EpochLeave, RebalanceTimeout: -1})
	require.True(t, s.AllClassic())
	back := s.ToClassic(c.view)
	require.EqualValues(t, 8, back.Generation, "that of its members")
	require.Equal(t, []string{"k1", "k2"}, []string{back.Members[0].ID, back.Members[1].ID})

	g.Members[0].Protocols = nil
	_, err = FromClassic(c.s.limits, c.now, c.view, g)
	require.ErrorIs(t, err, ErrNotConsumers)
	g.Members[0].Protocols = []Protocol{{"range", []byte("?")}}
	_, err = FromClassic(c.s.limits, c.now, c.view, g)
	require.ErrorIs(t, err, ErrNotConsumers)
}

func TestAMemberThatWasJoiningKeepsWhatItOwns(t *testing.T) {
	c := newScene(t, 4)
	s, err := FromClassic(c.s.limits, c.now, c.view, ClassicGroup{Generation: 3, Members: []ClassicMember{{
		ID: "k", SessionTimeout: testSession, RebalanceTimeout: testRebalance,
		Protocols: []Protocol{{"cooperative-sticky", subscriptionBytes(c.view, []string{"t0"}, of(1, 2))}},
	}}})
	require.NoError(t, err)
	c.s = s
	require.Equal(t, of(0, 3), c.join("a").Assignment, "the others are still read by k")
}

func TestAStaticMemberChangesItsProtocol(t *testing.T) {
	c := newScene(t, 4)
	r := classicRequest(c, "", nil)
	r.InstanceID = "one"
	joined, err := c.s.Join(c.now, c.view, r)
	require.NoError(t, err)
	require.Equal(t, "new", joined.MemberID)
	upgraded := joinRequest("u")
	upgraded.InstanceID = ptr("one")
	require.Equal(t, Beat{MemberID: "u", Epoch: 1, Assignment: of(0, 1, 2, 3)}, c.ok(upgraded))
	require.False(t, c.s.AllClassic())
	r.NewMemberID = "old again"
	joined, err = c.s.Join(c.now, c.view, r)
	require.NoError(t, err)
	require.Equal(t, "old again", joined.MemberID)
	require.True(t, c.s.AllClassic())
	r.MemberID = "u"
	_, err = c.s.Join(c.now, c.view, r)
	require.ErrorIs(t, err, ErrFencedInstance)
}

func TestErrorsAreToldApart(t *testing.T) {
	all := []error{ErrInvalid, ErrUnknownMember, ErrFencedEpoch, ErrStaleEpoch, ErrUnreleasedInstance, ErrFencedInstance, ErrAssignor, ErrRegex, ErrFull}
	for i, a := range all {
		require.Equal(t, i, slices.IndexFunc(all, func(b error) bool { return errors.Is(a, b) }))
	}
}
