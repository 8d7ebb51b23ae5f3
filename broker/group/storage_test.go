package group_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// reading is the metadata by which a Java consumer subscribes to topics.
func reading(topics ...string) []byte {
	b := []byte{0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for _, name := range topics {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}

// member is somebody in a group of his own, of the newest generation.
func member(t *testing.T, c *group.Coordinator, name string, topics ...string) (id string, generation int32) {
	t.Helper()
	request := join("")
	request.Protocols = []group.Protocol{{Name: "range", Metadata: reading(topics...)}}
	request.SessionTimeout, request.RebalanceTimeout = 18*time.Minute, 18*time.Minute
	joined, err := c.Join(t.Context(), name, request)
	require.NoError(t, err)
	_, err = c.Sync(t.Context(), name, group.SyncRequest{
		MemberID: joined.MemberID, Generation: joined.Generation, Assignments: map[string][]byte{joined.MemberID: []byte("all")},
	})
	require.NoError(t, err)
	return joined.MemberID, joined.Generation
}

func TestOffsetsExpireWhenNobodyUsesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, unread, gone := consumer.Topic{ID: topic.NewID(), Name: "read", Partitions: 2}, consumer.Topic{ID: topic.NewID(), Name: "unread", Partitions: 1}, topic.NewID()
		topics := consumer.NewTopics(1, []consumer.Topic{read, unread})
		reg := prometheus.NewRegistry()
		cfg := group.Config{OffsetsRetention: 7 * 24 * time.Hour, OffsetsRetentionCheck: 10 * time.Minute}
		c := group.New(cfg, func() *consumer.Topics { return topics }, slog.New(slog.DiscardHandler), group.NewMetrics(reg))
		beginAll(c, newStore())
		defer c.Close()
		one := func(id topic.ID) map[topic.Partition]group.Offset {
			return map[topic.Partition]group.Offset{{Topic: id}: {Offset: 1, CommittedAt: time.Now()}}
		}
		left := func(name string) (topics []topic.ID) {
			t.Helper()
			committed, err := c.Committed(t.Context(), name)
			require.NoError(t, err)
			for p := range committed {
				topics = append(topics, p.Topic)
			}
			return topics
		}
		require.NoError(t, c.Commit(t.Context(), "simple", "", "", -1, one(read.ID)))
		require.NoError(t, c.Commit(t.Context(), "busy", "", "", -1, one(read.ID)))
		require.NoError(t, c.Commit(t.Context(), "old client", "", "", -1, map[topic.Partition]group.Offset{
			{Topic: read.ID}: {CommittedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}, {Topic: read.ID, Index: 1}: {CommittedAt: time.Now()},
		}))
		id, generation := member(t, c, "live", "read")
		for _, of := range []topic.ID{read.ID, unread.ID, gone} {
			require.NoError(t, c.Commit(t.Context(), "live", id, "", generation, one(of)))
		}
		live := func(d time.Duration) { // with heartbeats, and commits of "busy"
			for end := time.Now().Add(d); time.Now().Before(end); {
				<-time.After(10 * time.Minute)
				require.NoError(t, c.Heartbeat(t.Context(), "live", id, "", generation))
				require.NoError(t, c.Commit(t.Context(), "busy", "", "", -1, one(read.ID)))
			}
		}
		const day = 24 * time.Hour
		live(7*day - time.Hour)
		require.Len(t, left("live"), 3)
		require.Len(t, left("simple"), 1)
		require.Len(t, left("old client"), 1, "it said how long the other was to be kept")
		live(2 * time.Hour)
		require.ElementsMatch(t, []topic.ID{read.ID, gone}, left("live"), "what is read stays, what is of no topic is not for the clock to delete")
		require.Empty(t, left("simple"))
		require.Len(t, left("busy"), 1)
		require.Equal(t, 4.0, counter(t, reg, "chronik_group_offsets_expired_total"))
		live(20 * day)
		require.Contains(t, left("live"), read.ID, "however old it is")

		require.NoError(t, c.Leave(t.Context(), "live", id, "", ""))
		<-time.After(6 * day)
		require.Contains(t, left("live"), read.ID, "the time begins when the last member has gone")
		d, err := c.Describe(t.Context(), "live")
		require.NoError(t, err)
		require.Equal(t, group.Empty, d.Phase)
		<-time.After(day + time.Hour)
		require.NotContains(t, left("live"), read.ID)
	})
}

func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.Fail(t, "there is no such metric", name)
	return 0
}

func TestAnEmptyGroupWithoutOffsetsIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		c := begin(t, s)
		id, _ := member(t, c, "g", "t")
		require.NoError(t, c.Leave(t.Context(), "g", id, "", ""))
		d, err := c.Describe(t.Context(), "g")
		require.NoError(t, err)
		require.Equal(t, group.Empty, d.Phase)
		<-time.After(15 * time.Minute)
		_, err = c.Describe(t.Context(), "g")
		require.ErrorIs(t, err, group.ErrGroupUnknown)
		require.Empty(t, s.states)
	})
}

func TestOffsetsOfTopicsThatAreReadAreNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, newStore())
		read, unread := topic.Partition{Topic: topic.NewID()}, topic.Partition{Topic: topic.NewID()}
		ask := map[string][]topic.Partition{"read": {read}, "unread": {unread}}
		_, err := c.DeleteOffsets(t.Context(), "g", ask)
		require.ErrorIs(t, err, group.ErrGroupUnknown)
		_, err = c.DeleteOffsets(t.Context(), "", ask)
		require.ErrorIs(t, err, group.ErrInvalidGroupID)
		id, generation := member(t, c, "g", "read")
		require.NoError(t, c.Commit(t.Context(), "g", id, "", generation, map[topic.Partition]group.Offset{read: {Offset: 1}, unread: {Offset: 2}}))
		refused, err := c.DeleteOffsets(t.Context(), "g", ask)
		require.NoError(t, err)
		require.Len(t, refused, 1)
		require.ErrorIs(t, refused["read"], group.ErrSubscribed)
		committed, err := c.Committed(t.Context(), "g")
		require.NoError(t, err)
		require.Equal(t, map[topic.Partition]group.Offset{read: {Offset: 1}}, committed)
		require.NoError(t, c.Leave(t.Context(), "g", id, "", ""))
		refused, err = c.DeleteOffsets(t.Context(), "g", ask)
		require.NoError(t, err)
		require.Empty(t, refused)
		committed, err = c.Committed(t.Context(), "g")
		require.NoError(t, err)
		require.Empty(t, committed)

		other := join("")
		other.ProtocolType = "connect"
		joined, err := c.Join(t.Context(), "connect", other)
		require.NoError(t, err)
		require.NotEmpty(t, joined.MemberID)
		_, err = c.DeleteOffsets(t.Context(), "connect", ask)
		require.ErrorIs(t, err, group.ErrNotEmpty, "what others than consumers read is not known")
	})
}

func TestMetadataOfAnOffsetIsBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	most := 3
	c := group.New(group.Config{OffsetMetadataBytesMax: &most}, noTopics, slog.New(slog.DiscardHandler), group.NewMetrics(reg))
	defer c.Close()
	require.NoError(t, c.CheckMetadata("123"))
	require.ErrorIs(t, c.CheckMetadata("1234"), group.ErrMetadataTooLarge)
	require.Equal(t, 1.0, counter(t, reg, "chronik_group_offset_metadata_refused_total"))
}

// gated is a store whose writes of states wait, or fail.
type gated struct {
	*store
	mu   sync.Mutex
	gate chan struct{} // nil: open
	fail error         // of the next write
}

func (g *gated) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := make(chan struct{})
	g.gate = gate
	return func() { close(gate) }
}

func (g *gated) failOnce(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = err
}

func (g *gated) LoadGroup(ctx context.Context, name string) (group.Record, error) {
	r, err := g.store.LoadGroup(ctx, name)
	return gatedRecord{r, g}, err
}

type gatedRecord struct {
	group.Record
	g *gated
}

func (r gatedRecord) Write(ctx context.Context, state group.Stored) error {
	r.g.mu.Lock()
	gate, fail := r.g.gate, r.g.fail
	r.g.fail = nil
	r.g.mu.Unlock()
	if fail != nil {
		return fail
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.Record.Write(ctx, state)
}

func TestNoAnswerTellsOfAnAssignmentThatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &gated{store: newStore()}
		reg := prometheus.NewRegistry()
		c := group.New(group.Config{MembersMax: 1}, noTopics, slog.New(slog.DiscardHandler), group.NewMetrics(reg))
		beginAll(c, s)
		defer c.Close()
		joined, err := c.Join(t.Context(), "g", join(""))
		require.NoError(t, err)
		open := s.close()
		sync := group.SyncRequest{MemberID: joined.MemberID, Generation: 1, Assignments: map[string][]byte{joined.MemberID: []byte("all")}}
		asked := time.Now()
		_, err = c.Sync(t.Context(), "g", sync)
		require.ErrorIs(t, err, group.ErrNotStored, "in time, though the store is away")
		require.Equal(t, 5*time.Second, time.Since(asked))
		require.Equal(t, 1.0, counter(t, reg, "chronik_group_answers_not_stored_total"))
		require.NoError(t, c.Heartbeat(t.Context(), "g", joined.MemberID, "", 1), "the member is alive all the same")
		_, err = c.Join(t.Context(), "g", join(""))
		require.ErrorIs(t, err, group.ErrGroupFull)
		require.Equal(t, 1.0, counter(t, reg, "chronik_group_full_total"))
		answered := make(chan error, 1)
		go func() {
			synced, err := c.Sync(t.Context(), "g", sync)
			if string(synced.Assignment) != "all" {
				err = errors.Join(err, fmt.Errorf("assigned %q", synced.Assignment))
			}
			answered <- err
		}()
		synctest.Wait()
		require.Empty(t, answered)
		require.Empty(t, s.states)
		open()
		require.NoError(t, <-answered)
		require.Len(t, s.states, 1)
	})
}

func TestAGroupThatSomebodyElseWroteIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &gated{store: newStore()}
		c := begin(t, s)
		id, generation := member(t, c, "g", "t")
		other := begin(t, s.store) // another broker, for which the group goes on
		require.NoError(t, other.Leave(t.Context(), "g", id, "", ""))
		s.failOnce(metastore.ErrConflict)
		require.ErrorIs(t, c.Leave(t.Context(), "g", id, "", ""), group.ErrNotStored)
		require.ErrorIs(t, c.Heartbeat(t.Context(), "g", id, "", generation), group.ErrUnknownMember)
		d, err := c.Describe(t.Context(), "g")
		require.NoError(t, err)
		require.Equal(t, group.Empty, d.Phase)
	})
}

func TestMembersHaveAWholeSessionAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		c := begin(t, s)
		id, generation := member(t, c, "g", "t") // a session of 18 minutes
		_, _ = member(t, c, "h", "t")
		<-time.After(15 * time.Minute)
		c.Close()
		<-time.After(15 * time.Minute) // longer than the session together
		c = begin(t, s)
		<-time.After(15 * time.Minute)
		require.NoError(t, c.Heartbeat(t.Context(), "g", id, "", generation))
		<-time.After(4 * time.Minute)
		listed, err := c.List(t.Context())
		require.NoError(t, err)
		require.Len(t, listed, 2)
		require.Equal(t, group.Stable, listed[0].Phase)
		require.Equal(t, group.Empty, listed[1].Phase, "who does not come back is missed, though nobody asks")
		require.Equal(t, generation, listed[0].Generation)
	})
}
