package group_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/topic"
)

var topicOne = topic.ID{1}

func oneTopic() *consumer.Topics {
	return consumer.NewTopics(1, []consumer.Topic{{ID: topicOne, Name: "t", Partitions: 4}})
}

// protocols is a coordinator whose groups may speak either protocol.
type protocols struct {
	*testing.T
	*group.Coordinator
	told *bytes.Buffer // its log, to be read when it has ended
}

func beginProtocols(t *testing.T, s group.Storage, migration group.Migration) protocols {
	var told bytes.Buffer
	c := group.New(group.Config{Migration: migration}, oneTopic, slog.New(slog.NewTextHandler(&told, nil)), group.NewMetrics(prometheus.NewRegistry()))
	beginAll(c, s)
	t.Cleanup(c.Close)
	return protocols{t, c, &told}
}

func (p protocols) beat(r consumer.Heartbeat) consumer.Beat {
	p.Helper()
	beat, interval, err := p.ConsumerHeartbeat(p.Context(), "g", r)
	require.NoError(p, err)
	require.Equal(p, 5*time.Second, interval)
	return beat
}

func enter(id string) consumer.Heartbeat {
	return consumer.Heartbeat{MemberID: id, RebalanceTimeout: time.Minute, Names: []string{"t"}, Owned: consumer.Assignment{}}
}

func again(id string, epoch int32, owned consumer.Assignment) consumer.Heartbeat {
	return consumer.Heartbeat{MemberID: id, Epoch: epoch, RebalanceTimeout: -1, Owned: owned}
}

func consumerJoin(id string) group.JoinRequest {
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Version, subscription.Topics = 1, []string{"t"}
	r := join(id)
	r.Protocols = []group.Protocol{{Name: "range", Metadata: subscription.AppendTo(nil)}}
	return r
}

// settle makes a classic group of one member that has all partitions.
func (p protocols) settle() group.Joined {
	p.Helper()
	joined, err := p.Join(p.Context(), "g", consumerJoin(""))
	require.NoError(p, err)
	all := kmsg.NewConsumerMemberAssignment()
	all.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "t", Partitions: []int32{0, 1, 2, 3}}}
	_, err = p.Sync(p.Context(), "g", group.SyncRequest{
		MemberID: joined.MemberID, Generation: joined.Generation, Assignments: map[string][]byte{joined.MemberID: all.AppendTo(nil)},
	})
	require.NoError(p, err)
	return joined
}

func (p protocols) kind() (string, int32) {
	p.Helper()
	listed, err := p.List(p.Context())
	require.NoError(p, err)
	require.Len(p, listed, 1)
	return listed[0].Kind, listed[0].Generation
}

func TestAClassicGroupGoesOnInTheConsumerProtocolAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := beginProtocols(t, newStore(), "")
		old := p.settle()
		require.Empty(t, p.beat(enter("a")).Assignment, "the classic member still reads everything")
		kind, generation := p.kind()
		require.Equal(t, group.Consumer, kind)
		require.Equal(t, old.Generation+1, generation)
		_, err := p.Describe(t.Context(), "g")
		require.ErrorIs(t, err, group.ErrGroupUnknown)

		// It is told, gives up by joining with nothing, and gets its half.
		require.ErrorIs(t, p.Heartbeat(t.Context(), "g", old.MemberID, "", old.Generation), group.ErrRebalancing)
		joined, err := p.Join(t.Context(), "g", consumerJoin(old.MemberID))
		require.NoError(t, err)
		require.Equal(t, generation, joined.Generation)
		require.Equal(t, "range", joined.Protocol)
		require.Empty(t, joined.Leader, "the group assigns")
		synced, err := p.Sync(t.Context(), "g", group.SyncRequest{MemberID: old.MemberID, Generation: generation, Protocol: "range", ProtocolType: "consumer"})
		require.NoError(t, err)
		var half kmsg.ConsumerMemberAssignment
		require.NoError(t, half.ReadFrom(synced.Assignment))
		require.Len(t, half.Topics[0].Partitions, 2)
		require.Equal(t, 2, p.beat(again("a", generation, nil)).Assignment.Len())

		_, _, err = p.ConsumerHeartbeat(t.Context(), "g", again("a", consumer.EpochLeave, nil))
		require.NoError(t, err)
		kind, generation = p.kind()
		require.Equal(t, group.Classic, kind)
		require.ErrorIs(t, p.Heartbeat(t.Context(), "g", old.MemberID, "", generation), group.ErrRebalancing)
		joined, err = p.Join(t.Context(), "g", consumerJoin(old.MemberID))
		require.NoError(t, err)
		require.Equal(t, old.MemberID, joined.Leader)
		require.Greater(t, joined.Generation, generation)
		_, _, err = p.ConsumerHeartbeat(t.Context(), "g", again("a", generation, nil))
		require.ErrorIs(t, err, consumer.ErrUnknownMember, "it is to join again")
	})
}

func TestWhoWaitsInAClassicGroupThatIsUpgradedJoinsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := beginProtocols(t, newStore(), "")
		answered := make(chan error, 1)
		go func() {
			_, err := p.Join(t.Context(), "g", consumerJoin(""))
			answered <- err
		}()
		synctest.Wait() // it waits for others
		p.beat(enter("a"))
		require.ErrorIs(t, <-answered, group.ErrRebalancing)
	})
}

func TestAGroupKeepsItsProtocolWhenItMayNotChangeIt(t *testing.T) {
	for _, migration := range []group.Migration{group.DowngradeOnly, group.NoMigration} {
		synctest.Test(t, func(t *testing.T) {
			p := beginProtocols(t, newStore(), migration)
			old := p.settle()
			_, _, err := p.ConsumerHeartbeat(t.Context(), "g", enter("a"))
			require.ErrorIs(t, err, group.ErrGroupUnknown)
			require.NoError(t, p.Heartbeat(t.Context(), "g", old.MemberID, "", old.Generation), "nothing has happened to it")
		})
	}
	for _, migration := range []group.Migration{group.UpgradeOnly, group.NoMigration} {
		synctest.Test(t, func(t *testing.T) {
			p := beginProtocols(t, newStore(), migration)
			p.beat(enter("a"))
			_, err := p.Join(t.Context(), "g", consumerJoin(""))
			require.NoError(t, err)
			p.beat(again("a", consumer.EpochLeave, nil))
			kind, _ := p.kind()
			require.Equal(t, group.Consumer, kind)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := beginProtocols(t, newStore(), "")
		r := join("")
		r.ProtocolType = "connect"
		joined, err := p.Join(t.Context(), "g", r)
		require.NoError(t, err)
		_, _, err = p.ConsumerHeartbeat(t.Context(), "g", enter("a"))
		require.ErrorIs(t, err, group.ErrGroupUnknown, "its members are no consumers")
		r.Protocols = nil
		require.NotErrorIs(t, p.Heartbeat(t.Context(), "g", joined.MemberID, "", joined.Generation), group.ErrUnknownMember)
	})
}

func TestAnEmptyGroupChangesItsProtocolAndItsEpochNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := beginProtocols(t, newStore(), group.NoMigration)
		old := p.settle()
		require.NoError(t, p.Leave(t.Context(), "g", old.MemberID, "", ""))
		_, generation := p.kind()
		epoch := p.beat(enter("a")).Epoch
		require.Greater(t, epoch, generation)
		p.beat(again("a", consumer.EpochLeave, nil))
		kind, last := p.kind()
		require.Equal(t, group.Consumer, kind)
		require.Greater(t, p.settle().Generation, last)
		kind, _ = p.kind()
		require.Equal(t, group.Classic, kind)
	})
}

func TestTheLastMemberToBeDowngradedDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := beginProtocols(t, newStore(), "")
		instance := "one"
		r := enter("a")
		r.InstanceID = &instance
		all := p.beat(r)
		require.Equal(t, 4, all.Assignment.Len())
		r = again("a", consumer.EpochLeaveStatic, nil)
		r.InstanceID = &instance
		p.beat(r)
		j := consumerJoin("")
		j.InstanceID = instance
		joined, err := p.Join(t.Context(), "g", j)
		require.NoError(t, err)
		kind, generation := p.kind()
		require.Equal(t, group.Classic, kind)
		require.Equal(t, all.Epoch, generation)
		synced, err := p.Sync(t.Context(), "g", group.SyncRequest{MemberID: joined.MemberID, InstanceID: instance, Generation: generation})
		require.NoError(t, err)
		var has kmsg.ConsumerMemberAssignment
		require.NoError(t, has.ReadFrom(synced.Assignment))
		require.Equal(t, []int32{0, 1, 2, 3}, has.Topics[0].Partitions)
		require.NoError(t, p.Heartbeat(t.Context(), "g", joined.MemberID, instance, generation))
	})
}

func TestMembersOfTheConsumerProtocolSurviveTheirCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		p := beginProtocols(t, s, "")
		p.beat(enter("a"))
		p.beat(enter("b"))
		half := p.beat(again("a", 1, nil)).Assignment
		p.EndAll()
		_, _, err := p.ConsumerHeartbeat(t.Context(), "g", again("a", 1, half))
		require.ErrorIs(t, err, group.ErrNotCoordinator)

		beginAll(p.Coordinator, s)
		require.Equal(t, consumer.Beat{MemberID: "a", Epoch: 2}, p.beat(again("a", 1, half)), "it goes on where it was: between two epochs")
		require.Equal(t, 2, p.beat(again("b", 2, nil)).Assignment.Len())
		d, _, err := p.DescribeConsumers(t.Context(), "g")
		require.NoError(t, err)
		require.Equal(t, consumer.Stable, d.Phase)

		// Whoever does not come back is missed, and that is told.
		p.EndAll()
		beginAll(p.Coordinator, s)
		epoch, all := int32(2), half
		for range 10 {
			<-time.After(5 * time.Second)
			beat := p.beat(again("a", epoch, nil))
			if epoch = beat.Epoch; beat.Assignment != nil {
				all = beat.Assignment
			}
		}
		require.Equal(t, 4, all.Len())
		p.Close()
		require.Equal(t, 1, strings.Count(p.told.String(), "a member was given up"))
		require.Contains(t, p.told.String(), "member=b")
	})
}

// refusing is a storage whose writes fail while it is told so.
type refusing struct {
	*store
	broken atomic.Bool
}

type refusingRecord struct {
	group.Record
	s *refusing
}

func (s *refusing) LoadGroup(ctx context.Context, name string) (group.Record, error) {
	r, err := s.store.LoadGroup(ctx, name)
	return refusingRecord{r, s}, err
}

func (r refusingRecord) Write(ctx context.Context, state group.Stored) error {
	if r.s.broken.Load() {
		return errors.New("somebody else wrote it")
	}
	return r.Record.Write(ctx, state)
}

// A copy of a request may come late, on a connection that its sender has given up
// for another one on which it was answered.
func TestWhoHasHungUpGivesNothingUpButMayLeave(t *testing.T) {
	p := beginProtocols(t, newStore(), "")
	require.Equal(t, 4, p.beat(enter("a")).Assignment.Len())
	b := p.beat(enter("b"))
	require.Zero(t, b.Assignment.Len())
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()

	_, _, err := p.ConsumerHeartbeat(gone, "g", enter("a"))
	require.Error(t, err)
	require.Zero(t, p.beat(again("b", b.Epoch, nil)).Assignment.Len(), "a reads all still")
	require.Equal(t, 2, p.beat(again("a", 1, nil)).Assignment.Len())

	_, _, _ = p.ConsumerHeartbeat(gone, "g", again("a", consumer.EpochLeave, nil))
	require.Equal(t, 4, p.beat(again("b", b.Epoch, nil)).Assignment.Len())
}

func TestNoMemberIsToldWhatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &refusing{store: newStore()}
		p := beginProtocols(t, s, "")
		p.beat(enter("a"))
		s.broken.Store(true)
		_, _, err := p.ConsumerHeartbeat(t.Context(), "g", enter("b"))
		require.ErrorIs(t, err, group.ErrNotStored)
		s.broken.Store(false)
		require.Equal(t, consumer.Beat{MemberID: "a", Epoch: 1}, p.beat(again("a", 1, nil)), "b never was")
		require.EqualValues(t, 2, p.beat(enter("b")).Epoch)
	})
}
