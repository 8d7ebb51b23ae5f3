package group_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

func noTopics() *consumer.Topics { return consumer.NewTopics(1, nil) }

// store keeps groups in memory; each write takes a virtual millisecond.
type store struct {
	mu      sync.Mutex
	offsets map[string]map[topic.Partition]group.Offset
	states  map[string]group.Stored
	writes  int // of offsets
}

func newStore() *store {
	return &store{offsets: make(map[string]map[topic.Partition]group.Offset), states: make(map[string]group.Stored)}
}

// begin returns a coordinator that serves out of s until the test ends.
func begin(t *testing.T, s group.Storage) *group.Coordinator {
	c := group.New(group.Config{}, noTopics, slog.New(slog.DiscardHandler), group.NewMetrics(nil))
	beginAll(c, s)
	t.Cleanup(c.Close)
	return c
}

type record struct {
	s    *store
	name string
}

func (s *store) LoadGroup(_ context.Context, name string) (group.Record, error) {
	return record{s, name}, nil
}

func (r record) State() group.Stored {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.states[r.name]
}

func (r record) Write(_ context.Context, state group.Stored) error {
	<-time.After(time.Millisecond)
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.states[r.name] = state
	if state.Head == nil {
		delete(r.s.states, r.name)
	}
	return nil
}

func (s *store) GroupHeads(context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heads := make(map[string][]byte)
	for name, state := range s.states {
		heads[name] = state.Head
	}
	return heads, nil
}

func (s *store) FetchOffsets(_ context.Context, name string) (map[topic.Partition]group.Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.offsets[name]), nil
}

func (s *store) CommitOffsets(_ context.Context, name string, offsets map[topic.Partition]group.Offset) error {
	<-time.After(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.offsets[name] == nil {
		s.offsets[name] = make(map[topic.Partition]group.Offset)
	}
	maps.Copy(s.offsets[name], offsets)
	return nil
}

func (s *store) ExpireOffsets(_ context.Context, name string, expired map[topic.Partition]group.Offset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.offsets[name], func(p topic.Partition, o group.Offset) bool {
		was, expires := expired[p]
		return expires && o == was
	})
	return nil
}

func (s *store) Sweep(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.offsets, func(_ string, offsets map[topic.Partition]group.Offset) bool { return len(offsets) == 0 })
	return nil
}

func (s *store) DeleteGroupOffsets(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.offsets, name)
	return nil
}

func (s *store) GroupsWithOffsets(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.offsets {
		names = append(names, name)
	}
	return names, nil
}

func (s *store) Valid() bool { return true }

// beginAll has c serve every slot out of one storage.
func beginAll(c *group.Coordinator, s group.Storage) {
	for slot := range metastore.Slots {
		c.Begin(slot, s)
	}
}

func join(id string) group.JoinRequest {
	return group.JoinRequest{
		MemberID: id, ClientID: "c", ProtocolType: "consumer", Protocols: []group.Protocol{{Name: "range"}},
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second,
	}
}

func TestManyMembersReachOneGenerationAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, newStore())
		const members = 50
		var done sync.WaitGroup
		for range members {
			done.Go(func() {
				joined, err := c.Join(t.Context(), "g", join(""))
				require.NoError(t, err)
				require.Equal(t, int32(1), joined.Generation, "the initial delay gathers them all")
				request := group.SyncRequest{MemberID: joined.MemberID, Generation: 1, Assignments: make(map[string][]byte)}
				for _, m := range joined.Members {
					request.Assignments[m.ID] = []byte(m.ID)
				}
				synced, err := c.Sync(t.Context(), "g", request)
				require.NoError(t, err)
				require.Equal(t, joined.MemberID, string(synced.Assignment))
			})
		}
		done.Wait()
		d, err := c.Describe(t.Context(), "g")
		require.NoError(t, err)
		require.Equal(t, group.Stable, d.Phase)
		require.Len(t, d.Members, members)
		require.ErrorIs(t, c.Delete(t.Context(), "g"), group.ErrNotEmpty)
		<-time.After(time.Minute) // virtual: nobody heartbeats
		d, err = c.Describe(t.Context(), "g")
		require.NoError(t, err)
		require.Equal(t, group.Empty, d.Phase)
	})
}

func TestCloseFreesEverybodyWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, newStore())
		answered := make(chan error)
		go func() {
			_, err := c.Join(t.Context(), "g", join(""))
			answered <- err
		}()
		synctest.Wait()
		c.Close()
		c.Close()
		require.ErrorIs(t, <-answered, group.ErrClosed)
		require.ErrorIs(t, c.Heartbeat(t.Context(), "g", "m", "", 1), group.ErrClosed)
	})
}

// doubtful is a store of a slot that may be another's by now.
type doubtful struct {
	*store
	lapsed atomic.Bool
}

func (d *doubtful) Valid() bool { return !d.lapsed.Load() }

func TestOnlyTheCoordinatorAnswers(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := group.New(group.Config{}, noTopics, slog.New(slog.DiscardHandler), group.NewMetrics(reg))
	defer c.Close()
	refuses := func(name string) {
		t.Helper()
		_, err := c.Join(t.Context(), name, join(""))
		require.ErrorIs(t, err, group.ErrNotCoordinator)
		_, err = c.Committed(t.Context(), name)
		require.ErrorIs(t, err, group.ErrNotCoordinator)
	}
	refuses("g")
	s := &doubtful{store: newStore()}
	c.Begin(metastore.SlotOf("g"), s)
	refuses("of another slot")
	offsets, err := c.Committed(t.Context(), "g")
	require.NoError(t, err)
	require.Empty(t, offsets)
	s.lapsed.Store(true)
	refuses("g")
	s.lapsed.Store(false)
	require.NoError(t, c.Check("g"))
	c.End(metastore.SlotOf("g"))
	refuses("g")

	beginAll(c, newStore())
	require.Equal(t, 1.0+metastore.Slots, counter(t, reg, "chronik_group_slots_taken_total"))
	_, err = c.Join(t.Context(), "", join(""))
	require.ErrorIs(t, err, group.ErrInvalidGroupID)
	_, err = c.Committed(t.Context(), "")
	require.NoError(t, err, "old clients without a group fetch offsets of the empty one")
}

func TestCommitsOfAGroupAreMergedAndNeverGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		c := begin(t, s)
		const partitions, commits = 20, 50
		id := topic.NewID()
		var done sync.WaitGroup
		for i := range int32(partitions) {
			p := topic.Partition{Topic: id, Index: i}
			done.Go(func() {
				for n := range int64(commits) {
					require.NoError(t, c.Commit(t.Context(), "g", "", "", -1, map[topic.Partition]group.Offset{p: {Offset: n}}))
					stored, err := c.Committed(t.Context(), "g")
					require.NoError(t, err)
					require.Equal(t, n, stored[p].Offset, "an acknowledged commit is what is read")
				}
			})
		}
		done.Wait()
		require.Less(t, s.writes, partitions*commits/5, "commits that come together are one write")
		require.NoError(t, c.Delete(t.Context(), "g"))
		require.ErrorIs(t, c.Delete(t.Context(), "g"), group.ErrGroupUnknown)
	})
}

func TestGroupsAreListedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, newStore())
		for i := range 3 {
			require.NoError(t, c.Commit(t.Context(), fmt.Sprint("g", i), "", "", -1, map[topic.Partition]group.Offset{{}: {Offset: 1}}))
		}
		joined, err := c.Join(t.Context(), "g1", join(""))
		require.NoError(t, err)
		_, err = c.Sync(t.Context(), "g1", group.SyncRequest{MemberID: joined.MemberID, Generation: joined.Generation})
		require.NoError(t, err)
		listed, err := c.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, "a member joined: "+joined.MemberID, listed[1].Reason)
		listed[1].Reason = ""
		empty := group.Summary{Kind: group.Classic, Phase: group.Empty}
		stable := group.Summary{Kind: group.Classic, ProtocolType: "consumer", Phase: group.Stable, Generation: 1, Members: 1}
		require.Equal(t, []group.Listed{{"g0", empty}, {"g1", stable}, {"g2", empty}}, listed)
		require.NoError(t, c.Leave(t.Context(), "g1", joined.MemberID, "", ""))
	})
}

// slowDeletion is a store in which somebody comes in the middle of a deletion.
type slowDeletion struct {
	*store
	begun chan struct{}
}

func (s slowDeletion) DeleteGroupOffsets(ctx context.Context, name string) error {
	close(s.begun)
	<-time.After(4 * time.Second) // longer than it takes to join
	return s.store.DeleteGroupOffsets(ctx, name)
}

func (s slowDeletion) ExpireOffsets(ctx context.Context, name string, expired map[topic.Partition]group.Offset) error {
	close(s.begun)
	<-time.After(4 * time.Second)
	return s.store.ExpireOffsets(ctx, name, expired)
}

func TestADeletionTakesNoCommitOfWhoComesMeanwhile(t *testing.T) {
	p := topic.Partition{Topic: topic.NewID()}
	for what, remove := range map[string]func(ctx context.Context, c *group.Coordinator) error{
		"group": func(ctx context.Context, c *group.Coordinator) error { return c.Delete(ctx, "g") },
		"offsets": func(ctx context.Context, c *group.Coordinator) error {
			_, err := c.DeleteOffsets(ctx, "g", map[string][]topic.Partition{"t": {p}})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := slowDeletion{newStore(), make(chan struct{})}
				c := begin(t, s)
				former, _ := member(t, c, "g", "t")
				require.NoError(t, c.Leave(t.Context(), "g", former, "", ""))
				require.NoError(t, c.Commit(t.Context(), "g", "", "", -1, map[topic.Partition]group.Offset{p: {Offset: 1}}))
				deleted := make(chan error, 1)
				go func() { deleted <- remove(t.Context(), c) }()
				<-s.begun
				id, generation := member(t, c, "g", "t")
				require.NoError(t, c.Commit(t.Context(), "g", id, "", generation, map[topic.Partition]group.Offset{p: {Offset: 2}}))
				require.NoError(t, <-deleted)
				committed, err := c.Committed(t.Context(), "g")
				require.NoError(t, err)
				require.Equal(t, int64(2), committed[p].Offset, "it was acknowledged to a member")
			})
		})
	}
}

func TestANegativeRebalanceTimeoutDoesNotMakeTheGroupUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		c := begin(t, s)
		requests := []group.JoinRequest{join(""), join("")}
		requests[1].RebalanceTimeout = -time.Millisecond
		var members sync.WaitGroup
		for _, r := range requests {
			members.Go(func() {
				joined, err := c.Join(t.Context(), "g", r)
				require.NoError(t, err)
				_, err = c.Sync(t.Context(), "g", group.SyncRequest{MemberID: joined.MemberID, Generation: joined.Generation})
				require.NoError(t, err)
			})
		}
		members.Wait()
		c.Close()
		d, err := begin(t, s).Describe(t.Context(), "g")
		require.NoError(t, err)
		require.Len(t, d.Members, 2)
	})
}

// unreadable counts how often its groups are asked for, and gives none.
type unreadable struct {
	*store
	reads atomic.Int32
}

func (u *unreadable) LoadGroup(context.Context, string) (group.Record, error) {
	u.reads.Add(1)
	return nil, format.Corrupt(7, "no head of a group")
}

func TestAGroupThatCannotBeReadIsNotReadForEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unreadable{store: newStore()}
		c := begin(t, u)
		ask := func() {
			_, err := c.Committed(t.Context(), "g")
			require.NoError(t, err, "offsets are not in what is damaged")
			_, err = c.Join(t.Context(), "g", group.JoinRequest{
				ProtocolType: "consumer", Protocols: []group.Protocol{{Name: "range"}}, SessionTimeout: 10 * time.Second,
			})
			require.ErrorIs(t, err, format.ErrCorrupt)
		}
		for range 100 {
			ask()
		}
		require.EqualValues(t, 1, u.reads.Load())
		<-time.After(2 * time.Second)
		ask()
		require.EqualValues(t, 2, u.reads.Load(), "the damage may have been mended")
	})
}

// slowCommits is a store whose commits take long.
type slowCommits struct {
	*store
	finished atomic.Int32
}

func (s *slowCommits) CommitOffsets(ctx context.Context, name string, offsets map[topic.Partition]group.Offset) error {
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.store.CommitOffsets(ctx, name, offsets)
	s.finished.Add(1)
	return err
}

// Who is given a partition reads what was committed before: no commit of a
// generation is under way when members learn of the next one.
func TestAGenerationIsToldWhenTheCommitsOfTheLastAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowCommits{store: newStore()}
		c := begin(t, s)
		joined, err := c.Join(t.Context(), "g", join(""))
		require.NoError(t, err)
		first := group.SyncRequest{MemberID: joined.MemberID, Generation: joined.Generation}
		_, err = c.Sync(t.Context(), "g", first)
		require.NoError(t, err)
		committed := make(chan error, 1)
		go func() {
			committed <- c.Commit(t.Context(), "g", joined.MemberID, "", joined.Generation, map[topic.Partition]group.Offset{{}: {Offset: 1}})
		}()
		synctest.Wait()
		joined, err = c.Join(t.Context(), "g", join(joined.MemberID)) // the leader begins the next generation
		require.NoError(t, err)
		require.EqualValues(t, 2, joined.Generation)
		_, err = c.Sync(t.Context(), "g", group.SyncRequest{MemberID: joined.MemberID, Generation: 2})
		require.NoError(t, err)
		require.EqualValues(t, 1, s.finished.Load(), "the commit is stored before the generation is told")
		require.NoError(t, <-committed)
	})
}

// A slot is given up when what is being written is written, but is not waited for
// long, and not at all when it is another's already.
func TestASlotIsGivenUpAfterWhatIsUnderWay(t *testing.T) { // [release-after-flush]
	for _, c := range []struct {
		name         string
		takes, waits time.Duration
		lapsed       bool
		stored       bool
	}{
		{"what is written soon is waited for", time.Second, time.Second, false, true},
		{"what hangs is not", time.Hour, 2 * time.Second, false, false},
		{"nor what can not be written any more", time.Second, 0, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &hanging{doubtful: doubtful{store: newStore()}, takes: c.takes}
				serving := begin(t, s)
				joined, err := serving.Join(t.Context(), "other", join(""))
				require.NoError(t, err)
				committed := make(chan error, 1)
				go func() {
					committed <- serving.Commit(t.Context(), "g", "", "", -1, map[topic.Partition]group.Offset{{}: {Offset: 1}})
				}()
				synctest.Wait()
				s.lapsed.Store(c.lapsed)
				begun := time.Now()
				serving.EndAll()
				require.Equal(t, c.waits, time.Since(begun).Truncate(100*time.Millisecond))
				require.Equal(t, c.stored, <-committed == nil)
				require.ErrorIs(t, serving.Heartbeat(t.Context(), "other", joined.MemberID, "", 1), group.ErrNotCoordinator)
			})
		})
	}
}

// hanging is a store whose commits take as long as it says.
type hanging struct {
	doubtful
	takes time.Duration
}

func (h *hanging) CommitOffsets(ctx context.Context, name string, offsets map[topic.Partition]group.Offset) error {
	select {
	case <-time.After(h.takes):
		return h.store.CommitOffsets(ctx, name, offsets)
	case <-ctx.Done():
		return ctx.Err()
	}
}
